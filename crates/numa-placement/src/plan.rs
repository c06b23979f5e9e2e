//! The decision: what a driver applies, what the status record keeps, what `explain` shows.
//!
//! Invariants: `cells` is never empty and ascends; every vCPU up to the maximum stands in exactly one cell; every CPU
//! set in it is non-empty and online at the time of planning; the sum of `memory` of a cell is the cell's size.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::policy::{MemPolicy, PageSize};
use crate::set::{CpuSet, NodeSet};
use crate::shape::GuestShape;
use crate::trace::Trace;
use crate::units::{GuestCell, HostNode, IoThreadId, Kib, VcpuId};

/// Version of the serialised form; a reader refuses what is newer.
pub const PLAN_SCHEMA: u16 = 1;

/// A lease in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub String);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Where a guest sits on the host, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// [`PLAN_SCHEMA`] of the writer.
    pub schema: u16,
    /// Grows with every change of the plan.
    pub revision: u64,
    /// `None`: advisory, nothing is booked.
    pub lease: Option<LeaseId>,
    /// What the guest sees.
    pub shape: GuestShape,
    /// One per cell of the guest; one implied cell for a guest without.
    pub cells: Vec<CellPlan>,
    /// The emulator's own thread, or the container's process.
    pub process: ThreadPlan,
    /// I/O threads, ascending.
    pub io_threads: Vec<(IoThreadId, ThreadPlan)>,
    /// Memory devices, in the order of the request.
    pub devices: Vec<MemoryDevicePlan>,
    /// What hot-plug may use later.
    pub headroom: Headroom,
    /// vCPUs that are online at the start, per node, as the ledger books them.
    pub cpu_load: Vec<CpuLoad>,
    /// CPUs that are this guest's own, by node; empty if it shares CPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dedicated: Vec<(HostNode, CpuSet)>,
    /// Only if CPU or memory placement is automatic: libvirt's `<numad nodeset= cpuset=/>`.
    pub advice: Option<Advice>,
    /// What was asked and is met only in part.
    pub weakened: Vec<Weakening>,
    /// How the decision was made.
    pub trace: Trace,
}

impl Plan {
    /// What the ledger books: memory per node and page size, cells, devices and headroom together, ascending.
    #[must_use]
    pub fn promised_memory(&self) -> Vec<(HostNode, PageSize, Kib)> {
        let cells = self.cells.iter().map(|cell| (&cell.memory, cell.page));
        let devices = self.devices.iter().map(|device| (&device.memory, device.page));
        let mut sums = std::collections::BTreeMap::<(HostNode, PageSize), Kib>::new();
        let headroom = std::iter::once((&self.headroom.memory, self.headroom.page));
        for (shares, page) in cells.chain(devices).chain(headroom) {
            for share in shares {
                let sum = sums.entry((share.node, page)).or_default();
                *sum = sum.saturating_add(share.size);
            }
        }
        sums.into_iter().map(|((node, page), size)| (node, page, size)).collect()
    }

    /// The cell's plan.
    #[must_use]
    pub fn cell(&self, cell: GuestCell) -> Option<&CellPlan> {
        self.cells.iter().find(|plan| plan.cell == cell)
    }

    /// The vCPU's plan.
    #[must_use]
    pub fn vcpu(&self, vcpu: VcpuId) -> Option<&VcpuPlan> {
        self.cells.iter().flat_map(|cell| &cell.vcpus).find(|plan| plan.vcpu == vcpu)
    }

    /// All host nodes that the guest's memory was promised on.
    #[must_use]
    pub fn memory_nodes(&self) -> NodeSet {
        self.promised_memory().into_iter().map(|(node, _, _)| node).collect()
    }
}

/// Where one cell sits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CellPlan {
    /// Which.
    pub cell: GuestCell,
    /// Its vCPUs up to the maximum, ascending: plugging one in needs no new decision.
    pub vcpus: Vec<VcpuPlan>,
    /// Promised sizes per node, ascending. The kernel fills a set its own way unless the profile says `exact_split`.
    pub memory: Vec<NodeShare>,
    /// The policy that governs the cell; no mode: emit nothing.
    pub policy: MemPolicy,
    /// Whether the cell has a policy of its own (`memnode`), so that it needs a backend of its own (Q4).
    pub own_policy: bool,
    /// Page size.
    pub page: PageSize,
    /// CPUs that preallocate it; `None`: no preallocation or no node set.
    pub prealloc_cpus: Option<CpuSet>,
    /// The nodes of those CPUs, for QEMU's `thread-context` (Q11).
    pub prealloc_nodes: Option<NodeSet>,
}

/// Where a vCPU runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VcpuPlan {
    /// Which.
    pub vcpu: VcpuId,
    /// CPUs it never leaves.
    pub hard: CpuSet,
    /// CPUs it prefers, where the hypervisor knows that.
    pub soft: Option<CpuSet>,
    /// `cpuset.mems` of its thread; `None`: untouched.
    pub mems: Option<NodeSet>,
    /// Where `hard` comes from.
    pub origin: Origin,
}

