//! Writing a guest's memory into a file, for debuggers. Its steps are those of a save, but for the end: the guest goes on.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use polyvirt_core::{
    Destroy, DumpFormat, Error, ErrorKind, GuestState, JobKind, JobStep, Result, SleepTarget, StateReason, StopReason,
};

use crate::{
    actor::{Change, Held, Left},
    guest::Guest,
    job::Job,
    saved,
    shared::Shared,
    store::{JobRecord, PartialFile, blocking, partial_of, target},
};

/// What becomes of a guest when its core is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AfterDump {
    /// It goes on.
    #[default]
    GoOn,
    /// It is ended, as crashed.
    End,
    /// Its reset button is pressed.
    Reset,
}

/// How a core is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DumpOptions {
    /// Its form.
    pub format: DumpFormat,
    /// What becomes of the guest then.
    pub after: AfterDump,
    /// The host shall not keep the file in memory.
    pub bypass_cache: bool,
}

impl DumpOptions {
    /// An ELF core of a guest that goes on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`DumpOptions::format`].
    #[must_use]
    pub fn format(mut self, format: DumpFormat) -> Self {
        self.format = format;
        self
    }

    /// Sets [`DumpOptions::after`].
    #[must_use]
    pub fn after(mut self, after: AfterDump) -> Self {
        self.after = after;
        self
    }

    /// Sets [`DumpOptions::bypass_cache`].
    #[must_use]
    pub fn bypass_cache(mut self, bypass: bool) -> Self {
        self.bypass_cache = bypass;
        self
    }
}

impl Guest {
    /// Writes its memory and registers into a file. Its CPUs may stand meanwhile.
    ///
    /// A file that is there is replaced when the new one is whole.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `Unsupported`, also for a form that the hypervisor does not have; `Storage`; `Cancelled`. No file is
    /// left then, and the guest goes on.
    pub async fn core_dump(&self, file: &Path, options: DumpOptions) -> Result<()> {
        let file = file.to_owned();
        let target = blocking(move || target(&file)).await?;
        let shared = self.connection.shared.clone();
        let work = move |held| Dump { shared, held, target, options }.run();
        self.change(Change::new("dump", work).job()).await
    }

    /// Wakes it from sleep (ACPI S3); returns when it was asked.
    ///
    /// # Errors
    /// `InvalidState` when it does not sleep; `Busy`; `Unsupported`.
    pub async fn wake(&self) -> Result<()> {
        let work = |it: Held| async move {
            it.domain.power_management().ok_or_else(|| it.missing("waking"))?.wake().await?;
            Ok(Left::state(GuestState::Running, StateReason::Wakeup))
        };
        self.change(Change::new("dompmwakeup", work)).await
    }

    /// Has its own system send it to sleep; returns when it was told.
    ///
    /// # Errors
    /// `InvalidState` when it does not run, or no agent is connected; `Unsupported` without a channel for one; `Hypervisor` when the guest
    /// refuses; `Timeout`.
    pub async fn sleep(&self, to: SleepTarget) -> Result<()> {
        let driver = self.connection.driver().descriptor().name;
        // The guest may keep silent, and no change shall wait for that.
        let domain = self.domain().await?;
        domain.power_management().ok_or_else(|| Error::unsupported(driver, "sleep"))?.suspend(to).await
    }
}

struct Dump {
    shared: Arc<Shared>,
    held: Held,
    target: PathBuf,
    options: DumpOptions,
}

impl Dump {
    async fn run(self) -> Result<Left> {
        if self.held.domain.core_dump().is_none() {
            return Err(self.held.missing("dump"));
        }
        let mut record = JobRecord::new(JobKind::Dump, JobStep::Begun, false);
        let id = record.id;
        record.partial = Some(partial_of(&self.target, id));
        record.file = Some(self.target.clone());
        let (guest, lane, cancel) = (self.held.record.guest.clone(), self.held.lane.clone(), self.held.cancel.clone());
        let job = Job::begin(self.shared.clone(), guest, lane, cancel, record).await?;
        let written = self.write(&job, id).await;
        // The hypervisor may have stopped the CPUs, and let them run again.
        let state =
            self.held.domain.state().await.ok().map(|it| (it, self.held.record.reason.unwrap_or(StateReason::Unknown)));
        if let Err(forgotten) = job.forget(state).await {
            tracing::warn!(error = %forgotten, "the record of a guest still says that its memory is being written");
        }
        match written {
            Ok(()) => {
                job.tell_done().await;
                self.afterwards().await
            }
            Err(error) => {
                let error = error.operation("dump").with("guest", "as before");
                job.tell_end(&error).await;
                Err(error)
            }
        }
    }

    async fn write(&self, job: &Arc<Job>, id: uuid::Uuid) -> Result<()> {
        let target = self.target.clone();
        let partial = blocking(move || PartialFile::create(&target, id)).await?;
        job.at(JobStep::Opened).await?;
        let context = job.context();
        let lacks = || Error::new(ErrorKind::Internal, "a capability of a guest went away");
        let dumping = self.held.domain.core_dump().ok_or_else(lacks)?;
        dumping.dump(&context, partial.file(), self.options.format).await?;
        let file = partial.file().clone();
        blocking(move || file.sync_all().map_err(|e| polyvirt_core::io_error("write", Path::new("the core"), e)))
            .await?;
        if self.options.bypass_cache {
            saved::forget_cache(partial.file().clone()).await;
        }
        job.at(JobStep::Written).await?;
        context.cancel.check()?;
        blocking(move || partial.keep()).await?;
        job.at(JobStep::Kept).await
    }

    async fn afterwards(&self) -> Result<Left> {
        let written = |e: Error| e.with("core", self.target.display());
        match self.options.after {
            AfterDump::GoOn => Ok(Left::nothing()),
            AfterDump::Reset => {
                let reset = self.held.domain.reset().ok_or_else(|| self.held.missing("reset"))?;
                reset.reset().await.map_err(written)?;
                Ok(Left::nothing())
            }
            AfterDump::End => {
                self.held.domain.destroy(Destroy::within(std::time::Duration::ZERO)).await.map_err(written)?;
                Ok(Left::ended(StopReason::Crashed("ended on request, when its core was written".into())))
            }
        }
    }
}
