//! After the start: how far guests sit from where they were planned, and which single change would help most.
//!
//! [`drift`] compares a plan with what was observed. [`suggest`] looks for the best change of one guest, or exchange of
//! two, by what it gains for every byte that has to move.
//!
//! Pure: nothing is moved here, and nobody else does so without being asked. What it does not do: chains of more than
//! two guests, and guests that cannot be moved (`strict` memory that only a cpuset confines can; what a hypervisor has
//! locked or hands to devices cannot: the caller says so in [`Seat::movable`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::{Board, Need};
use crate::plan::{NodeShare, Plan};
use crate::policy::PageSize;
use crate::promised::Promised;
use crate::set::NodeSet;
use crate::topology::HostTopology;
use crate::units::{HostNode, Kib};

/// Memory on a node that differs from the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeDrift {
    /// The node.
    pub node: HostNode,
    /// What the plan promises there.
    pub planned: Kib,
    /// What is there.
    pub observed: Kib,
}

/// How far a guest's memory lies from its plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Drift {
    /// Nodes that have more than planned, or that are not in the plan at all, ascending.
    pub beyond: Vec<NodeDrift>,
    /// Memory beyond the plan, on all nodes together. A guest that has not touched all of its memory drifts by what
    /// lies wrong, not by what is missing.
    pub misplaced: Kib,
}

/// Compares a plan with what `numa_maps`, `memory.numa_stat` or a hypervisor says.
#[must_use]
pub fn drift(plan: &Plan, observed: &[NodeShare]) -> Drift {
    let mut drift = Drift::default();
    let promised = plan.promised_memory();
    let mut seen = std::collections::BTreeMap::<HostNode, Kib>::new();
    for share in observed {
        let sum = seen.entry(share.node).or_default();
        *sum = sum.saturating_add(share.size);
    }
    for (node, observed) in seen {
        let planned: Kib = promised.iter().filter(|(other, _, _)| *other == node).map(|(_, _, size)| *size).sum();
        let more = observed.saturating_sub(planned);
        if !more.is_zero() {
            drift.beyond.push(NodeDrift { node, planned, observed });
            drift.misplaced = drift.misplaced.saturating_add(more);
        }
    }
    drift
}

/// A guest that runs, as it sits now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Seat {
    /// Its name.
    pub guest: String,
    /// Its online vCPUs.
    pub vcpus: u32,
    /// Nodes its vCPUs run on, with thousandths of vCPUs on each.
    pub cpus: Vec<(HostNode, u64)>,
    /// Memory as it lies, by node and page size.
    pub memory: Vec<(HostNode, PageSize, Kib)>,
    /// Cores it keeps busy, if somebody looked.
    pub busy: Option<f64>,
    /// Whether its vCPUs may be put elsewhere.
    pub repinnable: bool,
    /// Whether its pages may be moved.
    pub movable: bool,
}

impl Seat {
    /// A guest that may be moved.
    #[must_use]
    pub fn new(
        guest: impl Into<String>,
        vcpus: u32,
        cpus: Vec<(HostNode, u64)>,
        memory: Vec<(HostNode, PageSize, Kib)>,
    ) -> Seat {
        Seat { guest: guest.into(), vcpus, cpus, memory, busy: None, repinnable: true, movable: true }
    }

    pub(crate) fn cores(&self) -> f64 {
        self.busy.unwrap_or(f64::from(self.vcpus) * crate::engine::BUSY_PER_VCPU)
    }

    /// KiB in all.
    fn size(&self) -> Kib {
        self.memory.iter().map(|(_, _, size)| *size).sum()
    }
}

/// When a change is worth it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hysteresis {
    /// Its cost has to sink by this part at least.
    pub least_gain: f64,
    /// And so long after the last change.
    pub least_time: Duration,
}

impl Default for Hysteresis {
    /// A tenth, and five minutes.
    fn default() -> Self {
        Hysteresis { least_gain: 0.1, least_time: Duration::from_secs(300) }
    }
}

/// A guest's new seat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Move {
    /// The guest.
    pub guest: String,
    /// Nodes for its vCPUs; `None`: they stay.
    pub cpus: Option<NodeSet>,
    /// Nodes for its memory; `None`: it stays.
    pub memory: Option<NodeSet>,
    /// Memory that is not on those nodes yet.
    pub size: Kib,
}

/// The change that helps most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Suggestion {
    /// One guest, or two that change places.
    pub moves: Vec<Move>,
    /// Memory to move in all.
    pub size: Kib,
    /// How much the cost of those guests sinks, by vCPU.
    pub gain: f64,
}

impl Suggestion {
    /// Gain for every GiB that moves; what moves none counts as a page of 2 MiB, for the trouble.
    #[must_use]
    pub fn gain_per_gib(&self) -> f64 {
        self.gain / (crate::engine::real(self.size.0.max(2048)) / 1_048_576.0)
    }
}

