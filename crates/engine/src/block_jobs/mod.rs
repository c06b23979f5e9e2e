//! Jobs that move a disk's data between images while its guest runs: pull, commit, copy.
//!
//! ```text
//! begun* → opened* → streaming* ─────────────────────────> turned* → cleared*
//!    │         │          └─ in step with the guest → asked* ──┘
//!    └─────────┴──> undone: the hypervisor never had the job
//! ```
//!
//! The hypervisor works on such a job by itself; nobody of ours has to be there. At a star the guest's record is written first. Whoever
//! attends the guest when the job is over (or attends it first after that) *turns*: writes the images that the guest is on now into
//! the record. Then what is not used any more is closed, given back and, if that was asked for, removed, and the stored definition follows.
//! Jobs of several disks go on beside each other; each disk has one.
//!
//! What this does not do: it holds no lock of the guest while a job works, so the guest can be changed meanwhile, except in ways that
//! would harm the job, which are refused with its name and age.

mod begin;
mod chain;
mod record;
mod settle;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polyvirt_core::{
    BlockJobEnd, BlockJobKind, BlockJobState, Error, ErrorKind, JobStep, Result,
    model::{
        disk::Disk,
        storage::{ImageFormat, Source, SourceKind},
    },
};

pub(crate) use self::{record::BlockJobRecord, settle::settle};
use crate::{
    actor::{Change, Held, Left},
    block::disk_of,
    guest::Guest,
    store::JobOutcome,
};

/// How often a job that is about to end is asked whether it has.
const MOMENT: Duration = Duration::from_millis(50);

/// How a disk's images are pulled together.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PullOptions {
    /// The image that stays below, `vda[3]` or its path; none: nothing stays.
    pub base: Option<String>,
    /// Bytes a second at most; 0: no limit.
    pub bandwidth: u64,
    /// The header names the image that stays relative to itself.
    pub relative: bool,
}

/// Which images of a disk are committed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CommitOptions {
    /// The image that is written into; none: the last of the chain.
    pub base: Option<String>,
    /// The topmost that is committed; none: the one that the guest writes.
    pub top: Option<String>,
    /// The image below the topmost is written into.
    pub shallow: bool,
    /// The image that the guest writes may be committed.
    pub active: bool,
    /// Images that are committed are removed.
    pub delete: bool,
    /// Bytes a second at most; 0: no limit.
    pub bandwidth: u64,
    /// The header of the image above names the base relative to itself.
    pub relative: bool,
}

/// Where a disk is copied to, and how.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CopyOptions {
    /// The kind of the other source; none: a file.
    pub kind: Option<SourceKind>,
    /// The other source.
    pub source: Source,
    /// Its format; none: as the disk's.
    pub format: Option<ImageFormat>,
    /// The topmost image alone is copied.
    pub shallow: bool,
    /// The other image is there, and as large.
    pub reuse: bool,
    /// Bytes a second at most; 0: no limit.
    pub bandwidth: u64,
    /// Bytes that one write makes dirty, a power of two.
    pub granularity: Option<u32>,
    /// Bytes that may be on their way.
    pub buffer: Option<u64>,
    /// A write of the guest is done when it is in both places.
    pub synchronous: bool,
}

/// A block job of a disk: the one under way, or the last one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BlockJobReport {
    /// What the hypervisor knows it by.
    pub id: String,
    /// The target of the disk.
    pub disk: String,
    /// What it does.
    pub kind: BlockJobKind,
    /// The last step that it reached.
    pub step: JobStep,
    /// When it began.
    pub since: SystemTime,
    /// Whether it is in step with the guest.
    pub ready: bool,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
    /// Bytes a second at most; 0: no limit.
    pub bandwidth: u64,
    /// How it ended; none while it is under way.
    pub outcome: Option<JobOutcome>,
}

impl BlockJobReport {
    /// A job of which nothing else is known.
    #[must_use]
    pub fn new(id: impl Into<String>, disk: impl Into<String>, kind: BlockJobKind, step: JobStep) -> Self {
        Self {
            id: id.into(),
            disk: disk.into(),
            kind,
            step,
            since: UNIX_EPOCH,
            ready: false,
            done: 0,
            total: 0,
            bandwidth: 0,
            outcome: None,
        }
    }

