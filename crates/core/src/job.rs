//! Work on a guest that takes time: how it is called, how far it is, how it is stopped.
//!
//! The engine hands a [`JobContext`] with the call. A driver tells progress through it, looks at its token at every wait, and names
//! the steps it has reached; a step is in the guest's durable record when [`JobContext::reached`] returns, so that whoever finds the guest
//! after a crash knows what is to be finished and what is to be undone.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{CancelToken, Result};

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JobKind {
    /// Writes the guest into a file and ends it.
    Save,
    /// Continues a guest from a file.
    Restore,
    /// Writes the guest's memory into a file, for debuggers.
    Dump,
    /// Reads what a disk's images hold into the topmost one.
    BlockPull,
    /// Writes what inner images of a disk hold into one below.
    BlockCommit,
    /// The same with the topmost image.
    ActiveCommit,
    /// Copies a disk while the guest writes it.
    BlockCopy,
    /// Takes a snapshot.
    Snapshot,
    /// Brings a guest back to a snapshot.
    SnapshotRevert,
    /// Deletes snapshots.
    SnapshotDelete,
}

impl JobKind {
    /// All kinds.
    pub const ALL: &'static [Self] = &[
        Self::Save,
        Self::Restore,
        Self::Dump,
        Self::BlockPull,
        Self::BlockCommit,
        Self::ActiveCommit,
        Self::BlockCopy,
        Self::Snapshot,
        Self::SnapshotRevert,
        Self::SnapshotDelete,
    ];

    /// As `virsh domjobinfo` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Save => "Save",
            Self::Restore => "Restore",
            Self::Dump => "Dump",
            Self::BlockPull => "Block Pull",
            Self::BlockCommit => "Block Commit",
            Self::ActiveCommit => "Active Block Commit",
            Self::BlockCopy => "Block Copy",
            Self::Snapshot => "Snapshot",
            Self::SnapshotRevert => "Snapshot revert",
            Self::SnapshotDelete => "Snapshot delete",
        }
    }

    /// The steps it goes through, in order. What comes before the first step of a restore is a start ([`crate::Stage`]).
    #[must_use]
    pub fn steps(self) -> &'static [JobStep] {
        use JobStep::{
            Asked, Begun, Cleared, Ended, Kept, Loaded, Noted, Opened, Paused, Resumed, Spent, Streaming, Turned,
            Written,
        };
        match self {
            Self::Save => &[Begun, Opened, Paused, Streaming, Written, Kept, Ended],
            Self::Restore => &[Loaded, Spent, Resumed],
            Self::Dump => &[Begun, Opened, Streaming, Written, Kept],
            Self::BlockPull | Self::BlockCommit => &[Begun, Opened, Streaming, Turned, Cleared],
            Self::ActiveCommit | Self::BlockCopy => &[Begun, Opened, Streaming, Asked, Turned, Cleared],
            // One that does not run has nothing that streams.
            Self::Snapshot => &[Begun, Streaming, Written, Kept],
            // One that does not run has no CPUs to stop and to let go.
            Self::SnapshotRevert => &[Begun, Paused, Loaded, Noted, Resumed],
            Self::SnapshotDelete => &[Begun, Written, Kept],
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A step of a job. Those of one kind are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JobStep {
    /// The record says what is about to be done, and what the guest did before.
    Begun,
    /// The file that is written is there, under a name of its own.
    Opened,
    /// The guest's CPUs stand.
    Paused,
    /// The hypervisor writes.
    Streaming,
    /// All is in the file and on the disk; of a snapshot: in the images, or no more.
    Written,
    /// The file has its name; of a snapshot: the store says so.
    Kept,
    /// The guest's process is gone.
    Ended,
    /// The guest is there again, its CPUs stand, and the record says that it runs.
    Loaded,
    /// What it came from cannot be used a second time, where that would be wrong.
    Spent,
    /// The store says what the guest came back to.
    Noted,
    /// Its CPUs run, or stay stopped as was asked.
    Resumed,
    /// The record says how the job shall end, which is about to be told.
    Asked,
    /// The job is over, and the record has the images that the guest is on now.
    Turned,
    /// What the guest does not use any more is closed and given back, and the stored definition has the new images.
    Cleared,
}

impl JobStep {
    /// The step in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Opened => "opened",
            Self::Paused => "paused",
            Self::Streaming => "streaming",
            Self::Written => "written",
            Self::Kept => "kept",
            Self::Ended => "ended",
            Self::Loaded => "loaded",
            Self::Spent => "spent",
            Self::Noted => "noted",
            Self::Resumed => "resumed",
            Self::Asked => "asked",
            Self::Turned => "turned",
            Self::Cleared => "cleared",
        }
    }
}

