//! Changes of a guest that runs: pins and the nodes of a restrictive policy.
//!
//! Pure: each function makes a new [`Plan`] from the present one; [`PlanDelta::between`] then says what to apply. What
//! a running guest cannot change is refused here, by the same rules for every driver.
//!
//! What it does not do: it promises no memory. After the nodes of a guest changed, book what it then really has
//! ([`Ledger::commit`](crate::Ledger::commit)).

use crate::binding::thread_cpus;
use crate::engine::split_evenly;
use crate::plan::{CpuLoad, NodeShare, Origin, Plan, PlanDelta, PlanStep, ThreadPlan};
use crate::policy::{MemMode, MemPolicy};
use crate::rules::{GeneralNodes, Stored};
use crate::set::{CpuSet, NodeSet, VcpuSet};
use crate::topology::HostTopology;
use crate::units::{IoThreadId, Kib, VcpuId};

/// Why a running guest cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// There is no such vCPU.
    #[error("the guest has no vCPU {0}")]
    NoVcpu(VcpuId),
    /// There is no such I/O thread.
    #[error("the guest has no I/O thread {0}")]
    NoIoThread(IoThreadId),
    /// None of the CPUs is online.
    #[error("none of the CPUs '{asked}' is online: name CPUs among {online}")]
    CpusOffline {
        /// What was asked.
        asked: CpuSet,
        /// What is online.
        online: CpuSet,
    },
    /// A node is not online, or none was named.
    #[error("nodes '{asked}' are not all online: name nodes among {online}")]
    NodesOffline {
        /// What was asked.
        asked: NodeSet,
        /// What is online.
        online: NodeSet,
    },
    /// The mode of a running guest is fixed.
    #[error("the memory mode of a running guest is '{now}' and stays so: change the stored definition and restart")]
    ModeFixed {
        /// The present mode.
        now: MemMode,
    },
    /// Only a restrictive guest can get other nodes.
    #[error("the nodes of a running guest with memory mode '{0}' are fixed: only 'restrictive' can change them")]
    NodesFixed(MemMode),
    /// There is no cgroup to change.
    #[error("the guest is in no cpuset cgroup: its nodes cannot change while it runs")]
    NoCpuset,
}

impl PlanDelta {
    /// What has to be done to come from one plan to another. The new plan gets the next revision and keeps the lease.
    #[must_use]
    pub fn between(old: &Plan, mut new: Plan) -> PlanDelta {
        new.revision = old.revision + 1;
        new.lease = old.lease.clone();
        let mut steps = Vec::new();
        let mut mems = old.process.mems != new.process.mems;
        if old.process.cpus != new.process.cpus {
            steps.push(PlanStep::PinProcess);
        }
        for cell in &new.cells {
            let before = old.cell(cell.cell);
            for vcpu in &cell.vcpus {
                let was = old.vcpu(vcpu.vcpu);
                if was.is_none_or(|was| (&was.hard, &was.soft) != (&vcpu.hard, &vcpu.soft)) {
                    steps.push(PlanStep::PinVcpu(vcpu.vcpu));
                }
                mems |= was.is_none_or(|was| was.mems != vcpu.mems);
            }
            if before.is_none_or(|before| emitted(&before.policy) != emitted(&cell.policy)) {
                steps.push(PlanStep::SetPolicy(cell.cell));
            }
        }
        for (id, thread) in &new.io_threads {
            let was = old.io_threads.iter().find(|(other, _)| other == id).map(|(_, was)| was);
            if was.is_none_or(|was| was.cpus != thread.cpus) {
                steps.push(PlanStep::PinIoThread(*id));
            }
            mems |= was.is_none_or(|was| was.mems != thread.mems);
        }
        if mems {
            steps.push(PlanStep::SetMems);
        }
        let has = |plan: &Plan, index| plan.devices.iter().any(|device| device.index == index);
        let gone = old.devices.iter().filter(|device| !has(&new, device.index));
        steps.extend(gone.map(|device| PlanStep::RemoveMemoryDevice(device.index)));
        let come = new.devices.iter().filter(|device| !has(old, device.index));
        steps.extend(come.map(|device| PlanStep::AddMemoryDevice(device.index)));
        PlanDelta { from: old.revision, to: new, steps }
    }
}

/// What of a policy the kernel is told: nothing where the cpuset alone confines (Q7).
fn emitted(policy: &MemPolicy) -> Option<&MemPolicy> {
    policy.mode.filter(|mode| *mode != MemMode::Restrictive).map(|_| policy)
}

