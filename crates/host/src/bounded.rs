//! Reading files of `/proc` and `/sys` that cannot be larger than they ought to be.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::HostError;

/// `/proc/cpuinfo` of a machine with thousands of CPUs is the largest; what is longer is cut off and not an error.
const LIMIT: u64 = 32 << 20;

/// Entries of a directory; the kernel has at most 8,192 CPUs and fewer nodes.
pub(crate) const ENTRIES: usize = 64 << 10;

/// The content, or `None` if there is no such file.
pub(crate) fn optional(path: &Path) -> Result<Option<String>, HostError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(LIMIT).read_to_end(&mut bytes)) {
        // A mount point or a model name need not be UTF-8.
        Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(HostError::Read { path: path.to_owned(), source }),
    }
}

/// The content of a file that has to be there.
pub(crate) fn required(path: &Path) -> Result<String, HostError> {
    optional(path)?.ok_or_else(|| HostError::Missing(path.to_owned()))
}
