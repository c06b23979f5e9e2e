//! The end of a block job, whoever began it: found, turned, cleared.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use polyvirt_core::{
    BlockJobEnd, BlockJobState, BlockJobStatus, BlockJobs, CancelToken, DeviceChange, Error, ErrorKind, EventKind,
    GuestRef, JobKind, JobStep, LiveConfig, Result,
    model::{
        DomainConfig,
        disk::Disk,
        storage::{MirrorReady, SourceKind},
    },
};

use super::{
    BlockJobRecord, MOMENT,
    chain::{self, target},
};
use crate::{
    actor::Held,
    shared::Shared,
    store::{JobOutcome, StatusRecord, blocking},
};

/// How long a job of which the end was asked for may take to end, when nobody waits for it but us.
const ENDING: Duration = Duration::from_secs(10);

/// Tells the observer of a step.
///
/// # Errors
/// Those of the observer.
pub(super) fn tell(shared: &Shared, guest: &GuestRef, entry: &BlockJobRecord) -> Result<()> {
    let kind: JobKind = entry.job.kind.job();
    tracing::debug!(guest = %guest.name, disk = entry.job.disk, %kind, step = %entry.step, "block job");
    match &shared.options.observer {
        Some(observer) => observer.step(guest, kind, entry.step),
        None => Ok(()),
    }
}

/// Waits until the hypervisor is done with a job. `None`: it does not have it.
///
/// # Errors
/// `Cancelled`; those of the driver.
pub(super) async fn wait_over(
    jobs: &dyn BlockJobs,
    job: &polyvirt_core::BlockJob,
    cancel: Option<&CancelToken>,
) -> Result<Option<BlockJobStatus>> {
    loop {
        let status = jobs.status(job).await?;
        if status.as_ref().is_none_or(|it| matches!(it.state, BlockJobState::Over { .. })) {
            return Ok(status);
        }
        match cancel {
            Some(cancel) => cancel.guard(tokio::time::sleep(MOMENT)).await?,
            None => tokio::time::sleep(MOMENT).await,
        }
    }
}

/// Looks after all block jobs of a guest: what is over is turned and cleared, what was left half way is finished or undone.
///
/// # Errors
/// The first; the others are looked after all the same.
pub(crate) async fn settle(shared: Arc<Shared>, held: Held) -> Result<()> {
    let mut failed = Ok(());
    for entry in held.record.block_jobs.clone().into_iter().filter(|it| !it.is_over()) {
        let mut one = One { shared: shared.clone(), held: held.clone(), entry };
        let settled = one.settle().await;
        failed = failed.and(settled);
    }
    failed
}

/// Has the job of a disk end.
///
/// # Errors
/// As [`crate::Guest::end_block_job`].
pub(super) async fn end(shared: Arc<Shared>, held: Held, disk: &str, how: BlockJobEnd, wait: bool) -> Result<()> {
    let entry = super::entry_of(&held, disk)?;
    One { shared, held, entry }.end(how, wait).await
}

/// A job of a disk.
struct One {
    shared: Arc<Shared>,
    held: Held,
    entry: BlockJobRecord,
}

/// The disk of that target.
fn disk_mut<'a>(config: &'a mut DomainConfig, name: &str) -> Option<&'a mut Disk> {
    config.devices.disks.iter_mut().find(|it| target(it) == name)
}

impl One {
    fn jobs(&self) -> Result<&dyn BlockJobs> {
        self.held.domain.block_jobs().ok_or_else(|| self.held.missing("block jobs"))
    }

    async fn settle(&mut self) -> Result<()> {
        if self.entry.step == JobStep::Turned {
            return self.clear().await;
        }
        let status = self.jobs()?.status(&self.entry.job).await?;
        let Some(status) = status else {
            if self.entry.step < JobStep::Streaming {
                // The hypervisor never had it.
                return self.turn(Some("the process that began it ended before the hypervisor had it"), false).await;
            }
            return self.turn(Some("the hypervisor does not have it any more"), false).await;
        };
        if let BlockJobState::Over { error, pivoted } = &status.state {
            return self.turn(error.as_deref(), *pivoted).await;
        }
        if self.entry.step < JobStep::Streaming {
            self.entry.step = JobStep::Streaming;
            self.write().await?;
        }
        if let Some(how) = self.entry.end {
            self.jobs()?.end(&self.entry.job, how).await?;
            let over = wait_over(self.jobs()?, &self.entry.job, None);
            return match tokio::time::timeout(ENDING, over).await {
                Ok(over) => self.over(over?).await,
                // It says so itself when it is.
                Err(_) => Ok(()),
            };
        }
        if status.state == BlockJobState::Ready && !self.entry.ready {
            self.entry.ready = true;
            self.write_mirror(MirrorReady::Yes).await?;
            self.event("ready");
        }
        Ok(())
    }

