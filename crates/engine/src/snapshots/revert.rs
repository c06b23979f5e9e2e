//! Going back to a snapshot.

use std::sync::Arc;

use polyvirt_core::{
    CancelSource, Destroy, Error, ErrorKind, GuestRef, GuestState, JobKind, JobStep, Result, SnapshotRef, StateReason,
    model::{
        DomainConfig,
        snapshot::{DomainSnapshot, SnapshotState},
    },
};

use super::{definition, delete::has_same_image, reference, settle_live};
use crate::{
    actor::{Change, Command, Held, Left, Origin},
    guest::{Guest, StartOptions},
    images::{check_abi, stored_form},
    job::{Job, RestJob},
    save::RunState,
    shared::Shared,
    store::{JobRecord, Pending, blocking},
};

/// How a guest goes back to a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevertOptions {
    /// What its CPUs do then; none: what they did when the snapshot was taken.
    pub state: Option<RunState>,
    /// Also to another machine than the guest is now: it is ended, and started as it was.
    pub force: bool,
}

impl RevertOptions {
    /// The usual way.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`RevertOptions::state`].
    #[must_use]
    pub fn state(mut self, state: Option<RunState>) -> Self {
        self.state = state;
        self
    }

    /// Sets [`RevertOptions::force`].
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }
}

