//! CPUs of a guest's own: which thread of which core every vCPU gets, once its nodes are known.
//!
//! Within a node the last-level cache that fits most closely is taken, and cores as a whole before parts of them, so
//! that as few cores as possible are left with one thread free.

use std::collections::BTreeMap;

use super::board::{Board, Need};
use super::demand::{Demand, Part};
use crate::refusal::Constraint;
use crate::request::Threads;
use crate::set::CpuSet;
use crate::topology::Node;
use crate::units::{HostCpu, HostNode, VcpuId};

/// What a guest with CPUs of its own gets.
#[derive(Clone, Debug)]
pub(super) struct Own {
    /// The vCPUs that are online, each with its CPU and the position of its node; ascending.
    vcpus: Vec<(VcpuId, HostCpu, usize)>,
    /// CPUs nobody else gets: those of the vCPUs, and their idle siblings if the guest wants whole cores for single
    /// threads.
    pub(super) booked: Vec<(HostNode, CpuSet)>,
}

impl Own {
    /// The CPU of a vCPU and its node's position; `None` if the vCPU is not there yet.
    pub(super) fn of(&self, vcpu: VcpuId) -> Option<(HostCpu, usize)> {
        let at = self.vcpus.binary_search_by_key(&vcpu, |(id, _, _)| *id).ok()?;
        Some((self.vcpus[at].1, self.vcpus[at].2))
    }

    /// CPUs of all vCPUs.
    pub(super) fn cpus(&self) -> CpuSet {
        self.vcpus.iter().map(|(_, cpu, _)| *cpu).collect()
    }

    /// All that nobody else gets.
    pub(super) fn all(&self) -> CpuSet {
        self.booked.iter().fold(CpuSet::new(), |all, (_, cpus)| all.union(cpus))
    }
}

/// Takes CPUs for these vCPUs on these nodes.
pub(super) fn own(
    board: &Board<'_>,
    groups: &[(usize, Vec<VcpuId>)],
    threads: Threads,
) -> Result<Own, Vec<Constraint>> {
    let mut own = Own { vcpus: Vec::new(), booked: Vec::new() };
    for (at, vcpus) in groups {
        let node = &board.host.nodes()[*at];
        let need = u32::try_from(vcpus.len()).unwrap_or(u32::MAX);
        let Some(pick) = pick(node, &board.usable(node), need, threads) else {
            let have = board.cpus_for(threads, *at).min(need.saturating_sub(1));
            return Err(vec![Constraint::Cpus { nodes: board.nodes(&[*at]), need, have }]);
        };
        own.vcpus.extend(vcpus.iter().zip(pick.cpus).map(|(vcpu, cpu)| (*vcpu, cpu, *at)));
        own.booked.push((node.id, pick.booked));
    }
    own.vcpus.sort_unstable();
    Ok(own)
}

/// The vCPUs that are online by the nodes whose CPUs they get: as many as possible on the node that has most, those of a
/// cell together as far as that allows.
pub(super) fn by_room(
    board: &Board<'_>,
    demand: &Demand,
    need: &Need,
    positions: &[usize],
) -> Result<Vec<(usize, Vec<VcpuId>)>, Vec<Constraint>> {
    if !board.enough_cpus(need, positions) {
        let have = u32::try_from(board.cpus_of(need, positions)).unwrap_or(u32::MAX);
        return Err(vec![Constraint::Cpus { nodes: board.nodes(positions), need: need.vcpus, have }]);
    }
    let mut online = demand.cells.iter().flat_map(|cell| cell.vcpus.iter()).filter(|vcpu| vcpu.0 < demand.vcpus);
    let counts = board.dedicated_counts(need, positions);
    Ok(counts.into_iter().map(|(at, count)| (at, online.by_ref().take(count as usize).collect())).collect())
}

/// The same where every cell has a node: `nodes` says which, by the demand's items.
pub(super) fn by_cell(demand: &Demand, nodes: &[usize]) -> Vec<(usize, Vec<VcpuId>)> {
    let mut groups = BTreeMap::<usize, Vec<VcpuId>>::new();
    for (item, at) in demand.items.iter().zip(nodes) {
        if let Part::Cell(cell) = item.part {
            let online = demand.cells[cell].vcpus.iter().filter(|vcpu| vcpu.0 < demand.vcpus);
            groups.entry(*at).or_default().extend(online);
        }
    }
    groups.into_iter().filter(|(_, vcpus)| !vcpus.is_empty()).collect()
}

/// CPUs of one node.
struct Pick {
    cpus: Vec<HostCpu>,
    booked: CpuSet,
}