/// Pins a vCPU of a running guest.
///
/// # Errors
/// [`ChangeError::NoVcpu`], [`ChangeError::CpusOffline`].
pub fn pin_vcpu(plan: &Plan, vcpu: VcpuId, cpus: &CpuSet, host: &HostTopology) -> Result<PlanDelta, ChangeError> {
    let cpus = online(cpus, host)?;
    let mut new = plan.clone();
    let mut vcpus = new.cells.iter_mut().flat_map(|cell| &mut cell.vcpus);
    let found = vcpus.find(|known| known.vcpu == vcpu).ok_or(ChangeError::NoVcpu(vcpu))?;
    (found.hard, found.origin) = (cpus, Origin::Pin);
    Ok(PlanDelta::between(plan, new))
}

/// Pins the emulator thread of a running guest.
///
/// # Errors
/// [`ChangeError::CpusOffline`].
pub fn pin_process(plan: &Plan, cpus: &CpuSet, host: &HostTopology) -> Result<PlanDelta, ChangeError> {
    let cpus = online(cpus, host)?;
    let mut new = plan.clone();
    (new.process.cpus, new.process.origin) = (cpus, Origin::Pin);
    Ok(PlanDelta::between(plan, new))
}

/// Pins an I/O thread of a running guest.
///
/// # Errors
/// [`ChangeError::NoIoThread`], [`ChangeError::CpusOffline`].
pub fn pin_io_thread(
    plan: &Plan,
    id: IoThreadId,
    cpus: &CpuSet,
    host: &HostTopology,
) -> Result<PlanDelta, ChangeError> {
    let cpus = online(cpus, host)?;
    let mut new = plan.clone();
    let found = new.io_threads.iter_mut().find(|(known, _)| *known == id);
    let (_, thread): &mut (IoThreadId, ThreadPlan) = found.ok_or(ChangeError::NoIoThread(id))?;
    (thread.cpus, thread.origin) = (cpus, Origin::Pin);
    Ok(PlanDelta::between(plan, new))
}

/// The plan of a guest that has these vCPUs now: plugged or unplugged, each has had its place since the start. What is new is what they
/// are booked for.
#[must_use]
pub fn set_online(plan: &Plan, online: &VcpuSet, host: &HostTopology) -> Plan {
    let mut new = plan.clone();
    new.revision += 1;
    new.shape.vcpus_online = u32::try_from(online.len()).unwrap_or(u32::MAX).min(new.shape.vcpus_max);
    new.headroom.vcpus = new.shape.vcpus_max.saturating_sub(new.shape.vcpus_online);
    let planned = plan.cells.iter().flat_map(|cell| &cell.vcpus).filter(|it| online.contains(it.vcpu));
    let mut on = std::collections::BTreeMap::<_, u64>::new();
    for vcpu in planned {
        // One that may run on two nodes counts for a part on each.
        let all = vcpu.hard.intersection_len(host.online_cpus()).max(1) as u64;
        for node in host.nodes() {
            let here = vcpu.hard.intersection_len(&node.cpus) as u64;
            if here > 0 {
                *on.entry(node.id).or_default() += here * 1000 / all;
            }
        }
    }
    new.cpu_load = on.into_iter().map(|(node, milli_vcpus)| CpuLoad { node, milli_vcpus }).collect();
    new
}

/// The plan with a place for one more I/O thread, which is where those of the definition are that have no pin.
#[must_use]
pub fn with_io_thread(plan: &Plan, stored: &Stored, id: IoThreadId, host: &HostTopology) -> Plan {
    let mut new = plan.clone();
    new.revision += 1;
    let (cpus, origin) = thread_cpus(None, stored, plan.advice.as_ref(), host);
    let thread = ThreadPlan { cpus, origin, launch: None, launch_cpus: None, mems: plan.process.mems.clone() };
    new.io_threads.retain(|(known, _)| *known != id);
    new.io_threads.push((id, thread));
    new.io_threads.sort_by_key(|(id, _)| *id);
    new
}

/// The plan without an I/O thread.
#[must_use]
pub fn without_io_thread(plan: &Plan, id: IoThreadId) -> Plan {
    let mut new = plan.clone();
    new.revision += 1;
    new.io_threads.retain(|(known, _)| *known != id);
    new
}

