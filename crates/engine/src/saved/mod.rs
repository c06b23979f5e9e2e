//! The file that holds a saved guest. Its form is told in `docs/saved-state.md`.
//!
//! ```text
//! 0        4096               4096 + slot        begin
//! │ mark    │ head, slot 0     │ head, slot 1     │ the hypervisor's stream …
//! ```
//!
//! The head says of whom the file is and how long the stream; there are two places for it, and the valid one with the larger number
//! counts, so a head is replaced by writing the other place: whoever is killed meanwhile leaves the old one. What a stream holds nobody
//! here knows.
//!
//! Invariants: a file has its name when it is whole, never before; nothing is read of it that was not bounded first.

mod head;

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use polyvirt_core::{
    Error, ErrorKind, Result, Roots, SavedStream, io_error,
    model::{DomainConfig, ParseOptions},
};
use polyvirt_lease::{Durability, remove_durable};

pub(crate) use self::head::Head;
use self::head::{Layout, MARK};
use crate::store::{PartialFile, blocking, file_of};

/// A saved guest's file while it is written.
#[derive(Debug)]
pub(crate) struct Partial {
    file: PartialFile,
    layout: Layout,
    head: Head,
}

impl Partial {
    /// Makes the file, with a head that says that the rest is missing.
    ///
    /// # Errors
    /// What the file system refuses.
    pub(crate) fn create(target: &Path, head: Head) -> Result<Self> {
        let layout = Layout::fitting(&head)?;
        let partial = Self { file: PartialFile::create(target, head.id)?, layout, head };
        let write = || {
            let file = partial.file.file();
            file.set_len(layout.begin())?;
            layout.write_mark(file)?;
            partial.write_head(0)
        };
        write().map_err(|e| partial.file.failed(e))?;
        Ok(partial)
    }

    fn write_head(&self, generation: u64) -> std::io::Result<()> {
        self.layout.write(self.file.file(), generation, &self.head)
    }

    /// Where the hypervisor writes.
    ///
    /// # Errors
    /// What the file system refuses.
    pub(crate) fn stream(&self) -> Result<SavedStream> {
        let sought = (&**self.file.file()).seek(SeekFrom::Start(self.layout.begin()));
        sought.map_err(|e| self.file.failed(e))?;
        Ok(SavedStream::new(self.file.file().clone(), 0))
    }

    /// Says in the head that all is there, and waits until it is on the disk.
    ///
    /// # Errors
    /// What the file system refuses.
    pub(crate) fn complete(&mut self) -> Result<()> {
        let mut done = || {
            // The stream first: a head that says that it is there must not be on the disk before it.
            self.file.file().sync_data()?;
            let all = self.file.file().metadata()?.len();
            self.head.stream = Some(all.saturating_sub(self.layout.begin()));
            self.write_head(1)?;
            self.file.file().sync_all()
        };
        let done = done();
        done.map_err(|e| self.file.failed(e))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// What the file system refuses.
    pub(crate) fn keep(self) -> Result<()> {
        self.file.keep()
    }
}

/// A saved guest, read from its file.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) head: Head,
    pub(crate) path: PathBuf,
    file: Arc<File>,
    layout: Layout,
    generation: u64,
}

