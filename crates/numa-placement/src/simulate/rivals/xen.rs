//! Xen's toolstack (libxl): the fewest nodes that have the memory, among them those with the fewest runnable vCPUs,
//! then with the most free memory. Distances are not looked at, nothing is reserved, and above 16 nodes it gives up.

use super::{Ask, Rival, Spot, View, members, subsets};

const MOST_NODES: usize = 16;

/// libxl's automatic placement.
#[derive(Debug, Default)]
pub struct Xen;

impl Rival for Xen {
    fn name(&self) -> &'static str {
        "xen"
    }

    fn works_with(&self, nodes: usize) -> bool {
        nodes <= MOST_NODES
    }

    fn place(&mut self, view: &View<'_>, ask: &Ask) -> Option<Spot> {
        let count = view.nodes.len();
        let set = if count <= 1 || count > MOST_NODES { None } else { best_set(view, ask) };
        let nodes = set.map_or_else(|| (0..count).collect(), |mask| members(mask).collect());
        // The hypervisor takes memory from the nodes of the affinity in turn.
        Some(Spot { striped: true, booked: true, ..Spot::on(nodes) })
    }
}

fn best_set(view: &View<'_>, ask: &Ask) -> Option<u32> {
    let nodes = view.nodes;
    let uniform = nodes.iter().all(|node| node.threads == nodes[0].threads);
    let first = if uniform { ask.vcpus.div_ceil(nodes[0].threads.max(1)).max(1) } else { 1 };
    let sum = |mask: u32, of: &dyn Fn(usize) -> u64| members(mask).map(of).sum::<u64>();
    for size in first..=u32::try_from(nodes.len()).unwrap_or(0) {
        let mut best: Option<(u64, u64, u32)> = None;
        for mask in lexicographic(nodes.len(), size) {
            let free = sum(mask, &|at| nodes[at].unpromised());
            let threads = sum(mask, &|at| u64::from(nodes[at].threads));
            if free < ask.memory.0 || threads < u64::from(ask.vcpus) {
                continue;
            }
            let runnable = sum(mask, &|at| u64::from(nodes[at].runnable));
            let better = best.is_none_or(|(known, most, _)| runnable < known || (runnable == known && free > most));
            if better {
                best = Some((runnable, free, mask));
            }
        }
        if let Some((_, _, mask)) = best {
            return Some(mask);
        }
    }
    None
}

/// Subsets of one size, in lexicographic order of their members.
fn lexicographic(count: usize, size: u32) -> Vec<u32> {
    let mut masks: Vec<u32> = subsets(count).filter(|mask| mask.count_ones() == size).collect();
    masks.sort_by(|a, b| members(*a).cmp(members(*b)));
    masks
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIB, ask, host};
    use super::*;

    fn place(nodes: &[(u32, u64)], change: impl Fn(usize, &mut super::super::NodeView), vcpus: u32, gib: u64) -> Spot {
        let (topology, mut views) = host(nodes);
        views.iter_mut().enumerate().for_each(|(at, view)| change(at, view));
        Xen.place(&View { topology: &topology, nodes: &views, dedicated: false }, &ask(vcpus, gib)).unwrap()
    }

    #[test]
    fn the_fewest_nodes_then_the_fewest_vcpus_then_the_most_memory() {
        let four = [(8, 32); 4];
        assert_eq!(place(&four, |_, _| (), 4, 8).cpus, [0]);
        assert_eq!(place(&four, |at, view| view.runnable = if at == 2 { 0 } else { 5 }, 4, 8).cpus, [2]);
        assert_eq!(place(&four, |at, view| view.promised = if at == 3 { 0 } else { GIB }, 4, 8).cpus, [3]);
        assert_eq!(place(&four, |_, view| view.promised = 20 * GIB, 4, 20).cpus, [0, 1]);
        assert_eq!(place(&four, |_, _| (), 12, 8).cpus, [0, 1], "wider than a node");
    }

    #[test]
    fn a_full_set_of_equal_nodes_is_taken_whatever_the_distance() {
        // Node 3 is as good as node 1 for the second half: the first in order wins.
        assert_eq!(place(&[(8, 32); 4], |_, _| (), 8, 40).cpus, [0, 1]);
    }

    #[test]
    fn above_sixteen_nodes_nothing_is_placed() {
        let spot = place(&[(2, 4); 17], |_, _| (), 1, 1);
        assert_eq!((spot.cpus.len(), spot.striped), (17, true));
        assert!(!Xen.works_with(17) && Xen.works_with(16));
    }

    #[test]
    fn what_fits_nowhere_goes_everywhere() {
        assert_eq!(place(&[(8, 32); 2], |_, view| view.promised = 31 * GIB, 1, 4).cpus, [0, 1]);
    }
}
