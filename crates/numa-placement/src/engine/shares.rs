//! Promising memory: which node gives how much to which part of the guest.
//!
//! First every part takes what lies nearest, as the kernel would. What is left over then goes where room can be made by
//! moving parts that have a choice: a maximum flow, so a guest that fits is never refused. The cut of that flow is the
//! smallest set of nodes that is short.

use std::collections::VecDeque;

/// How a part would like its memory.
#[derive(Clone, Debug)]
pub(super) enum Liking {
    /// Nearest first, from the view of these CPU shares: `(position, share of the vCPUs)`.
    Near(Vec<(usize, f64)>),
    /// On each of these nodes its part by these weights, as interleaving gives it.
    Parts(Vec<(usize, f64)>),
}

impl Liking {
    /// The same on each of these nodes.
    pub(super) fn even(nodes: Vec<usize>) -> Liking {
        Liking::Parts(nodes.into_iter().map(|node| (node, 1.0)).collect())
    }
}

/// One part's wish.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) units: u64,
    /// Positions of nodes it may use, ascending.
    pub(super) allowed: Vec<usize>,
    pub(super) liking: Liking,
}

/// What every part gets, and what it lacks.
#[derive(Debug)]
pub(super) struct Shares {
    /// Per part: `(position, units)`.
    pub(super) given: Vec<Vec<(usize, u64)>>,
    /// Units each part lacks.
    pub(super) lacking: Vec<u64>,
    /// Positions of the nodes that are short together; empty if nothing is lacking.
    pub(super) cut: Vec<usize>,
    /// Units asked by the parts that are confined to those nodes.
    pub(super) cut_need: u64,
}

/// Shares `room` (units per position) among the wishes.
pub(super) fn share(wishes: &[Wish], room: &[u64], distance: &dyn Fn(usize, usize) -> u8) -> Shares {
    let mut left = room.to_vec();
    let mut flow = vec![vec![0u64; room.len()]; wishes.len()];
    // Those with the least choice first: fewer moves later.
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by_key(|at| (wishes[*at].allowed.len(), *at));
    let mut lacking = vec![0u64; wishes.len()];
    for at in order {
        lacking[at] = take_liked(&wishes[at], &mut left, &mut flow[at], distance);
    }
    let mut reached = vec![false; room.len()];
    let mut confined = vec![false; wishes.len()];
    for (at, lacking) in lacking.iter_mut().enumerate() {
        while *lacking > 0 {
            match augment(at, wishes, &mut left, &mut flow, *lacking) {
                Ok(moved) => *lacking -= moved,
                Err((nodes, parts)) => {
                    nodes.iter().for_each(|node| reached[*node] = true);
                    parts.iter().for_each(|part| confined[*part] = true);
                    break;
                }
            }
        }
    }
    let given =
        flow.iter().map(|row| row.iter().copied().enumerate().filter(|(_, units)| *units > 0).collect()).collect();
    let cut = (0..room.len()).filter(|node| reached[*node]).collect();
    let cut_need =
        wishes.iter().zip(&confined).filter(|(_, c)| **c).fold(0u64, |sum, (w, _)| sum.saturating_add(w.units));
    Shares { given, lacking, cut, cut_need }
}

/// Takes what the part likes; returns what is still lacking.
fn take_liked(wish: &Wish, left: &mut [u64], row: &mut [u64], distance: &dyn Fn(usize, usize) -> u8) -> u64 {
    let mut lacking = wish.units;
    match &wish.liking {
        Liking::Parts(nodes) => {
            let weights: Vec<f64> = nodes.iter().map(|(_, weight)| *weight).collect();
            for ((node, _), part) in nodes.iter().zip(parts(wish.units, &weights)) {
                lacking -= take(*node, part, left, row);
            }
        }
        Liking::Near(cpus) => {
            let weights: Vec<f64> = cpus.iter().map(|(_, share)| *share).collect();
            let mut pending = Vec::new();
            // Each takes from its nearest node before anyone takes from a second: nobody is driven from home early.
            for ((from, _), mut part) in cpus.iter().zip(parts(wish.units, &weights)) {
                // Nothing is nearer than the node itself.
                let nearest = match wish.allowed.binary_search(from) {
                    Ok(_) => Some(*from),
                    Err(_) => wish.allowed.iter().copied().min_by_key(|to| (distance(*from, *to), *to)),
                };
                if let Some(nearest) = nearest {
                    let got = take(nearest, part, left, row);
                    lacking -= got;
                    part -= got;
                }
                pending.push((*from, part));
            }
            for (from, mut part) in pending.into_iter().filter(|(_, part)| *part > 0) {
                let mut order = wish.allowed.clone();
                order.sort_by_key(|to| (distance(from, *to), *to));
                for node in order {
                    let got = take(node, part, left, row);
                    lacking -= got;
                    part -= got;
                }
            }
        }
    }
    for node in &wish.allowed {
        lacking -= take(*node, lacking, left, row);
    }
    lacking
}

