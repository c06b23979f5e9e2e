//! Putting a topology together, and refusing what cannot be one.

use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use super::{
    Capacity, HostTopology, LOCAL_DISTANCE, MAX_NODES, MemoryLimit, Node, NodeKind, PagePool, REMOTE_DISTANCE,
};
use crate::set::{CpuSet, SetError};
use crate::units::{HostCpu, HostNode, Kib};

/// Why there is no topology.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// A file of the tree cannot be read.
    #[error("cannot read '{}'", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A file of the tree is larger than such a file can be.
    #[error("'{}' is longer than {limit} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A list of CPUs or nodes is not in the kernel's form.
    #[error("'{}': {source}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: SetError,
    },
    /// Too many nodes.
    #[error("{0} nodes are more than {MAX_NODES}")]
    TooManyNodes(usize),
    /// Two nodes of one number.
    #[error("node {0} comes twice")]
    DuplicateNode(HostNode),
    /// A CPU in two nodes.
    #[error("CPUs {cpus} are in node {node} and in an earlier one")]
    SharedCpus {
        /// The later node.
        node: HostNode,
        /// The CPUs.
        cpus: CpuSet,
    },
    /// Neither nodes nor CPUs.
    #[error("'{}' shows no online CPU: is /sys mounted there?", .0.display())]
    NoCpus(PathBuf),
}

impl Node {
    /// A node without CPUs and memory.
    #[must_use]
    pub fn new(id: HostNode) -> Node {
        Node {
            id,
            kind: NodeKind::Cpu,
            cpus: CpuSet::new(),
            memory: Kib::ZERO,
            free: Kib::ZERO,
            reclaimable: Kib::ZERO,
            reserve: Kib::ZERO,
            pools: Vec::new(),
            weight: 1,
            cores: Vec::new(),
            caches: Vec::new(),
        }
    }

    /// These CPUs, each a core of its own and all on one cache.
    #[must_use]
    pub fn with_cpus(mut self, cpus: CpuSet) -> Node {
        self.cores = cpus.iter().map(CpuSet::of).collect();
        self.caches = if cpus.is_empty() { Vec::new() } else { vec![cpus.clone()] };
        self.cpus = cpus;
        self
    }

    /// This many consecutive CPUs form a core.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Node {
        let cpus: Vec<HostCpu> = self.cpus.iter().collect();
        self.cores = cpus.chunks(threads.max(1)).map(|core| core.iter().copied().collect()).collect();
        self
    }

    /// This much memory, all of it free, no reserve.
    #[must_use]
    pub fn with_memory(mut self, memory: Kib) -> Node {
        self.memory = memory;
        self.free = memory;
        self
    }

    /// Only this much of the memory is free.
    #[must_use]
    pub fn with_free(mut self, free: Kib) -> Node {
        self.free = free;
        self
    }

    /// This much is kept for the host.
    #[must_use]
    pub fn with_reserve(mut self, reserve: Kib) -> Node {
        self.reserve = reserve;
        self
    }

    /// This huge page pool.
    #[must_use]
    pub fn with_pool(mut self, pool: PagePool) -> Node {
        self.pools.push(pool);
        self.pools.sort_by_key(|pool| pool.size);
        self
    }

    /// This weight when memory is interleaved by weights; 0 counts as 1.
    #[must_use]
    pub fn with_weight(mut self, weight: u8) -> Node {
        self.weight = weight.max(1);
        self
    }

    /// This kind. A node with CPUs is always [`NodeKind::Cpu`].
    #[must_use]
    pub fn with_kind(mut self, kind: NodeKind) -> Node {
        self.kind = kind;
        self
    }
}

/// Builds a [`HostTopology`] by hand.
#[derive(Clone, Debug)]
pub struct TopologyBuilder {
    pub(super) topology: HostTopology,
    pub(super) rows: Vec<Vec<u32>>,
}

impl HostTopology {
    /// An empty host with base pages of 4 KiB; add nodes.
    #[must_use]
    pub fn builder() -> TopologyBuilder {
        TopologyBuilder {
            topology: HostTopology {
                base_page: Kib(4),
                default_huge: None,
                nodes: Vec::new(),
                distances: Vec::new(),
                online: CpuSet::new(),
                possible: CpuSet::new(),
                isolated: CpuSet::new(),
                notes: Vec::new(),
                limit: None,
                capacity: Vec::new(),
            },
            rows: Vec::new(),
        }
    }

    /// Equal nodes 0…n-1 with consecutive CPUs, all memory free, 10/20 apart: for tests and examples.
    #[must_use]
    pub fn uniform(nodes: u32, cpus_each: u32, memory_each: Kib) -> TopologyBuilder {
        (0..nodes).fold(HostTopology::builder(), |builder, id| {
            let cpus = (id * cpus_each..(id + 1) * cpus_each).map(HostCpu).collect();
            builder.node(Node::new(HostNode(id)).with_cpus(cpus).with_memory(memory_each))
        })
    }
}

