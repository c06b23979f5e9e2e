//! System calls that neither `std` nor `nix` wraps, each behind one safe function.
//!
//! All of the crate's `unsafe` is here and in [`crate::between`], which runs in the child.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};

use tokio::io::{Interest, unix::AsyncFd};

use crate::{CpuMask, ExitStatus, MAX_IDS, NodeMask, TapOptions, between::Prepared};

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Forks a child that runs [`crate::between::run`] and nothing else. Returns its pid and pidfd.
///
/// A bare `clone(2)` instead of `fork(3)`: it yields the pidfd in the same step, so nobody can reap the
/// child in between, and runs none of the host program's `pthread_atfork` handlers. What `fork` would have
/// repaired in the C library the child never uses: it makes plain system calls until it executes.
///
/// The caller has blocked all signals, so that no handler of ours runs in the child.
pub(crate) fn clone_child(prepared: &Prepared) -> io::Result<(u32, OwnedFd)> {
    let mut pidfd: RawFd = -1;
    let flags = libc::c_long::from(libc::CLONE_PIDFD | libc::SIGCHLD);
    let null = 0 as libc::c_long;
    #[cfg(target_arch = "s390x")]
    let (first, second) = (null, flags);
    #[cfg(not(target_arch = "s390x"))]
    let (first, second) = (flags, null);
    // SAFETY: without CLONE_VM and with a null stack the child gets a copy of this address space and
    // carries on on a copy of this stack, as after fork(2). `pidfd` is where CLONE_PIDFD makes the kernel
    // write one int. In the child only `between::run` is called, which is made for that and never returns.
    let result = unsafe { libc::syscall(libc::SYS_clone, first, second, &raw mut pidfd, null, null) };
    if result == 0 {
        // SAFETY: this is the single thread of a child made just now, as `run` demands.
        unsafe { crate::between::run(prepared) }
    }
    let pid = checked(result)?;
    // SAFETY: the call succeeded in the parent, so the kernel stored a new descriptor that is ours alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    u32::try_from(pid).map(|pid| (pid, pidfd)).map_err(|_| io::Error::other(format!("clone returned pid {pid}")))
}

/// A duplicate with a number of at least `floor`, closed at exec.
pub(crate) fn duplicate_above(fd: BorrowedFd<'_>, floor: RawFd) -> io::Result<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(floor))?;
    // SAFETY: fcntl made this descriptor just now for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A pidfd for a process that need not be our child.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers and returns a new descriptor or -1.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0 as libc::c_long) })?;
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::other("pidfd_open returned no descriptor"))?;
    // SAFETY: the kernel made this descriptor just now for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Registers a descriptor with the runtime. A pidfd becomes readable when the process has ended.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // Registering would panic. That the runtime's I/O is switched off cannot be asked.
    tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
    // SAFETY: an OwnedFd keeps one open descriptor all its life and returns just that; nobody takes it out.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// Sends `signal`. An error of `ESRCH` means that the process is gone and reaped.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let null = 0 as libc::c_long;
    // SAFETY: takes a descriptor that is open for the borrow's life, integers, and a null siginfo,
    // which means the one kill(2) would send.
    checked(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            libc::c_long::from(pidfd.as_raw_fd()),
            libc::c_long::from(signal),
            null,
            null,
        )
    })
    .map(drop)
}

/// Reaps the child behind `pidfd` if it has ended. `None` while it runs.
///
/// By hand, because `nix` cannot represent a death by a real-time signal and would lose the status.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    // SAFETY: siginfo_t is plain data for which all zeroes is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let id = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `info` is a siginfo_t that the kernel fills; the rest are integers.
    let result = unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED | libc::WNOHANG) };
    checked(libc::c_long::from(result))?;
    // SAFETY: after waitid these fields are set; they stay zero if no child had ended.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(match info.si_code {
        libc::CLD_EXITED => ExitStatus::Code(status),
        libc::CLD_KILLED => ExitStatus::Signal { number: status, core_dumped: false },
        libc::CLD_DUMPED => ExitStatus::Signal { number: status, core_dumped: true },
        _ => ExitStatus::Unknown,
    }))
}

pub(crate) fn sched_setaffinity(tid: u32, cpus: &CpuMask) -> io::Result<()> {
    let words = cpus.words();
    // SAFETY: the pointer and the length in bytes describe `words`, which outlives the call.
    checked(unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, libc::c_long::from(tid), size_of_val(words), words.as_ptr())
    })
    .map(drop)
}

pub(crate) fn sched_getaffinity(tid: u32) -> io::Result<CpuMask> {
    // The kernel refuses a buffer smaller than its own mask, whose size it does not tell.
    let mut words = vec![0usize; 16];
    loop {
        // SAFETY: the pointer and the length in bytes describe `words`, which outlives the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_sched_getaffinity,
                libc::c_long::from(tid),
                size_of_val(words.as_slice()),
                words.as_mut_ptr(),
            )
        };
        match checked(result) {
            Ok(_) => return Ok(CpuMask::from_words(words)),
            Err(error)
                if error.raw_os_error() == Some(libc::EINVAL) && words.len() < (MAX_IDS / usize::BITS) as usize =>
            {
                words.resize(words.len() * 2, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Attaches a descriptor of `/dev/net/tun` to the tap `name`, which is at most 15 bytes long; returns the device's name.
pub(crate) fn attach_tap(queue: &OwnedFd, name: &str, options: TapOptions) -> io::Result<String> {
    let wanted = [
        (true, libc::IFF_TAP | libc::IFF_NO_PI),
        (options.exclusive, libc::IFF_TUN_EXCL),
        (options.multi_queue, libc::IFF_MULTI_QUEUE),
        (options.vnet_header, libc::IFF_VNET_HDR),
    ];
    let flags = wanted.iter().filter(|(on, _)| *on).fold(0, |all, (_, flag)| all | flag);
    // The flags are sixteen bits of which the highest is one of them.
    let [low, high, ..] = flags.to_le_bytes();
    // SAFETY: ifreq is plain data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let room = libc::IFNAMSIZ - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_flags = libc::c_short::from_le_bytes([low, high]);
    // SAFETY: `queue` is open for the borrow's life; the kernel reads and writes one ifreq, of which TUNSETIFF uses name and flags.
    checked(libc::c_long::from(unsafe { libc::ioctl(queue.as_raw_fd(), libc::TUNSETIFF, &raw mut request) }))?;
    let name = request.ifr_name.iter().map(|it| it.to_ne_bytes()[0]).take_while(|it| *it != 0).collect();
    String::from_utf8(name).map_err(|_| io::Error::other("a tap has a name that is not UTF-8"))
}

/// Bits in `nodes` as the kernel wants them counted: it takes one off (`get_nodes`, mm/mempolicy.c).
pub(crate) fn maxnode(nodes: &NodeMask) -> usize {
    size_of_val(nodes.words()) * 8 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn there_is_no_pidfd_for_nobody() {
        // Larger than any pid_max (2^22).
        assert_eq!(pidfd_open(0x3fff_ffff).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn our_parent_is_not_ours_to_reap() {
        let parent = pidfd_open(std::os::unix::process::parent_id()).unwrap();
        assert_eq!(reap(parent.as_fd()).unwrap_err().raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    fn signal_zero_only_asks() {
        let me = pidfd_open(std::process::id()).unwrap();
        pidfd_send_signal(me.as_fd(), 0).unwrap();
    }
}
