//! What a QEMU binary can do, asked over its monitor once and remembered.
//!
//! The binary is run without a machine. What it says depends on the binary alone, so it is kept in memory and
//! on disk by path, modification time and size. A damaged or older record is made anew.

mod cache;

use std::{
    collections::BTreeSet,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use polyvirt_process::{Credentials, ExitStatus, SpawnError};
use polyvirt_qmp::{
    CpuDefinition, Machine, Monitor, Options, QemuVersion, QmpError, QomListTypes, QueryCommands, QueryCpuDefinitions,
    QueryKvm, QueryMachines, QueryTarget, Quit,
};
use serde::{Deserialize, Serialize};

pub(crate) use cache::{Cache, Key, Stamp};

use crate::program::Brief;

/// How long it may take to be gone after it closed its monitor.
const GONE: Duration = Duration::from_secs(1);

/// The descriptor on which QEMU finds its monitor.
const MONITOR_FD: i32 = 3;

/// What a QEMU binary can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Binary {
    pub(crate) path: PathBuf,
    pub(crate) version: QemuVersion,
    /// QEMU's name of the architecture.
    pub(crate) arch: String,
    pub(crate) machines: Vec<Machine>,
    pub(crate) cpus: Vec<CpuDefinition>,
    pub(crate) commands: BTreeSet<String>,
    /// Names of all object types: devices, backends and the rest.
    pub(crate) types: BTreeSet<String>,
    /// Whether it can confine itself with seccomp.
    pub(crate) sandbox: bool,
    /// Whether it was built with KVM, which says nothing of the host.
    pub(crate) kvm: bool,
}

impl Binary {
    /// The machine of that name or alias.
    pub(crate) fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines
            .iter()
            .find(|it| it.name == name)
            .or_else(|| self.machines.iter().find(|it| it.alias.as_deref() == Some(name)))
    }

    /// What `-machine` without a type means.
    pub(crate) fn default_machine(&self) -> Option<&Machine> {
        self.machines.iter().find(|it| it.is_default)
    }

    /// Whether there are objects of this type.
    pub(crate) fn has_type(&self, name: &str) -> bool {
        self.types.contains(name)
    }
}

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

/// Asks the binary.
pub(crate) async fn probe(path: &Path, user: Option<&Credentials>, within: Duration) -> Result<Binary, ProbeError> {
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
        // TCG first: it can be had everywhere, and opening KVM may kill QEMU where KVM is not what it seems.
        "-machine",
        "none,accel=tcg:kvm",
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
        Err(_) | Ok(Err(QmpError::Timeout { .. })) => Err(ProbeError::Silent { path, after: within, words }),
        Ok(Err(error)) => Err(ProbeError::Unfit { path, problem: error.to_string(), words }),
    }
}

async fn ask(path: &Path, monitor: &Monitor, within: Duration) -> Result<Binary, QmpError> {
    let all_types = QomListTypes { implements: "object" };
    let sandbox = serde_json::json!({"option": "sandbox"});
    let sandbox = monitor.execute_raw("query-command-line-options", &sandbox, within).await;
    let (target, machines, cpus, commands, types, kvm) = tokio::try_join!(
        monitor.execute(&QueryTarget {}, within),
        monitor.execute(&QueryMachines {}, within),
        monitor.execute(&QueryCpuDefinitions {}, within),
        monitor.execute(&QueryCommands {}, within),
        monitor.execute(&all_types, within),
        monitor.execute(&QueryKvm {}, within),
    )?;
    // It is killed in any case; asked, it ends without a word.
    monitor.execute(&Quit {}, within).await.ok();
    Ok(Binary {
        path: path.to_owned(),
        version: monitor.version().clone(),
        arch: target.arch,
        machines,
        cpus,
        commands: commands.into_iter().map(|it| it.name).collect(),
        types: types.into_iter().map(|it| it.name).collect(),
        // Refused if the option is unknown; a build without seccomp may know it with no parameters.
        sandbox: sandbox.is_ok_and(|it| it[0]["parameters"].as_array().is_some_and(|it| !it.is_empty())),
        kvm: kvm.present,
    })
}

#[cfg(test)]
mod tests;
