//! Which process is meant, beyond reuse of its pid, and what the kernel says of it.

use std::{collections::BTreeMap, ffi::OsString, fs, io, io::Read, os::unix::ffi::OsStringExt, time::Duration};

use serde::{Deserialize, Serialize};

/// A process, told apart from any later one that gets the same pid.
///
/// Valid until the host reboots: pids and start times begin anew then, so a record on disk needs the boot
/// id beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id.
    pub pid: u32,
    /// When it started: clock ticks since boot (field 22 of `/proc/PID/stat`, proc(5)).
    pub start_time: u64,
}

impl ProcessId {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// `NotFound` if there is none; `InvalidData` if `/proc` reads unlike proc(5).
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = Stat::read(pid)?;
        Ok(Self { pid, start_time: stat.start_time })
    }

    /// Ourselves.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn current() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// Whether this very process still runs. One that has ended but was not reaped does not.
    ///
    /// # Errors
    /// If `/proc` cannot be read; that it is gone is `Ok(false)`.
    pub fn is_running(&self) -> io::Result<bool> {
        match Stat::read(self.pid) {
            Ok(stat) => Ok(stat.start_time == self.start_time && !matches!(stat.state, b'Z' | b'X' | b'x')),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A process that ends while it is read answers ESRCH instead of ENOENT.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

pub(crate) struct Stat {
    state: u8,
    start_time: u64,
    /// In user mode, in clock ticks.
    user: u64,
    /// In kernel mode, likewise.
    system: u64,
    processor: u32,
}

impl Stat {
    pub(crate) fn read(pid: u32) -> io::Result<Self> {
        Self::read_path(&format!("/proc/{pid}/stat"))
    }

    fn read_path(path: &str) -> io::Result<Self> {
        let mut bytes = Vec::new();
        // A stat line has some 50 numbers and a name of at most 64 bytes.
        fs::File::open(path)?.take(8192).read_to_end(&mut bytes)?;
        Self::parse(&bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not what proc(5) describes")))
    }

    /// Time in user and in kernel mode.
    pub(crate) fn times(&self) -> io::Result<(Duration, Duration)> {
        let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.and_then(|it| u64::try_from(it).ok());
        let hertz = hertz.filter(|it| *it > 0).unwrap_or(100);
        let time = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1000) / hertz);
        Ok((time(self.user), time(self.system)))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        // The name, field 2, may hold blanks and parentheses; nothing after it does.
        let after = bytes.iter().rposition(|byte| *byte == b')')? + 1;
        let mut fields = std::str::from_utf8(bytes.get(after..)?).ok()?.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let mut number = |skip| fields.nth(skip)?.parse::<u64>().ok();
        // Fields 14, 15, 22 and 39, the state being field 3.
        let (user, system) = (number(10)?, number(0)?);
        let start_time = number(6)?;
        let processor = u32::try_from(number(16)?).ok()?;
        Some(Self { state, start_time, user, system, processor })
    }
}

/// The arguments of a process, its program's name first; empty for a kernel thread or one that has ended.
///
/// # Errors
/// `NotFound` if there is no such process; `InvalidData` if the arguments take more than 4 MiB.
pub async fn command_line(pid: u32) -> io::Result<Vec<OsString>> {
    const LIMIT: u64 = 4 << 20;
    // Waits for a lock of that process' memory map, which it may hold for long.
    blocking(move || {
        let mut bytes = Vec::new();
        fs::File::open(format!("/proc/{pid}/cmdline"))?.take(LIMIT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("arguments of process {pid} exceed 4 MiB")));
        }
        if bytes.last() == Some(&0) {
            bytes.pop();
        }
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        Ok(bytes.split(|byte| *byte == 0).map(|argument| OsString::from_vec(argument.to_vec())).collect())
    })
    .await
}

/// Runs what may wait for a disk or a lock on tokio's threads for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// One thread of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// The name it gave itself, at most 15 bytes; QEMU names its vCPU threads `CPU n/KVM` or `CPU n/TCG`.
    pub name: String,
}

