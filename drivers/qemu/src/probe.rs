//! What a QEMU binary can do, asked over its monitor once and remembered, or read from what somebody wrote down.
//!
//! The binary is run without a machine. What it says depends on the binary alone, so it is kept in memory and
//! on disk by path, modification time and size. A damaged or older record is made anew.

mod answers;
mod binary;
mod cache;
mod expansion;
mod questions;
mod schema;

use std::{
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use polyvirt_process::{Credentials, ExitStatus, SpawnError};
use polyvirt_qmp::{Monitor, Options, QmpError, Quit};
use serde_json::Value;

pub(crate) use answers::{Answers, RecordingError};
pub(crate) use binary::{Abilities, Accelerator, Binary};
pub(crate) use cache::{Cache, Key, Stamp};

use crate::program::Brief;

/// How long it may take to be gone after it closed its monitor.
const GONE: Duration = Duration::from_secs(1);

/// The descriptor on which QEMU finds its monitor.
const MONITOR_FD: i32 = 3;

/// Why a binary is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ProbeError {
    #[error("cannot look at '{path}': {source}", path = path.display())]
    Missing { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Start(#[from] SpawnError),
    #[error("'{path}' did not answer as QEMU does within {after:?}{words}", path = path.display())]
    Silent { path: PathBuf, after: Duration, words: Words },
    #[error("'{path}' ended before it had answered as QEMU does: {status}{words}", path = path.display())]
    Ended { path: PathBuf, status: ExitStatus, words: Words },
    #[error("'{path}' is no QEMU that can be used: {problem}{words}", path = path.display())]
    Unfit { path: PathBuf, problem: String, words: Words },
}

/// The last words of a program, as they stand in an error; nothing if it said nothing.
#[derive(Debug)]
pub(crate) struct Words(pub(crate) String);

impl std::fmt::Display for Words {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(out, "; it said: {}", self.0) }
    }
}

/// TCG first: it can be had everywhere, and opening KVM may kill QEMU where KVM is not what it seems.
pub(crate) const ANYWHERE: &str = "tcg:kvm";

/// Asks the binary under the first of these accelerators that can be had, as `-machine accel=…` takes them.
pub(crate) async fn probe(
    path: &Path,
    accelerators: &str,
    user: Option<&Credentials>,
    within: Duration,
) -> Result<Binary, ProbeError> {
    let socket = |source| ProbeError::Missing { path: path.into(), source };
    let (ours, theirs) = UnixStream::pair().map_err(socket)?;
    ours.set_nonblocking(true).map_err(socket)?;
    let ours = tokio::net::UnixStream::from_std(ours).map_err(socket)?;
    let args = [
        "-S",
        "-no-user-config",
        "-nodefaults",
        "-display",
        "none",
        "-machine",
        &format!("none,accel={accelerators}"),
        "-chardev",
        &format!("socket,id=monitor,fd={MONITOR_FD}"),
        "-mon",
        "chardev=monitor,mode=control",
    ];
    let keep = vec![(OwnedFd::from(theirs), MONITOR_FD)];
    let args = args.into_iter().map(Into::into).collect();
    let brief = Brief::start(path, args, keep, user, within).await?;
    let asked = async {
        let (monitor, _events) = Monitor::over(ours, Options::default(), within).await?;
        ask(path, &monitor, within).await
    };
    let result = tokio::time::timeout(within, asked).await;
    // It closes the monitor a moment before it is gone.
    if let Ok(Err(error)) = &result
        && let Unfit::Monitor(error) = error
        && error.is_closed()
        && let Ok(Ok(status)) = tokio::time::timeout(GONE, brief.child.wait()).await
    {
        let words = Words(brief.end().await);
        return Err(ProbeError::Ended { path: path.to_owned(), status, words });
    }
    let words = Words(brief.end().await);
    let path = path.to_owned();
    match result {
        Ok(Ok(binary)) => Ok(binary),
        Err(_) | Ok(Err(Unfit::Monitor(QmpError::Timeout { .. }))) => {
            Err(ProbeError::Silent { path, after: within, words })
        }
        Ok(Err(error)) => Err(ProbeError::Unfit { path, problem: error.to_string(), words }),
    }
}

async fn ask(path: &Path, monitor: &Monitor, within: Duration) -> Result<Binary, Unfit> {
    let mut answers = Answers::default();
    let plain = questions::COMMANDS.iter().map(|name| (*name, Value::Null));
    let nothing = serde_json::json!({});
    for (name, given) in plain.chain(questions::with_arguments()) {
        match monitor.execute_raw(name, if given.is_null() { &nothing } else { &given }, within).await {
            Ok(answer) => answers.add(name, given, answer),
            // An older QEMU, or one built without the device.
            Err(QmpError::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // It is killed in any case; asked, it ends without a word.
    monitor.execute(&Quit {}, within).await.ok();
    Ok(Binary::read(path, &[answers])?)
}

/// Why what it said makes no QEMU.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error(transparent)]
    Monitor(#[from] QmpError),
    #[error(transparent)]
    Answers(#[from] RecordingError),
}

#[cfg(test)]
mod tests;
