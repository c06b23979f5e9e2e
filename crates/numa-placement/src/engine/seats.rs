//! What a board has to do for guests that sit somewhere already.
//!
//! There is one estimate of what a seat costs, [`Board::seat_cost`]. A place to come is first written down as the seat it would be
//! ([`Board::place`]) and then costs what that costs; the search only names candidates.

use super::board::{Board, CpuChoice, Decision, MemoryChoice, Need, real};
use super::demand::unit_size;
use super::shares::{Liking, Wish, parts, share};
use crate::policy::PageSize;
use crate::rebalance::{Part, Seat, SeatMemory};
use crate::set::NodeSet;
use crate::topology::HostTopology;
use crate::units::HostNode;

impl Board<'_> {
    /// The host.
    pub(crate) fn host(&self) -> &HostTopology {
        self.host
    }

    /// Positions of these nodes, ascending.
    fn positions(&self, nodes: &NodeSet) -> Vec<usize> {
        nodes.iter().filter_map(|node| self.host.position(node)).collect()
    }

    /// Gives back what a guest takes.
    pub(crate) fn take_out(&mut self, seat: &Seat) {
        self.change(seat, -1.0, u64::saturating_add);
    }

    /// Takes it again, or for the first time.
    pub(crate) fn put_in(&mut self, seat: &Seat) {
        self.change(seat, 1.0, u64::saturating_sub);
    }

    fn change(&mut self, seat: &Seat, sign: f64, change: fn(u64, u64) -> u64) {
        for (at, share) in self.shares_of(seat) {
            let busy = &mut self.sites[at].busy;
            *busy = (*busy + sign * seat.cores() * share).max(0.0);
        }
        let count = self.sites.len();
        for (node, size, kib) in &seat.memory {
            if let (Some(at), Some(resource)) = (self.host.position(*node), self.resource(*size)) {
                let room = &mut self.room_mut()[resource * count + at];
                *room = change(*room, kib.pages(unit_size(*size)));
            }
        }
    }

    /// A better place for a part of a guest, on a board without it: nodes for its CPUs, for its memory. It may be the place where the
    /// guest is.
    pub(crate) fn seek(&self, seat: &Seat, part: Part) -> Option<(Option<NodeSet>, Option<NodeSet>)> {
        let mut need = self.need_of_seat(seat)?;
        let mut lies = None;
        if !part.cpus() {
            need.cpus = CpuChoice::Fixed(self.shares_of(seat));
        }
        if !part.memory() {
            need.memory = MemoryChoice::Fixed(self.positions(&seat.memory_nodes()));
            lies = Some(self.with_room_for(seat));
        }
        let decision = lies.as_ref().unwrap_or(self).decide(&need).ok()?;
        let to = |chosen: bool, positions: &[usize]| chosen.then(|| self.nodes(positions));
        Some((to(part.cpus(), Decision::cpus(&decision)), to(part.memory(), Decision::memory(&decision))))
    }

    /// The same with room for exactly the memory of this guest, where it is: however it is shared out, it then lies as it does.
    fn with_room_for(&self, seat: &Seat) -> Self {
        let mut board = self.clone();
        board.room_mut().fill(0);
        board.change(&Seat { cpus: Vec::new(), ..seat.clone() }, 1.0, u64::saturating_add);
        board
    }

    /// The guest as it would sit after its CPUs, its memory or both went to these nodes, on a board without it: vCPUs float over all
    /// CPUs that are nobody's own; pages that lie on one of the nodes stay, and the others go to the nearest with room. `None` if the
    /// nodes have no CPUs, or not enough room.
    pub(crate) fn place(&self, seat: &Seat, cpus: Option<&NodeSet>, memory: Option<&NodeSet>) -> Option<Seat> {
        let mut after = seat.clone();
        if let Some(nodes) = cpus.filter(|nodes| **nodes != seat.cpu_nodes()) {
            after.cpus = self.floating_on(seat, nodes)?;
        }
        if let Some(nodes) = memory {
            after.memory = self.memory_on(&after, nodes)?;
        }
        Some(after)
    }

    fn floating_on(&self, seat: &Seat, nodes: &NodeSet) -> Option<Vec<(HostNode, u64)>> {
        let need = self.need_of_seat(seat)?;
        let mut shares = Vec::new();
        self.shares_into(&need, &self.positions(nodes), &mut shares);
        shares.retain(|(_, share)| *share > 0.0);
        let weights: Vec<f64> = shares.iter().map(|(_, share)| *share).collect();
        let milli = parts(u64::from(seat.vcpus) * 1000, &weights);
        let cpus: Vec<_> =
            shares.iter().zip(milli).map(|((at, _), milli)| (self.host.nodes()[*at].id, milli)).collect();
        (!cpus.is_empty()).then_some(cpus)
    }

    fn memory_on(&self, seat: &Seat, nodes: &NodeSet) -> Option<Vec<SeatMemory>> {
        let allowed = self.positions(nodes);
        let mut after = Vec::new();
        for size in seat.page_sizes() {
            let (resource, unit) = (self.resource(size)?, unit_size(size));
            let mut left: Vec<u64> = (0..self.len()).map(|at| self.room(resource, at)).collect();
            let mut there = vec![0u64; self.len()];
            let mut away = 0u64;
            for (node, _, kib) in seat.memory.iter().filter(|(_, page, _)| *page == size) {
                let units = kib.pages(unit);
                match self.host.position(*node).filter(|at| allowed.binary_search(at).is_ok()) {
                    Some(at) => {
                        there[at] = there[at].saturating_add(units);
                        left[at] = left[at].saturating_sub(units);
                    }
                    None => away = away.saturating_add(units),
                }
            }
            let wish = Wish { units: away, allowed: allowed.clone(), liking: Liking::Near(self.shares_of(seat)) };
            let shares = share(&[wish], &left, &|from, to| self.host.distance_at(from, to));
            if shares.lacking.iter().any(|lacking| *lacking > 0) {
                return None;
            }
            shares.given.iter().flatten().for_each(|(at, units)| there[*at] = there[*at].saturating_add(*units));
            let nodes = self.host.nodes().iter().zip(there).filter(|(_, units)| *units > 0);
            after.extend(nodes.map(|(node, units)| (node.id, size, unit.saturating_mul(units))));
        }
        Some(after)
    }

    /// What the guest needs wherever it is; `None` if that cannot be said.
    fn need_of_seat(&self, seat: &Seat) -> Option<Need> {
        let units = |size: PageSize| -> u64 {
            let of_size = seat.memory.iter().filter(|(_, page, _)| *page == size);
            of_size.map(|(_, _, kib)| kib.pages(unit_size(size))).fold(0, u64::saturating_add)
        };
        let units: Vec<(PageSize, u64)> = seat.page_sizes().into_iter().map(|size| (size, units(size))).collect();
        let mut need = self.need_of(seat.vcpus, &units).ok()?;
        need.usual = seat.cores() / f64::from(seat.vcpus.max(1));
        if seat.dedicated {
            // Nobody else runs on its CPUs.
            (need.objective.overload, need.objective.load) = (0.0, 0.0);
        }
        Some(need)
    }

    fn shares_of(&self, seat: &Seat) -> Vec<(usize, f64)> {
        let all: f64 = seat.cpus.iter().map(|(_, milli)| real(*milli)).sum();
        let share = |(node, milli): &(HostNode, u64)| Some((self.host.position(*node)?, real(*milli) / all.max(1.0)));
        seat.cpus.iter().filter(|(_, milli)| *milli > 0).filter_map(share).collect()
    }

    /// What a guest costs as it sits, on a board without it: distance, CPUs and nodes. That is what lasts as long as the guest does,
    /// and not what is left for others.
    pub(crate) fn seat_cost(&self, seat: &Seat) -> f64 {
        let Some(need) = self.need_of_seat(seat) else { return 0.0 };
        let shares = self.shares_of(seat);
        let whole: f64 = seat.memory.iter().map(|(_, _, kib)| real(kib.0)).sum();
        let mut distance = 0.0;
        for (from, share) in &shares {
            for (node, _, kib) in &seat.memory {
                let apart = self.host.distance(self.host.nodes()[*from].id, *node);
                distance += share * real(kib.0) / whole.max(1.0) * f64::from(apart);
            }
        }
        let (overload, load) = self.cpu_cost(&need, &shares);
        let nodes = seat.cpu_nodes().union(&seat.memory_nodes()).len();
        let further = f64::from(u32::try_from(nodes.saturating_sub(1)).unwrap_or(u32::MAX));
        need.objective.distance * (distance - 10.0).max(0.0) / 10.0 + overload + load + need.objective.nodes * further
    }
}
