//! Jobs: work on a guest that takes time, told about while it goes on, stopped on request from any process.
//!
//! A [`Report`] shows a job to the world: it writes how far the job is, and looks whether somebody asked for its end. A [`Job`] has the steps
//! too, which the actor writes into the guest's record before it goes on.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use polyvirt_core::{
    CancelSource, CancelToken, Error, ErrorKind, GuestRef, GuestState, JobContext, JobKind, JobProgress, JobSink,
    JobStep, Result, StateReason, async_trait, placement::Owner,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    guest::Guest,
    shared::Shared,
    store::{JobOutcome, JobRecord, JobReport, StatusRecord, blocking},
};

/// How often a report is written, if there is something new, and requests are looked for.
const TICK: Duration = Duration::from_millis(200);

/// How far a job is, for those that do not tell by themselves.
pub(crate) type Poll = Box<dyn Fn() -> JobProgress + Send + Sync>;

/// A job as others see it. When dropped without an outcome its process may have died, for all that others know.
pub(crate) struct Report {
    told: Arc<Told>,
    /// Stops the ticking: what it is writing must not come after the last report.
    stop: CancelSource,
    ticking: Mutex<Option<JoinHandle<()>>>,
}

struct Told {
    shared: Arc<Shared>,
    guest: GuestRef,
    begun: Instant,
    report: Mutex<JobReport>,
    poll: Option<Poll>,
}

impl Told {
    fn report(&self) -> MutexGuard<'_, JobReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self, progress: JobProgress) {
        let kind = {
            let mut report = self.report();
            report.progress = progress;
            report.kind
        };
        if let Some(observer) = &self.shared.options.observer {
            observer.progress(&self.guest, kind, &progress);
        }
    }

    async fn write(&self) {
        let report = {
            let mut report = self.report();
            report.elapsed = self.begun.elapsed();
            report.clone()
        };
        let (jobs, name) = (self.shared.jobs.clone(), self.guest.name.clone());
        if let Err(error) = blocking(move || jobs.put(&name, &report)).await {
            tracing::debug!(guest = %self.guest.name, %error, "the report of a job could not be written");
        }
    }

    async fn is_abort_requested(&self) -> bool {
        let (jobs, name, id) = (self.shared.jobs.clone(), self.guest.name.clone(), self.report().id);
        blocking(move || Ok(jobs.abort_requested(&name, id))).await.unwrap_or(false)
    }

    async fn tick(&self, cancel: &CancelSource, stop: &CancelToken) {
        loop {
            self.write().await;
            if self.is_abort_requested().await {
                cancel.cancel();
            }
            if stop.guard(tokio::time::sleep(TICK)).await.is_err() {
                return;
            }
            if let Some(poll) = &self.poll {
                self.progress(poll());
            }
        }
    }
}

impl Report {
    /// Begins to tell about a job that is cancelled through this source.
    ///
    /// # Errors
    /// `Internal` when we do not know who we are.
    pub(crate) fn begin(
        shared: Arc<Shared>,
        guest: GuestRef,
        job: &JobRecord,
        cancel: Arc<CancelSource>,
        poll: Option<Poll>,
    ) -> Result<Self> {
        let owner =
            Owner::this_process().map_err(|e| Error::new(ErrorKind::Internal, "cannot tell who we are").source(e))?;
        let report = JobReport {
            id: job.id,
            kind: job.kind,
            step: None,
            owner,
            since: SystemTime::now(),
            elapsed: Duration::ZERO,
            progress: JobProgress::default(),
            outcome: None,
        };
        let told = Arc::new(Told { shared, guest, begun: Instant::now(), report: Mutex::new(report), poll });
        let ticked = told.clone();
        let stop = CancelSource::default();
        let stopped = stop.token();
        let ticking = tokio::spawn(async move { ticked.tick(&cancel, &stopped).await });
        Ok(Self { told, stop, ticking: Mutex::new(Some(ticking)) })
    }

    /// A step is reached: whoever watches is told, and may end the job here.
    ///
    /// # Errors
    /// Those of the observer.
    pub(crate) fn reached(&self, step: JobStep) -> Result<()> {
        let kind = {
            let mut report = self.told.report();
            report.step = Some(step);
            report.kind
        };
        tracing::debug!(guest = %self.told.guest.name, %kind, %step, "job");
        match &self.told.shared.options.observer {
            Some(observer) => observer.step(&self.told.guest, kind, step),
            None => Ok(()),
        }
    }

