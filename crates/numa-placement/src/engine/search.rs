//! The search for the nodes of an automatic placement.
//!
//! CPU nodes and memory nodes are separate decisions. Single nodes are all tried first. If none fits, or the best one
//! would be overloaded: on hosts of up to [`EXACT_NODES`] nodes every pair of a CPU set and a memory set that are
//! enough, cut off by bounds and by the answer for larger hosts; on those sets grown around anchors, then improved by
//! swapping single nodes. Growing never stops before it fits, so what fits by its totals is always found. Ties go to
//! the lower node numbers.

use super::field::{Field, Pick, Score};
use crate::refusal::Constraint;
use crate::request::Span;
use crate::trace::{Candidate, TRACE_LIMIT, Trace, Verdict};

/// Hosts up to this size are searched exactly.
const EXACT_NODES: usize = 8;
/// Anchors tried on larger hosts.
const ANCHORS: usize = 64;
/// Sets kept for improvement.
const KEPT: usize = 3;
/// Nearest nodes a member may be swapped for.
const SWAPS: usize = 24;
/// Rounds of improvement.
const ROUNDS: usize = 8;

/// What is free to choose.
#[derive(Clone, Debug)]
pub(super) enum CpuChoice {
    /// Any nodes.
    Free,
    /// Pins decide: shares of the vCPUs by position.
    Fixed(Vec<(usize, f64)>),
}

/// What is free to choose.
#[derive(Clone, Debug)]
pub(super) enum MemoryChoice {
    /// Any nodes.
    Free,
    /// The definition names them, by position.
    Fixed(Vec<usize>),
}

/// A search in progress.
pub(super) struct Search<'a> {
    field: &'a Field<'a>,
    cpus: CpuChoice,
    memory: MemoryChoice,
    best: Option<(Score, Pick)>,
    trace: Trace,
}

/// Finds the nodes, or says what is short.
pub(super) fn search(
    field: &Field<'_>,
    cpus: CpuChoice,
    memory: MemoryChoice,
    span: Span,
) -> Result<(Pick, Trace), (Vec<Constraint>, Trace)> {
    let mut search = Search { field, cpus, memory, best: None, trace: Trace::default() };
    let failed = search.singles();
    let short = search.short_in_total();
    if !short.is_empty() {
        return Err((short, search.trace));
    }
    let calm = search.best.as_ref().is_some_and(|(score, _)| score.overload() <= 0.0);
    if span == Span::IfNeeded && !calm {
        search.several();
    }
    match search.best.take() {
        Some((score, pick)) => {
            search.finish(&pick, &score);
            Ok((pick, search.trace))
        }
        None => Err((failed, search.trace)),
    }
}

