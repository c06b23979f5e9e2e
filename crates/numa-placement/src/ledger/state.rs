//! The state file: a line that says what follows, then the leases.
//!
//! The first line is JSON with version, generation and checksum (FNV-1a, 64 bits) of everything after it. So a newer
//! version is recognised whatever follows, and a file that was cut or changed is recognised before it is believed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use polyvirt_lease::{Durability, write_atomic};
use serde::{Deserialize, Serialize};

use super::{Lease, LedgerError, io_error};
use crate::plan::LeaseId;

/// Name of the state file.
pub(super) const FILE: &str = "state";
/// Version of the format.
const SCHEMA: u32 = 1;
/// More than ten thousand guests need.
const LIMIT: u64 = 64 << 20;
/// Corrupt states that are kept.
const KEPT: u32 = 100;

/// The content of the state file.
pub(super) struct State {
    pub(super) generation: u64,
    pub(super) leases: Vec<Lease>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    schema: u32,
    #[serde(default)]
    generation: u64,
    #[serde(default)]
    checksum: u64,
}

impl State {
    /// An empty state. Its generation starts at the time, so that no id of a lost state comes again.
    pub(super) fn fresh() -> State {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        State { generation: u64::try_from(now.as_micros()).unwrap_or(0), leases: Vec::new() }
    }

    pub(super) fn next_id(&mut self) -> LeaseId {
        self.generation += 1;
        LeaseId(format!("{:x}", self.generation))
    }

    pub(super) fn lease_mut(&mut self, id: &LeaseId) -> Result<&mut Lease, LedgerError> {
        let found = self.leases.iter_mut().find(|lease| lease.id == *id);
        found.ok_or_else(|| LedgerError::UnknownLease(id.clone()))
    }

    /// Changes with every change: each replaces the file.
    pub(super) fn stamp(dir: &Path) -> Option<(u64, SystemTime)> {
        let meta = fs::symlink_metadata(dir.join(FILE)).ok()?;
        Some((meta.ino(), meta.modified().ok()?))
    }

    /// Reads the state; the inner error says why it is corrupt.
    pub(super) fn read(dir: &Path) -> Result<Result<State, String>, LedgerError> {
        let path = dir.join(FILE);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(State::fresh())),
            Err(error) => return Err(LedgerError::Io { path, source: error }),
            Ok(meta) if !meta.is_file() || !is_trusted(dir, meta.uid()) => return Err(LedgerError::Foreign(path)),
            Ok(_) => {}
        }
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes));
        read.map_err(|source| LedgerError::Io { path: path.clone(), source })?;
        if bytes.len() as u64 > LIMIT {
            return Ok(Err(format!("longer than {LIMIT} bytes")));
        }
        State::parse(&path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Result<State, String>, LedgerError> {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (first, rest) = bytes.split_at(end);
        let rest = rest.get(1..).unwrap_or_default();
        let header: Header = match serde_json::from_slice(first) {
            Ok(header) => header,
            Err(error) => return Ok(Err(format!("first line: {error}"))),
        };
        if header.schema > SCHEMA {
            return Err(LedgerError::Newer { path: path.to_owned(), found: header.schema, known: SCHEMA });
        }
        if header.checksum != checksum(rest) {
            return Ok(Err("the checksum does not match".to_owned()));
        }
        Ok(match serde_json::from_slice(rest) {
            Ok(leases) => Ok(State { generation: header.generation, leases }),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Replaces the state. Not synced: the directory is run-time state, and after a reboot no owner lives.
    pub(super) fn write(&mut self, dir: &Path) -> Result<(), LedgerError> {
        let path = dir.join(FILE);
        self.generation += 1;
        let fail = |source: io::Error| io_error(&path, source);
        let leases = serde_json::to_vec(&self.leases).map_err(|error| fail(error.into()))?;
        let header = Header { schema: SCHEMA, generation: self.generation, checksum: checksum(&leases) };
        let mut bytes = serde_json::to_vec(&header).map_err(|error| fail(error.into()))?;
        bytes.push(b'\n');
        bytes.extend(leases);
        write_atomic(&path, &bytes, 0o644, Durability::Volatile).map_err(fail)
    }

    /// Moves an unreadable state out of the way; returns where it is.
    pub(super) fn set_aside(dir: &Path) -> Result<PathBuf, LedgerError> {
        let from = dir.join(FILE);
        let free = (1..KEPT).map(|n| dir.join(format!("{FILE}.corrupt-{n}"))).find(|path| !path.exists());
        let to = free.unwrap_or_else(|| dir.join(format!("{FILE}.corrupt-{KEPT}")));
        fs::rename(&from, &to).map_err(|source| io_error(&from, source))?;
        Ok(to)
    }
}

/// Root, the directory's owner and ourselves may write promises; in a sticky directory others could plant a file.
pub(super) fn is_trusted(dir: &Path, uid: u32) -> bool {
    let own = fs::metadata("/proc/self").map(|meta| meta.uid()).ok();
    let of_dir = fs::metadata(dir).map(|meta| meta.uid()).ok();
    uid == 0 || Some(uid) == own || Some(uid) == of_dir
}

/// FNV-1a with the 64-bit constants of its authors (draft-eastlake-fnv).
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_fnv_1a() {
        assert_eq!(checksum(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(checksum(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
