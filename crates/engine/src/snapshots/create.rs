//! Taking a snapshot.

use std::sync::Arc;

use polyvirt_core::{
    Destroy, Error, ErrorKind, GuestRef, GuestState, JobContext, JobKind, JobStep, Result, SnapshotRef, StopReason,
    model::{
        DomainConfig, ParseOptions, Positions, Problems,
        disk::DiskSnapshot,
        snapshot::{DomainSnapshot, MomentParent, Scope, SnapshotGuest, SnapshotState},
    },
};

use super::{Images, internal_only, reference, settle_live};
use crate::{
    actor::{Change, Command, Held, Left},
    guest::Guest,
    images::stored_form,
    job::{Job, RestJob},
    shared::Shared,
    store::{JobRecord, Pending, StatusRecord, blocking, now, taken, text_of},
};

/// How a snapshot is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// Of the disks alone.
    pub disk_only: bool,
    /// The guest is ended when it is taken.
    pub halt: bool,
    /// Nothing of it is kept in the store: only the images know it.
    pub no_metadata: bool,
    /// The guest's file systems are frozen meanwhile.
    pub quiesce: bool,
}

impl SnapshotOptions {
    /// The usual way.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`SnapshotOptions::disk_only`].
    #[must_use]
    pub fn disk_only(mut self, disk_only: bool) -> Self {
        self.disk_only = disk_only;
        self
    }

    /// Sets [`SnapshotOptions::halt`].
    #[must_use]
    pub fn halt(mut self, halt: bool) -> Self {
        self.halt = halt;
        self
    }

    /// Sets [`SnapshotOptions::no_metadata`].
    #[must_use]
    pub fn no_metadata(mut self, no_metadata: bool) -> Self {
        self.no_metadata = no_metadata;
        self
    }

    /// Sets [`SnapshotOptions::quiesce`].
    #[must_use]
    pub fn quiesce(mut self, quiesce: bool) -> Self {
        self.quiesce = quiesce;
        self
    }
}

/// A snapshot that was taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreatedSnapshot {
    /// Its name.
    pub name: String,
    /// What of the XML was dropped.
    pub warnings: Problems,
}

impl Guest {
    /// Takes a snapshot, as `<domainsnapshot>` says: of a running guest disks and memory, else its disks.
    ///
    /// # Errors
    /// `InvalidConfig` with all problems and their places; `AlreadyExists` when the store or an image has one of that name; `Unsupported` for
    /// an image that holds no snapshots; `InvalidState`; `Busy`; `Storage`. No image has anything of it then, and the guest goes on.
    pub async fn create_snapshot(&self, xml: Option<&str>, options: SnapshotOptions) -> Result<CreatedSnapshot> {
        let xml = xml.unwrap_or("<domainsnapshot/>");
        let parsed = DomainSnapshot::from_xml(xml, &ParseOptions::default()).map_err(Error::invalid_config)?;
        let (mut snapshot, positions, warnings) = (parsed.config, parsed.positions, parsed.warnings);
        if options.disk_only || options.quiesce {
            let message = "snapshots of the disks of a guest alone have images of their own, which are not made yet";
            return Err(Error::new(ErrorKind::Unsupported, message)
                .hint("leave --disk-only and --quiesce out: a snapshot in the images has the guest's memory too"));
        }
        snapshot.request(i64::try_from(now()).ok(), &positions).map_err(Error::invalid_config)?;
        let (stored, record) = self.files().await?;
        let stored = stored.map(|it| (*it.config).clone());
        describe(&mut snapshot, stored, record.as_ref(), &positions)?;
        internal_only(&snapshot)?;
        let name = snapshot.head.name.clone().unwrap_or_default();
        let take = Take { shared: self.connection.shared.clone(), guest: self.reference(), snapshot, options };
        if record.is_some() {
            self.change(Change::new("snapshot-create", move |held| take.live(held)).job()).await?;
        } else {
            if options.halt {
                let message = format!("the guest '{}' does not run, so it cannot be halted", self.name());
                return Err(Error::new(ErrorKind::InvalidState, message));
            }
            self.without_managed_save().await?;
            self.at_rest("snapshot-create", move |cancel| take.at_rest(cancel)).await?;
        }
        Ok(CreatedSnapshot { name, warnings })
    }

    /// Refuses a guest of which the memory waits in a file: it goes with disks that nobody changed since.
    pub(super) async fn without_managed_save(&self) -> Result<()> {
        if !self.has_managed_save().await? {
            return Ok(());
        }
        let message =
            format!("the guest '{}' has a managed save, whose memory belongs to its disks as they are", self.name());
        Err(Error::new(ErrorKind::InvalidState, message)
            .hint("start the guest from it first, or drop it with managedsave-remove"))
    }

