//! The host as the search sees it: one site per node, by position, with what is left on it.
//!
//! A [`Board`] is made from a topology and the promises on it. [`plan`](crate::plan()) makes one for every request; who
//! decides often keeps one, tells it what was taken and given back, and asks it for a [`Decision`]: that needs no
//! allocation as long as one node is enough.

use super::demand::unit_size;
use super::objective::{BUSY_PER_VCPU, Mix, Score, Weights};
use super::search;
use super::watch::{Scribe, Silent};
use crate::policy::PageSize;
use crate::promised::{NodePromise, Promised};
use crate::refusal::Constraint;
use crate::request::{Span, Threads};
use crate::set::{CpuSet, NodeSet};
use crate::topology::{Capacity, Count, HostTopology, Node, NodeKind};
use crate::trace::Trace;

/// More page sizes than any architecture has.
pub(super) const MAX_SIZES: usize = 8;

/// One node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    /// CPUs that are not dedicated to a guest.
    pub(super) count: Count,
    /// Cores that are expected to be busy.
    pub(super) busy: f64,
    /// Whether automatic placement may take its memory.
    pub(super) memory: bool,
}

/// The host at a glance, for deciding.
#[derive(Clone, Debug)]
pub struct Board<'a> {
    pub(super) host: &'a HostTopology,
    pub(super) sites: Vec<Site>,
    /// Page sizes, ascending; the base size first if it is among them.
    sizes: Vec<PageSize>,
    /// Units left, by page size, then by position.
    room: Vec<u64>,
    /// Units installed, likewise.
    installed: Vec<u64>,
    /// Isolated CPUs are used, because there are no others.
    isolated_too: bool,
    /// CPUs that are some guest's own.
    own: CpuSet,
    pub(super) mix: Mix,
}

/// What a guest needs of the host, in units of page sizes and in vCPUs.
#[derive(Clone, Debug)]
pub struct Need {
    pub(super) vcpus: u32,
    /// Cores that each of its vCPUs usually keeps busy.
    pub(super) usual: f64,
    resources: [usize; MAX_SIZES],
    units: [u64; MAX_SIZES],
    resource_count: usize,
    /// KiB in all.
    pub(super) whole: f64,
    /// Weight of each resource: its part of the whole.
    weights: [f64; MAX_SIZES],
    pub(super) span: Span,
    /// CPUs of its own, one per vCPU.
    pub(super) dedicated: Option<Threads>,
    pub(super) objective: Weights,
    pub(super) cpus: CpuChoice,
    pub(super) memory: MemoryChoice,
    pub(super) dealt: Dealt,
    /// Positions of nodes with devices of the guest, and the weight of each.
    pub(super) devices: Vec<(usize, f64)>,
    /// CPUs asked of the nodes together.
    pub(super) cpus_needed: u32,
}

/// Which CPU nodes are free to choose.
#[derive(Clone, Debug)]
pub(super) enum CpuChoice {
    /// Any.
    Free,
    /// Pins decide: shares of the vCPUs by position.
    Fixed(Vec<(usize, f64)>),
}

/// How memory is shared out among the nodes it may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Dealt {
    /// From the nearest, as the first touch of a page does.
    #[default]
    Nearest,
    /// Interleaved, as much on each.
    Evenly,
    /// Interleaved by the weights of the nodes.
    ByWeight,
}

/// Which memory nodes are free to choose.
#[derive(Clone, Debug)]
pub(super) enum MemoryChoice {
    /// Any.
    Free,
    /// The definition names them, by position.
    Fixed(Vec<usize>),
}

/// One position or several, ascending; one needs no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Positions {
    One(usize),
    Several(Vec<usize>),
}

impl Positions {
    pub(super) fn of(positions: &[usize]) -> Positions {
        match positions {
            [one] => Positions::One(*one),
            several => Positions::Several(several.to_vec()),
        }
    }

    pub(super) fn as_slice(&self) -> &[usize] {
        match self {
            Positions::One(at) => std::slice::from_ref(at),
            Positions::Several(several) => several,
        }
    }
}

