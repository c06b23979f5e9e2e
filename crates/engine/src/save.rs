//! Saving a guest into a file: step by step, each with what undoes it.
//!
//! ```text
//! begun* → opened* → paused* → streaming* → written* → kept* → ended
//!    └───────┴─────────┴──────────┴───────────┘           └──> the guest is in the file: only its end is left to do
//!     the file goes, the guest runs on as before
//! ```
//!
//! At a star the record is written before the save goes on; [`JobStep`] has the words. Whoever finds a guest whose saver is gone does what
//! the step says.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use polyvirt_core::{
    Destroy, Error, ErrorKind, GuestState, JobKind, JobStep, Result, StateReason, StopReason,
    model::{DomainConfig, FormatOptions},
};

use crate::{
    actor::{Change, Held, Left},
    guest::Guest,
    images::{check_abi, stored_form},
    job::Job,
    saved::{self, Head, Partial},
    shared::Shared,
    store::{JobRecord, blocking, make_directory, now, partial_of, target},
};

/// What a restored guest's CPUs do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunState {
    /// They run.
    Running,
    /// They stay stopped.
    Paused,
}

/// How a guest is saved.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SaveOptions {
    /// The host shall not keep the file in memory.
    pub bypass_cache: bool,
    /// The definition for the time after: the guest must not see a difference.
    pub xml: Option<String>,
    /// What its CPUs shall do when it is restored; none: what they do now.
    pub state: Option<RunState>,
}

impl SaveOptions {
    /// Nothing special.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`SaveOptions::bypass_cache`].
    #[must_use]
    pub fn bypass_cache(mut self, bypass: bool) -> Self {
        self.bypass_cache = bypass;
        self
    }

    /// Sets [`SaveOptions::xml`].
    #[must_use]
    pub fn xml(mut self, xml: Option<String>) -> Self {
        self.xml = xml;
        self
    }

    /// Sets [`SaveOptions::state`].
    #[must_use]
    pub fn state(mut self, state: Option<RunState>) -> Self {
        self.state = state;
        self
    }
}

impl Guest {
    /// Writes it into a file and ends it. It can be continued from there with [`Connection::restore`](crate::Connection::restore).
    ///
    /// A file that is there is replaced when the new one is whole.
    ///
    /// # Errors
    /// `InvalidState` when it neither runs nor is paused; `InvalidConfig` for a definition that is another machine; `Unsupported`, `Hypervisor`
    /// for a guest that cannot be saved; `Storage`; `Cancelled`. The guest runs on as before then, and no file is left.
    pub async fn save(&self, file: &Path, options: SaveOptions) -> Result<()> {
        let file = file.to_owned();
        let target = blocking(move || target(&file)).await?;
        self.save_into(target, options, "save").await
    }

    /// Writes it into a file of its own and ends it: the next start continues it from there.
    ///
    /// # Errors
    /// As [`Guest::save`]; `InvalidState` for a transient guest.
    pub async fn managed_save(&self, options: SaveOptions) -> Result<()> {
        if self.files().await?.0.is_none() {
            let message = format!("the guest '{}' is transient: no start would find what is saved", self.name());
            return Err(Error::new(ErrorKind::InvalidState, message).hint("save it into a file of your own, with save"));
        }
        let target = self.managed_path()?;
        let directory = target.parent().map(Path::to_owned).unwrap_or_default();
        blocking(move || make_directory(&directory)).await?;
        self.save_into(target, options, "managedsave").await
    }

    pub(crate) fn managed_path(&self) -> Result<PathBuf> {
        saved::managed_path(&self.connection.shared.roots, self.name())
    }

    async fn save_into(&self, target: PathBuf, options: SaveOptions, name: &'static str) -> Result<()> {
        let after = match &options.xml {
            Some(xml) => Some(self.connection.prepare(xml).await?.config),
            None => None,
        };
        let shared = self.connection.shared.clone();
        let work = move |held| Save { shared, held, target, options, after }.run();
        self.change(Change::new(name, work).job()).await
    }
}

/// A save about to happen.
struct Save {
    shared: Arc<Shared>,
    held: Held,
    target: PathBuf,
    options: SaveOptions,
    after: Option<DomainConfig>,
}