    /// Has something done while it does not run.
    pub(super) async fn at_rest<F>(
        &self,
        name: &'static str,
        work: impl FnOnce(Arc<polyvirt_core::CancelSource>) -> F + Send + 'static,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.ask(|reply| Command::Rest { name, work: Box::new(move |cancel| Box::pin(work(cancel))), reply }).await
    }

    /// Keeps the description of a snapshot that exists; replaces that of the same name.
    ///
    /// # Errors
    /// `InvalidConfig` with all problems and their places, for another guest's too; `NotFound` for a parent that is not there; `Storage`.
    pub async fn redefine_snapshot(&self, xml: &str, current: bool) -> Result<CreatedSnapshot> {
        let parsed = DomainSnapshot::from_xml(xml, &ParseOptions::default()).map_err(Error::invalid_config)?;
        let (mut snapshot, positions, warnings) = (parsed.config, parsed.positions, parsed.warnings);
        snapshot.redefine(&positions).map_err(Error::invalid_config)?;
        let uuid = match &snapshot.guest {
            Some(SnapshotGuest::Id(uuid)) => Some(*uuid),
            Some(SnapshotGuest::Definition(config)) => config.uuid,
            _ => None,
        };
        if let Some(other) = uuid.filter(|uuid| *uuid != self.uuid()) {
            let message =
                format!("the snapshot is of the guest with UUID {other}, '{}' has {}", self.name(), self.uuid());
            return Err(Error::new(ErrorKind::InvalidConfig, message).with("path", "/domainsnapshot/domain/uuid"));
        }
        snapshot.active = None;
        let name = snapshot.head.name.clone().unwrap_or_default();
        let tree = self.snapshot_tree().await?;
        if let Some(parent) = &snapshot.head.parent {
            tree.get(&parent.name).map_err(|e| e.with("path", "/domainsnapshot/parent/name"))?;
            if tree.descendants(&name).contains(&parent.name) {
                let message = format!("'{}' follows '{name}' itself, so it cannot be its parent", parent.name);
                return Err(Error::new(ErrorKind::InvalidConfig, message).with("path", "/domainsnapshot/parent/name"));
            }
        }
        let (shared, guest) = (self.connection.shared.clone(), self.name().to_owned());
        blocking(move || shared.snapshots.put(&guest, &snapshot, current, true)).await?;
        Ok(CreatedSnapshot { name, warnings })
    }
}

/// Fills in what the guest is and does.
fn describe(
    snapshot: &mut DomainSnapshot,
    stored: Option<DomainConfig>,
    record: Option<&StatusRecord>,
    positions: &Positions,
) -> Result<()> {
    let (config, inactive, state) = match record {
        Some(record) => {
            let config = stored_form(record.live()?.config);
            let state = match &record.state {
                GuestState::Running => SnapshotState::Running,
                GuestState::Paused => SnapshotState::Paused,
                other => {
                    let message = format!(
                        "the guest is {}: only one that runs, is paused or is off can be snapshot",
                        other.name()
                    );
                    return Err(Error::new(ErrorKind::InvalidState, message));
                }
            };
            let other = stored.filter(|stored| stored.to_inactive_xml() != config.to_inactive_xml());
            (config, other, state)
        }
        None => {
            let gone = || Error::new(ErrorKind::NotFound, "the guest is gone");
            (stored.ok_or_else(gone)?, None, SnapshotState::Shutoff)
        }
    };
    let scope = if record.is_some() { Scope::System } else { Scope::Stopped };
    snapshot.align(&config, scope, DiskSnapshot::Internal, positions).map_err(Error::invalid_config)?;
    snapshot.head.state = Some(state);
    snapshot.guest = Some(SnapshotGuest::Definition(Box::new(config)));
    snapshot.inactive = inactive.map(Box::new);
    Ok(())
}

struct Take {
    shared: Arc<Shared>,
    guest: GuestRef,
    snapshot: DomainSnapshot,
    options: SnapshotOptions,
}

impl Take {
    fn name(&self) -> &str {
        self.snapshot.head.name.as_deref().unwrap_or_default()
    }