/// Where a guest goes: nodes by position in [`HostTopology::nodes`].
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub(super) cpus: Positions,
    pub(super) memory: Positions,
    pub(super) score: Score,
}

impl Decision {
    /// Positions of the nodes its CPUs come from, ascending.
    #[must_use]
    pub fn cpus(&self) -> &[usize] {
        self.cpus.as_slice()
    }

    /// Positions of the nodes its memory comes from, ascending.
    #[must_use]
    pub fn memory(&self) -> &[usize] {
        self.memory.as_slice()
    }

    /// What it costs; lower is better.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.score.total
    }
}

impl<'a> Board<'a> {
    /// The host with these promises, all page sizes.
    #[must_use]
    pub fn new(host: &'a HostTopology, promised: &Promised) -> Board<'a> {
        let mut sizes = vec![PageSize::Base];
        sizes.extend(host.page_sizes().into_iter().map(PageSize::Huge));
        Board::of_sizes(host, promised, sizes, None)
    }

    /// The same for these page sizes alone, and for the first `limit` nodes alone.
    pub(super) fn of_sizes(
        host: &'a HostTopology,
        promised: &Promised,
        sizes: Vec<PageSize>,
        limit: Option<u32>,
    ) -> Board<'a> {
        let count = host.nodes().len();
        let limit = limit.map_or(count, |limit| usize::try_from(limit).map_or(count, |limit| limit.min(count)));
        let isolated_too = !host.isolated_cpus().is_empty()
            && host.capacity()[..limit].iter().all(|capacity| capacity.usable.cpus == 0);
        let mut board = Board {
            host,
            sites: Vec::with_capacity(count),
            room: Vec::with_capacity(count * sizes.len()),
            installed: Vec::with_capacity(count * sizes.len()),
            sizes,
            isolated_too,
            own: promised.nodes.values().fold(CpuSet::new(), |own, promise| match promise.dedicated.is_empty() {
                true => own,
                false => own.union(&promise.dedicated),
            }),
            mix: Mix::default(),
        };
        let mut promises = promised.nodes.iter().peekable();
        for (at, (node, capacity)) in host.nodes().iter().zip(host.capacity()).enumerate() {
            // Both ascend, so one pass finds what belongs together.
            while promises.next_if(|(id, _)| **id < node.id).is_some() {}
            let promise = promises.next_if(|(id, _)| **id == node.id).map(|(_, promise)| promise);
            board.sites.push(if at < limit { board.site(node, capacity, promise) } else { Site::NOTHING });
        }
        for size in board.sizes.clone() {
            for (at, node) in host.nodes().iter().enumerate() {
                let (room, installed) = if at < limit { units(promised, node, size) } else { (0, 0) };
                board.room.push(room);
                board.installed.push(installed);
            }
        }
        board
    }

    fn site(&self, node: &Node, capacity: &Capacity, promise: Option<&NodePromise>) -> Site {
        let mut count = if self.isolated_too { capacity.all } else { capacity.usable };
        if let Some(dedicated) = promise.map(|promise| &promise.dedicated).filter(|set| !set.is_empty()) {
            debug_assert!(dedicated.is_subset(&self.own));
            count = Count::of(&self.usable(node), &node.cores);
        }
        Site {
            count,
            busy: promise.map_or(0.0, NodePromise::expected_busy),
            memory: node.kind != NodeKind::DeviceMemory && !node.memory.is_zero(),
        }
    }

    /// CPUs of the node that guests are put on, less those that are somebody's own.
    pub(super) fn usable(&self, node: &Node) -> CpuSet {
        let cpus = match self.isolated_too || self.host.isolated_cpus().is_empty() {
            true => node.cpus.clone(),
            false => node.cpus.difference(self.host.isolated_cpus()),
        };
        if self.own.is_empty() { cpus } else { cpus.difference(&self.own) }
    }

    /// All CPUs of these nodes that guests are put on.
    pub(super) fn floating(&self, positions: &[usize]) -> CpuSet {
        let sets = positions.iter().map(|at| self.usable(&self.host.nodes()[*at]));
        sets.reduce(|all, set| all.union(&set)).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.sites.len()
    }

