//! One owner process at a time, by a lease beside the record it protects.
//!
//! The lock is a `flock`, so it dies with its holder. The note in the file is for people and for `Busy { owner }`
//! answers; it is never what decides, so a note that a killed holder left behind does no harm, nor one that a full or
//! read-only disk did not take.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::lock::{DirLock, LockError, LockGuard, LockMode};
use crate::{Liveness, Owner, OwnerError};

/// A note is a few short words; what is longer was not written by us.
const NOTE_LIMIT: u64 = 8 * 1024;

/// Who holds an [`OwnerLock`], for others to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OwnerNote {
    /// The holder.
    pub owner: Owner,
    /// Its program name, without directories.
    pub program: String,
    /// What it holds the lock for, such as "start".
    pub purpose: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

impl OwnerNote {
    /// A note of the calling process, from now on.
    ///
    /// # Errors
    /// [`OwnerError::Proc`] if `/proc` is not there.
    pub fn this_process(purpose: impl Into<String>) -> Result<OwnerNote, OwnerError> {
        let program = std::env::current_exe()
            .ok()
            .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
            .unwrap_or_else(|| "unknown".to_owned());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Ok(OwnerNote { owner: Owner::this_process()?, program, purpose: purpose.into(), since })
    }
}

impl fmt::Display for OwnerNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.program, self.owner, self.purpose)
    }
}

/// Somebody else holds the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// Who; `None` if the holder has not written its note yet.
    pub note: Option<OwnerNote>,
}

/// Why an [`OwnerLock`] could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerLockError {
    /// Another process (or another part of this one) holds it.
    #[error("held by {}: wait for it or end it", .0.note.as_ref().map_or("another process".to_owned(), ToString::to_string))]
    Held(Held),
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// The calling process owns what lies beside this file.
#[derive(Debug)]
pub struct OwnerLock {
    guard: LockGuard,
    path: PathBuf,
}

impl OwnerLock {
    /// Becomes the owner, or says at once who is.
    ///
    /// # Errors
    /// [`OwnerLockError::Held`] or [`OwnerLockError::Lock`].
    pub fn acquire(path: &Path, who: &OwnerNote) -> Result<OwnerLock, OwnerLockError> {
        let lock = lock_at(path)?;
        match lock.try_lock(LockMode::Exclusive)? {
            Some(guard) => OwnerLock::with_note(guard, path, who),
            None => Err(OwnerLockError::Held(Held { note: read_note(path) })),
        }
    }

    /// Becomes the owner as soon as the present one lets go, but waits no longer than `limit`.
    ///
    /// # Errors
    /// [`OwnerLockError::Held`] after `limit`, or [`OwnerLockError::Lock`].
    pub fn acquire_timeout(path: &Path, who: &OwnerNote, limit: Duration) -> Result<OwnerLock, OwnerLockError> {
        match lock_at(path)?.lock_timeout(LockMode::Exclusive, limit) {
            Ok(guard) => OwnerLock::with_note(guard, path, who),
            Err(LockError::Timeout { .. }) => Err(OwnerLockError::Held(Held { note: read_note(path) })),
            Err(error) => Err(error.into()),
        }
    }

    /// Who owns it now, without taking it: `None` if nobody does or there is no such file.
    ///
    /// The answer may be old when it arrives. It comes from the note, so that looking does not stand in the way of
    /// an `acquire`; only if the note says nothing clear (cut off by a kill, or of another pid namespace) the lock is tried.
    ///
    /// # Errors
    /// [`LockError`] if the file cannot be used.
    pub fn holder(path: &Path) -> Result<Option<Held>, LockError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // Whoever lets go empties the file.
            Ok(meta) if meta.is_file() && meta.len() == 0 => return Ok(None),
            _ => {}
        }
        let note = read_note(path);
        match note.as_ref().map(|note| note.owner.liveness()) {
            Some(Liveness::Alive) => return Ok(Some(Held { note })),
            Some(Liveness::Dead) => return Ok(None),
            _ => {}
        }
        match lock_at(path)?.try_lock(LockMode::Shared)? {
            Some(_) => Ok(None),
            None => Ok(Some(Held { note })),
        }
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets go; the file stays, empty. Dropping does the same.
    pub fn release(self) {}

    /// Removes the file and lets go, for when the record it protects is gone. Another process that waits for it
    /// notices, and starts over with a new file.
    ///
    /// # Errors
    /// If the file cannot be removed; the lock is let go all the same.
    pub fn remove(self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn with_note(guard: LockGuard, path: &Path, who: &OwnerNote) -> Result<OwnerLock, OwnerLockError> {
        let owned = OwnerLock { guard, path: path.to_owned() };
        if !owned.guard.writable {
            return Ok(owned);
        }
        let io = |source| OwnerLockError::Lock(LockError::Io { path: path.to_owned(), source });
        let bytes = serde_json::to_vec(who).map_err(|e| io(e.into()))?;
        match replace_content(&owned.guard.file, &bytes) {
            // On a full disk the lock holds all the same: whoever wants to end a guest or remove files must be able to.
            Err(error) if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Err(io(error))
            }
            _ => Ok(owned),
        }
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // The note is only for reading; if it cannot be cleared the next holder overwrites it.
        let _ = replace_content(&self.guard.file, b"");
    }
}

