//! The host as the search sees it: one site per node, by position, with what is left and what a candidate costs.
//!
//! The objective (lower is better) is a weighted sum of
//!
//! - **distance**: mean distance of a memory access above local, in tenths of 10;
//! - **overload**: predicted vCPU demand above what the cores carry;
//! - **load**: the square of how busy the cores become, so that guests spread over idle cores;
//! - **fill**: the square of how full the memory becomes;
//! - **nodes**: every node after the first.

use super::demand::{Demand, unit_size};
use crate::policy::PageSize;
use crate::promised::Promised;
use crate::set::{CpuSet, NodeSet};
use crate::topology::{HostTopology, NodeKind};
use crate::trace::{Term, TermName};

const W_DISTANCE: f64 = 1.0;
const W_OVERLOAD: f64 = 4.0;
const W_LOAD: f64 = 0.3;
const W_FILL: f64 = 0.1;
const W_NODES: f64 = 0.05;
/// A vCPU is expected to keep half a core busy as long as nothing better is known.
const BUSY_PER_VCPU: f64 = 0.5;
/// What a second hardware thread adds to a core.
const SIBLING: f64 = 0.25;

/// One node.
#[derive(Debug)]
pub(super) struct Site {
    /// CPUs a guest may be put on.
    pub(super) cpus: CpuSet,
    pub(super) cpu_count: u32,
    /// Cores they amount to.
    cores: f64,
    /// vCPUs promised already.
    vcpus: f64,
    /// Units left, one per resource.
    pub(super) room: Vec<u64>,
    /// Units installed, one per resource.
    installed: Vec<u64>,
    /// Whether automatic placement may take its memory.
    pub(super) memory: bool,
}

/// All nodes, and what the guest needs of them.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) host: &'a HostTopology,
    pub(super) sites: Vec<Site>,
    /// Page size and units the guest needs in all.
    pub(super) resources: Vec<(PageSize, u64)>,
    pub(super) vcpus: u32,
}

/// CPUs and memory by position; the shares are of the whole and sum to 1.
#[derive(Clone, Debug)]
pub(super) struct Pick {
    pub(super) cpus: Vec<usize>,
    pub(super) memory: Vec<usize>,
}

/// What a candidate costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    terms: [f64; 5],
    pub(super) total: f64,
}

impl Score {
    pub(super) fn overload(&self) -> f64 {
        self.terms[1]
    }

