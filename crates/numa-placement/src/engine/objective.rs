//! What a candidate costs. Lower is better; every term is at least 0, so that parts of the sum bound the whole.
//!
//! - **distance**: mean distance of a memory access above local, in tenths of 10;
//! - **overload**: how far the cores are overloaded if all vCPUs of the guest are busy at once (shared CPUs);
//! - **load**: the fourth power of how busy the cores usually become, so that guests keep off busy nodes and an idle
//!   host is not spread over (shared CPUs);
//! - **fill**: the square of how full the memory becomes;
//! - **nodes**: every node after the first;
//! - **slack**: how much stays free beside the guest, so that guests go where they fit closely (dedicated CPUs);
//! - **stranded**: CPUs that guests of an ordinary mix can no longer use afterwards (dedicated CPUs);
//! - **devices**: mean distance of the vCPUs to the guest's devices, above local, in tenths of 10.

use super::board::{Board, CpuChoice, Dealt, MemoryChoice, Need, real};
use super::demand::unit_size;
use crate::trace::{Term, TermName};

/// A vCPU is expected to keep half a core busy as long as nothing better is known.
pub(crate) const BUSY_PER_VCPU: f64 = 0.5;
/// The vCPUs of one guest are busy together, so that for overload they are expected to be as busy as they can be.
const PEAK_PER_VCPU: f64 = 1.0;
/// What one thread of a core carries when the other is idle too little to speak of: the least capacity of a site.
const LEAST_CORES: f64 = 0.25;
const TERMS: usize = 8;
const NAMES: [TermName; TERMS] = [
    TermName::Distance,
    TermName::Overload,
    TermName::Load,
    TermName::Fill,
    TermName::Nodes,
    TermName::Slack,
    TermName::Stranded,
    TermName::Devices,
];

/// How much each term of the objective counts. `docs/numa.md` says how the presets
/// were found.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Weights {
    /// [`TermName::Distance`].
    pub distance: f64,
    /// [`TermName::Overload`].
    pub overload: f64,
    /// [`TermName::Load`].
    pub load: f64,
    /// [`TermName::Fill`].
    pub fill: f64,
    /// [`TermName::Nodes`].
    pub nodes: f64,
    /// [`TermName::Slack`].
    pub slack: f64,
    /// [`TermName::Stranded`].
    pub stranded: f64,
    /// [`TermName::Devices`].
    pub devices: f64,
}

impl Weights {
    /// For guests that share CPUs.
    pub const SHARED: Weights = Weights {
        distance: 1.0,
        overload: 4.0,
        load: 1.5,
        fill: 0.1,
        nodes: 0.05,
        slack: 0.0,
        stranded: 0.0,
        devices: 0.5,
    };
    /// For guests with CPUs of their own.
    pub const DEDICATED: Weights = Weights {
        distance: 1.0,
        overload: 0.0,
        load: 0.0,
        fill: 0.0,
        nodes: 0.05,
        slack: 0.5,
        stranded: 0.5,
        devices: 0.5,
    };
}

/// What a candidate costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Score {
    terms: [f64; TERMS],
    pub(super) total: f64,
}

impl Score {
    fn of(terms: [f64; TERMS]) -> Score {
        Score { terms, total: terms.iter().sum() }
    }

    pub(super) fn overload(&self) -> f64 {
        self.terms[1]
    }

    pub(super) fn terms(&self) -> Vec<Term> {
        NAMES.into_iter().zip(self.terms).map(|(name, value)| Term { name, value }).collect()
    }
}

/// The guests that are expected to come, as far as stranded CPUs are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    /// vCPUs, their inverse, the inverse of the memory in KiB, and the share of all vCPUs.
    classes: [(f64, f64, f64, f64); 6],
}

impl Default for Mix {
    /// Powers of two with 4 GiB for each vCPU, each with the same share of all vCPUs.
    fn default() -> Mix {
        let class = |vcpus: f64| (vcpus, 1.0 / vcpus, 1.0 / (vcpus * 4.0 * 1_048_576.0), 1.0 / 6.0);
        Mix { classes: [class(2.0), class(4.0), class(8.0), class(16.0), class(32.0), class(64.0)] }
    }
}

impl Mix {
    /// vCPUs of the mix that so many CPUs and so much memory take up.
    fn usable(&self, cpus: f64, kib: f64) -> f64 {
        let guests = |(vcpus, per_cpu, per_kib, share): &(f64, f64, f64, f64)| {
            whole((cpus * per_cpu).min(kib * per_kib)) * vcpus * share
        };
        self.classes.iter().map(guests).sum()
    }
}

/// Rounds down; a library call on processors without the instruction, a conversion there and back is none.
#[expect(clippy::cast_possible_truncation, reason = "counts of guests are small, and the conversion saturates")]
fn whole(count: f64) -> f64 {
    f64::from(count as i32)
}

