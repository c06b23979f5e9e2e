//! `flock` on a lock file of a directory.
//!
//! Every guard opens the file anew: `flock` belongs to an open file, so two threads of one process exclude each other
//! just as two processes do. The lock file itself is never removed by this module.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Why a lock could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Anyone may rename or unlink files in the directory, so a lock in it protects nothing.
    #[error("'{}' is writable for everyone and not sticky: chmod o-w or +t it", .0.display())]
    UnsafeDirectory(PathBuf),
    /// The lock file is not a regular file.
    #[error("'{}' is not a regular file (a symbolic link?): remove it", .0.display())]
    NotARegularFile(PathBuf),
    /// The lock file keeps being replaced while we try.
    #[error("'{}' was replaced again and again while being locked", .0.display())]
    Replaced(PathBuf),
    /// The time is over.
    #[error("'{}' is still locked by another process after {after:?}", path.display())]
    Timeout {
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        after: Duration,
    },
    /// The file system says no.
    #[error("cannot lock '{}'", path.display())]
    Io {
        /// The lock file or its directory.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

impl LockError {
    /// The kind of the underlying error, if it is one of the file system.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            LockError::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

/// Alone or together with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockMode {
    /// Nobody else holds it.
    Exclusive,
    /// Others may hold it shared.
    Shared,
}

/// A lock file in a directory. Holding this value locks nothing; [`LockGuard`] does.
#[derive(Clone, Debug)]
pub struct DirLock {
    path: PathBuf,
    mode: u32,
}

/// The lock is held until this is dropped or the process ends.
#[derive(Debug)]
pub struct LockGuard {
    pub(crate) file: File,
    /// False on a file system that is mounted read-only: a lock can be had there, a note cannot be written.
    pub(crate) writable: bool,
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // Said in so many words rather than left to close(2): a child between fork and exec still has a copy of the
        // file.
        let _ = self.file.unlock();
    }
}

/// How often an attempt starts over because the file was unlinked between open and lock.
const REPLACED_LIMIT: u32 = 100;

impl DirLock {
    /// The lock file `name` in `dir`; it is created at the first use with mode 0600.
    ///
    /// # Errors
    /// [`LockError::UnsafeDirectory`] if others could take the file away, [`LockError::Io`] if there is no such
    /// directory.
    pub fn new(dir: &Path, name: &str) -> Result<DirLock, LockError> {
        let meta = fs::metadata(dir).map_err(|source| LockError::Io { path: dir.to_owned(), source })?;
        if !meta.is_dir() {
            let source = io::Error::new(io::ErrorKind::NotADirectory, "not a directory");
            return Err(LockError::Io { path: dir.to_owned(), source });
        }
        if meta.mode() & 0o1002 == 0o0002 {
            return Err(LockError::UnsafeDirectory(dir.to_owned()));
        }
        Ok(DirLock { path: dir.join(name), mode: 0o600 })
    }

    /// Creates the file with these permission bits (less the umask) instead of 0600.
    #[must_use]
    pub fn with_mode(mut self, mode: u32) -> DirLock {
        self.mode = mode & 0o777;
        self
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the lock as long as it takes.
    ///
    /// # Errors
    /// All of [`LockError`] but the timeout.
    pub fn lock(&self, mode: LockMode) -> Result<LockGuard, LockError> {
        for _ in 0..REPLACED_LIMIT {
            let (file, writable) = self.open()?;
            loop {
                let locked = match mode {
                    LockMode::Exclusive => file.lock(),
                    LockMode::Shared => file.lock_shared(),
                };
                match locked {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(source) => return Err(self.io(source)),
                }
            }
            if self.is_current(&file)? {
                return Ok(LockGuard { file, writable });
            }
        }
        Err(LockError::Replaced(self.path.clone()))
    }

    /// Takes the lock if nobody is in the way; `None` if somebody is.
    ///
    /// # Errors
    /// All of [`LockError`] but the timeout.
    pub fn try_lock(&self, mode: LockMode) -> Result<Option<LockGuard>, LockError> {
        for _ in 0..REPLACED_LIMIT {
            let (file, writable) = self.open()?;
            let locked = match mode {
                LockMode::Exclusive => file.try_lock(),
                LockMode::Shared => file.try_lock_shared(),
            };
            match locked {
                Ok(()) if self.is_current(&file)? => return Ok(Some(LockGuard { file, writable })),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(self.io(source)),
            }
        }
        Err(LockError::Replaced(self.path.clone()))
    }

    /// Waits for the lock, but not longer than `limit`.
    ///
    /// The kernel has no `flock` with a timeout, and a signal would be the caller's business, so this polls: at first
    /// after 0.2 ms, then slower, at most every 20 ms.
    ///
    /// # Errors
    /// [`LockError::Timeout`] and all others.
    pub fn lock_timeout(&self, mode: LockMode, limit: Duration) -> Result<LockGuard, LockError> {
        let begun = Instant::now();
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(guard) = self.try_lock(mode)? {
                return Ok(guard);
            }
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(LockError::Timeout { path: self.path.clone(), after: limit });
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn io(&self, source: io::Error) -> LockError {
        LockError::Io { path: self.path.clone(), source }
    }

    /// Opens the file, or creates it. `O_EXCL` does not follow a symbolic link, and an existing link is seen by the
    /// comparison with the path, so a planted link can neither create nor lock a file elsewhere. An existing file is locked
    /// on a read-only file system too: whoever wants to end what it protects must be able to. Says whether it can be written.
    fn open(&self) -> Result<(File, bool), LockError> {
        for _ in 0..REPLACED_LIMIT {
            match fs::symlink_metadata(&self.path) {
                Ok(meta) if !meta.is_file() => return Err(LockError::NotARegularFile(self.path.clone())),
                Ok(_) => match self.open_existing() {
                    Ok((file, writable)) if self.is_current(&file)? => return Ok((file, writable)),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Err(self.io(source)),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match OpenOptions::new().read(true).write(true).create_new(true).mode(self.mode).open(&self.path) {
                        Ok(file) => return Ok((file, true)),
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                        Err(source) => return Err(self.io(source)),
                    }
                }
                Err(source) => return Err(self.io(source)),
            }
        }
        Err(LockError::Replaced(self.path.clone()))
    }

    fn open_existing(&self) -> io::Result<(File, bool)> {
        match OpenOptions::new().read(true).write(true).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                File::open(&self.path).map(|file| (file, false))
            }
            opened => opened.map(|file| (file, true)),
        }
    }

