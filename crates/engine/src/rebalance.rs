//! After the start: how guests really sit, which one change would help most, and making it.
//!
//! What is best is decided by `numa-placement`, purely; here guests are looked at and changes go the way of every other live
//! change. Nothing is moved unless a caller says so. When something was moved is kept beside the ledger, so that the wait after it
//! holds for every process of the host.
//!
//! What it does not do: it moves no guest whose definition says where it belongs. CPUs change only where placement chose them, memory
//! only where a cpuset alone confines it (`restrictive`): policies of a running hypervisor's memory are fixed, and pages of other
//! guests stay where they are.

use std::time::Duration;

use polyvirt_core::{
    Error, ErrorKind, Result, VcpuState,
    placement::{
        HostNode, Kib, NodeShare, Origin, PageSize, Plan, Promised,
        ledger::Snapshot,
        rebalance::{self, Drift, Hysteresis, Seat, Suggestion},
    },
};

use crate::{actor::not_running, connection::Connection, guest::Guest, placement, store::blocking};

mod relocate;

use relocate::is_movable;

/// A running guest as it was seen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Observation {
    /// Its name.
    pub guest: String,
    /// Where it was to be.
    pub plan: Plan,
    /// Where its memory is.
    pub memory: Vec<NodeShare>,
    /// Where its vCPUs may run, if the driver can tell.
    pub vcpus: Vec<VcpuState>,
    /// Whether its memory can be moved while it runs.
    pub movable: bool,
}

impl Observation {
    /// A guest as somebody else saw it; its memory cannot be moved while it runs.
    #[must_use]
    pub fn new(guest: impl Into<String>, plan: Plan, memory: Vec<NodeShare>, vcpus: Vec<VcpuState>) -> Self {
        Self { guest: guest.into(), plan, memory, vcpus, movable: false }
    }

    /// What lies beyond the plan. A guest that was bound to nothing drifts nowhere.
    #[must_use]
    pub fn drift(&self) -> Drift {
        if self.plan.promised_memory().is_empty() {
            return Drift::default();
        }
        rebalance::drift(&self.plan, &self.memory)
    }

    /// The guest as a rebalance sees it: memory where it is, and what it has not touched yet where it was planned.
    #[must_use]
    pub fn seat(&self) -> Seat {
        let planned = self.plan.promised_memory();
        let huge = planned.iter().any(|(_, page, _)| *page != PageSize::Base);
        let memory = if huge { planned } else { self.memory_to_come(&planned) };
        let load = self.plan.cpu_load.iter().map(|load| (load.node, load.milli_vcpus)).collect();
        let mut seat = Seat::new(&self.guest, self.plan.shape.vcpus_online, load, memory);
        let mut vcpus = self.plan.cells.iter().flat_map(|cell| &cell.vcpus);
        seat.repinnable = self.plan.dedicated.is_empty() && vcpus.all(|vcpu| vcpu.origin == Origin::Advice);
        seat.movable = self.movable && !huge;
        seat.dedicated = !self.plan.dedicated.is_empty();
        seat
    }

    fn memory_to_come(&self, planned: &[(HostNode, PageSize, Kib)]) -> Vec<(HostNode, PageSize, Kib)> {
        let mut by_node = std::collections::BTreeMap::new();
        for share in &self.memory {
            let sum: &mut Kib = by_node.entry(share.node).or_default();
            *sum = sum.saturating_add(share.size);
        }
        let all: Kib = planned.iter().map(|(_, _, size)| *size).sum();
        let mut rest = all.saturating_sub(by_node.values().copied().sum());
        for (node, _, size) in planned {
            let there = by_node.entry(*node).or_default();
            let more = size.saturating_sub(*there).min(rest);
            *there = there.saturating_add(more);
            rest = rest.saturating_sub(more);
        }
        by_node
            .into_iter()
            .filter(|(_, size)| !size.is_zero())
            .map(|(node, size)| (node, PageSize::Base, size))
            .collect()
    }
}

impl Guest {
    /// Looks where it really is. Asks the hypervisor and the kernel; changes nothing.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `Busy`; `Unsupported` when it was not placed by us or the driver cannot tell.
    pub async fn observe(&self) -> Result<Observation> {
        let driver = self.connection.driver().descriptor().name;
        let record = self.files().await?.1.ok_or_else(|| not_running(self.name()))?;
        let live = record.live()?.config;
        let plan = record.plan.ok_or_else(|| Error::unsupported(driver, "placement"))?;
        let domain = self.domain().await?;
        let placement = domain.placement().ok_or_else(|| Error::unsupported(driver, "live placement"))?;
        let memory = placement.observe().await?.observed;
        let vcpus = match domain.vcpu_info() {
            Some(info) => info.vcpus().await?,
            None => Vec::new(),
        };
        let movable = is_movable(&plan, &live)?;
        Ok(Observation { guest: self.name().to_owned(), plan, memory, vcpus, movable })
    }
}