fn take(node: usize, wanted: u64, left: &mut [u64], row: &mut [u64]) -> u64 {
    let got = wanted.min(left[node]);
    left[node] -= got;
    row[node] += got;
    got
}

/// Splits `units` by weight into whole parts whose sum is exact; the first ones get the odd units.
pub(super) fn parts(units: u64, weights: &[f64]) -> Vec<u64> {
    let total: f64 = weights.iter().sum();
    if weights.is_empty() {
        return Vec::new();
    }
    let mut rest = units;
    let mut parts: Vec<u64> = weights
        .iter()
        .map(|weight| {
            let ideal = if total > 0.0 { fraction_of(units, weight / total) } else { 0 };
            let part = ideal.min(rest);
            rest -= part;
            part
        })
        .collect();
    let count = parts.len() as u64;
    for (at, part) in parts.iter_mut().enumerate() {
        *part += rest / count + u64::from((at as u64) < rest % count);
    }
    parts
}

/// `units * fraction`, rounded down; the fraction lies in 0…1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a size below 2^63: rounding is harmless, the sum is made exact by the caller"
)]
fn fraction_of(units: u64, fraction: f64) -> u64 {
    (units as f64 * fraction.clamp(0.0, 1.0)).floor() as u64
}

/// Nodes and parts that a failed search reached.
type Cut = (Vec<usize>, Vec<usize>);

/// Finds room for a part by moving others; returns how many units it got, or the cut.
fn augment(part: usize, wishes: &[Wish], left: &mut [u64], flow: &mut [Vec<u64>], want: u64) -> Result<u64, Cut> {
    // Breadth first over nodes; `via[node]` = (part that would move to it, node that part comes from).
    let mut via: Vec<Option<(usize, Option<usize>)>> = vec![None; left.len()];
    let mut parts_seen = vec![false; wishes.len()];
    parts_seen[part] = true;
    let mut queue = VecDeque::new();
    for node in &wishes[part].allowed {
        via[*node] = Some((part, None));
        queue.push_back(*node);
    }
    while let Some(node) = queue.pop_front() {
        if left[node] > 0 {
            return Ok(push(node, &via, left, flow, want));
        }
        for other in 0..wishes.len() {
            if flow[other][node] == 0 {
                continue;
            }
            parts_seen[other] = true;
            for next in &wishes[other].allowed {
                if via[*next].is_none() {
                    via[*next] = Some((other, Some(node)));
                    queue.push_back(*next);
                }
            }
        }
    }
    let nodes = (0..left.len()).filter(|node| via[*node].is_some()).collect();
    let parts = (0..wishes.len()).filter(|part| parts_seen[*part]).collect();
    Err((nodes, parts))
}

