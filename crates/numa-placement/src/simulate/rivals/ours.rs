//! This crate's engine, in a simulation: it sees what its ledger has promised and how busy CPUs are.

use super::{Ask, Rival, Spot, View};
use crate::engine::{Board, Weights};
use crate::promised::Promised;
use crate::request::{Span, Threads};
use crate::units::Kib;

/// The engine.
#[derive(Debug)]
pub struct Ours {
    span: Span,
    weights: Option<Weights>,
    /// Guests wider than a node span as few nodes as they can, whatever the rule says.
    wide_span: bool,
}

impl Ours {
    /// As it is by default, spanning nodes by this rule.
    #[must_use]
    pub fn new(span: Span) -> Ours {
        Ours { span, weights: None, wide_span: false }
    }

    /// One node for every guest but those that no empty node would hold.
    #[must_use]
    pub fn single() -> Ours {
        Ours { wide_span: true, ..Ours::new(Span::Never) }
    }

    /// With these weights, for tuning.
    #[must_use]
    pub fn with_weights(mut self, weights: Weights) -> Ours {
        self.weights = Some(weights);
        self
    }
}

impl Rival for Ours {
    fn name(&self) -> &'static str {
        "polyvirt"
    }

    fn place(&mut self, view: &View<'_>, ask: &Ask) -> Option<Spot> {
        let mut board = Board::new(view.topology, &Promised::default());
        for (at, node) in view.nodes.iter().enumerate() {
            let cpus = if view.dedicated { node.free_threads } else { node.threads };
            board.update(at, cpus, node.busy, Kib(node.unpromised()));
        }
        let holds = |node: &super::NodeView| node.threads >= ask.vcpus && node.memory >= ask.memory.0;
        let wide = self.wide_span && !view.nodes.iter().any(holds);
        let mut need = board.need(ask.vcpus, ask.memory).span(if wide { Span::IfNeeded } else { self.span });
        if view.dedicated {
            need = need.dedicated(Threads::Prefer);
        }
        if let Some(weights) = self.weights {
            need = need.objective(weights);
        }
        let decision = board.decide(&need).ok()?;
        let cpus = if view.dedicated {
            let mut counts = board.counts(&need, &decision);
            counts.sort_by_key(|(at, count)| (std::cmp::Reverse(*count), *at));
            counts.into_iter().map(|(at, _)| at).collect()
        } else {
            decision.cpus().to_vec()
        };
        Some(Spot { cpus, memory: decision.memory().to_vec(), striped: false, booked: true })
    }
}