/// More guests than this are not paired: the costliest are.
const PAIRED: usize = 64;

/// The best change; `None` if nothing is worth it, or not yet.
///
/// `promised` and the seats describe the same guests: a seat is taken out of the promises while its new place is
/// sought.
#[must_use]
pub fn suggest(
    host: &HostTopology,
    promised: &Promised,
    seats: &[Seat],
    hysteresis: Hysteresis,
    since_last: Option<Duration>,
) -> Option<Suggestion> {
    if since_last.is_some_and(|since| since < hysteresis.least_time) {
        return None;
    }
    let board = Board::new(host, promised);
    let mut best: Option<Suggestion> = None;
    let mut offer = |suggestion: Option<Suggestion>| {
        let Some(suggestion) = suggestion else { return };
        if best.as_ref().is_none_or(|known| suggestion.gain_per_gib() > known.gain_per_gib()) {
            best = Some(suggestion);
        }
    };
    let mut costly: Vec<(f64, &Seat)> = Vec::new();
    for seat in seats {
        let mut without = board.clone();
        without.take_out(seat);
        let now = without.seat_cost(seat);
        costly.push((now * f64::from(seat.vcpus), seat));
        for (cpus, memory) in [(true, false), (false, true), (true, true)] {
            if (!cpus || seat.repinnable) && (!memory || seat.movable) {
                offer(alone(&without, seat, (cpus, memory), now, hysteresis));
            }
        }
    }
    costly.sort_by(|a, b| b.0.total_cmp(&a.0));
    costly.truncate(PAIRED);
    for (at, (_, one)) in costly.iter().enumerate() {
        for (_, two) in &costly[at + 1..] {
            offer(exchange(&board, one, two, hysteresis));
        }
    }
    best
}

/// The best new place of one guest, for its CPUs, its memory or both.
fn alone(
    board: &Board<'_>,
    seat: &Seat,
    (cpus, memory): (bool, bool),
    now: f64,
    hysteresis: Hysteresis,
) -> Option<Suggestion> {
    let need = board.need_of_seat(seat, cpus, memory)?;
    let decision = board.decide(&need).ok()?;
    let then = decision.lasting_cost();
    if then > now * (1.0 - hysteresis.least_gain) {
        return None;
    }
    let nodes = |positions: &[usize]| -> NodeSet { positions.iter().map(|at| board.host().nodes()[*at].id).collect() };
    let to = memory.then(|| nodes(decision.memory()));
    let size = to.as_ref().map_or(Kib::ZERO, |to| elsewhere(seat, to));
    let moved = Move { guest: seat.guest.clone(), cpus: cpus.then(|| nodes(decision.cpus())), memory: to, size };
    Some(Suggestion { moves: vec![moved], size, gain: (now - then) * f64::from(seat.vcpus) })
}

/// Memory of the guest that is not on these nodes.
fn elsewhere(seat: &Seat, nodes: &NodeSet) -> Kib {
    seat.memory.iter().filter(|(node, _, _)| !nodes.contains(*node)).map(|(_, _, size)| *size).sum()
}

/// Two guests that take each other's memory nodes, for want of room elsewhere.
fn exchange(board: &Board<'_>, one: &Seat, two: &Seat, hysteresis: Hysteresis) -> Option<Suggestion> {
    if !one.movable || !two.movable {
        return None;
    }
    let nodes = |seat: &Seat| -> NodeSet { seat.memory.iter().map(|(node, _, _)| *node).collect() };
    let (of_one, of_two) = (nodes(one), nodes(two));
    if of_one == of_two {
        return None;
    }
    let mut without = board.clone();
    without.take_out(one);
    without.take_out(two);
    let mut now = 0.0;
    let mut then = 0.0;
    let mut moves = Vec::new();
    for (seat, other, to) in [(one, two, &of_two), (two, one, &of_one)] {
        let mut beside = without.clone();
        beside.put_in(other, if other.guest == one.guest { &of_two } else { &of_one })?;
        let need: Need = beside.need_of_seat(seat, false, false)?.memory_on(beside.positions(to));
        if !beside.holds(&need) {
            return None;
        }
        let mut before = without.clone();
        before.put_back(other);
        now += before.seat_cost(seat) * f64::from(seat.vcpus);
        then += beside.decide(&need).ok()?.lasting_cost() * f64::from(seat.vcpus);
        moves.push(Move { guest: seat.guest.clone(), cpus: None, memory: Some(to.clone()), size: elsewhere(seat, to) });
    }
    if then > now * (1.0 - hysteresis.least_gain) {
        return None;
    }
    let size = moves.iter().map(|moved| moved.size).sum();
    debug_assert!(size <= one.size().saturating_add(two.size()));
    Some(Suggestion { moves, size, gain: now - then })
}

#[cfg(test)]
mod tests;
