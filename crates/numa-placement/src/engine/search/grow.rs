//! Sets grown around anchors, then improved by single nodes.

use super::Search;
use crate::engine::board::{CpuChoice, MAX_SIZES, MemoryChoice};
use crate::engine::watch::Watch;

/// Anchors tried.
const ANCHORS: usize = 64;
/// Sets kept for improvement.
const KEPT: usize = 3;
/// Nearest nodes a member may be swapped for.
const SWAPS: usize = 24;
/// Rounds of improvement.
const ROUNDS: usize = 8;
/// A set of many nodes gains little from one swap, and scoring it is dear.
const LARGEST_IMPROVED: usize = 16;
/// Pairs of nodes that are looked at for scoring, about: enough for all anchors but of the widest guests.
const EFFORT: usize = 1 << 20;
/// Up to so many positions are sorted by comparing them.
const FEW: usize = 20;
/// Costs that differ by less are the same.
const SAME: f64 = 1e-12;

/// CPU nodes and memory nodes, ascending.
#[derive(Clone, Default)]
struct Pick {
    cpus: Vec<usize>,
    memory: Vec<usize>,
}

/// Buffers of growing.
struct Rings {
    /// All positions, the most useful first.
    useful: Vec<usize>,
    /// The same by distance from the anchor, within a ring the most useful first.
    order: Vec<usize>,
}

impl Rings {
    /// Sorts by distance, given one row of distances: a counting sort, since distances are bytes.
    fn around(&mut self, row: &[u8]) {
        if self.useful.len() <= FEW {
            self.order.clone_from(&self.useful);
            self.order.sort_by_key(|at| row[*at]);
            return;
        }
        let mut starts = [0usize; 257];
        for distance in row {
            starts[usize::from(*distance) + 1] += 1;
        }
        for ring in 1..starts.len() {
            starts[ring] += starts[ring - 1];
        }
        self.order.resize(self.useful.len(), 0);
        for at in &self.useful {
            let ring = usize::from(row[*at]);
            self.order[starts[ring]] = *at;
            starts[ring] += 1;
        }
    }
}

impl Search<'_, '_> {
    /// Sets grown around anchors, the best of them improved.
    pub(super) fn grown<W: Watch>(&mut self, watch: &mut W) {
        let useful: Vec<f64> = (0..self.board.len()).map(|at| self.board.usefulness(self.need, at)).collect();
        let mut rings = Rings { useful: (0..self.board.len()).collect(), order: Vec::new() };
        rings.useful.sort_by(|a, b| useful[*b].total_cmp(&useful[*a]).then(a.cmp(b)));
        let anchors: Vec<usize> = rings.useful.iter().copied().take(ANCHORS).collect();
        let mut kept: Vec<(f64, Pick)> = Vec::new();
        let mut effort = 0;
        for anchor in anchors {
            // Where sets are so large, one is as good as another.
            if effort > EFFORT {
                break;
            }
            rings.around(self.board.host.row(anchor));
            let pick = self.grow(&rings.order);
            effort += pick.cpus.len() * pick.memory.len();
            if kept.iter().any(|(_, known)| known.cpus == pick.cpus && known.memory == pick.memory) {
                continue;
            }
            let score = self.score(&pick.cpus, &pick.memory);
            self.keep(score, &pick.cpus, &pick.memory, watch);
            let place = kept.partition_point(|(known, _)| *known <= score.total);
            if place < KEPT {
                kept.insert(place, (score.total, pick));
                kept.truncate(KEPT);
            }
        }
        if self.board.len() <= super::exact::NODES {
            return;
        }
        for (cost, pick) in kept {
            self.improve(cost, pick, &mut rings, watch);
        }
    }

    fn grow(&self, order: &[usize]) -> Pick {
        let (board, need) = (self.board, self.need);
        let cpus = match &need.cpus {
            CpuChoice::Fixed(_) => self.cpu_positions(),
            CpuChoice::Free => {
                let order = order.iter().copied().filter(|at| board.cpus(need, *at) > 0);
                grow_until(order, &[need.cpus_needed.into()], |_, at| board.cpus(need, at).into())
            }
        };
        let memory = match &need.memory {
            MemoryChoice::Fixed(_) => self.memory_positions(),
            MemoryChoice::Free => {
                let order = order.iter().copied().filter(|at| board.sites[*at].memory);
                let some = |at: &usize| need.resources().any(|(resource, _)| board.room(resource, *at) > 0);
                let (resources, units) = need.columns();
                grow_until(order.filter(some), units, |column, at| board.room(resources[column], at))
            }
        };
        Pick { cpus, memory }
    }

