//! The kubelet's topology manager: CPU manager and memory manager each name every set of nodes that would do, sets are
//! intersected pairwise, and the best intersection wins: preferred, then narrow, then low. A set is preferred if no
//! smaller one could ever do. Above eight nodes it refuses to start unless told otherwise.

use super::{Ask, Rival, Spot, View, members, subsets};

const MOST_NODES: usize = 8;

/// What happens to guests that cannot have a preferred set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They take what there is.
    BestEffort,
    /// They are refused.
    Restricted,
    /// As restricted, and one node has to be enough.
    SingleNode,
}

/// The topology manager with static CPU and memory policies.
#[derive(Debug)]
pub struct Kubelet {
    policy: Policy,
}

impl Kubelet {
    /// This policy.
    #[must_use]
    pub fn new(policy: Policy) -> Kubelet {
        Kubelet { policy }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hint {
    mask: u32,
    preferred: bool,
}

/// Sets with enough left; preferred are those of the least size that would be enough on an empty host.
fn hints(nodes: usize, need: u64, free: &dyn Fn(usize) -> u64, size: &dyn Fn(usize) -> u64) -> Vec<Hint> {
    let sum = |mask: u32, of: &dyn Fn(usize) -> u64| members(mask).map(of).sum::<u64>();
    let least = subsets(nodes).filter(|mask| sum(*mask, size) >= need).map(u32::count_ones).min().unwrap_or(0);
    let enough = subsets(nodes).filter(|mask| sum(*mask, free) >= need);
    enough.map(|mask| Hint { mask, preferred: mask.count_ones() == least }).collect()
}

/// The best intersection.
fn merged(one: &[Hint], two: &[Hint]) -> Option<Hint> {
    let pairs = one.iter().flat_map(|a| {
        two.iter()
            .map(move |b| Hint { mask: a.mask & b.mask, preferred: a.preferred && b.preferred && a.mask == b.mask })
    });
    pairs.filter(|hint| hint.mask != 0).min_by_key(|hint| (!hint.preferred, hint.mask.count_ones(), hint.mask))
}

impl Rival for Kubelet {
    fn name(&self) -> &'static str {
        match self.policy {
            Policy::BestEffort => "kubelet best-effort",
            Policy::Restricted => "kubelet restricted",
            Policy::SingleNode => "kubelet single-numa-node",
        }
    }

    fn works_with(&self, nodes: usize) -> bool {
        nodes <= MOST_NODES
    }

    fn place(&mut self, view: &View<'_>, ask: &Ask) -> Option<Spot> {
        let nodes = view.nodes;
        let cpus =
            hints(nodes.len(), ask.vcpus.into(), &|at| nodes[at].free_threads.into(), &|at| nodes[at].threads.into());
        let memory = hints(nodes.len(), ask.memory.0, &|at| nodes[at].unpromised(), &|at| nodes[at].memory);
        let best = match self.policy {
            Policy::SingleNode => {
                let single = |hints: &[Hint]| -> Vec<Hint> {
                    hints.iter().copied().filter(|hint| hint.mask.count_ones() == 1).collect()
                };
                merged(&single(&cpus), &single(&memory))?
            }
            _ => merged(&cpus, &memory)?,
        };
        if self.policy != Policy::BestEffort && !best.preferred {
            return None;
        }
        // What the set cannot give comes from elsewhere, the fullest nodes first.
        let mut others: Vec<usize> = (0..nodes.len()).filter(|at| best.mask & (1 << at) == 0).collect();
        others.sort_by_key(|at| nodes[*at].free_threads);
        let need = |free: &dyn Fn(usize) -> u64, need: u64| {
            let mut set: Vec<usize> = members(best.mask).collect();
            let mut have: u64 = set.iter().map(|at| free(*at)).sum();
            for at in &others {
                if have >= need {
                    break;
                }
                have += free(*at);
                set.push(*at);
            }
            set
        };
        Some(Spot {
            cpus: need(&|at| nodes[at].free_threads.into(), ask.vcpus.into()),
            memory: need(&|at| nodes[at].unpromised(), ask.memory.0),
            striped: false,
            booked: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GIB, ask, host};
    use super::*;

    fn place(policy: Policy, left: &[(u32, u64)], vcpus: u32, gib: u64) -> Option<Spot> {
        let (topology, mut nodes) = host(&vec![(8, 32); left.len()]);
        for (node, (cpus, gib)) in nodes.iter_mut().zip(left) {
            (node.free_threads, node.promised) = (*cpus, (32 - gib) * GIB);
        }
        Kubelet::new(policy).place(&View { topology: &topology, nodes: &nodes, dedicated: true }, &ask(vcpus, gib))
    }

    #[test]
    fn narrow_sets_win_and_among_them_the_lowest() {
        assert_eq!(place(Policy::Restricted, &[(8, 32), (8, 32)], 4, 8).unwrap().cpus, [0]);
        assert_eq!(place(Policy::Restricted, &[(3, 32), (8, 32)], 4, 8).unwrap().cpus, [1]);
    }

    #[test]
    fn a_guest_that_would_fit_one_empty_node_is_refused_two_half_full_ones() {
        let left = [(3, 32), (3, 32)];
        assert_eq!(place(Policy::Restricted, &left, 4, 8), None);
        assert_eq!(place(Policy::BestEffort, &left, 4, 8).unwrap().cpus.len(), 2);
        let wide = place(Policy::Restricted, &[(8, 32), (8, 32)], 12, 40).unwrap();
        assert_eq!(wide.cpus, [0, 1], "no smaller set could ever do");
        assert_eq!(place(Policy::SingleNode, &[(8, 32), (8, 32)], 12, 40), None);
    }
}
