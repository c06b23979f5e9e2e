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
        let host = self.connection.topology().await?;
        let online = host.online_cpus();
        if cpus.is_empty() || !cpus.is_subset(online) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("the CPUs '{cpus}' are not all online; the host has {online}"),
            ));
        }
        let edit = |config: &mut DomainConfig| -> Result<()> {
            match target {
                PinTarget::Vcpu(vcpu) if vcpu.0 >= config.vcpus_max() => {
                    let message = format!(
                        "there is no vCPU {}; the guest has 0 to {}",
                        vcpu.0,
                        config.vcpus_max().saturating_sub(1)
                    );
                    Err(Error::new(ErrorKind::InvalidArgument, message))
                }
                PinTarget::Vcpu(vcpu) => {
                    definition::pin_vcpu(config, vcpu, cpus);
                    Ok(())
                }
                PinTarget::Emulator => {
                    definition::pin_emulator(config, cpus);
                    Ok(())
                }
                PinTarget::IoThread(id) if !config.io_thread_ids().contains(&id.0) => {
                    Err(Error::new(ErrorKind::InvalidArgument, format!("there is no I/O thread {id}"))
                        .hint("`polyvirt iothreadinfo` lists what the guest has"))
                }
                PinTarget::IoThread(id) => {
                    definition::pin_io_thread(config, id, cpus);
                    Ok(())
                }
            }
        };
        let delta = |plan: &Plan, _: &DomainConfig| match target {
            PinTarget::Vcpu(vcpu) => change::pin_vcpu(plan, vcpu, cpus, &host).map_err(|e| refused(&e)),
            PinTarget::Emulator => change::pin_process(plan, cpus, &host).map_err(|e| refused(&e)),
            PinTarget::IoThread(id) => change::pin_io_thread(plan, id, cpus, &host).map_err(|e| refused(&e)),
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
        let host = self.connection.topology().await?;
        let edit = |config: &mut DomainConfig| -> Result<()> {
            definition::set_numatune(config, mode, nodes);
            Ok(())
        };
        let delta = |plan: &Plan, live: &DomainConfig| {
            let stored = live.stored_placement().map_err(Error::invalid_config)?;
            change::set_nodes(plan, &stored, mode, nodes, &host).map_err(|e| refused(&e))
        };
        self.edit(affect, edit, delta).await
    }

    /// Applies an edit to the sides it is for.
    async fn edit(
        &self,
        affect: Affect,
        edit: impl Fn(&mut DomainConfig) -> Result<()>,
        delta: impl Fn(&Plan, &DomainConfig) -> Result<PlanDelta>,
    ) -> Result<()> {
        let mut sides = self.sides(affect).await?;
        if let Some(stored) = &mut sides.stored {
            edit(stored)?;
            self.ready_to_store(stored).await?;
        }
        let live_too = sides.live.is_some();
        if let Some(record) = sides.live {
            let driver = self.connection.driver().descriptor().name;
            let plan = record.plan.as_ref().ok_or_else(|| Error::unsupported(driver, "placement"))?;
            let mut live = record.live()?.config;
            let delta = delta(plan, &live)?;
            edit(&mut live)?;
            self.place(delta, live).await?;
        }
        match sides.stored {
            Some(stored) => self.store(stored, live_too).await,
            None => Ok(()),
        }
    }

    /// Applies another plan to the running guest; the live definition that goes with it takes the place of the present one.
    pub(crate) async fn place(&self, delta: PlanDelta, live: DomainConfig) -> Result<()> {
        let mut time = self.connection.shared.options.start_timeout;
        // Moving all of a guest's memory is as much work as touching it at a start.
        if delta.steps.contains(&PlanStep::SetMems) {
            let all: Kib = delta.to.promised_memory().into_iter().map(|(_, _, size)| size).sum();
            time = time.saturating_add(Duration::from_secs(all.0 / MOVED_IN_A_SECOND));
        }
        let work = move |it: Held| async move {
            if it.record.plan.as_ref().is_some_and(|plan| plan.revision != delta.from) {
                return Err(Error::new(ErrorKind::Busy, "the guest's placement was changed by another meanwhile")
                    .hint("look at it again, then repeat the change if it is still wanted"));
            }
            let report = it.domain.placement().ok_or_else(|| it.missing("live placement"))?.apply(&delta).await?;
            match report.weakened.first() {
                None => Ok(Left::live(move |config| *config = live).plan(delta.to).event(EventKind::Tuned)),
                Some(weak) => {
                    Err(Error::new(ErrorKind::Hypervisor, format!("{} could not be changed: {}", weak.what, weak.why)))
                }
            }
        };
        self.change(Change::new("change the placement", work).within(time)).await
    }
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
