//! When a guest of the host was last moved, kept from one command to the next.
//!
//! A file of its own: an older version that rewrites the state would lose it there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polyvirt_lease::{Durability, boot_id, write_atomic};
use serde::{Deserialize, Serialize};

use super::busy::uptime;
use super::state::is_trusted;
use super::{LedgerError, io_error};

/// Name of the file.
const FILE: &str = "moved";
/// More than a moment needs.
const LIMIT: u64 = 4096;

/// A moment, by all clocks there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Moment {
    boot: String,
    /// Milliseconds since the boot.
    up_ms: u64,
    /// Milliseconds since 1970.
    wall_ms: u64,
}

impl Moment {
    fn now() -> Option<Moment> {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Some(Moment { boot: boot_id().ok()?, up_ms: uptime()?, wall_ms })
    }

    /// Guests of an earlier boot are gone, and with them what was moved.
    fn since(&self, then: &Moment) -> Option<Duration> {
        let by_boot = self.up_ms.checked_sub(then.up_ms);
        let passed = by_boot.or_else(|| self.wall_ms.checked_sub(then.wall_ms));
        passed.filter(|_| self.boot == then.boot).map(Duration::from_millis)
    }
}

pub(super) fn note(dir: &Path) -> Result<(), LedgerError> {
    let path = dir.join(FILE);
    let fail = |source: io::Error| io_error(&path, source);
    let now = Moment::now().ok_or_else(|| fail(io::Error::other("the time since the boot cannot be read")))?;
    let text = serde_json::to_vec(&now).map_err(|error| fail(error.into()))?;
    write_atomic(&path, &text, 0o644, Durability::Volatile).map_err(fail)
}

pub(super) fn since(dir: &Path) -> Option<Duration> {
    Moment::now()?.since(&read(dir)?)
}

fn read(dir: &Path) -> Option<Moment> {
    let path = dir.join(FILE);
    let meta = fs::symlink_metadata(&path).ok()?;
    if !meta.is_file() || !is_trusted(dir, meta.uid()) {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(&path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot: &str, up_ms: u64, wall_ms: u64) -> Moment {
        Moment { boot: boot.to_owned(), up_ms, wall_ms }
    }

    #[test]
    fn clocks_that_go_backwards_are_replaced_by_another_or_say_nothing() {
        let then = at("a", 60_000, 1_000_000);
        let since = |now: Moment| now.since(&then).map(|passed| passed.as_millis());
        assert_eq!(since(at("a", 90_000, 0)), Some(30_000), "the wall clock was set back");
        assert_eq!(since(at("a", 90_000, 900_000_000)), Some(30_000), "the wall clock was set forth");
        assert_eq!(since(at("a", 5_000, 1_007_000)), Some(7_000), "another time namespace");
        assert_eq!(since(at("a", 5_000, 900_000)), None, "no clock tells");
        assert_eq!(since(at("b", 90_000, 1_030_000)), None, "another boot");
    }

    #[test]
    fn a_move_is_remembered_and_what_cannot_be_read_is_no_move() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(since(dir.path()), None);
        note(dir.path()).unwrap();
        assert!(since(dir.path()).is_some());
        for text in ["", "{", r#"{"boot": "a", "up_ms": -1, "wall_ms": 0}"#, &"x".repeat(10_000)] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert_eq!(since(dir.path()), None, "{text:.20}");
        }
        fs::remove_file(dir.path().join(FILE)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join(FILE)).unwrap();
        assert_eq!(read(dir.path()), None);
        note(dir.path()).unwrap();
        assert!(since(dir.path()).is_some(), "a link is replaced, not followed");
    }
}
