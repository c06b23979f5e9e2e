//! Who holds a lease: an identity that cannot be confused with a later process of the same number.
//!
//! A pid alone is reused. Pid, start time and boot id together name one process for ever: `proc(5)` gives the start
//! time as field 22 of `/proc/PID/stat` in clock ticks since boot, and `random(4)` a boot id that changes with
//! every boot.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// Why an owner could not be determined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// No such process.
    #[error("process {pid} does not exist")]
    NoProcess {
        /// The pid that was asked for.
        pid: u32,
    },
    /// A file below `/proc` cannot be read or does not look as `proc(5)` says.
    #[error("cannot read '{path}': is /proc mounted?")]
    Proc {
        /// The file.
        path: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

/// Whether an owner still exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Liveness {
    /// It runs.
    Alive,
    /// It is gone, a zombie, or from before a reboot.
    Dead,
    /// This process cannot tell: the owner is in another pid namespace or `/proc` hides it.
    Unknown,
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Owner {
    /// A process of this host.
    #[non_exhaustive]
    Process {
        /// Its pid in the pid namespace named by `pid_ns`.
        pid: u32,
        /// Clock ticks between boot and its start.
        start_time: u64,
        /// The boot it belongs to, as text of a uuid.
        boot_id: String,
        /// Inode of its pid namespace; `None` if the writer could not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid_ns: Option<u64>,
    },
}

impl Owner {
    /// The calling process.
    ///
    /// # Errors
    /// [`OwnerError::Proc`] if `/proc` is not there.
    pub fn this_process() -> Result<Owner, OwnerError> {
        Owner::of_pid(std::process::id())
    }

    /// The process that has this pid now.
    ///
    /// # Errors
    /// [`OwnerError::NoProcess`] if there is none (a zombie counts as none), [`OwnerError::Proc`] if `/proc` is not
    /// there.
    pub fn of_pid(pid: u32) -> Result<Owner, OwnerError> {
        let path = format!("/proc/{pid}/stat");
        let stat = match read_stat(&path) {
            Ok(stat) if !stat.is_dead() => stat,
            Ok(_) => return Err(OwnerError::NoProcess { pid }),
            Err(error) if is_gone(&error) => return Err(OwnerError::NoProcess { pid }),
            Err(source) => return Err(OwnerError::Proc { path, source }),
        };
        Ok(Owner::Process { pid, start_time: stat.start_time, boot_id: boot_id()?, pid_ns: own_pid_ns() })
    }

    /// Whether the owner may still exist: everything but a certain [`Liveness::Dead`].
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.liveness() != Liveness::Dead
    }

    /// What can be said about the owner from here.
    #[must_use]
    pub fn liveness(&self) -> Liveness {
        match self {
            Owner::Process { pid, start_time, boot_id: theirs, pid_ns } => {
                let Ok(ours) = boot_id() else { return Liveness::Unknown };
                if ours != *theirs {
                    return Liveness::Dead;
                }
                if let (Some(theirs), Some(ours)) = (pid_ns, own_pid_ns())
                    && *theirs != ours
                {
                    return Liveness::Unknown;
                }
                match read_stat(&format!("/proc/{pid}/stat")) {
                    Ok(stat) if stat.start_time == *start_time && !stat.is_dead() => Liveness::Alive,
                    Ok(_) => Liveness::Dead,
                    Err(error) if is_gone(&error) && !proc_hides_others() => Liveness::Dead,
                    Err(_) => Liveness::Unknown,
                }
            }
        }
    }

    /// The pid, if the owner is a process of the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match self {
            Owner::Process { pid, pid_ns, .. } => match (pid_ns, own_pid_ns()) {
                (Some(theirs), Some(ours)) if *theirs != ours => None,
                _ => Some(*pid),
            },
        }
    }

    /// The start time in clock ticks since boot, if the owner is a process.
    #[must_use]
    pub fn start_time(&self) -> Option<u64> {
        match self {
            Owner::Process { start_time, .. } => Some(*start_time),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Process { pid, .. } => write!(f, "process {pid}"),
        }
    }
}

