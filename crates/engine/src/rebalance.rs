//! After the start: how guests really sit, which one change would help most, and making it.
//!
//! What is best is decided by `numa-placement`, purely; here guests are looked at and changes go the way of every other live
//! change. Nothing is moved unless a caller says so.
//!
//! What it does not do: it moves no guest whose definition says where it belongs. CPUs change only where placement chose them, memory
//! only where a cpuset alone confines it (`restrictive`): policies of a running hypervisor's memory are fixed, and pages of other
//! guests stay where they are.

use polyvirt_core::{
    Error, ErrorKind, Result, VcpuState,
    model::DomainConfig,
    placement::{
        Advice, CpuSet, HostNode, HostTopology, Kib, MemMode, NodeSet, NodeShare, Origin, PageSize, Plan, PlanDelta,
        Promised, change,
        ledger::Snapshot,
        rebalance::{self, Drift, Hysteresis, Move, Seat, Suggestion},
    },
};

use crate::{
    actor::{Change, not_running},
    connection::Connection,
    definition,
    guest::Guest,
    placement,
    store::blocking,
};

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

    /// Makes a change that [`Connection::suggest`] named: the guest's CPUs, its memory or both go to other nodes, and so does
    /// what is promised to it.
    ///
    /// # Errors
    /// `InvalidState` when it does not run or may not be moved so; `Busy`; `Hypervisor` when the kernel refused a part.
    pub async fn relocate(&self, to: &Move) -> Result<()> {
        let shared = self.connection.shared.clone();
        let host = blocking(move || {
            shared
                .host
                .usable()
                .map_err(|e| Error::new(ErrorKind::Storage, format!("cannot read the host's topology: {e}")).source(e))
        })
        .await?;
        let record = self.files().await?.1.ok_or_else(|| not_running(self.name()))?;
        let mut live = record.live()?.config;
        let driver = self.connection.driver().descriptor().name;
        let plan = record.plan.ok_or_else(|| Error::unsupported(driver, "placement"))?;
        let mut new = plan.clone();
        if let Some(nodes) = &to.memory {
            if !is_movable(&plan, &live)? {
                return Err(fixed(
                    self.name(),
                    "memory",
                    "only memory with mode 'restrictive' moves while a guest runs",
                ));
            }
            let stored = live.stored_placement().map_err(Error::invalid_config)?;
            let moved = change::set_nodes(&plan, &stored, None, Some(nodes), &host);
            new = moved.map_err(|e| Error::new(ErrorKind::InvalidArgument, e.to_string()))?.to;
            definition::set_numatune(&mut live, None, Some(nodes));
        }
        if let Some(nodes) = &to.cpus {
            repin(&mut new, nodes, &host)
                .ok_or_else(|| fixed(self.name(), "vCPUs", "pins and CPUs of its own stay as they are"))?;
        }
        let delta = PlanDelta::between(&plan, new);
        if delta.steps.is_empty() {
            return Ok(());
        }
        // Booked first: a start meanwhile counts on neither the old place, where the pages still are, nor the new one.
        self.rebook(&delta.to).await?;
        let done = self.change(Change::Place { delta: Box::new(delta), live: Box::new(live) }).await;
        if done.is_err() {
            self.rebook(&plan).await?;
        }
        // What is promised anew counts as untouched until somebody looks.
        if let Ok(domain) = self.domain().await {
            placement::settle(&self.connection.shared, plan.lease.clone(), &*domain, host.nodes().len()).await;
        }
        done
    }

    async fn rebook(&self, plan: &Plan) -> Result<()> {
        let (shared, plan) = (self.connection.shared.clone(), plan.clone());
        blocking(move || match (&shared.ledger, &plan.lease) {
            (Ok(ledger), Some(lease)) => ledger.rebook(lease, &plan).map_err(|e| {
                Error::new(ErrorKind::Storage, format!("cannot promise memory at the new place: {e}")).source(e)
            }),
            _ => Ok(()),
        })
        .await
    }
}

