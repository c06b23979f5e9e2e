//! A file that takes long to write: it has its name when it is whole, never before.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use polyvirt_core::{Error, ErrorKind, Result, io_error};

/// A file under a name of its own; removed when dropped before it was kept.
#[derive(Debug)]
pub(crate) struct PartialFile {
    file: Arc<File>,
    path: PathBuf,
    target: PathBuf,
    kept: bool,
}

/// The name under which a file is written until it is whole.
pub(crate) fn partial_of(target: &Path, id: uuid::Uuid) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", id.simple()));
    target.with_file_name(name)
}

/// Where a file shall be: absolute, and nothing but a plain file may be there.
///
/// # Errors
/// `InvalidArgument`.
pub(crate) fn target(file: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(file).map_err(|e| io_error("use", file, e))?;
    let refused = |why: &str| Error::new(ErrorKind::InvalidArgument, format!("{} {why}", path.display()));
    if path.file_name().is_none() {
        return Err(refused("names no file"));
    }
    match std::fs::symlink_metadata(&path) {
        Ok(meta) if !meta.is_file() => {
            Err(refused("is there and is no plain file").hint("name a file, new or to be replaced"))
        }
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error("use", &path, e)),
        _ => Ok(path),
    }
}

impl PartialFile {
    /// Makes one, which this user alone can read.
    ///
    /// # Errors
    /// What the file system refuses.
    pub(crate) fn create(target: &Path, id: uuid::Uuid) -> Result<Self> {
        let path = partial_of(target, id);
        let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = Arc::new(opened.map_err(|e| io_error("write", &path, e))?);
        Ok(Self { file, path, target: target.to_owned(), kept: false })
    }

    /// The open file.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// What it is called now.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What could not be written.
    pub(crate) fn failed(&self, error: std::io::Error) -> Error {
        io_error("write", &self.path, error)
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// What the file system refuses.
    pub(crate) fn keep(mut self) -> Result<()> {
        std::fs::rename(&self.path, &self.target).map_err(|e| io_error("write", &self.target, e))?;
        self.kept = true;
        let directory = self.target.parent().unwrap_or(Path::new("/"));
        File::open(directory).and_then(|it| it.sync_all()).map_err(|e| io_error("sync the directory", directory, e))
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an unfinished file stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_are_written() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link")).unwrap();
        for path in [directory.path().to_owned(), directory.path().join("link"), "/".into()] {
            assert_eq!(target(&path).unwrap_err().kind(), ErrorKind::InvalidArgument, "{path:?}");
        }
        assert_eq!(target(&directory.path().join("new")).unwrap(), directory.path().join("new"));
    }
}