impl Search<'_> {
    fn memory_positions(&self) -> Vec<usize> {
        match &self.memory {
            MemoryChoice::Fixed(positions) => positions.clone(),
            MemoryChoice::Free => (0..self.field.len()).filter(|at| self.field.sites[*at].memory).collect(),
        }
    }

    fn cpu_positions(&self) -> Vec<usize> {
        match &self.cpus {
            CpuChoice::Fixed(shares) => shares.iter().map(|(at, _)| *at).collect(),
            CpuChoice::Free => (0..self.field.len()).filter(|at| self.field.sites[*at].cpu_count > 0).collect(),
        }
    }

    fn shares(&self, positions: &[usize]) -> Vec<(usize, f64)> {
        match &self.cpus {
            CpuChoice::Fixed(shares) => shares.clone(),
            CpuChoice::Free => self.field.cpu_shares(positions),
        }
    }

    /// What no choice of nodes can give. Memory that the definition names is checked when it is promised.
    fn short_in_total(&self) -> Vec<Constraint> {
        let all = self.memory_positions();
        if matches!(self.memory, MemoryChoice::Fixed(_)) {
            return Vec::new();
        }
        if all.is_empty() {
            return vec![Constraint::NoMemory { nodes: self.field.host.online_nodes() }];
        }
        (0..self.field.resources.len()).filter_map(|resource| super::shortage(self.field, &all, resource)).collect()
    }

    /// Tries every single node; returns what the one nearest to fitting is short of.
    fn singles(&mut self) -> Vec<Constraint> {
        let positions: Vec<usize> = match (&self.cpus, &self.memory) {
            (CpuChoice::Fixed(_), MemoryChoice::Fixed(_)) => {
                let pick = Pick { cpus: self.cpu_positions(), memory: self.memory_positions() };
                self.consider(pick);
                return Vec::new();
            }
            (CpuChoice::Free, _) => (0..self.field.len()).collect(),
            (CpuChoice::Fixed(_), MemoryChoice::Free) => self.memory_positions(),
        };
        let mut nearest: Option<(f64, Vec<Constraint>)> = None;
        for at in positions {
            let pick = match (&self.cpus, &self.memory) {
                (CpuChoice::Fixed(shares), _) => {
                    Pick { cpus: shares.iter().map(|(at, _)| *at).collect(), memory: vec![at] }
                }
                (CpuChoice::Free, MemoryChoice::Fixed(memory)) => Pick { cpus: vec![at], memory: memory.clone() },
                (CpuChoice::Free, MemoryChoice::Free) => Pick { cpus: vec![at], memory: vec![at] },
            };
            let failed = self.failed(&pick);
            match failed.first() {
                None => self.consider(pick),
                Some(first) => {
                    self.record(&pick, Verdict::Failed(first.clone()), None);
                    let useful = self.field.usefulness(at);
                    if nearest.as_ref().is_none_or(|(known, _)| useful > *known) {
                        nearest = Some((useful, failed));
                    }
                }
            }
        }
        nearest.map(|(_, failed)| failed).unwrap_or_default()
    }

    fn failed(&self, pick: &Pick) -> Vec<Constraint> {
        let mut failed = Vec::new();
        if matches!(self.memory, MemoryChoice::Free) {
            if pick.memory.iter().any(|at| !self.field.sites[*at].memory) {
                failed.push(Constraint::NoMemory { nodes: self.field.nodes(&pick.memory) });
            } else {
                let resources = 0..self.field.resources.len();
                failed.extend(resources.filter_map(|r| super::shortage(self.field, &pick.memory, r)));
            }
        }
        if matches!(self.cpus, CpuChoice::Free) && !self.field.enough_cpus(&pick.cpus) {
            let have = pick.cpus.iter().map(|at| self.field.sites[*at].cpu_count).sum();
            let nodes = self.field.nodes(&pick.cpus);
            failed.push(Constraint::Cpus { nodes, need: self.field.cpus_needed(), have });
        }
        failed
    }

    /// Scores a pick that fits and keeps it if it is the best.
    fn consider(&mut self, pick: Pick) {
        let score = self.field.score(&self.shares(&pick.cpus), &pick.memory);
        self.keep(score, pick);
    }

    fn keep(&mut self, score: Score, pick: Pick) {
        self.record(&pick, Verdict::Beaten, Some(&score));
        if self.best.as_ref().is_none_or(|(best, _)| score.total < best.total) {
            self.best = Some((score, pick));
        }
    }

    /// The ways of searching overlap, so a candidate may come by more than once; it is listed once.
    fn record(&mut self, pick: &Pick, verdict: Verdict, score: Option<&Score>) {
        let (cpu_nodes, memory_nodes) = (self.field.nodes(&pick.cpus), self.field.nodes(&pick.memory));
        if self.trace.candidates.iter().any(|c| c.cpu_nodes == cpu_nodes && c.memory_nodes == memory_nodes) {
            return;
        }
        if self.trace.candidates.len() >= TRACE_LIMIT {
            self.trace.omitted += 1;
            return;
        }
        self.trace.candidates.push(Candidate {
            cpu_nodes,
            memory_nodes,
            verdict,
            terms: score.map(Score::terms).unwrap_or_default(),
        });
    }

    /// Marks the winner; if the trace was full already, it takes the last place.
    fn finish(&mut self, pick: &Pick, score: &Score) {
        let winner = Candidate {
            cpu_nodes: self.field.nodes(&pick.cpus),
            memory_nodes: self.field.nodes(&pick.memory),
            verdict: Verdict::Chosen,
            terms: score.terms(),
        };
        let known = self
            .trace
            .candidates
            .iter_mut()
            .find(|c| c.cpu_nodes == winner.cpu_nodes && c.memory_nodes == winner.memory_nodes);
        match known {
            Some(known) => *known = winner,
            None => {
                if self.trace.candidates.len() >= TRACE_LIMIT {
                    self.trace.candidates.pop();
                    self.trace.omitted += 1;
                }
                self.trace.candidates.push(winner);
            }
        }
    }

    fn several(&mut self) {
        // On a small host this is what the exact search is cut off by.
        self.grown();
        if self.field.len() <= EXACT_NODES {
            self.exact();
        }
    }

    /// All pairs of sets that are enough, cheapest CPU side and smallest memory side first.
    fn exact(&mut self) {
        let cpu_sets = match &self.cpus {
            CpuChoice::Fixed(_) => vec![self.cpu_positions()],
            CpuChoice::Free => sufficient(&self.cpu_positions(), |set| self.field.enough_cpus(set)),
        };
        let memory_sets = match &self.memory {
            MemoryChoice::Fixed(_) => vec![self.memory_positions()],
            MemoryChoice::Free => sufficient(&self.memory_positions(), |set| self.field.enough_memory(set)),
        };
        let mut cpu_sides: Vec<_> = cpu_sets
            .into_iter()
            .map(|set| {
                let shares = self.shares(&set);
                let (overload, load) = self.field.cpu_cost(&shares);
                (overload + load, shares, set)
            })
            .collect();
        cpu_sides.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all_memory = self.memory_positions();
        for (cost, shares, cpus) in cpu_sides {
            let Some(best) = self.best.as_ref().map(|(best, _)| best.total) else { break };
            if cost >= best {
                break;
            }
            let means = self.field.mean_distances(&shares, &all_memory);
            if cost + self.field.lower_bound(cpus.len(), &means.iter().copied()) >= best {
                continue;
            }
            for memory in &memory_sets {
                let best = self.best.as_ref().map_or(f64::INFINITY, |(best, _)| best.total);
                let these = means.iter().copied().filter(|(at, _)| memory.contains(at));
                if cost + self.field.lower_bound(cpus.len().max(memory.len()), &these) >= best {
                    continue;
                }
                let score = self.field.score(&shares, memory);
                let pick = Pick { cpus: cpus.clone(), memory: memory.clone() };
                if score.total < best {
                    self.keep(score, pick);
                } else {
                    self.record(&pick, Verdict::Beaten, Some(&score));
                }
            }
        }
    }

    /// Sets grown around anchors, then improved.
    fn grown(&mut self) {
        let mut anchors: Vec<usize> = (0..self.field.len()).collect();
        let useful: Vec<f64> = anchors.iter().map(|at| self.field.usefulness(*at)).collect();
        anchors.sort_by(|a, b| useful[*b].total_cmp(&useful[*a]).then(a.cmp(b)));
        let mut kept: Vec<(f64, Pick)> = Vec::new();
        for anchor in anchors.into_iter().take(ANCHORS) {
            let pick = self.grow(anchor, &useful);
            let total = self.field.score(&self.shares(&pick.cpus), &pick.memory).total;
            kept.push((total, pick.clone()));
            self.consider(pick);
        }
        kept.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (_, pick) in kept.into_iter().take(KEPT) {
            self.improve(pick);
        }
    }

    fn grow(&self, anchor: usize, useful: &[f64]) -> Pick {
        let mut order: Vec<usize> = (0..self.field.len()).collect();
        let near = |at: usize| self.field.host.distance_at(anchor, at);
        order.sort_by(|a, b| near(*a).cmp(&near(*b)).then(useful[*b].total_cmp(&useful[*a])).then(a.cmp(b)));
        let cpus = match &self.cpus {
            CpuChoice::Fixed(_) => self.cpu_positions(),
            CpuChoice::Free => {
                let order = order.iter().copied().filter(|at| self.field.sites[*at].cpu_count > 0);
                grow_until(order, |set| self.field.enough_cpus(set))
            }
        };
        let memory = match &self.memory {
            MemoryChoice::Fixed(_) => self.memory_positions(),
            MemoryChoice::Free => {
                let order = order.iter().copied().filter(|at| self.field.sites[*at].memory);
                grow_until(order, |set| self.field.enough_memory(set))
            }
        };
        Pick { cpus, memory }
    }

    /// Swaps single nodes for near ones as long as that helps.
    fn improve(&mut self, mut pick: Pick) {
        // A set of many nodes gains little from one swap, and scoring it is dear.
        if pick.cpus.len() + pick.memory.len() > 2 * EXACT_NODES {
            return;
        }
        let mut cost = self.field.score(&self.shares(&pick.cpus), &pick.memory).total;
        for _ in 0..ROUNDS {
            let Some((better, next)) = self.best_swap(&pick, cost) else { break };
            (cost, pick) = (better, next);
            self.consider(pick.clone());
        }
    }

    fn best_swap(&self, pick: &Pick, cost: f64) -> Option<(f64, Pick)> {
        let home = pick.cpus.first().copied().unwrap_or(0);
        let mut near: Vec<usize> = (0..self.field.len()).collect();
        near.sort_by_key(|at| (self.field.host.distance_at(home, *at), *at));
        near.truncate(SWAPS);
        let mut best: Option<(f64, Pick)> = None;
        let mut try_pick = |pick: Pick| {
            let total = self.field.score(&self.shares(&pick.cpus), &pick.memory).total;
            if total < best.as_ref().map_or(cost, |(known, _)| *known) - 1e-12 {
                best = Some((total, pick));
            }
        };
        if matches!(self.cpus, CpuChoice::Free) {
            for cpus in swaps(&pick.cpus, &near) {
                if self.field.enough_cpus(&cpus) {
                    try_pick(Pick { cpus, memory: pick.memory.clone() });
                }
            }
        }
        if matches!(self.memory, MemoryChoice::Free) {
            for memory in swaps(&pick.memory, &near) {
                if memory.iter().all(|at| self.field.sites[*at].memory) && self.field.enough_memory(&memory) {
                    try_pick(Pick { cpus: pick.cpus.clone(), memory });
                }
            }
        }
        best
    }
}