impl Connection {
    /// The one change of these guests, or exchange of two, that gains most for what it moves. Nothing is changed.
    ///
    /// # Errors
    /// `Storage` when the host's topology or the ledger cannot be read.
    pub async fn suggest(&self, guests: &[Observation], hysteresis: Hysteresis) -> Result<Option<Suggestion>> {
        let (shared, guests) = (self.shared.clone(), guests.to_vec());
        blocking(move || {
            let storage =
                |what: &str, why: String| Error::new(ErrorKind::Storage, format!("cannot read {what}: {why}"));
            let host = shared.host.usable().map_err(|e| storage("the host's topology", e.to_string()))?;
            let snapshot = match &shared.ledger {
                Ok(ledger) => ledger.snapshot().map_err(|e| storage("the ledger", e.to_string()))?,
                Err(_) => Snapshot::default(),
            };
            let mut seats: Vec<Seat> = guests.iter().map(Observation::seat).collect();
            let promised = as_seen(&snapshot, &guests, &seats);
            // Each turn takes a possibility from a guest, so this ends.
            while let Some(found) = rebalance::suggest(&host, &promised, &seats, hysteresis, None) {
                if !settle_if_there(&found, &mut seats) {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
        .await
    }
}

/// A seat's cost is estimated in another way than that of a place to come, so the place where a guest is may look better than itself. If
/// nothing would change, those guests stay, and this says so.
fn settle_if_there(suggestion: &Suggestion, seats: &mut [Seat]) -> bool {
    let seat_of = |seats: &[Seat], guest: &str| seats.iter().position(|seat| seat.guest == guest);
    let is_there = |change: &Move| {
        let Some(seat) = seat_of(seats, &change.guest).map(|at| &seats[at]) else { return false };
        let runs: NodeSet = seat.cpus.iter().filter(|(_, milli)| *milli > 0).map(|(node, _)| *node).collect();
        change.size.is_zero() && change.cpus.as_ref().is_none_or(|nodes| *nodes == runs)
    };
    if !suggestion.moves.iter().all(is_there) {
        return false;
    }
    for change in &suggestion.moves {
        if let Some(at) = seat_of(seats, &change.guest) {
            seats[at].repinnable &= change.cpus.is_none();
            seats[at].movable &= change.memory.is_none();
        }
    }
    true
}

fn fixed(guest: &str, what: &str, why: &str) -> Error {
    Error::new(
        ErrorKind::InvalidState,
        format!("the {what} of the guest '{guest}' cannot be moved while it runs: {why}"),
    )
}

/// Whether a cpuset alone confines its memory, so that the kernel takes pages along.
fn is_movable(plan: &Plan, live: &DomainConfig) -> Result<bool> {
    let stored = live.stored_placement().map_err(Error::invalid_config)?;
    let restrictive = stored.memory.as_ref().is_some_and(|policy| policy.mode == MemMode::Restrictive);
    let own = plan.cells.iter().any(|cell| cell.own_policy);
    Ok(restrictive && !own && plan.process.mems.is_some())
}

/// Puts all that placement chose on the CPUs of these nodes; `None` if somebody else chose.
fn repin(plan: &mut Plan, nodes: &NodeSet, host: &HostTopology) -> Option<()> {
    let cpus: CpuSet = host.cpus_of(nodes).difference(host.isolated_cpus());
    let mut vcpus = plan.cells.iter().flat_map(|cell| &cell.vcpus);
    if cpus.is_empty() || !plan.dedicated.is_empty() || vcpus.any(|vcpu| vcpu.origin != Origin::Advice) {
        return None;
    }
    for vcpu in plan.cells.iter_mut().flat_map(|cell| &mut cell.vcpus) {
        vcpu.hard = cpus.clone();
    }
    let io_threads = plan.io_threads.iter_mut().map(|(_, thread)| thread);
    for thread in std::iter::once(&mut plan.process).chain(io_threads).filter(|thread| thread.origin == Origin::Advice)
    {
        thread.cpus = cpus.clone();
    }
    let memory = plan.advice.as_ref().map_or_else(|| nodes.clone(), |advice| advice.nodeset.clone());
    plan.advice = Some(Advice::new(memory, cpus.clone()));
    // One load is there for every node that had some: the same entry, with other figures.
    if let Some(load) = plan.cpu_load.first().cloned() {
        let all = u64::from(plan.shape.vcpus_online) * 1000;
        let on = |node| host.node(node).map_or(0, |node| node.cpus.intersection_len(&cpus)) as u64;
        let share = |node| {
            let mut load = load;
            (load.node, load.milli_vcpus) = (node, all * on(node) / cpus.len() as u64);
            load
        };
        plan.cpu_load = nodes.iter().filter(|node| on(*node) > 0).map(share).collect();
    }
    Some(())
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
    use polyvirt_core::placement::{GuestShape, PlacementProfile, Request, plan};

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
    fn chosen_cpus_move_and_pinned_ones_stay() {
        let mut plan = observed(&[]).plan;
        repin(&mut plan, &NodeSet::of(HostNode(2)), &host()).unwrap();
        assert_eq!(plan.cells[0].vcpus[1].hard.to_string(), "8-11");
        assert_eq!((plan.process.cpus.to_string(), plan.cpu_load.len()), ("8-11".to_owned(), 1));
        assert_eq!((plan.cpu_load[0].node, plan.cpu_load[0].milli_vcpus), (HostNode(2), 2000));
        let before = plan.clone();
        plan.cells[0].vcpus[0].origin = Origin::Pin;
        assert!(repin(&mut plan, &NodeSet::of(HostNode(0)), &host()).is_none());
        assert_eq!(plan.cells[0].vcpus[1], before.cells[0].vcpus[1]);
    }

    #[test]
    fn a_move_to_where_a_guest_is_is_none() {
        let suggestion = |text: &str| serde_json::from_str::<Suggestion>(text).unwrap();
        let there = suggestion(
            r#"{"moves": [{"guest": "g", "cpus": "0", "memory": null, "size": 0}], "size": 0, "gain": 1.0}"#,
        );
        let mut seats = [observed(&[]).seat()];
        assert!(settle_if_there(&there, &mut seats));
        assert!(!seats[0].repinnable && seats[0].movable);
        let elsewhere = suggestion(
            r#"{"moves": [{"guest": "g", "cpus": "1", "memory": null, "size": 0}], "size": 0, "gain": 1.0}"#,
        );
        assert!(!settle_if_there(&elsewhere, &mut seats));
        let memory = suggestion(
            r#"{"moves": [{"guest": "g", "cpus": null, "memory": "0", "size": 9}], "size": 9, "gain": 1.0}"#,
        );
        assert!(!settle_if_there(&memory, &mut seats));
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