/// Changes the NUMA parameters of a running guest: the mode stays, and only a restrictive guest can get other nodes.
/// Cells with a policy of their own keep it. Saying what holds already changes nothing.
///
/// # Errors
/// [`ChangeError::ModeFixed`], [`ChangeError::NodesFixed`], [`ChangeError::NodesOffline`], [`ChangeError::NoCpuset`].
pub fn set_nodes(
    plan: &Plan,
    stored: &Stored,
    mode: Option<MemMode>,
    nodes: Option<&NodeSet>,
    host: &HostTopology,
) -> Result<PlanDelta, ChangeError> {
    // Without a general policy libvirt's default word holds.
    let now = stored.memory.as_ref().map_or(MemMode::Strict, |policy| policy.mode);
    if mode.is_some_and(|mode| mode != now) {
        return Err(ChangeError::ModeFixed { now });
    }
    let Some(nodes) = nodes else { return Ok(PlanDelta::between(plan, plan.clone())) };
    let present = stored.memory.as_ref().and_then(|policy| match &policy.nodes {
        GeneralNodes::Named(nodes) => Some(nodes),
        GeneralNodes::Auto => plan.advice.as_ref().map(|advice| &advice.nodeset),
    });
    // A restrictive guest may have got other nodes since its start, so its definition does not tell.
    if now != MemMode::Restrictive {
        let same = present == Some(nodes);
        return if same { Ok(PlanDelta::between(plan, plan.clone())) } else { Err(ChangeError::NodesFixed(now)) };
    }
    let all = host.online_nodes();
    if nodes.is_empty() || !nodes.is_subset(&all) {
        return Err(ChangeError::NodesOffline { asked: nodes.clone(), online: all });
    }
    if plan.process.mems.is_none() {
        return Err(ChangeError::NoCpuset);
    }
    Ok(PlanDelta::between(plan, confined(plan, nodes, host)))
}

/// The plan with everything that follows the general policy on these nodes.
fn confined(plan: &Plan, nodes: &NodeSet, host: &HostTopology) -> Plan {
    let mut new = plan.clone();
    new.process.mems = Some(nodes.clone());
    for (_, thread) in &mut new.io_threads {
        thread.mems = Some(nodes.clone());
    }
    let memory: Vec<_> = nodes.intersection(&host.memory_nodes()).iter().collect();
    for cell in new.cells.iter_mut().filter(|cell| !cell.own_policy) {
        for vcpu in &mut cell.vcpus {
            vcpu.mems = Some(nodes.clone());
        }
        cell.policy.nodes = nodes.clone();
        let size: Kib = cell.memory.iter().map(|share| share.size).sum();
        // The kernel decides as the guest touches its memory; what it really did is booked when it is observed.
        if !memory.is_empty() {
            let parts = split_evenly(size, memory.len());
            cell.memory = memory.iter().zip(parts).map(|(node, size)| NodeShare::new(*node, size)).collect();
        }
    }
    new
}

