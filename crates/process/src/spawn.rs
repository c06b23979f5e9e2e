//! The parent's side: preparing a child, forking it, and opening its gate.

use std::{
    ffi::{CString, OsStr, c_int, c_uint},
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd, RawFd},
        unix::{ffi::OsStrExt, net::UnixStream},
    },
    time::Duration,
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigSet, SigmaskHow, Signal},
};
use tokio::io::AsyncReadExt;

use crate::{
    Child, ExitStatus, Limit, MemoryPolicy, PolicyMode, ProcessId, Resource, SpawnError, SpawnSpec, Stdio,
    between::{OPEN, Pointers, Prepared},
    child,
    step::{RECORD, Report, Step},
    sys,
    words::Words,
};

/// Kept descriptors get numbers below this, so that the sources can be moved above all of them.
const MAX_KEPT: RawFd = 1023;

/// Forks a child that prepares itself as `spec` says and waits at the gate.
///
/// Does not wait for the child and needs no runtime. What goes wrong in the child is told by
/// [`GatedChild::open_gate`].
///
/// # Errors
/// [`SpawnError::Spec`] for what cannot be meant, [`SpawnError::Parent`] if the system refuses a fork or
/// a descriptor.
pub fn spawn(spec: &SpawnSpec) -> Result<GatedChild, SpawnError> {
    check(spec).map_err(|problem| SpawnError::Spec { program: spec.program.clone(), problem })?;
    let refused = |action| move |source| SpawnError::Parent { program: spec.program.clone(), action, source };
    let (gate, theirs) = UnixStream::pair().map_err(refused("creating the gate"))?;
    let prepared = prepare(spec, &theirs).map_err(refused("preparing descriptors"))?;
    drop(theirs);
    let (pid, pidfd) = with_signals_blocked(|| sys::clone_child(&prepared)).map_err(refused("forking"))?;
    drop(prepared);
    // Cannot be another process: the pid is taken until we reap it.
    let id = ProcessId::of(pid).map_err(refused("reading the child's start time"))?;
    tracing::debug!(pid, program = %spec.program.display(), "child waits at the gate");
    let words = Words::of(spec);
    Ok(GatedChild { id, inner: Some(Inner { pidfd, gate, words }) })
}

fn with_signals_blocked<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let result = work();
    before.thread_set_mask()?;
    result
}

fn check(spec: &SpawnSpec) -> Result<(), String> {
    if !spec.program.is_absolute() {
        return Err("the program's path is not absolute".into());
    }
    let texts = [spec.program.as_os_str(), spec.directory.as_os_str()];
    let variables = spec.env.iter().flat_map(|(name, value)| [name.as_os_str(), value.as_os_str()]);
    if let Some(text) = texts
        .into_iter()
        .chain(spec.args.iter().map(|text| text.as_os_str()))
        .chain(variables)
        .find(|text| text.as_bytes().contains(&0))
    {
        return Err(format!("{text:?} contains a NUL byte, which no argument, variable or path can"));
    }
    if let Some((name, _)) = spec.env.iter().find(|(name, _)| name.is_empty() || name.as_bytes().contains(&b'=')) {
        return Err(format!("{name:?} is no name of an environment variable; it is empty or contains '='"));
    }
    let mut numbers: Vec<RawFd> = spec.keep.iter().map(|kept| kept.number).collect();
    numbers.sort_unstable();
    if let Some(number) = numbers.iter().find(|number| !(3..=MAX_KEPT).contains(*number)) {
        return Err(format!("descriptor number {number} cannot be kept; use 3 to {MAX_KEPT}"));
    }
    if let Some(pair) = numbers.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(format!("two descriptors are to be number {}", pair[0]));
    }
    if spec.affinity.as_ref().is_some_and(|cpus| cpus.is_empty()) {
        return Err("the CPU affinity is empty; name a CPU or leave it out".into());
    }
    match &spec.memory_policy {
        Some(policy) if policy.nodes.is_empty() => Err("the memory policy names no node".into()),
        Some(MemoryPolicy { mode: PolicyMode::Preferred, nodes }) if nodes.len() > 1 => {
            Err(format!("'preferred' takes one node, not {nodes}; 'preferred many' takes several"))
        }
        _ => Ok(()),
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(io::Error::from)
}

fn prepare(spec: &SpawnSpec, channel: &UnixStream) -> io::Result<Prepared> {
    let floor = spec.keep.iter().map(|kept| kept.number).fold(2, RawFd::max) + 1;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let mut moves = Vec::new();
    for (number, stream) in (0..).zip([&spec.stdin, &spec.stdout, &spec.stderr]) {
        let fd = match stream {
            Stdio::Null => null.as_fd(),
            Stdio::Fd(fd) => fd.as_fd(),
        };
        moves.push((sys::duplicate_above(fd, floor)?, number));
    }
    for kept in &spec.keep {
        moves.push((sys::duplicate_above(kept.fd.as_fd(), floor)?, kept.number));
    }
    let channel = sys::duplicate_above(channel.as_fd(), floor)?;
    let cgroups =
        spec.cgroups.iter().map(|fd| sys::duplicate_above(fd.as_fd(), floor)).collect::<io::Result<Vec<_>>>()?;
    let open = moves.iter().map(|(_, number)| *number);
    let open = open.chain([channel.as_raw_fd()]).chain(cgroups.iter().map(AsRawFd::as_raw_fd));
    let mut argv = vec![c_string(spec.program.as_os_str())?];
    for argument in &spec.args {
        argv.push(c_string(argument)?);
    }
    let mut envp = Vec::new();
    for (name, value) in &spec.env {
        envp.push(c_string(&[name.as_os_str(), value.as_os_str()].join(OsStr::new("=")))?);
    }
    Ok(Prepared {
        program: c_string(spec.program.as_os_str())?,
        argv: Pointers::new(argv),
        envp: Pointers::new(envp),
        closed: gaps(open.collect()),
        channel,
        moves,
        cgroups,
        affinity: spec.affinity.as_ref().map(|cpus| cpus.words().to_vec()),
        memory_policy: spec
            .memory_policy
            .as_ref()
            .map(|policy| (policy.mode as c_int, policy.nodes.words().to_vec(), sys::maxnode(&policy.nodes))),
        limits: spec.limits.iter().map(|(resource, limit)| raw_limit(*resource, *limit)).collect(),
        umask: spec.umask & 0o777,
        credentials: spec.credentials.as_ref().map(|who| (who.uid, who.gid, who.groups.clone())),
        directory: c_string(spec.directory.as_os_str())?,
        no_new_privs: spec.no_new_privs,
    })
}