/// Takes so many of these CPUs; `None` if there are not enough in the way that is wanted.
fn pick(node: &Node, free: &CpuSet, count: u32, threads: Threads) -> Option<Pick> {
    let mut pick = Pick { cpus: Vec::new(), booked: CpuSet::new() };
    let mut left = count as usize;
    let mut caches: Vec<Vec<CpuSet>> = node.caches.iter().map(|cache| cores(node, cache, free, threads)).collect();
    // CPUs of which no cache is known.
    let cached = node.caches.iter().fold(CpuSet::new(), |all, cache| all.union(cache));
    caches.push(cores(node, &node.cpus.difference(&cached), free, threads));
    while left > 0 {
        let room = |cores: &Vec<CpuSet>| cores.iter().map(|core| usable(core, threads)).sum::<usize>();
        let fitting = caches.iter().enumerate().filter(|(_, cores)| room(cores) >= left);
        // The closest fit; where none fits the largest, and the rest from another.
        let best = fitting.min_by_key(|(at, cores)| (room(cores), *at)).map(|(at, _)| at);
        let best = best.or_else(|| (0..caches.len()).max_by_key(|at| (room(&caches[*at]), std::cmp::Reverse(*at))))?;
        let before = left;
        take(&mut caches[best], &mut left, threads, &mut pick);
        caches[best].clear();
        if left == before {
            return None;
        }
    }
    Some(pick)
}

/// Free parts of the cores of a cache that may be used.
fn cores(node: &Node, cache: &CpuSet, free: &CpuSet, threads: Threads) -> Vec<CpuSet> {
    let grouped = node.cores.iter().filter(|core| !core.is_disjoint(cache));
    let parts = grouped.map(|core| (core.len(), core.intersection(free)));
    let wanted = parts.filter(|(whole, part)| match threads {
        Threads::Prefer => !part.is_empty(),
        Threads::Require => part.len() > 1,
        Threads::Isolate => part.len() == *whole,
    });
    wanted.map(|(_, part)| part).collect()
}

/// How many vCPUs a core can take.
fn usable(core: &CpuSet, threads: Threads) -> usize {
    if threads == Threads::Isolate { 1 } else { core.len() }
}

fn take(cores: &mut Vec<CpuSet>, left: &mut usize, threads: Threads, pick: &mut Pick) {
    while *left > 0 {
        // The largest that is used up; else the one of which least is left over.
        let whole = (0..cores.len()).filter(|at| usable(&cores[*at], threads) <= *left);
        let best = whole.max_by_key(|at| (usable(&cores[*at], threads), std::cmp::Reverse(*at)));
        let best = best.or_else(|| (0..cores.len()).min_by_key(|at| (cores[*at].len(), *at)));
        // A single thread of a core that has more would have no sibling in the guest.
        let alone = threads == Threads::Require && *left == 1;
        let Some(best) = best.filter(|_| !alone) else { return };
        let core = cores.remove(best);
        let taken: CpuSet = core.iter().take(usable(&core, threads).min(*left)).collect();
        *left -= taken.len();
        pick.cpus.extend(taken.iter());
        pick.booked = pick.booked.union(if threads == Threads::Isolate { &core } else { &taken });
    }
}

#[cfg(test)]
mod tests {
    use crate::*;

    fn cpus(text: &str) -> CpuSet {
        text.parse().unwrap()
    }

    /// Two nodes with two caches of two cores of two threads each.
    fn host() -> HostTopology {
        let node = |id: u32| {
            let all = CpuSet::of_range(id * 8, id * 8 + 7);
            let mut node = Node::new(HostNode(id)).with_cpus(all).with_threads(2).with_memory(Kib::from_gib(16));
            node.caches = vec![CpuSet::of_range(id * 8, id * 8 + 3), CpuSet::of_range(id * 8 + 4, id * 8 + 7)];
            node
        };
        HostTopology::builder().node(node(0)).node(node(1)).build().unwrap()
    }

    fn ask(promised: &Promised, vcpus: u32, threads: Threads) -> Result<Plan, Refusal> {
        let request = Request::auto("g", GuestShape::flat(vcpus, Kib::from_gib(2))).dedicated(threads);
        plan(&host(), promised, &PlacementProfile::qemu(), &request)
    }

    fn own(plan: &Plan) -> String {
        let all = plan.cells.iter().flat_map(|cell| &cell.vcpus);
        assert!(all.clone().all(|vcpu| vcpu.hard.len() == 1 && vcpu.origin == Origin::Dedicated));
        let set = all.fold(CpuSet::new(), |set, vcpu| set.union(&vcpu.hard));
        assert_eq!(set.len(), plan.shape.vcpus_online as usize, "each its own");
        set.to_string()
    }

    fn taken(text: &str) -> Promised {
        let mut promised = Promised::default();
        for node in host().nodes() {
            promised.node_mut(node.id).dedicated = cpus(text).intersection(&node.cpus);
        }
        promised
    }

    #[test]
    fn whole_cores_of_one_cache_come_first() {
        let none = Promised::default();
        assert_eq!(own(&ask(&none, 2, Threads::Prefer).unwrap()), "0-1");
        assert_eq!(own(&ask(&none, 4, Threads::Prefer).unwrap()), "0-3");
        // The cache that fits most closely, not the first.
        assert_eq!(own(&ask(&taken("0-1,8-15"), 4, Threads::Prefer).unwrap()), "4-7");
        assert_eq!(own(&ask(&taken("4-5,8-15"), 2, Threads::Prefer).unwrap()), "6-7");
        // A thread alone where there is one, so that no core is broken.
        assert_eq!(own(&ask(&taken("0,8-15"), 1, Threads::Prefer).unwrap()), "1");
    }

