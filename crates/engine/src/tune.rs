//! Pins and numatune of a guest, live and stored.
//!
//! Each is an edit: of the stored definition under the rules of a define, and of the running guest's plan through the driver.
//! Both sides are checked before either is changed.

use std::time::Duration;

use polyvirt_core::{
    Error, ErrorKind, EventKind, Result,
    model::DomainConfig,
    placement::{
        CpuSet, IoThreadId, Kib, MemMode, NodeSet, Plan, PlanDelta, PlanStep, VcpuId,
        change::{self, ChangeError},
    },
};

use crate::{
    actor::{Change, Held, Left},
    affect::Affect,
    definition,
    guest::Guest,
    memory::{again, edited},
    store::StatusRecord,
};

/// KiB of a guest's memory that the kernel moves in a second at the slowest.
const MOVED_IN_A_SECOND: u64 = 64 << 10;

/// What is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinTarget {
    /// A vCPU.
    Vcpu(VcpuId),
    /// The emulator's own threads.
    Emulator,
    /// An I/O thread.
    IoThread(IoThreadId),
}

impl Guest {
    /// Pins a vCPU, the emulator or an I/O thread to host CPUs.
    ///
    /// # Errors
    /// `InvalidArgument` for an empty set, CPUs the host does not have or a vCPU the guest does not have; `InvalidState` for the
    /// live side of a guest that does not run; `Unsupported`; `Busy`.
    pub async fn pin(&self, target: PinTarget, cpus: &CpuSet, affect: Affect) -> Result<()> {
        let (host, cpus) = (self.connection.topology().await?, cpus.clone());
        let online = host.online_cpus();
        if cpus.is_empty() || !cpus.is_subset(online) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("the CPUs '{cpus}' are not all online; the host has {online}"),
            ));
        }
        let pinned = cpus.clone();
        let edit = move |config: &mut DomainConfig| pin(config, target, &pinned);
        let delta = move |plan: &Plan, _: &DomainConfig| {
            let delta = match target {
                PinTarget::Vcpu(vcpu) => change::pin_vcpu(plan, vcpu, &cpus, &host),
                PinTarget::Emulator => change::pin_process(plan, &cpus, &host),
                PinTarget::IoThread(id) => change::pin_io_thread(plan, id, &cpus, &host),
            };
            delta.map_err(|e| refused(&e))
        };
        self.edit(affect, edit, delta).await
    }

    /// Changes the general memory policy.
    ///
    /// # Errors
    /// As [`Guest::pin`]; for a running guest only the nodeset of a `restrictive` policy may change (NUMA rules of libvirt, section
    /// on changing a running guest): anything else is `InvalidState`.
    pub async fn set_numatune(&self, mode: Option<MemMode>, nodes: Option<&NodeSet>, affect: Affect) -> Result<()> {
        if nodes.is_some_and(|n| n.is_empty()) {
            return Err(Error::new(ErrorKind::InvalidArgument, "the nodeset is empty; name at least one node"));
        }
        let (host, nodes) = (self.connection.topology().await?, nodes.cloned());
        let named = nodes.clone();
        let edit = move |config: &mut DomainConfig| {
            definition::set_numatune(config, mode, named.as_ref());
            Ok(())
        };
        let delta = move |plan: &Plan, live: &DomainConfig| {
            let stored = live.stored_placement().map_err(Error::invalid_config)?;
            change::set_nodes(plan, &stored, mode, nodes.as_ref(), &host).map_err(|e| refused(&e))
        };
        self.edit(affect, edit, delta).await
    }

    /// Applies an edit to the sides it is for.
    async fn edit<E, D>(&self, affect: Affect, edit: E, delta: D) -> Result<()>
    where
        E: Fn(&mut DomainConfig) -> Result<()> + Clone + Send + 'static,
        D: Fn(&Plan, &DomainConfig) -> Result<PlanDelta> + Send + 'static,
    {
        let mut sides = self.sides(affect).await?;
        if let Some(stored) = &mut sides.stored {
            edit(stored)?;
            self.ready_to_store(stored).await?;
        }
        let live_too = sides.live.is_some();
        if let Some(record) = sides.live {
            self.place(&record, edit.clone(), delta).await?;
        }
        match sides.stored {
            Some(_) => self.store_edit(edit, live_too).await,
            None => Ok(()),
        }
    }

    /// Makes another plan of the one that the running guest has when its turn comes, applies it, and edits the live definition so.
    ///
    /// # Errors
    /// Those of the edit and of the plan, before anything is done; `Unsupported`; `Busy`; `Hypervisor` when a part could not be had, and
    /// then the other parts are taken back.
    pub(crate) async fn place<E, D>(&self, record: &StatusRecord, edit: E, delta: D) -> Result<()>
    where
        E: Fn(&mut DomainConfig) -> Result<()> + Send + 'static,
        D: Fn(&Plan, &DomainConfig) -> Result<PlanDelta> + Send + 'static,
    {
        let driver = self.connection.driver().descriptor().name;
        let replan = move |record: &StatusRecord| -> Result<(Plan, PlanDelta)> {
            let now = record.plan.clone().ok_or_else(|| Error::unsupported(driver, "placement"))?;
            let delta = delta(&now, &record.live()?.config)?;
            Ok((now, delta))
        };
        let (_, first) = replan(record)?;
        edited(&record.live()?.config, &edit)?;
        let mut time = self.connection.shared.options.start_timeout;
        // Moving all of a guest's memory is as much work as touching it at a start.
        if first.steps.contains(&PlanStep::SetMems) {
            let all: Kib = first.to.promised_memory().into_iter().map(|(_, _, size)| size).sum();
            time = time.saturating_add(Duration::from_secs(all.0 / MOVED_IN_A_SECOND));
        }
        let work = move |it: Held| async move {
            // What it is by now: others may have changed it while this one waited.
            let (now, delta) = replan(&it.record)?;
            edited(&it.record.live()?.config, &edit)?;
            let placement = it.domain.placement().ok_or_else(|| it.missing("live placement"))?;
            let report = placement.apply(&delta).await?;
            if let Some(weak) = report.weakened.first() {
                let back = placement.apply(&PlanDelta::between(&delta.to, now)).await;
                if let Err(error) = back {
                    tracing::warn!(%error, "a change of which a part failed could not be taken back");
                }
                let message = format!("{} could not be changed: {}", weak.what, weak.why);
                return Err(Error::new(ErrorKind::Hypervisor, message));
            }
            Ok(Left::live(again(edit)).plan(delta.to).event(EventKind::Tuned))
        };
        self.change(Change::new("change the placement", work).within(time)).await
    }
}