/// The id of this boot, from `/proc/sys/kernel/random/boot_id`.
///
/// # Errors
/// [`OwnerError::Proc`] if the file cannot be read.
pub fn boot_id() -> Result<String, OwnerError> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    // No process outlives its boot, and a ledger asks this once for every lease.
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(known) = BOOT.get() {
        return Ok(known.clone());
    }
    let text = read_bounded(PATH, 128).map_err(|source| OwnerError::Proc { path: PATH.to_owned(), source })?;
    Ok(BOOT.get_or_init(|| text.trim().to_owned()).clone())
}

/// The two fields of `/proc/PID/stat` that matter here.
struct Stat {
    state: char,
    start_time: u64,
}

impl Stat {
    /// `Z` is a zombie, `X` and `x` are dead: none of them can still hold anything.
    fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

fn read_stat(path: &str) -> io::Result<Stat> {
    let text = read_bounded(path, 4096)?;
    parse_stat(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not in the form of proc(5)"))
}

/// The name (field 2) is in parentheses and may hold blanks and parentheses itself: fields count from the last `)`.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 3 is consumed; field 22 is the nineteenth after it.
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, start_time })
}

/// `ESRCH` (3 on every Linux architecture) comes from reading the stat file of a process that ended after the open.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3)
}

/// A process never changes its own pid namespace (`pid_namespaces(7)`), so it is looked up once.
fn own_pid_ns() -> Option<u64> {
    static NAMESPACE: OnceLock<Option<u64>> = OnceLock::new();
    *NAMESPACE.get_or_init(|| fs::metadata("/proc/self/ns/pid").ok().map(|meta| meta.ino()))
}

/// With `hidepid` a living process of somebody else looks like a missing one.
fn proc_hides_others() -> bool {
    let Ok(mounts) = read_bounded("/proc/self/mounts", 1 << 20) else { return true };
    mounts.lines().any(|line| {
        let mut fields = line.split(' ');
        let (_, at, kind, options) = (fields.next(), fields.next(), fields.next(), fields.next());
        at == Some("/proc")
            && kind == Some("proc")
            && options.is_some_and(|o| {
                o.split(',').any(|o| o.strip_prefix("hidepid=").is_some_and(|v| !matches!(v, "0" | "off")))
            })
    })
}

fn read_bounded(path: &str, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_survives_a_file() {
        let me = Owner::this_process().unwrap();
        assert_eq!(me.liveness(), Liveness::Alive);
        let back: Owner = serde_json::from_str(&serde_json::to_string(&me).unwrap()).unwrap();
        assert_eq!(back, me);
        assert_eq!(me.pid(), Some(std::process::id()));
    }

    #[test]
    fn a_child_is_alive_then_a_zombie_then_gone() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let owner = Owner::of_pid(child.id()).unwrap();
        assert!(owner.is_alive());
        child.kill().unwrap();
        // Not reaped: wait until the kernel shows the zombie, which is an event of ours to produce, not a time.
        let path = format!("/proc/{}/stat", child.id());
        while !read_stat(&path).unwrap().is_dead() {
            std::thread::yield_now();
        }
        assert_eq!(owner.liveness(), Liveness::Dead, "a zombie holds nothing");
        child.wait().unwrap();
        assert_eq!(owner.liveness(), Liveness::Dead);
        assert!(matches!(Owner::of_pid(child.id()), Err(OwnerError::NoProcess { .. })));
    }

    #[test]
    fn a_reused_pid_and_another_boot_are_dead() {
        let Owner::Process { pid, start_time, boot_id, pid_ns } = Owner::this_process().unwrap();
        let reused = Owner::Process { pid, start_time: start_time + 1, boot_id: boot_id.clone(), pid_ns };
        assert_eq!(reused.liveness(), Liveness::Dead);
        let rebooted = Owner::Process { pid, start_time, boot_id: "another".into(), pid_ns };
        assert_eq!(rebooted.liveness(), Liveness::Dead);
        let elsewhere = Owner::Process { pid, start_time, boot_id, pid_ns: Some(1) };
        assert_eq!(elsewhere.liveness(), Liveness::Unknown);
        assert!(elsewhere.is_alive(), "what cannot be judged is kept");
        assert_eq!(elsewhere.pid(), None);
    }

    #[test]
    fn names_with_parentheses_do_not_shift_the_fields() {
        let line = "7 (a) R (b) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4242 1000 10 18446744073709551615";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.state, stat.start_time), ('S', 4242));
        assert!(parse_stat("7 (a) S 1 2").is_none());
        assert!(parse_stat("").is_none());
    }
}
