//! A guest that is written into a file and continued from it.
//!
//! The file, its head and its name are the engine's; a driver writes and reads a stream in it, of which nobody else knows the form.

use std::{fs::File, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{JobContext, Result};

/// Bytes that a stream moves in a second at the slowest that is waited for.
const SLOWEST: u64 = 4 << 20;

/// How long reading so many bytes may take.
pub(crate) fn reading(bytes: u64) -> Duration {
    Duration::from_secs(bytes / SLOWEST)
}

/// A stream in a file that is open: it begins where the file stands.
///
/// The hypervisor may be given the descriptor itself, so that where the file stands tells how far it is. Two are equal if they are the
/// same open file.
#[derive(Clone, Debug)]
pub struct SavedStream {
    file: Arc<File>,
    length: u64,
}

impl SavedStream {
    /// A stream of this many bytes; 0 for one that is to be written.
    #[must_use]
    pub fn new(file: Arc<File>, length: u64) -> Self {
        Self { file, length }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Its bytes; 0 if it is to be written.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How much longer than others a start may take that reads it.
    #[must_use]
    pub fn patience(&self) -> Duration {
        reading(self.length)
    }
}

impl PartialEq for SavedStream {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.length == other.length
    }
}

impl Eq for SavedStream {}

/// Writing a guest's memory and devices into a stream. Restoring is [`crate::StartHow::Restore`]; whoever has this has
/// [`crate::Pause`] too.
#[async_trait]
pub trait SaveState: Send + Sync {
    /// Writes all of a paused guest.
    ///
    /// *Behaviour*: reports [`crate::JobStep::Streaming`] when the hypervisor has begun to write, then progress. When it returns, `Ok` or not,
    /// nobody writes into the stream any more and the guest is paused: it can be ended, or go on with [`crate::Pause::resume`] as if
    /// nothing had been. On `Ok` the stream is whole, if not yet on the disk, and the guest's disks are flushed. A guest that cannot be saved
    /// is `Unsupported` or `Hypervisor`, with the hypervisor's reason.
    async fn save(&self, job: &JobContext, into: &SavedStream) -> Result<()>;

    /// Ends a save that a process began which is gone.
    ///
    /// *Behaviour*: idempotent, none under way is no error; afterwards the guest is as after [`SaveState::save`].
    async fn abandon(&self) -> Result<()>;
}
