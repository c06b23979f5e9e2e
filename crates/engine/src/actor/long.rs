//! Jobs, as the actor has to do with them: their steps in the record, those that a process left which is gone, and the last steps of a
//! restore.

use std::sync::Arc;

use polyvirt_core::{
    CancelSource, Deadline, Destroy, Domain, Error, ErrorKind, GuestState, JobKind, JobStep, Result, StartHow,
    StateReason, StopReason,
};
use polyvirt_lease::{Durability, remove_durable};

use super::{Actor, CALL_TIME, Held, Origin, not_running, write};
use crate::{
    job::{RecordEdit, Report, StepWrite, lost, outcome_of, report_lost},
    saved::{self, Image},
    start::Wanted,
    store::{JobRecord, StatusRecord, blocking},
};

impl Actor {
    /// Writes a step of a job into the record.
    pub(super) async fn on_step(&mut self, step: StepWrite) {
        // A job that was aborted does not wait any more.
        match step {
            StepWrite::Job { job, state, done } => drop(done.send(self.keep_step(job, state).await)),
            StepWrite::Edit { edit, done } => drop(done.send(Box::pin(self.keep_edit(edit)).await)),
        }
    }

    async fn keep_edit(&mut self, edit: RecordEdit) -> Result<StatusRecord> {
        let Some(attached) = &mut self.attached else { return Err(not_running(&self.name)) };
        let mut record = attached.record.clone();
        edit(&mut record)?;
        write(&self.shared, &record).await?;
        attached.record = record.clone();
        Ok(record)
    }

    /// Looks after block jobs that are over, or that a process left which is gone.
    pub(super) async fn settle_block_jobs(&mut self) {
        self.block_job_news = false;
        let Some(attached) = self.attached.as_ref().filter(|it| it.record.has_block_jobs()) else { return };
        let source = Arc::new(CancelSource::default());
        let driver = self.shared.driver.descriptor().name;
        let (domain, record) = (attached.domain.clone(), attached.record.clone());
        let held = Held { domain, record, driver, lane: self.lane.clone(), cancel: source.clone() };
        // It holds whole definitions: not on the actor's own stack.
        let work = Box::pin(crate::block_jobs::settle(self.shared.clone(), held));
        let deadline = Deadline::after(CALL_TIME);
        let settled = self.job(&source, async move { deadline.wait("block jobs", work).await? }).await;
        if let Err(error) = settled {
            tracing::warn!(guest = %self.name, %error, "a block job could not be looked after; whoever attends the guest next does");
        }
    }

    pub(super) async fn keep_step(
        &mut self,
        job: Option<JobRecord>,
        state: Option<(GuestState, StateReason)>,
    ) -> Result<()> {
        let Some(attached) = &mut self.attached else { return Err(not_running(&self.name)) };
        attached.record.job = job;
        if let Some((state, reason)) = state {
            self.set_state(state, reason).await?;
        }
        match &self.attached {
            Some(attached) => write(&self.shared, &attached.record).await,
            None => Ok(()),
        }
    }

    /// Starts it from a definition, or continues it from where it was saved.
    pub(super) async fn start_from(&mut self, origin: Origin) -> Result<()> {
        self.own_to_start().await?;
        match origin {
            Origin::Definition { config, options } => {
                let shared = self.shared.clone();
                let name = self.name.clone();
                let image = blocking(move || saved::managed(&shared.roots, &name, options.force_boot)).await?;
                match image {
                    Some(image) => {
                        if Some(&image.head.guest.uuid) != config.uuid.map(|it| it.to_string()).as_ref() {
                            let message = format!("the managed save {} is of another guest", image.path.display());
                            return Err(Error::new(ErrorKind::InvalidState, message).hint(format!(
                                "`polyvirt start {} --force-boot` drops it and boots the guest",
                                self.name
                            )));
                        }
                        let config = Box::new(image.config()?);
                        let running = image.head.running && !options.paused;
                        let spent = Some(image.path.clone());
                        let restored = self.restore(config, image, running, spent, options.bypass_cache).await;
                        restored.map_err(|e| e.with("from", "its managed save"))
                    }
                    None => {
                        let wanted = Wanted { config, how: StartHow::Boot { paused: options.paused }, job: None };
                        self.start(wanted, &CancelSource::default()).await
                    }
                }
            }
            Origin::Snapshot { config, snapshot, running } => self.start_from_snapshot(config, snapshot, running).await,
            Origin::Image { config, image, running, bypass_cache } => {
                self.restore(config, *image, running, None, bypass_cache).await
            }
        }
    }

    /// Continues it from an image; `spent` is removed when the guest is there, before it runs.
    async fn restore(
        &mut self,
        config: Box<polyvirt_core::model::DomainConfig>,
        image: Image,
        running: bool,
        spent: Option<std::path::PathBuf>,
        bypass_cache: bool,
    ) -> Result<()> {
        let driver = self.shared.driver.descriptor();
        if !driver.has(polyvirt_core::CapabilityId::SaveState) {
            return Err(Error::unsupported(driver.name, "restore"));
        }
        let mut job = JobRecord::new(JobKind::Restore, JobStep::Loaded, running);
        job.file = spent;
        let stream = image.stream()?;
        let (length, source) = (stream.length(), Arc::new(CancelSource::default()));
        let guest = image.head.guest.clone();
        let read = image.clone();
        let poll = Box::new(move || polyvirt_core::JobProgress::of(read.read_so_far().min(length), length));
        let report = Report::begin(self.shared.clone(), guest, &job, source.clone(), Some(poll))?;
        let wanted = Wanted { config: Arc::from(config), how: StartHow::Restore(stream), job: Some(job.clone()) };
        let done = match self.start(wanted, &source).await {
            Ok(()) => self.finish_restore(&job, Some(&report)).await,
            Err(error) => {
                Err(error.operation("restore").hint("the saved guest is as it was, and can be restored again"))
            }
        };
        report.end(outcome_of(&done)).await;
        if bypass_cache {
            image.forget_cache().await;
        }
        done
    }

