//! Snapshots of guests: taken, listed, reverted to, deleted.
//!
//! ```text
//! take     begun* ─ streaming* ─ written* ─ kept*            images first, then the store
//! revert   begun* ─ paused* ─ loaded* ─ noted* ─ resumed*    images and memory first, then the store, then the CPUs
//! delete   begun* ─ written* ─ kept*                         images first, then the store
//! ```
//!
//! What is begun stands in the store (`.job`) until it is finished or undone: whoever finds it there without its process deletes what was half
//! taken, and finishes what was half reverted or deleted. A running guest's is found when somebody attaches to it, that of any other before the
//! next start or snapshot.
//!
//! Invariants: a snapshot that is listed is in all of its images; of one that is not listed the images have nothing, unless its metadata was
//! not wanted. A guest never runs with disks of one moment and memory of another.

mod create;
mod delete;
mod list;
mod revert;
mod settle;

use polyvirt_core::{
    Error, ErrorKind, JobContext, LiveSnapshots, OfflineSnapshots, Result, SnapshotRef,
    model::{
        DomainConfig, Positions,
        disk::DiskSnapshot,
        snapshot::{DomainSnapshot, MemorySnapshot, Scope},
    },
};

pub use create::{CreatedSnapshot, SnapshotOptions};
pub use delete::DeleteSnapshot;
pub use list::{SnapshotEntry, SnapshotList};
pub use revert::RevertOptions;
pub(crate) use revert::note_revert;
pub(crate) use settle::{settle_at_rest, settle_live};

/// Where the images of a snapshot are reached: in a running guest, or as files.
#[derive(Clone, Copy)]
enum Images<'a> {
    Live(&'a dyn LiveSnapshots),
    Rest(&'a dyn OfflineSnapshots, &'a DomainConfig),
}

impl Images<'_> {
    async fn find(self, snapshot: &SnapshotRef) -> Result<Vec<String>> {
        match self {
            Self::Live(live) => live.find(snapshot).await,
            Self::Rest(rest, config) => rest.find(config, snapshot).await,
        }
    }

    async fn create(self, job: &JobContext, snapshot: &SnapshotRef) -> Result<()> {
        match self {
            Self::Live(live) => live.create(job, snapshot).await,
            Self::Rest(rest, config) => rest.create(job, config, snapshot).await,
        }
    }

    async fn delete(self, job: &JobContext, snapshot: &SnapshotRef) -> Result<()> {
        match self {
            Self::Live(live) => live.delete(job, snapshot).await,
            Self::Rest(rest, config) => rest.delete(job, config, snapshot).await,
        }
    }
}

/// What images know of a snapshot.
///
/// # Errors
/// `Unsupported` for one that has images of its own; `InvalidConfig` for one that does not say what its guest was.
fn reference(snapshot: &DomainSnapshot) -> Result<SnapshotRef> {
    internal_only(snapshot)?;
    let name = snapshot.head.name.clone().unwrap_or_default();
    let mut whole = snapshot.clone();
    if whole.head.disks.is_none() {
        // Where nothing is said of disks, all take part that can.
        let scope = if snapshot.memory() == Some(MemorySnapshot::Internal) { Scope::System } else { Scope::Stopped };
        let aligned = whole.align(definition(snapshot)?, scope, DiskSnapshot::Internal, &Positions::default());
        aligned.map_err(Error::invalid_config)?;
    }
    let takes_part = whole.disks().iter().filter(|disk| disk.snapshot == Some(DiskSnapshot::Internal));
    let disks = takes_part.map(|disk| disk.name.clone()).collect();
    Ok(SnapshotRef::new(name, disks, snapshot.memory() == Some(MemorySnapshot::Internal)))
}

/// The definition in a snapshot.
fn definition(snapshot: &DomainSnapshot) -> Result<&DomainConfig> {
    snapshot.definition().ok_or_else(|| {
        let name = snapshot.head.name.as_deref().unwrap_or_default();
        let message = format!("the snapshot '{name}' does not say what its guest was like");
        Error::new(ErrorKind::InvalidConfig, message)
            .hint("define it again with a whole <domain>: snapshot-create --redefine; or forget it with snapshot-delete --metadata")
    })
}

/// Refuses what has images of its own.
fn internal_only(snapshot: &DomainSnapshot) -> Result<()> {
    let external = snapshot
        .disks()
        .iter()
        .find(|disk| matches!(disk.snapshot, Some(DiskSnapshot::External | DiskSnapshot::Manual)));
    let (what, kind) = match external {
        Some(disk) => (format!("disk '{}'", disk.name), disk.snapshot.map_or("external", DiskSnapshot::as_str)),
        None if snapshot.memory() == Some(MemorySnapshot::External) => ("memory".to_owned(), "external"),
        None => return Ok(()),
    };
    let message = format!("snapshot='{kind}' of {what} is not possible yet, only 'internal' and 'no'");
    Err(Error::new(ErrorKind::Unsupported, message)
        .hint("qcow2 images hold snapshots: leave snapshot='…' out, or write 'internal'"))
}
