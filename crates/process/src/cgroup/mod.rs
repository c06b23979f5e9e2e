//! cgroups of both versions: one group per guest and controller, with parts for its threads.
//!
//! ```text
//! <hierarchy>/polyvirt/qemu-3-name/            every process of the guest; all CPUs and nodes
//!                                 emulator/    the process starts here, so all its threads do
//!                                 vcpu0/ …     threads moved here by the driver
//!                                 iothread1/ …
//! ```
//!
//! With version 1 a thread moves through `tasks`. With version 2 the parts are *threaded* groups and the
//! guest's group their domain (cgroup-v2.rst, "Threads"); cpuset is a threaded controller.
//!
//! cpuset keeps threads and memory in their place ([`PartGroup`]); cpu, memory and blkio (io) limit what a guest uses ([`cpu`], [`memory`], [`io`]). With
//! version 1 each controller has a hierarchy of its own and so each guest a group in it, with version 2 there is one group for all. Hosts
//! whose service manager owns the hierarchy are the business of the scope service.
//!
//! # Invariants
//! Nothing outside `polyvirt/` is written, not even to enable a controller: where that is missing the answer is
//! [`Unusable`], with the remedy. Removal uses `rmdir` alone, which cannot delete a file.
//!
//! The calls are writes to small files of the kernel. Moving threads may take it milliseconds each; do many
//! of them in `spawn_blocking`.

pub mod cpu;
mod group;
mod hierarchy;
pub mod io;
pub mod memory;
mod remove;

use std::{fmt, path::PathBuf};

pub use group::{Cgroup, PartGroup};
pub use hierarchy::{Controller, Hierarchy, Version};

/// The folder below which everything is ours.
const OURS: &str = "polyvirt";

/// A name that is safe as a folder's: letters, digits, `_`, `-` and `.`, not led by a dot, at most 100 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupName(String);

impl GroupName {
    /// Makes any text safe: what is not allowed becomes `_`, what is too long is cut. Names that must not
    /// collide need something unique in front, such as a number. Safe names stay as they are.
    pub fn new(text: &str) -> Self {
        let mut name: String = text
            .chars()
            .take(100)
            .map(|it| if it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '.') { it } else { '_' })
            .collect();
        if name.is_empty() || name.starts_with('.') {
            name.replace_range(..name.len().min(1), "_");
        }
        Self(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A part of a guest's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// Every thread that has no other part.
    Emulator,
    /// The thread of this virtual CPU.
    Vcpu(u32),
    /// The I/O thread with this id.
    IoThread(u32),
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emulator => out.write_str("emulator"),
            Self::Vcpu(number) => write!(out, "vcpu{number}"),
            Self::IoThread(number) => write!(out, "iothread{number}"),
        }
    }
}

/// Why no group can be had on this host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// There is no such controller.
    #[error("no cgroup hierarchy has the {0} controller; mount one, or enable it in the kernel")]
    NoController(Controller),
    /// Version 2 has the controller, but the groups of this folder do not get it.
    #[error("the {controller} controller is not enabled for groups in '{path}'; write '+{controller}' to '{path}/cgroup.subtree_control'",
        path = path.display())]
    NotEnabled {
        /// The controller, by its name there.
        controller: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// We may not create groups.
    #[error("no right to create cgroups in '{path}': {source}; run as root or have the folder delegated",
        path = path.display())]
    NotPermitted {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The kernel does not tell.
    #[error("cannot read '{path}': {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// What went wrong with a group.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// A file or folder of the hierarchy refused.
    #[error("cannot {action} '{path}': {source}", path = path.display())]
    Io {
        /// What was tried, with the value.
        action: String,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// There still are processes in it.
    #[error("cgroup '{path}' still holds {count} processes, the first is {first}", path = path.display())]
    Populated {
        /// The group.
        path: PathBuf,
        /// How many.
        count: usize,
        /// One of them.
        first: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_cannot_climb() {
        for (text, name) in
            [("qemu-3-web.1", "qemu-3-web.1"), ("../x", "_._x"), ("", "_"), (".", "_"), ("a/b c", "a_b_c"), ("ü", "_")]
        {
            assert_eq!(GroupName::new(text).as_str(), name);
        }
    }

    proptest! {
        #[test]
        fn safe_names_stay(text in ".{0,200}") {
            let name = GroupName::new(&text);
            prop_assert!((1..=100).contains(&name.as_str().len()));
            prop_assert!(!name.as_str().contains('/') && !name.as_str().starts_with('.'));
            prop_assert_eq!(GroupName::new(name.as_str()), name);
        }
    }
}
