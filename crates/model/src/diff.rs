//! The difference of two definitions, in the words of the domain: `memory: 1 GiB → 2 GiB`, `disk vda: cache none → writeback`.
//!
//! One walk over the tables of the types, no code per type: a new attribute is compared as soon as it is described. Devices are
//! matched by what they are (`identity`), not by their place in the list, so that a device in front moves nothing. Every change says
//! whether the guest sees it (`abi`).
//!
//! It does not complete anything: compare definitions that went through [`crate::complete`], or defaults that one of them spells out
//! show up. The order of devices is no difference.
//!
//! Invariant: a definition does not differ from itself, and the difference of B and A is that of A and B with the sides changed.

mod abi;
mod identity;
mod walk;

use std::fmt;

use serde::Serialize;

use crate::domain::DomainConfig;

/// What happened to one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is in the second definition only.
    Added,
    /// It is in the first definition only.
    Removed,
    /// It is in both, with different values.
    Changed,
}

/// One difference.
///
/// `Display` is one line: `disk vda: cache none → writeback`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// What happened.
    pub change: ChangeKind,
    /// Where: elements from the root, devices by what they are: `/domain/devices/disk[vda]/driver/@cache`.
    pub path: String,
    /// What it is about: `memory`, `disk vda`.
    pub subject: String,
    /// What of the subject, if not the subject itself: `cache`.
    pub what: String,
    /// Its value in the first definition.
    pub before: Option<String>,
    /// Its value in the second definition.
    pub after: Option<String>,
    /// Whether the guest sees it: its hardware would be another one.
    pub guest: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)?;
        f.write_str(": ")?;
        if !self.what.is_empty() {
            write!(f, "{} ", self.what)?;
        }
        match self.change {
            ChangeKind::Changed => {
                let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
                write!(f, "{} → {}", value(&self.before), value(&self.after))
            }
            ChangeKind::Added => described(f, "added", self.after.as_deref()),
            ChangeKind::Removed => described(f, "removed", self.before.as_deref()),
        }
    }
}

fn described(f: &mut fmt::Formatter<'_>, what: &str, detail: Option<&str>) -> fmt::Result {
    f.write_str(what)?;
    match detail {
        Some(detail) if !detail.is_empty() => write!(f, " ({detail})"),
        _ => Ok(()),
    }
}

/// Everything in which two definitions differ, in the order of the format. Secrets are not shown.
#[must_use]
pub fn diff(before: &DomainConfig, after: &DomainConfig) -> Vec<Change> {
    let mut changes = walk::walk(before, after);
    for change in &mut changes {
        change.guest = abi::guest_sees(&change.path);
    }
    changes
}

/// What of the second definition would be another machine for the guest of the first: machine and CPU, memory, devices, their
/// models, places and serial numbers, identities. Nothing: the guest's ABI is the same.
///
/// What the host does for the guest (files behind disks, pins, limits, names of taps, screens, labels) does not count, nor does
/// what may change while it runs (the balloon, media in drives).
#[must_use]
pub fn abi_changes(before: &DomainConfig, after: &DomainConfig) -> Vec<Change> {
    diff(before, after).into_iter().filter(|change| change.guest).collect()
}

/// Whether the guest sees what stands at this place of its definition, `/domain/devices/disk[1]/serial`.
#[must_use]
pub fn guest_sees(path: &str) -> bool {
    abi::guest_sees(path)
}

#[cfg(test)]
mod tests;
