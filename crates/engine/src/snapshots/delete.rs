//! Deleting snapshots.

use std::sync::Arc;

use polyvirt_core::{
    Error, ErrorKind, GuestRef, GuestState, JobContext, JobKind, JobStep, Result, SnapshotRef, StateReason,
    model::{DomainConfig, snapshot::DomainSnapshot},
};

use super::{Images, definition, internal_only, reference, settle_live};
use crate::{
    actor::{Change, Held, Left},
    guest::Guest,
    images::stored_form,
    job::{Job, RestJob},
    shared::Shared,
    store::{JobRecord, Pending, Tree, blocking},
};

/// What is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteSnapshot {
    /// All that follow it as well.
    pub children: bool,
    /// Those alone, and not the snapshot itself.
    pub children_only: bool,
    /// What the store knows alone; the images keep what they have.
    pub metadata: bool,
}

impl DeleteSnapshot {
    /// The snapshot alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`DeleteSnapshot::children`].
    #[must_use]
    pub fn children(mut self, children: bool) -> Self {
        self.children = children;
        self
    }

    /// Sets [`DeleteSnapshot::children_only`].
    #[must_use]
    pub fn children_only(mut self, only: bool) -> Self {
        self.children_only = only;
        self
    }

    /// Sets [`DeleteSnapshot::metadata`].
    #[must_use]
    pub fn metadata(mut self, metadata: bool) -> Self {
        self.metadata = metadata;
        self
    }

    /// The names, each before what it follows.
    fn names(self, tree: &Tree, name: &str) -> Vec<String> {
        let mut names = if self.children || self.children_only { tree.descendants(name) } else { Vec::new() };
        names.reverse();
        if !self.children_only {
            names.push(name.to_owned());
        }
        names
    }
}

impl Guest {
    /// Deletes a snapshot: from the images, then from the store. What follows it follows what it followed.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` for one with images of its own; `Busy`; `Storage`. What was deleted until then is; the next snapshot or start
    /// of the guest goes on with the rest.
    pub async fn delete_snapshot(&self, name: &str, what: DeleteSnapshot) -> Result<()> {
        let tree = self.snapshot_tree().await?;
        tree.get(name)?;
        let names = what.names(&tree, name);
        if what.metadata {
            let (shared, guest) = (self.connection.shared.clone(), self.name().to_owned());
            return blocking(move || names.iter().try_for_each(|name| shared.snapshots.remove(&guest, name))).await;
        }
        for name in &names {
            internal_only(tree.get(name)?)?;
            definition(tree.get(name)?)?;
        }
        let runs = self.files().await?.1.is_some();
        let delete = Delete { shared: self.connection.shared.clone(), guest: self.reference(), names };
        if runs {
            self.change(Change::new("snapshot-delete", move |held| delete.live(held)).job()).await
        } else {
            self.at_rest("snapshot-delete", move |cancel| delete.at_rest(cancel)).await
        }
    }
}

struct Delete {
    shared: Arc<Shared>,
    guest: GuestRef,
    names: Vec<String>,
}

impl Delete {
    async fn live(self, held: Held) -> Result<Left> {
        let domain = held.domain.clone();
        let live = domain.snapshots().ok_or_else(|| held.missing("snapshots"))?;
        // Jobs move data between the very images.
        held.record.no_block_job(None)?;
        settle_live(self.shared.clone(), self.guest.name.clone(), domain.clone()).await?;
        let mut record =
            JobRecord::new(JobKind::SnapshotDelete, JobStep::Begun, held.record.state == GuestState::Running);
        record.ran = record.resume;
        let job =
            Job::begin(self.shared.clone(), self.guest.clone(), held.lane.clone(), held.cancel.clone(), record).await?;
        let now = stored_form(held.record.live()?.config);
        let done = self.delete(&job.context(), Some((Images::Live(live), &now))).await;
        let state = domain.state().await.ok().map(|it| (it, held.record.reason.unwrap_or(StateReason::Unknown)));
        if let Err(forgotten) = job.forget(state).await {
            tracing::warn!(error = %forgotten, "the record of a guest still says that snapshots are deleted");
        }
        match done {
            Ok(()) => job.tell_done().await,
            Err(error) => {
                job.tell_end(&error).await;
                return Err(error);
            }
        }
        Ok(Left::nothing())
    }

