//! numad, as libvirt asks it: `numad -w VCPUS:MIB`.
//!
//! For every anchor all nodes are sorted by distance, then by magnitude; the anchor whose first nodes have the largest
//! sum of magnitude over squared distance wins, and its order is used up until memory, CPUs and the least number of
//! nodes are reached. That least number is worked out from the size of node 0. Nothing is kept between calls, and free
//! memory is what guests have not touched.

use super::{Ask, Rival, Spot, View};
use crate::units::Kib;

/// Kept free on every node.
const MARGIN_MB: u64 = 100;

/// What numad knows of a node. CPUs are in hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeFigures {
    /// All memory.
    pub total_mb: u64,
    /// Free memory, `MemFree` and inactive file pages; huge page pools are not seen.
    pub free_mb: u64,
    /// All CPUs; a second thread counts 20.
    pub total_cpu: u64,
    /// Idle CPUs.
    pub free_cpu: u64,
}

/// What numad answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Positions in the order of use.
    pub nodes: Vec<usize>,
}

impl Advice {
    /// Positions, ascending.
    #[must_use]
    pub fn sorted(&self) -> Vec<usize> {
        let mut nodes = self.nodes.clone();
        nodes.sort_unstable();
        nodes
    }
}

/// Need and excess count differently.
fn magnitude(node: NodeFigures, mb: u64, cpu: u64) -> u64 {
    let (memory, cpus) = (node.free_mb, node.free_cpu.max(1));
    let memory = 10 * memory.min(mb) + 4 * memory.saturating_sub(mb);
    let cpus = 6 * cpus.min(cpu) + cpus.saturating_sub(cpu);
    memory.saturating_mul(cpus)
}

/// The least number of nodes, by the size of node 0. Of a node 0 without memory no number is enough.
fn least_nodes(nodes: &[NodeFigures], mb: u64, cpu: u64) -> usize {
    let of = |need: u64, size: u64| if size == 0 { u64::MAX } else { need.div_ceil(size) };
    let first = nodes.first().map_or((0, 0), |node| (node.total_mb, node.total_cpu));
    let least = of(mb, first.0).max(of(cpu, first.1)).max(1);
    usize::try_from(least).unwrap_or(usize::MAX).min(nodes.len())
}

/// The nodes for so much memory and so many hundredths of CPUs.
#[must_use]
pub fn advise(nodes: &[NodeFigures], distance: &dyn Fn(usize, usize) -> u8, mb: u64, cpu: u64) -> Advice {
    let least = least_nodes(nodes, mb, cpu);
    let magnitudes: Vec<u64> = nodes.iter().map(|node| magnitude(*node, mb, cpu)).collect();
    let mut best: Option<(f64, Vec<usize>)> = None;
    for anchor in 0..nodes.len() {
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        select_sort(&mut order, &|a, b| {
            let (near, far) = (distance(anchor, a), distance(anchor, b));
            near < far || (near == far && magnitudes[a] > magnitudes[b])
        });
        let score: f64 = order[..least]
            .iter()
            .map(|at| {
                let distance = f64::from(distance(anchor, *at));
                crate::engine::real(magnitudes[*at]) / (distance * distance)
            })
            .sum();
        if best.as_ref().is_none_or(|(known, _)| score > *known) {
            best = Some((score, order));
        }
    }
    let order = best.map(|(_, order)| order).unwrap_or_default();
    Advice { nodes: walk(nodes, &order, least, mb, cpu) }
}

/// As numad sorts; that is where its time goes on large hosts.
fn select_sort(order: &mut [usize], before: &dyn Fn(usize, usize) -> bool) {
    for at in 0..order.len() {
        let mut first = at;
        for other in at + 1..order.len() {
            if before(order[other], order[first]) {
                first = other;
            }
        }
        order.swap(at, first);
    }
}

fn walk(nodes: &[NodeFigures], order: &[usize], least: usize, mb: u64, cpu: u64) -> Vec<usize> {
    let (mut mb, mut cpu) = (mb, cpu);
    let mut taken = Vec::new();
    for at in order {
        taken.push(*at);
        mb = mb.saturating_sub(nodes[*at].free_mb.saturating_sub(MARGIN_MB));
        cpu = cpu.saturating_sub(nodes[*at].free_cpu);
        if taken.len() >= least && mb == 0 && cpu == 0 {
            break;
        }
    }
    taken
}

/// numad in a simulation. Where guests have CPUs of their own it is told exactly what is free.
#[derive(Debug, Default)]
pub struct Numad;

