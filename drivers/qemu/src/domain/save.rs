//! Writing a guest into a file, and reading it from one: QEMU's migration stream, through a descriptor that we opened.
//!
//! QEMU is handed the file itself, so it needs no rights to its place, and nothing is copied on the way.

use std::{os::fd::OwnedFd, time::Duration};

use polyvirt_core::{Error, ErrorKind, JobContext, JobProgress, JobStep, Result, SaveState, SavedStream, async_trait};
use polyvirt_qmp::{
    CloseFd, GetFd, Migrate, MigrateCancel, MigrateIncoming, MigrateSetCapabilities, MigrationCapability,
    MigrationInfo, MigrationLimits, MigrationStatus, Monitor, QmpError, QueryMigrate, QueryMigrateParameters,
    QueryStatus, RunState,
};

use super::{ANSWER, QemuDomain};
use crate::failure::monitor_error;

/// What QEMU calls the descriptor.
const STREAM: &str = "polyvirt-state";

/// How often it is asked how far it is; its end is an event.
const TICK: Duration = Duration::from_millis(250);

/// How often it is asked whether what takes a moment is over.
const MOMENT: Duration = Duration::from_millis(5);

/// How long a cancelled migration may take to end: what is being written has to be written.
const CANCELLED: Duration = Duration::from_secs(30);

/// Bytes a second that no disk reaches, as QEMU takes them.
const UNLIMITED: u64 = i64::MAX.cast_unsigned();

#[async_trait]
impl SaveState for QemuDomain {
    async fn save(&self, job: &JobContext, into: &SavedStream) -> Result<()> {
        job.cancel.check()?;
        let descriptor = descriptor(into)?;
        tell_events(&self.shared.parts.monitor).await.map_err(|error| monitor_error(&error))?;
        let limits = self.shared.execute(&QueryMigrateParameters {}).await?;
        let fast = MigrationLimits { max_bandwidth: Some(UNLIMITED), ..MigrationLimits::default() };
        self.shared.execute(&fast).await?;
        let saved = self.write(job, descriptor).await;
        let limits = MigrationLimits { max_bandwidth: limits.max_bandwidth, ..MigrationLimits::default() };
        if let Err(error) = self.shared.execute(&limits).await {
            tracing::debug!(%error, "the speed of migrations stays unlimited");
        }
        saved
    }

    async fn abandon(&self) -> Result<()> {
        let info = self.shared.execute(&QueryMigrate {}).await?;
        if info.status.is_some_and(|it| it.is_under_way()) {
            self.shared.execute(&MigrateCancel {}).await?;
            let ended = async {
                while self.shared.execute(&QueryMigrate {}).await?.status.is_some_and(|it| it.is_under_way()) {
                    tokio::time::sleep(MOMENT).await;
                }
                Ok(())
            };
            let late =
                |_| Error::new(ErrorKind::Timeout, format!("QEMU does not end what it writes within {CANCELLED:?}"));
            tokio::time::timeout(CANCELLED, ended).await.map_err(late)??;
        }
        self.settled().await?;
        // One that a migration took is closed already.
        self.shared.execute(&CloseFd { fdname: STREAM }).await.ok();
        Ok(())
    }
}

impl QemuDomain {
    /// Waits until QEMU is done with the end of a migration, which it says is over a moment before.
    async fn settled(&self) -> Result<()> {
        let settled = async {
            while self.shared.execute(&QueryStatus {}).await?.status == RunState::FinishMigrate {
                tokio::time::sleep(MOMENT).await;
            }
            Ok(())
        };
        let late = |_| Error::new(ErrorKind::Timeout, "QEMU wrote the guest and does not say so");
        tokio::time::timeout(ANSWER, settled).await.map_err(late)?
    }

    async fn write(&self, job: &JobContext, descriptor: OwnedFd) -> Result<()> {
        let monitor = &self.shared.parts.monitor;
        let handed = monitor.execute_with(&GetFd { fdname: STREAM }, descriptor, ANSWER).await;
        handed.map_err(|error| monitor_error(&error))?;
        let written = self.send(job).await;
        if written.is_err()
            && let Err(error) = self.abandon().await
        {
            tracing::warn!(guest = self.shared.parts.live.config.name, %error, "QEMU may still write what nobody wants");
        }
        written
    }

