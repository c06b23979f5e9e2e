//! Processes that run: our own children, and those that another process of ours once started.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Mutex,
};

use nix::{libc, sys::signal::Signal};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{ProcessId, sys};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// Whether it left a core file.
        core_dumped: bool,
    },
    /// The host program reaped it before we could, or ignores SIGCHLD.
    Unknown,
}

impl ExitStatus {
    /// Whether it exited with code 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(out, "exit code {code}"),
            Self::Signal { number, core_dumped } => {
                write!(out, "killed by signal {number}")?;
                if let Ok(signal) = Signal::try_from(*number) {
                    write!(out, " ({signal})")?;
                }
                if *core_dumped { write!(out, ", core dumped") } else { Ok(()) }
            }
            Self::Unknown => write!(out, "ended, exit code unknown"),
        }
    }
}

/// `Ok(false)` if the process is gone.
pub(crate) fn send(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<bool> {
    match sys::pidfd_send_signal(pidfd, signal as i32) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `Ok(None)` while it runs.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    match sys::reap(pidfd) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(Some(ExitStatus::Unknown)),
        other => other,
    }
}

/// A child of ours that runs its program. Dropping it lets the process run on.
///
/// An ended child keeps its pid, though nothing of it runs, until somebody waits for it. Dropped within a tokio runtime, that
/// runtime does so; else it is so until we end. It is bound to the runtime in which its gate was opened.
#[derive(Debug)]
pub struct Child {
    id: ProcessId,
    pidfd: AsyncFd<OwnedFd>,
    status: Mutex<Option<ExitStatus>>,
}

impl Child {
    pub(crate) fn new(id: ProcessId, pidfd: OwnedFd) -> io::Result<Self> {
        Ok(Self { id, pidfd: sys::watch(pidfd, Interest::READABLE)?, status: Mutex::new(None) })
    }

    /// Which process it is.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Waits until it ends. Any number of callers may wait, also after the end; each gets the status.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the kernel refuses to tell; not if the process is long gone.
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            // A pidfd stays readable once the process has ended, so readiness is cleared only after a false alarm.
            let mut ready = self.pidfd.readable().await?;
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            ready.clear_ready();
        }
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        // A poisoned lock still holds a whole status.
        let mut status = self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if status.is_none() {
            *status = reap(self.pidfd.as_fd())?;
        }
        Ok(*status)
    }

    /// Sends a signal; `false` if it has ended and was waited for. Never reaches another process.
    ///
    /// # Errors
    /// If we may not signal it.
    pub fn kill(&self, signal: Signal) -> io::Result<bool> {
        send(self.pidfd.as_fd(), signal)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Reaps it if it has ended already. An error is the kernel's business then.
        if let Ok(None) = self.try_wait()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
            && let Ok(pidfd) = self.pidfd.get_ref().try_clone()
        {
            runtime.spawn(reap_later(pidfd));
        }
    }
}

/// Waits for a child that nobody holds any more, so that it does not stay a zombie.
async fn reap_later(pidfd: OwnedFd) {
    if let Ok(pidfd) = sys::watch(pidfd, Interest::READABLE)
        && let Ok(_ready) = pidfd.readable().await
    {
        reap(pidfd.as_fd()).ok();
    }
}

/// A process that somebody else started, such as an earlier life of our own.
#[derive(Debug)]
pub struct Watched {
    id: ProcessId,
    pidfd: AsyncFd<OwnedFd>,
}

impl Watched {
    /// Watches this very process; `None` if it does not run any more.
    ///
    /// # Errors
    /// If the kernel or the tokio runtime refuses. Must be called within a runtime.
    pub fn open(id: ProcessId) -> io::Result<Option<Self>> {
        let pidfd = match sys::pidfd_open(id.pid) {
            Ok(pidfd) => pidfd,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Checked after opening: if the start time is right now, the pid had not been given to another before.
        if !id.is_running()? {
            return Ok(None);
        }
        Ok(Some(Self { id, pidfd: sys::watch(pidfd, Interest::READABLE)? }))
    }

    /// Which process it is.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Waits until it has ended. How it ended only its parent learns.
    ///
    /// # Errors
    /// If the runtime is shutting down.
    pub async fn exited(&self) -> io::Result<()> {
        // Readiness is never cleared: a pidfd becomes readable once and stays so.
        self.pidfd.readable().await.map(drop)
    }

    /// Sends a signal; `false` if it has ended. Never reaches another process.
    ///
    /// # Errors
    /// If we may not signal it.
    pub fn kill(&self, signal: Signal) -> io::Result<bool> {
        send(self.pidfd.as_fd(), signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_read_well() {
        for (status, text) in [
            (ExitStatus::Code(3), "exit code 3"),
            (ExitStatus::Signal { number: 9, core_dumped: false }, "killed by signal 9 (SIGKILL)"),
            (ExitStatus::Signal { number: 40, core_dumped: true }, "killed by signal 40, core dumped"),
            (ExitStatus::Unknown, "ended, exit code unknown"),
        ] {
            assert_eq!(status.to_string(), text);
        }
    }
}
