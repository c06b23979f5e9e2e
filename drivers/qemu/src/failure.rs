//! What went wrong with a start or a running guest, in terms a caller acts on: kind, cause, QEMU's last words, remedy.

use polyvirt_core::{Error, ErrorKind};
use polyvirt_process::{ExitStatus, SpawnError, Step, cgroup::CgroupError};
use polyvirt_qmp::QmpError;

use crate::log::Log;

pub(crate) fn cgroup_error(error: &CgroupError) -> Error {
    Error::new(ErrorKind::Hypervisor, error.to_string())
        .hint("set cgroups = \"never\" for the qemu driver to do without")
}

pub(crate) fn not_started(error: SpawnError) -> Error {
    let (kind, hint) = match &error {
        SpawnError::Child { step, source, .. } if *step == Step::Exec => match source.kind() {
            std::io::ErrorKind::PermissionDenied => {
                (ErrorKind::Denied, "make <emulator> and every folder above it executable for the user that runs QEMU")
            }
            _ => (ErrorKind::NotFound, "check <emulator>"),
        },
        SpawnError::Child { step, .. } if *step == Step::MemoryPolicy => {
            (ErrorKind::NoResources, "check that the nodes are online and have memory")
        }
        SpawnError::Timeout { .. } => (ErrorKind::Timeout, "check the file system that holds the emulator"),
        _ => (ErrorKind::Hypervisor, "see the cause"),
    };
    Error::new(kind, error.to_string()).hint(hint).source(error)
}

pub(crate) fn ended(status: ExitStatus) -> Error {
    Error::new(ErrorKind::Hypervisor, format!("QEMU ended before it answered: {status}"))
}

/// What a failure of the monitor means to a caller.
pub(crate) fn monitor_error(error: &QmpError) -> Error {
    let told = |kind| Error::new(kind, error.to_string()).source(error.clone());
    match error {
        QmpError::Timeout { .. } => told(ErrorKind::Timeout).hint("try again later, or destroy the guest"),
        _ => told(ErrorKind::Hypervisor),
    }
}

/// Adds QEMU's last words, where its log is, and what usually helps.
pub(crate) fn explain(error: Error, log: Option<&Log>) -> Error {
    let Some(log) = log else { return error };
    let words = log.last_words();
    let error = error.with("log", log.path.display());
    let usual = REMEDIES.iter().find(|(text, _)| words.contains(text)).map(|(_, remedy)| *remedy);
    let error = if words.is_empty() { error } else { error.with("hypervisor said", words) };
    match error.remedy() {
        None => error.hint(usual.unwrap_or(LOOK)),
        Some(_) => error,
    }
}

/// What helps where nothing better is known.
const LOOK: &str = "the log has QEMU's command line and all it said: run it by hand, or try another emulator";

/// What QEMU says, and what helps.
const REMEDIES: &[(&str, &str)] = &[
    ("Permission denied", "give the user that QEMU runs as access to the file and to every folder above it"),
    ("Address already in use", "another program has the port or socket; stop it, or choose another"),
    ("Failed to get \"write\" lock", "another program uses the image; stop it, or mark the disk shareable"),
    ("Could not open", "check that the image exists and has the format the definition says"),
    ("No such file or directory", "check the path"),
    ("Could not access KVM", "use <domain type='qemu'>, or load the module and give access to /dev/kvm"),
    ("Cannot allocate memory", "make the guest smaller, or free memory on the nodes it is bound to"),
    ("cannot bind memory to host NUMA nodes", "check that the nodes exist and the cpuset of this process allows them"),
    ("huge page", "reserve huge pages: echo N > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"),
    ("is not a valid device model name", "this QEMU lacks the device; choose another model"),
];

#[cfg(test)]
mod tests {
    use std::io::Write;

    use polyvirt_core::Stage;

    use super::*;

    #[test]
    fn last_words_and_remedies_stand_in_the_error() {
        let directory = tempfile::tempdir().unwrap();
        let (log, mut file) = Log::open(&directory.path().join("a.log"), 1000, "starting").unwrap();
        let bare = explain(Error::new(ErrorKind::Hypervisor, "gone"), Some(&log));
        assert_eq!((bare.fact("hypervisor said"), bare.remedy()), (None, Some(LOOK)));
        writeln!(file, "qemu: -blockdev x: Could not open 'a.img': Permission denied").unwrap();
        let full = explain(Error::new(ErrorKind::Hypervisor, "gone").with("stage", Stage::Handshake), Some(&log));
        assert!(full.fact("hypervisor said").unwrap().ends_with("Permission denied"));
        assert!(full.remedy().unwrap().contains("every folder above"));
        assert_eq!(full.fact("stage"), Some("handshake"));
        assert!(full.fact("log").unwrap().ends_with("a.log"));
    }
}
