//! What becomes of a definition, sorted by whom it concerns.
//!
//! libvirt stores definitions completed. So what such a file lacks its guest lacks: a device that completing adds is a new one to the
//! guest, while a value that is written where none stood was the default before. A file without a UUID was stored by nobody, and all
//! of its completion is just that.

use polyvirt_core::model::{Change, ChangeKind, Problem, Problems, guest_sees};

/// How what would be stored differs from what the file says.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Differences {
    /// The guest would see other hardware.
    pub guest: Vec<Change>,
    /// Parts of the file that the guest sees and that have no effect here.
    pub lost: Vec<Problem>,
    /// Defaults that are written out.
    pub completed: Vec<Change>,
    /// The host would do something else for the guest.
    pub host: Vec<Change>,
    /// Parts of the file that only the host cares for and that have no effect here.
    pub unused: Vec<Problem>,
}

impl Differences {
    /// Sorts changes and warnings; `stored` says whether the file was stored by libvirt before.
    pub(super) fn of(changes: Vec<Change>, warnings: Problems, stored: bool) -> Self {
        let mut sorted = Self::default();
        for change in changes {
            let list = match change.change {
                ChangeKind::Changed if change.before.is_none() => &mut sorted.completed,
                ChangeKind::Added if !(stored && change.guest) => &mut sorted.completed,
                _ if change.guest => &mut sorted.guest,
                _ => &mut sorted.host,
            };
            list.push(change);
        }
        for warning in warnings {
            let list = if guest_sees(&warning.path) { &mut sorted.lost } else { &mut sorted.unused };
            list.push(warning);
        }
        sorted
    }

    /// Whether the guest would notice anything.
    #[must_use]
    pub fn guest_notices(&self) -> bool {
        !self.guest.is_empty() || !self.lost.is_empty()
    }

    /// Whether the file and what would be stored say the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