    async fn end(&mut self, how: BlockJobEnd, wait: bool) -> Result<()> {
        let follows = self.entry.job.kind.follows();
        if how == BlockJobEnd::Pivot && !follows {
            let message = format!("a {} has nothing to pivot to; it ends by itself", self.entry.job.kind.name());
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        let status = self.jobs()?.status(&self.entry.job).await?;
        let ready = status.as_ref().is_some_and(|it| it.state == BlockJobState::Ready);
        let over = status.as_ref().is_none_or(|it| matches!(it.state, BlockJobState::Over { .. }));
        if over {
            return self.settle().await;
        }
        if how == BlockJobEnd::Pivot && !ready {
            let message = format!("the job of disk '{}' is not in step with the guest yet", self.entry.job.disk);
            return Err(
                Error::new(ErrorKind::InvalidState, message).hint("wait until it is; --info shows how far it is")
            );
        }
        if follows {
            (self.entry.end, self.entry.whole, self.entry.step) = (Some(how), ready, JobStep::Asked);
            let word = if how == BlockJobEnd::Pivot { MirrorReady::Pivot } else { MirrorReady::Abort };
            self.write_mirror(word).await?;
            tell(&self.shared, &self.held.record.guest, &self.entry).ok();
        } else {
            self.entry.end = Some(how);
            self.write().await?;
        }
        if let Err(error) = self.jobs()?.end(&self.entry.job, how).await {
            // It goes on as before.
            self.entry.end = None;
            self.entry.step = JobStep::Streaming;
            self.write_mirror(MirrorReady::Yes).await?;
            return Err(error);
        }
        if !wait {
            return Ok(());
        }
        let over = wait_over(self.jobs()?, &self.entry.job, Some(&self.held.cancel.token())).await?;
        self.over(over).await
    }

    /// It is over so.
    async fn over(&mut self, status: Option<BlockJobStatus>) -> Result<()> {
        match status.map(|it| it.state) {
            Some(BlockJobState::Over { error, pivoted }) => self.turn(error.as_deref(), pivoted).await,
            _ => self.turn(Some("the hypervisor does not have it any more"), false).await,
        }
    }

    /// Writes the images that the guest is on now into the record, then clears.
    async fn turn(&mut self, error: Option<&str>, pivoted: bool) -> Result<()> {
        let (job, asked) = (self.entry.job.clone(), self.entry.end);
        let outcome = match (error, asked) {
            _ if pivoted => JobOutcome::Completed,
            (None, Some(BlockJobEnd::Stay)) if job.kind.follows() && !self.entry.whole => JobOutcome::Cancelled,
            (None, _) => JobOutcome::Completed,
            (Some(_), Some(BlockJobEnd::Stay)) => JobOutcome::Cancelled,
            (Some(why), _) => JobOutcome::Failed(why.to_owned()),
        };
        let done = error.is_none();
        let change = move |disk: &Disk| match job.kind {
            polyvirt_core::BlockJobKind::Pull if done => chain::pulled(disk, job.top, job.base),
            polyvirt_core::BlockJobKind::Commit if done => {
                job.base.map_or_else(|| disk.clone(), |base| chain::committed(disk, job.top, base))
            }
            _ if pivoted => chain::pivoted(disk, job.base),
            _ => {
                let mut disk = disk.clone();
                disk.mirror = None;
                disk
            }
        };
        self.entry.step = JobStep::Turned;
        self.entry.outcome = Some(outcome);
        self.write_with(move |disk| *disk = change(disk)).await?;
        tell(&self.shared, &self.held.record.guest, &self.entry).ok();
        self.clear().await
    }

    /// Closes what is not used any more, and has the stored definition follow. Idempotent.
    async fn clear(&mut self) -> Result<()> {
        let now = self.held.record.live()?;
        let was = self.entry.disk()?;
        let mut before = now.clone();
        if let Some(disk) = disk_mut(&mut before.config, &self.entry.job.disk) {
            disk.clone_from(&was);
        }
        let change = DeviceChange::new(before, now, self.held.record.plan.clone());
        self.jobs()?.clear(&change, &self.entry.job).await?;
        follow(&self.shared, &self.entry, &was, &change.after).await?;
        self.shared.give_back((&change.before, &change.after), change.plan.as_ref()).await;
        remove_unused(&self.entry, &was, &change.after).await;
        self.entry.step = JobStep::Cleared;
        self.write().await?;
        tell(&self.shared, &self.held.record.guest, &self.entry).ok();
        let word = match &self.entry.outcome {
            Some(JobOutcome::Completed) | None => "completed",
            Some(JobOutcome::Cancelled) => "canceled",
            Some(JobOutcome::Failed(_)) => "failed",
        };
        self.event(word);
        Ok(())
    }

    fn event(&self, status: &str) {
        let (disk, job) = (self.entry.job.disk.clone(), self.entry.job.kind.job());
        let event = EventKind::BlockJob { disk, job, status: status.to_owned() };
        self.shared.history.tell(self.held.record.guest.clone(), event);
    }

    async fn write(&mut self) -> Result<()> {
        self.write_with(|_| {}).await
    }

    async fn write_mirror(&mut self, word: MirrorReady) -> Result<()> {
        self.write_with(move |disk| {
            if let Some(mirror) = &mut disk.mirror {
                mirror.ready = Some(word);
            }
        })
        .await
    }

    /// Writes how far it is, with an edit of its disk.
    async fn write_with(&mut self, edit: impl FnOnce(&mut Disk) + Send + 'static) -> Result<()> {
        let entry = self.entry.clone();
        let written = self.held.lane.edit(move |record: &mut StatusRecord| {
            let mut live = record.live()?.config;
            if let Some(disk) = disk_mut(&mut live, &entry.job.disk) {
                edit(disk);
                record.set_live(&live);
            }
            record.put_block_job(entry);
            Ok(())
        });
        self.held.record = written.await?;
        Ok(())
    }
}

/// Has the stored definition follow the disk of a guest that runs.
async fn follow(shared: &Shared, entry: &BlockJobRecord, was: &Disk, now: &LiveConfig) -> Result<()> {
    let name = now.config.name.clone();
    let definitions = shared.definitions.clone();
    let Some(stored) = blocking(move || definitions.get(&name)).await? else { return Ok(()) };
    if stored.config.uuid != now.config.uuid {
        return Ok(());
    }
    let mut config = (*stored.config).clone();
    let after = now.config.devices.disks.iter().find(|it| target(it) == entry.job.disk);
    let changed = match (disk_mut(&mut config, &entry.job.disk), after) {
        (Some(disk), Some(after)) => chain::follow(disk, was, after),
        _ => false,
    };
    if changed {
        let (definitions, history) = (shared.definitions.clone(), shared.history.clone());
        let guest = GuestRef::of(&config, None);
        blocking(move || {
            definitions.put(&config, || Ok(()), |updated| history.tell(guest.clone(), EventKind::Defined { updated }))
        })
        .await?;
    }
    Ok(())
}

/// Removes images that were committed, if that was asked for, and what was made for a copy that did not become whole.
async fn remove_unused(entry: &BlockJobRecord, was: &Disk, now: &LiveConfig) {
    let completed = entry.outcome == Some(JobOutcome::Completed);
    if !completed {
        remove_created(entry).await;
    }
    if !entry.delete || !completed {
        return;
    }
    let used: Vec<_> = now.config.devices.disks.iter().flat_map(chain::layers).collect();
    let all = chain::layers(was);
    let committed =
        all.iter().skip_while(|it| it.number != entry.job.top).take_while(|it| Some(it.number) != entry.job.base);
    let unused =
        committed.filter(|it| it.kind == SourceKind::File && !used.iter().any(|other| other.path() == it.path()));
    remove(unused.filter_map(|it| it.path().map(PathBuf::from)).collect()).await;
}

/// Removes the file that was made for a job. Of one that had hardly begun only if nobody wrote into it: it may be another's.
pub(super) async fn remove_created(entry: &BlockJobRecord) {
    let Some(path) = entry.created.clone() else { return };
    let begun = entry.step == JobStep::Begun;
    let is_empty = |path: &Path| std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.len() == 0);
    let looked = path.clone();
    if begun && !blocking(move || Ok(is_empty(&looked))).await.unwrap_or(false) {
        return;
    }
    remove(vec![path]).await;
}

async fn remove(paths: Vec<PathBuf>) {
    let removed = blocking(move || {
        for path in paths {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "an image that nobody uses stays");
                }
                _ => {}
            }
        }
        Ok(())
    });
    removed.await.ok();
}

impl Shared {
    /// Looks after the block jobs of a guest that runs no more: what it was on at its end is what the stored definition has.
    pub(crate) async fn end_block_jobs(&self, record: &StatusRecord) {
        for entry in record.block_jobs.iter().filter(|it| !it.is_over()) {
            let ended = async {
                match entry.step {
                    JobStep::Turned => {
                        let (now, was) = (record.live()?, entry.disk()?);
                        follow(self, entry, &was, &now).await?;
                        remove_unused(entry, &was, &now).await;
                    }
                    step if step < JobStep::Streaming => remove_created(entry).await,
                    // Nobody knows how far it was: what it wrote stays, and the guest is on what it was on.
                    _ => {}
                }
                Ok::<(), Error>(())
            };
            if let Err(error) = ended.await {
                tracing::warn!(guest = %record.guest.name, disk = entry.job.disk, %error, "what a block job left could not be looked after");
            }
        }
    }
}