    /// Whether the path leads to this very file, and not through a link.
    fn is_current(&self, file: &File) -> Result<bool, LockError> {
        let ours = file.metadata().map_err(|source| self.io(source))?;
        match fs::symlink_metadata(&self.path) {
            Ok(meta) if !meta.is_file() => Err(LockError::NotARegularFile(self.path.clone())),
            Ok(meta) => Ok((meta.dev(), meta.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(self.io(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn exclusive_excludes_and_shared_shares() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::new(dir.path(), "lock").unwrap();
        let held = lock.lock(LockMode::Exclusive).unwrap();
        assert!(lock.try_lock(LockMode::Exclusive).unwrap().is_none());
        assert!(lock.try_lock(LockMode::Shared).unwrap().is_none());
        drop(held);
        let one = lock.lock(LockMode::Shared).unwrap();
        let two = lock.try_lock(LockMode::Shared).unwrap();
        assert!(two.is_some());
        assert!(lock.try_lock(LockMode::Exclusive).unwrap().is_none());
        drop((one, two));
        assert!(lock.try_lock(LockMode::Exclusive).unwrap().is_some());
        assert!(lock.path().exists(), "the lock file survives");
    }

    #[test]
    fn a_timeout_says_so_and_a_release_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::new(dir.path(), "lock").unwrap();
        let held = lock.lock(LockMode::Exclusive).unwrap();
        let error = lock.lock_timeout(LockMode::Exclusive, Duration::from_millis(3)).unwrap_err();
        assert!(matches!(error, LockError::Timeout { .. }), "{error}");
        let waiter =
            std::thread::spawn(move || lock.lock_timeout(LockMode::Exclusive, Duration::from_secs(60)).is_ok());
        drop(held);
        assert!(waiter.join().unwrap());
    }

    #[test]
    fn a_symbolic_link_is_refused_and_its_target_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        std::os::unix::fs::symlink(&target, dir.path().join("lock")).unwrap();
        let lock = DirLock::new(dir.path(), "lock").unwrap();
        assert!(matches!(lock.lock(LockMode::Exclusive), Err(LockError::NotARegularFile(_))));
        assert!(!target.exists(), "a dangling link must not create its target");
        fs::write(&target, "x").unwrap();
        assert!(matches!(lock.try_lock(LockMode::Shared), Err(LockError::NotARegularFile(_))));
    }

    #[test]
    fn a_directory_open_to_everyone_is_refused_unless_sticky() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(DirLock::new(dir.path(), "lock"), Err(LockError::UnsafeDirectory(_))));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(DirLock::new(dir.path(), "lock").is_ok());
        assert!(DirLock::new(&dir.path().join("missing"), "lock").is_err());
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(DirLock::new(&dir.path().join("file"), "lock").is_err());
    }

    #[test]
    fn a_lock_on_an_unlinked_file_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::new(dir.path(), "lock").unwrap();
        let stale = lock.lock(LockMode::Exclusive).unwrap();
        fs::remove_file(lock.path()).unwrap();
        assert!(lock.try_lock(LockMode::Exclusive).unwrap().is_some(), "a new file has a new lock");
        assert!(!lock.is_current(&stale.file).unwrap());
    }
}
