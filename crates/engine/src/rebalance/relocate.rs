//! Making a change that was suggested.
//!
//! The kernel moves pages when the nodes of a cpuset change (`cpuset(7)`, memory migration); those that find no room stay. But from
//! then on the guest may take memory of the new nodes alone, so on nodes that are full to the brim it would be killed for want of a
//! page. So nobody goes where there is not room enough at that moment, whatever is promised, and of two guests that change places
//! the one goes first that can.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{DomainConfig, numatune::NumaTune},
    placement::{
        Advice, CpuSet, HostTopology, Kib, MemMode, NodeSet, Origin, Plan, PlanDelta, change,
        rebalance::{Move, Suggestion},
    },
};

use crate::{actor::not_running, connection::Connection, definition, guest::Guest, placement, store::blocking};

/// A guest before and after.
struct Relocation {
    guest: Guest,
    before: (Plan, Option<NumaTune>),
    after: (Plan, Option<NumaTune>),
    /// Where its memory is to be, if that changes.
    memory: Option<NodeSet>,
}

impl Guest {
    /// Makes a change that [`Connection::suggest`] named: the guest's CPUs, its memory or both go to other nodes, and so does
    /// what is promised to it.
    ///
    /// # Errors
    /// `InvalidState` when it does not run or may not be moved so; `NoResources` when its memory does not find room there at this
    /// moment; `Busy`; `Hypervisor` when the kernel refused a part.
    pub async fn relocate(&self, to: &Move) -> Result<()> {
        let host = self.connection.usable().await?;
        let Some(relocation) = self.relocation(to, &host).await? else { return Ok(()) };
        let done = relocation.forth().await;
        relocation.settle(&host).await;
        done
    }

    /// What a move means for its plan; `None` if that is so already.
    async fn relocation(&self, to: &Move, host: &HostTopology) -> Result<Option<Relocation>> {
        let record = self.files().await?.1.ok_or_else(|| not_running(self.name()))?;
        let live = record.live()?.config;
        let driver = self.connection.driver().descriptor().name;
        let plan = record.plan.ok_or_else(|| Error::unsupported(driver, "placement"))?;
        let (mut new, mut new_live) = (plan.clone(), live.clone());
        if let Some(nodes) = &to.memory {
            if !is_movable(&plan, &live)? {
                return Err(fixed(
                    self.name(),
                    "memory",
                    "only memory with mode 'restrictive' moves while a guest runs",
                ));
            }
            let stored = live.stored_placement().map_err(Error::invalid_config)?;
            let moved = change::set_nodes(&plan, &stored, None, Some(nodes), host);
            new = moved.map_err(|e| Error::new(ErrorKind::InvalidArgument, e.to_string()))?.to;
            definition::set_numatune(&mut new_live, None, Some(nodes));
        }
        if let Some(nodes) = &to.cpus {
            let taken = self.connection.dedicated().await?;
            repin(&mut new, nodes, host, &taken)
                .ok_or_else(|| fixed(self.name(), "vCPUs", "pins and CPUs of its own stay as they are"))?;
        }
        let delta = PlanDelta::between(&plan, new);
        let relocation = Relocation {
            guest: self.clone(),
            before: (plan, live.numatune),
            after: (delta.to, new_live.numatune),
            memory: to.memory.clone(),
        };
        Ok((!delta.steps.is_empty()).then_some(relocation))
    }

