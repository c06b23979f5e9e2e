//! Pins and numatune of a guest, live and stored.
//!
//! Each is an edit: of the stored definition under the rules of a define, and of the running guest's plan through the driver.
//! Both sides are checked before either is changed.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::DomainConfig,
    placement::{
        CpuSet, MemMode, NodeSet, Plan, PlanDelta, VcpuId,
        change::{self, ChangeError},
    },
};

use crate::{
    actor::{Change, not_running},
    definition,
    guest::Guest,
};

/// Which side of a guest a change is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Affect {
    /// The running guest if it runs, else the stored definition.
    #[default]
    Current,
    /// The running guest.
    Live,
    /// The stored definition.
    Config,
    /// Both.
    Both,
}

/// What is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinTarget {
    /// A vCPU.
    Vcpu(VcpuId),
    /// The emulator's own threads.
    Emulator,
}

impl Guest {
    /// Pins a vCPU or the emulator to host CPUs.
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
            }
        };
        let delta = |plan: &Plan, _: &DomainConfig| match target {
            PinTarget::Vcpu(vcpu) => change::pin_vcpu(plan, vcpu, cpus, &host).map_err(|e| refused(&e)),
            PinTarget::Emulator => change::pin_process(plan, cpus, &host).map_err(|e| refused(&e)),
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
        let (stored, record) = self.files().await?;
        let (live_too, stored_too) = match (affect, record.is_some()) {
            (Affect::Live | Affect::Both, false) => return Err(not_running(self.name())),
            (Affect::Current, true) | (Affect::Live, true) => (true, false),
            (Affect::Current, false) | (Affect::Config, _) => (false, true),
            (Affect::Both, true) => (true, true),
        };
        let changed = match (&stored, stored_too) {
            (_, false) => None,
            (None, true) => {
                return Err(Error::new(
                    ErrorKind::InvalidState,
                    format!("the guest '{}' is transient: it has no stored definition", self.name()),
                )
                .hint("change the running guest alone, with --live"));
            }
            (Some(stored), true) => {
                let mut config = (*stored.config).clone();
                edit(&mut config)?;
                definition::complete(&mut config).map_err(Error::invalid_config)?;
                Some(config)
            }
        };
        if let Some(record) = record.filter(|_| live_too) {
            let driver = self.connection.driver().descriptor().name;
            let plan = record.plan.as_ref().ok_or_else(|| Error::unsupported(driver, "placement"))?;
            let mut live = record.live()?.config;
            let delta = delta(plan, &live)?;
            edit(&mut live)?;
            self.change(Change::Place { delta: Box::new(delta), live: Box::new(live) }).await?;
        }
        if let Some(config) = changed {
            self.connection
                .shared
                .clone()
                .store(config)
                .await
                .map_err(|e| if live_too { e.with("live", "done, not stored") } else { e })?;
        }
        Ok(())
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
