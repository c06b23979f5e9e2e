//! What a connection keeps on disk, and who may change it.
//!
//! | what | where | written |
//! |---|---|---|
//! | definitions | `config/NAME.xml` | by define, under the directory's lock |
//! | autostart marks | `config/autostart/NAME.xml`, a link | under the same lock |
//! | status records | `run/NAME.json` | by the guest's owner alone |
//! | owners | `run/NAME.owner` | locked by the process that owns the guest |
//! | history | `run/history.jsonl` | appended by everyone |
//! | jobs | `run/jobs/NAME.json` | by whoever does the last job of a guest |
//! | snapshots | `config/snapshots/NAME/` | by the guest's owner; metadata alone under the directory's lock |
//! | managed saves | `state/save/NAME.save` | by a managed save; removed by the start from it |
//!
//! Invariants: a file is whole or absent, since each is written beside its place, synced and renamed; the name of a file is the
//! name of its guest; readers take no locks, so `list` and `dominfo` always answer.

mod definitions;
mod history;
mod jobs;
mod partial;
mod records;
mod snapshots;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub(crate) use definitions::{Definition, Definitions, Stored};
pub(crate) use history::History;
pub use jobs::{JobOutcome, JobReport};
pub(crate) use jobs::{JobRecord, Jobs, now};
pub(crate) use partial::{PartialFile, partial_of, target};
use polyvirt_core::{Error, ErrorKind, Result, Roots, io_error};
use polyvirt_lease::{DirLock, LockError, LockGuard, LockMode};
pub(crate) use records::{Phase, Records, StatusRecord};
pub(crate) use snapshots::{Pending, Snapshots, Tree, taken, text_of};

/// Longest name in bytes: with `.owner` and a temporary suffix it must fit into one name of a file system (255).
const NAME_LIMIT: usize = 200;
/// How long to wait for another process to finish with a directory: its work there takes milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// Makes the directories of a connection, private to this user.
///
/// # Errors
/// `Denied` or `Storage` with the path.
pub(crate) fn make_directories(roots: &Roots) -> Result<()> {
    for dir in [&roots.config, &roots.run] {
        make_directory(dir)?;
    }
    Ok(())
}

/// Makes one directory and those above it; what is made is private to this user.
pub(crate) fn make_directory(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(dir)
        .map_err(|e| io_error("make the directory", dir, e))
}

/// Makes the directory if needed and waits until no other process holds its lock `name`.
fn lock_directory(dir: &Path, name: &str) -> Result<LockGuard> {
    make_directory(dir)?;
    let locked = DirLock::new(dir, name).and_then(|lock| lock.lock_timeout(LockMode::Exclusive, LOCK_WAIT));
    locked.map_err(|e| lock_error(dir, e))
}

/// What a lock that cannot be had means to a caller.
pub(crate) fn lock_error(path: &Path, error: LockError) -> Error {
    match error.io_kind() {
        Some(kind) => io_error("lock", path, kind.into()).source(error),
        None => Error::new(ErrorKind::Storage, format!("cannot lock {}: {error}", path.display()))
            .hint("end the process that holds it, or check the rights of this directory")
            .source(error),
    }
}

/// The file of a guest: `dir/NAME.suffix`.
///
/// # Errors
/// `InvalidArgument` for a name that would leave the directory or that no file system takes.
pub(crate) fn file_of(dir: &Path, name: &str, suffix: &str) -> Result<PathBuf> {
    let bad = if name.is_empty() {
        Some("is empty")
    } else if name.len() > NAME_LIMIT {
        Some("is longer than 200 bytes")
    } else if name.contains('/') {
        Some("contains '/'")
    } else if name == "." || name == ".." {
        Some("names a directory")
    } else if name.contains(|c: char| c.is_control()) {
        Some("contains a control character")
    } else {
        None
    };
    match bad {
        Some(why) => Err(Error::new(ErrorKind::InvalidArgument, format!("the name {name:?} {why}"))
            .hint("a guest's name is 1 to 200 bytes without '/' and control characters, and neither '.' nor '..'")),
        None => Ok(dir.join(format!("{name}.{suffix}"))),
    }
}

/// Names of the guests that have a file with this suffix in `dir`, sorted; an absent directory has none.
fn names_in(dir: &Path, suffix: &str) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error("read the directory", dir, e)),
    };
    let ending = format!(".{suffix}");
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.map_err(|e| io_error("read the directory", dir, e))?.file_name();
        if let Some(name) = file.to_str().and_then(|f| f.strip_suffix(&ending))
            && !name.is_empty()
        {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Runs work on files away from the runtime's own threads.
///
/// # Errors
/// Those of `work`; `Internal` if it panicked.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => Err(Error::new(ErrorKind::Internal, "work on files ended without an answer").source(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_directory() {
        for name in ["", "..", ".", "../x", "a/b", "a\nb", "\0", &"x".repeat(201)] {
            assert_eq!(
                file_of(Path::new("/d"), name, "xml").unwrap_err().kind(),
                ErrorKind::InvalidArgument,
                "{name:?}"
            );
        }
        assert_eq!(file_of(Path::new("/d"), "a b.c", "xml").unwrap(), Path::new("/d/a b.c.xml"));
    }

    #[test]
    fn names_of_files() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["b.xml", "a.xml", ".xml", "c.json", "a.xml.tmp"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        assert_eq!(names_in(dir.path(), "xml").unwrap(), ["a", "b"]);
        assert!(names_in(&dir.path().join("absent"), "xml").unwrap().is_empty());
    }
}
