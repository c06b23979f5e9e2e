//! Device nodes: whether they are there and whether this process may use them.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A device node as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeviceNode {
    /// Its path, with the host's root.
    pub path: PathBuf,
    /// Whether there is anything.
    pub present: bool,
    /// Whether that is a character device.
    pub is_device: bool,
    /// Whether it could be opened for reading and writing; it was closed again at once.
    pub usable: bool,
    /// Why it could not be opened.
    pub reason: Option<String>,
}

impl DeviceNode {
    pub(crate) fn at(root: &Path, name: &str) -> DeviceNode {
        let path = root.join(name);
        let meta = fs::metadata(&path);
        let is_device = meta.as_ref().is_ok_and(|meta| meta.file_type().is_char_device());
        // Only devices and plain files (which stand for devices in a copied tree) are opened: a FIFO would block.
        let openable = is_device || meta.as_ref().is_ok_and(fs::Metadata::is_file);
        let opened = openable.then(|| OpenOptions::new().read(true).write(true).open(&path));
        let (usable, reason) = match opened {
            Some(Ok(_)) => (true, None),
            Some(Err(error)) => (false, Some(error.to_string())),
            None => (false, meta.as_ref().err().map(ToString::to_string)),
        };
        DeviceNode { path, present: meta.is_ok(), is_device, usable, reason }
    }
}
