//! Ending what is in a group, and removing it.

use std::{fs, os::fd::AsFd, path::Path, time::Duration};

use nix::{libc, sys::signal::Signal};
use tokio::time::{Instant, sleep};

use super::{
    Cgroup, CgroupError, Version,
    group::{folders, write},
};
use crate::{child, id::is_gone, sys};

/// How deep below a guest's group folders are removed. Ours has one level; a guest's helper may add some.
const DEPTH: u32 = 4;

impl Cgroup {
    /// Kills every process in it, also those being forked meanwhile, and waits until none is left.
    ///
    /// # Errors
    /// [`CgroupError::Populated`] if some are left after `within`; [`CgroupError::Io`].
    pub async fn kill_all(&self, within: Duration) -> Result<(), CgroupError> {
        retry(within, || {
            self.kill_once()?;
            self.check_empty()
        })
        .await
    }

    /// Removes it with all its parts. Waits for processes on their way out, but kills none. Idempotent.
    ///
    /// # Errors
    /// [`CgroupError::Populated`] if some are left after `within`; [`CgroupError::Io`].
    pub async fn destroy(&self, within: Duration) -> Result<(), CgroupError> {
        retry(within, || remove(&self.path, DEPTH).or_else(|error| self.check_empty().and(Err(error)))).await?;
        // The last one out removes the folder of ours. That it is not empty is no error.
        if let Some(ours) = self.path.parent() {
            fs::remove_dir(ours).ok();
        }
        Ok(())
    }

    fn kill_once(&self) -> Result<(), CgroupError> {
        if self.version == Version::V2 {
            // Linux 5.14; one write that no fork escapes.
            match write(&self.path.join("cgroup.kill"), "1") {
                Err(CgroupError::Io { source, .. }) if is_gone(&source) => {}
                other => return other,
            }
        }
        for pid in self.processes()? {
            let Ok(pidfd) = sys::pidfd_open(pid) else { continue };
            // Still here after it was opened: so it is the process that was listed, not a later one of that pid.
            if self.processes()?.binary_search(&pid).is_ok() {
                let failed = |source| CgroupError::Io {
                    action: format!("kill process {pid} of"),
                    path: self.path.clone(),
                    source,
                };
                child::send(pidfd.as_fd(), Signal::SIGKILL).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Tries until it works or the time is up. The kernel has no event for an empty group in version 1, and a dying process stays
/// listed for a while in both, so this polls with growing pauses.
async fn retry(within: Duration, mut attempt: impl FnMut() -> Result<(), CgroupError>) -> Result<(), CgroupError> {
    let end = Instant::now() + within;
    let mut pause = Duration::from_millis(1);
    loop {
        match attempt() {
            Err(error) if Instant::now() < end && passes(&error) => sleep(pause).await,
            other => return other,
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn passes(error: &CgroupError) -> bool {
    match error {
        CgroupError::Populated { .. } => true,
        CgroupError::Io { source, .. } => source.raw_os_error() == Some(libc::EBUSY),
    }
}

fn remove(path: &Path, depth: u32) -> Result<(), CgroupError> {
    if depth > 0 {
        for folder in folders(path)? {
            remove(&folder, depth - 1)?;
        }
    }
    match fs::remove_dir(path) {
        Err(error) if !is_gone(&error) => {
            Err(CgroupError::Io { action: "remove".into(), path: path.into(), source: error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