    /// Of a running guest.
    async fn live(mut self, held: Held) -> Result<Left> {
        let domain = held.domain.clone();
        let live = domain.snapshots().ok_or_else(|| held.missing("snapshots"))?;
        // Jobs move data between the very images.
        held.record.no_block_job(None)?;
        settle_live(self.shared.clone(), self.guest.name.clone(), domain.clone()).await?;
        let images = Images::Live(live);
        self.is_free(images).await?;
        let runs = held.record.state == GuestState::Running;
        let mut record = JobRecord::new(JobKind::Snapshot, JobStep::Begun, runs);
        (record.snapshot, record.ran) = (Some(self.name().to_owned()), runs);
        let job =
            Job::begin(self.shared.clone(), self.guest.clone(), held.lane.clone(), held.cancel.clone(), record).await?;
        let taken = self.take(&job.context(), images).await;
        let state =
            domain.state().await.ok().map(|it| (it, held.record.reason.unwrap_or(polyvirt_core::StateReason::Unknown)));
        if let Err(forgotten) = job.forget(state).await {
            tracing::warn!(error = %forgotten, "the record of a guest still says that a snapshot is taken");
        }
        match taken {
            Ok(()) => job.tell_done().await,
            Err(error) => {
                job.tell_end(&error).await;
                return Err(error);
            }
        }
        if self.options.halt {
            domain.destroy(Destroy::default()).await.map_err(|e| e.with("snapshot", self.name()))?;
            return Ok(Left::ended(StopReason::Destroyed));
        }
        Ok(Left::nothing())
    }

    /// Of a guest that does not run.
    async fn at_rest(mut self, cancel: Arc<polyvirt_core::CancelSource>) -> Result<()> {
        let driver = self.shared.driver.clone();
        let lacks = || Error::unsupported(driver.descriptor().name, "snapshots of guests that do not run");
        let rest = driver.offline_snapshots().ok_or_else(lacks)?;
        let config = super::definition(&self.snapshot)?.clone();
        let images = Images::Rest(rest, &config);
        self.is_free(images).await?;
        let job = RestJob::begin(self.shared.clone(), self.guest.clone(), JobKind::Snapshot, cancel).await?;
        let taken = self.take(&job.context(), images).await;
        job.end(&taken).await;
        taken
    }

    /// Nobody has a snapshot of this name: what the images have of it later is ours.
    async fn is_free(&mut self, images: Images<'_>) -> Result<()> {
        let (shared, guest) = (self.shared.clone(), self.guest.name.clone());
        let tree = blocking(move || shared.snapshots.tree(&guest)).await?;
        if tree.has(self.name()) {
            return Err(taken(self.name()));
        }
        self.snapshot.head.parent = tree.current().map(MomentParent::new);
        match images.find(&reference(&self.snapshot)?).await?.first() {
            Some(disk) => {
                let message = format!(
                    "the image of disk '{disk}' has a snapshot '{}', which the store does not know",
                    self.name()
                );
                Err(Error::new(ErrorKind::AlreadyExists, message).hint(
                    "take another name, describe that one with snapshot-create --redefine, or remove it with `qemu-img snapshot -d`",
                ))
            }
            None => Ok(()),
        }
    }

    /// From the first step on.
    async fn take(&self, job: &JobContext, images: Images<'_>) -> Result<()> {
        let reference = reference(&self.snapshot)?;
        let pending = Pending::Create { xml: text_of(&self.snapshot) };
        let (shared, guest) = (self.shared.clone(), self.guest.name.clone());
        blocking(move || shared.snapshots.begin(&guest, &pending)).await?;
        let made = images.create(job, &reference).await;
        let kept = match made {
            Ok(()) => match self.keep(job).await {
                // In the images and not in the store it would be nobody's, and the other way round nothing.
                Err(error) => Err(match self.forget(job, images, &reference, &error).await {
                    Ok(()) => error,
                    Err(left) => error.with("not undone", left),
                }),
                kept => kept,
            },
            Err(error) => Err(error),
        };
        if kept.as_ref().err().is_some_and(|error| error.fact("not undone").is_some()) {
            return kept.map_err(|error| error.hint("the next snapshot or start of the guest removes what is left"));
        }
        let (shared, guest) = (self.shared.clone(), self.guest.name.clone());
        let finished = blocking(move || shared.snapshots.finish(&guest)).await;
        kept.and(finished)
    }

    async fn forget(&self, job: &JobContext, images: Images<'_>, reference: &SnapshotRef, why: &Error) -> Result<()> {
        // That name is another's by now.
        if why.kind() != ErrorKind::AlreadyExists {
            let (shared, guest, name) = (self.shared.clone(), self.guest.name.clone(), self.name().to_owned());
            blocking(move || shared.snapshots.remove(&guest, &name)).await?;
        }
        images.delete(job, reference).await
    }

    async fn keep(&self, job: &JobContext) -> Result<()> {
        job.reached(JobStep::Written).await?;
        job.cancel.check()?;
        if !self.options.no_metadata {
            let (shared, guest, snapshot) = (self.shared.clone(), self.guest.name.clone(), self.snapshot.clone());
            blocking(move || shared.snapshots.put(&guest, &snapshot, true, false)).await?;
        }
        job.reached(JobStep::Kept).await
    }
}
