//! Snapshots, as the actor has to do with them: work on a guest that does not run, starts from a snapshot, and what a process left that
//! is gone.

use std::sync::Arc;

use polyvirt_core::{
    Abandoned, CancelSource, Destroy, Error, ErrorKind, GuestRef, GuestState, JobKind, JobStep, Result, SnapshotRef,
    StartHow, StateReason, model::DomainConfig,
};

use super::{Actor, AtRest, already_running};
use crate::{
    job::{Report, outcome_of},
    snapshots,
    start::Wanted,
    store::{JobRecord, Pending, blocking},
};

impl Actor {
    /// Does something to a guest that does not run, and that nobody starts meanwhile.
    pub(super) async fn at_rest(&mut self, name: &'static str, work: AtRest) -> Result<()> {
        self.own(name).await?;
        if self.attached.is_some() {
            return Err(already_running(&self.name));
        }
        if let Some(record) = self.record().await?
            && self.shared.settle(&record).await?
        {
            return Err(already_running(&self.name));
        }
        self.settle_at_rest().await?;
        let source = Arc::new(CancelSource::default());
        self.job(&source, work(source.clone())).await
    }

    /// What was begun with a guest's images while it did not run, or until it ended, comes to its end before anything else.
    pub(super) async fn settle_at_rest(&mut self) -> Result<()> {
        let (shared, name) = (self.shared.clone(), self.name.clone());
        if blocking(move || shared.snapshots.pending(&name)).await?.is_none() {
            return Ok(());
        }
        let settling = snapshots::settle_at_rest(self.shared.clone(), self.name.clone());
        self.job(&CancelSource::default(), settling).await
    }

    /// Starts it from a snapshot with memory.
    pub(super) async fn start_from_snapshot(
        &mut self,
        config: Box<DomainConfig>,
        snapshot: SnapshotRef,
        running: bool,
    ) -> Result<()> {
        let mut job = JobRecord::new(JobKind::SnapshotRevert, JobStep::Loaded, running);
        job.snapshot = Some(snapshot.tag.clone());
        let source = Arc::new(CancelSource::default());
        let guest = GuestRef::of(&config, None);
        let report = Report::begin(self.shared.clone(), guest, &job, source.clone(), None)?;
        let pending = Pending::Revert { name: snapshot.tag.clone() };
        let (shared, name) = (self.shared.clone(), self.name.clone());
        blocking(move || shared.snapshots.begin(&name, &pending)).await?;
        let wanted = Wanted { config: Arc::from(config), how: StartHow::Revert(snapshot), job: Some(job.clone()) };
        let done = match self.start(wanted, &source).await {
            Ok(()) => self.finish_revert(&job, Some(&report)).await,
            Err(error) => Err(self.unstarted(error).await),
        };
        report.end(outcome_of(&done)).await;
        done
    }

    /// A start from a snapshot failed: disks that may be half way back are brought back whole, others stay as they were.
    async fn unstarted(&mut self, error: Error) -> Error {
        let loading = error.fact("stage").is_some_and(|stage| stage == polyvirt_core::Stage::Run.name());
        let error = error.operation("snapshot-revert");
        let (shared, name) = (self.shared.clone(), self.name.clone());
        let untouched = error.kind() == ErrorKind::NotFound || !loading;
        let settled = if untouched {
            blocking(move || shared.snapshots.finish(&name)).await
        } else {
            self.settle_at_rest().await
        };
        match settled {
            Ok(()) if untouched => error.with("disks", "as they were"),
            Ok(()) => error.with("disks", "as of the snapshot, its memory is not loaded"),
            Err(left) => error.with("not undone", left),
        }
    }

    /// What is left to do when a guest has come back to a snapshot: the store says so, then it may run.
    async fn finish_revert(&mut self, job: &JobRecord, report: Option<&Report>) -> Result<()> {
        let told = |step| report.map_or(Ok(()), |report| report.reached(step));
        told(JobStep::Loaded)?;
        if let Some(name) = job.snapshot.clone() {
            snapshots::note_revert(self.shared.clone(), self.name.clone(), name).await?;
        }
        let noted = JobRecord { step: JobStep::Noted, ..job.clone() };
        self.keep_step(Some(noted), None).await?;
        told(JobStep::Noted)?;
        let state = if job.resume {
            self.continue_guest().await?;
            GuestState::Running
        } else {
            GuestState::Paused
        };
        self.keep_step(None, Some((state, StateReason::FromSnapshot))).await?;
        told(JobStep::Resumed)
    }

    /// A process did something with a running guest's snapshots and is gone: it is finished or undone. Says whether it is finished.
    pub(super) async fn settle_snapshot(&mut self, job: &JobRecord) -> Result<bool> {
        let domain = self.attached_domain()?;
        let asked = domain.clone();
        let driver = self.shared.driver.descriptor().name;
        let became = self
            .job(&CancelSource::default(), async move {
                asked.snapshots().ok_or_else(|| Error::unsupported(driver, "snapshots"))?.abandon().await
            })
            .await?;
        if job.kind == JobKind::SnapshotRevert {
            match became {
                Abandoned::Failed(why) => {
                    tracing::warn!(guest = %self.name, why, "a guest that could not be brought back to its snapshot is ended");
                    let ending = async move { domain.destroy(Destroy::default()).await };
                    self.job(&CancelSource::default(), ending).await?;
                    return Ok(false);
                }
                Abandoned::Done => return self.finish_revert(job, None).await.map(|()| true),
                _ if job.step >= JobStep::Loaded => return self.finish_revert(job, None).await.map(|()| true),
                _ => {
                    let (shared, name) = (self.shared.clone(), self.name.clone());
                    blocking(move || shared.snapshots.finish(&name)).await?;
                }
            }
        }
        let settling = snapshots::settle_live(self.shared.clone(), self.name.clone(), domain.clone());
        let done = self.job(&CancelSource::default(), settling).await?;
        if job.ran {
            self.continue_guest().await?;
        }
        let state = self.job(&CancelSource::default(), async move { domain.state().await }).await?;
        self.keep_step(None, Some((state, StateReason::Unknown))).await?;
        Ok(done)
    }
}
