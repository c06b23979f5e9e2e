//! The log of one guest: what was run, and what QEMU wrote to its error output.
//!
//! QEMU writes into the file itself, so nothing is lost when we end before it does.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use polyvirt_core::{Result, io_error};

use crate::{command::date, program::last_lines};

/// What is read of a log to find its last words.
const TAIL: u64 = 8192;

/// A log that a guest was started with.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    /// Where this run begins.
    pub(crate) begins: u64,
}

impl Log {
    /// Opens the log for appending and writes what is about to be run. A log larger than `max` is put aside first.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn open(path: &Path, max: u64, about: &str) -> Result<(Self, File)> {
        let opened = || -> io::Result<(u64, File)> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            if fs::metadata(path).is_ok_and(|it| it.len() > max) {
                fs::rename(path, path.with_extension("log.1"))?;
            }
            let mut file = File::options().append(true).create(true).mode(0o600).open(path)?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            file.write_all(format!("{}Z {about}\n", date(now.as_secs())).as_bytes())?;
            Ok((file.metadata()?.len(), file))
        };
        let (begins, file) = opened().map_err(|error| io_error("write", path, error))?;
        Ok((Self { path: path.to_owned(), begins }, file))
    }

    /// The last lines of this run; empty if there are none or they cannot be read.
    pub(crate) fn last_words(&self) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.begins.max(end.saturating_sub(TAIL))))?;
            let mut bytes = Vec::new();
            file.take(TAIL).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        last_lines(&read().unwrap_or_default(), 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_its_own_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/a.log");
        let (log, mut file) = Log::open(&path, 1000, "starting /bin/a").unwrap();
        assert_eq!(log.last_words(), "");
        writeln!(file, "oops").unwrap();
        assert_eq!(log.last_words(), "oops");
        let (log, _) = Log::open(&path, 1000, "starting /bin/b").unwrap();
        assert_eq!(log.last_words(), "");
        assert!(fs::read_to_string(&path).unwrap().contains("Z starting /bin/a\noops\n"));
    }

    #[test]
    fn a_large_log_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        fs::write(&path, [b'x'; 11]).unwrap();
        Log::open(&path, 10, "starting").unwrap();
        assert_eq!(fs::read(directory.path().join("a.log.1")).unwrap().len(), 11);
        assert!(fs::metadata(&path).unwrap().len() < 100);
    }
}
