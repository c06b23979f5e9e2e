//! What a process is to be: program, descriptors, rights and place. Plain values; nothing happens here.

use std::{ffi::OsString, io, os::fd::OwnedFd, os::fd::RawFd, path::PathBuf};

use nix::unistd::{Gid, User};

use crate::{CpuMask, NodeMask};

/// Everything about a process to be started. Make one with [`SpawnSpec::new`] and set what differs.
#[derive(Debug)]
#[non_exhaustive]
pub struct SpawnSpec {
    /// Absolute path of the program. No search through `PATH`.
    pub program: PathBuf,
    /// Arguments after `argv[0]`, which is the program's path.
    pub args: Vec<OsString>,
    /// The whole environment. Nothing of ours is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Standard input.
    pub stdin: Stdio,
    /// Standard output.
    pub stdout: Stdio,
    /// Standard error.
    pub stderr: Stdio,
    /// Further descriptors, under the numbers that the arguments mention.
    pub keep: Vec<KeptFd>,
    /// Working directory; `/` unless set.
    pub directory: PathBuf,
    /// File mode creation mask; `0o077` unless set.
    pub umask: u32,
    /// Resource limits, set while still privileged.
    pub limits: Vec<(Resource, Limit)>,
    /// User and groups to run as; `None` keeps ours.
    pub credentials: Option<Credentials>,
    /// CPUs on which it may run. Set after joining the cgroups, which would reset it.
    pub affinity: Option<CpuMask>,
    /// Memory policy of the process, inherited by its threads.
    pub memory_policy: Option<MemoryPolicy>,
    /// Opened `cgroup.procs`, `cgroup.threads` or `tasks` files that the child joins, in this order.
    pub cgroups: Vec<OwnedFd>,
    /// Whether programs it executes may gain privileges (`PR_SET_NO_NEW_PRIVS`); allowed unless set.
    pub no_new_privs: bool,
}

impl SpawnSpec {
    /// A process in `/`, without environment and arguments, with null standard streams and our rights.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: Stdio::Null,
            stdout: Stdio::Null,
            stderr: Stdio::Null,
            keep: Vec::new(),
            directory: PathBuf::from("/"),
            umask: 0o077,
            limits: Vec::new(),
            credentials: None,
            affinity: None,
            memory_policy: None,
            cgroups: Vec::new(),
            no_new_privs: false,
        }
    }
}

/// Where a standard stream goes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stdio {
    /// `/dev/null`.
    Null,
    /// This descriptor, which the caller opened.
    Fd(OwnedFd),
}

/// A descriptor that the child keeps.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeptFd {
    /// Ours; it is duplicated, not consumed.
    pub fd: OwnedFd,
    /// Its number in the child: 3 to 1023.
    pub number: RawFd,
}

impl KeptFd {
    /// `fd`, known to the child as `number`.
    pub fn new(fd: OwnedFd, number: RawFd) -> Self {
        Self { fd, number }
    }
}

/// A resource limit that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// Bytes that may be locked into memory (`RLIMIT_MEMLOCK`).
    LockedMemory,
    /// Bytes of a core file (`RLIMIT_CORE`).
    CoreFile,
    /// One more than the largest descriptor number (`RLIMIT_NOFILE`).
    OpenFiles,
}

/// The two values of a resource limit; [`Limit::INFINITY`] for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What the kernel enforces.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

impl Limit {
    /// No limit (`RLIM_INFINITY`).
    pub const INFINITY: u64 = u64::MAX;

    /// Both values the same.
    pub const fn exactly(value: u64) -> Self {
        Self { soft: value, hard: value }
    }
}

/// Who a process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, all of them.
    pub groups: Vec<u32>,
}

impl Credentials {
    /// This user and group with these supplementary groups.
    pub fn new(uid: u32, gid: u32, groups: Vec<u32>) -> Self {
        Self { uid, gid, groups }
    }

    /// The user of that name with the groups the system's databases list for it; `None` if there is none.
    ///
    /// Blocks: the databases may be on the network. Call it from `spawn_blocking`.
    ///
    /// # Errors
    /// If the databases cannot be read, or the name holds a NUL byte.
    pub fn of_user(name: &str) -> io::Result<Option<Self>> {
        let Some(user) = User::from_name(name)? else { return Ok(None) };
        let name = std::ffi::CString::new(name)?;
        let groups = nix::unistd::getgrouplist(&name, user.gid)?;
        Ok(Some(Self::new(user.uid.as_raw(), user.gid.as_raw(), groups.into_iter().map(Gid::as_raw).collect())))
    }
}

/// Where the kernel takes a process' pages from (`set_mempolicy(2)`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryPolicy {
    /// How the nodes are used.
    pub mode: PolicyMode,
    /// Which nodes. Never empty; exactly one for [`PolicyMode::Preferred`].
    pub nodes: NodeMask,
}

impl MemoryPolicy {
    /// These nodes, used in this way.
    pub fn new(mode: PolicyMode, nodes: NodeMask) -> Self {
        Self { mode, nodes }
    }
}

/// How a memory policy uses its nodes. The numbers are those of `linux/mempolicy.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum PolicyMode {
    /// One node first, others when it is full. The kernel would silently use the first of several.
    Preferred = 1,
    /// Only these nodes.
    Bind = 2,
    /// Page by page in turn.
    Interleave = 3,
    /// These nodes first, others when they are full. Linux 5.15.
    PreferredMany = 5,
    /// In turn, by the weights in `/sys/kernel/mm/mempolicy/weighted_interleave`. Linux 6.9.
    WeightedInterleave = 6,
}
