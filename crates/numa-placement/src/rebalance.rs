//! After the start: how far guests sit from where they were planned, and which single change would help most.
//!
//! [`drift`] compares a plan with what was observed. [`suggest`] looks for the best change of one guest, or exchange of
//! two, by what it gains for every byte that has to move.
//!
//! Invariants: what a guest costs where it is and where it might be is estimated in the same way; so nothing is suggested that changes
//! nothing, or whose gain by that estimate is not positive.
//!
//! Pure: nothing is moved here, and nobody else does so without being asked. What it does not do: chains of more than
//! two guests, and guests that cannot be moved (`strict` memory that only a cpuset confines can; what a hypervisor has
//! locked or hands to devices cannot: the caller says so in [`Seat::movable`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::Board;
use crate::plan::{NodeShare, Plan};
use crate::policy::PageSize;
use crate::promised::Promised;
use crate::set::NodeSet;
use crate::topology::{HostTopology, Node};
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

/// Memory of a guest on a node, in pages of a size.
pub(crate) type SeatMemory = (HostNode, PageSize, Kib);

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
    /// Cores it is expected to keep busy, from what was seen of it. `None`: nobody looked, and half a core is expected of each vCPU.
    pub busy: Option<f64>,
    /// Whether its CPUs are its own: then it is no load for others, nor they for it.
    #[serde(default)]
    pub dedicated: bool,
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
        Seat { guest: guest.into(), vcpus, cpus, memory, busy: None, dedicated: false, repinnable: true, movable: true }
    }

    /// Cores it is expected to keep busy among those that guests share.
    pub(crate) fn cores(&self) -> f64 {
        match self.dedicated {
            true => 0.0,
            false => self.busy.unwrap_or(f64::from(self.vcpus) * crate::engine::BUSY_PER_VCPU),
        }
    }

    /// Nodes its vCPUs run on.
    #[must_use]
    pub fn cpu_nodes(&self) -> NodeSet {
        self.cpus.iter().filter(|(_, milli)| *milli > 0).map(|(node, _)| *node).collect()
    }

    /// Nodes its memory lies on.
    #[must_use]
    pub fn memory_nodes(&self) -> NodeSet {
        self.memory.iter().filter(|(_, _, size)| !size.is_zero()).map(|(node, _, _)| *node).collect()
    }

    /// Page sizes of its memory, ascending.
    pub(crate) fn page_sizes(&self) -> Vec<PageSize> {
        let mut sizes: Vec<_> = self.memory.iter().map(|(_, size, _)| *size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    fn may(&self, part: Part) -> bool {
        (!part.cpus() || self.repinnable) && (!part.memory() || self.movable)
    }
}

/// What of a guest changes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Cpus,
    Memory,
    Both,
}

impl Part {
    const ALL: [Part; 3] = [Part::Cpus, Part::Memory, Part::Both];

    pub(crate) fn cpus(self) -> bool {
        self != Part::Memory
    }

    pub(crate) fn memory(self) -> bool {
        self != Part::Cpus
    }
}

/// When a change is worth it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hysteresis {
    /// Its cost has to sink by this part at least.
    pub least_gain: f64,
    /// And for every vCPU by so much: a part of next to nothing is nothing. 1 is a distance of 20 instead of 10.
    pub least_saving: f64,
    /// And so long after the last change.
    pub least_time: Duration,
}