impl Connection {
    /// The one change of these guests, or exchange of two, that gains most for what it moves. Nothing is changed.
    ///
    /// None is named too soon after the last ([`Connection::since_move`]), whichever process made that.
    ///
    /// # Errors
    /// `Storage` when the host's topology or the ledger cannot be read.
    pub async fn suggest(&self, guests: &[Observation], hysteresis: Hysteresis) -> Result<Option<Suggestion>> {
        let (shared, guests) = (self.shared.clone(), guests.to_vec());
        let since = self.since_move().await?;
        let host = placement::host(&shared).await?;
        blocking(move || {
            let storage =
                |what: &str, why: String| Error::new(ErrorKind::Storage, format!("cannot read {what}: {why}"));
            let snapshot = match &shared.ledger {
                Ok(ledger) => ledger.snapshot().map_err(|e| storage("the ledger", e.to_string()))?,
                Err(_) => Snapshot::default(),
            };
            let seats: Vec<Seat> = guests.iter().map(|guest| seen(&snapshot, guest)).collect();
            let promised = as_seen(&snapshot, &guests, &seats);
            Ok(rebalance::suggest(&host, &promised, &seats, hysteresis, since))
        })
        .await
    }

    /// How long ago a guest of this host was last moved, by any process that shares its ledger. `None`: not since the boot, or that
    /// cannot be told.
    ///
    /// # Errors
    /// None that a caller could act on.
    pub async fn since_move(&self) -> Result<Option<Duration>> {
        let shared = self.shared.clone();
        blocking(move || Ok(shared.ledger.as_ref().ok().and_then(|ledger| ledger.since_move()))).await
    }
}

/// The guest as it sits, with what was seen of its CPUs, as it is counted in the promises.
fn seen(snapshot: &Snapshot, guest: &Observation) -> Seat {
    let mut seat = guest.seat();
    seat.busy = guest.plan.lease.as_ref().and_then(|lease| snapshot.expected_busy(lease));
    seat
}

/// The promises, with these guests' where they were seen.
fn as_seen(snapshot: &Snapshot, guests: &[Observation], seats: &[Seat]) -> Promised {
    let mut promised = snapshot.promised.clone();
    for (guest, seat) in guests.iter().zip(seats) {
        let lease = snapshot.leases.iter().find(|lease| Some(&lease.id) == guest.plan.lease.as_ref());
        let Some(lease) = lease else { continue };
        for (node, booked) in &lease.booked.nodes {
            let sum = promised.node_mut(*node);
            sum.memory = sum.memory.saturating_sub(booked.memory);
        }
        for (node, _, size) in seat.memory.iter().filter(|(_, page, _)| *page == PageSize::Base) {
            let sum = promised.node_mut(*node);
            sum.memory = sum.memory.saturating_add(*size);
        }
    }
    promised
}

#[cfg(test)]
mod tests {
    use polyvirt_core::placement::{GuestShape, HostTopology, PlacementProfile, Request, plan};

    use super::*;

    fn host() -> HostTopology {
        HostTopology::uniform(3, 4, Kib::from_gib(8)).build().unwrap()
    }

    fn observed(shares: &[(u32, u64)]) -> Observation {
        let request = Request::auto("g", GuestShape::flat(2, Kib::from_gib(4)));
        let plan = plan(&host(), &Promised::default(), &PlacementProfile::qemu(), &request).unwrap();
        let memory = shares.iter().map(|(node, gib)| NodeShare::new(HostNode(*node), Kib::from_gib(*gib))).collect();
        Observation { guest: "g".to_owned(), plan, memory, vcpus: Vec::new(), movable: true }
    }

    fn seat(shares: &[(u32, u64)]) -> Vec<(u32, u64)> {
        observed(shares).seat().memory.iter().map(|(node, _, size)| (node.0, size.0 >> 20)).collect()
    }

    #[test]
    fn a_seat_is_what_was_seen_and_the_rest_where_it_was_planned() {
        assert_eq!(seat(&[]), [(0, 4)]);
        assert_eq!(seat(&[(2, 1)]), [(0, 3), (2, 1)]);
        assert_eq!(seat(&[(1, 5)]), [(1, 5)]);
        assert!(observed(&[]).seat().repinnable);
    }

    #[test]
    fn drift_is_what_lies_elsewhere() {
        assert_eq!(observed(&[(0, 1), (2, 1)]).drift().misplaced, Kib::from_gib(1));
        let mut unbound = observed(&[(2, 1)]);
        unbound.plan.cells[0].memory.clear();
        assert_eq!(unbound.drift(), Drift::default());
    }

    #[test]
    fn promises_follow_what_was_seen() {
        let mut guest = observed(&[(2, 4)]);
        let dir = tempfile::tempdir().unwrap();
        let ledger = polyvirt_core::placement::Ledger::open(dir.path()).unwrap();
        let owner = polyvirt_core::placement::Owner::this_process().unwrap();
        let booked = ledger.reserve(&owner, "g", &mut |_| Ok(guest.plan.clone())).unwrap();
        guest.plan = booked.plan;
        let seats = [guest.seat()];
        let promised = as_seen(&ledger.snapshot().unwrap(), &[guest], &seats);
        let on = |node: u32| promised.node(HostNode(node)).map_or(Kib::ZERO, |promise| promise.memory);
        assert_eq!((on(0), on(2)), (Kib::ZERO, Kib::from_gib(4)));
    }
}