    /// Changes single nodes for near ones as long as that helps.
    fn improve<W: Watch>(&mut self, mut cost: f64, mut pick: Pick, rings: &mut Rings, watch: &mut W) {
        if pick.cpus.len() + pick.memory.len() > LARGEST_IMPROVED {
            return;
        }
        for _ in 0..ROUNDS {
            let home = pick.cpus.first().or(pick.memory.first()).copied().unwrap_or(0);
            rings.around(self.board.host.row(home));
            let near: Vec<usize> = rings.order.iter().copied().take(SWAPS).collect();
            let Some((better, next)) = self.best_change(&pick, cost, &near) else { break };
            (cost, pick) = (better, next);
            self.consider(&pick.cpus, &pick.memory, watch);
        }
    }

    fn best_change(&mut self, pick: &Pick, cost: f64, near: &[usize]) -> Option<(f64, Pick)> {
        let (board, need) = (self.board, self.need);
        let free_cpus = matches!(need.cpus, CpuChoice::Free);
        let free_memory = matches!(need.memory, MemoryChoice::Free);
        let mut best: Option<(f64, Pick)> = None;
        let mut changed = Pick::default();
        for change in changes(pick, near) {
            change.apply(&pick.cpus, free_cpus && change.cpus, &mut changed.cpus);
            change.apply(&pick.memory, free_memory && change.memory, &mut changed.memory);
            if (changed.cpus == pick.cpus && changed.memory == pick.memory)
                || (free_cpus && !board.enough_cpus(need, &changed.cpus))
                || (free_memory && !changed.memory.iter().all(|at| board.sites[*at].memory))
                || (free_memory && !board.enough_memory(need, &changed.memory))
            {
                continue;
            }
            let total = self.score(&changed.cpus, &changed.memory).total;
            if total < best.as_ref().map_or(cost, |(known, _)| *known) - SAME {
                best = Some((total, changed.clone()));
            }
        }
        best
    }
}

/// One node out, one in, or both; of the CPU set, the memory set, or both.
#[derive(Clone, Copy)]
struct Change {
    out: Option<usize>,
    into: Option<usize>,
    cpus: bool,
    memory: bool,
}

impl Change {
    fn apply(self, set: &[usize], meant: bool, to: &mut Vec<usize>) {
        to.clear();
        to.extend_from_slice(set);
        if !meant {
            return;
        }
        if let Some(out) = self.out {
            to.retain(|at| *at != out);
        }
        if let Some(at) = self.into.filter(|at| !to.contains(at)) {
            // A swap of a node that is not in this set is none.
            if self.out.is_none_or(|out| set.contains(&out)) {
                to.insert(to.partition_point(|other| *other < at), at);
            }
        }
    }
}

fn changes(pick: &Pick, near: &[usize]) -> Vec<Change> {
    let mut members = pick.cpus.clone();
    members.extend(pick.memory.iter().filter(|at| !pick.cpus.contains(at)));
    let outs = members.iter().copied().map(Some).chain([None]);
    outs.flat_map(|out| near.iter().copied().map(Some).chain([None]).map(move |into| (out, into)))
        .filter(|(out, into)| out != into)
        .flat_map(|(out, into)| {
            let sides = [(true, true), (true, false), (false, true)];
            sides.map(|(cpus, memory)| Change { out, into, cpus, memory })
        })
        .collect()
}

/// Takes nodes in this order until there is enough of everything, then gives back those that were not needed. What a
/// node has of the goal with a number, `of` tells.
fn grow_until(order: impl Iterator<Item = usize>, goals: &[u64], of: impl Fn(usize, usize) -> u64) -> Vec<usize> {
    let mut sums = [0u128; MAX_SIZES];
    let mut set = Vec::new();
    for at in order {
        set.push(at);
        let mut enough = true;
        for (column, goal) in goals.iter().enumerate() {
            sums[column] += u128::from(of(column, at));
            enough &= sums[column] >= u128::from(*goal);
        }
        if enough {
            break;
        }
    }
    // The farthest first; one always stays.
    let mut left = set.len();
    for index in (0..set.len()).rev() {
        let at = set[index];
        let mut columns = goals.iter().enumerate();
        let needed = columns.any(|(column, goal)| sums[column] < u128::from(of(column, at)) + u128::from(*goal));
        if needed || left == 1 {
            continue;
        }
        for (column, _) in goals.iter().enumerate() {
            sums[column] -= u128::from(of(column, at));
        }
        set[index] = usize::MAX;
        left -= 1;
    }
    set.retain(|at| *at != usize::MAX);
    set.sort_unstable();
    set
}