impl Guest {
    /// Brings it back to a snapshot: its disks, its memory if that is in it, and the stored definition. What it was until now is lost.
    ///
    /// A running guest that is the same machine stays in its process; else it is ended and, if it ran when the snapshot was taken, started
    /// from it, placed as the host is now.
    ///
    /// # Errors
    /// `NotFound`; `InvalidConfig` for a snapshot of another guest, and without `force` for one of another machine, naming what differs;
    /// `Unsupported` for one with images of its own; `InvalidState` with a managed save; `Busy`; those of a start. Unless it is told
    /// otherwise nothing changed.
    pub async fn revert_to_snapshot(&self, name: &str, options: RevertOptions) -> Result<()> {
        let tree = self.snapshot_tree().await?;
        let snapshot = tree.get(name)?.clone();
        let reference = reference(&snapshot)?;
        let mut then = definition(&snapshot)?.clone();
        // It may have got another name since.
        self.name().clone_into(&mut then.name);
        if then.uuid != Some(self.uuid()) {
            let of = then.uuid.unwrap_or_default();
            let message = format!(
                "the snapshot '{name}' is of another guest: its UUID is {of}, '{}' has {}",
                self.name(),
                self.uuid()
            );
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        self.without_managed_save().await?;
        let (stored, record) = self.files().await?;
        // Jobs move data between the very images.
        record.as_ref().map_or(Ok(()), |it| it.no_block_job(None))?;
        let now = match &record {
            Some(record) => Some(stored_form(record.live()?.config)),
            None => stored.map(|it| (*it.config).clone()),
        };
        let same = now.as_ref().map_or(Ok(()), |now| is_same_machine(now, &then, &reference));
        let stays = same.is_ok();
        if !options.force {
            same.map_err(|e| e.hint("--force goes back all the same: the guest is ended, and becomes what it was"))?;
        }
        let state = snapshot.head.state.unwrap_or(SnapshotState::Nostate);
        let running = options.state.map_or(state == SnapshotState::Running, |it| it == RunState::Running);
        if reference.memory && record.is_some() && stays {
            let work = Live { shared: self.connection.shared.clone(), guest: self.reference(), reference, running };
            return self.change(Change::new("snapshot-revert", move |held| work.run(held)).job()).await;
        }
        // It is looked before anything is ended.
        if record.is_some() {
            self.is_whole(&reference).await?;
            self.destroy(Destroy::default()).await?;
        }
        if reference.memory {
            let origin = Origin::Snapshot { config: Box::new(then), snapshot: reference, running };
            return self.ask(|reply| Command::Start { origin, reply }).await;
        }
        let rest = Rest { shared: self.connection.shared.clone(), guest: self.reference(), snapshot, reference };
        self.at_rest("snapshot-revert", move |cancel| rest.run(cancel)).await?;
        match options.state {
            Some(state) => {
                let start = StartOptions::new().paused(state == RunState::Paused);
                self.start_config(Arc::new(then), start).await.map_err(|e| e.with("disks", "as of the snapshot"))
            }
            None => Ok(()),
        }
    }

    /// All images that a running guest has to do with have the snapshot.
    async fn is_whole(&self, reference: &SnapshotRef) -> Result<()> {
        let domain = self.domain().await?;
        let Some(live) = domain.snapshots() else { return Ok(()) };
        // A disk that it has no more is looked at when it is off.
        let Ok(found) = live.find(reference).await else { return Ok(()) };
        match reference.disks.iter().find(|disk| !found.contains(disk)) {
            Some(disk) => {
                let message = format!("the image of disk '{disk}' has no snapshot '{}'", reference.tag);
                Err(Error::new(ErrorKind::NotFound, message).with("guest", "as before"))
            }
            None => Ok(()),
        }
    }
}

/// Whether a guest need not become another machine, with other images, to go back.
fn is_same_machine(now: &DomainConfig, then: &DomainConfig, reference: &SnapshotRef) -> Result<()> {
    check_abi(now, then)?;
    match reference.disks.iter().find(|disk| !has_same_image(now, then, disk)) {
        Some(disk) => {
            let message = format!("disk '{disk}' has another image than in the snapshot '{}'", reference.tag);
            Err(Error::new(ErrorKind::InvalidConfig, message))
        }
        None => Ok(()),
    }
}

/// The store says that the guest goes on from this snapshot, with the definition that was stored then.
pub(crate) async fn note_revert(shared: Arc<Shared>, guest: String, name: String) -> Result<()> {
    let (store, of, wanted) = (shared.clone(), guest.clone(), name.clone());
    let (snapshot, persistent) = blocking(move || {
        let snapshot = store.snapshots.tree(&of)?.get(&wanted)?.clone();
        Ok((snapshot, store.definitions.get(&of)?.is_some()))
    })
    .await?;
    if persistent {
        let mut stored = stored_of(&snapshot)?;
        guest.clone_into(&mut stored.name);
        shared.clone().store(stored).await?;
    }
    blocking(move || {
        shared.snapshots.set_current(&guest, Some(&name))?;
        shared.snapshots.finish(&guest)
    })
    .await
}

/// The definition that was stored when a snapshot was taken.
fn stored_of(snapshot: &DomainSnapshot) -> Result<DomainConfig> {
    match &snapshot.inactive {
        Some(stored) => Ok((**stored).clone()),
        None => definition(snapshot).cloned(),
    }
}

/// A running guest that stays in its process.
struct Live {
    shared: Arc<Shared>,
    guest: GuestRef,
    reference: SnapshotRef,
    running: bool,
}

impl Live {
    async fn run(self, held: Held) -> Result<Left> {
        let domain = held.domain.clone();
        if domain.snapshots().is_none() {
            return Err(held.missing("snapshots"));
        }
        // Jobs move data between the very images.
        held.record.no_block_job(None)?;
        settle_live(self.shared.clone(), self.guest.name.clone(), domain.clone()).await?;
        let mut record = JobRecord::new(JobKind::SnapshotRevert, JobStep::Begun, self.running);
        record.ran = held.record.state == GuestState::Running;
        record.snapshot = Some(self.reference.tag.clone());
        let ran = record.ran;
        let job =
            Job::begin(self.shared.clone(), self.guest.clone(), held.lane.clone(), held.cancel.clone(), record).await?;
        match self.load(&held, &job, ran).await {
            Ok(state) => {
                job.forget(Some((state, StateReason::FromSnapshot))).await?;
                job.at_end(JobStep::Resumed)?;
                job.tell_done().await;
                Ok(Left::nothing())
            }
            Err((error, loaded)) => Err(self.undo(&held, &job, error, ran, loaded).await),
        }
    }

