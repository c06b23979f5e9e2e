//! Placement on the real host; where it has one node, what one node can show.

use polyvirt_core::{
    GuestState, LiveEffect,
    placement::{CpuSet, Origin, PlanDelta, PlanStep},
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

#[tokio::test]
async fn a_guest_without_a_group_gets_one_when_it_is_pinned() {
    if let Err(reason) = polyvirt_process::cgroup::Hierarchy::detect() {
        println!("skipped: {reason}");
        return;
    }
    let Some(host) = Host::new().await else { return };
    let live = host.define("<memory unit='MiB'>32</memory><vcpu>2</vcpu>", "").await;
    let plan = host.plan(&live);
    let guest = host.try_start(&live, Some(plan.clone()), true, None).await.unwrap_or_else(|error| panic!("{error}"));
    let group = |tid: i32| std::fs::read_to_string(format!("/proc/{tid}/cgroup")).unwrap();
    let vcpus = guest.domain.vcpu_info().unwrap().vcpus().await.unwrap();
    let tid = vcpus[1].thread.unwrap();
    assert!(!group(tid).contains("polyvirt"));
    let mut to = plan.clone();
    to.revision += 1;
    for vcpu in to.cells.iter_mut().flat_map(|it| &mut it.vcpus).filter(|it| it.vcpu.0 == 1) {
        vcpu.hard = CpuSet::of(0);
        vcpu.origin = Origin::Pin;
    }
    let delta = PlanDelta::new(plan.revision, to, vec![PlanStep::PinVcpu(1.into())]);
    let report = guest.domain.placement().unwrap().apply(&delta).await.unwrap();
    assert_eq!((report.applied.len(), report.weakened.len()), (1, 0), "{report:?}");
    assert!(group(tid).contains("/vcpu1"), "{}", group(tid));
    // In the emulator's part it would be held wherever the emulator is pinned later.
    assert!(group(vcpus[0].thread.unwrap()).contains("/vcpu0"));
    let vcpus = guest.domain.vcpu_info().unwrap().vcpus().await.unwrap();
    assert_eq!(vcpus[1].affinity, Some(CpuSet::of(0)));
    guest.destroy().await;
    host.assert_nothing_left();
}

/// Pages by node of the mappings with this policy.
fn pages(pid: u32, policy: &str) -> Vec<(u32, u64)> {
    let text = std::fs::read(format!("/proc/{pid}/numa_maps")).unwrap();
    let maps = polyvirt_process::numa_maps::parse(&text[..]).unwrap();
    polyvirt_process::numa_maps::total_kib(maps.iter().filter(|it| it.policy == policy)).into_iter().collect()
}

fn nodes() -> Option<usize> {
    let nodes = polyvirt_core::placement::HostTopology::from_sysfs(std::path::Path::new("/")).unwrap().nodes().len();
    if nodes < 4 {
        assert!(!std::env::var("POLYVIRT_REQUIRE").is_ok_and(|it| it.contains("numa")), "this host has {nodes} nodes");
        println!("skipped: this host has {nodes} nodes, the test wants 4");
        return None;
    }
    Some(nodes)
}

#[tokio::test]
async fn each_cell_lies_on_its_own_node() {
    if nodes().is_none() {
        return;
    }
    let Some(host) = Host::new().await else { return };
    let more = "<memoryBacking><allocation mode='immediate'/></memoryBacking><vcpu>4</vcpu>\
        <numatune><memory mode='strict' nodeset='1'/><memnode cellid='1' mode='strict' nodeset='2'/></numatune>\
        <cpu><numa><cell id='0' cpus='0-1' memory='32' unit='MiB'/><cell id='1' cpus='2-3' memory='48' unit='MiB'/></numa></cpu>";
    let live = host.define(more, "").await;
    let plan = host.plan(&live);
    let guest = host.try_start(&live, Some(plan), true, None).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(pages(guest.pid(), "bind:2"), [(2, 48 << 10)]);
    let first = pages(guest.pid(), "bind:1");
    assert!(first.len() == 1 && first[0].0 == 1 && first[0].1 >= 32 << 10, "{first:?}");
    let observed = guest.domain.placement().unwrap().observe().await.unwrap().observed;
    let on = |node: u32| observed.iter().find(|it| it.node.0 == node).map_or(0, |it| it.size.0);
    assert!(on(2) >= 48 << 10 && on(1) >= 32 << 10, "{observed:?}");
    guest.destroy().await;
    host.assert_nothing_left();
}

/// QEMU refuses a table whose parts do not go together, so a guest that is there has one.
#[tokio::test]
async fn a_guest_is_told_how_fast_its_memory_is() {
    let Some(host) = Host::new().await else { return };
    let more = "<vcpu>2</vcpu><cpu><numa><cell id='0' cpus='0' memory='32' unit='MiB'/><cell id='1' cpus='1' memory='32' unit='MiB'/>\
        <cell id='2' memory='32' unit='MiB'><cache level='1' associativity='direct' policy='writethrough'>\
        <size value='10' unit='KiB'/><line value='8' unit='B'/></cache></cell>\
        <interconnects><latency initiator='0' target='0' type='access' value='5'/><latency initiator='1' target='2' type='access' value='10'/>\
        <bandwidth initiator='1' target='2' type='access' value='204800' unit='KiB'/></interconnects></numa></cpu>";
    let live = host.define(more, "").await;
    let plan = host.plan(&live);
    let guest = host.try_start(&live, Some(plan), true, None).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(guest.domain.state().await.unwrap(), GuestState::Paused);
    guest.destroy().await;
    host.assert_nothing_left();
}

#[tokio::test]
async fn a_restrictive_guest_moves_to_another_node() {
    if nodes().is_none() {
        return;
    }
    let Some(host) = Host::new().await else { return };
    let more = "<memory unit='MiB'>64</memory><memoryBacking><allocation mode='immediate'/></memoryBacking><vcpu>2</vcpu>\
        <numatune><memory mode='restrictive' nodeset='1'/></numatune>";
    let live = host.define(more, "").await;
    let plan = host.plan(&live);
    let guest = host.try_start(&live, Some(plan.clone()), true, None).await.unwrap_or_else(|error| panic!("{error}"));
    let placement = guest.domain.placement().unwrap();
    let on = |report: &polyvirt_core::placement::PlacementReport, node: u32| {
        report.observed.iter().find(|it| it.node.0 == node).map_or(0, |it| it.size.0)
    };
    let before = placement.observe().await.unwrap();
    assert!(on(&before, 1) >= 64 << 10 && on(&before, 3) == 0, "{before:?}");
    let mut to = plan.clone();
    to.revision += 1;
    to.process.mems = Some("3".parse().unwrap());
    for vcpu in to.cells.iter_mut().flat_map(|it| &mut it.vcpus) {
        vcpu.mems = Some("3".parse().unwrap());
    }
    let report = placement.apply(&PlanDelta::new(plan.revision, to, vec![PlanStep::SetMems])).await.unwrap();
    assert!(report.weakened.is_empty(), "{report:?}");
    let after = placement.observe().await.unwrap();
    assert!(on(&after, 3) >= 64 << 10 && on(&after, 1) == 0, "{after:?}");
    guest.destroy().await;
    host.assert_nothing_left();
}
