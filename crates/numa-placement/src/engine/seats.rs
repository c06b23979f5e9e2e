//! What a board has to do for guests that sit somewhere already.

use super::board::{Board, CpuChoice, Decision, MemoryChoice, Need, real};
use super::demand::unit_size;
use crate::policy::PageSize;
use crate::rebalance::Seat;
use crate::set::NodeSet;
use crate::topology::HostTopology;
use crate::units::Kib;

impl Board<'_> {
    /// The host.
    pub(crate) fn host(&self) -> &HostTopology {
        self.host
    }

    /// Positions of these nodes.
    pub(crate) fn positions(&self, nodes: &NodeSet) -> Vec<usize> {
        nodes.iter().filter_map(|node| self.host.position(node)).collect()
    }

    /// Gives back what a guest takes.
    pub(crate) fn take_out(&mut self, seat: &Seat) {
        self.change_cpus(seat, -1.0);
        for (node, size, kib) in &seat.memory {
            if let Some(at) = self.host.position(*node) {
                self.change_room(at, *size, |room, units| Some(room.saturating_add(units)), *kib);
            }
        }
    }

    /// Takes it again.
    pub(crate) fn put_back(&mut self, seat: &Seat) {
        self.change_cpus(seat, 1.0);
        for (node, size, kib) in &seat.memory {
            if let Some(at) = self.host.position(*node) {
                self.change_room(at, *size, |room, units| Some(room.saturating_sub(units)), *kib);
            }
        }
    }

    /// Takes the guest's memory on other nodes, filled in their order; `None` if it does not fit there.
    pub(crate) fn put_in(&mut self, seat: &Seat, nodes: &NodeSet) -> Option<()> {
        self.change_cpus(seat, 1.0);
        for (size, kib) in sums(seat) {
            let resource = self.resource(size)?;
            let mut left = kib.pages(unit_size(size));
            for at in self.positions(nodes) {
                let taken = left.min(self.room(resource, at));
                self.change_room(
                    at,
                    size,
                    |room, units| room.checked_sub(units),
                    unit_size(size).saturating_mul(taken),
                );
                left -= taken;
            }
            if left > 0 {
                return None;
            }
        }
        Some(())
    }

    fn change_cpus(&mut self, seat: &Seat, sign: f64) {
        let all: f64 = seat.cpus.iter().map(|(_, milli)| real(*milli)).sum();
        for (node, milli) in &seat.cpus {
            if let Some(at) = self.host.position(*node) {
                let busy = &mut self.sites[at].busy;
                *busy = (*busy + sign * seat.cores() * real(*milli) / all.max(1.0)).max(0.0);
            }
        }
    }

    fn change_room(&mut self, at: usize, size: PageSize, change: impl Fn(u64, u64) -> Option<u64>, kib: Kib) {
        let count = self.sites.len();
        if let Some(resource) = self.resource(size) {
            let room = &mut self.room_mut()[resource * count + at];
            *room = change(*room, kib.pages(unit_size(size))).unwrap_or(0);
        }
    }

    /// What the guest needs, with what it has where it may not change; `None` if that cannot be said.
    pub(crate) fn need_of_seat(&self, seat: &Seat, cpus: bool, memory: bool) -> Option<Need> {
        let units: Vec<(PageSize, u64)> =
            sums(seat).into_iter().map(|(size, kib)| (size, kib.pages(unit_size(size)))).collect();
        let mut need = self.need_of(seat.vcpus, &units).ok()?;
        if !cpus {
            need.cpus = CpuChoice::Fixed(self.shares_of(seat));
        }
        if !memory {
            let nodes: NodeSet = seat.memory.iter().map(|(node, _, _)| *node).collect();
            need.memory = MemoryChoice::Fixed(self.positions(&nodes));
        }
        Some(need)
    }

    fn shares_of(&self, seat: &Seat) -> Vec<(usize, f64)> {
        let all: f64 = seat.cpus.iter().map(|(_, milli)| real(*milli)).sum();
        let share =
            |(node, milli): &(crate::HostNode, u64)| Some((self.host.position(*node)?, real(*milli) / all.max(1.0)));
        seat.cpus.iter().filter_map(share).collect()
    }

    /// Whether memory on named nodes fits there.
    pub(crate) fn holds(&self, need: &Need) -> bool {
        match &need.memory {
            MemoryChoice::Fixed(positions) => self.enough_memory(need, positions),
            MemoryChoice::Free => true,
        }
    }

    /// What a guest costs as it sits, on a board without it: distance, CPUs and nodes.
    pub(crate) fn seat_cost(&self, seat: &Seat) -> f64 {
        let shares = self.shares_of(seat);
        let whole: f64 = seat.memory.iter().map(|(_, _, kib)| real(kib.0)).sum();
        let mut distance = 0.0;
        for (from, share) in &shares {
            for (node, _, kib) in &seat.memory {
                let apart = self.host.distance(self.host.nodes()[*from].id, *node);
                distance += share * real(kib.0) / whole.max(1.0) * f64::from(apart);
            }
        }
        let Some(need) = self.need_of_seat(seat, false, false) else { return 0.0 };
        let (overload, load) = self.cpu_cost(&need, &shares);
        let also = seat.memory.iter().map(|(node, _, _)| *node).collect::<NodeSet>();
        let nodes = seat.cpus.iter().map(|(node, _)| *node).collect::<NodeSet>().union(&also).len();
        let further = f64::from(u32::try_from(nodes.saturating_sub(1)).unwrap_or(u32::MAX));
        need.objective.distance * (distance - 10.0).max(0.0) / 10.0 + overload + load + need.objective.nodes * further
    }
}

impl Need {
    /// Memory on these nodes.
    pub(crate) fn memory_on(mut self, positions: Vec<usize>) -> Need {
        self.memory = MemoryChoice::Fixed(positions);
        self
    }
}

impl Decision {
    /// The part of the cost that lasts: distance, CPUs and nodes, not what is left for others.
    pub(crate) fn lasting_cost(&self) -> f64 {
        self.score.lasting()
    }
}

/// Memory by page size, ascending.
fn sums(seat: &Seat) -> std::collections::BTreeMap<PageSize, Kib> {
    let mut sums = std::collections::BTreeMap::<PageSize, Kib>::new();
    for (_, size, kib) in &seat.memory {
        let sum = sums.entry(*size).or_default();
        *sum = sum.saturating_add(*kib);
    }
    sums
}