impl Default for Hysteresis {
    /// A tenth, a tenth of a step of distance, and five minutes.
    fn default() -> Self {
        Hysteresis { least_gain: 0.1, least_saving: 0.01, least_time: Duration::from_secs(300) }
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

impl Move {
    /// From one seat to another, for these nodes; `None` if nothing changes.
    fn between(seat: &Seat, after: &Seat, cpus: Option<&NodeSet>, memory: Option<&NodeSet>) -> Option<Move> {
        let cpus = cpus.filter(|_| after.cpus != seat.cpus).cloned();
        let elsewhere = |to: &NodeSet| -> Kib {
            seat.memory.iter().filter(|(node, _, _)| !to.contains(*node)).map(|(_, _, size)| *size).sum()
        };
        let moved = memory.map(|to| (to, elsewhere(to))).filter(|(_, size)| !size.is_zero());
        let size = moved.map_or(Kib::ZERO, |(_, size)| size);
        let memory = moved.map(|(to, _)| to.clone());
        let changes = cpus.is_some() || memory.is_some();
        changes.then(|| Move { guest: seat.guest.clone(), cpus, memory, size })
    }
}

/// The change that helps most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Suggestion {
    /// One guest, or two that change places.
    pub moves: Vec<Move>,
    /// Memory to move in all.
    pub size: Kib,
    /// How much the cost of those guests sinks, times their vCPUs; positive.
    pub gain: f64,
}

impl Suggestion {
    /// These moves, if what the guests concerned cost sinks enough by them.
    fn worth(moves: Vec<Move>, vcpus: f64, (now, then): (f64, f64), hysteresis: Hysteresis) -> Option<Suggestion> {
        let size = moves.iter().map(|moved| moved.size).sum();
        let least = (now * hysteresis.least_gain).max(vcpus * hysteresis.least_saving);
        let is_worth = then < now && now - then >= least;
        is_worth.then_some(Suggestion { moves, size, gain: now - then })
    }

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
        for part in Part::ALL.into_iter().filter(|part| seat.may(*part)) {
            offer(alone(&without, seat, part, now, hysteresis));
        }
    }
    costly.sort_by(|a, b| b.0.total_cmp(&a.0));
    costly.truncate(PAIRED);
    for (at, (_, one)) in costly.iter().enumerate() {
        for (_, two) in &costly[at + 1..] {
            for part in Part::ALL.into_iter().filter(|part| one.may(*part) && two.may(*part)) {
                offer(exchange(&board, one, two, part, hysteresis));
            }
        }
    }
    best
}

/// The best new place of one guest, on a board without it.
fn alone(board: &Board<'_>, seat: &Seat, part: Part, now: f64, hysteresis: Hysteresis) -> Option<Suggestion> {
    let (cpus, memory) = board.seek(seat, part)?;
    let after = board.place(seat, cpus.as_ref(), memory.as_ref())?;
    let moved = Move::between(seat, &after, cpus.as_ref(), memory.as_ref())?;
    let vcpus = f64::from(seat.vcpus);
    Suggestion::worth(vec![moved], vcpus, (now * vcpus, board.seat_cost(&after) * vcpus), hysteresis)
}

/// Whether there is room for what moves at this moment, whatever is promised to others.
fn finds_room(board: &Board<'_>, moved: &Move) -> bool {
    let Some(to) = &moved.memory else { return true };
    let available: Kib = to.iter().filter_map(|node| board.host().node(node)).map(Node::available).sum();
    available >= moved.size
}

/// Two guests that take each other's nodes, for want of room elsewhere.
fn exchange(board: &Board<'_>, one: &Seat, two: &Seat, part: Part, hysteresis: Hysteresis) -> Option<Suggestion> {
    let of = |seat: &Seat| (part.cpus().then(|| seat.cpu_nodes()), part.memory().then(|| seat.memory_nodes()));
    let (of_one, of_two) = (of(one), of(two));
    if of_one == of_two {
        return None;
    }
    let mut neither = board.clone();
    neither.take_out(one);
    neither.take_out(two);
    let beside = |seat: &Seat| {
        let mut board = neither.clone();
        board.put_in(seat);
        board
    };
    let new_one = neither.place(one, of_two.0.as_ref(), of_two.1.as_ref())?;
    let beside_one = beside(&new_one);
    let new_two = beside_one.place(two, of_one.0.as_ref(), of_one.1.as_ref())?;
    let moves = vec![
        Move::between(one, &new_one, of_two.0.as_ref(), of_two.1.as_ref())?,
        Move::between(two, &new_two, of_one.0.as_ref(), of_one.1.as_ref())?,
    ];
    // One of them goes first, and finds the other still there.
    if !moves.iter().any(|moved| finds_room(board, moved)) {
        return None;
    }
    let (of_one, of_two) = (f64::from(one.vcpus), f64::from(two.vcpus));
    let now = beside(two).seat_cost(one) * of_one + beside(one).seat_cost(two) * of_two;
    let then = beside(&new_two).seat_cost(&new_one) * of_one + beside_one.seat_cost(&new_two) * of_two;
    Suggestion::worth(moves, of_one + of_two, (now, then), hysteresis)
}

#[cfg(test)]
mod tests;
