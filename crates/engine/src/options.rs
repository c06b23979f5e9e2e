//! How a connection is opened.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use polyvirt_core::{
    GuestRef, JobKind, JobProgress, JobStep, Registry, Result, Roots, Settings, Stage, placement::Advisor,
};

/// Watches starts go through their stages and jobs through their steps: for progress, and for tests that stop one.
pub trait StageObserver: Send + Sync {
    /// The work of `stage` is done.
    ///
    /// # Errors
    /// An error ends the start at this stage; it is undone as any other.
    fn reached(&self, guest: &GuestRef, stage: Stage) -> Result<()>;

    /// A step of a job is reached, and in the guest's record.
    ///
    /// # Errors
    /// An error ends the job at this step, and it is undone where it still can be.
    fn step(&self, guest: &GuestRef, kind: JobKind, step: JobStep) -> Result<()> {
        let _ = (guest, kind, step);
        Ok(())
    }

    /// How far a job is; told several times a second.
    fn progress(&self, guest: &GuestRef, kind: JobKind, progress: &JobProgress) {
        let _ = (guest, kind, progress);
    }
}

/// How long this process stays the owner of a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ownership {
    /// While the guest runs and the connection lives: events arrive and lifecycle actions are carried out.
    #[default]
    WhileRunning,
    /// While an operation runs. Between operations other processes may change the guest. For programs that live shortly.
    WhileBusy,
}

/// How a connection is opened. [`OpenOptions::new`] takes the drivers; all else has a default.
#[derive(Clone)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The drivers to choose from.
    pub registry: Registry,
    /// The section of the settings file for the driver.
    pub settings: Settings,
    /// Where state is kept, instead of where the URI says.
    pub roots: Option<Roots>,
    /// How long this process stays the owner of a guest.
    pub ownership: Ownership,
    /// How long to wait for another owner before `Busy`.
    pub wait_for_owner: Duration,
    /// How long a start may take.
    pub start_timeout: Duration,
    /// The directory that stands for `/` when the host is looked at.
    pub host_root: PathBuf,
    /// Who decides for `placement='auto'`.
    pub advisor: Advisor,
    /// Watches starts and jobs.
    pub observer: Option<Arc<dyn StageObserver>>,
}

impl OpenOptions {
    /// With these drivers.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            settings: Settings::default(),
            roots: None,
            ownership: Ownership::default(),
            wait_for_owner: Duration::from_secs(5),
            start_timeout: Duration::from_secs(60),
            host_root: PathBuf::from("/"),
            advisor: Advisor::default(),
            observer: None,
        }
    }

    /// Sets [`OpenOptions::ownership`].
    #[must_use]
    pub fn ownership(mut self, ownership: Ownership) -> Self {
        self.ownership = ownership;
        self
    }

    /// Sets [`OpenOptions::settings`].
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets [`OpenOptions::advisor`].
    #[must_use]
    pub fn advisor(mut self, advisor: Advisor) -> Self {
        self.advisor = advisor;
        self
    }

    /// Sets [`OpenOptions::observer`].
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn StageObserver>) -> Self {
        self.observer = Some(observer);
        self
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions").field("ownership", &self.ownership).finish_non_exhaustive()
    }
}