/// What a thread has used, and where it last ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadUsage {
    /// Host CPU.
    pub cpu: u32,
    /// CPU time in user and kernel mode, to the clock tick (usually 10 ms).
    pub time: Duration,
}

/// What a thread of a process has used.
///
/// # Errors
/// `NotFound` if there is no such thread.
pub fn thread_usage(pid: u32, tid: u32) -> io::Result<ThreadUsage> {
    let stat = Stat::read_path(&format!("/proc/{pid}/task/{tid}/stat"))?;
    let (user, system) = stat.times()?;
    Ok(ThreadUsage { cpu: stat.processor, time: user + system })
}

/// Size in bytes of each mapping that holds data and no code, by its first address: to tell which mapping of
/// [`crate::numa_maps`] is which.
///
/// # Errors
/// `NotFound` if there is no such process; `PermissionDenied` if it is another user's.
pub async fn mapping_sizes(pid: u32) -> io::Result<BTreeMap<u64, u64>> {
    blocking(move || {
        let mut text = String::new();
        fs::File::open(format!("/proc/{pid}/maps"))?.take(64 << 20).read_to_string(&mut text)?;
        let sizes = text.lines().filter_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
            (!rest.split(' ').next()?.contains('x')).then_some((start, end.checked_sub(start)?))
        });
        Ok(sizes.collect())
    })
    .await
}

/// The threads of a process, ascending. Threads that end meanwhile are left out.
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn threads(pid: u32) -> io::Result<Vec<Thread>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Some(tid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match fs::read(format!("/proc/{pid}/task/{tid}/comm")) {
            Ok(name) => {
                let name = String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned();
                found.push(Thread { tid, name });
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by_key(|thread| thread.tid);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_running_and_our_later_namesake_is_not() {
        let me = ProcessId::current().unwrap();
        assert!(me.is_running().unwrap());
        assert!(!ProcessId { start_time: me.start_time + 1, ..me }.is_running().unwrap());
        assert!(!ProcessId { pid: 0x3fff_ffff, start_time: 1 }.is_running().unwrap());
        assert_eq!(ProcessId::of(0x3fff_ffff).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_name_made_to_confuse_does_not() {
        let line = b"42 (a) R 1 (b) S 4 5 6 7 -1 9 10 11 12 13 14 15 16 17 18 19 20 21 9876 23 24 25 26 27 28 29 30 \
                     31 32 33 34 35 36 37 38 39 40 41";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.start_time, stat.user, stat.system, stat.processor), (b'S', 9876, 14, 15, 39));
        for broken in [&b""[..], b")", b"1 (x) S", b"1 (x) S 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 x", b"\xff(\xff)\xff"]
        {
            assert!(Stat::parse(broken).is_none());
        }
    }

    #[tokio::test]
    async fn reads_our_own_arguments() {
        let ours: Vec<OsString> = std::env::args_os().collect();
        assert_eq!(command_line(std::process::id()).await.unwrap(), ours);
    }

    #[tokio::test]
    async fn sizes_belong_to_mappings() {
        let sizes = mapping_sizes(std::process::id()).await.unwrap();
        assert!(!sizes.is_empty() && sizes.values().all(|size| *size > 0 && size.is_multiple_of(4096)));
    }

    #[test]
    fn a_thread_that_works_has_used_time() {
        let tid = nix::unistd::gettid().as_raw().try_into().unwrap();
        let before = thread_usage(std::process::id(), tid).unwrap();
        while thread_usage(std::process::id(), tid).unwrap().time == before.time {}
        assert_eq!(thread_usage(std::process::id(), 0x3fff_ffff).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn finds_a_thread_by_its_name() {
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("CPU 7/TCG".into())
            .spawn(move || {
                ready.send(()).unwrap();
                is_done.recv().ok();
            })
            .unwrap();
        is_ready.recv().unwrap();
        assert!(threads(std::process::id()).unwrap().iter().any(|thread| thread.name == "CPU 7/TCG"));
        drop(done);
        thread.join().unwrap();
    }
}
