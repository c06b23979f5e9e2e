//! A node for every guest cell: an assignment.
//!
//! Cells are placed one after the other, the largest first, each on the node where it adds least; what was found first is
//! improved by going back, cut off by the best so far, until a budget is used up. On small hosts that is all there is to
//! try, so the answer is the cheapest; on large ones it is a good one.
//!
//! What a way costs: the CPUs' overload and load and the memory's fill as for one guest, and for every pair of cells how
//! much farther apart their nodes are than the guest believes.

use super::board::{Board, real};
use super::demand::{Demand, Part};
use super::objective::{BUSY_PER_VCPU, Weights};
use super::{Context, fixed};
use crate::request::Threads;

/// Evaluations of part of a way, by its length.
const BUDGET: usize = 1 << 21;
/// What a pair of cells costs for every 10 that their nodes are too far apart, by their share of the guest.
const PAIR: f64 = 0.5;

/// Something that goes to one node.
struct Item {
    /// Position among the demand's items.
    at: usize,
    resource: usize,
    units: u64,
    /// vCPUs that are online.
    vcpus: u32,
    /// The cell it is or belongs to.
    cell: Option<usize>,
    /// Where it may go; `None`: to every node with memory.
    nodes: Option<Vec<usize>>,
    /// Whether its memory is counted as promised already.
    counted: bool,
}

/// The problem.
pub(super) struct Assignment<'a, 'b> {
    board: &'a Board<'b>,
    items: Vec<Item>,
    vcpus: f64,
    /// Distances the guest believes in, by cell; 20 where it was told nothing.
    believed: &'a [u8],
    cells: usize,
    nodes: Vec<usize>,
    threads: Threads,
}

impl<'a, 'b> Assignment<'a, 'b> {
    pub(super) fn new(cx: Context<'a>, demand: &Demand, board: &'a Board<'b>) -> Assignment<'a, 'b> {
        let online = |cell: usize| demand.cells[cell].vcpus.iter().filter(|vcpu| vcpu.0 < demand.vcpus).count();
        let cell_of = |part: Part| match part {
            Part::Cell(cell) => Some(cell),
            Part::Device(device) => {
                let of = cx.request.devices[device].cell;
                demand.cells.iter().position(|cell| Some(cell.cell) == of)
            }
            Part::Headroom => None,
        };
        let item = |(at, item): (usize, &super::demand::Item)| Item {
            at,
            resource: board.resource(item.page).unwrap_or(0),
            units: item.units,
            vcpus: match item.part {
                Part::Cell(cell) => u32::try_from(online(cell)).unwrap_or(u32::MAX),
                _ => 0,
            },
            cell: cell_of(item.part),
            nodes: fixed::policy(cx, demand, item)
                .map(|policy| (0..board.len()).filter(|at| policy.nodes.contains(cx.host.nodes()[*at].id)).collect()),
            counted: fixed::policy(cx, demand, item).is_some(),
        };
        let mut items: Vec<Item> = demand.items.iter().enumerate().map(item).collect();
        // Cells with vCPUs first, then by size; what belongs to a cell follows the cells.
        items.sort_by_key(|item| (item.vcpus == 0, std::cmp::Reverse((item.vcpus, item.units)), item.at));
        Assignment {
            board,
            items,
            vcpus: f64::from(demand.vcpus.max(1)),
            believed: &cx.request.shape.distances,
            cells: demand.cells.len(),
            threads: cx.request.dedicated.unwrap_or_default(),
            nodes: (0..board.len()).filter(|at| board.sites[*at].memory).collect(),
        }
    }

    /// A position for each of the demand's items, in their order; `None` if no way was found.
    pub(super) fn solve(&self) -> Option<Vec<usize>> {
        let mut best = None;
        let mut budget = BUDGET;
        self.descend(&mut Vec::new(), 0.0, &mut best, &mut budget);
        let (_, placed) = best?;
        let mut by_item = vec![0; self.items.len()];
        for (item, node) in self.items.iter().zip(placed) {
            by_item[item.at] = node;
        }
        Some(by_item)
    }

    fn descend(&self, placed: &mut Vec<usize>, so_far: f64, best: &mut Option<(f64, Vec<usize>)>, budget: &mut usize) {
        if placed.len() == self.items.len() {
            if best.as_ref().is_none_or(|(known, _)| so_far < *known) {
                *best = Some((so_far, placed.clone()));
            }
            return;
        }
        let mut next: Vec<(f64, usize)> = Vec::new();
        let item = &self.items[placed.len()];
        for at in item.nodes.as_ref().unwrap_or(&self.nodes) {
            placed.push(*at);
            if let Some(step) = self.step(placed) {
                next.push((so_far + step, *at));
            }
            placed.pop();
            *budget = budget.saturating_sub(placed.len() + 1);
        }
        next.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (cost, at) in next {
            if best.as_ref().is_some_and(|(known, _)| cost >= *known) {
                return;
            }
            placed.push(at);
            self.descend(placed, cost, best, budget);
            placed.pop();
            if *budget == 0 {
                return;
            }
        }
    }