impl Rival for Numad {
    fn name(&self) -> &'static str {
        "numad"
    }

    fn place(&mut self, view: &View<'_>, ask: &Ask) -> Option<Spot> {
        let mb = |kib: u64| kib / 1024;
        let nodes: Vec<NodeFigures> = view
            .nodes
            .iter()
            .map(|node| {
                if view.dedicated {
                    return NodeFigures {
                        total_mb: mb(node.memory),
                        free_mb: mb(node.unpromised()),
                        total_cpu: u64::from(node.threads) * 100,
                        free_cpu: u64::from(node.free_threads) * 100,
                    };
                }
                // Of a pair of threads the second counts 20.
                let total = node.cores.min(f64::from(node.threads)) / 1.25 * 120.0;
                let idle = (1.0 - node.busy / node.cores.max(1e-9)).clamp(0.0, 1.0);
                NodeFigures {
                    total_mb: mb(node.memory),
                    free_mb: mb(node.untouched()),
                    total_cpu: hundredths(total),
                    free_cpu: hundredths(total * idle),
                }
            })
            .collect();
        let Kib(kib) = ask.memory;
        let distance = |from, to| view.topology.distance_at(from, to);
        Some(Spot::on(advise(&nodes, &distance, kib.div_ceil(1024), u64::from(ask.vcpus) * 100).nodes))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
fn hundredths(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(total_mb: u64, free_mb: u64, cpus: u64) -> NodeFigures {
        NodeFigures { total_mb, free_mb, total_cpu: cpus * 100, free_cpu: cpus * 100 }
    }

    fn flat(a: usize, b: usize) -> u8 {
        if a == b { 10 } else { 20 }
    }

    const GIB: u64 = 1024;

    #[test]
    fn a_node_0_without_memory_spreads_the_guest_over_all_nodes() {
        // Eight nodes, 0 and 2 without memory; libvirt then takes the nodes that have some: 1,3-7.
        let size = |at: usize| if at == 0 || at == 2 { 0 } else { 32 * GIB };
        let nodes: Vec<NodeFigures> = (0..8).map(|at| node(size(at), size(at), 8)).collect();
        let with_memory = |at: &usize| nodes[*at].total_mb > 0;
        let advice: Vec<usize> = advise(&nodes, &flat, 4 * GIB, 400).sorted().into_iter().filter(with_memory).collect();
        assert_eq!(advice, [1, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_small_node_0_spreads_a_guest_that_fits_on_node_1() {
        let nodes = [node(16 * GIB, 16 * GIB, 16), node(128 * GIB, 128 * GIB, 32), node(128 * GIB, 128 * GIB, 32)];
        assert_eq!(advise(&nodes, &flat, 60 * GIB, 1600).sorted(), [0, 1, 2]);
    }

    #[test]
    fn huge_page_pools_are_not_seen() {
        // All of node 0's memory is in 1 GiB pages, so that it looks full though 32 of them are free.
        let nodes = [node(64 * GIB, GIB, 16), node(64 * GIB, 30 * GIB, 16)];
        assert_eq!(advise(&nodes, &flat, 32 * GIB, 800).sorted(), [0, 1]);
    }

    #[test]
    fn memory_of_accelerators_is_taken_like_any_other() {
        let mut nodes = vec![node(480 * GIB, 470 * GIB, 72); 2];
        nodes.extend(vec![node(186 * GIB, 186 * GIB, 0); 2]);
        let advice = advise(&nodes, &flat, 1000 * GIB, 14_400).sorted();
        assert_eq!(advice, [0, 1, 2], "node 2 is an accelerator's");
    }

    #[test]
    fn the_least_number_of_nodes_is_worked_out_from_node_0() {
        let nodes = [node(10 * GIB, 10 * GIB, 4), node(100 * GIB, 100 * GIB, 64)];
        assert_eq!(least_nodes(&nodes, 11 * GIB, 100), 2);
        assert_eq!(least_nodes(&nodes, GIB, 500), 2);
        assert_eq!(least_nodes(&nodes, GIB, 100), 1);
        assert_eq!(advise(&nodes, &flat, 9 * GIB, 100).nodes, [1], "one node, the larger");
    }

    #[test]
    fn need_and_excess_weigh_differently_and_idle_cpus_are_never_none() {
        let full = NodeFigures { free_cpu: 0, ..node(100, 50, 4) };
        assert_eq!(magnitude(full, 40, 100), (10 * 40 + 4 * 10) * 6);
        assert_eq!(magnitude(node(100, 50, 4), 100, 100), 10 * 50 * (6 * 100 + 300));
    }

    #[test]
    fn calls_one_after_the_other_get_the_same_answer() {
        let nodes = [node(64 * GIB, 64 * GIB, 16), node(64 * GIB, 63 * GIB, 16)];
        let first = advise(&nodes, &flat, 24 * GIB, 800);
        assert_eq!((first.nodes.clone(), advise(&nodes, &flat, 24 * GIB, 800)), (vec![0], first));
    }

    #[test]
    fn a_hundred_megabytes_stay_free_on_every_node() {
        let nodes = [node(10 * GIB, 4 * GIB, 16), node(10 * GIB, 4 * GIB, 16)];
        assert_eq!(advise(&nodes, &flat, 4 * GIB, 100).nodes.len(), 2);
        assert_eq!(advise(&nodes, &flat, 4 * GIB - MARGIN_MB, 100).nodes.len(), 1);
    }
}
