//! What everything in a connection shares.

use std::{sync::Arc, time::Duration};

use polyvirt_core::{
    ConnectUri, Custody, Deadline, Driver, DriverRecord, Error, ErrorKind, EventKind, GuestRef, JobKind, Launcher,
    LiveConfig, Manifest, OwnerRef, ReapContext, Result, Roots, StopReason,
    model::DomainConfig,
    placement::{LeaseId, Ledger, Plan},
};
use polyvirt_host::Host;
use polyvirt_lease::OwnerLock;

use crate::{
    job,
    options::OpenOptions,
    services::Services,
    store::{Definitions, History, Jobs, Phase, Records, Snapshots, StatusRecord, blocking, lock_error},
};

/// How long a clean-up may take before it is given up until the next open.
const REAP_TIME: Duration = Duration::from_secs(20);

/// The parts of a connection; guests' actors hold it too.
pub(crate) struct Shared {
    pub(crate) uri: ConnectUri,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) roots: Roots,
    pub(crate) options: OpenOptions,
    pub(crate) definitions: Definitions,
    pub(crate) records: Records,
    pub(crate) history: History,
    pub(crate) jobs: Jobs,
    pub(crate) snapshots: Snapshots,
    pub(crate) host: Host,
    pub(crate) boot_id: String,
    /// `None` when the ledger cannot be written: plans are advisory then, and this says why.
    pub(crate) ledger: std::result::Result<Ledger, String>,
    pub(crate) services: Services,
}

impl Shared {
    /// Stores a definition and tells so; says whether it replaced one.
    pub(crate) async fn store(self: Arc<Self>, config: DomainConfig) -> Result<bool> {
        self.put(config, None).await.map(|stored| stored.unwrap_or(false))
    }

    /// Stores a definition in place of this one; says whether that is still what was stored.
    pub(crate) async fn replace(self: Arc<Self>, before: Arc<DomainConfig>, config: DomainConfig) -> Result<bool> {
        Ok(self.put(config, Some(before)).await?.is_some())
    }

    /// `None`: something else is stored than was before.
    async fn put(self: Arc<Self>, config: DomainConfig, before: Option<Arc<DomainConfig>>) -> Result<Option<bool>> {
        blocking(move || {
            let guest = GuestRef::of(&config, None);
            let mut changed = false;
            let is_before = |before: &Arc<DomainConfig>| {
                Ok::<_, Error>(self.definitions.get(&guest.name)?.is_some_and(|it| it.config == *before))
            };
            let may = || match self.records.get(&guest.name)? {
                _ if !before.as_ref().map_or(Ok(true), is_before)? => {
                    changed = true;
                    Err(Error::new(ErrorKind::Busy, "the definition was changed by another meanwhile"))
                }
                Some(record)
                    if record.guest.uuid != guest.uuid && (self.is_alive(&record) || self.is_starting(&record)?) =>
                {
                    let message = format!("a guest '{}' with UUID {} is running", guest.name, record.guest.uuid);
                    Err(Error::new(ErrorKind::AlreadyExists, message).hint(format!(
                        "take another name, or write <uuid>{}</uuid> to make that guest persistent",
                        record.guest.uuid
                    )))
                }
                _ => Ok(()),
            };
            let defined = |updated| self.history.tell(guest.clone(), EventKind::Defined { updated });
            match self.definitions.put(&config, may, defined) {
                Err(_) if changed => Ok(None),
                done => done.map(Some),
            }
        })
        .await
    }

    /// The driver's starting half.
    pub(crate) fn launcher(&self) -> &dyn Launcher {
        match self.driver.custody() {
            Custody::Ours(launcher) => launcher,
            _ => unreachable!("open refuses drivers of another custody"),
        }
    }

    /// Whether the guest of this record is there.
    pub(crate) fn is_alive(&self, record: &StatusRecord) -> bool {
        record.boot_id == self.boot_id
            && record.driver.as_ref().and_then(|d| self.launcher().owner(d)).is_some_and(|owner| owner.is_alive())
    }

    /// Looks after the job of a guest that runs no more: what it had not finished is removed. Says whether the guest is in a file.
    pub(crate) async fn end_job(&self, record: &StatusRecord) -> bool {
        self.end_block_jobs(record).await;
        let Some(job) = record.job.clone() else { return false };
        let looked = job.clone();
        let kept = blocking(move || Ok(looked.is_kept())).await.unwrap_or(false);
        if !kept {
            job.remove_partial().await;
        }
        let saved = job.kind == JobKind::Save && kept;
        let done = if kept { Ok(()) } else { Err(job::lost(&job)) };
        job::report_lost(self, &record.guest, &job, done).await;
        saved
    }