    /// Applies a plan instead of the one that it was made of, with the policy that goes with it.
    async fn become_as(&self, old: &Plan, (new, policy): &(Plan, Option<NumaTune>)) -> Result<()> {
        let record = self.files().await?.1.ok_or_else(|| not_running(self.name()))?;
        let (old, new, policy) = (old.clone(), new.clone(), policy.clone());
        let edit = move |config: &mut DomainConfig| {
            config.numatune.clone_from(&policy);
            Ok(())
        };
        let delta = move |now: &Plan, _: &DomainConfig| {
            if now.process != old.process || now.cells != old.cells || now.io_threads != old.io_threads {
                return Err(Error::new(ErrorKind::Busy, "the guest's placement was changed by another meanwhile")
                    .hint("look at it again, then repeat the change if it is still wanted"));
            }
            Ok(PlanDelta::between(now, new.clone()))
        };
        self.place(&record, edit, delta).await
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

impl Relocation {
    /// Books the new place and goes there; back, if that fails.
    async fn forth(&self) -> Result<()> {
        if let Some(error) = self.short().await? {
            return Err(error);
        }
        // Booked first: a start meanwhile counts on neither the old place, where the pages still are, nor the new one.
        self.guest.rebook(&self.after.0).await?;
        let done = self.guest.become_as(&self.before.0, &self.after).await;
        if done.is_err() {
            self.guest.rebook(&self.before.0).await?;
        } else {
            self.guest.connection.note_move().await;
        }
        done
    }

    /// Undoes what was done.
    async fn back(&self) -> Result<()> {
        self.guest.rebook(&self.before.0).await?;
        self.guest.become_as(&self.after.0, &self.before).await
    }

    /// Memory that is not where it is to be.
    async fn behind(&self) -> Result<Kib> {
        let Some(to) = &self.memory else { return Ok(Kib::ZERO) };
        let seen = self.guest.observe().await?.memory;
        Ok(seen.iter().filter(|share| !to.contains(share.node)).map(|share| share.size).sum())
    }

    /// What its new nodes are short of at this moment, if its memory does not find room there.
    async fn short(&self) -> Result<Option<Error>> {
        let Some(to) = &self.memory else { return Ok(None) };
        let (need, host) = (self.behind().await?, self.guest.connection.usable().await?);
        let have: Kib = to.iter().filter_map(|node| host.node(node)).map(|node| node.available()).sum();
        let message = format!(
            "{need} of the guest '{}' find no room on node {to} at this moment: {have} can be had there",
            self.guest.name()
        );
        let error = Error::new(ErrorKind::NoResources, message).hint("free some memory there, or end a guest");
        Ok((need > have).then_some(error))
    }

    /// Books what is found. What is promised anew counts as untouched until somebody looks.
    async fn settle(&self, host: &HostTopology) {
        if let Ok(domain) = self.guest.domain().await {
            let lease = self.before.0.lease.clone();
            placement::settle(&self.guest.connection.shared, lease, &*domain, host.nodes().len()).await;
        }
    }
}

impl Connection {
    /// Makes a change that [`Connection::suggest`] named, of one guest or of two, and says how much memory still lies elsewhere, for
    /// want of room. Where the second of two cannot go, the first goes back.
    ///
    /// # Errors
    /// Those of [`Guest::relocate`], and `NotFound` for a guest that is gone.
    pub async fn carry_out(&self, suggestion: &Suggestion) -> Result<Kib> {
        let host = self.usable().await?;
        let mut relocations = Vec::new();
        for to in &suggestion.moves {
            relocations.extend(self.lookup_by_name(&to.guest).await?.relocation(to, &host).await?);
        }
        if let [first, _] = relocations.as_slice()
            && first.short().await?.is_some()
        {
            relocations.swap(0, 1);
        }
        let done = all(&relocations).await;
        let mut left = Kib::ZERO;
        for relocation in &relocations {
            relocation.settle(&host).await;
            if done.is_ok() {
                left = left.saturating_add(relocation.behind().await?);
            }
        }
        done.map(|()| left)
    }

    /// The host as far as guests may use it.
    async fn usable(&self) -> Result<HostTopology> {
        let shared = self.shared.clone();
        blocking(move || {
            shared
                .host
                .usable()
                .map_err(|e| Error::new(ErrorKind::Storage, format!("cannot read the host's topology: {e}")).source(e))
        })
        .await
    }

    /// CPUs that belong to one guest alone.
    async fn dedicated(&self) -> Result<CpuSet> {
        let shared = self.shared.clone();
        blocking(move || {
            let Ok(ledger) = &shared.ledger else { return Ok(CpuSet::new()) };
            let snapshot = ledger.snapshot().map_err(|e| {
                Error::new(ErrorKind::Storage, format!("cannot read whose CPUs are whose: {e}")).source(e)
            })?;
            Ok(snapshot.promised.nodes.values().fold(CpuSet::new(), |all, promise| all.union(&promise.dedicated)))
        })
        .await
    }

    async fn note_move(&self) {
        let shared = self.shared.clone();
        let noted = blocking(move || {
            let noted = shared.ledger.as_ref().map(|ledger| ledger.note_move());
            if let Ok(Err(error)) = noted {
                tracing::warn!(%error, "the next change will not know of this one");
            }
            Ok(())
        });
        noted.await.ok();
    }
}

/// One after the other, or none.
async fn all(relocations: &[Relocation]) -> Result<()> {
    for (at, relocation) in relocations.iter().enumerate() {
        let Err(error) = relocation.forth().await else { continue };
        for gone in relocations[..at].iter().rev() {
            if let Err(error) = gone.back().await {
                tracing::warn!(guest = gone.guest.name(), %error, "could not go back");
            }
        }
        return Err(error);
    }
    Ok(())
}

fn fixed(guest: &str, what: &str, why: &str) -> Error {
    Error::new(
        ErrorKind::InvalidState,
        format!("the {what} of the guest '{guest}' cannot be moved while it runs: {why}"),
    )
}

/// Whether a cpuset alone confines its memory, so that the kernel takes pages along.
pub(super) fn is_movable(plan: &Plan, live: &DomainConfig) -> Result<bool> {
    let stored = live.stored_placement().map_err(Error::invalid_config)?;
    let restrictive = stored.memory.as_ref().is_some_and(|policy| policy.mode == MemMode::Restrictive);
    let own = plan.cells.iter().any(|cell| cell.own_policy);
    Ok(restrictive && !own && plan.process.mems.is_some())
}

/// Puts all that placement chose on the CPUs of these nodes, but for those that are taken; `None` if somebody else chose.
fn repin(plan: &mut Plan, nodes: &NodeSet, host: &HostTopology, taken: &CpuSet) -> Option<()> {
    let cpus: CpuSet = host.cpus_of(nodes).difference(host.isolated_cpus()).difference(taken);
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

#[cfg(test)]
mod tests {
    use polyvirt_core::placement::{GuestShape, HostNode, PlacementProfile, Promised, Request, plan};

    use super::*;

    #[test]
    fn chosen_cpus_move_and_pinned_ones_stay() {
        let host = HostTopology::uniform(3, 4, Kib::from_gib(8)).build().unwrap();
        let request = Request::auto("g", GuestShape::flat(2, Kib::from_gib(4)));
        let mut plan = plan(&host, &Promised::default(), &PlacementProfile::qemu(), &request).unwrap();
        let taken = CpuSet::of_range(11, 11);
        repin(&mut plan, &NodeSet::of(HostNode(2)), &host, &taken).unwrap();
        assert_eq!(plan.cells[0].vcpus[1].hard.to_string(), "8-10", "another guest's own stays its own");
        assert_eq!((plan.process.cpus.to_string(), plan.cpu_load.len()), ("8-10".to_owned(), 1));
        assert_eq!((plan.cpu_load[0].node, plan.cpu_load[0].milli_vcpus), (HostNode(2), 2000));
        let before = plan.clone();
        plan.cells[0].vcpus[0].origin = Origin::Pin;
        assert!(repin(&mut plan, &NodeSet::of(HostNode(0)), &host, &taken).is_none());
        assert_eq!(plan.cells[0].vcpus[1], before.cells[0].vcpus[1]);
    }
}
