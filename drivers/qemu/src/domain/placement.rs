//! Where vCPUs and memory are, and moving them.

use std::{collections::BTreeMap, io};

use polyvirt_core::{
    Error, ErrorKind, LivePlacement, Result, VcpuInfo, VcpuState, async_trait,
    model::DomainConfig,
    placement::{CpuSet, HostCpu, Kib, NodeShare, PlacementReport, Plan, PlanDelta, PlanStep, Weakening},
};
use polyvirt_process::{
    ThreadUsage,
    cgroup::{Cgroup, Hierarchy, Part},
    get_affinity, mapping_sizes, numa_maps, thread_usage,
};
use polyvirt_qmp::{QueryCpusFast, QueryIoThreads};

use super::QemuDomain;
use crate::{
    pins::{Placer, Threads, confines},
    places::Places,
};

impl QemuDomain {
    pub(super) async fn threads(&self) -> Result<Threads> {
        let cpus = self.shared.execute(&QueryCpusFast {}).await?;
        // Some may have come since the start.
        let io = self.shared.execute(&QueryIoThreads {}).await?;
        Ok(super::threads_of(self.shared.parts.process.id().pid, &cpus, &io))
    }
}

#[async_trait]
impl VcpuInfo for QemuDomain {
    async fn vcpus(&self) -> Result<Vec<VcpuState>> {
        let threads = self.threads().await?;
        Ok(threads.vcpus.iter().map(|(number, tid)| state(threads.pid, *number, *tid)).collect())
    }
}

fn state(pid: u32, number: u32, tid: u32) -> VcpuState {
    let mut state = VcpuState::new(number.into());
    state.thread = i32::try_from(tid).ok();
    // A vCPU that is unplugged at this moment has no numbers.
    if let Ok(ThreadUsage { cpu, time, .. }) = thread_usage(pid, tid) {
        state.cpu = Some(cpu);
        state.time = time;
    }
    state.affinity = get_affinity(tid).ok().map(|mask| mask.iter().map(HostCpu::from).collect::<CpuSet>());
    state
}

impl QemuDomain {
    /// Applies the steps of a delta.
    pub(super) async fn place(&self, delta: &PlanDelta) -> Result<PlacementReport> {
        let threads = self.threads().await?;
        let (places, delta) = (self.shared.parts.places.clone(), delta.clone());
        let may_group = self.shared.parts.cgroups;
        let applied = tokio::task::spawn_blocking(move || apply(&places, may_group, &threads, &delta)).await;
        applied.map_err(|error| Error::new(ErrorKind::Internal, "placing threads failed").source(error))
    }
}

#[async_trait]
impl LivePlacement for QemuDomain {
    async fn apply(&self, delta: &PlanDelta) -> Result<PlacementReport> {
        self.place(delta).await
    }

    async fn observe(&self) -> Result<PlacementReport> {
        let pid = self.shared.parts.process.id().pid;
        let observed = observe(pid, &self.shared.live().config).await;
        let observed = observed.map_err(|error| {
            Error::new(ErrorKind::Hypervisor, format!("cannot read where the pages of process {pid} are: {error}"))
        })?;
        let shares = observed.into_iter().map(|(node, kib)| NodeShare::new(node.into(), Kib(kib))).collect();
        Ok(PlacementReport::new(Vec::new(), Vec::new(), shares))
    }
}

fn apply(places: &Places, may_group: bool, threads: &Threads, delta: &PlanDelta) -> PlacementReport {
    let (mut applied, mut weakened) = (Vec::new(), Vec::new());
    // With version 2 there may be one that has other controllers only.
    let mut group = places.cgroup().filter(Cgroup::confines);
    // One that the start did without is made when a live change wants it.
    let adopts = group.is_none() && may_group && confines(&delta.to);
    if adopts {
        match adopt(places, threads.pid) {
            Ok(made) => group = Some(made),
            Err(why) if delta.steps.contains(&PlanStep::SetMems) => {
                weakened.push(Weakening::new("host", "cpuset cgroups", why));
            }
            // For CPUs affinity has to do, as it did at the start.
            Err(why) => tracing::info!(%why, "no cgroup for a guest that was pinned"),
        }
    }
    let placer = Placer { threads, group: group.as_ref() };
    if adopts && group.is_some() {
        // Now all threads are in the emulator's part.
        weakened.extend(placer.place(&delta.to));
    }
    for step in &delta.steps {
        let before = weakened.len();
        one(&placer, &delta.to, step, &mut weakened);
        if weakened.len() == before {
            applied.push(step.clone());
        }
    }
    PlacementReport::new(applied, weakened, Vec::new())
}

fn adopt(places: &Places, pid: u32) -> Result<Cgroup, String> {
    let group = Hierarchy::detect().map_err(|it| it.to_string())?.ensure(&places.group).map_err(|it| it.to_string())?;
    group.adopt(pid, Part::Emulator).map_err(|it| it.to_string())?;
    Ok(group)
}

fn one(placer: &Placer<'_>, plan: &Plan, step: &PlanStep, weakened: &mut Vec<Weakening>) {
    let mut cannot = |what: &str, why: &str| weakened.push(Weakening::new("host", what, why));
    match step {
        PlanStep::PinVcpu(number) => {
            let tid = placer.threads.vcpus.iter().find(|(it, _)| *it == number.0).map(|(_, tid)| *tid);
            match (tid, plan.vcpu(*number)) {
                (Some(tid), Some(vcpu)) => placer.vcpu(vcpu, tid, weakened),
                // Planned for when it is plugged in.
                (None, Some(_)) => {}
                (_, None) => cannot(&format!("vCPU {number}"), "the plan does not know it"),
            }
        }
        PlanStep::PinProcess => placer.process(&plan.process, weakened),
        PlanStep::PinIoThread(number) => {
            let tid = placer.threads.io.iter().find(|(it, _)| *it == number.0).map(|(_, tid)| *tid);
            let thread = plan.io_threads.iter().find(|(it, _)| it == number).map(|(_, thread)| thread);
            match (tid, thread) {
                (Some(tid), Some(thread)) => placer.io_thread(number.0, tid, thread, weakened),
                _ => cannot(&format!("I/O thread {number}"), "the guest has no such thread"),
            }
        }
        // Changing the nodes of a cpuset moves the pages.
        PlanStep::SetMems | PlanStep::Migrate { .. } => weakened.extend(placer.place(plan)),
        PlanStep::SetPolicy(cell) => {
            cannot(
                &format!("the memory policy of cell {cell}"),
                "QEMU sets it when the memory is made; start the guest again",
            );
        }
        _ => cannot("a change of memory devices", "this driver has none yet"),
    }
}

/// KiB per host node of the guest's memory.
///
/// QEMU 7.2 does not tell where it mapped a backend, but the kernel tells sizes: guest memory is in the mappings without code
/// that are as large as the smallest cell at least. TCG's buffer holds code, and heaps are smaller.
async fn observe(pid: u32, config: &DomainConfig) -> io::Result<BTreeMap<u32, u64>> {
    let (sizes, mappings) = tokio::try_join!(mapping_sizes(pid), numa_maps::read(pid))?;
    let cells = config.cells().iter().map(|it| it.memory.0);
    let smallest = cells.min().unwrap_or(config.memory_total().0).saturating_mul(1024);
    let guest = |it: &&numa_maps::Mapping| sizes.get(&it.start).is_some_and(|size| *size >= smallest);
    Ok(numa_maps::total_kib(mappings.iter().filter(guest)))
}
