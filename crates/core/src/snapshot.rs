//! Snapshots that stand in the images of a guest's disks, its memory with them.
//!
//! Which snapshots there are, what they follow and what the guest was like is the engine's; a driver makes, loads and deletes what is in the
//! images. An image knows a snapshot by its tag.

use async_trait::async_trait;

use crate::{JobContext, Result, model::DomainConfig};

/// Where a snapshot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotRef {
    /// What images call it.
    pub tag: String,
    /// The disks whose images have it, by `<target dev>`; never empty.
    pub disks: Vec<String>,
    /// Whether the guest's memory is in it: in the image of the first of these disks.
    pub memory: bool,
}

impl SnapshotRef {
    /// A snapshot in the images of these disks.
    #[must_use]
    pub fn new(tag: impl Into<String>, disks: Vec<String>, memory: bool) -> Self {
        Self { tag: tag.into(), disks, memory }
    }
}

/// What became of work whose process is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Abandoned {
    /// There was none.
    Nothing,
    /// It was done.
    Done,
    /// It failed: why.
    Failed(String),
}

/// Snapshots of a running guest, memory included. Starting from one is [`crate::StartHow::Revert`].
#[async_trait]
pub trait LiveSnapshots: Send + Sync {
    /// The disks among those of `snapshot` whose images have it.
    ///
    /// *Behaviour*: changes nothing. A disk that the guest does not have, or whose image cannot hold snapshots, is an error that names it.
    async fn find(&self, snapshot: &SnapshotRef) -> Result<Vec<String>>;

    /// Takes one of all disks and memory.
    ///
    /// *Behaviour*: the CPUs may stand meanwhile, and run afterwards if they did. Reports [`crate::JobStep::Streaming`] when the hypervisor has
    /// begun. An image that has the tag already is `AlreadyExists`, and keeps what it has. On any error no image has anything of the new one.
    async fn create(&self, job: &JobContext, snapshot: &SnapshotRef) -> Result<()>;

    /// Brings disks and memory back.
    ///
    /// *Behaviour*: the CPUs stand before and after. A snapshot that is not in all its images is `NotFound`, and nothing changed; any other
    /// error may leave a guest that cannot go on, and is told so by the fact `guest`.
    async fn load(&self, job: &JobContext, snapshot: &SnapshotRef) -> Result<()>;

    /// Deletes one.
    ///
    /// *Behaviour*: idempotent; an image that does not have it is no error.
    async fn delete(&self, job: &JobContext, snapshot: &SnapshotRef) -> Result<()>;

    /// Waits for what a process had begun that is gone, and says what became of it.
    ///
    /// *Behaviour*: idempotent; afterwards nothing changes the images any more.
    async fn abandon(&self) -> Result<Abandoned>;
}

/// Snapshots of a guest that does not run. The caller owns the guest.
#[async_trait]
pub trait OfflineSnapshots: Send + Sync {
    /// As [`LiveSnapshots::find`].
    async fn find(&self, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<Vec<String>>;

    /// As [`LiveSnapshots::create`], without memory.
    async fn create(&self, job: &JobContext, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<()>;

    /// Brings the disks back.
    ///
    /// *Behaviour*: idempotent. A snapshot that is not in all its images is `NotFound`, and nothing changed. Whoever is cut off in the middle
    /// does it again.
    async fn revert(&self, job: &JobContext, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<()>;

    /// As [`LiveSnapshots::delete`].
    async fn delete(&self, job: &JobContext, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<()>;
}