/// Every set that differs from this one in one member.
fn swaps<'a>(set: &'a [usize], near: &'a [usize]) -> impl Iterator<Item = Vec<usize>> + 'a {
    (0..set.len()).flat_map(move |at| {
        near.iter().filter(|other| !set.contains(other)).map(move |other| {
            let mut swapped = set.to_vec();
            swapped[at] = *other;
            swapped.sort_unstable();
            swapped
        })
    })
}

/// Takes nodes in this order until it is enough, then gives back those that were not needed.
fn grow_until(order: impl Iterator<Item = usize>, enough: impl Fn(&[usize]) -> bool) -> Vec<usize> {
    let mut set = Vec::new();
    for at in order {
        if enough(&set) {
            break;
        }
        set.push(at);
    }
    // The farthest first.
    for index in (0..set.len()).rev() {
        let taken = set.remove(index);
        if set.is_empty() || !enough(&set) {
            set.insert(index, taken);
        }
    }
    set.sort_unstable();
    set
}

/// All sets that are enough, smaller ones first. Of at most [`EXACT_NODES`] positions, so of at most 2^8 sets.
fn sufficient(positions: &[usize], enough: impl Fn(&[usize]) -> bool) -> Vec<Vec<usize>> {
    let members = |mask: u32| -> Vec<usize> {
        let chosen = positions.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
        chosen.map(|(_, at)| *at).collect()
    };
    let mut sets: Vec<Vec<usize>> = (1u32..1 << positions.len()).map(members).filter(|set| enough(set)).collect();
    sets.sort_by_key(Vec::len);
    sets
}