    /// What is left to do when a restored guest is there: it must not come from the same image twice, and then it may run.
    async fn finish_restore(&mut self, job: &JobRecord, report: Option<&Report>) -> Result<()> {
        let told = |step| report.map_or(Ok(()), |report| report.reached(step));
        told(JobStep::Loaded)?;
        if let Some(path) = job.file.clone() {
            blocking(move || {
                remove_durable(&path, Durability::Durable)
                    .map_err(|e| polyvirt_core::io_error("remove the managed save", &path, e))
            })
            .await
            .map_err(|e| e.with("guest", "restored and paused; it runs when its managed save can be removed"))?;
        }
        let spent = JobRecord { step: JobStep::Spent, file: None, ..job.clone() };
        self.keep_step(Some(spent), None).await?;
        told(JobStep::Spent)?;
        let state = if job.resume {
            self.continue_guest().await?;
            (GuestState::Running, StateReason::Restored)
        } else {
            (GuestState::Paused, StateReason::User)
        };
        self.keep_step(None, Some(state)).await?;
        told(JobStep::Resumed)
    }

    pub(super) fn attached_domain(&self) -> Result<Arc<dyn Domain>> {
        self.attached.as_ref().map(|it| it.domain.clone()).ok_or_else(|| not_running(&self.name))
    }

    /// Lets its CPUs run.
    pub(super) async fn continue_guest(&mut self) -> Result<()> {
        let domain = self.attached_domain()?;
        let driver = self.shared.driver.descriptor().name;
        self.job(&CancelSource::default(), async move {
            domain.pause().ok_or_else(|| Error::unsupported(driver, "resume"))?.resume().await
        })
        .await
    }

    /// A process began a job and is gone: what can be finished is finished, the rest is undone. What fails here is tried again when the guest
    /// is attached to again.
    pub(super) async fn settle_job(&mut self) {
        let Some(attached) = &self.attached else { return };
        let Some(job) = attached.record.job.clone() else { return };
        let guest = attached.record.guest.clone();
        let looked = job.clone();
        let kept = blocking(move || Ok(looked.is_kept())).await.unwrap_or(false);
        let (settled, told) = match job.kind {
            JobKind::Restore => (self.finish_restore(&job, None).await, Ok(())),
            JobKind::Save if kept => (self.end_saved().await, Ok(())),
            JobKind::Snapshot | JobKind::SnapshotRevert | JobKind::SnapshotDelete => {
                let settled = self.settle_snapshot(&job).await;
                let told = settled.as_ref().ok().is_some_and(|done| *done);
                (settled.map(drop), if told { Ok(()) } else { Err(lost(&job)) })
            }
            _ => (self.undo_job(&job, kept).await, if kept { Ok(()) } else { Err(lost(&job)) }),
        };
        match settled {
            Ok(()) => report_lost(&self.shared, &guest, &job, told).await,
            Err(error) => {
                tracing::warn!(guest = %self.name, job = %job.kind, step = %job.step, %error, "a job that its process left could not be settled")
            }
        }
    }

    /// Tries again what could not be settled of an earlier job: nothing else is done to the guest before.
    pub(super) async fn settled(&mut self) -> Result<()> {
        let unsettled = |it: &Self| it.attached.as_ref().and_then(|it| it.record.job.clone());
        if unsettled(self).is_none() {
            return Ok(());
        }
        self.settle_job().await;
        match unsettled(self) {
            None => Ok(()),
            Some(job) => {
                let message = format!(
                    "the guest '{}' is half way through a {} that cannot be ended",
                    self.name,
                    job.kind.name().to_lowercase()
                );
                Err(Error::new(ErrorKind::Timeout, message)
                    .hint(format!("try again later, or end it with `polyvirt destroy {}`", self.name)))
            }
        }
    }

    /// The guest is in its file; what still runs of it is ended.
    async fn end_saved(&mut self) -> Result<()> {
        let domain = self.attached_domain()?;
        self.job(&CancelSource::default(), async move { domain.destroy(Destroy::default()).await }).await?;
        self.over(StopReason::Saved).await
    }

    async fn undo_job(&mut self, job: &JobRecord, kept: bool) -> Result<()> {
        let domain = self.attached_domain()?;
        let (kind, resume) = (job.kind, job.resume);
        let state = self
            .job(&CancelSource::default(), async move {
                let lacks = || Error::new(ErrorKind::Internal, "the driver has no such job");
                match kind {
                    JobKind::Save => domain.save().ok_or_else(lacks)?.abandon().await?,
                    JobKind::Dump => domain.core_dump().ok_or_else(lacks)?.abandon().await?,
                    _ => {}
                }
                if resume {
                    domain.pause().ok_or_else(lacks)?.resume().await?;
                }
                domain.state().await
            })
            .await?;
        if !kept {
            job.remove_partial().await;
        }
        let reason = match state {
            GuestState::Running if kind == JobKind::Save => StateReason::SaveCanceled,
            _ => StateReason::Unknown,
        };
        self.keep_step(None, Some((state, reason))).await
    }
}