/// Where a thread of the hypervisor process runs, and its memory policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ThreadPlan {
    /// CPUs it never leaves.
    pub cpus: CpuSet,
    /// Where `cpus` comes from.
    pub origin: Origin,
    /// Memory policy to set between fork and exec.
    pub launch: Option<MemPolicy>,
    /// CPU affinity between fork and exec, so that early allocations are local; `None`: `cpus`.
    pub launch_cpus: Option<CpuSet>,
    /// `cpuset.mems`; `None`: untouched.
    pub mems: Option<NodeSet>,
}

/// Where a memory device (dimm, nvdimm, virtio-mem) sits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryDevicePlan {
    /// Position among the guest's memory devices.
    pub index: usize,
    /// The guest cell it belongs to.
    pub cell: Option<GuestCell>,
    /// Promised sizes per node, ascending.
    pub memory: Vec<NodeShare>,
    /// Policy of its backend.
    pub policy: MemPolicy,
    /// Page size.
    pub page: PageSize,
}

/// Memory on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeShare {
    /// The node.
    pub node: HostNode,
    /// How much of it.
    pub size: Kib,
}

impl NodeShare {
    /// This much on that node.
    #[must_use]
    pub const fn new(node: HostNode, size: Kib) -> NodeShare {
        NodeShare { node, size }
    }
}

/// vCPUs on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CpuLoad {
    /// The node.
    pub node: HostNode,
    /// vCPUs in thousandths: one that may run on two nodes counts 500 on each.
    pub milli_vcpus: u64,
}

/// What is kept for hot-plug.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Headroom {
    /// Memory per node.
    pub memory: Vec<NodeShare>,
    /// Its page size.
    #[serde(default)]
    pub page: PageSize,
    /// vCPUs between those of the start and the maximum.
    pub vcpus: u32,
}

/// What automatic placement chose; exactly libvirt's `<numad nodeset= cpuset=/>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Advice {
    /// Nodes for memory; all of them have some.
    pub nodeset: NodeSet,
    /// CPUs.
    pub cpuset: CpuSet,
}

impl Advice {
    /// Memory on these nodes, CPUs from these.
    #[must_use]
    pub fn new(nodeset: NodeSet, cpuset: CpuSet) -> Advice {
        Advice { nodeset, cpuset }
    }
}

/// Something that was asked for and is met only in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Weakening {
    /// The rule it concerns, such as "Q6"; "kernel" or "host" where no numbered rule is.
    pub rule: String,
    /// What is given up.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Weakening {
    /// What is given up, by which rule, and why.
    #[must_use]
    pub fn new(rule: impl Into<String>, what: impl Into<String>, why: impl Into<String>) -> Weakening {
        Weakening { rule: rule.into(), what: what.into(), why: why.into() }
    }
}

impl fmt::Display for Weakening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.what, self.why, self.rule)
    }
}

/// Where a CPU set comes from. Earlier ones win: a pin over the advice, the advice over `<vcpu cpuset>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// `vcpupin`, `emulatorpin` or `iothreadpin`.
    Pin,
    /// A CPU of its own.
    Dedicated,
    /// Automatic placement.
    Advice,
    /// `<vcpu cpuset>`.
    VcpuCpuset,
    /// Nothing said: all online CPUs of the host.
    AllHost,
}

/// A change of a plan, for a guest that runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlanDelta {
    /// Revision of the plan it starts from.
    pub from: u64,
    /// The plan afterwards.
    pub to: Plan,
    /// What to do, in order.
    pub steps: Vec<PlanStep>,
}

impl PlanDelta {
    /// From this revision to that plan.
    #[must_use]
    pub fn new(from: u64, to: Plan, steps: Vec<PlanStep>) -> PlanDelta {
        PlanDelta { from, to, steps }
    }
}

/// One step of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlanStep {
    /// Apply the CPUs of a vCPU.
    PinVcpu(VcpuId),
    /// Apply the CPUs of the emulator thread.
    PinProcess,
    /// Apply the CPUs of an I/O thread.
    PinIoThread(IoThreadId),
    /// Apply `cpuset.mems` of all threads.
    SetMems,
    /// Apply the policy of a cell.
    SetPolicy(GuestCell),
    /// Move pages.
    Migrate {
        /// From these nodes.
        from: NodeSet,
        /// To these.
        to: NodeSet,
        /// About this many bytes.
        bytes: u64,
    },
    /// Plug in the memory device with this position.
    AddMemoryDevice(usize),
    /// Take it out.
    RemoveMemoryDevice(usize),
}

/// What kernel and hypervisor made of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlacementReport {
    /// Steps that were done.
    pub applied: Vec<PlanStep>,
    /// What could be met only in part.
    pub weakened: Vec<Weakening>,
    /// Memory per node as it really is.
    pub observed: Vec<NodeShare>,
}

impl PlacementReport {
    /// These steps done, this given up, that observed.
    #[must_use]
    pub fn new(applied: Vec<PlanStep>, weakened: Vec<Weakening>, observed: Vec<NodeShare>) -> PlacementReport {
        PlacementReport { applied, weakened, observed }
    }
}
