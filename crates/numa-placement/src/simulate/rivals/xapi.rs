//! xapi (xenopsd): subsets of nodes by distance, and in the first class that fits those used least often so far. The
//! counter of uses never goes down. Above 16 nodes only single nodes are looked at.

use std::cmp::Ordering;

use super::{Ask, Rival, Spot, View, members, subsets};

const MOST_NODES: usize = 16;

/// A set of nodes and how far apart its members are.
#[derive(Clone, Debug)]
struct Candidate {
    nodes: Vec<usize>,
    farthest: u8,
    mean: f64,
}

impl Candidate {
    fn order(&self, other: &Candidate) -> Ordering {
        self.farthest.cmp(&other.farthest).then(self.mean.total_cmp(&other.mean))
    }
}

/// xapi's best effort.
#[derive(Debug, Default)]
pub struct Xapi {
    candidates: Vec<Candidate>,
    uses: Vec<u64>,
}

impl Xapi {
    fn prepare(&mut self, view: &View<'_>) {
        let count = view.nodes.len();
        if self.uses.len() == count {
            return;
        }
        self.uses = vec![0; count];
        let sets: Vec<Vec<usize>> = match count <= MOST_NODES {
            true => subsets(count).map(|mask| members(mask).collect()).collect(),
            false => (0..count).map(|at| vec![at]).collect(),
        };
        self.candidates = sets.into_iter().map(|nodes| candidate(view, nodes)).collect();
        self.candidates.sort_by(Candidate::order);
    }
}

fn candidate(view: &View<'_>, nodes: Vec<usize>) -> Candidate {
    let pairs = nodes.iter().flat_map(|a| nodes.iter().map(|b| view.topology.distance_at(*a, *b)));
    let (farthest, sum, count) = pairs.fold((0, 0.0, 0.0), |(most, sum, count), distance| {
        (distance.max(most), sum + f64::from(distance), count + 1.0)
    });
    Candidate { nodes, farthest, mean: sum / f64::max(count, 1.0) }
}

impl Rival for Xapi {
    fn name(&self) -> &'static str {
        "xapi"
    }

    fn place(&mut self, view: &View<'_>, ask: &Ask) -> Option<Spot> {
        self.prepare(view);
        let node = &view.nodes[0];
        // A guest would rather have whole cores.
        let per_core = if f64::from(node.threads) > node.cores * 1.01 { 2 } else { 1 };
        let all: u32 = view.nodes.iter().map(|node| node.threads).sum();
        let vcpus = (ask.vcpus * per_core).min(all);
        let fits = |candidate: &&Candidate| {
            let memory: u64 = candidate.nodes.iter().map(|at| view.nodes[*at].unpromised()).sum();
            let threads: u32 = candidate.nodes.iter().map(|at| view.nodes[*at].threads).sum();
            memory >= ask.memory.0 && threads >= vcpus
        };
        let first = self.candidates.iter().find(fits);
        let best = first.and_then(|first| {
            let class = self.candidates.iter().filter(|other| other.order(first) == Ordering::Equal).filter(fits);
            class.min_by_key(|other| other.nodes.iter().map(|at| self.uses[*at]).sum::<u64>())
        });
        let Some(nodes) = best.map(|best| best.nodes.clone()) else {
            return Some(Spot { striped: true, booked: true, ..Spot::anywhere(view) });
        };
        nodes.iter().for_each(|at| self.uses[*at] += 1);
        Some(Spot { striped: true, booked: true, ..Spot::on(nodes) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIB, ask, host};
    use super::*;

    #[test]
    fn uses_are_counted_and_never_forgotten() {
        let (topology, nodes) = host(&[(8, 32); 3]);
        let view = View { topology: &topology, nodes: &nodes, dedicated: false };
        let mut xapi = Xapi::default();
        let spots: Vec<_> = (0..4).map(|_| xapi.place(&view, &ask(2, 1)).unwrap().cpus).collect();
        // Nothing is promised in this view: the nodes take turns though the guests may have gone long ago.
        assert_eq!(spots, [[0], [1], [2], [0]]);
    }

    #[test]
    fn the_nearest_class_that_fits_is_taken() {
        let (topology, mut nodes) = host(&[(8, 32); 3]);
        nodes.iter_mut().for_each(|node| node.promised = 20 * GIB);
        let view = View { topology: &topology, nodes: &nodes, dedicated: false };
        assert_eq!(Xapi::default().place(&view, &ask(2, 20)).unwrap().cpus, [0, 1]);
    }

    #[test]
    fn on_many_nodes_only_single_ones_are_candidates() {
        let (topology, nodes) = host(&[(4, 8); 20]);
        let view = View { topology: &topology, nodes: &nodes, dedicated: false };
        assert_eq!(Xapi::default().place(&view, &ask(6, 4)).unwrap().cpus.len(), 20);
        assert_eq!(Xapi::default().place(&view, &ask(4, 4)).unwrap().cpus, [0]);
    }
}
