//! Hosts to simulate.

use crate::topology::{HostTopology, Node, NodeKind, TopologyError};
use crate::units::{HostCpu, HostNode, Kib};

/// A host with a name.
#[derive(Clone, Debug)]
pub struct Host {
    /// For tables.
    pub name: &'static str,
    /// The host.
    pub topology: HostTopology,
}

/// Memory of every host for each hardware thread.
pub const GIB_PER_THREAD: u64 = 4;

/// Equal nodes of two-threaded cores.
fn equal(nodes: u32, threads: u32, distance: impl Fn(u32, u32) -> u32) -> Result<HostTopology, TopologyError> {
    let mut builder = HostTopology::builder();
    for id in 0..nodes {
        let cpus = (id * threads..(id + 1) * threads).map(HostCpu).collect();
        let memory = Kib::from_gib(u64::from(threads) * GIB_PER_THREAD);
        builder = builder.node(Node::new(HostNode(id)).with_cpus(cpus).with_threads(2).with_memory(memory));
    }
    let row = |from: u32| (0..nodes).map(|to| if from == to { 10 } else { distance(from, to) }).collect();
    builder.distances((0..nodes).map(row).collect()).build()
}

/// Two sockets with 64 threads each.
pub fn two_sockets() -> Result<HostTopology, TopologyError> {
    equal(2, 64, |_, _| 21)
}

/// Two sockets of four nodes each, as AMD's NPS4 shows them: 12 in a socket, 32 between them.
pub fn nps4() -> Result<HostTopology, TopologyError> {
    equal(8, 32, |a, b| if a / 4 == b / 4 { 12 } else { 32 })
}

/// Eight nodes in a ring: 16, 22 and 28 by hops.
pub fn ring() -> Result<HostTopology, TopologyError> {
    equal(8, 32, |a, b| match a.abs_diff(b).min(8 - a.abs_diff(b)) {
        1 => 16,
        2 => 22,
        _ => 28,
    })
}

/// Two sockets of twelve last-level caches, each a node.
pub fn l3_as_numa() -> Result<HostTopology, TopologyError> {
    equal(24, 16, |a, b| if a / 12 == b / 12 { 11 } else { 32 })
}

/// Many small nodes in sockets of sixteen, halves of which are near: as sub-NUMA clusters of a large machine.
pub fn clusters(nodes: u32) -> Result<HostTopology, TopologyError> {
    equal(nodes, 8, |a, b| match (a / 2 == b / 2, a / 16 == b / 16) {
        (true, _) => 12,
        (_, true) => 16,
        _ => 32 + (a / 16).abs_diff(b / 16).min(60),
    })
}

/// A hypercube of 2ⁿ nodes: 10 more with every hop.
pub fn hypercube(dimensions: u32) -> Result<HostTopology, TopologyError> {
    equal(1 << dimensions.min(10), 16, |a, b| 10 + 10 * (a ^ b).count_ones())
}

/// Two sockets and two nodes of CXL memory.
pub fn cxl() -> Result<HostTopology, TopologyError> {
    let memory = |id| Node::new(HostNode(id)).with_memory(Kib::from_gib(128));
    let base = two_sockets()?;
    let mut builder = base.nodes().iter().cloned().fold(HostTopology::builder(), crate::TopologyBuilder::node);
    builder = builder.node(memory(2)).node(memory(3));
    let rows = [[10, 21, 24, 34], [21, 10, 34, 24], [24, 34, 10, 44], [34, 24, 44, 10]];
    builder.distances(rows.map(|row| row.to_vec()).to_vec()).build()
}

/// Two processors of 72 cores, and 32 nodes of their accelerators' memory, as a GB200 shows them.
pub fn accelerators() -> Result<HostTopology, TopologyError> {
    let mut builder = HostTopology::builder();
    for id in 0..2 {
        let cpus = (id * 72..(id + 1) * 72).map(HostCpu).collect();
        builder = builder.node(Node::new(HostNode(id)).with_cpus(cpus).with_memory(Kib::from_gib(480)));
    }
    for id in 2..34 {
        let node = Node::new(HostNode(id)).with_kind(NodeKind::DeviceMemory);
        builder = builder.node(if id % 16 == 2 { node.with_memory(Kib::from_gib(186)) } else { node });
    }
    let row = |from: u32| (0..34).map(|to| distance_of_accelerators(from, to)).collect();
    builder.distances((0..34).map(row).collect()).build()
}

fn distance_of_accelerators(from: u32, to: u32) -> u32 {
    let socket = |id: u32| if id < 2 { id } else { (id - 2) / 16 };
    match (from == to, from < 2 && to < 2, socket(from) == socket(to)) {
        (true, _, _) => 10,
        (_, true, _) => 40,
        (_, _, true) => 80,
        _ => 120,
    }
}

/// Eight nodes of which two have no memory, the first among them.
pub fn memoryless_first() -> Result<HostTopology, TopologyError> {
    let all = equal(8, 8, |_, _| 20)?;
    let bare = |node: Node| match node.id.0 {
        0 | 2 => node.with_memory(Kib::ZERO),
        _ => node,
    };
    all.nodes().iter().cloned().map(bare).fold(HostTopology::builder(), crate::TopologyBuilder::node).build()
}

/// Four nodes whose distances differ by direction.
pub fn asymmetric() -> Result<HostTopology, TopologyError> {
    equal(4, 16, |a, b| if a < b { 15 + 3 * (b - a) } else { 20 + 5 * (a - b) })
}

/// The hosts of the tables.
///
/// # Errors
/// None of these: they are built from constants; the type says so because building a topology can fail.
pub fn tables() -> Result<Vec<Host>, TopologyError> {
    Ok(vec![
        Host { name: "2 sockets × 64 threads", topology: two_sockets()? },
        Host { name: "8 nodes NPS4 (12/32)", topology: nps4()? },
        Host { name: "8 nodes ring (16/22/28)", topology: ring()? },
        Host { name: "24 nodes, L3 as NUMA", topology: l3_as_numa()? },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_can_be_built() {
        assert_eq!(tables().unwrap().len(), 4);
        for (host, nodes) in [
            (clusters(64), 64),
            (hypercube(4), 16),
            (cxl(), 4),
            (accelerators(), 34),
            (memoryless_first(), 8),
            (asymmetric(), 4),
        ] {
            let host = host.unwrap();
            assert_eq!(host.nodes().len(), nodes);
            assert!(host.notes().is_empty(), "{:?}", host.notes());
        }
    }
}
