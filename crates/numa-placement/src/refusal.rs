//! Why a guest cannot be placed: the smallest set of constraints that stand in the way, with numbers, and a remedy.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::set::NodeSet;
use crate::trace::Trace;
use crate::units::{HostNode, Kib};

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refusal {
    /// The guest's name.
    pub guest: String,
    /// Take any of them away and it would fit, or the next one shows; never empty.
    pub constraints: Vec<Constraint>,
    /// What to do.
    pub remedy: String,
    /// What was considered.
    pub trace: Box<Trace>,
}

impl Refusal {
    /// A refusal by these constraints, for callers that find one before the engine does.
    #[must_use]
    pub fn new(guest: impl Into<String>, constraints: Vec<Constraint>, remedy: impl Into<String>) -> Refusal {
        Refusal { guest: guest.into(), constraints, remedy: remedy.into(), trace: Box::default() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guest '{}' cannot be placed: ", self.guest)?;
        for (at, constraint) in self.constraints.iter().enumerate() {
            write!(f, "{}{constraint}", if at == 0 { "" } else { "; " })?;
        }
        write!(f, "; {}", self.remedy)
    }
}

impl std::error::Error for Refusal {}

/// One thing that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Constraint {
    /// Ordinary memory is short.
    Memory {
        /// On these nodes together.
        nodes: NodeSet,
        /// What is asked.
        need: Kib,
        /// What can be promised.
        have: Kib,
    },
    /// More ordinary memory than guests may have in all, whatever the nodes have.
    Limit {
        /// Who limits them.
        by: String,
        /// What is asked.
        need: Kib,
        /// What is left.
        have: Kib,
    },
    /// Huge pages are short.
    HugePages {
        /// On these nodes together.
        nodes: NodeSet,
        /// Of this size.
        size: Kib,
        /// Pages asked.
        need: u64,
        /// Pages that can be promised.
        have: u64,
    },
    /// The host has no pool of this page size.
    NoSuchPageSize {
        /// The size.
        size: Kib,
        /// The sizes there are.
        available: Vec<Kib>,
    },
    /// CPUs are short.
    Cpus {
        /// On these nodes together.
        nodes: NodeSet,
        /// CPUs asked.
        need: u32,
        /// CPUs there are.
        have: u32,
    },
    /// A node that the definition names is not online.
    NodeOffline {
        /// The node.
        node: HostNode,
        /// Who names it, as a path in the definition.
        path: String,
        /// The nodes that are online.
        online: NodeSet,
    },
    /// None of these CPUs is online.
    CpusOffline {
        /// Who names them, as a path in the definition.
        path: String,
        /// What was named, as text.
        named: String,
    },
    /// None of the nodes has memory.
    NoMemory {
        /// The nodes.
        nodes: NodeSet,
    },
    /// Neither the driver nor the kernel can express it.
    Unsupported {
        /// The rule it concerns.
        rule: String,
        /// What.
        what: String,
    },
    /// The request contradicts itself or has a size of zero.
    Invalid {
        /// What is wrong.
        what: String,
    },
}

fn nodes_words(nodes: &NodeSet) -> String {
    match nodes.len() {
        0 => "no node".to_owned(),
        1 => format!("node {nodes}"),
        _ => format!("nodes {nodes} together"),
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constraint::Memory { nodes, need, have } => {
                let short = need.saturating_sub(*have);
                write!(f, "{} short {short} of memory ({need} asked, {have} can be promised)", nodes_words(nodes))
            }
            Constraint::Limit { by, need, have } => {
                let short = need.saturating_sub(*have);
                write!(f, "{by} is short {short} of memory for all guests ({need} asked, {have} can be promised)")
            }
            Constraint::HugePages { nodes, size, need, have } => {
                let short = need.saturating_sub(*have);
                let whose = nodes_words(nodes);
                write!(f, "{whose} short {short} × {size} pages ({need} asked, {have} can be promised)")
            }
            Constraint::NoSuchPageSize { size, available } if available.is_empty() => {
                write!(f, "no pool of {size} pages: the host has no huge pages at all")
            }
            Constraint::NoSuchPageSize { size, available } => {
                let sizes: Vec<_> = available.iter().map(Kib::to_string).collect();
                write!(f, "no pool of {size} pages: the host has {}", sizes.join(", "))
            }
            Constraint::Cpus { nodes, need, have } => {
                let short = need.saturating_sub(*have);
                let plural = if short == 1 { "" } else { "s" };
                write!(f, "{} short {short} CPU{plural} ({need} asked, {have} there)", nodes_words(nodes))
            }
            Constraint::NodeOffline { node, path, online } => {
                write!(f, "node {node} named by {path} is not online (online: {online})")
            }
            Constraint::CpusOffline { path, named } => {
                write!(f, "none of the CPUs '{named}' named by {path} is online")
            }
            Constraint::NoMemory { nodes } => write!(f, "{} without memory", nodes_words(nodes)),
            Constraint::Unsupported { rule, what } => write!(f, "{what} cannot be expressed here (rule {rule})"),
            Constraint::Invalid { what } => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_say_the_numbers() {
        let pages = Constraint::HugePages { nodes: NodeSet::of(HostNode(1)), size: Kib::from_gib(1), need: 8, have: 5 };
        assert_eq!(pages.to_string(), "node 1 short 3 × 1 GiB pages (8 asked, 5 can be promised)");
        let constraints = vec![pages, Constraint::NoMemory { nodes: NodeSet::of_range(2, 3) }];
        let refusal = Refusal::new("g", constraints, "reserve more pages");
        let text = refusal.to_string();
        assert!(text.starts_with("guest 'g' cannot be placed: node 1 short 3"), "{text}");
        assert!(text.ends_with("; nodes 2-3 together without memory; reserve more pages"), "{text}");
    }
}