impl fmt::Display for JobStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far a job is. What a hypervisor does not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct JobProgress {
    /// Bytes in all, as estimated now; 0 while that is unknown.
    pub total: u64,
    /// Bytes done.
    pub processed: u64,
    /// Bytes left.
    pub remaining: u64,
    /// Bytes a second at the moment.
    pub bandwidth: Option<u64>,
    /// Which pass over the guest's memory, from 1.
    pub iteration: Option<u64>,
    /// Pages of one byte all over, of which that byte alone is written.
    pub constant_pages: Option<u64>,
    /// Pages that are written whole.
    pub normal_pages: Option<u64>,
    /// Bytes of a page.
    pub page_size: Option<u64>,
}

impl JobProgress {
    /// So many of so many bytes.
    #[must_use]
    pub fn of(processed: u64, total: u64) -> Self {
        Self { total, processed, remaining: total.saturating_sub(processed), ..Self::default() }
    }

    /// Between 0 and 1; 0 while nothing is known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 64 bits")]
    pub fn share(&self) -> f64 {
        let known = self.processed.saturating_add(self.remaining).max(self.total);
        if known == 0 { 0.0 } else { (known - self.remaining.min(known)) as f64 / known as f64 }
    }
}

/// Who keeps a job's journal and shows its progress: the engine, or a test.
#[async_trait]
pub trait JobSink: Send + Sync {
    /// So far it is. Cheap; may be called often.
    fn progress(&self, progress: JobProgress);
    /// A step is reached, and durable when this returns.
    async fn reached(&self, step: JobStep) -> Result<()>;
}

/// What comes with a call that takes time.
#[derive(Clone)]
#[non_exhaustive]
pub struct JobContext {
    /// Looked at at every wait; then undo and return `Cancelled`.
    pub cancel: CancelToken,
    sink: Arc<dyn JobSink>,
}

impl JobContext {
    /// A context.
    #[must_use]
    pub fn new(sink: Arc<dyn JobSink>, cancel: CancelToken) -> Self {
        Self { cancel, sink }
    }

    /// Tells how far the job is.
    pub fn progress(&self, progress: JobProgress) {
        self.sink.progress(progress);
    }

    /// Says that a step is reached; it is durable when this returns.
    ///
    /// # Errors
    /// Whatever the sink says, `Storage` as a rule; the job must then be undone.
    pub async fn reached(&self, step: JobStep) -> Result<()> {
        self.sink.reached(step).await
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobContext")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_a_job_are_in_order() {
        for kind in JobKind::ALL {
            assert!(kind.steps().windows(2).all(|pair| pair[0] < pair[1]), "{kind}");
        }
    }

    #[test]
    fn a_share_is_never_more_than_all() {
        let mut progress = JobProgress::of(50, 200);
        assert!((progress.share() - 0.25).abs() < 1e-9);
        // Memory that changes meanwhile is processed more than once.
        progress.processed = 900;
        progress.remaining = 100;
        assert!((progress.share() - 0.9).abs() < 1e-9);
        progress.remaining = u64::MAX;
        assert!(progress.share() < 1e-9);
        assert!(JobProgress::default().share() < 1e-9);
    }
}
