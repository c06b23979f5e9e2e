//! How much memory a group may use.
//!
//! Files and their units: `memory.rst` of version 1, `cgroup-v2.rst`. What a version lacks is an error that says so. Writes are made in an
//! order that the kernel takes, and what was there is put back when one of several is refused.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Cgroup, CgroupError, Controller, Hierarchy, Version,
    group::{read, write},
};

/// Limits of memory in bytes; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryLimits {
    /// What may be used at most.
    pub hard: Option<u64>,
    /// What is reclaimed down to when memory is short on the host.
    pub soft: Option<u64>,
    /// Memory and swap together.
    pub with_swap: Option<u64>,
}

fn number(limit: Option<u64>, none: &str) -> String {
    limit.map_or_else(|| none.to_owned(), |it| it.to_string())
}

/// An error for what the kernel does not have.
pub(super) fn lacks(path: &Path, action: &str, why: &str) -> CgroupError {
    CgroupError::Io {
        action: action.into(),
        path: path.into(),
        source: io::Error::new(io::ErrorKind::Unsupported, why.to_owned()),
    }
}

/// Writes all of them; if one is refused, what was there is written back, the last first.
fn write_all(writes: &[(PathBuf, String)]) -> Result<(), CgroupError> {
    let mut before: Vec<(&PathBuf, String)> = Vec::new();
    for (path, value) in writes {
        let old = read(path)?;
        if let Err(error) = write(path, value) {
            for (path, old) in before.iter().rev() {
                write(path, old).ok();
            }
            return Err(error);
        }
        before.push((path, old.trim().to_owned()));
    }
    Ok(())
}

impl Cgroup {
    /// Limits memory. Of a group with the memory controller. All or none.
    ///
    /// # Errors
    /// [`CgroupError::Io`], such as `EBUSY` for less than is used and cannot be reclaimed.
    pub fn set_memory(&self, limits: MemoryLimits) -> Result<(), CgroupError> {
        let file = |name: &str| self.path.join(name);
        match self.version {
            Version::V1 => {
                let swap = file("memory.memsw.limit_in_bytes");
                let mut writes = Vec::new();
                // Memory alone may never be more than both together.
                if swap.exists() {
                    writes.push((swap.clone(), "-1".to_owned()));
                } else if limits.with_swap.is_some() {
                    return Err(lacks(&swap, "limit swap in", "the kernel does not account for swap (swapaccount=1)"));
                }
                writes.push((file("memory.limit_in_bytes"), number(limits.hard, "-1")));
                writes.push((file("memory.soft_limit_in_bytes"), number(limits.soft, "-1")));
                if let Some(limit) = limits.with_swap {
                    writes.push((swap, limit.to_string()));
                }
                write_all(&writes)
            }
            Version::V2 => {
                let swap = match (limits.with_swap, limits.hard) {
                    (Some(both), Some(hard)) => Some(both.saturating_sub(hard)),
                    (None, _) => None,
                    (Some(_), None) => {
                        let why = "cgroups of version 2 limit swap alone: give a hard limit of memory, too";
                        return Err(lacks(&file("memory.swap.max"), "limit swap in", why));
                    }
                };
                let mut writes = vec![
                    (file("memory.max"), number(limits.hard, "max")),
                    (file("memory.high"), number(limits.soft, "max")),
                ];
                if file("memory.swap.max").exists() {
                    writes.push((file("memory.swap.max"), number(swap, "max")));
                } else if swap.is_some() {
                    return Err(lacks(
                        &file("memory.swap.max"),
                        "limit swap in",
                        "the kernel does not account for swap",
                    ));
                }
                write_all(&writes)
            }
        }
    }

    /// Moves a running process into the group itself, with all its threads and, of a group with the memory controller, what they touched.
    ///
    /// # Errors
    /// [`CgroupError::Io`], `ESRCH` if there is no such process; `Unsupported` where the kernel counts memory where it was touched: with
    /// version 2, and with version 1 since Linux 6.11.
    pub fn take(&self, pid: u32) -> Result<(), CgroupError> {
        if self.controller == Controller::Memory {
            let moves = self.path.join("memory.move_charge_at_immigrate");
            // Anonymous pages and pages of files (memory.rst, 8.2).
            if self.version == Version::V2 || write(&moves, "3").is_err() {
                let why = "this kernel counts memory where it was touched, and moves no count";
                return Err(lacks(&self.path, "move the memory of a process to", why));
            }
        }
        write(&self.path.join("cgroup.procs"), &pid.to_string())
    }

    /// Opened files which a process that is yet to execute joins to be in the group itself.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn join_whole(&self) -> Result<Vec<std::os::fd::OwnedFd>, CgroupError> {
        let path = self.path.join(match self.version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        });
        match fs::File::options().write(true).open(&path) {
            Ok(file) => Ok(vec![file.into()]),
            Err(source) => Err(CgroupError::Io { action: "open".into(), path, source }),
        }
    }

    /// Which interface it has.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether what its processes touch is counted here.
    pub fn counts_memory(&self) -> bool {
        ["memory.max", "memory.limit_in_bytes"].iter().any(|file| self.path.join(file).exists())
    }

    /// Whether a process is in it or in a part of it.
    pub fn holds(&self, pid: u32) -> bool {
        self.processes().is_ok_and(|pids| pids.binary_search(&pid).is_ok())
    }
}

impl Hierarchy {
    /// The controller it was found for.
    pub fn controller(&self) -> Controller {
        self.controller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::GroupName;
    use std::time::Duration;

    const WITHIN: Duration = Duration::from_secs(20);

    fn group(controller: Controller, name: &str) -> Option<Cgroup> {
        match Hierarchy::with(controller) {
            Ok(hierarchy) => {
                Some(hierarchy.create(&GroupName::new(&format!("test-{}-{name}", std::process::id()))).unwrap())
            }
            Err(reason) => {
                println!("skipped: {reason}");
                None
            }
        }
    }

    #[tokio::test]
    async fn memory_is_limited_and_a_refusal_changes_nothing() {
        let Some(group) = group(Controller::Memory, "memory") else { return };
        let mib = |count: u64| Some(count << 20);
        group.set_memory(MemoryLimits { hard: mib(64), soft: mib(32), with_swap: None }).unwrap();
        let (file, soft) = match group.version {
            Version::V1 => ("memory.limit_in_bytes", "memory.soft_limit_in_bytes"),
            Version::V2 => ("memory.max", "memory.high"),
        };
        let now = |name: &str| read(&group.path().join(name)).unwrap().trim().to_owned();
        assert_eq!((now(file), now(soft)), ((64_u64 << 20).to_string(), (32_u64 << 20).to_string()));
        // Lower and higher again, in whichever order the kernel wants it.
        group.set_memory(MemoryLimits { hard: mib(16), soft: None, with_swap: mib(16) }).unwrap();
        group.set_memory(MemoryLimits { hard: mib(128), soft: None, with_swap: mib(256) }).unwrap();
        if group.version == Version::V1 {
            group.set_memory(MemoryLimits { hard: mib(128), soft: None, with_swap: mib(64) }).unwrap_err();
            assert_eq!(now(file), (128_u64 << 20).to_string(), "what was there is put back");
        }
        group.set_memory(MemoryLimits::default()).unwrap();
        group.destroy(WITHIN).await.unwrap();
    }
}
