//! Jobs: what a guest's record keeps of one that is under way, and reports of the last one for whoever asks.
//!
//! What must not be lost stands in the status record. A report (`run/jobs/NAME.json`) tells how far a job is and how the last one ended;
//! without it nothing goes wrong. Who wants a job of another process to stop leaves a request (`run/jobs/NAME.abort`) that names it.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use polyvirt_core::{Error, ErrorKind, JobKind, JobProgress, JobStep, Result, io_error};
use polyvirt_lease::{Durability, Owner, write_atomic};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{blocking, file_of, make_directory};
use crate::saved::Image;

/// The largest report or request that is read.
const SIZE_LIMIT: u64 = 64 << 10;

/// What of a job must survive the process that does it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    pub(crate) id: Uuid,
    pub(crate) kind: JobKind,
    /// The last step that was reached.
    pub(crate) step: JobStep,
    /// Seconds since 1970.
    pub(crate) since: u64,
    /// Whether the guest's CPUs run when the job is over, or undone.
    pub(crate) resume: bool,
    /// The file that is made, or for a restore the one that is spent by it.
    #[serde(default)]
    pub(crate) file: Option<PathBuf>,
    /// What the file is called until it is whole.
    #[serde(default)]
    pub(crate) partial: Option<PathBuf>,
    /// The snapshot that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<String>,
    /// Whether the guest's CPUs ran before.
    #[serde(default)]
    pub(crate) ran: bool,
}

impl JobRecord {
    /// A job that begins now.
    pub(crate) fn new(kind: JobKind, step: JobStep, resume: bool) -> Self {
        Self {
            id: Uuid::new_v4(),
            kind,
            step,
            since: now(),
            resume,
            file: None,
            partial: None,
            snapshot: None,
            ran: false,
        }
    }

    /// Whether the file that it makes has its name, and so is whole: the last step may not have come into the record.
    pub(crate) fn is_kept(&self) -> bool {
        match self.kind {
            JobKind::Save if self.step == JobStep::Written => {
                self.file.as_ref().is_some_and(|it| Image::is(it, self.id))
            }
            JobKind::Save | JobKind::Dump => self.step >= JobStep::Kept,
            _ => false,
        }
    }

    /// Removes what it had begun to write.
    pub(crate) async fn remove_partial(&self) {
        let Some(path) = self.partial.clone() else { return };
        let removed = blocking(move || match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove the unfinished file", &path, e)),
            _ => Ok(()),
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "an unfinished file stays behind");
        }
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JobOutcome {
    /// It did what it was to do.
    Completed,
    /// It was stopped on request, and undone.
    Cancelled,
    /// It failed and was undone: why.
    Failed(String),
}

/// A job of a guest, under way or over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobReport {
    /// Which one.
    pub id: Uuid,
    /// What it does.
    pub kind: JobKind,
    /// The last step that it reached; none while a restore is still a start.
    pub step: Option<JobStep>,
    /// The process that does it.
    pub owner: Owner,
    /// When it began.
    pub since: SystemTime,
    /// How long it has taken.
    pub elapsed: Duration,
    /// How far it is.
    pub progress: JobProgress,
    /// How it ended; none while it is under way.
    pub outcome: Option<JobOutcome>,
}

impl JobReport {
    /// Whether somebody works on it now.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.outcome.is_none() && self.owner.is_alive()
    }
}

/// The directory of reports.
#[derive(Clone, Debug)]
pub(crate) struct Jobs {
    dir: PathBuf,
}

impl Jobs {
    pub(crate) fn new(run: &Path) -> Self {
        Self { dir: run.join("jobs") }
    }

    /// The report of a guest's last job, if there is one that can be read.
    pub(crate) fn get(&self, name: &str) -> Result<Option<JobReport>> {
        let path = file_of(&self.dir, name, "json")?;
        let Some(text) = read(&path)? else { return Ok(None) };
        // One of another version is no harm: it is told about and does nothing.
        Ok(serde_json::from_str(&text)
            .map_err(|error| tracing::info!(%error, path = %path.display(), "a report of a job that cannot be read"))
            .ok())
    }

    pub(crate) fn put(&self, name: &str, report: &JobReport) -> Result<()> {
        make_directory(&self.dir)?;
        let path = file_of(&self.dir, name, "json")?;
        let text = serde_json::to_vec(report)
            .map_err(|e| Error::new(ErrorKind::Internal, "a report that is no JSON").source(e))?;
        write_atomic(&path, &text, 0o600, Durability::Volatile).map_err(|e| io_error("write", &path, e))
    }

    /// Asks whoever does this job to stop.
    pub(crate) fn request_abort(&self, name: &str, id: Uuid) -> Result<()> {
        make_directory(&self.dir)?;
        let path = file_of(&self.dir, name, "abort")?;
        write_atomic(&path, id.to_string().as_bytes(), 0o600, Durability::Volatile)
            .map_err(|e| io_error("write", &path, e))
    }

    /// Whether this job was asked to stop.
    pub(crate) fn abort_requested(&self, name: &str, id: Uuid) -> bool {
        let asked = file_of(&self.dir, name, "abort").and_then(|path| read(&path));
        asked.is_ok_and(|text| text.is_some_and(|text| text.trim() == id.to_string()))
    }

    /// Forgets a request.
    pub(crate) fn forget_abort(&self, name: &str) {
        if let Ok(path) = file_of(&self.dir, name, "abort") {
            // It names a job that is over: staying does no harm.
            std::fs::remove_file(path).ok();
        }
    }

    /// Forgets all of a guest's.
    pub(crate) fn forget(&self, name: &str) {
        self.forget_abort(name);
        if let Ok(path) = file_of(&self.dir, name, "json") {
            std::fs::remove_file(path).ok();
        }
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    use std::io::Read as _;
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        std::fs::File::open(path)?.take(SIZE_LIMIT).read_to_string(&mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error("read", path, e)),
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |it| it.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_for_one_job() {
        let directory = tempfile::tempdir().unwrap();
        let jobs = Jobs::new(directory.path());
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        assert!(!jobs.abort_requested("web", one));
        jobs.request_abort("web", one).unwrap();
        assert!(jobs.abort_requested("web", one) && !jobs.abort_requested("web", other));
        jobs.forget_abort("web");
        assert!(!jobs.abort_requested("web", one));
    }

    #[test]
    fn reports_are_kept_and_strange_ones_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let jobs = Jobs::new(directory.path());
        assert_eq!(jobs.get("web").unwrap(), None);
        let report = JobReport {
            id: Uuid::new_v4(),
            kind: JobKind::Save,
            step: Some(JobStep::Streaming),
            owner: Owner::this_process().unwrap(),
            since: SystemTime::UNIX_EPOCH,
            elapsed: Duration::from_millis(1500),
            progress: JobProgress::of(1, 3),
            outcome: None,
        };
        jobs.put("web", &report).unwrap();
        assert_eq!(jobs.get("web").unwrap(), Some(report));
        std::fs::write(directory.path().join("jobs/web.json"), "{\"kind\": \"teleport\"}").unwrap();
        assert_eq!(jobs.get("web").unwrap(), None);
        jobs.forget("web");
        assert!(!directory.path().join("jobs/web.json").exists());
    }
}
