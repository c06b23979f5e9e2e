//! The search for the nodes of an automatic placement.
//!
//! CPU nodes and memory nodes are separate decisions. Single nodes are all tried first. If none fits, or the best one
//! would be overloaded: sets grown around anchors, improved by adding, dropping and swapping single nodes; and on hosts
//! of up to [`exact::NODES`] nodes every pair of a CPU set and a memory set that are enough, cut off by bounds and by
//! what was grown. Growing never stops before it fits, so what fits by its totals is always found. Ties go to the
//! lower node numbers.

use super::board::{Board, CpuChoice, Decision, MemoryChoice, Need, Positions};
use super::objective::{Score, Scratch};
use super::watch::Watch;
use crate::refusal::Constraint;
use crate::request::Span;

mod exact;
mod grow;

/// A search in progress.
struct Search<'a, 'b> {
    board: &'a Board<'b>,
    need: &'a Need,
    best: Option<Decision>,
    scratch: Scratch,
}

/// Finds the nodes, or says what is short.
pub(super) fn search<W: Watch>(board: &Board<'_>, need: &Need, watch: &mut W) -> Result<Decision, Vec<Constraint>> {
    let mut search = Search { board, need, best: None, scratch: Scratch::default() };
    match (&need.cpus, &need.memory) {
        (CpuChoice::Free, MemoryChoice::Free) => search.singles(watch),
        _ => search.singles_beside_fixed(watch),
    }
    let calm = search.best.as_ref().is_some_and(|best| best.score.overload() <= 0.0);
    if search.best.is_none() {
        let short = search.short_in_total();
        if !short.is_empty() {
            return Err(short);
        }
    }
    let several = match need.span {
        Span::Never => false,
        Span::IfNeeded => !calm,
        Span::Allowed => true,
    };
    if several {
        search.grown(watch);
        if board.len() <= exact::NODES {
            search.exact(watch);
        }
    }
    match search.best.take() {
        Some(decision) => {
            watch.chosen(board, need, &decision);
            Ok(decision)
        }
        None => Err(search.nearest_to_fitting()),
    }
}

impl Search<'_, '_> {
    fn memory_positions(&self) -> Vec<usize> {
        match &self.need.memory {
            MemoryChoice::Fixed(positions) => positions.clone(),
            MemoryChoice::Free => (0..self.board.len()).filter(|at| self.board.sites[*at].memory).collect(),
        }
    }

    fn cpu_positions(&self) -> Vec<usize> {
        match &self.need.cpus {
            CpuChoice::Fixed(shares) => shares.iter().map(|(at, _)| *at).collect(),
            CpuChoice::Free => (0..self.board.len()).filter(|at| self.board.cpus(self.need, *at) > 0).collect(),
        }
    }

    /// Every node alone; allocates nothing unless somebody looks on.
    fn singles<W: Watch>(&mut self, watch: &mut W) {
        let mut best: Option<(usize, Score)> = None;
        for at in 0..self.board.len() {
            if self.board.fits(self.need, at) {
                let score = self.board.score_one(self.need, at);
                watch.scored(self.board, &[at], &[at], &score);
                if best.as_ref().is_none_or(|(_, known)| score.total < known.total) {
                    best = Some((at, score));
                }
            } else if W::LOOKS
                && let Some(first) = self.failures(&[at], &[at]).into_iter().next()
            {
                watch.failed(self.board, &[at], &[at], first);
            }
        }
        self.best = best.map(|(at, score)| Decision { cpus: Positions::One(at), memory: Positions::One(at), score });
    }

    /// Every node alone for what is free, where the definition has decided the rest.
    fn singles_beside_fixed<W: Watch>(&mut self, watch: &mut W) {
        let (cpus, memory) = (self.cpu_positions(), self.memory_positions());
        let candidates: Vec<usize> = match (&self.need.cpus, &self.need.memory) {
            (CpuChoice::Fixed(_), MemoryChoice::Fixed(_)) => return self.consider(&cpus, &memory, watch),
            (CpuChoice::Free, _) => (0..self.board.len()).collect(),
            (CpuChoice::Fixed(_), MemoryChoice::Free) => memory.clone(),
        };
        for at in candidates {
            let alone = [at];
            let (cpus, memory) = match self.need.cpus {
                CpuChoice::Free => (&alone[..], &memory[..]),
                CpuChoice::Fixed(_) => (&cpus[..], &alone[..]),
            };
            match self.failures(cpus, memory).into_iter().next() {
                None => self.consider(cpus, memory, watch),
                Some(first) => watch.failed(self.board, cpus, memory, first),
            }
        }
    }