    /// Keeps how it ended.
    pub(crate) async fn end(&self, outcome: JobOutcome) {
        self.stop.cancel();
        let ticking = self.ticking.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ticking) = ticking {
            ticking.await.ok();
        }
        {
            let mut report = self.told.report();
            if outcome == JobOutcome::Completed {
                report.progress.remaining = 0;
                report.progress.total = report.progress.total.max(report.progress.processed);
            }
            report.outcome = Some(outcome);
        }
        self.told.write().await;
        self.told.shared.jobs.forget_abort(&self.told.guest.name);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How a job ended with this error.
fn failed(error: &Error) -> JobOutcome {
    match error.kind() {
        ErrorKind::Cancelled => JobOutcome::Cancelled,
        _ => JobOutcome::Failed(error.to_string()),
    }
}

/// How a job ended that gave this.
pub(crate) fn outcome_of(done: &Result<()>) -> JobOutcome {
    done.as_ref().err().map_or(JobOutcome::Completed, failed)
}

/// An edit of a guest's record.
pub(crate) type RecordEdit = Box<dyn FnOnce(&mut StatusRecord) -> Result<()> + Send>;

/// What a job has the actor write.
pub(crate) enum StepWrite {
    /// The step of the guest's job.
    Job { job: Option<JobRecord>, state: Option<(GuestState, StateReason)>, done: oneshot::Sender<Result<()>> },
    /// Anything else; answered with the record as it is then.
    Edit { edit: RecordEdit, done: oneshot::Sender<Result<StatusRecord>> },
}

/// The way to the actor, which has the record.
#[derive(Clone)]
pub(crate) struct Lane(pub(crate) mpsc::Sender<StepWrite>);

impl Lane {
    async fn write(&self, job: Option<JobRecord>, state: Option<(GuestState, StateReason)>) -> Result<()> {
        let gone = || Error::new(ErrorKind::Internal, "the actor of this guest ended while a job was under way");
        let (done, written) = oneshot::channel();
        self.0.send(StepWrite::Job { job, state, done }).await.map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
    }

    /// Changes the record, durably; gives it back.
    ///
    /// # Errors
    /// `Storage`; those of the edit, and nothing is changed.
    pub(crate) async fn edit(
        &self,
        edit: impl FnOnce(&mut StatusRecord) -> Result<()> + Send + 'static,
    ) -> Result<StatusRecord> {
        let gone = || Error::new(ErrorKind::Internal, "the actor of this guest ended while a job was under way");
        let (done, written) = oneshot::channel();
        self.0.send(StepWrite::Edit { edit: Box::new(edit), done }).await.map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
    }
}

/// A job that is under way, with its steps in the guest's record.
pub(crate) struct Job {
    lane: Lane,
    record: Mutex<JobRecord>,
    report: Report,
    cancel: Arc<CancelSource>,
}

impl Job {
    /// Begins: from here on the guest's record has the job.
    ///
    /// # Errors
    /// `Storage`; then nothing began.
    pub(crate) async fn begin(
        shared: Arc<Shared>,
        guest: GuestRef,
        lane: Lane,
        cancel: Arc<CancelSource>,
        record: JobRecord,
    ) -> Result<Arc<Self>> {
        let report = Report::begin(shared, guest, &record, cancel.clone(), None)?;
        let first = record.step;
        let job = Arc::new(Self { lane, record: Mutex::new(record), report, cancel });
        match job.at(first).await {
            Ok(()) => Ok(job),
            Err(error) => {
                job.tell_end(&error).await;
                match job.forget(None).await {
                    Ok(()) => Err(error),
                    Err(kept) => Err(error.with("record", kept)),
                }
            }
        }
    }

    /// What goes with a call to a driver.
    pub(crate) fn context(self: &Arc<Self>) -> JobContext {
        JobContext::new(self.clone(), self.cancel.token())
    }

    /// A step is reached: in the record first, then told.
    ///
    /// # Errors
    /// `Storage`; those of the observer.
    pub(crate) async fn at(&self, step: JobStep) -> Result<()> {
        let record = {
            let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
            record.step = step;
            record.clone()
        };
        self.lane.write(Some(record), None).await?;
        self.report.reached(step)?;
        if self.report.told.is_abort_requested().await {
            self.cancel.cancel();
        }
        Ok(())
    }

    /// The last step, which no record has any more.
    ///
    /// # Errors
    /// Those of the observer.
    pub(crate) fn at_end(&self, step: JobStep) -> Result<()> {
        self.report.reached(step)
    }

    /// The guest's record forgets it, and knows the state that the guest was left in.
    ///
    /// # Errors
    /// `Storage`.
    pub(crate) async fn forget(&self, state: Option<(GuestState, StateReason)>) -> Result<()> {
        self.lane.write(None, state).await
    }

    /// Tells that it did what it was to do.
    pub(crate) async fn tell_done(&self) {
        self.report.end(JobOutcome::Completed).await;
    }

