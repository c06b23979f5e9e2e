//! The host: nodes, distances, CPUs, memory and huge pages.
//!
//! From a sysfs tree below any root ([`HostTopology::from_sysfs`]), or built by hand ([`HostTopology::builder`]). A
//! topology is a value: nothing here looks at the host again.
//!
//! Invariants: nodes ascend by id and may be sparse; no CPU is in two nodes; the distance table is complete, 10 on its
//! diagonal and 11…255 elsewhere; there is at least one node and at least one online CPU.

use serde::{Deserialize, Serialize};

use crate::set::{CpuSet, NodeSet};
use crate::units::{HostNode, Kib};

mod build;
mod capacity;
mod confine;
mod sysfs;

pub(crate) use capacity::{Capacity, Count};

pub use build::{TopologyBuilder, TopologyError};

/// More nodes than this are refused. Linux is built for at most 1024 (`NODES_SHIFT` 10).
pub const MAX_NODES: usize = 4096;
/// Distance of a node to itself (ACPI, System Locality Information Table).
pub const LOCAL_DISTANCE: u8 = 10;
/// Distance between two nodes of which none is known.
pub const REMOTE_DISTANCE: u8 = 20;

/// What a node is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeKind {
    /// It has CPUs, and memory unless `memory` is zero.
    Cpu,
    /// Ordinary memory without CPUs.
    MemoryOnly,
    /// Memory without CPUs that the kernel can only use for movable pages: hot-plugged by a driver, as the memory of
    /// accelerators and CXL devices is. Never chosen unless a definition names it.
    DeviceMemory,
}

/// Huge pages of one size on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PagePool {
    /// Page size.
    pub size: Kib,
    /// Pages in the pool.
    pub total: u64,
    /// Pages nobody has faulted in.
    pub free: u64,
}

impl PagePool {
    /// A pool with this many pages, of which these are free.
    #[must_use]
    pub const fn new(size: Kib, total: u64, free: u64) -> PagePool {
        PagePool { size, total, free }
    }
}

/// One node of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Node {
    /// Its number.
    pub id: HostNode,
    /// What it is made of.
    pub kind: NodeKind,
    /// Its online CPUs.
    pub cpus: CpuSet,
    /// Installed memory, huge page pools included.
    pub memory: Kib,
    /// Memory nobody uses, as the kernel counts it (`MemFree`).
    pub free: Kib,
    /// Page cache that the kernel gives up at once (`Inactive(file)`).
    pub reclaimable: Kib,
    /// Kept for the host and never promised to a guest.
    pub reserve: Kib,
    /// Huge page pools, ascending by size.
    pub pools: Vec<PagePool>,
    /// Its weight among others when memory is interleaved by weights; at least 1.
    #[serde(default = "lightest")]
    pub weight: u8,
    /// Online CPUs grouped by core, ascending by the first CPU.
    pub cores: Vec<CpuSet>,
    /// Online CPUs grouped by last-level cache, ascending by the first CPU.
    pub caches: Vec<CpuSet>,
}

const fn lightest() -> u8 {
    1
}

impl Node {
    /// The pool of this page size.
    #[must_use]
    pub fn pool(&self, size: Kib) -> Option<&PagePool> {
        self.pools.iter().find(|pool| pool.size == size)
    }

    /// Memory in huge page pools.
    #[must_use]
    pub fn pooled(&self) -> Kib {
        self.pools.iter().map(|pool| pool.size.saturating_mul(pool.total)).sum()
    }

    /// Ordinary memory that can be had at this moment, whatever is promised: free or given up at once, less the reserve.
    #[must_use]
    pub fn available(&self) -> Kib {
        self.free.saturating_add(self.reclaimable).saturating_sub(self.reserve)
    }

    /// Ordinary memory that may ever be promised: installed, less pools, less the reserve.
    #[must_use]
    pub fn promisable(&self) -> Kib {
        self.memory.saturating_sub(self.pooled()).saturating_sub(self.reserve)
    }
}

/// Memory that guests may have in all, whatever the nodes have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryLimit {
    /// So much.
    pub size: Kib,
    /// Who says so, such as the path of a cgroup's file.
    pub by: String,
}

/// The host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "build::Stored")]
#[non_exhaustive]
pub struct HostTopology {
    base_page: Kib,
    default_huge: Option<Kib>,
    nodes: Vec<Node>,
    distances: Vec<u8>,
    online: CpuSet,
    possible: CpuSet,
    isolated: CpuSet,
    notes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<MemoryLimit>,
    /// What the CPUs of each node amount to, by position.
    #[serde(skip)]
    capacity: Vec<Capacity>,
}