    /// What no choice of nodes can give. Memory that the definition names is checked when it is promised.
    fn short_in_total(&self) -> Vec<Constraint> {
        let mut short = Vec::new();
        if matches!(self.need.memory, MemoryChoice::Free) {
            let all = self.memory_positions();
            if all.is_empty() {
                return vec![Constraint::NoMemory { nodes: self.board.host.online_nodes() }];
            }
            let resources = self.need.resources();
            short.extend(resources.filter_map(|r| super::shortage(self.board, &all, r)));
        }
        if matches!(self.need.cpus, CpuChoice::Free) {
            short.extend(self.short_of_cpus(&self.cpu_positions()));
        }
        short
    }

    fn short_of_cpus(&self, positions: &[usize]) -> Option<Constraint> {
        if self.board.enough_cpus(self.need, positions) {
            return None;
        }
        let have = u32::try_from(self.board.cpus_of(self.need, positions)).unwrap_or(u32::MAX);
        Some(Constraint::Cpus { nodes: self.board.nodes(positions), need: self.need.cpus_needed, have })
    }

    /// What these nodes lack.
    fn failures(&self, cpus: &[usize], memory: &[usize]) -> Vec<Constraint> {
        let mut failed = Vec::new();
        if matches!(self.need.memory, MemoryChoice::Free) {
            if memory.iter().any(|at| !self.board.sites[*at].memory) {
                failed.push(Constraint::NoMemory { nodes: self.board.nodes(memory) });
            } else {
                failed.extend(self.need.resources().filter_map(|r| super::shortage(self.board, memory, r)));
            }
        }
        if matches!(self.need.cpus, CpuChoice::Free) {
            failed.extend(self.short_of_cpus(cpus));
        }
        failed
    }

    /// What the node that is nearest to fitting alone is short of.
    fn nearest_to_fitting(&self) -> Vec<Constraint> {
        let (cpus, memory) = (self.cpu_positions(), self.memory_positions());
        let candidates = match self.need.cpus {
            CpuChoice::Free => (0..self.board.len()).collect(),
            CpuChoice::Fixed(_) => memory.clone(),
        };
        let mut nearest: Option<(f64, Vec<Constraint>)> = None;
        for at in candidates {
            let useful = self.board.usefulness(self.need, at);
            if nearest.as_ref().is_some_and(|(known, _)| useful <= *known) {
                continue;
            }
            let alone = [at];
            let failed = match (&self.need.cpus, &self.need.memory) {
                (CpuChoice::Free, MemoryChoice::Free) => self.failures(&alone, &alone),
                (CpuChoice::Free, MemoryChoice::Fixed(_)) => self.failures(&alone, &memory),
                (CpuChoice::Fixed(_), _) => self.failures(&cpus, &alone),
            };
            if !failed.is_empty() {
                nearest = Some((useful, failed));
            }
        }
        nearest.map(|(_, failed)| failed).unwrap_or_default()
    }

    /// Scores a pick that fits.
    fn score(&mut self, cpus: &[usize], memory: &[usize]) -> Score {
        let mut shares = std::mem::take(&mut self.scratch.shares);
        self.board.shares_into(self.need, cpus, &mut shares);
        self.scratch.shares = shares;
        self.board.score(self.need, memory, &mut self.scratch)
    }

    /// Scores a pick that fits and keeps it if it is the best.
    fn consider<W: Watch>(&mut self, cpus: &[usize], memory: &[usize], watch: &mut W) {
        let score = self.score(cpus, memory);
        self.keep(score, cpus, memory, watch);
    }

    fn keep<W: Watch>(&mut self, score: Score, cpus: &[usize], memory: &[usize], watch: &mut W) {
        watch.scored(self.board, cpus, memory, &score);
        if self.best.as_ref().is_none_or(|best| score.total < best.score.total) {
            self.best = Some(Decision { cpus: Positions::of(cpus), memory: Positions::of(memory), score });
        }
    }
}