    /// What the last of these items adds; `None` if it does not fit beside the others. Never less than nothing.
    fn step(&self, placed: &[usize]) -> Option<f64> {
        let index = placed.len().checked_sub(1)?;
        let (item, at) = (&self.items[index], placed[index]);
        let others = || self.items.iter().zip(placed).take(index);
        let needs = |item: &Item| if item.counted { 0 } else { item.units };
        let (mut vcpus, mut units) = (item.vcpus, needs(item));
        for (other, _) in others().filter(|(_, node)| **node == at) {
            vcpus = vcpus.saturating_add(other.vcpus);
            units = units.saturating_add(if other.resource == item.resource { needs(other) } else { 0 });
        }
        let room = self.board.room(item.resource, at);
        if units > room || (item.vcpus > 0 && vcpus > self.board.cpus_for(self.threads, at)) {
            return None;
        }
        let weights = Weights::SHARED;
        let mut sum = 0.0;
        if item.vcpus > 0 {
            let (usual, peak) = Board::business_with(self.board.business(at), 1.0, vcpus, BUSY_PER_VCPU);
            let share = f64::from(item.vcpus) / self.vcpus;
            sum += share * ((peak - 1.0).max(0.0) * weights.overload + usual.powi(4) * weights.load);
        }
        let installed = real(self.board.installed(item.resource, at)).max(1.0);
        let used = installed - real(room).min(installed) + real(units);
        sum += weights.fill * (used / installed).powi(2) / real(self.items.len() as u64);
        sum += others().map(|(other, from)| self.pair(item, other, at, *from)).sum::<f64>();
        Some(sum)
    }

