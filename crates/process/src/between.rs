//! What the child does between fork and exec.
//!
//! Runs in a copy of a process whose other threads are gone, in whatever state they left the heap and every lock.
//! So: system calls on values prepared before the fork. No allocation, no lock, no indexing that could
//! panic, no `std::io`. Calls that glibc implements for all threads of a process (`setuid` and its kin, by signalling
//! threads that do not exist here) are made directly.

use std::{
    ffi::{CString, c_char, c_int, c_uint},
    os::fd::{OwnedFd, RawFd},
};

use nix::libc;

use crate::step::{Report, Step};

/// Exit code of a child that never ran its program. Nobody reads it: the report tells.
const EXIT_NOT_RUN: c_int = 126;

/// Signals the kernel has (`_NSIG`).
const SIGNALS: c_int = 64;

/// The byte that opens the gate.
pub(crate) const OPEN: u8 = b'o';

/// Everything the child needs, in the form of the system calls. Built in the parent.
pub(crate) struct Prepared {
    pub(crate) program: CString,
    pub(crate) argv: Pointers,
    pub(crate) envp: Pointers,
    /// Our end of the gate's socket, with its number above all targets.
    pub(crate) channel: OwnedFd,
    /// Duplicates above all targets, with the number each shall get.
    pub(crate) moves: Vec<(OwnedFd, RawFd)>,
    /// First and last descriptor of each range to be closed.
    pub(crate) closed: Vec<(c_uint, c_uint)>,
    pub(crate) cgroups: Vec<OwnedFd>,
    pub(crate) affinity: Option<Vec<usize>>,
    pub(crate) memory_policy: Option<(c_int, Vec<usize>, usize)>,
    pub(crate) limits: Vec<(c_uint, libc::rlimit64)>,
    pub(crate) umask: libc::mode_t,
    pub(crate) credentials: Option<(libc::uid_t, libc::gid_t, Vec<libc::gid_t>)>,
    pub(crate) directory: CString,
    pub(crate) no_new_privs: bool,
}

/// A null-terminated array of C strings, with the strings it points into.
pub(crate) struct Pointers {
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Pointers {
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        // The heap blocks of the strings stay where they are when the vector moves.
        let pointers = strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _strings: strings, pointers }
    }
}

/// Prepares this process, waits at the gate, executes the program.
///
/// # Safety
/// Only to be called in a child just made by `clone` without `CLONE_VM`, with all signals blocked.
pub(crate) unsafe fn run(prepared: &Prepared) -> ! {
    use std::os::fd::AsRawFd;
    let channel = prepared.channel.as_raw_fd();
    // SAFETY: handed on from our caller.
    let failed = unsafe {
        match before_the_gate(prepared) {
            Ok(()) => match wait(channel) {
                Ok(()) => match after_the_gate(prepared, channel) {
                    Ok(never) => match never {},
                    Err(report) => report,
                },
                Err(report) => report,
            },
            Err(report) => report,
        }
    };
    tell(channel, failed);
    // SAFETY: ends the process at once, without destructors.
    unsafe { libc::_exit(EXIT_NOT_RUN) }
}

enum Never {}

fn failure(step: Step, index: u16) -> Report {
    // SAFETY: the C library's errno of this thread.
    Report { step, index, errno: unsafe { *libc::__errno_location() } }
}