impl HostTopology {
    /// The host's ordinary page size.
    #[must_use]
    pub fn base_page(&self) -> Kib {
        self.base_page
    }

    /// The huge page size meant when none is named.
    #[must_use]
    pub fn default_huge(&self) -> Option<Kib> {
        self.default_huge
    }

    /// All huge page sizes, ascending.
    #[must_use]
    pub fn page_sizes(&self) -> Vec<Kib> {
        let mut sizes: Vec<_> = self.nodes.iter().flat_map(|node| &node.pools).map(|pool| pool.size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Nodes, ascending.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node with this number.
    #[must_use]
    pub fn node(&self, id: HostNode) -> Option<&Node> {
        self.position(id).map(|at| &self.nodes[at])
    }

    /// Where in [`nodes`](Self::nodes) this node stands.
    #[must_use]
    pub fn position(&self, id: HostNode) -> Option<usize> {
        self.nodes.binary_search_by_key(&id, |node| node.id).ok()
    }

    /// Distance of a memory access from CPUs of one node to memory of another; 10 is local. Unknown nodes are remote.
    #[must_use]
    pub fn distance(&self, from: HostNode, to: HostNode) -> u8 {
        match (self.position(from), self.position(to)) {
            (Some(from), Some(to)) => self.distance_at(from, to),
            _ => REMOTE_DISTANCE,
        }
    }

    /// The same by positions in [`nodes`](Self::nodes).
    #[must_use]
    pub fn distance_at(&self, from: usize, to: usize) -> u8 {
        let fallback = if from == to { LOCAL_DISTANCE } else { REMOTE_DISTANCE };
        self.distances.get(from * self.nodes.len() + to).copied().unwrap_or(fallback)
    }

    /// Distances from the node with this position, by position.
    #[must_use]
    pub(crate) fn row(&self, from: usize) -> &[u8] {
        let count = self.nodes.len();
        self.distances.get(from * count..(from + 1) * count).unwrap_or_default()
    }

    /// What the CPUs of each node amount to, by position.
    pub(crate) fn capacity(&self) -> &[Capacity] {
        &self.capacity
    }

    /// CPUs that run.
    #[must_use]
    pub fn online_cpus(&self) -> &CpuSet {
        &self.online
    }

    /// CPUs that may ever run.
    #[must_use]
    pub fn possible_cpus(&self) -> &CpuSet {
        &self.possible
    }

    /// CPUs the scheduler leaves alone (`isolcpus`).
    #[must_use]
    pub fn isolated_cpus(&self) -> &CpuSet {
        &self.isolated
    }

    /// All nodes.
    #[must_use]
    pub fn online_nodes(&self) -> NodeSet {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// Nodes with memory.
    #[must_use]
    pub fn memory_nodes(&self) -> NodeSet {
        self.nodes.iter().filter(|node| !node.memory.is_zero()).map(|node| node.id).collect()
    }

    /// Online CPUs of these nodes.
    #[must_use]
    pub fn cpus_of(&self, nodes: &NodeSet) -> CpuSet {
        self.nodes.iter().filter(|n| nodes.contains(n.id)).fold(CpuSet::new(), |cpus, n| cpus.union(&n.cpus))
    }

    /// Nodes of these CPUs.
    #[must_use]
    pub fn nodes_of(&self, cpus: &CpuSet) -> NodeSet {
        self.nodes.iter().filter(|node| !node.cpus.is_disjoint(cpus)).map(|node| node.id).collect()
    }

    /// Installed memory of all nodes.
    #[must_use]
    pub fn memory(&self) -> Kib {
        self.nodes.iter().map(|node| node.memory).sum()
    }

    /// What guests may have in all, if that is less than the nodes have.
    #[must_use]
    pub fn limit(&self) -> Option<&MemoryLimit> {
        self.limit.as_ref()
    }

    /// The same host for guests that may have so much ordinary memory in all; `by` says who limits them.
    #[must_use]
    pub fn limited(mut self, size: Kib, by: impl Into<String>) -> HostTopology {
        let by = by.into();
        self.notes.push(format!("guests may have {size} in all, by {by}"));
        self.limit = Some(MemoryLimit { size, by });
        self
    }

    /// What was odd about the source and how it was read, for people.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}