    #[test]
    fn require_takes_siblings_and_isolate_one_of_each_core() {
        assert_eq!(own(&ask(&taken("0,2,8-15"), 4, Threads::Require).unwrap()), "4-7");
        let short = ask(&taken("0,2,4,8,10,12,14"), 4, Threads::Require).unwrap_err();
        assert!(matches!(short.constraints[..], [Constraint::Cpus { need: 4, have: 2, .. }]), "{short}");
        assert!(ask(&Promised::default(), 3, Threads::Require).unwrap_err().to_string().contains("odd"));
        let isolated = ask(&Promised::default(), 3, Threads::Isolate).unwrap();
        assert_eq!(own(&isolated), "0,2,4");
        assert_eq!(isolated.dedicated, [(HostNode(0), cpus("0-5"))], "nobody on the other threads");
        let wide = ask(&Promised::default(), 6, Threads::Isolate).unwrap();
        assert_eq!(wide.dedicated.len(), 2, "four cores a node");
    }

    #[test]
    fn what_is_somebodys_own_is_nobody_elses() {
        let first = ask(&Promised::default(), 4, Threads::Prefer).unwrap();
        assert_eq!(first.dedicated, [(HostNode(0), cpus("0-3"))]);
        let mut promised = Promised::default();
        promised.node_mut(HostNode(0)).dedicated = cpus("0-3");
        let second = ask(&promised, 4, Threads::Prefer).unwrap();
        assert!(cpus(&own(&second)).is_disjoint(&cpus("0-3")));
        // Guests that share CPUs stay off them.
        let shared = Request::auto("s", GuestShape::flat(2, Kib::from_gib(2)));
        promised.node_mut(HostNode(1)).memory = Kib::from_gib(16);
        let shared = plan(&host(), &promised, &PlacementProfile::qemu(), &shared).unwrap();
        assert_eq!(shared.advice.unwrap().cpuset, cpus("4-7"));
        let full = ask(&taken("0-15"), 1, Threads::Prefer).unwrap_err();
        assert!(matches!(full.constraints[..], [Constraint::Cpus { need: 1, have: 0, .. }]), "{full}");
    }

    #[test]
    fn a_wide_guest_takes_as_much_as_it_can_on_one_node() {
        let wide = ask(&taken("0-1"), 12, Threads::Prefer).unwrap();
        let loads: Vec<_> = wide.cpu_load.iter().map(|load| (load.node.0, load.milli_vcpus)).collect();
        assert_eq!(loads, [(0, 4000), (1, 8000)]);
        assert_eq!(wide.process.cpus, cpus("2-3"), "the emulator runs beside");
    }

    #[test]
    fn vcpus_that_come_later_share_what_the_guest_has_and_it_is_said() {
        let shape = GuestShape::flat(4, Kib::from_gib(2)).online(2);
        let request = Request::auto("g", shape).dedicated(Threads::Prefer);
        let plan = plan(&host(), &Promised::default(), &PlacementProfile::qemu(), &request).unwrap();
        assert_eq!(plan.vcpu(VcpuId(3)).unwrap().hard, cpus("0-1"));
        assert!(plan.weakened.iter().any(|weak| weak.what.contains("vCPUs 2-3")), "{:?}", plan.weakened);
    }

    #[test]
    fn cells_with_nodes_of_their_own_take_cpus_there() {
        let cell =
            |cell: u32| CellShape::new(GuestCell(cell), Kib::from_gib(9), VcpuSet::of_range(cell * 3, cell * 3 + 2));
        let request = Request::auto("g", GuestShape::with_cells(vec![cell(0), cell(1)], 6)).per_cell(true);
        let plan =
            plan(&host(), &taken("0,9"), &PlacementProfile::qemu(), &request.dedicated(Threads::Prefer)).unwrap();
        for cell in &plan.cells {
            let node = host().node(cell.memory[0].node).unwrap().cpus.clone();
            assert!(cell.vcpus.iter().all(|vcpu| vcpu.hard.is_subset(&node) && vcpu.origin == Origin::Dedicated));
        }
        assert_eq!(own(&plan), "1-3,8,10-11");
        let loads: Vec<_> = plan.cpu_load.iter().map(|load| load.milli_vcpus).collect();
        assert_eq!(loads, [3000, 3000]);
    }

    #[test]
    fn pins_and_static_placement_leave_nothing_to_dedicate() {
        let pinned = Request::auto("g", GuestShape::flat(2, Kib::from_gib(2)))
            .pin_vcpu(VcpuId(0), cpus("3"))
            .dedicated(Threads::Prefer);
        let fixed = Request::new("g", GuestShape::flat(2, Kib::from_gib(2))).dedicated(Threads::Prefer);
        for request in [pinned, fixed] {
            let refusal = plan(&host(), &Promised::default(), &PlacementProfile::qemu(), &request).unwrap_err();
            assert!(refusal.to_string().contains("CPUs of its own"), "{refusal}");
        }
    }
}
