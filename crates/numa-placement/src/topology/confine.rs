//! A part of a host: what a process may use whose cgroup confines it.

use super::{HostTopology, Node, TopologyBuilder, TopologyError};
use crate::set::{CpuSet, NodeSet};
use crate::units::Kib;

impl HostTopology {
    /// The same host as somebody sees it who may run on `cpus` and take memory of `nodes` alone. Nodes and distances stay: a
    /// node of which nothing is left has no CPUs and no memory.
    ///
    /// # Errors
    /// [`TopologyError::NoCpus`] if none of the CPUs is online.
    pub fn confined(&self, cpus: &CpuSet, nodes: &NodeSet) -> Result<HostTopology, TopologyError> {
        let count = self.nodes.len();
        let rows = (0..count).map(|from| (0..count).map(|to| self.distance_at(from, to).into()).collect()).collect();
        let mut topology = HostTopology::builder().topology;
        topology.notes.clone_from(&self.notes);
        topology.limit.clone_from(&self.limit);
        topology.nodes = self.nodes.iter().map(|node| confine(node, cpus, nodes)).collect();
        let builder = TopologyBuilder { topology, rows }.base_page(self.base_page).default_huge(self.default_huge);
        let (may, all) = (cpus.intersection(&self.online), nodes.intersection(&self.online_nodes()));
        let note = format!(
            "this process is confined to the CPUs {may} and the memory of the nodes {all}, and so are its guests"
        );
        builder.possible(self.possible.clone()).isolated(self.isolated.clone()).note(note).build()
    }
}

fn confine(node: &Node, cpus: &CpuSet, nodes: &NodeSet) -> Node {
    let mut node = node.clone();
    node.cpus = node.cpus.intersection(cpus);
    for groups in [&mut node.cores, &mut node.caches] {
        *groups = groups.iter().map(|group| group.intersection(cpus)).filter(|group| !group.is_empty()).collect();
    }
    if !nodes.contains(node.id) {
        for size in [&mut node.memory, &mut node.free, &mut node.reclaimable, &mut node.reserve] {
            *size = Kib::ZERO;
        }
        node.pools.clear();
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{NodeKind, PagePool};
    use crate::units::HostNode;

    #[test]
    fn what_is_left_out_cannot_be_promised() {
        let pool = PagePool::new(Kib(2048), 8, 8);
        let host = HostTopology::uniform(3, 4, Kib::from_gib(8)).map_nodes(|node| node.with_pool(pool).with_threads(2));
        let host = host.build().unwrap();
        let part = host.confined(&CpuSet::of_range(3, 6), &[HostNode(1), HostNode(2)].into_iter().collect()).unwrap();
        assert_eq!(part.online_cpus().to_string(), "3-6");
        let [first, second, third] = part.nodes() else { panic!("{part:?}") };
        assert_eq!((first.cpus.to_string(), first.memory, first.pools.len()), ("3".to_owned(), Kib::ZERO, 0));
        assert_eq!(second.cores.iter().map(ToString::to_string).collect::<Vec<_>>(), ["4-5", "6"]);
        assert_eq!((third.kind, third.memory, third.pools.len()), (NodeKind::MemoryOnly, Kib::from_gib(8), 1));
        assert_eq!((part.distance_at(0, 2), part.distance_at(1, 1)), (20, 10));
        assert!(
            part.notes().last().unwrap().contains("CPUs 3-6 and the memory of the nodes 1-2"),
            "{:?}",
            part.notes()
        );
        let limited = host.clone().limited(Kib::from_gib(3), "a test");
        let part = limited.confined(&CpuSet::of_range(3, 6), &limited.online_nodes()).unwrap();
        assert_eq!(part.limit(), limited.limit());
        let text = serde_json::to_string(&part).unwrap();
        assert_eq!(serde_json::from_str::<HostTopology>(&text).unwrap(), part);
        assert!(matches!(
            host.confined(&CpuSet::of_range(40, 50), &host.online_nodes()),
            Err(TopologyError::NoCpus(_))
        ));
    }
}