    pub(super) fn nodes(&self, positions: &[usize]) -> NodeSet {
        positions.iter().map(|at| self.host.nodes()[*at].id).collect()
    }

    /// Units of this resource that are left on a node.
    pub(super) fn room(&self, resource: usize, at: usize) -> u64 {
        self.room[resource * self.sites.len() + at]
    }

    pub(super) fn installed(&self, resource: usize, at: usize) -> u64 {
        self.installed[resource * self.sites.len() + at]
    }

    pub(super) fn room_mut(&mut self) -> &mut [u64] {
        &mut self.room
    }

    /// Units left on these nodes together.
    pub(super) fn room_of(&self, resource: usize, positions: &[usize]) -> u64 {
        positions.iter().fold(0u64, |sum, at| sum.saturating_add(self.room(resource, *at)))
    }

    pub(super) fn size(&self, resource: usize) -> PageSize {
        self.sizes[resource]
    }

    pub(super) fn resource(&self, size: PageSize) -> Option<usize> {
        self.sizes.iter().position(|known| *known == size)
    }

    /// CPUs this guest could have on a node.
    pub(super) fn cpus(&self, need: &Need, at: usize) -> u32 {
        self.cpus_for(need.dedicated.unwrap_or_default(), at)
    }

    /// CPUs there are for guests with threads in this way.
    pub(super) fn cpus_for(&self, threads: Threads, at: usize) -> u32 {
        let count = &self.sites[at].count;
        match threads {
            Threads::Prefer => count.cpus,
            Threads::Require => count.paired,
            Threads::Isolate => count.whole,
        }
    }

    pub(super) fn cpus_of(&self, need: &Need, positions: &[usize]) -> u64 {
        positions.iter().map(|at| u64::from(self.cpus(need, *at))).sum()
    }

    pub(super) fn enough_cpus(&self, need: &Need, positions: &[usize]) -> bool {
        self.cpus_of(need, positions) >= u64::from(need.cpus_needed)
    }

    pub(super) fn enough_memory(&self, need: &Need, positions: &[usize]) -> bool {
        need.resources().all(|(resource, units)| self.room_of(resource, positions) >= units)
    }

    /// What a guest of this size needs here: ordinary memory, shared CPUs, several nodes only if it has to.
    #[must_use]
    pub fn need(&self, vcpus: u32, memory: crate::Kib) -> Need {
        self.need_of(vcpus, &[(PageSize::Base, memory.0)]).unwrap_or_else(|_| Need::empty(vcpus))
    }

    /// The same by units of several page sizes.
    pub(super) fn need_of(&self, vcpus: u32, units: &[(PageSize, u64)]) -> Result<Need, Constraint> {
        let mut need = Need::empty(vcpus);
        for (size, count) in units {
            let Some(resource) = self.resource(*size).filter(|_| need.resource_count < MAX_SIZES) else {
                let what = format!("memory in pages of {:?}, among {} sizes", size, units.len());
                return Err(Constraint::Unsupported { rule: "C11".to_owned(), what });
            };
            (need.resources[need.resource_count], need.units[need.resource_count]) = (resource, *count);
            need.resource_count += 1;
        }
        let kib = |(size, count): &(PageSize, u64)| real(*count) * real(unit_size(*size).0);
        need.whole = units.iter().map(kib).sum::<f64>().max(1.0);
        for (weight, unit) in need.weights.iter_mut().zip(units) {
            *weight = kib(unit) / need.whole;
        }
        need.cpus_needed = self.cpus_needed(&need);
        Ok(need)
    }

    /// One CPU per vCPU, or all there are unless they have to be its own.
    fn cpus_needed(&self, need: &Need) -> u32 {
        if need.dedicated.is_some() {
            return need.vcpus;
        }
        let mut all = 0u32;
        for site in &self.sites {
            all = all.saturating_add(site.count.cpus);
            if all >= need.vcpus {
                return need.vcpus;
            }
        }
        all
    }

