//! The steps of a start, each with what undoes it.
//!
//! The stages and their order are those of [`Stage`]. Runs in a task of its own: a caller who goes away abandons the wait, not
//! the work. Cancelling is a token that is looked at between the steps. Whatever ends a start, `undo` leaves nothing of it; if this
//! process dies, the next one that opens the root finds the record and does the same.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use polyvirt_core::{
    CancelToken, Deadline, Domain, DomainEvents, DriverRecord, Error, ErrorKind, EventKind, GuestState, Journal,
    JournalSink, LiveConfig, LiveEffect, Resource, Result, Stage, StartContext, StartHow, StartRequest, StateReason,
    io_error,
    model::DomainConfig,
    placement::{LeaseId, Plan, Weakening},
};

use polyvirt_lease::Durability;

use crate::{
    definition, placement,
    shared::Shared,
    store::{JobRecord, Phase, StatusRecord, blocking},
};

/// A start about to happen. The caller owns the guest.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) wanted: Wanted,
    pub(crate) events: DomainEvents,
    pub(crate) cancel: CancelToken,
}

/// What is to run.
pub(crate) struct Wanted {
    pub(crate) config: Arc<DomainConfig>,
    pub(crate) how: StartHow,
    /// What is left to do when the guest is there, and is in its record from then on.
    pub(crate) job: Option<JobRecord>,
}

/// A guest that runs.
pub(crate) struct Running {
    pub(crate) domain: Arc<dyn Domain>,
    pub(crate) record: StatusRecord,
}

impl Start {
    /// Goes through all stages.
    ///
    /// # Errors
    /// With the stage in the error's context, and nothing left behind.
    pub(crate) async fn run(self) -> Result<Running> {
        let journal = Arc::new(Steps {
            shared: self.shared.clone(),
            guest: polyvirt_core::GuestRef::of(&self.wanted.config, None),
            progress: Mutex::new(Progress { stage: None, record: None, lease: None }),
        });
        match self.stages(&journal).await {
            Ok(running) => Ok(running),
            Err(error) => {
                let (failed_at, undone) = (journal.next_stage(), journal.undo().await);
                let error = error.operation("start");
                // The driver knows better where in its part it was.
                let error = if error.fact("stage").is_some() { error } else { error.with("stage", failed_at) };
                Err(match undone {
                    Ok(()) => error,
                    Err(left) => error
                        .with("not undone", left.to_string())
                        .hint("the next polyvirt command on this root cleans up"),
                })
            }
        }
    }

    async fn stages(&self, journal: &Arc<Steps>) -> Result<Running> {
        let shared = &self.shared;
        self.admit().await?;
        self.at(journal, Stage::Admit).await?;

        let topology = placement::topology(shared).await?;
        self.at(journal, Stage::Topology).await?;

        let nodes = topology.as_ref().map_or(0, |topology| topology.nodes().len());
        let plan = match topology {
            Some(topology) => Some(placement::reserve(shared, &self.wanted.config, topology).await?),
            None => None,
        };
        journal.set_lease(plan.as_ref().and_then(|p| p.lease.clone()));
        self.at(journal, Stage::Reserve).await?;

        let records = shared.records.clone();
        let id = blocking(move || records.next_id()).await?;
        let mut live = LiveConfig::new((*self.wanted.config).clone(), id);
        let record = StatusRecord::begin(&live, plan.clone(), shared.boot_id.clone());
        journal.write(record, Durability::Durable).await?;
        let (definitions, config) = (shared.definitions.clone(), self.wanted.config.clone());
        blocking(move || definitions.check_name(&config)).await?;
        self.at(journal, Stage::Intent).await?;

        live.config.id = i32::try_from(id.0).ok();
        shared.launcher().resolve(&mut live).await?;
        self.at(journal, Stage::Resolve).await?;

        let manifest = shared.launcher().manifest(&live, plan.as_ref())?;
        let resources = manifest.resources.clone();
        blocking(move || resources.iter().try_for_each(check_resource)).await?;
        self.at(journal, Stage::Manifest).await?;

        if let Some(labels) = shared.services.labels() {
            labels.apply(&shared.owner_ref(&live.guest())?, &manifest).await?;
        }
        self.at(journal, Stage::Label).await?;

        let sink: Arc<dyn JournalSink> = journal.clone();
        let reading = self.wanted.how.patience(&self.wanted.config);
        let deadline = Deadline::after(shared.options.start_timeout.saturating_add(reading));
        let cx = StartContext::new(Journal::new(sink), self.events.clone(), self.cancel.clone(), deadline);
        let request = StartRequest::new(live.clone(), plan, self.wanted.how.clone());
        let started = shared.launcher().start(&cx, request).await?;
        self.finish(journal, live, started, nodes).await
    }