/// Writes a pin into a definition.
fn pin(config: &mut DomainConfig, target: PinTarget, cpus: &CpuSet) -> Result<()> {
    match target {
        PinTarget::Vcpu(vcpu) if vcpu.0 >= config.vcpus_max() => {
            let last = config.vcpus_max().saturating_sub(1);
            let message = format!("there is no vCPU {}; the guest has 0 to {last}", vcpu.0);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        PinTarget::Vcpu(vcpu) => definition::pin_vcpu(config, vcpu, cpus),
        PinTarget::Emulator => definition::pin_emulator(config, cpus),
        PinTarget::IoThread(id) if !config.io_thread_ids().contains(&id.0) => {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("there is no I/O thread {id}"))
                .hint("`polyvirt iothreadinfo` lists what the guest has"));
        }
        PinTarget::IoThread(id) => definition::pin_io_thread(config, id, cpus),
    }
    Ok(())
}

/// What a running guest cannot change is refused for its state, bad sets for themselves.
fn refused(error: &ChangeError) -> Error {
    let message = error.to_string();
    match error {
        ChangeError::ModeFixed { .. } | ChangeError::NodesFixed(_) => Error::new(ErrorKind::InvalidState, message)
            .hint("change the stored definition with --config; it applies at the next start"),
        ChangeError::NoCpuset => Error::new(ErrorKind::Unsupported, message),
        _ => Error::new(ErrorKind::InvalidArgument, message),
    }
}
