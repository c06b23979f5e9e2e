//! Who looks on while the engine searches: nobody, or a scribe that writes the trace.
//!
//! Invariant: a watcher is told, never asked; so the decision is the same whoever looks on.

use super::board::{Board, Decision, Need};
use super::objective::Score;
use crate::refusal::Constraint;
use crate::set::NodeSet;
use crate::trace::{Candidate, TRACE_LIMIT, Trace, Verdict};

/// Is told what the search considers.
pub(super) trait Watch {
    /// Whether anybody looks on; if not, nothing has to be prepared for being told.
    const LOOKS: bool;
    /// A candidate that fails, and by what.
    fn failed(&mut self, board: &Board<'_>, cpus: &[usize], memory: &[usize], constraint: Constraint);
    /// A candidate that is possible.
    fn scored(&mut self, board: &Board<'_>, cpus: &[usize], memory: &[usize], score: &Score);
    /// The one that is chosen.
    fn chosen(&mut self, board: &Board<'_>, need: &Need, decision: &Decision);
}

/// Nobody.
pub(super) struct Silent;

impl Watch for Silent {
    const LOOKS: bool = false;
    fn failed(&mut self, _: &Board<'_>, _: &[usize], _: &[usize], _: Constraint) {}
    fn scored(&mut self, _: &Board<'_>, _: &[usize], _: &[usize], _: &Score) {}
    fn chosen(&mut self, _: &Board<'_>, _: &Need, _: &Decision) {}
}

/// Writes the trace.
#[derive(Default)]
pub(super) struct Scribe {
    trace: Trace,
}

impl Scribe {
    pub(super) fn finish(mut self, board: &Board<'_>) -> Trace {
        self.trace.notes.extend(board.host.notes().iter().cloned());
        self.trace
    }

    /// The ways of searching overlap, so a candidate may come by more than once; it is listed once.
    fn write(&mut self, cpu_nodes: NodeSet, memory_nodes: NodeSet, verdict: Verdict, score: Option<&Score>) {
        let known = |c: &&mut Candidate| c.cpu_nodes == cpu_nodes && c.memory_nodes == memory_nodes;
        let chosen = verdict == Verdict::Chosen;
        let candidate = |cpu_nodes, memory_nodes| {
            let terms = score.map(Score::terms).unwrap_or_default();
            Candidate { cpu_nodes, memory_nodes, verdict, terms }
        };
        if let Some(known) = self.trace.candidates.iter_mut().find(known) {
            if chosen {
                *known = candidate(cpu_nodes, memory_nodes);
            }
            return;
        }
        if self.trace.candidates.len() >= TRACE_LIMIT {
            self.trace.omitted += 1;
            // The winner takes the last place if the trace is full.
            if !chosen {
                return;
            }
            self.trace.candidates.pop();
        }
        self.trace.candidates.push(candidate(cpu_nodes, memory_nodes));
    }
}

impl Watch for Scribe {
    const LOOKS: bool = true;

    fn failed(&mut self, board: &Board<'_>, cpus: &[usize], memory: &[usize], constraint: Constraint) {
        self.write(board.nodes(cpus), board.nodes(memory), Verdict::Failed(constraint), None);
    }

    fn scored(&mut self, board: &Board<'_>, cpus: &[usize], memory: &[usize], score: &Score) {
        self.write(board.nodes(cpus), board.nodes(memory), Verdict::Beaten, Some(score));
    }

    fn chosen(&mut self, board: &Board<'_>, _: &Need, decision: &Decision) {
        let (cpus, memory) = (board.nodes(decision.cpus()), board.nodes(decision.memory()));
        self.write(cpus, memory, Verdict::Chosen, Some(&decision.score));
    }
}