    /// Reads back what happened and makes the start final. The guest runs already: what fails here ends it again.
    async fn finish(
        &self,
        journal: &Arc<Steps>,
        mut live: LiveConfig,
        started: polyvirt_core::Started,
        nodes: usize,
    ) -> Result<Running> {
        let done = async {
            // What is read back goes to the ledger and not into the record, so neither waits for the other.
            let observed = placement::settle(&self.shared, journal.lease(), &*started.domain, nodes);
            let recorded = async {
                let mut record = journal.current()?;
                apply_effects(&mut live, &mut record.plan, &started.effects);
                record.set_live(&live.config);
                record.phase = Phase::Running;
                record.stage = Stage::Commit;
                record.job = self.wanted.job.clone();
                record.state = started.domain.state().await?;
                record.reason = Some(match (&record.state, &self.wanted.how) {
                    (GuestState::Paused, StartHow::Restore(_) | StartHow::Revert(_)) => StateReason::Unknown,
                    (GuestState::Paused, _) => StateReason::User,
                    _ => StateReason::Booted,
                });
                journal.write(record.clone(), Durability::Volatile).await?;
                Ok(record)
            };
            let ((), record) = tokio::join!(observed, recorded);
            let record = record?;
            self.at(journal, Stage::Observe).await?;
            self.at(journal, Stage::Commit).await?;
            Ok(record)
        };
        match done.await {
            Ok(record) => {
                let paused = record.state == GuestState::Paused;
                self.shared.history.tell(record.guest.clone(), EventKind::Started { paused });
                Ok(Running { domain: started.domain, record })
            }
            Err(error) => {
                // `undo` reaps, but asking first lets the hypervisor close its images.
                if let Err(left) = started.domain.destroy(polyvirt_core::Destroy::default()).await {
                    tracing::warn!(%left, "a guest whose start failed late could not be ended politely");
                }
                Err(error)
            }
        }
    }

    async fn at(&self, journal: &Arc<Steps>, stage: Stage) -> Result<()> {
        self.cancel.check()?;
        journal.reached(stage).await
    }

    async fn admit(&self) -> Result<()> {
        let config = &self.wanted.config;
        let facts = self.shared.driver.facts(config).await?;
        self.shared.driver.check(config, &facts).map_err(Error::invalid_config)?;
        self.shared.services.check(config).map_err(Error::invalid_config)
    }
}

/// What a start has come to, and the journal of its driver.
struct Steps {
    shared: Arc<Shared>,
    guest: polyvirt_core::GuestRef,
    progress: Mutex<Progress>,
}

struct Progress {
    stage: Option<Stage>,
    record: Option<StatusRecord>,
    lease: Option<LeaseId>,
}

impl Steps {
    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_lease(&self, lease: Option<LeaseId>) {
        self.progress().lease = lease;
    }

    fn lease(&self) -> Option<LeaseId> {
        self.progress().lease.clone()
    }

    fn current(&self) -> Result<StatusRecord> {
        self.progress().record.clone().ok_or_else(|| Error::new(ErrorKind::Internal, "a start without a record"))
    }

    /// The stage that was under way: the one after the last that was reached.
    fn next_stage(&self) -> Stage {
        let reached = self.progress().stage;
        let next = Stage::ALL.iter().find(|s| reached.is_none_or(|r| **s > r));
        next.copied().unwrap_or(Stage::Commit)
    }

    async fn write(&self, record: StatusRecord, durability: Durability) -> Result<()> {
        self.progress().record = Some(record.clone());
        let records = self.shared.records.clone();
        blocking(move || records.put(&record, durability)).await
    }

    /// From the moment at which its process is known the promise is the hypervisor's.
    async fn hand_over(&self, stage: Stage, driver: &DriverRecord) -> Result<()> {
        if stage == Stage::Pid
            && let Some(lease) = self.lease()
            && let Some(owner) = self.shared.launcher().owner(driver)
        {
            placement::hand_over(&self.shared, lease, owner).await?;
        }
        Ok(())
    }

    /// Leaves nothing: what the driver may have left, the promise, the record.
    async fn undo(&self) -> Result<()> {
        let (record, lease) = {
            let progress = self.progress();
            (progress.record.clone(), progress.lease.clone())
        };
        match record {
            Some(record) => self.shared.clean_up(&record.guest, record.driver.as_ref(), lease).await,
            None => {
                self.shared.release(lease).await;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl JournalSink for Steps {
    async fn reached(&self, stage: Stage) -> Result<()> {
        self.progress().stage = Some(stage);
        tracing::debug!(guest = %self.guest.name, %stage, "start");
        match &self.shared.options.observer {
            Some(observer) => observer.reached(&self.guest, stage),
            None => Ok(()),
        }
    }

    async fn record(&self, stage: Stage, driver: &DriverRecord) -> Result<()> {
        let mut record = self.current()?;
        record.driver = Some(driver.clone());
        record.stage = stage;
        // What names a process is for whoever comes after us on this boot: a power cut that loses the record ends the process
        // too. The guest does not wait for the disk.
        let written = self.write(record, Durability::Volatile);
        tokio::try_join!(written, self.hand_over(stage, driver))?;
        self.reached(stage).await
    }
}

/// What must be there is there.
pub(crate) fn check_resource(resource: &Resource) -> Result<()> {
    if !resource.must_exist {
        return Ok(());
    }
    std::fs::metadata(&resource.path).map(drop).map_err(|e| {
        let error = io_error("use", &resource.path, e);
        if resource.asked_at.is_empty() { error } else { error.with("asked for at", &resource.asked_at) }
    })
}

/// Writes what became known into definition and plan.
pub(crate) fn apply_effects(live: &mut LiveConfig, plan: &mut Option<Plan>, effects: &[LiveEffect]) {
    for effect in effects {
        match effect {
            LiveEffect::CharacterDevice { device, path } => {
                definition::set_character_device_path(&mut live.config, &device.kind, device.index, path)
            }
            LiveEffect::NetworkDevice { device, name } => {
                if let Some(card) = live.config.devices.interfaces.get_mut(device.index) {
                    card.target.get_or_insert_default().dev = Some(name.clone());
                }
            }
            LiveEffect::Weakened { what, why } => {
                if let Some(plan) = plan {
                    plan.weakened.push(Weakening::new("host", what, why));
                }
            }
            _ => tracing::warn!(?effect, "an effect of a start that this engine does not know"),
        }
    }
}