    /// Begins, and waits for the end.
    async fn send(&self, job: &JobContext) -> Result<()> {
        let monitor = &self.shared.parts.monitor;
        let mut events = monitor.subscribe().map_err(|error| monitor_error(&error))?;
        self.shared.execute(&Migrate { uri: &format!("fd:{STREAM}") }).await.map_err(unsaved)?;
        job.reached(JobStep::Streaming).await?;
        loop {
            let info = self.shared.execute(&QueryMigrate {}).await?;
            if let Some(progress) = progress(&info) {
                job.progress(progress);
            }
            match info.status {
                Some(MigrationStatus::Completed) => return self.settled().await,
                Some(MigrationStatus::Failed) => {
                    let why = info.error_desc.unwrap_or_else(|| "it does not say why".into());
                    return Err(Error::new(ErrorKind::Hypervisor, format!("QEMU could not write the guest: {why}")));
                }
                Some(MigrationStatus::Cancelled) => {
                    return Err(Error::new(ErrorKind::Cancelled, "somebody cancelled it at QEMU's monitor"));
                }
                _ => {}
            }
            let news = async {
                while let Ok(event) = events.next().await {
                    if event.name == "MIGRATION" {
                        return;
                    }
                }
                std::future::pending().await
            };
            job.cancel.guard(tokio::time::timeout(TICK, news)).await?.ok();
        }
    }
}

/// A guest with a device of which the state cannot be taken is refused before anything is written.
fn unsaved(error: Error) -> Error {
    error.hint("a guest is saved with all of its devices; take out the one that is named")
}

fn descriptor(stream: &SavedStream) -> Result<OwnedFd> {
    let copy = stream.file().try_clone();
    copy.map(OwnedFd::from)
        .map_err(|error| Error::new(ErrorKind::Storage, "cannot hand the file to QEMU").source(error))
}

async fn tell_events(monitor: &Monitor) -> Result<(), QmpError> {
    let events = MigrationCapability { capability: "events", state: true };
    monitor.execute(&MigrateSetCapabilities { capabilities: &[events] }, ANSWER).await.map(drop)
}

fn progress(info: &MigrationInfo) -> Option<JobProgress> {
    let ram = info.ram.as_ref()?;
    let mut progress = JobProgress::of(ram.total.saturating_sub(ram.remaining), ram.total);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a speed, which saturates")]
    let bandwidth = (ram.mbps * 125_000.0) as u64;
    progress.bandwidth = Some(bandwidth).filter(|it| *it > 0);
    progress.iteration = Some(ram.dirty_sync_count);
    progress.constant_pages = Some(ram.duplicate);
    progress.normal_pages = Some(ram.normal);
    progress.page_size = Some(ram.page_size).filter(|it| *it > 0);
    Some(progress)
}

/// Has a QEMU that was started with `-incoming defer` read a guest; returns when it is there, its CPUs stopped.
///
/// One that cannot read it ends itself: whoever waits for this waits for the process too.
///
/// # Errors
/// `Hypervisor`.
pub(crate) async fn load(monitor: &Monitor, from: &SavedStream) -> Result<()> {
    let failed = |error: QmpError| monitor_error(&error);
    tell_events(monitor).await.map_err(failed)?;
    let mut events = monitor.subscribe().map_err(failed)?;
    monitor.execute_with(&GetFd { fdname: STREAM }, descriptor(from)?, ANSWER).await.map_err(failed)?;
    monitor.execute(&MigrateIncoming { uri: &format!("fd:{STREAM}") }, ANSWER).await.map_err(failed)?;
    loop {
        // It reads in the thread that answers: a large guest keeps it silent for long.
        match monitor.execute(&QueryMigrate {}, from.patience().saturating_add(ANSWER)).await.map_err(failed)?.status {
            Some(MigrationStatus::Completed) => return Ok(()),
            Some(MigrationStatus::Failed) => {
                return Err(Error::new(ErrorKind::Hypervisor, "QEMU could not read the saved guest"));
            }
            _ => {}
        }
        tokio::time::timeout(TICK, events.next()).await.ok();
    }
}