fn tell(channel: RawFd, report: Report) {
    let bytes = report.encode();
    // SAFETY: the pointer and length describe `bytes`. If nobody listens any more there is nobody to tell.
    unsafe { libc::send(channel, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
}

/// Turns the -1 of a system call into the report of this step.
fn step(result: libc::c_long, step: Step, index: u16) -> Result<(), Report> {
    if result == -1 { Err(failure(step, index)) } else { Ok(()) }
}

unsafe fn before_the_gate(prepared: &Prepared) -> Result<(), Report> {
    use std::os::fd::AsRawFd;
    // SAFETY: system calls with integers and with pointers into `prepared`, which is our own copy.
    unsafe {
        for (from, to) in &prepared.moves {
            step(libc::dup3(from.as_raw_fd(), *to, 0).into(), Step::Descriptors, 0)?;
        }
        for (first, last) in &prepared.closed {
            step(libc::syscall(libc::SYS_close_range, *first, *last, 0 as c_uint), Step::Descriptors, 0)?;
        }
        default_signals()?;
        step(libc::setsid().into(), Step::Session, 0)?;
        for (index, file) in (0u16..).zip(&prepared.cgroups) {
            // "0" is whoever writes it: no need to know our pid in this namespace.
            step(libc::write(file.as_raw_fd(), c"0".as_ptr().cast(), 1) as libc::c_long, Step::Cgroup, index)?;
        }
        if let Some(words) = &prepared.affinity {
            let bytes = size_of_val(words.as_slice());
            step(libc::syscall(libc::SYS_sched_setaffinity, 0, bytes, words.as_ptr()), Step::Affinity, 0)?;
        }
        if let Some((mode, words, maxnode)) = &prepared.memory_policy {
            let result = libc::syscall(libc::SYS_set_mempolicy, *mode, words.as_ptr(), *maxnode);
            step(result, Step::MemoryPolicy, 0)?;
        }
        for (index, (resource, limit)) in (0u16..).zip(&prepared.limits) {
            let null = std::ptr::null_mut::<libc::rlimit64>();
            step(libc::syscall(libc::SYS_prlimit64, 0, *resource, &raw const *limit, null), Step::Limit, index)?;
        }
        libc::umask(prepared.umask);
    }
    Ok(())
}

/// Gives every signal its default meaning and unblocks it: what our program ignores (Rust ignores SIGPIPE) or blocks,
/// exec would hand on.
unsafe fn default_signals() -> Result<(), Report> {
    // The C library keeps two signals to itself and refuses to touch them, though our own parent may have had us
    // ignore them. All zeroes is the kernel's struct sigaction for SIG_DFL; it is four words on the widest machine.
    let default = [0usize; 8];
    let null = std::ptr::null_mut::<usize>();
    // SAFETY: system calls with pointers to values of this function. SIGKILL and SIGSTOP refuse, which is as well.
    unsafe {
        for number in 1..=SIGNALS {
            libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), null, SIGNALS as usize / 8);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        step(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()).into(), Step::Signals, 0)
    }
}

/// Waits until the gate opens. If it closes instead the process ends here.
fn wait(channel: RawFd) -> Result<(), Report> {
    let mut byte = 0u8;
    loop {
        // SAFETY: room for one byte.
        match unsafe { libc::recv(channel, (&raw mut byte).cast(), 1, 0) } {
            1 if byte == OPEN => return Ok(()),
            -1 => {
                let report = failure(Step::Gate, 0);
                if report.errno != libc::EINTR {
                    return Err(report);
                }
            }
            // SAFETY: ends the process at once. Whoever made us is gone or has thought better of it.
            _ => unsafe { libc::_exit(EXIT_NOT_RUN) },
        }
    }
}

/// Rights are given up only here: up to the gate nobody but root may signal or look into this copy of our memory.
unsafe fn after_the_gate(prepared: &Prepared, channel: RawFd) -> Result<Never, Report> {
    // SAFETY: system calls with integers and with pointers into `prepared`, which is our own copy.
    unsafe {
        if let Some((uid, gid, groups)) = &prepared.credentials {
            step(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()), Step::Groups, 0)?;
            step(libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid), Step::Gid, 0)?;
            step(libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid), Step::Uid, 0)?;
        }
        step(libc::chdir(prepared.directory.as_ptr()).into(), Step::Directory, 0)?;
        if prepared.no_new_privs {
            step(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into(), Step::NoNewPrivs, 0)?;
        }
        tell(channel, Report { step: Step::Exec, index: 0, errno: 0 });
        libc::execve(prepared.program.as_ptr(), prepared.argv.pointers.as_ptr(), prepared.envp.pointers.as_ptr());
    }
    Err(failure(Step::Exec, 0))
}