    async fn at_rest(self, cancel: Arc<polyvirt_core::CancelSource>) -> Result<()> {
        let job = RestJob::begin(self.shared.clone(), self.guest.clone(), JobKind::SnapshotDelete, cancel).await?;
        let done = self.delete(&job.context(), None).await;
        job.end(&done).await;
        done
    }

    async fn delete(&self, job: &JobContext, live: Option<(Images<'_>, &DomainConfig)>) -> Result<()> {
        let (shared, guest) = (self.shared.clone(), self.guest.name.clone());
        let pending = Pending::Delete { names: self.names.clone() };
        blocking(move || shared.snapshots.begin(&guest, &pending)).await?;
        let mut left = self.names.as_slice();
        let deleted: Result<()> = async {
            while let Some((name, rest)) = left.split_first() {
                job.cancel.check()?;
                delete_one(&self.shared, job, &self.guest.name, name, live).await?;
                left = rest;
            }
            Ok(())
        }
        .await;
        let (shared, guest) = (self.shared.clone(), self.guest.name.clone());
        let finished = blocking(move || shared.snapshots.finish(&guest)).await;
        // What is not deleted is listed, and can be deleted again.
        let left: Vec<_> = left.to_vec();
        deleted.map_err(|error| error.with("left", left.join(", "))).and(finished)
    }
}

/// Deletes one: from its images, then from the store.
pub(super) async fn delete_one(
    shared: &Arc<Shared>,
    job: &JobContext,
    guest: &str,
    name: &str,
    live: Option<(Images<'_>, &DomainConfig)>,
) -> Result<()> {
    let (store, of) = (shared.clone(), guest.to_owned());
    let tree = blocking(move || store.snapshots.tree(&of)).await?;
    if tree.has(name) {
        let snapshot = tree.get(name)?;
        from_images(shared, job, snapshot, live).await?;
    }
    job.reached(JobStep::Written).await?;
    let (store, of, name) = (shared.clone(), guest.to_owned(), name.to_owned());
    blocking(move || store.snapshots.remove(&of, &name)).await?;
    job.reached(JobStep::Kept).await
}

/// Deletes a snapshot from its images: those that a running guest has through it, all others as files.
pub(super) async fn from_images(
    shared: &Arc<Shared>,
    job: &JobContext,
    snapshot: &DomainSnapshot,
    live: Option<(Images<'_>, &DomainConfig)>,
) -> Result<()> {
    let reference = reference(snapshot)?;
    let then = definition(snapshot)?;
    let (with, without): (Vec<String>, Vec<String>) = match live {
        Some((_, now)) => reference.disks.iter().cloned().partition(|disk| has_same_image(now, then, disk)),
        None => (Vec::new(), reference.disks.clone()),
    };
    let part = |disks: Vec<String>| SnapshotRef::new(&reference.tag, disks, reference.memory);
    if let Some((images, _)) = live.filter(|_| !with.is_empty()) {
        images.delete(job, &part(with)).await?;
    }
    if without.is_empty() {
        return Ok(());
    }
    let driver = &shared.driver;
    let lacks = || {
        Error::new(
            ErrorKind::Unsupported,
            format!("the {} driver reaches no images of guests that do not run", driver.descriptor().name),
        )
    };
    Images::Rest(driver.offline_snapshots().ok_or_else(lacks)?, then).delete(job, &part(without)).await
}

/// Whether a disk has the same image in both definitions.
pub(super) fn has_same_image(now: &DomainConfig, then: &DomainConfig, disk: &str) -> bool {
    let image = |config: &DomainConfig| {
        let disks = &config.devices.disks;
        let found = disks.iter().find(|it| it.target.as_ref().is_some_and(|target| target.dev == disk))?;
        let source = found.source.as_ref()?;
        Some((found.kind, source.file.clone(), source.dev.clone(), source.protocol, source.name.clone()))
    };
    image(now).is_some() && image(now) == image(then)
}