impl TopologyBuilder {
    /// One more node.
    #[must_use]
    pub fn node(mut self, node: Node) -> Self {
        self.topology.nodes.push(node);
        self
    }

    /// Changes nodes that are already there.
    #[must_use]
    pub fn map_nodes(mut self, change: impl FnMut(Node) -> Node) -> Self {
        self.topology.nodes = self.topology.nodes.into_iter().map(change).collect();
        self
    }

    /// Distances, one row per node in ascending order of nodes. What is missing or absurd falls back to 10 and 20.
    #[must_use]
    pub fn distances(mut self, rows: Vec<Vec<u32>>) -> Self {
        self.rows = rows;
        self
    }

    /// The ordinary page size.
    #[must_use]
    pub fn base_page(mut self, size: Kib) -> Self {
        self.topology.base_page = size;
        self
    }

    /// The huge page size meant when none is named.
    #[must_use]
    pub fn default_huge(mut self, size: Option<Kib>) -> Self {
        self.topology.default_huge = size;
        self
    }

    /// CPUs that may ever run; those of the nodes are added.
    #[must_use]
    pub fn possible(mut self, cpus: CpuSet) -> Self {
        self.topology.possible = cpus;
        self
    }

    /// CPUs the scheduler leaves alone.
    #[must_use]
    pub fn isolated(mut self, cpus: CpuSet) -> Self {
        self.topology.isolated = cpus;
        self
    }

    /// Something worth telling people.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.topology.notes.push(note.into());
        self
    }

    /// The topology.
    ///
    /// # Errors
    /// [`TopologyError`] if there is no CPU, too many nodes, a node twice, or a CPU in two nodes.
    pub fn build(self) -> Result<HostTopology, TopologyError> {
        let TopologyBuilder { mut topology, rows } = self;
        if topology.nodes.len() > MAX_NODES {
            return Err(TopologyError::TooManyNodes(topology.nodes.len()));
        }
        // Rows belong to nodes in ascending order, so sorting the nodes first keeps them together.
        topology.nodes.sort_by_key(|node| node.id);
        if let Some(pair) = topology.nodes.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(TopologyError::DuplicateNode(pair[0].id));
        }
        for node in &mut topology.nodes {
            let shared = node.cpus.intersection(&topology.online);
            if !shared.is_empty() {
                return Err(TopologyError::SharedCpus { node: node.id, cpus: shared });
            }
            topology.online = topology.online.union(&node.cpus);
            if !node.cpus.is_empty() {
                node.kind = NodeKind::Cpu;
            } else if node.kind == NodeKind::Cpu && !node.memory.is_zero() {
                node.kind = NodeKind::MemoryOnly;
            }
        }
        if topology.online.is_empty() {
            return Err(TopologyError::NoCpus(PathBuf::from("/")));
        }
        topology.possible = topology.possible.union(&topology.online);
        topology.isolated = topology.isolated.intersection(&topology.online);
        fill_distances(&mut topology, &rows);
        topology.capacity = topology.nodes.iter().map(|node| Capacity::of(node, &topology.isolated)).collect();
        Ok(topology)
    }
}

/// A topology as it is written down. Reading one builds it anew, so that every topology keeps the invariants.
#[derive(Deserialize)]
pub(super) struct Stored {
    base_page: Kib,
    default_huge: Option<Kib>,
    nodes: Vec<Node>,
    distances: Vec<u8>,
    possible: CpuSet,
    isolated: CpuSet,
    notes: Vec<String>,
    #[serde(default)]
    limit: Option<MemoryLimit>,
}

impl TryFrom<Stored> for HostTopology {
    type Error = TopologyError;

    fn try_from(stored: Stored) -> Result<HostTopology, TopologyError> {
        let rows = stored.distances.chunks(stored.nodes.len().max(1));
        let builder = TopologyBuilder {
            rows: rows.map(|row| row.iter().copied().map(u32::from).collect()).collect(),
            topology: HostTopology {
                nodes: stored.nodes,
                notes: stored.notes,
                limit: stored.limit,
                ..HostTopology::builder().topology
            },
        };
        let builder = builder.base_page(stored.base_page).default_huge(stored.default_huge);
        builder.possible(stored.possible).isolated(stored.isolated).build()
    }
}