impl Image {
    /// Reads a whole file's head.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` for what is no saved guest or not whole; `Unsupported` for one of a newer polyvirt.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_for(path, false)
    }

    fn open_for(path: &Path, write: bool) -> Result<Self> {
        let failed = |e| io_error("read the saved guest", path, e);
        let refused = |why: String| Error::new(ErrorKind::InvalidArgument, format!("{} {why}", path.display()));
        // A pipe would keep us for ever.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(refused("is no plain file".into()));
        }
        let file = OpenOptions::new().read(true).write(write).open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut mark = [0; MARK];
        let mut from = &file;
        from.read_exact(&mut mark).map_err(|_| refused("is no saved guest: it is too short".into()))?;
        let layout = Layout::read(&mark, size).map_err(|why| why.about(path))?;
        let (generation, head) = layout.newest(&file).map_err(|why| why.about(path))?;
        let Some(stream) = head.stream else {
            return Err(refused("is not whole: the save into it did not come to its end".into()));
        };
        if layout.begin().checked_add(stream) != Some(size) {
            return Err(refused(format!(
                "has {size} bytes, and {} were saved: a part of it is missing or does not belong to it",
                layout.begin().saturating_add(stream)
            ))
            .hint("copy it again from where it is whole"));
        }
        Ok(Self { head, path: path.to_owned(), file: Arc::new(file), layout, generation })
    }

    /// The definition in it.
    ///
    /// # Errors
    /// `InvalidConfig`.
    pub(crate) fn config(&self) -> Result<DomainConfig> {
        let parsed = DomainConfig::parse(&self.head.xml, &ParseOptions::default());
        Ok(parsed.map_err(|p| Error::invalid_config(p).with("file", self.path.display()))?.config)
    }

    /// What a hypervisor reads.
    ///
    /// # Errors
    /// What the file system refuses.
    pub(crate) fn stream(&self) -> Result<SavedStream> {
        let sought = (&*self.file).seek(SeekFrom::Start(self.layout.begin()));
        sought.map_err(|e| io_error("read the saved guest", &self.path, e))?;
        Ok(SavedStream::new(self.file.clone(), self.head.stream.unwrap_or(0)))
    }

    /// How many bytes of the stream were read.
    pub(crate) fn read_so_far(&self) -> u64 {
        (&*self.file).stream_position().unwrap_or(0).saturating_sub(self.layout.begin())
    }

    /// Has the host forget what it keeps of the file in memory.
    pub(crate) async fn forget_cache(&self) {
        forget_cache(self.file.clone()).await;
    }

    /// Changes the head of a file: the old one stays until the new one is there.
    ///
    /// # Errors
    /// Those of [`Image::open`] and of `edit`; `Busy` when another process changes it; `InvalidArgument` for a head that has no room.
    pub(crate) fn edit(path: &Path, edit: impl FnOnce(&Self, &mut Head) -> Result<()>) -> Result<()> {
        let mut image = Self::open_for(path, true)?;
        if image.file.try_lock().is_err() {
            let message = format!("another process changes {}", path.display());
            return Err(Error::new(ErrorKind::Busy, message).hint("try again in a moment"));
        }
        // It may have been changed before we had the lock.
        image.generation = image.layout.newest(&image.file).map_err(|why| why.about(path))?.0;
        let mut head = image.layout.newest(&image.file).map_err(|why| why.about(path))?.1;
        edit(&image, &mut head)?;
        let room = image.layout.room();
        let needed = head.size()?;
        if needed > room {
            let message =
                format!("the definition does not fit: {needed} bytes, and {} has room for {room}", path.display());
            return Err(Error::new(ErrorKind::InvalidArgument, message)
                .hint("leave out what is long, such as metadata; it can be changed when the guest runs again"));
        }
        let written = image.layout.write(&image.file, image.generation.wrapping_add(1), &head);
        written.and_then(|()| image.file.sync_all()).map_err(|e| io_error("change", path, e))
    }

    /// Whether the file at this path is the whole one of this save.
    pub(crate) fn is(path: &Path, id: uuid::Uuid) -> bool {
        Self::open(path).is_ok_and(|image| image.head.id == id)
    }
}

/// Has the host write what it keeps of a file in memory, and forget it (`posix_fadvise`): a file of many GiB that is used once shall
/// not push out what others use.
pub(crate) async fn forget_cache(file: Arc<File>) {
    let forgotten = blocking(move || {
        file.sync_data().ok();
        Ok(nix::fcntl::posix_fadvise(&*file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED))
    });
    if let Ok(Err(error)) = forgotten.await {
        tracing::debug!(%error, "the page cache keeps a saved guest");
    }
}

/// Where a guest's managed save is.
///
/// # Errors
/// `InvalidArgument` for a name that is none.
pub(crate) fn managed_path(roots: &Roots, name: &str) -> Result<PathBuf> {
    file_of(&roots.state.join("save"), name, "save")
}

/// A guest's managed save, if there is one. With `discard` it is removed instead.
///
/// # Errors
/// Those of [`Image::open`], with what to do.
pub(crate) fn managed(roots: &Roots, name: &str, discard: bool) -> Result<Option<Image>> {
    let path = managed_path(roots, name)?;
    if discard {
        remove_durable(&path, Durability::Durable).map_err(|e| io_error("remove the managed save", &path, e))?;
        return Ok(None);
    }
    match Image::open(&path) {
        Ok(image) => Ok(Some(image)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.hint(format!("`polyvirt start {name} --force-boot` drops it and boots the guest"))),
    }
}

impl Layout {
    /// Writes a head into its place; a generation's place is its parity.
    fn write(&self, file: &File, generation: u64, head: &Head) -> std::io::Result<()> {
        let bytes = head.encode(generation).map_err(std::io::Error::other)?;
        if bytes.len() as u64 > self.slot {
            return Err(std::io::Error::other("the head has no room"));
        }
        file.write_all_at(&bytes, self.place(generation))
    }
}

#[cfg(test)]
mod tests;
