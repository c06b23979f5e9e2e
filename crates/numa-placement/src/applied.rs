//! What each kind of hypervisor does with a plan: memory policy and affinity of the process before it runs, the cgroup
//! of every thread, and what binds every cell.
//!
//! | step | qemu, cloud-hypervisor | container | xen |
//! |---|---|---|---|
//! | memory policy between fork and exec | general policy, unless a cpuset cgroup confines a strict guest anyway | the same | none: the hypervisor allocates |
//! | affinity between fork and exec | CPUs of strict nodes with one cell at most, else the emulator's | the same | none |
//! | `cpuset.mems` | strict: all nodes of the guest; restrictive: the general ones | its nodes, whatever the mode | none |
//! | cells | a bound backend each (qemu); one memory for all (cloud-hypervisor) | none | one node each |
//!
//! Pure: a driver, or somebody who explains one, reads off what would be done. Where libvirt does nothing for strict
//! containers with a cpuset controller, this binds them: that is what its manual says.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::policy::{MemMode, MemPolicy, PageSize};
use crate::request::KernelSupport;
use crate::set::{CpuSet, NodeSet};
use crate::units::{GuestCell, HostNode, IoThreadId, VcpuId};

/// A kind of hypervisor, as far as binding is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Hypervisor {
    /// QEMU: a memory backend for every cell.
    Qemu,
    /// Cloud Hypervisor: one policy for the process.
    CloudHypervisor,
    /// A container.
    Container,
    /// Xen: a physical node for every virtual one.
    Xen,
}

/// A thread of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Thread {
    /// The emulator's own, or the container's process.
    Process,
    /// A vCPU.
    Vcpu(VcpuId),
    /// An I/O thread.
    IoThread(IoThreadId),
}

/// Where a thread runs, by its affinity and its cgroup alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ThreadBinding {
    /// Which.
    pub thread: Thread,
    /// Its CPUs: affinity and `cpuset.cpus`.
    pub cpus: CpuSet,
    /// Its `cpuset.mems`; `None`: untouched.
    pub mems: Option<NodeSet>,
}

/// What binds the memory of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CellBinding {
    /// Which.
    pub cell: GuestCell,
    /// `host-nodes` of its backend; empty: none are given (Q6, Q7).
    pub host_nodes: NodeSet,
    /// `policy` of its backend.
    pub policy: Option<String>,
    /// Whether it needs a backend though nothing else does (Q4).
    pub own_backend: bool,
    /// Nodes whose CPUs preallocate it (Q11).
    pub prealloc_nodes: Option<NodeSet>,
    /// Xen's `pnode`.
    pub pnode: Option<HostNode>,
}

/// Everything that is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Applied {
    /// Memory policy of the process between fork and exec.
    pub launch_policy: Option<MemPolicy>,
    /// Its affinity then.
    pub launch_cpus: Option<CpuSet>,
    /// Threads, the process first.
    pub threads: Vec<ThreadBinding>,
    /// Cells, ascending.
    pub cells: Vec<CellBinding>,
}

/// What this hypervisor does with a plan.
#[must_use]
pub fn applied(plan: &Plan, hypervisor: Hypervisor, kernel: KernelSupport) -> Applied {
    let owns_process = hypervisor != Hypervisor::Xen;
    let mems = |mems: &Option<NodeSet>| mems.clone().filter(|_| owns_process && kernel.cpuset);
    let launch_cpus = plan.process.launch_cpus.clone().unwrap_or_else(|| plan.process.cpus.clone());
    let mut threads = Vec::new();
    if owns_process {
        let cpus = plan.process.cpus.clone();
        threads.push(ThreadBinding { thread: Thread::Process, cpus, mems: mems(&plan.process.mems) });
    }
    if hypervisor != Hypervisor::Container {
        for vcpu in plan.cells.iter().flat_map(|cell| &cell.vcpus) {
            let thread = Thread::Vcpu(vcpu.vcpu);
            threads.push(ThreadBinding { thread, cpus: vcpu.hard.clone(), mems: mems(&vcpu.mems) });
        }
    }
    if hypervisor == Hypervisor::Qemu {
        for (id, thread) in &plan.io_threads {
            let (thread, cpus, mems) = (Thread::IoThread(*id), thread.cpus.clone(), mems(&thread.mems));
            threads.push(ThreadBinding { thread, cpus, mems });
        }
    }
    Applied {
        launch_policy: plan.process.launch.clone().filter(|_| owns_process),
        launch_cpus: owns_process.then_some(launch_cpus),
        threads,
        cells: plan.cells.iter().map(|cell| cell_binding(cell, hypervisor)).collect(),
    }
}

fn cell_binding(cell: &crate::CellPlan, hypervisor: Hypervisor) -> CellBinding {
    let bound =
        hypervisor == Hypervisor::Qemu && cell.policy.mode != Some(MemMode::Restrictive) && !cell.policy.weighted;
    CellBinding {
        cell: cell.cell,
        host_nodes: if bound { cell.policy.nodes.clone() } else { NodeSet::new() },
        policy: cell.policy.qemu_word().filter(|_| bound).map(str::to_owned),
        own_backend: hypervisor == Hypervisor::Qemu && (cell.own_policy || cell.page != PageSize::Base),
        prealloc_nodes: cell.prealloc_nodes.clone().filter(|_| hypervisor == Hypervisor::Qemu),
        pnode: match (hypervisor, &cell.memory[..]) {
            (Hypervisor::Xen, [share, ..]) => Some(share.node),
            _ => None,
        },
    }
}

/// What links an initiator to a target, as the cells' interconnects say (C10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Interconnect {
    /// A cell with vCPUs.
    pub initiator: GuestCell,
    /// Any cell.
    pub target: GuestCell,
    /// Access latency in nanoseconds.
    pub latency: Option<u64>,
    /// Access bandwidth in KiB/s.
    pub bandwidth: Option<u64>,
}

impl Interconnect {
    /// A link without figures.
    #[must_use]
    pub const fn new(initiator: GuestCell, target: GuestCell) -> Interconnect {
        Interconnect { initiator, target, latency: None, bandwidth: None }
    }

    /// This latency.
    #[must_use]
    pub const fn latency(mut self, nanoseconds: u64) -> Interconnect {
        self.latency = Some(nanoseconds);
        self
    }

    /// This bandwidth.
    #[must_use]
    pub const fn bandwidth(mut self, kib_per_second: u64) -> Interconnect {
        self.bandwidth = Some(kib_per_second);
        self
    }
}

/// Q14: the initiator of every cell: itself if it has vCPUs, else that of the lowest latency to it, else that of the
/// largest bandwidth, else the first cell with vCPUs. `cells` says of every cell whether it has vCPUs; `None` where no
/// cell has any.
#[must_use]
pub fn initiators(cells: &[bool], links: &[Interconnect]) -> Vec<Option<GuestCell>> {
    let first = (0u32..).zip(cells).find(|(_, has)| **has).map(|(cell, _)| GuestCell(cell));
    let of = |cell: GuestCell| {
        let to = links.iter().filter(move |link| link.target == cell);
        let fastest = to.clone().filter_map(|link| Some((link.latency?, link.initiator))).min();
        let widest = to.filter_map(|link| Some((std::cmp::Reverse(link.bandwidth?), link.initiator))).min();
        fastest.map(|(_, cell)| cell).or(widest.map(|(_, cell)| cell)).or(first)
    };
    (0u32..).zip(cells).map(|(cell, has)| if *has { Some(GuestCell(cell)) } else { of(GuestCell(cell)) }).collect()
}

#[cfg(test)]
mod tests;