/// Buffers that the scoring of a candidate needs, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) shares: Vec<(usize, f64)>,
    taken: Vec<(usize, f64)>,
    lost: Vec<(usize, f64)>,
}

impl Board<'_> {
    /// Whether the guest fits on this node alone.
    pub(super) fn fits(&self, need: &Need, at: usize) -> bool {
        self.sites[at].memory
            && self.cpus(need, at) >= need.cpus_needed
            && need.resources().all(|(resource, units)| self.room(resource, at) >= units)
    }

    /// The cost of CPUs and memory on this node alone, which has to be enough.
    pub(super) fn score_one(&self, need: &Need, at: usize) -> Score {
        let weights = &need.objective;
        let (overload, load) = self.cpu_cost(need, &[(at, 1.0)]);
        let mut fill = 0.0;
        let mut kib = (0.0, 0.0);
        for (resource, units, weight) in need.weighted() {
            let (room, full) = (self.room(resource, at), self.full(resource, at, real(units)));
            fill += weight * full * full;
            let size = real(unit_size(self.size(resource)).0);
            kib = (kib.0 + real(room) * size, kib.1 + real(units) * size);
        }
        let (mut slack, mut stranded) = (0.0, 0.0);
        if weights.slack > 0.0 || weights.stranded > 0.0 {
            (slack, stranded) = self.fragments(need, at, f64::from(need.vcpus), kib.0, kib.1);
        }
        let devices = self.device_distance(need, &[(at, 1.0)]);
        Score::of([
            0.0,
            overload,
            load,
            weights.fill * fill,
            0.0,
            weights.slack * slack,
            weights.stranded * stranded,
            weights.devices * devices,
        ])
    }

    /// What is left over beside so many vCPUs and so much memory on a node, and what the mix can use no more, both in
    /// proportion to the guest.
    fn fragments(&self, need: &Need, at: usize, vcpus: f64, room: f64, kib: f64) -> (f64, f64) {
        let cpus = f64::from(self.cpus(need, at));
        let all = f64::from(self.host.capacity()[at].all.cpus).max(1.0);
        let left = (cpus - vcpus).max(0.0);
        let part = vcpus / f64::from(need.vcpus.max(1));
        let lost = self.mix.usable(cpus, room) - self.mix.usable(left, (room - kib).max(0.0));
        (part * left / all, lost.max(0.0) / f64::from(need.vcpus.max(1)))
    }

    fn device_distance(&self, need: &Need, shares: &[(usize, f64)]) -> f64 {
        let mut sum = 0.0;
        for (to, weight) in &need.devices {
            for (from, share) in shares {
                sum += weight * share * (f64::from(self.host.distance_at(*from, *to)) - 10.0) / 10.0;
            }
        }
        sum
    }

    /// Shares of the vCPUs on these nodes: in proportion to the CPUs if they float, else as many as possible on the
    /// node that has most.
    pub(super) fn shares_into(&self, need: &Need, positions: &[usize], shares: &mut Vec<(usize, f64)>) {
        shares.clear();
        match (&need.cpus, need.dedicated) {
            (CpuChoice::Fixed(fixed), _) => shares.extend_from_slice(fixed),
            (CpuChoice::Free, None) => {
                let all: f64 = positions.iter().map(|at| f64::from(self.cpus(need, *at))).sum();
                shares.extend(positions.iter().map(|at| (*at, f64::from(self.cpus(need, *at)) / all.max(1.0))));
            }
            (CpuChoice::Free, Some(_)) => {
                shares.extend(positions.iter().map(|at| (*at, f64::from(self.cpus(need, *at)))));
                shares.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                let all = f64::from(need.vcpus.max(1));
                let mut left = all;
                for (_, cpus) in shares.iter_mut() {
                    *cpus = cpus.min(left);
                    left -= *cpus;
                }
                shares.retain(|(_, cpus)| *cpus > 0.0);
                shares.iter_mut().for_each(|(_, cpus)| *cpus /= all);
                shares.sort_unstable_by_key(|(at, _)| *at);
            }
        }
    }

    /// How many CPUs a guest with CPUs of its own gets on each of these nodes, ascending by position.
    pub(super) fn dedicated_counts(&self, need: &Need, positions: &[usize]) -> Vec<(usize, u32)> {
        let mut order = positions.to_vec();
        order.sort_by_key(|at| (std::cmp::Reverse(self.cpus(need, *at)), *at));
        let mut left = need.vcpus;
        let mut counts: Vec<(usize, u32)> = order
            .into_iter()
            .map(|at| {
                let count = self.cpus(need, at).min(left);
                left -= count;
                (at, count)
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        counts.sort_unstable();
        counts
    }

    /// How busy the cores of a node are, and how much busier one vCPU can make them.
    pub(super) fn business(&self, at: usize) -> (f64, f64) {
        let site = &self.sites[at];
        let per_core = 1.0 / site.count.cores().max(LEAST_CORES);
        (site.busy * per_core, per_core)
    }

    /// How busy the cores of a node are usually and at worst, with this share of the guest's vCPUs, each of which keeps `usual` cores
    /// busy.
    pub(super) fn business_with(business: (f64, f64), share: f64, vcpus: u32, usual: f64) -> (f64, f64) {
        let (busy, per_vcpu) = business;
        let more = share * f64::from(vcpus) * per_vcpu;
        (busy + usual * more, busy + PEAK_PER_VCPU * more)
    }

    /// Cost of the CPU side alone: overload and load.
    pub(super) fn cpu_cost(&self, need: &Need, shares: &[(usize, f64)]) -> (f64, f64) {
        let weights = &need.objective;
        if weights.overload <= 0.0 && weights.load <= 0.0 {
            return (0.0, 0.0);
        }
        shares.iter().fold((0.0, 0.0), |(overload, load), (at, share)| {
            let (usual, peak) = Self::business_with(self.business(*at), *share, need.vcpus, need.usual);
            (overload + share * (peak - 1.0).max(0.0) * weights.overload, load + share * usual.powi(4) * weights.load)
        })
    }

    /// What memory on each of these nodes costs at least by how full it is already, if all of it lay there.
    pub(super) fn fill_prices(&self, need: &Need, memory: &[usize]) -> Vec<(usize, f64)> {
        let price = |at: &usize| {
            let full = need.resources().map(|(resource, _)| self.full(resource, *at, 0.0)).fold(1.0, f64::min);
            (*at, need.objective.fill * full * full)
        };
        memory.iter().map(price).collect()
    }

    /// The same with its mean distance from the vCPUs.
    pub(super) fn prices_into(
        &self,
        need: &Need,
        shares: &[(usize, f64)],
        fill: &[(usize, f64)],
        prices: &mut Vec<(usize, f64)>,
    ) {
        prices.clear();
        prices.extend_from_slice(fill);
        for (from, share) in shares {
            let (row, weight) = (self.host.row(*from), need.objective.distance * share / 10.0);
            for (to, price) in prices.iter_mut() {
                *price += weight * f64::from(row[*to]);
            }
        }
    }

    /// How full a node is with so many more units.
    fn full(&self, resource: usize, at: usize, more: f64) -> f64 {
        let installed = real(self.installed(resource, at)).max(1.0);
        (installed - real(self.room(resource, at)).min(installed) + more) / installed
    }

    /// A bound on the terms of distance and fill from below: the nodes that are cheapest on the whole are filled first,
    /// which no other way of filling beats. Prices come cheapest first.
    pub(super) fn least_price(&self, need: &Need, prices: &(impl Iterator<Item = (usize, f64)> + Clone)) -> f64 {
        let mut sum = 0.0;
        for (resource, units, weight) in need.weighted() {
            let mut left = units;
            let per_unit = weight / real(units).max(1.0);
            for (at, price) in prices.clone() {
                let part = left.min(self.room(resource, at));
                sum += real(part) * per_unit * price;
                left -= part;
                if left == 0 {
                    break;
                }
            }
            // Named memory may be overcommitted; what does not fit costs at least as much as local memory.
            sum += real(left) * per_unit * need.objective.distance;
        }
        (sum - need.objective.distance).max(0.0)
    }

    /// The whole cost of CPUs with these shares and memory on these nodes, which have to be enough.
    pub(super) fn score(&self, need: &Need, memory: &[usize], scratch: &mut Scratch) -> Score {
        let Scratch { shares, taken, lost } = scratch;
        if let ([(at, _)], [same], CpuChoice::Free, MemoryChoice::Free) =
            (&shares[..], memory, &need.cpus, &need.memory)
            && at == same
        {
            return self.score_one(need, *at);
        }
        let weights = &need.objective;
        taken.clear();
        taken.extend(memory.iter().map(|at| (*at, 0.0)));
        let fragments = weights.slack > 0.0 || weights.stranded > 0.0;
        lost.clear();
        if fragments {
            lost.extend(memory.iter().map(|at| (*at, 0.0)));
        }
        let (mut distance, mut fill) = (0.0, 0.0);
        for (resource, units, weight) in need.weighted() {
            let units = real(units);
            taken.iter_mut().for_each(|(_, got)| *got = 0.0);
            self.deal(need.dealt, shares, units, resource, taken);
            // A guest that sees no nodes reads all of its memory from all of its vCPUs.
            let per_unit = weight / units.max(1.0);
            for (from, share) in shares.iter() {
                let row = self.host.row(*from);
                for (at, got) in taken.iter() {
                    distance += share * got * per_unit * f64::from(row[*at]);
                }
            }
            for (index, (at, got)) in taken.iter().enumerate() {
                let full = self.full(resource, *at, *got);
                fill += got * per_unit * full * full;
                if fragments {
                    lost[index].1 += got * real(unit_size(self.size(resource)).0);
                }
            }
        }
        let (overload, load) = self.cpu_cost(need, shares);
        let also = memory.iter().filter(|at| !shares.iter().any(|(cpu, _)| cpu == *at)).count();
        let further = u32::try_from((shares.len() + also).saturating_sub(1)).unwrap_or(u32::MAX);
        let (slack, stranded) = if fragments { self.all_fragments(need, shares, lost) } else { (0.0, 0.0) };
        Score::of([
            weights.distance * (distance - 10.0).max(0.0) / 10.0,
            overload,
            load,
            weights.fill * fill,
            weights.nodes * f64::from(further),
            weights.slack * slack,
            weights.stranded * stranded,
            weights.devices * self.device_distance(need, shares),
        ])
    }

    fn all_fragments(&self, need: &Need, shares: &[(usize, f64)], memory: &[(usize, f64)]) -> (f64, f64) {
        let room = |at: usize| -> f64 {
            let of =
                |(resource, _): (usize, u64)| real(self.room(resource, at)) * real(unit_size(self.size(resource)).0);
            need.resources().map(of).sum()
        };
        let vcpus = f64::from(need.vcpus);
        let of =
            |list: &[(usize, f64)], at: usize| list.iter().find(|(other, _)| *other == at).map_or(0.0, |(_, v)| *v);
        let (mut slack, mut stranded) = (0.0, 0.0);
        for (at, share) in shares {
            let (s, l) = self.fragments(need, *at, share * vcpus, room(*at), of(memory, *at));
            (slack, stranded) = (slack + s, stranded + l);
        }
        for (at, kib) in memory.iter().filter(|(at, _)| !shares.iter().any(|(cpu, _)| cpu == at)) {
            stranded += self.fragments(need, *at, 0.0, room(*at), *kib).1;
        }
        (slack, stranded)
    }

    /// Shares `units` out among these nodes: what is dealt out and finds no room comes from the nearest.
    fn deal(&self, dealt: Dealt, shares: &[(usize, f64)], units: f64, resource: usize, taken: &mut [(usize, f64)]) {
        let mut rest = units;
        if dealt != Dealt::Nearest {
            let weight = |at: usize| match dealt {
                Dealt::ByWeight => f64::from(self.host.nodes()[at].weight),
                _ => 1.0,
            };
            let per_weight = units / taken.iter().map(|(at, _)| weight(*at)).sum::<f64>().max(1.0);
            for (at, got) in taken.iter_mut() {
                *got = (weight(*at) * per_weight).min(real(self.room(resource, *at)));
                rest -= *got;
            }
        }
        for (from, share) in shares {
            self.fill_from(*from, share * rest, resource, taken);
        }
    }

    /// Takes `units` from the nearest nodes, as the first touch of a page does.
    fn fill_from(&self, from: usize, mut units: f64, resource: usize, taken: &mut [(usize, f64)]) {
        let row = self.host.row(from);
        let mut last = 0u8;
        // By rings of equal distance, so nothing needs sorting; most candidates have one or two nodes.
        loop {
            let ring = taken.iter().map(|(at, _)| row[*at]).filter(|d| *d > last).min();
            let Some(ring) = ring.filter(|_| units > 0.0) else { break };
            for (at, got) in taken.iter_mut().filter(|(at, _)| row[*at] == ring) {
                let room = (real(self.room(resource, *at)) - *got).max(0.0);
                let part = units.min(room);
                *got += part;
                units -= part;
            }
            last = ring;
        }
        // Named memory may be overcommitted: the rest then lies on the farthest ring's first node.
        if let Some((_, got)) = taken.iter_mut().rev().find(|(at, _)| row[*at] == last) {
            *got += units;
        }
    }

    /// How much of what the guest needs a node could give, at most 1 per kind; to order nodes by usefulness.
    pub(super) fn usefulness(&self, need: &Need, at: usize) -> f64 {
        let cpus = f64::from(self.cpus(need, at)) / f64::from(need.cpus_needed.max(1));
        let part = |(resource, units): (usize, u64)| real(self.room(resource, at)) / real(units.max(1));
        let memory = need.resources().map(part).fold(f64::INFINITY, f64::min);
        let memory = if self.sites[at].memory { memory.min(1.0) } else { 0.0 };
        cpus.min(1.0).min(memory) + 0.02 * cpus.min(1.0).max(memory)
    }
}