    /// Half of both ways, since distances may differ by direction.
    fn pair(&self, one: &Item, two: &Item, at: usize, from: usize) -> f64 {
        let host = &self.board.host;
        let apart = (f64::from(host.distance_at(at, from)) + f64::from(host.distance_at(from, at))) / 2.0;
        let share = (f64::from(one.vcpus) + f64::from(two.vcpus)) / self.vcpus;
        match (one.cell, two.cell) {
            // A device of a cell belongs on its node.
            (Some(a), Some(b)) if a == b => 2.0 * PAIR * (apart - 10.0) / 10.0,
            (Some(a), Some(b)) => {
                let believed = self.believed.get(a * self.cells + b).copied().unwrap_or(20);
                let beyond = (apart - f64::from(believed)).max(0.0);
                // Near is better even where the guest expects far, but little.
                share * (PAIR * beyond + 0.1 * PAIR * (apart - 10.0)) / 10.0
            }
            _ => 0.05 * PAIR * (apart - 10.0) / 10.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Context, demand::demand};
    use super::*;
    use crate::*;

    fn shape(cells: &[(u32, u64)]) -> GuestShape {
        let mut first = 0;
        let mut all = Vec::new();
        for (cell, (vcpus, gib)) in (0u32..).zip(cells) {
            all.push(CellShape::new(GuestCell(cell), Kib::from_gib(*gib), VcpuSet::of_range(first, first + vcpus - 1)));
            first += vcpus;
        }
        GuestShape::with_cells(all, first)
    }

    fn four() -> HostTopology {
        // Two pairs: 0 and 1 are near, 2 and 3 are.
        let rows = vec![vec![10, 12, 32, 32], vec![12, 10, 32, 32], vec![32, 32, 10, 12], vec![32, 32, 12, 10]];
        HostTopology::uniform(4, 8, Kib::from_gib(16)).distances(rows).build().unwrap()
    }

    fn ask(host: &HostTopology, promised: &Promised, request: &Request) -> Result<Plan, Refusal> {
        plan(host, promised, &PlacementProfile::qemu(), request)
    }

    fn on(plan: &Plan) -> Vec<String> {
        plan.cells.iter().map(|cell| cell.policy.nodes.to_string()).collect()
    }

    #[test]
    fn every_cell_gets_a_node_and_its_vcpus_run_there() {
        let request = Request::auto("g", shape(&[(6, 12), (6, 12)])).per_cell(true);
        let plan = ask(&four(), &Promised::default(), &request).unwrap();
        assert_eq!(on(&plan), ["0", "1"], "a near pair");
        assert_eq!(plan.cells[1].vcpus[0].hard.to_string(), "8-15");
        assert_eq!(plan.cells[1].memory, [NodeShare::new(HostNode(1), Kib::from_gib(12))]);
        let advice = plan.advice.unwrap();
        assert_eq!((advice.nodeset.to_string(), advice.cpuset.to_string()), ("0-1".to_owned(), "0-15".to_owned()));
        // Without the wish one advice holds for all cells.
        let plain = Request::auto("g", shape(&[(6, 12), (6, 12)]));
        assert!(on(&ask(&four(), &Promised::default(), &plain).unwrap()).iter().all(|nodes| nodes == "0-1"));
    }

    #[test]
    fn the_guests_distances_are_honoured() {
        let mut promised = Promised::default();
        // Node 1 has no room for a large cell, so near pairs are 2 and 3 only.
        promised.node_mut(HostNode(1)).memory = Kib::from_gib(10);
        let request = Request::auto("g", shape(&[(6, 12), (6, 12)])).per_cell(true);
        assert_eq!(on(&ask(&four(), &promised, &request).unwrap()), ["2", "3"]);
        // Cells 0 and 2 believe to be near, 1 to be far from both.
        let shape = shape(&[(6, 12), (6, 12), (6, 12)]).distances(vec![10, 40, 12, 40, 10, 40, 12, 40, 10]);
        let plan = ask(&four(), &Promised::default(), &Request::auto("g", shape).per_cell(true)).unwrap();
        let nodes = on(&plan);
        let pair = [nodes[0].as_str(), nodes[2].as_str()];
        assert!(pair == ["0", "1"] || pair == ["1", "0"] || pair == ["2", "3"] || pair == ["3", "2"], "{nodes:?}");
    }

    #[test]
    fn cells_that_fit_no_node_share_the_advice_and_it_is_said() {
        let request = Request::auto("g", shape(&[(4, 20), (4, 4)])).per_cell(true);
        let plan = ask(&four(), &Promised::default(), &request).unwrap();
        assert!(on(&plan).iter().all(|nodes| nodes == "0-1"), "{:?}", on(&plan));
        assert!(plan.weakened.iter().any(|weak| weak.what.contains("a node for each guest cell")));
    }

    #[test]
    fn a_memory_device_goes_where_its_cell_is() {
        let device = MemoryDeviceRequest::new(Some(GuestCell(1)), Kib::from_gib(2));
        let request = Request::auto("g", shape(&[(6, 12), (6, 12)])).device(device).per_cell(true);
        let plan = ask(&four(), &Promised::default(), &request).unwrap();
        assert_eq!(plan.devices[0].memory[0].node, plan.cells[1].memory[0].node);
    }

    fn cost(assignment: &Assignment<'_, '_>, placed: &[usize]) -> Option<f64> {
        (1..=placed.len()).map(|count| assignment.step(&placed[..count])).sum()
    }

    #[test]
    fn a_guest_of_many_cells_on_a_host_of_many_nodes_is_decided() {
        let host = HostTopology::uniform(256, 4, Kib::from_gib(4)).build().unwrap();
        let request = Request::auto("g", shape(&[(3, 3); 128])).per_cell(true);
        let plan = ask(&host, &Promised::default(), &request).unwrap();
        assert_eq!(plan.memory_nodes().len(), 128);
    }

    /// The least cost of all ways there are.
    fn least(assignment: &Assignment<'_, '_>) -> Option<f64> {
        let (nodes, items) = (&assignment.nodes, assignment.items.len());
        let ways = nodes.len().pow(u32::try_from(items).unwrap());
        let way = |mut number: usize| -> Vec<usize> {
            let digit = |_| {
                let node = nodes[number % nodes.len()];
                number /= nodes.len();
                node
            };
            (0..items).map(digit).collect()
        };
        (0..ways).filter_map(|number| cost(assignment, &way(number))).min_by(f64::total_cmp)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_way_is_cheaper_and_none_is_missed(
            sites in prop::collection::vec((0u32..9, 0u64..12), 2..5),
            cells in prop::collection::vec((1u32..6, 1u64..9), 1..4),
            far in 11u32..60,
        ) {
            let mut first = 0;
            let mut builder = HostTopology::builder();
            for (id, (cpus, gib)) in (0u32..).zip(&sites) {
                let set = (first..first + cpus).map(HostCpu).collect();
                first += cpus;
                builder = builder.node(Node::new(HostNode(id)).with_cpus(set).with_memory(Kib::from_gib(*gib)));
            }
            let count = sites.len();
            let distance = |a: usize, b: usize| if a == b { 10 } else { 11 + (far * u32::try_from(a + 2 * b).unwrap()) % 40 };
            let rows = (0..count).map(|a| (0..count).map(|b| distance(a, b)).collect()).collect();
            let Ok(host) = builder.distances(rows).build() else { return Ok(()) };
            let request = Request::auto("g", shape(&cells)).per_cell(true);
            let (promised, profile) = (Promised::default(), PlacementProfile::qemu());
            let cx = Context { host: &host, promised: &promised, profile: &profile, request: &request };
            let demand = demand(&host, &profile, &request).unwrap();
            let board = Board::new(&host, &promised);
            let assignment = Assignment::new(cx, &demand, &board);
            let solved = assignment.solve().map(|by_item| {
                let placed: Vec<usize> = assignment.items.iter().map(|item| by_item[item.at]).collect();
                cost(&assignment, &placed).unwrap()
            });
            match (solved, least(&assignment)) {
                (Some(cost), Some(least)) => prop_assert!((cost - least).abs() < 1e-9, "{} against {}", cost, least),
                (solved, least) => prop_assert_eq!(solved.is_some(), least.is_some()),
            }
        }
    }
}
