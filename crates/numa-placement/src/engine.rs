//! The engine: from a host, its promises, a profile and a request to a plan.
//!
//! Steps, each pure: read the demand → check what the definition names → choose the nodes of automatic placement →
//! promise memory to every cell and device → bind threads. The same input gives the same plan: there is no clock, no
//! random number and no hash order in here.
//!
//! By default a definition means what libvirt says it means, so one advice holds for the whole guest. A request may ask
//! for more: a node for each guest cell, CPUs of its own, headroom, devices nearby.

use crate::plan::Plan;
use crate::policy::{MemMode, MemPolicy, PageSize};
use crate::profile::PlacementProfile;
use crate::promised::Promised;
use crate::refusal::{Constraint, Refusal};
use crate::request::Request;
use crate::topology::HostTopology;
use crate::trace::Trace;
use crate::units::Kib;

mod assemble;
mod board;
mod cells;
mod checks;
mod choose;
mod demand;
mod fixed;
mod objective;
mod own;
mod plug;
mod promise;
mod search;
mod seats;
mod shares;
mod watch;

pub(crate) use board::real;
pub use board::{Board, Decision, Need};
pub(crate) use objective::BUSY_PER_VCPU;
pub use objective::Weights;
pub use plug::{plug, unplug};

/// What every step sees.
#[derive(Clone, Copy)]
struct Context<'a> {
    host: &'a HostTopology,
    promised: &'a Promised,
    profile: &'a PlacementProfile,
    request: &'a Request,
}

impl Context<'_> {
    /// Whether the general policy interleaves by weights.
    fn is_weighted(&self) -> bool {
        self.request.weighted && self.request.kernel.weighted_interleave && self.profile.modes.weighted
    }

    /// A policy that is the general one, by weights where that is wished and possible.
    fn weighed(&self, policy: MemPolicy) -> MemPolicy {
        let weighted = self.is_weighted() && policy.mode == Some(MemMode::Interleave);
        policy.weighted(weighted)
    }
}

/// Decides where a guest goes.
///
/// The plan's `lease` is `None`: nothing is booked. To make it binding, call this inside
/// [`Ledger::reserve`](crate::Ledger::reserve), which hands in what is promised and books the answer.
///
/// # Errors
/// [`Refusal`]: the smallest set of constraints in the way, with numbers and a remedy.
pub fn plan(
    host: &HostTopology,
    promised: &Promised,
    profile: &PlacementProfile,
    request: &Request,
) -> Result<Plan, Refusal> {
    let cx = Context { host, promised, profile, request };
    let refuse = |constraints, trace| refusal(request, constraints, trace);
    let demand = demand::demand(host, profile, request).map_err(|wrong| refuse(wrong, Trace::default()))?;
    let wrong = checks::named(cx, &demand);
    if !wrong.is_empty() {
        return Err(refuse(wrong, Trace::default()));
    }
    let sizes = demand.totals().into_iter().map(|(size, _)| size).collect();
    let beside = fixed::beside(cx, &demand);
    let board = Board::of_sizes(host, beside.as_ref().unwrap_or(promised), sizes, profile.max_host_nodes);
    let choice = choose::choose(cx, &demand, &board).map_err(|(wrong, trace)| refuse(wrong, trace))?;
    let promise = match promise::promise(cx, &demand, &choice) {
        Ok(promise) => promise,
        Err(wrong) => return Err(refuse(wrong, choice.trace)),
    };
    Ok(assemble::assemble(cx, &demand, choice, promise))
}

/// Splits a size into equal parts whose sum is exact.
pub(crate) fn split_evenly(size: Kib, count: usize) -> Vec<Kib> {
    shares::parts(size.0, &vec![1.0; count]).into_iter().map(Kib).collect()
}

fn refusal(request: &Request, constraints: Vec<Constraint>, trace: Trace) -> Refusal {
    let remedy = constraints.first().map_or_else(String::new, remedy);
    Refusal { guest: request.name.clone(), constraints, remedy, trace: Box::new(trace) }
}

/// What to do about the first constraint, which is the one to start with.
fn remedy(constraint: &Constraint) -> String {
    match constraint {
        Constraint::Memory { have, .. } => {
            format!("end other guests, name other nodes, or give this one at most {have} there")
        }
        Constraint::Limit { by, have, .. } => {
            format!("raise {by}, end other guests, or give this one at most {have}")
        }
        Constraint::HugePages { nodes, size, .. } => format!(
            "reserve more in /sys/devices/system/node/node{}/hugepages/hugepages-{}kB/nr_hugepages, or use ordinary pages",
            // One is enough, and its path can be pasted.
            nodes.first().unwrap_or_default(),
            size.0
        ),
        Constraint::NoSuchPageSize { available, .. } if available.is_empty() => {
            "reserve huge pages (vm.nr_hugepages), or leave <hugepages> out".to_owned()
        }
        Constraint::NoSuchPageSize { .. } => "use one of these sizes".to_owned(),
        Constraint::Cpus { nodes, .. } if nodes.len() == 1 => {
            "let the guest span nodes, or give it fewer vCPUs".to_owned()
        }
        Constraint::Cpus { have, .. } => format!("give the guest at most {have} vCPUs there, or end other guests"),
        Constraint::NodeOffline { online, .. } => format!("name nodes among {online}"),
        Constraint::CpusOffline { .. } => "name CPUs that are online (/sys/devices/system/cpu/online)".to_owned(),
        Constraint::NoMemory { .. } => "name nodes that have memory".to_owned(),
        Constraint::Unsupported { .. } => {
            "change that part of the definition, or use another driver or kernel".to_owned()
        }
        Constraint::Invalid { .. } => "correct the definition".to_owned(),
    }
}

/// What these nodes lack of a resource, if anything.
fn shortage(board: &Board<'_>, positions: &[usize], (resource, need): (usize, u64)) -> Option<Constraint> {
    let have = board.room_of(resource, positions);
    if have >= need {
        return None;
    }
    Some(short_of(board.size(resource), board.nodes(positions), need, have))
}

fn short_of(page: PageSize, nodes: crate::NodeSet, need: u64, have: u64) -> Constraint {
    match page {
        PageSize::Base => Constraint::Memory { nodes, need: Kib(need), have: Kib(have) },
        PageSize::Huge(size) => Constraint::HugePages { nodes, size, need, have },
    }
}

#[cfg(test)]
mod brute;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
