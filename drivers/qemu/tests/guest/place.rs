//! Placement on the real host; where it has one node, what one node can show.

use polyvirt_core::{
    LiveEffect,
    placement::{CpuSet, PlanDelta, PlanStep},
};

use crate::host::Host;

const CELLS: &str = "<memory unit='MiB'>64</memory><memoryBacking><allocation mode='immediate'/></memoryBacking>\
    <vcpu>4</vcpu><cputune><vcpupin vcpu='1' cpuset='0'/><emulatorpin cpuset='0'/></cputune>\
    <numatune><memory mode='strict' nodeset='0'/><memnode cellid='1' mode='preferred' nodeset='0'/></numatune>\
    <cpu><numa><cell id='0' cpus='0-1' memory='32' unit='MiB'/><cell id='1' cpus='2-3' memory='32' unit='MiB'>\
    <distances><sibling id='0' value='21'/></distances></cell></numa></cpu>";

#[tokio::test]
async fn threads_and_pages_are_where_the_plan_says() {
    let Some(host) = Host::new().await else { return };
    let live = host.define(CELLS, "").await;
    let plan = host.plan(&live);
    let guest = host.try_start(&live, Some(plan.clone()), true, None).await.unwrap_or_else(|error| panic!("{error}"));
    let surprises: Vec<_> = guest
        .effects
        .iter()
        .filter(|it| matches!(it, LiveEffect::Weakened { what, .. } if !what.contains("user")))
        .collect();
    assert!(surprises.is_empty() || polyvirt_process::cgroup::Hierarchy::detect().is_err(), "{surprises:?}");

    let vcpus = guest.domain.vcpu_info().unwrap().vcpus().await.unwrap();
    assert_eq!(vcpus.len(), 4);
    for vcpu in &vcpus {
        assert_eq!(vcpu.affinity.as_ref(), Some(&plan.vcpu(vcpu.vcpu).unwrap().hard), "vCPU {}", vcpu.vcpu);
    }
    assert_eq!(vcpus[1].affinity, Some(CpuSet::of(0)));
    assert_eq!(polyvirt_process::get_affinity(guest.pid()).unwrap().to_string(), "0");
    let maps = std::fs::read_to_string(format!("/proc/{}/numa_maps", guest.pid())).unwrap();
    assert!(maps.contains(" bind:0 ") && maps.contains(" prefer:0 "), "{maps}");

    let placement = guest.domain.placement().unwrap();
    let observed = placement.observe().await.unwrap().observed;
    // Both cells were touched at start; whatever else lies in mappings as large is QEMU's.
    assert!(observed.iter().map(|it| it.size.0).sum::<u64>() >= 64 << 10, "{observed:?}");

    let mut to = plan.clone();
    to.revision += 1;
    let mut moved = 0;
    for vcpu in to.cells.iter_mut().flat_map(|it| &mut it.vcpus).filter(|it| it.vcpu.0 == 1) {
        vcpu.hard = plan.vcpu(0.into()).unwrap().hard.clone();
        moved += 1;
    }
    assert_eq!(moved, 1);
    let report =
        placement.apply(&PlanDelta::new(plan.revision, to.clone(), vec![PlanStep::PinVcpu(1.into())])).await.unwrap();
    assert_eq!((report.applied.len(), report.weakened.len()), (1, 0), "{report:?}");
    let vcpus = guest.domain.vcpu_info().unwrap().vcpus().await.unwrap();
    assert_eq!(vcpus[1].affinity, Some(to.vcpu(1.into()).unwrap().hard.clone()));
    let report = placement.apply(&PlanDelta::new(to.revision, to, vec![PlanStep::SetPolicy(0.into())])).await.unwrap();
    assert_eq!((report.applied.len(), report.weakened.len()), (0, 1), "{report:?}");
    guest.destroy().await;
    host.assert_nothing_left();
}

#[tokio::test]
async fn without_cgroups_the_plan_says_so_and_memory_is_bound_all_the_same() {
    let mut settings = polyvirt_core::Settings::default();
    settings.set("cgroups", "never");
    let Some(host) = Host::with(settings).await else { return };
    let live = host.define(CELLS, "").await;
    let mut plan = host.plan(&live);
    plan.process.mems = Some("0".parse().unwrap());
    plan.process.launch = None;
    let guest = host.try_start(&live, Some(plan), true, None).await.unwrap_or_else(|error| panic!("{error}"));
    let weakened =
        guest.effects.iter().any(|it| matches!(it, LiveEffect::Weakened { why, .. } if why.contains("cgroups")));
    assert!(weakened, "{:?}", guest.effects);
    let maps = std::fs::read_to_string(format!("/proc/{}/numa_maps", guest.pid())).unwrap();
    assert!(
        maps.lines()
            .all(|it| it.contains(" bind:0") || it.contains(" prefer:0") || it.contains("vdso") || it.contains("vvar")),
        "{maps}"
    );
    guest.destroy().await;
}
