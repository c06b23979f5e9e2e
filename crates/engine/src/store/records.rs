//! Status records: what runs, in JSON, written by the guest's owner before each step that cannot be taken back.

use std::path::{Path, PathBuf};

use polyvirt_core::{
    DomainId, DriverRecord, Error, ErrorKind, GuestRef, GuestState, LiveConfig, Result, Stage, StateReason, StopReason,
    io_error,
    model::{DomainConfig, FormatOptions, ParseOptions},
    placement::Plan,
};
use polyvirt_lease::{Durability, write_atomic};
use serde::{Deserialize, Serialize};

use crate::block_jobs::BlockJobRecord;

use super::{JobRecord, file_of, lock_directory, names_in};

/// Version of [`StatusRecord`]; a newer one is refused and left alone.
const SCHEMA: u32 = 1;
/// The largest record that is read.
const SIZE_LIMIT: u64 = 64 << 20;

/// How far a guest has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// A start has begun and not committed: whoever finds this without an owner reaps it.
    Starting,
    /// It runs.
    Running,
}

/// The engine's part and the driver's part of what is known of a running guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StatusRecord {
    pub(crate) schema: u32,
    pub(crate) boot_id: String,
    pub(crate) guest: GuestRef,
    pub(crate) phase: Phase,
    pub(crate) stage: Stage,
    pub(crate) state: GuestState,
    /// Why it is in that state.
    #[serde(default)]
    pub(crate) reason: Option<StateReason>,
    /// Seconds since 1970 at which the start began.
    pub(crate) since: u64,
    /// The live definition.
    live: String,
    pub(crate) plan: Option<Plan>,
    pub(crate) driver: Option<DriverRecord>,
    /// What takes time and is being done to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<JobRecord>,
    /// Jobs of its disks: those under way, and the last one of each disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) block_jobs: Vec<BlockJobRecord>,
}

/// A relaunch starts what stands here.
fn with_secrets(config: &DomainConfig) -> String {
    config.to_xml_with(FormatOptions::new().secure())
}

impl StatusRecord {
    /// The record of a start that begins now.
    pub(crate) fn begin(live: &LiveConfig, plan: Option<Plan>, boot_id: String) -> Self {
        Self {
            schema: SCHEMA,
            boot_id,
            guest: live.guest(),
            phase: Phase::Starting,
            stage: Stage::Intent,
            state: GuestState::ShutOff(StopReason::Unknown),
            reason: None,
            since: std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_secs()),
            live: with_secrets(&live.config),
            plan,
            driver: None,
            job: None,
            block_jobs: Vec::new(),
        }
    }

    /// The live definition.
    ///
    /// # Errors
    /// `InvalidConfig`: another version wrote something that this one does not understand.
    pub(crate) fn live(&self) -> Result<LiveConfig> {
        let parsed = DomainConfig::parse(&self.live, &ParseOptions::default()).map_err(Error::invalid_config)?;
        let id = self.guest.id.ok_or_else(|| Error::new(ErrorKind::Storage, "a status record without an id"))?;
        Ok(LiveConfig::new(parsed.config, id))
    }

    /// Replaces the live definition.
    pub(crate) fn set_live(&mut self, config: &DomainConfig) {
        self.live = with_secrets(config);
    }
}

/// The directory of records.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    dir: PathBuf,
}

impl Records {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// The file whose lock makes a process the owner of a guest.
    pub(crate) fn owner_file(&self, name: &str) -> Result<PathBuf> {
        file_of(&self.dir, name, "owner")
    }

    /// The file of a guest's record.
    pub(crate) fn file(&self, name: &str) -> Result<PathBuf> {
        file_of(&self.dir, name, "json")
    }

    /// The record of a guest, or `None`.
    ///
    /// # Errors
    /// `Storage` when it is not whole or newer than this program; it is left as it is.
    pub(crate) fn get(&self, name: &str) -> Result<Option<StatusRecord>> {
        let path = self.file(name)?;
        let size = match std::fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error("read the status record", &path, e)),
        };
        let broken = |why: String| {
            Error::new(ErrorKind::Storage, format!("the status record {} {why}", path.display()))
                .hint("end the guest's process by hand if it still runs, then remove this file")
        };
        if size > SIZE_LIMIT {
            return Err(broken(format!("has {size} bytes, at most {SIZE_LIMIT} are read")));
        }
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error("read the status record", &path, e)),
        };
        // What a power cut leaves of a record that was never synced. No process of its time is left either.
        if text.iter().all(|byte| *byte == 0) {
            tracing::warn!(guest = name, path = %path.display(), "an empty status record is taken for one that a power cut emptied, and passed over");
            return Ok(None);
        }
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let version: Version = serde_json::from_slice(&text).map_err(|e| broken(format!("is not readable: {e}")))?;
        if version.schema > SCHEMA {
            let message = format!(
                "the status record {} has version {}, this program knows {SCHEMA}",
                path.display(),
                version.schema
            );
            return Err(Error::new(ErrorKind::Storage, message).hint("use the newer polyvirt that started this guest"));
        }
        serde_json::from_slice(&text).map(Some).map_err(|e| broken(format!("is not readable: {e}")))
    }

    /// Names that have a record, sorted.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        names_in(&self.dir, "json")
    }

    /// Names that have a record or that somebody owned who did not come to remove the mark of it, sorted.
    pub(crate) fn traces(&self) -> Result<Vec<String>> {
        let mut names = self.names()?;
        names.extend(names_in(&self.dir, "owner")?);
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Writes a record in one step: every process sees the old one or the new one.
    pub(crate) fn put(&self, record: &StatusRecord, durability: Durability) -> Result<()> {
        let path = file_of(&self.dir, &record.guest.name, "json")?;
        let text = serde_json::to_vec(record)
            .map_err(|e| Error::new(ErrorKind::Internal, "a status record that is no JSON").source(e))?;
        write_atomic(&path, &text, 0o600, durability).map_err(|e| io_error("write the status record", &path, e))
    }

    /// Removes a record; nothing there is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = file_of(&self.dir, name, "json")?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove the status record", &path, e)),
            _ => Ok(()),
        }
    }

    /// The next number of a run, never given twice while `run` lives.
    pub(crate) fn next_id(&self) -> Result<DomainId> {
        let path = self.dir.join("next-id");
        let storage = |e: std::io::Error| io_error("count runs in", &path, e);
        let _lock = lock_directory(&self.dir, ".ids")?;
        let last: u32 = match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().unwrap_or(0),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
            Err(e) => return Err(storage(e)),
        };
        let next = last.checked_add(1).unwrap_or(1);
        // Losing this file to a power cut is harmless: what it numbers is gone then too.
        write_atomic(&path, next.to_string().as_bytes(), 0o600, Durability::Volatile).map_err(storage)?;
        Ok(DomainId(next))
    }
}
