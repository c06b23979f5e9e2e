//! Guests that start at the same moment: who keeps no ledger decides all of them on the same free memory.

use super::random::Random;
use super::rivals::{Ask, NodeView, Rival, View};
use super::world;
use crate::engine::real;
use crate::topology::HostTopology;
use crate::units::Kib;

/// What a burst does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// Starts for which their node has no memory left, in percent: the others before them got it.
    pub over: f64,
    /// What is promised on the fullest node, by what it has.
    pub fullest: f64,
}

/// `count` guests of 8 vCPUs and 24 GiB on a host that is about 40 % full, over so many seeds. With a ledger everyone sees
/// what the others were promised.
#[must_use]
pub fn burst(
    topology: &HostTopology,
    count: usize,
    seeds: &[u64],
    ledger: bool,
    rival: fn() -> Box<dyn Rival>,
) -> Burst {
    let mut sum = Burst { over: 0.0, fullest: 0.0 };
    for seed in seeds {
        let mut random = Random::new(*seed);
        let mut nodes = world::empty(topology);
        for node in &mut nodes {
            let part = 30 + random.below(20) as u64;
            node.promised = node.memory * part / 100;
            node.touched = node.promised;
            node.busy = node.cores * real(part) / 200.0;
        }
        let seen = nodes.clone();
        let mut bad = 0u64;
        for _ in 0..count {
            let view = View { topology, nodes: if ledger { &nodes } else { &seen }, dedicated: false };
            let ask = Ask { vcpus: 8, memory: Kib::from_gib(24) };
            let spot = rival().place(&view, &ask).unwrap_or_default();
            let taken = spread(&spot.memory, view.nodes, ask.memory.0);
            for (at, kib) in &taken {
                nodes[*at].promised += kib;
            }
            let over = taken.iter().any(|(at, _)| nodes[*at].promised > nodes[*at].memory);
            bad += u64::from(over);
        }
        let load = |node: &NodeView| real(node.promised) / real(node.memory.max(1));
        sum.over += 100.0 * real(bad) / real(count.max(1) as u64);
        sum.fullest += nodes.iter().map(load).fold(0.0, f64::max);
    }
    let seeds = real(seeds.len().max(1) as u64);
    Burst { over: sum.over / seeds, fullest: sum.fullest / seeds }
}

/// Memory on these nodes in their order, as far as they look free.
fn spread(order: &[usize], nodes: &[NodeView], memory: u64) -> Vec<(usize, u64)> {
    let mut left = memory;
    let mut taken = Vec::new();
    for at in order {
        let part = left.min(nodes[*at].unpromised());
        left -= part;
        if part > 0 {
            taken.push((*at, part));
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::super::hosts;
    use super::super::rivals::{Numad, Ours};
    use super::*;
    use crate::request::Span;

    #[test]
    fn without_a_ledger_all_go_to_the_same_node() {
        let host = hosts::nps4().unwrap();
        let run = |count, ledger, rival| burst(&host, count, &[1, 2, 3, 4], ledger, rival);
        let ours: fn() -> Box<dyn Rival> = || Box::new(Ours::new(Span::IfNeeded));
        let numad: fn() -> Box<dyn Rival> = || Box::new(Numad);
        assert!(run(1, false, numad).over.abs() < 1e-9);
        for rival in [ours, numad] {
            let alone = run(8, false, rival);
            assert!(alone.over > 40.0 && alone.fullest > 1.5, "{alone:?}");
        }
        let together = run(16, true, ours);
        assert!(together.over.abs() < 1e-9 && together.fullest <= 1.0, "{together:?}");
    }
}
