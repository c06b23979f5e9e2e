//! What a guest or its devices did, of which neither its state nor its definition tells.
//!
//! Names and details come from the guest or its hypervisor: whoever makes a [`Notice`] bounds its texts, and whoever shows one
//! escapes them.

use polyvirt_numa_placement::Kib;
use serde::{Deserialize, Serialize};

/// Something that happened in a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
#[non_exhaustive]
pub enum Notice {
    /// Its watchdog ran out.
    Watchdog {
        /// What was done: `reset`, `shutdown`, `poweroff`, `pause`, `debug`, `none` or `inject-nmi`.
        action: String,
    },
    /// The guest set its clock.
    ClockChanged {
        /// Seconds that it is ahead of what it would be, had nobody set it since the start.
        offset: i64,
    },
    /// The balloon changed.
    BalloonChanged {
        /// Memory that the guest has now.
        actual: Kib,
    },
    /// A disk could not be read or written.
    DiskError {
        /// The device's alias, or the name of its block node where there is no device.
        device: String,
        /// `read` or `write`.
        operation: String,
        /// The host's words.
        reason: String,
        /// What was done: `ignore` (the guest is not told), `report` (it is) or `stop` (its CPUs stopped).
        action: String,
        /// Whether there is no space left.
        no_space: bool,
    },
    /// A disk was written beyond the mark that was set.
    BlockThreshold {
        /// The block node.
        node: String,
        /// The mark, bytes.
        threshold: u64,
        /// Bytes beyond it.
        exceeded: u64,
    },
    /// The host's memory failed.
    MemoryFailure {
        /// Whose memory: `hypervisor` or `guest`.
        recipient: String,
        /// What was done: `ignore`, `inject`, `fatal` or `reset`.
        action: String,
        /// Whether the guest has to act on it at once.
        action_required: bool,
        /// Whether it came while an earlier one was being handled.
        recursive: bool,
    },
    /// The tray of a removable drive moved.
    TrayMoved {
        /// The device's alias.
        device: String,
        /// Whether it is open now.
        open: bool,
    },
    /// A program in the guest opened or closed its end of a channel, as its agent does when it starts and ends.
    ChannelChanged {
        /// The device's alias.
        device: String,
        /// Whether somebody listens now.
        connected: bool,
    },
    /// The guest's kernel crashed and another one, to save what is left, was loaded.
    CrashKernelLoaded,
    /// The guest saved itself to its disk and is about to power off.
    SuspendedToDisk,
}

/// A notice, and how many like it were left out before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Noticed {
    /// The last of them.
    #[serde(flatten)]
    pub notice: Notice,
    /// How many before it were not told, because there were too many in a short time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub merged: u32,
}

impl Noticed {
    /// A notice, after so many that were not told.
    #[must_use]
    pub fn new(notice: Notice, merged: u32) -> Self {
        Self { notice, merged }
    }
}

impl From<Notice> for Noticed {
    fn from(notice: Notice) -> Self {
        Self::new(notice, 0)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, EventKind, GuestRef};

    #[test]
    fn notices_are_events_like_others() {
        let kinds = [
            (EventKind::from(Noticed::new(Notice::BalloonChanged { actual: Kib(2048) }, 3)), "balloon-changed"),
            (EventKind::from(Noticed::from(Notice::CrashKernelLoaded)), "crash-kernel-loaded"),
            (EventKind::from(Noticed::from(Notice::ClockChanged { offset: -7 })), "clock-changed"),
            (EventKind::DeviceRemoved { alias: "net1".into() }, "device-removed"),
            (EventKind::Suspended, "suspended"),
        ];
        for (kind, name) in kinds {
            let event = Event::new(1, 2, GuestRef::new("g", "u", None), kind);
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!(json["event"], name, "{json}");
            assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
        }
    }

    #[test]
    fn what_was_left_out_is_counted() {
        let told = serde_json::to_value(Noticed::new(Notice::Watchdog { action: "none".into() }, 3)).unwrap();
        assert_eq!(told, serde_json::json!({ "event": "watchdog", "action": "none", "merged": 3 }));
        let told = serde_json::to_value(Noticed::from(Notice::SuspendedToDisk)).unwrap();
        assert_eq!(told, serde_json::json!({ "event": "suspended-to-disk" }));
    }
}
