//! How a decision was made: the candidates in the order they were looked at, each with its terms or with the first
//! constraint it failed. Bounded, so that it can live in a status record.

use serde::{Deserialize, Serialize};

use crate::refusal::Constraint;
use crate::set::NodeSet;

/// At most this many candidates are kept; the chosen one always is.
pub const TRACE_LIMIT: usize = 48;

/// How a decision was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trace {
    /// One sentence on what was decided and by what means.
    pub summary: String,
    /// Candidates in the order of consideration.
    pub candidates: Vec<Candidate>,
    /// How many more were looked at and are not listed.
    pub omitted: u64,
    /// Facts that bent the decision: a pin, a node left out, a fallback.
    pub notes: Vec<String>,
}

/// One way to place the guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Candidate {
    /// Nodes its CPUs would come from.
    pub cpu_nodes: NodeSet,
    /// Nodes its memory would come from.
    pub memory_nodes: NodeSet,
    /// What became of it.
    pub verdict: Verdict,
    /// Terms of the objective, weighted; lower is better. Empty if it failed.
    pub terms: Vec<Term>,
}

impl Candidate {
    /// The sum of its terms.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.terms.iter().map(|term| term.value).sum()
    }
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// This is the plan.
    Chosen,
    /// Possible, but another one costs less.
    Beaten,
    /// Impossible; the first constraint it failed.
    Failed(Constraint),
}

/// One weighted term of the objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Term {
    /// Which.
    pub name: TermName,
    /// Weight times value.
    pub value: f64,
}

/// The terms of the objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TermName {
    /// Mean distance of a memory access, above local.
    Distance,
    /// What the cores cannot carry if all vCPUs of the guest are busy at once.
    Overload,
    /// How busy the cores become.
    Load,
    /// How full memory becomes, squared.
    Fill,
    /// Every further node.
    Nodes,
    /// What stays free beside a guest with CPUs of its own.
    Slack,
    /// CPUs that an ordinary guest can no longer use afterwards.
    Stranded,
    /// Mean distance to the guest's devices, above local.
    Devices,
}