    /// Tells that it failed.
    pub(crate) async fn tell_end(&self, error: &Error) {
        self.report.end(failed(error)).await;
    }
}

#[async_trait]
impl JobSink for Job {
    fn progress(&self, progress: JobProgress) {
        self.report.told.progress(progress);
    }

    async fn reached(&self, step: JobStep) -> Result<()> {
        self.at(step).await
    }
}

/// A job on a guest that does not run: there is no record for its steps, so whatever must survive this process stands elsewhere.
pub(crate) struct RestJob {
    report: Report,
    cancel: Arc<CancelSource>,
}

impl RestJob {
    /// Begins.
    ///
    /// # Errors
    /// Those of the observer; then nothing began.
    pub(crate) async fn begin(
        shared: Arc<Shared>,
        guest: GuestRef,
        kind: JobKind,
        cancel: Arc<CancelSource>,
    ) -> Result<Arc<Self>> {
        let record = JobRecord::new(kind, JobStep::Begun, false);
        let report = Report::begin(shared, guest, &record, cancel.clone(), None)?;
        let job = Arc::new(Self { report, cancel });
        match job.reached(JobStep::Begun).await {
            Ok(()) => Ok(job),
            Err(error) => {
                job.report.end(failed(&error)).await;
                Err(error)
            }
        }
    }

    /// What goes with a call to a driver.
    pub(crate) fn context(self: &Arc<Self>) -> JobContext {
        JobContext::new(self.clone(), self.cancel.token())
    }

    /// Tells how it ended.
    pub(crate) async fn end(&self, done: &Result<()>) {
        self.report.end(outcome_of(done)).await;
    }
}

#[async_trait]
impl JobSink for RestJob {
    fn progress(&self, progress: JobProgress) {
        self.report.told.progress(progress);
    }

    async fn reached(&self, step: JobStep) -> Result<()> {
        self.report.reached(step)?;
        if self.report.told.is_abort_requested().await {
            self.cancel.cancel();
        }
        Ok(())
    }
}

/// Nobody watches.
pub(crate) struct Unwatched;

#[async_trait]
impl JobSink for Unwatched {
    fn progress(&self, _: JobProgress) {}

    async fn reached(&self, _: JobStep) -> Result<()> {
        Ok(())
    }
}

impl Unwatched {
    /// What goes with a call to a driver.
    pub(crate) fn context() -> JobContext {
        JobContext::new(Arc::new(Self), CancelSource::default().token())
    }
}

/// Keeps how a job of a process ended that is gone.
pub(crate) async fn report_lost(shared: &Shared, guest: &GuestRef, job: &JobRecord, done: Result<()>) {
    let (jobs, name, id) = (shared.jobs.clone(), guest.name.clone(), job.id);
    let kept = blocking(move || {
        jobs.forget_abort(&name);
        match jobs.get(&name)? {
            Some(mut report) if report.id == id && report.outcome.is_none() => {
                report.outcome = Some(outcome_of(&done));
                jobs.put(&name, &report)
            }
            _ => Ok(()),
        }
    });
    if let Err(error) = kept.await {
        tracing::debug!(guest = %guest.name, %error, "the report of a job could not be written");
    }
}

/// What is told of a job that ended with its process.
pub(crate) fn lost(job: &JobRecord) -> Error {
    Error::new(ErrorKind::Internal, format!("the process that did it ended at step {}", job.step))
}

impl Guest {
    /// The job that is under way, of this process or another.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn job(&self) -> Result<Option<JobReport>> {
        Ok(self.last_job().await?.filter(JobReport::is_under_way))
    }

    /// The last job, under way or over, as long as its report is kept: until the next one, at most until the host reboots.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn last_job(&self) -> Result<Option<JobReport>> {
        let (jobs, name) = (self.connection.shared.jobs.clone(), self.name().to_owned());
        blocking(move || jobs.get(&name)).await
    }

    /// Asks for the end of the job that is under way, of this process or another; it is undone as after a failure. Returns when that
    /// is asked for: whoever waits for the job is told `Cancelled`, unless it was too late.
    ///
    /// # Errors
    /// `InvalidState` when none is under way; `Storage`.
    pub async fn abort_job(&self) -> Result<JobKind> {
        let Some(job) = self.job().await? else {
            let message = format!("no job of the guest '{}' is under way", self.name());
            return Err(Error::new(ErrorKind::InvalidState, message));
        };
        let (jobs, name) = (self.connection.shared.jobs.clone(), self.name().to_owned());
        blocking(move || jobs.request_abort(&name, job.id)).await?;
        Ok(job.kind)
    }
}