fn raw_limit(resource: Resource, limit: Limit) -> (c_uint, libc::rlimit64) {
    let resource = match resource {
        Resource::LockedMemory => libc::RLIMIT_MEMLOCK,
        Resource::CoreFile => libc::RLIMIT_CORE,
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
    };
    (resource, libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard })
}

/// The ranges between and after these descriptors.
fn gaps(mut open: Vec<RawFd>) -> Vec<(c_uint, c_uint)> {
    open.sort_unstable();
    let mut next = 0;
    let mut gaps = Vec::new();
    for number in open.into_iter().filter_map(|number| c_uint::try_from(number).ok()) {
        if number > next {
            gaps.push((next, number - 1));
        }
        next = number + 1;
    }
    gaps.push((next, c_uint::MAX));
    gaps
}

/// A child that has not yet executed its program.
///
/// Dropping it closes the gate: the child exits and is reaped.
#[derive(Debug)]
pub struct GatedChild {
    id: ProcessId,
    inner: Option<Inner>,
}

#[derive(Debug)]
struct Inner {
    pidfd: OwnedFd,
    gate: UnixStream,
    words: Words,
}

impl GatedChild {
    /// Which process it is. Write this down before opening the gate.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Opens the gate and waits until the program runs, at most for `within`.
    ///
    /// If the future is dropped before it is ready, the gate may be open: the program may run, and only who wrote down
    /// [`Self::id`] can find it. On every error the child is gone.
    ///
    /// # Errors
    /// [`SpawnError::Child`] with the step and errno, [`SpawnError::Died`], [`SpawnError::Timeout`];
    /// [`SpawnError::Parent`] if the runtime refuses. Must be called within a tokio runtime.
    pub async fn open_gate(mut self, within: Duration) -> Result<Child, SpawnError> {
        let Some(Inner { pidfd, gate, words }) = self.inner.take() else {
            unreachable!("only open_gate and drop take it, and both end the value")
        };
        let program = words.program().to_owned();
        let refused = |action| {
            let program = program.clone();
            move |source| SpawnError::Parent { program, action, source }
        };
        let child = Child::new(self.id, pidfd).map_err(refused("watching the child"))?;
        let told = match listen(gate) {
            Ok(told) => tokio::time::timeout(within, told).await,
            Err(source) => Ok(Err(source)),
        };
        let failure = match told {
            Ok(Ok(Told::Runs)) => return Ok(child),
            Ok(Ok(Told::Failed(report))) => words.failure(report),
            Ok(Ok(Told::Nothing)) => {
                let status = child.wait().await.unwrap_or(ExitStatus::Unknown);
                return Err(SpawnError::Died { program, status });
            }
            Ok(Err(source)) => refused("opening the gate")(source),
            Err(_) => SpawnError::Timeout { program, after: within },
        };
        child.kill(Signal::SIGKILL).ok();
        // Killed, it ends; unless a file system holds it in the kernel, which must not hold us.
        tokio::time::timeout(Duration::from_secs(2), child.wait()).await.ok();
        Err(failure)
    }
}

impl Drop for GatedChild {
    fn drop(&mut self) {
        let Some(Inner { pidfd, gate, .. }) = self.inner.take() else { return };
        drop(gate);
        child::send(pidfd.as_fd(), Signal::SIGKILL).ok();
        // It runs nothing but our own few lines, so this takes microseconds; the limit is for a stuck kernel.
        poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(1000u16)).ok();
        child::reap(pidfd.as_fd()).ok();
    }
}

/// What the child said until it closed its end.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Runs,
    Failed(Report),
    Nothing,
}

/// Opens the gate now; the future then collects what the child reports.
fn listen(gate: UnixStream) -> io::Result<impl Future<Output = io::Result<Told>>> {
    use std::io::Write;
    // std sends on sockets with MSG_NOSIGNAL, so a dead child is an error and no SIGPIPE. It has said why, perhaps.
    match (&gate).write_all(&[OPEN]) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    gate.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(gate)?;
    Ok(async move {
        let mut said = Vec::new();
        match stream.take(4 * RECORD as u64).read_to_end(&mut said).await {
            // Reset: the child died with our byte unread. What it said before arrived before.
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(understand(&said)),
        }
    })
}

fn understand(said: &[u8]) -> Told {
    let (records, _) = said.as_chunks::<RECORD>();
    let mut told = Told::Nothing;
    for report in records.iter().filter_map(Report::decode) {
        told = match report {
            Report { step: Step::Exec, errno: 0, .. } => Told::Runs,
            failed => Told::Failed(failed),
        };
    }
    told
}

#[cfg(test)]
mod tests;
