//! What of a block job must survive the process that began it.

use std::path::PathBuf;

use polyvirt_core::{
    BlockJob, BlockJobEnd, Error, ErrorKind, JobStep, Result,
    model::{ParseOptions, device::Device, disk::Disk},
};
use serde::{Deserialize, Serialize};

use crate::store::{JobOutcome, StatusRecord, now};

/// A block job of a guest, under way or the last one of its disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BlockJobRecord {
    pub(crate) job: BlockJob,
    /// The last step that was reached.
    pub(crate) step: JobStep,
    /// Seconds since 1970.
    pub(crate) since: u64,
    /// The disk as it was while the job worked, with its `<mirror>`.
    pub(crate) disk: String,
    /// Whether it was told that it is in step with the guest.
    #[serde(default)]
    pub(crate) ready: bool,
    /// How it shall end.
    #[serde(default)]
    pub(crate) end: Option<BlockJobEnd>,
    /// Whether it was in step with the guest when its end was asked for: what it made is whole then.
    #[serde(default)]
    pub(crate) whole: bool,
    /// Images that are not used any more are removed.
    #[serde(default)]
    pub(crate) delete: bool,
    /// The file that is made for it.
    #[serde(default)]
    pub(crate) created: Option<PathBuf>,
    /// How it ended, from [`JobStep::Turned`] on.
    #[serde(default)]
    pub(crate) outcome: Option<JobOutcome>,
}

impl BlockJobRecord {
    /// A job that is about to begin.
    pub(crate) fn new(job: BlockJob, disk: String) -> Self {
        let step = JobStep::Begun;
        Self {
            job,
            step,
            since: now(),
            disk,
            ready: false,
            end: None,
            whole: false,
            delete: false,
            created: None,
            outcome: None,
        }
    }

    /// Whether nothing is left to be done.
    pub(crate) fn is_over(&self) -> bool {
        self.step == JobStep::Cleared
    }

    /// The disk as it was while the job worked.
    ///
    /// # Errors
    /// `Storage`: another version wrote it.
    pub(crate) fn disk(&self) -> Result<Disk> {
        let parsed = Device::parse(&self.disk, &ParseOptions::default()).map_err(Error::invalid_config)?;
        let disk = parsed.0.alone().disks.first().cloned();
        disk.ok_or_else(|| Error::new(ErrorKind::Storage, "the record of a block job without its disk"))
    }
}

impl StatusRecord {
    /// The job of a disk that is not over.
    pub(crate) fn block_job(&self, disk: &str) -> Option<&BlockJobRecord> {
        self.block_jobs.iter().find(|it| it.job.disk == disk && !it.is_over())
    }

    /// Puts a job in the place of the one of its disk.
    pub(crate) fn put_block_job(&mut self, entry: BlockJobRecord) {
        self.block_jobs.retain(|it| it.job.disk != entry.job.disk);
        self.block_jobs.push(entry);
    }

    /// Whether somebody has to look after block jobs.
    pub(crate) fn has_block_jobs(&self) -> bool {
        self.block_jobs.iter().any(|it| !it.is_over())
    }

    /// Refuses what would harm a job of this disk, or of any if none is named.
    ///
    /// # Errors
    /// `Busy` with the disk, the job and its age.
    pub(crate) fn no_block_job(&self, disk: Option<&str>) -> Result<()> {
        let harmed = |it: &&BlockJobRecord| !it.is_over() && disk.is_none_or(|disk| it.job.disk == disk);
        let Some(found) = self.block_jobs.iter().find(harmed) else { return Ok(()) };
        let (disk, kind) = (&found.job.disk, found.job.kind.name());
        let age = now().saturating_sub(found.since);
        let message = format!("the disk '{disk}' of '{}' is in use by a {kind} since {age} s", self.guest.name);
        Err(Error::new(ErrorKind::Busy, message).with("job", kind).with("disk", disk).hint(format!(
            "see how far it is with `polyvirt blockjob {0} {disk} --info`; end it with --pivot or --abort",
            self.guest.name
        )))
    }
}