fn online(cpus: &CpuSet, host: &HostTopology) -> Result<CpuSet, ChangeError> {
    let there = cpus.intersection(host.online_cpus());
    if there.is_empty() {
        return Err(ChangeError::CpusOffline { asked: cpus.clone(), online: host.online_cpus().clone() });
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::GeneralPolicy;
    use crate::{GuestShape, KernelSupport, PlacementProfile, Promised, Request, plan};

    fn host() -> HostTopology {
        HostTopology::uniform(3, 4, Kib::from_gib(8)).build().unwrap()
    }

    fn nodes(text: &str) -> NodeSet {
        text.parse().unwrap()
    }

    fn running(mode: MemMode) -> (Stored, Plan) {
        let stored = Stored::default().with_memory(GeneralPolicy::named(mode, nodes("0")));
        let request = Request::new("g", GuestShape::flat(2, Kib::from_gib(2)))
            .stored(stored.clone())
            .io_thread(IoThreadId(1), None)
            .kernel(KernelSupport::default().with_cpuset(true));
        (stored, plan(&host(), &Promised::default(), &PlacementProfile::qemu(), &request).unwrap())
    }

    #[test]
    fn a_pin_is_one_step_and_the_next_revision() {
        let (_, plan) = running(MemMode::Strict);
        let cpus = CpuSet::of_range(3, 99);
        let delta = pin_vcpu(&plan, VcpuId(1), &cpus, &host()).unwrap();
        assert_eq!((delta.from, delta.to.revision, &delta.steps[..]), (1, 2, &[PlanStep::PinVcpu(VcpuId(1))][..]));
        let pinned = delta.to.vcpu(VcpuId(1)).unwrap();
        assert_eq!((pinned.hard.to_string().as_str(), pinned.origin), ("3-11", Origin::Pin));
        assert_eq!(pin_process(&plan, &cpus, &host()).unwrap().steps, [PlanStep::PinProcess]);
        let delta = pin_io_thread(&plan, IoThreadId(1), &cpus, &host()).unwrap();
        assert_eq!(delta.steps, [PlanStep::PinIoThread(IoThreadId(1))]);
    }

    #[test]
    fn what_is_not_there_cannot_be_pinned() {
        let (_, plan) = running(MemMode::Strict);
        let (some, none) = (CpuSet::of_range(0, 1), CpuSet::of_range(90, 91));
        assert_eq!(pin_vcpu(&plan, VcpuId(2), &some, &host()), Err(ChangeError::NoVcpu(VcpuId(2))));
        assert_eq!(pin_io_thread(&plan, IoThreadId(9), &some, &host()), Err(ChangeError::NoIoThread(IoThreadId(9))));
        let error = pin_process(&plan, &none, &host()).unwrap_err();
        assert_eq!(error.to_string(), "none of the CPUs '90-91' is online: name CPUs among 0-11");
    }

    #[test]
    fn only_restrictive_guests_get_other_nodes() {
        for mode in [MemMode::Strict, MemMode::Preferred, MemMode::Interleave] {
            let (stored, plan) = running(mode);
            let error = set_nodes(&plan, &stored, None, Some(&nodes("1")), &host()).unwrap_err();
            assert_eq!(error, ChangeError::NodesFixed(mode));
            let same = set_nodes(&plan, &stored, Some(mode), Some(&nodes("0")), &host()).unwrap();
            assert!(same.steps.is_empty());
        }
        let (stored, plan) = running(MemMode::Restrictive);
        let delta = set_nodes(&plan, &stored, None, Some(&nodes("1-2")), &host()).unwrap();
        // The kernel has no policy of such a cell that could be set anew.
        assert_eq!(delta.steps, [PlanStep::SetMems]);
        assert_eq!(delta.to.process.mems, Some(nodes("1-2")));
        assert_eq!(delta.to.vcpu(VcpuId(0)).unwrap().mems, Some(nodes("1-2")));
        assert_eq!(delta.to.io_threads[0].1.mems, Some(nodes("1-2")));
        assert_eq!(delta.to.cells[0].memory.iter().map(|share| share.size).sum::<Kib>(), Kib::from_gib(2));
    }

    #[test]
    fn modes_are_fixed_and_nodes_have_to_be_online() {
        let (stored, mut plan) = running(MemMode::Restrictive);
        let mode = set_nodes(&plan, &stored, Some(MemMode::Strict), None, &host()).unwrap_err();
        assert_eq!(mode, ChangeError::ModeFixed { now: MemMode::Restrictive });
        for bad in [nodes("7"), nodes("1,7"), NodeSet::new()] {
            let error = set_nodes(&plan, &stored, None, Some(&bad), &host()).unwrap_err();
            assert!(matches!(error, ChangeError::NodesOffline { .. }), "{error}");
        }
        plan.process.mems = None;
        let error = set_nodes(&plan, &stored, None, Some(&nodes("1")), &host()).unwrap_err();
        assert_eq!(error, ChangeError::NoCpuset);
    }

    #[test]
    fn io_threads_come_where_the_others_are() {
        let (stored, plan) = running(MemMode::Restrictive);
        let more = with_io_thread(&plan, &stored, IoThreadId(3), &host());
        assert_eq!((more.revision, more.io_threads.len()), (plan.revision + 1, 2));
        assert_eq!(more.io_threads[1].1, plan.io_threads[0].1, "neither is pinned");
        let less = without_io_thread(&more, IoThreadId(1));
        assert_eq!(less.io_threads.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_plugged_vcpu_is_booked_where_it_is() {
        let cells = (0..2).map(|cell| {
            crate::CellShape::new(crate::GuestCell(cell), Kib::from_gib(1), VcpuSet::of_range(cell * 2, cell * 2 + 1))
        });
        let shape = GuestShape::with_cells(cells.collect(), 4).online(1);
        let request =
            Request::new("g", shape).pin_vcpu(VcpuId(0), CpuSet::of(0)).pin_vcpu(VcpuId(3), "3-4".parse().unwrap());
        let old = plan(&host(), &Promised::default(), &PlacementProfile::qemu(), &request).unwrap();
        let new = set_online(&old, &"0,3".parse().unwrap(), &host());
        assert_eq!((new.revision, new.shape.vcpus_online, new.headroom.vcpus), (old.revision + 1, 2, 2));
        // CPUs 0 to 3 are of node 0, CPU 4 of node 1.
        let loads: Vec<_> = new.cpu_load.iter().map(|load| (load.node.0, load.milli_vcpus)).collect();
        assert_eq!(loads, [(0, 1500), (1, 500)]);
        assert_eq!(new.cells, old.cells, "places were decided at the start");
    }

    #[test]
    fn devices_that_come_and_go_are_steps() {
        let (_, old) = running(MemMode::Strict);
        let mut new = old.clone();
        let device = crate::MemoryDeviceRequest::new(None, Kib::from_gib(1));
        let request = Request::new("g", GuestShape::flat(1, Kib::from_gib(2))).device(device);
        new.devices = plan(&host(), &Promised::default(), &PlacementProfile::qemu(), &request).unwrap().devices;
        assert_eq!(PlanDelta::between(&old, new.clone()).steps, [PlanStep::AddMemoryDevice(0)]);
        assert_eq!(PlanDelta::between(&new, old).steps, [PlanStep::RemoveMemoryDevice(0)]);
    }
}
