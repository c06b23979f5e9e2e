//! Replacing a file in one step.
//!
//! Temporary file in the same directory, `fsync`, `rename`, `fsync` of the directory: after a crash the path has the
//! old content or the new one. On any error the temporary file is removed; one that a killed process left is found by
//! [`sweep_temporaries`].

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Owner;

/// Whether a record has to survive a power failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// `fsync` of file and directory.
    Durable,
    /// No `fsync`: for run-time state on a tmpfs, which a power failure takes away anyway.
    Volatile,
}

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Replaces the content of `path` with `bytes`; the file gets exactly `mode` (permission bits), whatever the umask.
///
/// # Errors
/// Any error of the file system, naming the path; nothing new remains then and the old content is untouched. The one
/// exception is a failing `fsync` of the directory: the new content is then in place but may not survive a power
/// failure.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let written = write_temporary(&temporary, bytes, mode, durability).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // Best effort: if it cannot be removed now, a sweep finds it by its name.
        let _ = fs::remove_file(&temporary);
        return Err(naming(path, "cannot write", &error));
    }
    sync_parent(path, durability).map_err(|e| naming(path, "written but not synced:", &e))
}

/// Removes `path` so that it stays removed after a power failure; a missing file is fine.
///
/// # Errors
/// Any error of the file system but "not found", naming the path.
pub fn remove_durable(path: &Path, durability: Durability) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path, durability).map_err(|e| naming(path, "removed but not synced:", &e)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(naming(path, "cannot remove", &error)),
    }
}

/// Removes temporary files of [`write_atomic`] whose writer is dead; returns how many there were.
///
/// # Errors
/// If the directory cannot be listed.
pub fn sweep_temporaries(dir: &Path) -> io::Result<usize> {
    let mut swept = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(pid) = writer_of(&entry.file_name())
            && pid != std::process::id()
            && matches!(Owner::of_pid(pid), Err(crate::OwnerError::NoProcess { .. }))
            && fs::remove_file(entry.path()).is_ok()
        {
            swept += 1;
        }
    }
    Ok(swept)
}

/// `.NAME.PID-N.tmp`: hidden, and it says who wrote it.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("'{}' does not name a file", path.display()))
    })?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{}.tmp", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(temporary))
}

fn writer_of(name: &OsStr) -> Option<u32> {
    let name = name.to_str()?.strip_prefix('.')?.strip_suffix(".tmp")?;
    let (_, tail) = name.rsplit_once('.')?;
    let (pid, count) = tail.split_once('-')?;
    count.parse::<u64>().ok()?;
    pid.parse().ok()
}

fn write_temporary(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode & 0o600).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
    if durability == Durability::Durable {
        file.sync_all()?;
    }
    Ok(())
}

fn sync_parent(path: &Path, durability: Durability) -> io::Result<()> {
    if durability == Durability::Volatile {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

fn naming(path: &Path, what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} '{}': {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_content_and_mode_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.json");
        for (text, durability) in [("one", Durability::Durable), ("two", Durability::Volatile)] {
            write_atomic(&path, text.as_bytes(), 0o640, durability).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(names(dir.path()), ["record.json"]);
    }

    #[test]
    fn a_failure_leaves_no_temporary_file_and_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "kept").unwrap();
        let error = write_atomic(&path, b"x", 0o600, Durability::Durable).unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(names(dir.path()), ["taken"]);
        assert_eq!(fs::read_to_string(path.join("inside")).unwrap(), "kept");
        assert!(write_atomic(&dir.path().join("no/such"), b"x", 0o600, Durability::Volatile).is_err());
    }

    #[test]
    fn a_directory_that_is_none_is_an_error_that_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(write_atomic(&file.join("below"), b"x", 0o600, Durability::Durable).is_err());
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn sweep_removes_what_the_dead_left_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let dead = format!(".a.b.{}-0.tmp", child.id());
        let ours = format!(".a.b.{}-0.tmp", std::process::id());
        for name in [dead.as_str(), ours.as_str(), ".x.tmp", "a.1-2.tmp", "record"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(sweep_temporaries(dir.path()).unwrap(), 1);
        assert!(!dir.path().join(dead).exists());
        assert_eq!(names(dir.path()).len(), 4);
    }

    #[test]
    fn removing_twice_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        fs::write(&path, "").unwrap();
        remove_durable(&path, Durability::Durable).unwrap();
        remove_durable(&path, Durability::Durable).unwrap();
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        assert!(write_atomic(Path::new("/"), b"", 0o600, Durability::Volatile).is_err());
    }
}