    /// Says what is left on the node with this position: CPUs that are nobody's own, cores that are busy, ordinary
    /// memory. Cores count as if the CPUs were taken core by core.
    pub fn update(&mut self, position: usize, cpus: u32, busy: f64, memory: crate::Kib) {
        let (Some(site), Some(capacity)) = (self.sites.get_mut(position), self.host.capacity().get(position)) else {
            return;
        };
        let all = if self.isolated_too { capacity.all } else { capacity.usable };
        let part = |figure: u32| {
            let part = u64::from(figure) * u64::from(cpus) / u64::from(all.cpus.max(1));
            u32::try_from(part).unwrap_or(u32::MAX).min(figure)
        };
        let cpus = cpus.min(all.cpus);
        site.count = Count { cpus, paired: part(all.paired), whole: part(all.whole), quarters: part(all.quarters) };
        site.busy = busy.max(0.0);
        if let Some(resource) = self.resource(PageSize::Base) {
            let count = self.sites.len();
            self.room[resource * count + position] = memory.0;
        }
    }

    /// How many vCPUs a guest with CPUs of its own gets on each node, by position.
    #[must_use]
    pub fn counts(&self, need: &Need, decision: &Decision) -> Vec<(usize, u32)> {
        self.dedicated_counts(need, decision.cpus())
    }

    /// Decides, without a trace.
    ///
    /// # Errors
    /// What is short.
    pub fn decide(&self, need: &Need) -> Result<Decision, Vec<Constraint>> {
        search::search(self, need, &mut Silent)
    }

    /// Decides, and tells what was considered. The decision is the same.
    pub fn explain(&self, need: &Need) -> (Result<Decision, Vec<Constraint>>, Trace) {
        let mut scribe = Scribe::default();
        let decision = search::search(self, need, &mut scribe);
        (decision, scribe.finish(self))
    }
}

impl Site {
    const NOTHING: Site = Site { count: Count { cpus: 0, paired: 0, whole: 0, quarters: 0 }, busy: 0.0, memory: false };
}

/// Units left and installed.
fn units(promised: &Promised, node: &Node, size: PageSize) -> (u64, u64) {
    match size {
        PageSize::Base => (promised.memory_left(node).0, node.promisable().0),
        PageSize::Huge(size) => (promised.pages_left(node, size), node.pool(size).map_or(0, |pool| pool.total)),
    }
}

impl Need {
    fn empty(vcpus: u32) -> Need {
        Need {
            vcpus,
            usual: BUSY_PER_VCPU,
            resources: [0; MAX_SIZES],
            units: [0; MAX_SIZES],
            resource_count: 0,
            whole: 1.0,
            weights: [0.0; MAX_SIZES],
            span: Span::IfNeeded,
            dedicated: None,
            objective: Weights::SHARED,
            cpus: CpuChoice::Free,
            memory: MemoryChoice::Free,
            dealt: Dealt::Nearest,
            devices: Vec::new(),
            cpus_needed: vcpus,
        }
    }

    /// CPUs of its own, one per vCPU.
    #[must_use]
    pub fn dedicated(mut self, threads: Threads) -> Need {
        self.dedicated = Some(threads);
        self.cpus_needed = self.vcpus;
        self.objective = Weights::DEDICATED;
        self
    }

    /// Whether it may use several nodes.
    #[must_use]
    pub fn span(mut self, span: Span) -> Need {
        self.span = span;
        self
    }

    /// These weights of the objective.
    #[must_use]
    pub fn objective(mut self, weights: Weights) -> Need {
        self.objective = weights;
        self
    }

    /// The resources it needs, and how many units of each.
    pub(super) fn resources(&self) -> impl Iterator<Item = (usize, u64)> + Clone + '_ {
        let (resources, units) = self.columns();
        resources.iter().copied().zip(units.iter().copied())
    }

    /// The resources it needs, and how many units of each, side by side.
    pub(super) fn columns(&self) -> (&[usize], &[u64]) {
        (&self.resources[..self.resource_count], &self.units[..self.resource_count])
    }

    /// The same with the weight of each.
    pub(super) fn weighted(&self) -> impl Iterator<Item = (usize, u64, f64)> + Clone + '_ {
        self.resources().zip(&self.weights).map(|((resource, units), weight)| (resource, units, *weight))
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes below 2^53 are exact, and a score needs no more")]
pub(crate) fn real(units: u64) -> f64 {
    units as f64
}
