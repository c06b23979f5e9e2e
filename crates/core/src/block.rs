//! Disks of a running guest: their size, a mark on how full they are, and jobs that move their data between images.
//!
//! Images are named by their numbers in the live definition (`<source index='2'>`), which stay as long as the guest runs.

use async_trait::async_trait;
use polyvirt_model::disk::Disk;
use serde::{Deserialize, Serialize};

use crate::{DeviceChange, JobKind, Result};

/// Changing the size of disks.
#[async_trait]
pub trait BlockResize: Send + Sync {
    /// Changes how many bytes the guest sees.
    ///
    /// *Behaviour*: the guest is told. A drive without a medium is `NotFound`; a size that the image cannot have is `Hypervisor`, with the
    /// hypervisor's reason, and nothing is changed.
    async fn resize(&self, disk: &Disk, bytes: u64) -> Result<()>;
}

/// A mark on an image: who writes beyond it is told of.
#[async_trait]
pub trait BlockThreshold: Send + Sync {
    /// Sets the mark of an image, in bytes of its file; 0 takes it away.
    ///
    /// *Behaviour*: [`crate::Notice::BlockThreshold`] is told once when the guest writes beyond it, and the mark is gone then.
    async fn set_threshold(&self, disk: &Disk, image: u32, bytes: u64) -> Result<()>;
}

/// What a block job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BlockJobKind {
    /// Reads what the images below hold into the topmost one.
    Pull,
    /// Writes what inner images hold into one below them.
    Commit,
    /// The same with the topmost image, which the guest writes meanwhile.
    ActiveCommit,
    /// Writes all, or the topmost image alone, into another place, and then what the guest writes, too.
    Copy,
}

impl BlockJobKind {
    /// As `virsh blockjob` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pull => "Block Pull",
            Self::Commit => "Block Commit",
            Self::ActiveCommit => "Active Block Commit",
            Self::Copy => "Block Copy",
        }
    }

    /// The job that it is, with its steps.
    #[must_use]
    pub fn job(self) -> JobKind {
        match self {
            Self::Pull => JobKind::BlockPull,
            Self::Commit => JobKind::BlockCommit,
            Self::ActiveCommit => JobKind::ActiveCommit,
            Self::Copy => JobKind::BlockCopy,
        }
    }

    /// Whether it follows what the guest writes until somebody ends it.
    #[must_use]
    pub fn follows(self) -> bool {
        matches!(self, Self::ActiveCommit | Self::Copy)
    }
}

/// How a copy is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CopyHow {
    /// The topmost image alone; what it is based on is shared.
    pub shallow: bool,
    /// The driver writes the header of the new image: its file is empty.
    pub create: bool,
    /// A write of the guest is done when it is in both places.
    pub synchronous: bool,
    /// Bytes that one write makes dirty, a power of two.
    pub granularity: Option<u32>,
    /// Bytes that may be on their way.
    pub buffer: Option<u64>,
}

/// A block job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BlockJob {
    /// What the hypervisor knows it by: no other job of the guest ever had it.
    pub id: String,
    /// What it does.
    pub kind: BlockJobKind,
    /// The target of the disk, `vda`.
    pub disk: String,
    /// The image that is pulled into, committed, or copied.
    pub top: u32,
    /// The image that is committed into, or that stays below the one that is pulled into; none: the chain ends.
    pub base: Option<u32>,
    /// What the image above calls its new base in its header; none: as the definition has it.
    #[serde(default)]
    pub base_name: Option<String>,
    /// Bytes a second at most; 0: as many as there are.
    #[serde(default)]
    pub bandwidth: u64,
    /// Of a copy.
    #[serde(default)]
    pub copy: CopyHow,
}

impl BlockJob {
    /// A job without limits.
    #[must_use]
    pub fn new(id: impl Into<String>, kind: BlockJobKind, disk: impl Into<String>, top: u32) -> Self {
        Self {
            id: id.into(),
            kind,
            disk: disk.into(),
            top,
            base: None,
            base_name: None,
            bandwidth: 0,
            copy: CopyHow::default(),
        }
    }
}

/// How a job that follows the guest ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BlockJobEnd {
    /// The guest stays on the image that it had. One that was in step leaves a whole copy.
    Stay,
    /// The guest goes on with the other image.
    Pivot,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockJobState {
    /// It works.
    Running,
    /// It is in step with what the guest writes.
    Ready,
    /// It is over, and waits to be cleared.
    Over {
        /// Why it failed, if it did.
        error: Option<String>,
        /// Whether the guest is on the other image now.
        pivoted: bool,
    },
}

/// A job as the hypervisor has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockJobStatus {
    /// How far it is.
    pub state: BlockJobState,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, as estimated now.
    pub total: u64,
}

impl BlockJobStatus {
    /// A status.
    #[must_use]
    pub fn new(state: BlockJobState, done: u64, total: u64) -> Self {
        Self { state, done, total }
    }
}

/// Jobs that move a disk's data between images while the guest runs.
///
/// The engine makes definitions and keeps records; a driver makes the hypervisor do what lies between them. A job that is over stays there
/// until it is cleared, so that whoever comes later finds how it ended.
#[async_trait]
pub trait BlockJobs: Send + Sync {
    /// Begins a job: `after` has its `<mirror>`, if it has one.
    ///
    /// *Behaviour*: all or nothing; returns when the hypervisor has the job. Jobs of several disks run beside each other.
    async fn begin(&self, change: &DeviceChange, job: &BlockJob) -> Result<()>;

    /// How far it is; `None` if the hypervisor has no such job.
    ///
    /// *Behaviour*: changes nothing.
    async fn status(&self, job: &BlockJob) -> Result<Option<BlockJobStatus>>;

    /// Has it end; returns when the hypervisor was told.
    ///
    /// *Behaviour*: [`BlockJobEnd::Pivot`] of one that is not [`BlockJobState::Ready`] is `InvalidState`. Idempotent.
    async fn end(&self, job: &BlockJob, how: BlockJobEnd) -> Result<()>;

    /// Limits its speed, in bytes a second; 0: no limit.
    async fn limit(&self, job: &BlockJob, bandwidth: u64) -> Result<()>;

    /// Forgets a job that is over, or never was, and closes what `before` uses and `after` does not.
    ///
    /// *Behaviour*: idempotent.
    async fn clear(&self, change: &DeviceChange, job: &BlockJob) -> Result<()>;
}
