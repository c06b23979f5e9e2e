//! What is lent, and to whom it belongs: one file for each lent file, named by device and inode.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, open},
    sys::stat::{Mode, fstat},
    unistd::{Gid, Uid, fchownat},
};
use polyvirt_core::{Error, ErrorKind, OwnerRef, Result, io_error};
use polyvirt_lease::{DirLock, Durability, LockGuard, LockMode, remove_durable, write_atomic};
use serde::{Deserialize, Serialize};

const SCHEMA: u32 = 1;
/// How long to wait for another process that lends or takes back.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// The largest record that is read, in bytes.
const SIZE_LIMIT: u64 = 1 << 20;

/// An owner of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A guest that uses a lent file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) owner: OwnerRef,
    boot_id: String,
}

impl Holder {
    pub(crate) fn new(owner: &OwnerRef, boot_id: &str) -> Self {
        Self { owner: owner.clone(), boot_id: boot_id.to_owned() }
    }

    /// Whether its run is over.
    pub(crate) fn is_gone(&self, boot_id: &str) -> bool {
        self.boot_id != boot_id || matches!(self.owner.record.try_exists(), Ok(false))
    }
}

/// A lent file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lent {
    schema: u32,
    pub(crate) path: PathBuf,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// To whom it belongs.
    pub(crate) was: Ids,
    /// To whom it is lent.
    pub(crate) given: Ids,
    pub(crate) holders: Vec<Holder>,
}

impl Lent {
    pub(crate) fn new(path: &Path, (device, inode): (u64, u64), was: Ids, given: Ids, holder: Holder) -> Self {
        Self { schema: SCHEMA, path: path.to_owned(), device, inode, was, given, holders: vec![holder] }
    }

    /// Gives the file to whom it is lent.
    ///
    /// # Errors
    /// The kernel's; `NotFound` if another file stands there by now.
    pub(crate) fn give(&self) -> io::Result<()> {
        let file = self.open()?;
        chown(&file, self.given)
    }

    /// Gives it back, unless somebody changed its owner meanwhile or it is gone; says whether it did.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn take_back(&self) -> io::Result<bool> {
        let file = match self.open() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let about = fstat(&file)?;
        if (about.st_uid, about.st_gid) != (self.given.uid, self.given.gid) {
            return Ok(false);
        }
        chown(&file, self.was).map(|()| true)
    }

    /// The very file, not what a link or a rename put into its place.
    fn open(&self) -> io::Result<OwnedFd> {
        let file = open(&self.path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        let about = fstat(&file)?;
        if (about.st_dev, about.st_ino) != (self.device, self.inode) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "another file stands there by now"));
        }
        Ok(file)
    }
}

fn chown(file: &OwnedFd, to: Ids) -> io::Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(to.uid)), Some(Gid::from_raw(to.gid)));
    fchownat(file, "", uid, gid, AtFlags::AT_EMPTY_PATH).map_err(|error: Errno| error.into())
}

/// The directory of records.
#[derive(Clone, Debug)]
pub(crate) struct Records(PathBuf);

impl Records {
    pub(crate) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// Keeps other processes out.
    ///
    /// # Errors
    /// `Storage`, `Denied`; `Busy` if another process keeps us out for long.
    pub(crate) fn lock(&self) -> Result<LockGuard> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|error| io_error("make the directory", &self.0, error))?;
        DirLock::new(&self.0, "lock").and_then(|lock| lock.lock_timeout(LockMode::Exclusive, LOCK_WAIT)).map_err(
            |error| Error::new(ErrorKind::Busy, format!("cannot lock {}: {error}", self.0.display())).source(error),
        )
    }

    fn file(&self, device: u64, inode: u64) -> PathBuf {
        self.0.join(format!("{device:x}-{inode:x}.json"))
    }

    /// The record of a file.
    ///
    /// # Errors
    /// `Storage` when it cannot be read or is newer than this program; it is left as it is.
    pub(crate) fn get(&self, device: u64, inode: u64) -> Result<Option<Lent>> {
        read(&self.file(device, inode))
    }

    /// All records; what cannot be read is told and left.
    pub(crate) fn all(&self) -> Result<Vec<Lent>> {
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error("read", &self.0, error)),
        };
        let paths = entries.flatten().map(|it| it.path()).filter(|it| it.extension().is_some_and(|it| it == "json"));
        let mut all = Vec::new();
        for path in paths {
            match read(&path) {
                Ok(found) => all.extend(found),
                Err(error) => tracing::warn!(%error, "a lent file may never be given back"),
            }
        }
        Ok(all)
    }

    /// Writes a record; it is on disk when this returns.
    pub(crate) fn put(&self, lent: &Lent) -> Result<()> {
        let path = self.file(lent.device, lent.inode);
        let text = serde_json::to_vec(lent)
            .map_err(|error| Error::new(ErrorKind::Internal, "a record cannot be written").source(error))?;
        write_atomic(&path, &text, 0o600, Durability::Durable).map_err(|error| io_error("write", &path, error))
    }

    /// Removes a record.
    pub(crate) fn remove(&self, lent: &Lent) -> Result<()> {
        let path = self.file(lent.device, lent.inode);
        match remove_durable(&path, Durability::Durable) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path, error)),
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Option<Lent>> {
    let broken = |why: String| {
        Error::new(ErrorKind::Storage, format!("the record {} {why}", path.display()))
            .hint("see in it which file it is about, set that file's owner with chown(1), then remove the record")
    };
    match std::fs::metadata(path) {
        Ok(about) if about.len() > SIZE_LIMIT => return Err(broken(format!("has {} bytes", about.len()))),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path, error)),
    }
    let text = std::fs::read(path).map_err(|error| io_error("read", path, error))?;
    let lent: Lent = serde_json::from_slice(&text).map_err(|error| broken(format!("is not whole: {error}")))?;
    if lent.schema > SCHEMA {
        return Err(broken(format!("is of a newer version ({})", lent.schema)));
    }
    Ok(Some(lent))
}