    /// Says with an error whether the guest is already what it was.
    async fn load(&self, held: &Held, job: &Arc<Job>, ran: bool) -> Result<GuestState, (Error, bool)> {
        let lacks = || Error::new(ErrorKind::Internal, "a capability of a guest went away");
        let before = |error: Error| (error, false);
        let after = |error: Error| (error, true);
        let (shared, guest) = (self.shared.clone(), self.guest.name.clone());
        let pending = Pending::Revert { name: self.reference.tag.clone() };
        blocking(move || shared.snapshots.begin(&guest, &pending)).await.map_err(before)?;
        let pause = held.domain.pause().ok_or_else(|| before(lacks()))?;
        if ran {
            pause.suspend().await.map_err(before)?;
        }
        job.at(JobStep::Paused).await.map_err(before)?;
        let snapshots = held.domain.snapshots().ok_or_else(|| before(lacks()))?;
        snapshots.load(&job.context(), &self.reference).await.map_err(before)?;
        job.at(JobStep::Loaded).await.map_err(after)?;
        note_revert(self.shared.clone(), self.guest.name.clone(), self.reference.tag.clone()).await.map_err(after)?;
        job.at(JobStep::Noted).await.map_err(after)?;
        if !self.running {
            return Ok(GuestState::Paused);
        }
        pause.resume().await.map_err(after)?;
        Ok(GuestState::Running)
    }

    async fn undo(&self, held: &Held, job: &Arc<Job>, error: Error, ran: bool, loaded: bool) -> Error {
        let error = error.operation("snapshot-revert");
        if loaded {
            // The record keeps the job: whoever works on the guest next goes on with it.
            job.tell_end(&error).await;
            return error.with("guest", "as of the snapshot, paused").hint("the next change of the guest finishes it");
        }
        if error.fact("guest").is_some() {
            // Neither what it was nor what it shall be; the journal has its disks brought back before it starts again.
            let ended = held.domain.destroy(Destroy::default()).await;
            job.tell_end(&error).await;
            return match ended {
                Ok(()) => error.hint("the guest is ended; its next start, or another revert, brings its disks back"),
                Err(left) => error.with("not ended", left),
            };
        }
        let (shared, guest) = (self.shared.clone(), self.guest.name.clone());
        let finished = blocking(move || shared.snapshots.finish(&guest)).await;
        let resumed = match held.domain.pause().filter(|_| ran) {
            Some(pause) => pause.resume().await,
            None => Ok(()),
        };
        let error = match finished.and(resumed) {
            Ok(()) => {
                let reason = held.record.reason.unwrap_or(StateReason::Unknown);
                match job.forget(Some((held.record.state.clone(), reason))).await {
                    Ok(()) => error.with("guest", format!("{}, as before", held.record.state.name())),
                    Err(left) => error.with("record", left),
                }
            }
            Err(left) => error.with("guest", format!("not resumed: {left}")),
        };
        job.tell_end(&error).await;
        error
    }
}

/// A guest that does not run, and a snapshot without memory.
struct Rest {
    shared: Arc<Shared>,
    guest: GuestRef,
    snapshot: DomainSnapshot,
    reference: SnapshotRef,
}

impl Rest {
    async fn run(self, cancel: Arc<CancelSource>) -> Result<()> {
        let job = RestJob::begin(self.shared.clone(), self.guest.clone(), JobKind::SnapshotRevert, cancel).await?;
        let done = self.revert(&job).await;
        job.end(&done).await;
        done
    }

    async fn revert(&self, job: &Arc<RestJob>) -> Result<()> {
        let driver = self.shared.driver.clone();
        let lacks = || Error::unsupported(driver.descriptor().name, "snapshots of guests that do not run");
        let rest = driver.offline_snapshots().ok_or_else(lacks)?;
        let then = definition(&self.snapshot)?;
        let found = rest.find(then, &self.reference).await?;
        if let Some(disk) = self.reference.disks.iter().find(|disk| !found.contains(disk)) {
            let message = format!("the image of disk '{disk}' has no snapshot '{}'", self.reference.tag);
            return Err(Error::new(ErrorKind::NotFound, message).with("disks", "as they were"));
        }
        let (shared, guest) = (self.shared.clone(), self.guest.name.clone());
        let pending = Pending::Revert { name: self.reference.tag.clone() };
        blocking(move || shared.snapshots.begin(&guest, &pending)).await?;
        let context = job.context();
        let done = match rest.revert(&context, then, &self.reference).await {
            Ok(()) => note_revert(self.shared.clone(), self.guest.name.clone(), self.reference.tag.clone()).await,
            Err(error) => Err(error),
        };
        done.map_err(|error| {
            error.hint("the next snapshot-revert or start of the guest brings its disks back to that snapshot")
        })?;
        context.reached(JobStep::Noted).await
    }
}