impl Save {
    async fn run(self) -> Result<Left> {
        let runs = self.runs()?;
        let mut record = JobRecord::new(JobKind::Save, JobStep::Begun, runs);
        let head = self.head(&record, runs)?;
        record.partial = Some(partial_of(&self.target, record.id));
        record.file = Some(self.target.clone());
        let guest = self.held.record.guest.clone();
        let job =
            Job::begin(self.shared.clone(), guest, self.held.lane.clone(), self.held.cancel.clone(), record).await?;
        match self.write_file(&job, head, runs).await {
            Ok(()) => {
                // From here on the guest is in the file, and there is no way back.
                let ended = self.held.domain.destroy(Destroy::default()).await;
                ended.map_err(|e| e.with("saved", self.target.display()))?;
                job.at(JobStep::Ended).await.ok();
                job.tell_done().await;
                Ok(Left::ended(StopReason::Saved))
            }
            Err(error) => Err(self.undo(&job, error.operation("save"), runs).await),
        }
    }

    /// Whether its CPUs run.
    fn runs(&self) -> Result<bool> {
        if self.held.domain.save().is_none() || self.held.domain.pause().is_none() {
            return Err(self.held.missing("save"));
        }
        self.held.record.no_block_job(None)?;
        match &self.held.record.state {
            GuestState::Running => Ok(true),
            GuestState::Paused => Ok(false),
            other => {
                let message = format!("the guest is {}: only one that runs or is paused can be saved", other.name());
                Err(Error::new(ErrorKind::InvalidState, message))
            }
        }
    }

    fn head(&self, record: &JobRecord, runs: bool) -> Result<Head> {
        let live = stored_form(self.held.record.live()?.config);
        let config = match self.after.clone() {
            Some(after) => {
                check_abi(&live, &after)?;
                after
            }
            None => live,
        };
        Ok(Head {
            id: record.id,
            driver: self.held.driver.to_owned(),
            guest: polyvirt_core::GuestRef::of(&config, None),
            saved: now(),
            by: env!("CARGO_PKG_VERSION").to_owned(),
            running: self.options.state.map_or(runs, |it| it == RunState::Running),
            stream: None,
            xml: config.to_xml_with(FormatOptions::new().secure()),
        })
    }

    /// All up to the file's name.
    async fn write_file(&self, job: &Arc<Job>, head: Head, runs: bool) -> Result<()> {
        let missing = || self.held.missing("save");
        let cancel = &job.context().cancel;
        let target = self.target.clone();
        let mut partial = blocking(move || Partial::create(&target, head)).await?;
        job.at(JobStep::Opened).await?;
        cancel.check()?;
        if runs {
            self.held.domain.pause().ok_or_else(missing)?.suspend().await?;
        }
        job.at(JobStep::Paused).await?;
        cancel.check()?;
        let stream = partial.stream()?;
        self.held.domain.save().ok_or_else(missing)?.save(&job.context(), &stream).await?;
        let file = stream.file().clone();
        drop(stream);
        let partial = blocking(move || partial.complete().map(|()| partial)).await?;
        if self.options.bypass_cache {
            saved::forget_cache(file).await;
        }
        job.at(JobStep::Written).await?;
        // The last moment: then the file is the guest.
        cancel.check()?;
        blocking(move || partial.keep()).await?;
        job.at(JobStep::Kept).await
    }

    /// The guest goes on as before; the file went with what wrote it.
    async fn undo(&self, job: &Arc<Job>, error: Error, runs: bool) -> Error {
        let resumed = match self.held.domain.pause().filter(|_| runs) {
            Some(pause) => pause.resume().await.map(|()| (GuestState::Running, StateReason::SaveCanceled)),
            None => Ok((self.held.record.state.clone(), self.held.record.reason.unwrap_or(StateReason::Unknown))),
        };
        let state = match resumed {
            Ok(state) => state,
            Err(left) => {
                // The record keeps the job: whoever works on the guest next tries again.
                let error = error.with("guest", format!("not resumed: {left}"));
                job.tell_end(&error).await;
                return error.hint(format!("the next change of '{}' resumes it first", self.held.record.guest.name));
            }
        };
        let error = error.with("guest", format!("{}, as before", state.0.name()));
        if let Err(forgotten) = job.forget(Some(state)).await {
            tracing::warn!(error = %forgotten, "the record of a guest still says that it is being saved");
        }
        job.tell_end(&error).await;
        error
    }
}