    /// Whether nobody does what the record of a running guest says that is being done to it.
    pub(crate) fn is_job_orphaned(&self, record: &StatusRecord) -> Result<bool> {
        let path = self.records.owner_file(&record.guest.name)?;
        let held = || OwnerLock::holder(&path).map_err(|e| lock_error(&path, e));
        Ok((record.job.is_some() || record.has_block_jobs()) && held()?.is_none())
    }

    /// Whether somebody starts the guest of this record at this moment: it has no process of its own yet.
    fn is_starting(&self, record: &StatusRecord) -> Result<bool> {
        let path = self.records.owner_file(&record.guest.name)?;
        let held = || OwnerLock::holder(&path).map_err(|e| lock_error(&path, e));
        Ok(record.phase == Phase::Starting && record.boot_id == self.boot_id && held()?.is_some())
    }

    /// Removes what is left of a guest: processes, files, promises, and last the record. The caller owns the guest.
    pub(crate) async fn clean_up(
        &self,
        guest: &GuestRef,
        driver: Option<&DriverRecord>,
        lease: Option<LeaseId>,
    ) -> Result<()> {
        let cx = ReapContext::new(guest.clone(), self.roots.clone(), Deadline::after(REAP_TIME));
        let reaped = self.launcher().reap(&cx, driver).await?;
        if !reaped.removed.is_empty() {
            tracing::info!(guest = %guest.name, removed = ?reaped.removed, "cleaned up");
        }
        self.release(lease).await;
        if let (Some(labels), Ok(owner)) = (self.services.labels(), self.owner_ref(guest))
            && let Err(error) = labels.restore(&owner).await
        {
            // Found again, without a record, by whoever looks next.
            tracing::warn!(guest = %guest.name, %error, "a file that was lent to a guest is not given back yet");
        }
        let (records, name) = (self.records.clone(), guest.name.clone());
        blocking(move || records.remove(&name)).await
    }

    /// What the second definition of a running guest touches and the first does not.
    ///
    /// # Errors
    /// Those of [`Launcher::manifest`].
    pub(crate) fn brought(&self, (before, after): (&LiveConfig, &LiveConfig), plan: Option<&Plan>) -> Result<Manifest> {
        let old = self.launcher().manifest(before, plan)?.resources;
        let mut new = self.launcher().manifest(after, plan)?;
        new.resources.retain(|it| !old.iter().any(|other| (&other.path, other.access) == (&it.path, it.access)));
        Ok(new)
    }

    /// Gives back what the first definition touches and the second does not.
    pub(crate) async fn give_back(&self, (before, after): (&LiveConfig, &LiveConfig), plan: Option<&Plan>) {
        let Some(labels) = self.services.labels() else { return };
        let given = async {
            // A file that is used in another way now is still used.
            let still = self.launcher().manifest(after, plan)?.resources;
            let mut gone = self.brought((after, before), plan)?;
            gone.resources.retain(|it| !still.iter().any(|other| other.path == it.path));
            labels.release(&self.owner_ref(&before.guest())?, &gone).await
        };
        if let Err(error) = given.await {
            // It comes back when the guest ends.
            tracing::warn!(guest = %before.config.name, %error, "a file of a device that is gone is not given back yet");
        }
    }

    /// As whom services know a run of a guest.
    pub(crate) fn owner_ref(&self, guest: &GuestRef) -> Result<OwnerRef> {
        Ok(OwnerRef::new(guest.clone(), self.records.file(&guest.name)?))
    }

    /// Gives a promise back. What fails here is found dead by the ledger itself, later.
    pub(crate) async fn release(&self, lease: Option<LeaseId>) {
        let (Some(lease), Ok(ledger)) = (lease, &self.ledger) else { return };
        let ledger = ledger.clone();
        let released = tokio::task::spawn_blocking(move || ledger.release(&lease)).await;
        if let Ok(Err(error)) = released {
            tracing::warn!(%error, "a promise of memory could not be given back; it ends with the process that it was made for");
        }
    }

    /// Looks after one record that nobody owns: a start that never finished, a guest that ended unseen, a record of an earlier boot.
    /// The caller owns the guest. Says whether the guest still runs.
    pub(crate) async fn settle(&self, record: &StatusRecord) -> Result<bool> {
        if record.phase == Phase::Running && self.is_alive(record) {
            return Ok(true);
        }
        let saved = self.end_job(record).await;
        let lease = record.plan.as_ref().and_then(|p| p.lease.clone());
        // A record of an earlier boot names processes that are others today: its driver part must not be acted on.
        let driver = record.driver.as_ref().filter(|_| record.boot_id == self.boot_id);
        self.clean_up(&record.guest, driver, lease).await?;
        let reason = match record.phase {
            Phase::Starting => {
                StopReason::Failed(format!("the process that started it ended at stage {}", record.stage))
            }
            Phase::Running if saved => StopReason::Saved,
            Phase::Running => StopReason::Unknown,
        };
        self.history.tell(record.guest.clone(), EventKind::Stopped { reason });
        Ok(false)
    }
}
