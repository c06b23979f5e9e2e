//! Why a guest that is there does what it does.

use serde::{Deserialize, Serialize};

/// Why a guest runs, or does not; the words are those of `virsh domstate --reason`. Why one ended is a [`crate::StopReason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StateReason {
    /// It runs since it was started.
    Booted,
    /// It runs since it was restored.
    Restored,
    /// It runs, or is paused, since it was brought back to a snapshot.
    FromSnapshot,
    /// It runs since it was resumed.
    Unpaused,
    /// It runs since a save was given up.
    SaveCanceled,
    /// It runs since it woke.
    Wakeup,
    /// It was paused on request.
    User,
    /// It is paused while it is saved.
    Saving,
    /// It is paused while a snapshot is taken or loaded.
    Snapshot,
    /// It is paused while its memory is written for debuggers.
    Dumping,
    /// It was paused because a disk could not be read or written.
    IoError,
    /// It was paused because its watchdog ran out.
    Watchdog,
    /// It panicked.
    Panicked,
    /// Nobody was there who could have seen why.
    Unknown,
}

impl StateReason {
    /// As `virsh domstate --reason` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Booted => "booted",
            Self::Restored => "restored",
            Self::FromSnapshot => "from snapshot",
            Self::Unpaused => "unpaused",
            Self::SaveCanceled => "save canceled",
            Self::Wakeup => "event wakeup",
            Self::User => "user",
            Self::Saving => "saving",
            Self::Snapshot => "creating snapshot",
            Self::Dumping => "dumping",
            Self::IoError => "I/O error",
            Self::Watchdog => "watchdog",
            Self::Panicked => "panicked",
            Self::Unknown => "unknown",
        }
    }
}