/// ACPI reserves distances below 10 and keeps 10 for a node and itself; 255 means unreachable. Anything else that a
/// firmware may say is replaced by 20, and the topology says so.
fn fill_distances(topology: &mut HostTopology, rows: &[Vec<u32>]) {
    let count = topology.nodes.len();
    let mut replaced = 0usize;
    let mut table = Vec::with_capacity(count * count);
    for from in 0..count {
        for to in 0..count {
            let given = rows.get(from).and_then(|row| row.get(to)).copied();
            let usable = given.and_then(|d| u8::try_from(d).ok()).filter(|d| (*d == LOCAL_DISTANCE) == (from == to));
            table.push(match usable {
                Some(distance) if distance >= LOCAL_DISTANCE => distance,
                _ => {
                    replaced += usize::from(!rows.is_empty());
                    if from == to { LOCAL_DISTANCE } else { REMOTE_DISTANCE }
                }
            });
        }
    }
    if replaced > 0 {
        let total = count * count;
        topology.notes.push(format!("{replaced} of {total} distances are missing or absurd and read as 10 or 20"));
    }
    topology.distances = table;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set::NodeSet;

    #[test]
    fn a_uniform_host() {
        let host = HostTopology::uniform(2, 4, Kib::from_gib(8)).build().unwrap();
        assert_eq!(host.online_cpus().to_string(), "0-7");
        assert_eq!(host.cpus_of(&NodeSet::of(HostNode(1))).to_string(), "4-7");
        assert_eq!(host.nodes_of(&CpuSet::of_range(3, 4)).to_string(), "0-1");
        assert_eq!((host.distance_at(0, 0), host.distance_at(0, 1)), (10, 20));
        assert_eq!(host.memory(), Kib::from_gib(16));
    }

    #[test]
    fn absurd_and_missing_distances_fall_back_and_are_told() {
        let rows = vec![vec![10, 0, 300], vec![11, 20]];
        let host = HostTopology::uniform(3, 1, Kib(1)).distances(rows).build().unwrap();
        let table: Vec<_> = (0..9).map(|at| host.distance_at(at / 3, at % 3)).collect();
        assert_eq!(table, [10, 20, 20, 11, 10, 20, 20, 20, 10]);
        assert_eq!(host.notes(), ["7 of 9 distances are missing or absurd and read as 10 or 20"]);
    }

    #[test]
    fn a_topology_survives_json_and_a_bad_one_is_refused() {
        let host = HostTopology::uniform(2, 4, Kib(9)).distances(vec![vec![10, 17], vec![28, 10]]);
        let host = host.isolated(CpuSet::of_range(0, 0)).note("odd").build().unwrap();
        let text = serde_json::to_string(&host).unwrap();
        assert_eq!(serde_json::from_str::<HostTopology>(&text).unwrap(), host);
        let twice = text.replace("\"id\":1", "\"id\":0");
        assert!(serde_json::from_str::<HostTopology>(&twice).unwrap_err().to_string().contains("node 0 comes twice"));
    }

    #[test]
    fn asymmetric_distances_are_kept() {
        let host = HostTopology::uniform(2, 1, Kib(1)).distances(vec![vec![10, 17], vec![28, 10]]).build().unwrap();
        assert_eq!((host.distance(HostNode(0), HostNode(1)), host.distance(HostNode(1), HostNode(0))), (17, 28));
        assert!(host.notes().is_empty());
    }

    #[test]
    fn what_cannot_be_a_host_is_refused() {
        assert!(matches!(HostTopology::builder().build(), Err(TopologyError::NoCpus(_))));
        let twice = HostTopology::uniform(1, 1, Kib(1)).node(Node::new(HostNode(0)));
        assert!(matches!(twice.build(), Err(TopologyError::DuplicateNode(HostNode(0)))));
        let shared = HostTopology::uniform(1, 2, Kib(1)).node(Node::new(HostNode(3)).with_cpus(CpuSet::of_range(1, 2)));
        assert_eq!(shared.build().unwrap_err().to_string(), "CPUs 1 are in node 3 and in an earlier one");
        let many = HostTopology::uniform(4097, 1, Kib(1));
        assert!(matches!(many.build(), Err(TopologyError::TooManyNodes(4097))));
    }

    #[test]
    fn a_node_without_cpus_is_memory_only_unless_told_otherwise() {
        let device = Node::new(HostNode(2)).with_memory(Kib(9)).with_kind(NodeKind::DeviceMemory);
        let host = HostTopology::uniform(1, 1, Kib(1))
            .node(Node::new(HostNode(8)).with_memory(Kib(9)))
            .node(device)
            .build()
            .unwrap();
        let kinds: Vec<_> = host.nodes().iter().map(|node| (node.id.0, node.kind)).collect();
        assert_eq!(kinds, [(0, NodeKind::Cpu), (2, NodeKind::DeviceMemory), (8, NodeKind::MemoryOnly)]);
        assert_eq!(host.node(HostNode(8)).unwrap().memory, Kib(9));
        assert_eq!(host.node(HostNode(7)), None);
    }
}