/// Moves as much as the path carries.
fn push(end: usize, via: &[Option<(usize, Option<usize>)>], left: &mut [u64], flow: &mut [Vec<u64>], want: u64) -> u64 {
    let mut amount = want.min(left[end]);
    let mut node = end;
    while let Some((part, Some(from))) = via[node] {
        amount = amount.min(flow[part][from]);
        node = from;
    }
    left[end] -= amount;
    let mut node = end;
    while let Some((part, from)) = via[node] {
        flow[part][node] += amount;
        match from {
            Some(from) => {
                flow[part][from] -= amount;
                node = from;
            }
            None => break,
        }
    }
    amount
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(units: u64, allowed: &[usize], home: usize) -> Wish {
        Wish { units, allowed: allowed.to_vec(), liking: Liking::Near(vec![(home, 1.0)]) }
    }

    fn flat(a: usize, b: usize) -> u8 {
        if a == b { 10 } else { 20 }
    }

    #[test]
    fn the_nearest_first_then_others() {
        let shares = share(&[near(10, &[0, 1], 1)], &[8, 6], &flat);
        assert_eq!(shares.given, [vec![(0, 4), (1, 6)]]);
        assert_eq!(shares.lacking, [0]);
    }

    #[test]
    fn a_part_with_a_choice_makes_room() {
        // The first likes node 0 and would fill it; the second can only use node 0.
        let shares = share(&[near(6, &[0, 1], 0), near(6, &[0], 0)], &[6, 6], &flat);
        assert_eq!(shares.given, [vec![(1, 6)], vec![(0, 6)]]);
        // A chain of three.
        let chain = [near(5, &[0, 1], 0), near(5, &[1, 2], 1), near(5, &[0], 0)];
        let shares = share(&chain, &[5, 5, 5], &flat);
        assert_eq!(shares.lacking, [0, 0, 0]);
    }

    #[test]
    fn the_cut_names_only_the_nodes_that_are_short() {
        let shares = share(&[near(9, &[0], 0), near(1, &[0, 1], 0), near(5, &[2], 2)], &[7, 4, 9], &flat);
        assert_eq!(shares.lacking, [2, 0, 0]);
        assert_eq!((shares.cut, shares.cut_need), (vec![0], 9));
    }

    #[test]
    fn interleaving_is_even_and_flows_over() {
        let wish = Wish { units: 10, allowed: vec![0, 1, 2], liking: Liking::even(vec![0, 1, 2]) };
        assert_eq!(share(std::slice::from_ref(&wish), &[9, 9, 9], &flat).given, [vec![(0, 4), (1, 3), (2, 3)]]);
        assert_eq!(share(&[wish], &[1, 9, 9], &flat).given, [vec![(0, 1), (1, 6), (2, 3)]]);
    }

    #[test]
    fn parts_are_whole_and_their_sum_exact() {
        assert_eq!(parts(10, &[1.0, 1.0, 1.0]), [4, 3, 3]);
        assert_eq!(parts(7, &[0.0, 0.0]), [4, 3]);
        assert_eq!(parts(u64::MAX, &[1.0, 3.0]).iter().map(|p| u128::from(*p)).sum::<u128>(), u128::from(u64::MAX));
        assert!(parts(3, &[]).is_empty());
    }

    /// Hall's condition: all fits if and only if no set of parts asks more than the nodes it may use have.
    fn fits(wishes: &[Wish], room: &[u64]) -> bool {
        (1u32..1 << wishes.len()).all(|subset| {
            let chosen: Vec<_> = wishes.iter().enumerate().filter(|(at, _)| subset & (1 << at) != 0).collect();
            let need: u64 = chosen.iter().map(|(_, wish)| wish.units).sum();
            let have: u64 = (0..room.len())
                .filter(|node| chosen.iter().any(|(_, wish)| wish.allowed.contains(node)))
                .map(|node| room[node])
                .sum();
            need <= have
        })
    }

    proptest! {
        #[test]
        fn all_is_given_exactly_when_it_fits(
            room in prop::collection::vec(0u64..20, 4),
            wishes in prop::collection::vec((1u64..15, 1usize..16, 0usize..4, any::<bool>()), 1..5),
        ) {
            let wishes: Vec<Wish> = wishes.into_iter().map(|(units, mask, home, even)| {
                let allowed: Vec<usize> = (0..4).filter(|n| mask & (1 << n) != 0).collect();
                let liking = if even { Liking::even(allowed.clone()) } else { Liking::Near(vec![(home, 1.0)]) };
                Wish { units, allowed, liking }
            }).collect();
            let shares = share(&wishes, &room, &flat);
            prop_assert_eq!(shares.lacking.iter().all(|l| *l == 0), fits(&wishes, &room));
            for (node, room) in room.iter().enumerate() {
                let used: u64 = shares.given.iter().flatten().filter(|(n, _)| *n == node).map(|(_, u)| u).sum();
                prop_assert!(used <= *room);
            }
            for (wish, (given, lacking)) in wishes.iter().zip(shares.given.iter().zip(&shares.lacking)) {
                prop_assert_eq!(given.iter().map(|(_, u)| u).sum::<u64>() + lacking, wish.units);
                prop_assert!(given.iter().all(|(node, _)| wish.allowed.contains(node)));
            }
            if !shares.cut.is_empty() {
                let have: u64 = shares.cut.iter().map(|n| room[*n]).sum();
                prop_assert!(have < shares.cut_need, "the cut is really short");
            }
        }
    }
}