    pub(super) fn terms(&self) -> Vec<Term> {
        let names = [TermName::Distance, TermName::Overload, TermName::Load, TermName::Fill, TermName::Nodes];
        names.into_iter().zip(self.terms).map(|(name, value)| Term { name, value }).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes below 2^53 are exact, and a score needs no more")]
fn real(units: u64) -> f64 {
    units as f64
}

impl<'a> Field<'a> {
    pub(super) fn new(host: &'a HostTopology, promised: &Promised, demand: &Demand, limit: Option<u32>) -> Field<'a> {
        let resources = demand.totals();
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let sites = host
            .nodes()
            .iter()
            .enumerate()
            .map(|(at, node)| {
                let cpus = match at < limit {
                    true if host.isolated_cpus().is_empty() => node.cpus.clone(),
                    true => node.cpus.difference(host.isolated_cpus()),
                    false => CpuSet::new(),
                };
                let promise = promised.node(node.id);
                let of = |page: &PageSize| match page {
                    PageSize::Base => (promised.memory_left(node).0, node.promisable().0),
                    PageSize::Huge(size) => {
                        (promised.pages_left(node, *size), node.pool(*size).map_or(0, |pool| pool.total))
                    }
                };
                let (room, installed): (Vec<_>, Vec<_>) = resources.iter().map(|(page, _)| of(page)).unzip();
                Site {
                    cpu_count: u32::try_from(cpus.len()).unwrap_or(u32::MAX),
                    cores: cores(&cpus, &node.cores),
                    cpus,
                    vcpus: promise.map_or(0.0, |promise| real(promise.milli_vcpus) / 1000.0),
                    memory: at < limit && node.kind != NodeKind::DeviceMemory && !node.memory.is_zero(),
                    room,
                    installed,
                }
            })
            .collect();
        let mut field = Field { host, sites, resources, vcpus: demand.vcpus };
        field.use_isolated_if_nothing_else();
        field
    }

    /// A host that isolates every CPU isolates them for its guests.
    fn use_isolated_if_nothing_else(&mut self) {
        if self.sites.iter().any(|site| site.cpu_count > 0) {
            return;
        }
        for (site, node) in self.sites.iter_mut().zip(self.host.nodes()) {
            site.cpus = node.cpus.clone();
            site.cpu_count = u32::try_from(site.cpus.len()).unwrap_or(u32::MAX);
            site.cores = cores(&site.cpus, &node.cores);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sites.len()
    }

    pub(super) fn nodes(&self, positions: &[usize]) -> NodeSet {
        positions.iter().map(|at| self.host.nodes()[*at].id).collect()
    }

    /// CPUs that the pick has to have: one per vCPU, or all there are.
    pub(super) fn cpus_needed(&self) -> u32 {
        let all: u64 = self.sites.iter().map(|site| u64::from(site.cpu_count)).sum();
        self.vcpus.min(u32::try_from(all).unwrap_or(u32::MAX))
    }

    pub(super) fn enough_cpus(&self, positions: &[usize]) -> bool {
        let have: u64 = positions.iter().map(|at| u64::from(self.sites[*at].cpu_count)).sum();
        have >= u64::from(self.cpus_needed())
    }

    pub(super) fn enough_memory(&self, positions: &[usize]) -> bool {
        (0..self.resources.len()).all(|resource| self.room(positions, resource) >= self.resources[resource].1)
    }

    pub(super) fn room(&self, positions: &[usize], resource: usize) -> u64 {
        positions.iter().fold(0u64, |sum, at| sum.saturating_add(self.sites[*at].room[resource]))
    }

    /// How much of what the guest needs a node could give, at most 1 per kind; to order nodes by usefulness.
    pub(super) fn usefulness(&self, at: usize) -> f64 {
        let site = &self.sites[at];
        let cpus = f64::from(site.cpu_count) / f64::from(self.cpus_needed().max(1));
        let memory = self
            .resources
            .iter()
            .zip(&site.room)
            .map(|((_, need), room)| real(*room) / real((*need).max(1)))
            .fold(f64::INFINITY, f64::min);
        let memory = if site.memory { memory.min(1.0) } else { 0.0 };
        cpus.min(1.0).min(memory) + 0.02 * cpus.min(1.0).max(memory)
    }

    /// Shares of the vCPUs if they float over all CPUs of these nodes.
    pub(super) fn cpu_shares(&self, positions: &[usize]) -> Vec<(usize, f64)> {
        let all: f64 = positions.iter().map(|at| f64::from(self.sites[*at].cpu_count)).sum();
        positions.iter().map(|at| (*at, f64::from(self.sites[*at].cpu_count) / all.max(1.0))).collect()
    }

    /// Cost of the CPU side alone: overload and load.
    pub(super) fn cpu_cost(&self, shares: &[(usize, f64)]) -> (f64, f64) {
        shares.iter().fold((0.0, 0.0), |(overload, load), (at, share)| {
            let site = &self.sites[*at];
            let busy = (site.vcpus + share * f64::from(self.vcpus)) * BUSY_PER_VCPU / site.cores.max(SIBLING);
            (overload + share * (busy - 1.0).max(0.0) * W_OVERLOAD, load + share * busy * busy * W_LOAD)
        })
    }

    /// Mean distance from the vCPUs to each of these nodes, nearest first.
    pub(super) fn mean_distances(&self, cpus: &[(usize, f64)], memory: &[usize]) -> Vec<(usize, f64)> {
        let mean = |to: usize| -> f64 {
            cpus.iter().map(|(from, share)| share * f64::from(self.host.distance_at(*from, to))).sum()
        };
        let mut means: Vec<(usize, f64)> = memory.iter().map(|to| (*to, mean(*to))).collect();
        means.sort_by(|a, b| a.1.total_cmp(&b.1));
        means
    }

    /// A bound on distance and nodes from below: the nodes that are nearest to the vCPUs on the whole are filled first,
    /// which no other way of filling beats.
    pub(super) fn lower_bound(&self, cpus: usize, means: &(impl Iterator<Item = (usize, f64)> + Clone)) -> f64 {
        let mut distance = 0.0;
        let whole = self.whole();
        for (resource, (page, need)) in self.resources.iter().enumerate() {
            let mut left = *need;
            for (at, mean) in means.clone() {
                let part = left.min(self.sites[at].room[resource]);
                distance += real(part) * real(unit_size(*page).0) / whole * mean;
                left -= part;
                if left == 0 {
                    break;
                }
            }
            // Named memory may be overcommitted; what does not fit costs at least as much as local memory.
            distance += real(left) * real(unit_size(*page).0) / whole * 10.0;
        }
        let nodes = u32::try_from(cpus.saturating_sub(1)).unwrap_or(u32::MAX);
        (distance - 10.0).max(0.0) / 10.0 * W_DISTANCE + f64::from(nodes) * W_NODES
    }

    /// KiB the guest needs in all.
    fn whole(&self) -> f64 {
        let sizes = self.resources.iter().map(|(page, need)| real(*need) * real(unit_size(*page).0));
        sizes.sum::<f64>().max(1.0)
    }

    /// The whole cost of CPUs with these shares and memory on these nodes, which have to be enough.
    pub(super) fn score(&self, cpus: &[(usize, f64)], memory: &[usize]) -> Score {
        let mut taken: Vec<(usize, f64)> = memory.iter().map(|at| (*at, 0.0)).collect();
        let (mut distance, mut fill) = (0.0, 0.0);
        let whole = self.whole();
        for (resource, (page, need)) in self.resources.iter().enumerate() {
            taken.iter_mut().for_each(|(_, units)| *units = 0.0);
            let weight = real(*need) * real(unit_size(*page).0) / whole;
            for (from, share) in cpus {
                self.fill_from(*from, share * real(*need), resource, &mut taken);
            }
            // A guest that sees no nodes reads all of its memory from all of its vCPUs.
            for (from, share) in cpus {
                for (at, units) in &taken {
                    let part = units / real(*need).max(1.0);
                    distance += weight * share * part * f64::from(self.host.distance_at(*from, *at));
                }
            }
            for (at, units) in &taken {
                let site = &self.sites[*at];
                let installed = real(site.installed[resource]).max(1.0);
                let used = installed - real(site.room[resource]).min(installed);
                let full = (used + units) / installed;
                fill += weight * (units / real(*need).max(1.0)) * full * full;
            }
        }
        self.sum(cpus, memory, distance, fill)
    }

    fn sum(&self, cpus: &[(usize, f64)], memory: &[usize], distance: f64, fill: f64) -> Score {
        let (overload, load) = self.cpu_cost(cpus);
        let also = memory.iter().filter(|at| !cpus.iter().any(|(cpu, _)| cpu == *at)).count();
        let further = (cpus.len() + also).saturating_sub(1);
        let terms = [
            W_DISTANCE * (distance - 10.0).max(0.0) / 10.0,
            overload,
            load,
            W_FILL * fill,
            W_NODES * f64::from(u32::try_from(further).unwrap_or(u32::MAX)),
        ];
        Score { terms, total: terms.iter().sum() }
    }

    /// Takes `units` from the nearest nodes, as the first touch of a page does.
    fn fill_from(&self, from: usize, mut units: f64, resource: usize, taken: &mut [(usize, f64)]) {
        let mut last = 0u8;
        // By rings of equal distance, so nothing needs sorting; most candidates have one or two nodes.
        loop {
            let ring = taken.iter().map(|(at, _)| self.host.distance_at(from, *at)).filter(|d| *d > last).min();
            let Some(ring) = ring.filter(|_| units > 0.0) else { break };
            for (at, got) in taken.iter_mut().filter(|(at, _)| self.host.distance_at(from, *at) == ring) {
                let room = (real(self.sites[*at].room[resource]) - *got).max(0.0);
                let part = units.min(room);
                *got += part;
                units -= part;
            }
            last = ring;
        }
        // Named memory may be overcommitted: the rest then lies on the farthest ring's first node.
        if let Some((_, got)) = taken.iter_mut().rev().find(|(at, _)| self.host.distance_at(from, *at) == last) {
            *got += units;
        }
    }
}

fn cores(cpus: &CpuSet, cores: &[CpuSet]) -> f64 {
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let threads = cores.iter().map(|core| core.intersection_len(cpus)).filter(|threads| *threads > 0);
    let (used, grouped) = threads.fold((0, 0), |(used, grouped), threads| (used + 1, grouped + threads));
    // CPUs that are in no group count as cores; further threads of a core as siblings.
    count(cpus.len().saturating_sub(grouped)) + count(used) + SIBLING * count(grouped - used)
}