    fn of(entry: &BlockJobRecord) -> Self {
        let job = &entry.job;
        Self {
            since: UNIX_EPOCH + Duration::from_secs(entry.since),
            ready: entry.ready,
            bandwidth: job.bandwidth,
            outcome: entry.outcome.clone().filter(|_| entry.is_over()),
            ..Self::new(&job.id, &job.disk, job.kind, entry.step)
        }
    }
}

impl Guest {
    /// Begins to read what the images below hold into a disk's topmost one; returns when the hypervisor works on it.
    ///
    /// # Errors
    /// `InvalidState` when the guest does not run; `NotFound`; `InvalidArgument` for images that the disk does not have; `Busy` for a
    /// disk that has a job; `Unsupported`; `Hypervisor`. Nothing is changed then.
    pub async fn block_pull(&self, disk: &str, options: PullOptions) -> Result<()> {
        self.begin_block_job("blockpull", disk, begin::Wanted::Pull(options)).await
    }

    /// Begins to write what images of a disk hold into one below; returns when the hypervisor works on it.
    ///
    /// With the image that the guest writes, the job stays in step with it until [`Guest::end_block_job`].
    ///
    /// # Errors
    /// As [`Guest::block_pull`].
    pub async fn block_commit(&self, disk: &str, options: CommitOptions) -> Result<()> {
        self.begin_block_job("blockcommit", disk, begin::Wanted::Commit(options)).await
    }

    /// Begins to copy a disk to another place; returns when the hypervisor works on it. The job stays in step with the guest until
    /// [`Guest::end_block_job`].
    ///
    /// # Errors
    /// As [`Guest::block_pull`]; `AlreadyExists` for a file that is there and is not said to be reused; `Denied`.
    pub async fn block_copy(&self, disk: &str, options: CopyOptions) -> Result<()> {
        self.begin_block_job("blockcopy", disk, begin::Wanted::Copy(Box::new(options))).await
    }

    async fn begin_block_job(&self, name: &'static str, disk: &str, wanted: begin::Wanted) -> Result<()> {
        let (shared, disk) = (self.connection.shared.clone(), disk.to_owned());
        let work = move |held| begin::Begin { shared, held, wanted, disk }.run();
        let time = self.connection.shared.options.start_timeout.saturating_mul(2);
        self.change(Change::new(name, work).within(time)).await.map_err(|error| error.operation(name))
    }

    /// The job of a disk that is under way, else the last one since the guest started.
    ///
    /// # Errors
    /// `InvalidState` when the guest does not run; `NotFound` for a disk that it does not have; `Busy`; `Timeout`.
    pub async fn block_job(&self, disk: &str) -> Result<Option<BlockJobReport>> {
        // In step and over, at most.
        for _ in 0..3 {
            // Attending it settles what is over.
            let domain = self.domain().await?;
            let Some(record) = self.files().await?.1 else { return Err(crate::actor::not_running(self.name())) };
            let live = record.live()?;
            let target = chain::target(disk_of(self.name(), &live.config, disk)?).to_owned();
            let Some(entry) = record.block_jobs.iter().find(|it| it.job.disk == target) else { return Ok(None) };
            let mut report = BlockJobReport::of(entry);
            if entry.is_over() {
                return Ok(Some(report));
            }
            let Some(jobs) = domain.block_jobs() else { return Ok(None) };
            if let Some(status) = jobs.status(&entry.job).await? {
                (report.done, report.total) = (status.done, status.total);
                report.ready |= status.state == BlockJobState::Ready;
                let is_news = status.state == BlockJobState::Ready && !entry.ready;
                if !matches!(status.state, BlockJobState::Over { .. }) && !is_news {
                    return Ok(Some(report));
                }
            }
            self.settle_block_jobs().await?;
        }
        let message = format!("the block job of '{disk}' is over, and what it left cannot be written down");
        Err(Error::new(ErrorKind::Timeout, message).hint("try again later"))
    }

    async fn settle_block_jobs(&self) -> Result<()> {
        let shared = self.connection.shared.clone();
        let work = move |held: Held| async move { settle(shared, held).await.map(|()| Left::nothing()) };
        self.change(Change::new("blockjob", work)).await
    }

