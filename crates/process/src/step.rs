//! What can go wrong between asking for a process and having it, and how the child says so.
//!
//! The child reports through the gate's socket in records of [`RECORD`] bytes: step, index, errno. A
//! record with errno 0 and step `Exec` is no failure: it says that everything is prepared and `execve`
//! comes next. The end of the stream after it means that the program runs.

use std::{io, path::PathBuf, time::Duration};

use crate::ExitStatus;

/// Bytes of one report: step (1), unused (1), index (2), errno (4); host byte order.
pub(crate) const RECORD: usize = 8;

/// What the child was doing when it failed. In the order in which the child does them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Step {
    /// Putting descriptors in their places and closing the others.
    Descriptors = 1,
    /// Giving signals their default meaning.
    Signals,
    /// Starting a session of its own.
    Session,
    /// Joining a cgroup; the report names the position in [`crate::SpawnSpec::cgroups`].
    Cgroup,
    /// Setting the CPU affinity.
    Affinity,
    /// Setting the memory policy.
    MemoryPolicy,
    /// Setting a resource limit; the report names the position in [`crate::SpawnSpec::limits`].
    Limit,
    /// Waiting at the gate.
    Gate,
    /// Setting the supplementary groups.
    Groups,
    /// Setting the group.
    Gid,
    /// Setting the user.
    Uid,
    /// Entering the working directory, with the rights of the new user.
    Directory,
    /// Giving up the right to gain privileges.
    NoNewPrivs,
    /// Executing the program.
    Exec,
}

impl Step {
    const ALL: [Self; 14] = [
        Self::Descriptors,
        Self::Signals,
        Self::Session,
        Self::Cgroup,
        Self::Affinity,
        Self::MemoryPolicy,
        Self::Limit,
        Self::Gate,
        Self::Groups,
        Self::Gid,
        Self::Uid,
        Self::Directory,
        Self::NoNewPrivs,
        Self::Exec,
    ];

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u8 == code)
    }
}

/// One report of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) step: Step,
    pub(crate) index: u16,
    pub(crate) errno: i32,
}

impl Report {
    pub(crate) const fn encode(self) -> [u8; RECORD] {
        let [a, b] = self.index.to_ne_bytes();
        let [c, d, e, f] = self.errno.to_ne_bytes();
        [self.step as u8, 0, a, b, c, d, e, f]
    }

    pub(crate) fn decode(bytes: &[u8; RECORD]) -> Option<Self> {
        let [step, _, a, b, c, d, e, f] = *bytes;
        Some(Self {
            step: Step::from_code(step)?,
            index: u16::from_ne_bytes([a, b]),
            errno: i32::from_ne_bytes([c, d, e, f]),
        })
    }
}

/// Why there is no process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The request makes no sense; nothing was forked.
    #[error("cannot start '{program}': {problem}", program = program.display())]
    Spec {
        /// The program asked for.
        program: PathBuf,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// This process could not prepare or fork.
    #[error("cannot start '{program}': {action}: {source}", program = program.display())]
    Parent {
        /// The program asked for.
        program: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The child could not do one of its steps. It has exited without running the program.
    #[error("cannot start '{program}': the child could not {what}: {source}", program = program.display())]
    Child {
        /// The program asked for.
        program: PathBuf,
        /// The step that failed.
        step: Step,
        /// The same in words, with the value concerned.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The child ended before it ran the program and left no word.
    #[error("cannot start '{program}': the child ended before it ran the program: {status}", program = program.display())]
    Died {
        /// The program asked for.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// The child did not run the program in time. It was killed.
    #[error("'{program}' did not start within {after:?}; its file system may hang", program = program.display())]
    Timeout {
        /// The program asked for.
        program: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
}

impl SpawnError {
    /// The child's step that failed and its errno, if it came to that.
    pub fn step(&self) -> Option<(Step, i32)> {
        match self {
            Self::Child { step, source, .. } => Some((*step, source.raw_os_error().unwrap_or(0))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_socket() {
        for step in Step::ALL {
            let report = Report { step, index: 513, errno: 22 };
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Report::decode(&[0; RECORD]), None);
    }
}
