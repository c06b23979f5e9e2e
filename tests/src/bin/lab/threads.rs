//! Threads: affinity, allowed nodes, cgroups, and changing them while the guest runs.

use std::collections::BTreeMap;

use polyvirt::{
    Affect, PinTarget,
    placement::{CpuSet, VcpuId},
};

use crate::{
    bench::{Bench, Outcome, Started, TOUCHED, domain, ensure, explain},
    kernel::{self, Thread},
};

/// vCPU by thread.
async fn vcpus(guest: &Started) -> Result<BTreeMap<u32, VcpuId>, String> {
    let vcpus = guest.guest.vcpus().await.map_err(|e| explain("vcpus", &e))?;
    let found: BTreeMap<u32, VcpuId> =
        vcpus.iter().filter_map(|it| Some((u32::try_from(it.thread?).ok()?, it.vcpu))).collect();
    ensure!(found.len() == vcpus.len() && !found.is_empty(), "vCPUs without threads of their own: {vcpus:?}");
    Ok(found)
}

/// Every thread may run and take memory exactly where the plan says.
pub(crate) async fn are_where_planned(guest: &Started) -> Outcome {
    let vcpus = vcpus(guest).await?;
    let threads = kernel::threads(guest.pid)?;
    let mut seen = 0;
    for thread in &threads {
        let (what, cpus, mems) = match vcpus.get(&thread.tid) {
            Some(number) => {
                seen += 1;
                let plan = guest.plan.vcpu(*number).ok_or_else(|| format!("no plan for vCPU {number}"))?;
                (format!("vcpu{number}"), &plan.hard, &plan.mems)
            }
            None => ("emulator".to_owned(), &guest.plan.process.cpus, &guest.plan.process.mems),
        };
        ensure!(thread.cpus == *cpus, "{what} should run on {cpus}: {thread:?}");
        if let Some(mems) = mems {
            ensure!(thread.mems == *mems, "{what} should take memory from {mems}: {thread:?}");
        }
    }
    ensure!(seen == vcpus.len(), "threads of vCPUs {vcpus:?} are not in the process: {threads:?}");
    println!("{} threads, {seen} of them vCPUs, are where planned", threads.len());
    Ok(())
}

/// Threads are in groups of their own, which hold them where they are.
pub(crate) async fn in_their_cgroups(bench: &Bench) -> Outcome {
    let more = format!("{TOUCHED}<cputune><vcpupin vcpu='1' cpuset='3'/></cputune>");
    let guest = bench.start(&domain("groups", "<vcpu placement='auto'>2</vcpu>", 48, &more)).await?;
    are_where_planned(&guest).await?;
    let vcpus = vcpus(&guest).await?;
    let threads = kernel::threads(guest.pid)?;
    for thread in &threads {
        let part = vcpus.get(&thread.tid).map_or("emulator".to_owned(), |number| format!("vcpu{number}"));
        is_in(thread, &part)?;
    }
    let groups = polyvirt_tests::groups_of("");
    ensure!(groups.len() == 1, "one group of a guest, not {groups:?}");
    guest.end().await
}

fn is_in(thread: &Thread, part: &str) -> Outcome {
    ensure!(
        thread.group.starts_with("/polyvirt/") && thread.group.ends_with(&format!("/{part}")),
        "should be in the group of {part}: {thread:?}"
    );
    let (cpus, mems) = kernel::cpuset(&thread.group)?;
    ensure!(cpus == thread.cpus && mems == thread.mems, "the group gives CPUs {cpus} and nodes {mems}: {thread:?}");
    Ok(())
}

/// The emulator is pinned and the vCPUs are not: they must not be held where it is.
pub(crate) async fn an_emulator_alone(bench: &Bench) -> Outcome {
    let more = "<cputune><emulatorpin cpuset='1'/></cputune>";
    let guest = bench.start(&domain("emulator", "<vcpu>2</vcpu>", 48, more)).await?;
    are_where_planned(&guest).await?;
    guest.end().await
}

/// Pins of a running guest reach the kernel, and no other thread.
pub(crate) async fn pins(bench: &Bench) -> Outcome {
    let mut guest = bench.start(&domain("pinned", "<vcpu>2</vcpu>", 48, "")).await?;
    are_where_planned(&guest).await?;
    let pin = |text: &str| text.parse::<CpuSet>().map_err(|e| e.to_string());
    let (vcpu, emulator) = (pin("2")?, pin("0-1,3")?);
    for (target, cpus) in [(PinTarget::Vcpu(VcpuId(1)), &vcpu), (PinTarget::Emulator, &emulator)] {
        guest.guest.pin(target, cpus, Affect::Both).await.map_err(|e| explain("pin", &e))?;
    }
    guest = bench.look_at(guest.guest).await?;
    ensure!(guest.plan.vcpu(VcpuId(1)).is_some_and(|it| it.hard == vcpu), "the plan has not the pin of vCPU 1");
    ensure!(guest.plan.process.cpus == emulator, "the plan has not the pin of the emulator");
    are_where_planned(&guest).await?;
    let nowhere = pin("4095")?;
    let refused = guest.guest.pin(PinTarget::Emulator, &nowhere, Affect::Live).await;
    ensure!(refused.is_err(), "a pin to a CPU that is not there was taken");
    let stored = guest.guest.xml(polyvirt::Which::Stored).await.map_err(|e| explain("xml", &e))?;
    ensure!(stored.contains("vcpupin") && stored.contains("emulatorpin"), "the pins are not stored: {stored}");
    guest.end().await
}