    /// Has a disk's job end, and waits for it unless `wait` is false.
    ///
    /// # Errors
    /// `InvalidState` for a disk without a job, and for [`BlockJobEnd::Pivot`] of one that is not in step with the guest; as
    /// [`Guest::block_job`]. The error of the job itself is in its report.
    pub async fn end_block_job(&self, disk: &str, how: BlockJobEnd, wait: bool) -> Result<()> {
        let (shared, disk) = (self.connection.shared.clone(), disk.to_owned());
        let work = move |held: Held| async move {
            settle::end(shared, held, &disk, how, wait).await.map(|()| Left::nothing())
        };
        self.change(Change::new("blockjob", work).job()).await.map_err(|error| error.operation("blockjob"))
    }

    /// Limits the speed of a disk's job, in bytes a second; 0: no limit.
    ///
    /// # Errors
    /// As [`Guest::end_block_job`].
    pub async fn limit_block_job(&self, disk: &str, bandwidth: u64) -> Result<()> {
        let disk = disk.to_owned();
        let work = move |held: Held| async move {
            let entry = entry_of(&held, &disk)?;
            let jobs = held.domain.block_jobs().ok_or_else(|| held.missing("block jobs"))?;
            jobs.limit(&entry.job, bandwidth).await?;
            let id = entry.job.id;
            let written = held.lane.edit(move |record| {
                record.block_jobs.iter_mut().filter(|it| it.job.id == id).for_each(|it| it.job.bandwidth = bandwidth);
                Ok(())
            });
            written.await.map(|_| Left::nothing())
        };
        self.change(Change::new("blockjob", work)).await
    }

    /// Changes how many bytes of a disk the running guest sees.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `InvalidArgument`; `NotFound`; `Busy` for a disk that has a job; `Unsupported`; `Hypervisor`
    /// for a size that the image cannot have.
    pub async fn block_resize(&self, disk: &str, bytes: u64) -> Result<()> {
        if bytes == 0 || !bytes.is_multiple_of(512) || i64::try_from(bytes).is_err() {
            let message = format!("a disk cannot have {bytes} bytes; it has whole sectors of 512");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let (name, guest) = (disk.to_owned(), self.name().to_owned());
        let work = move |held: Held| async move {
            let resize = held.domain.block_resize().ok_or_else(|| held.missing("changing sizes of disks"))?;
            let live = held.record.live()?.config;
            let disk: &Disk = disk_of(&guest, &live, &name)?;
            held.record.no_block_job(Some(chain::target(disk)))?;
            resize.resize(disk, bytes).await.map(|()| Left::nothing())
        };
        self.change(Change::new("blockresize", work)).await
    }

    /// Marks an image of a disk of the running guest: an event tells when the guest writes beyond so many bytes of its file. The disk is
    /// named by its target or source; `vda[2]` names another of its images. 0 takes the mark away.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `NotFound`; `Unsupported`; `Busy`.
    pub async fn set_block_threshold(&self, disk: &str, bytes: u64) -> Result<()> {
        let (name, guest) = (disk.to_owned(), self.name().to_owned());
        let work = move |held: Held| async move {
            let marks = held.domain.block_threshold().ok_or_else(|| held.missing("marks on images"))?;
            let live = held.record.live()?.config;
            let target = name.split_once('[').map_or(name.as_str(), |(target, _)| target);
            let disk = disk_of(&guest, &live, target)?;
            let image = if target == name {
                chain::layers(disk).first().map(|it| it.number)
            } else {
                chain::find(disk, &name).map(Some)?
            };
            let image =
                image.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("nothing is in the drive '{target}'")))?;
            marks.set_threshold(disk, image, bytes).await.map(|()| Left::nothing())
        };
        self.change(Change::new("domblkthreshold", work)).await
    }
}

/// The job of a disk that is under way.
fn entry_of(held: &Held, disk: &str) -> Result<BlockJobRecord> {
    let live = held.record.live()?.config;
    let target = chain::target(disk_of(&held.record.guest.name, &live, disk)?).to_owned();
    held.record
        .block_job(&target)
        .cloned()
        .ok_or_else(|| Error::new(ErrorKind::InvalidState, format!("the disk '{target}' has no block job")))
}