fn lock_at(path: &Path) -> Result<DirLock, LockError> {
    let bad = || LockError::NotARegularFile(path.to_owned());
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirLock::new(dir, path.file_name().and_then(|n| n.to_str()).ok_or_else(bad)?)
}

fn replace_content(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(bytes)
}

/// A holder writes its note right after locking; a reader in between sees an empty or half-written file and looks
/// again.
fn read_note(path: &Path) -> Option<OwnerNote> {
    let deadline = Instant::now() + Duration::from_millis(20);
    loop {
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(NOTE_LIMIT).read_to_end(&mut bytes)).ok()?;
        if let Ok(note) = serde_json::from_slice(&bytes) {
            return Some(note);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::process::{Command, Stdio};

    #[test]
    fn one_owner_at_a_time_and_the_other_is_told_who() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guest.owner");
        let note = OwnerNote::this_process("start").unwrap();
        assert_eq!(OwnerLock::holder(&path).unwrap(), None);
        let lock = OwnerLock::acquire(&path, &note).unwrap();
        let Err(OwnerLockError::Held(held)) = OwnerLock::acquire(&path, &note) else { panic!("two owners") };
        assert_eq!(held.note.as_ref(), Some(&note));
        assert_eq!(OwnerLock::holder(&path).unwrap().unwrap().note, Some(note.clone()));
        let short = Duration::from_millis(2);
        let error = OwnerLock::acquire_timeout(&path, &note, short).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        lock.release();
        assert_eq!(OwnerLock::holder(&path).unwrap(), None);
        OwnerLock::acquire(&path, &note).unwrap().remove().unwrap();
        assert!(!path.exists());
    }

    /// Run by the test below in a process of its own: takes the lock, says so, and waits to be killed.
    #[test]
    fn child_that_holds_until_killed() {
        let Some(path) = std::env::var_os("POLYVIRT_LEASE_TEST_HOLD") else { return };
        let note = OwnerNote::this_process("holding").unwrap();
        let _lock = OwnerLock::acquire(Path::new(&path), &note).unwrap();
        println!("\nheld");
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn a_killed_owner_is_succeeded_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guest.owner");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "owner_lock::tests::child_that_holds_until_killed", "--nocapture"])
            .env("POLYVIRT_LEASE_TEST_HOLD", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = io::BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "held"), "the child never got the lock");
        let note = OwnerNote::this_process("taking over").unwrap();
        let Err(OwnerLockError::Held(held)) = OwnerLock::acquire(&path, &note) else { panic!("two owners") };
        assert_eq!(held.note.unwrap().owner.pid(), Some(child.id()));
        assert_eq!(OwnerLock::holder(&path).unwrap().unwrap().note.unwrap().owner.pid(), Some(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(OwnerLock::holder(&path).unwrap(), None, "its note is still there, but it is dead");
        let lock = OwnerLock::acquire(&path, &note).expect("the dead hold nothing");
        drop(lock);
    }

    #[test]
    fn a_note_of_garbage_or_of_gigabytes_is_no_note() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guest.owner");
        let note = OwnerNote::this_process("start").unwrap();
        let lock = OwnerLock::acquire(&path, &note).unwrap();
        replace_content(&lock.guard.file, b"{\"owner\":").unwrap();
        assert_eq!(read_note(&path), None);
        assert_eq!(OwnerLock::holder(&path).unwrap(), Some(Held { note: None }), "then the lock tells");
        lock.guard.file.set_len(1 << 30).unwrap();
        assert_eq!(read_note(&path), None);
    }

    #[test]
    fn many_threads_and_removals_leave_one_owner_at_each_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guest.owner");
        let note = OwnerNote::this_process("race").unwrap();
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (path, note, inside) = (&path, &note, &inside);
                scope.spawn(move || {
                    for round in 0..50 {
                        let lock = OwnerLock::acquire_timeout(path, note, Duration::from_secs(60)).unwrap();
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        if (thread + round) % 3 == 0 { lock.remove().unwrap() } else { lock.release() }
                    }
                });
            }
        });
    }
}
