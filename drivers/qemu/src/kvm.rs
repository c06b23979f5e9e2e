//! Whether KVM really runs guests here.
//!
//! A device node that opens proves nothing, nor does a virtual machine that can be created: both exist on hosts
//! where no kernel ever boots. So a guest of our own is run, with the CPU model to be used, and has to report what it
//! computed. Its verdict is kept for this boot, kernel, binary and model; a missing node or right is looked
//! at afresh each time.

mod payload;

use std::{
    fs, io,
    io::Write,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use polyvirt_process::{Credentials, ExitStatus};
use serde::{Deserialize, Serialize};

use self::payload::{PORT, Report, image};
use crate::{
    probe::{Binary, Cache, Stamp, Words},
    program::Brief,
};

const NODE: &str = "/dev/kvm";

/// How long the probe guest may take. Under emulation on a slow machine it takes 40 ms, most of it QEMU's start.
const WITHIN: Duration = Duration::from_secs(3);

/// The descriptor under which QEMU finds the probe guest.
const IMAGE_FD: i32 = 3;

/// Whether guests with this CPU model can run on KVM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// A guest ran.
    Usable,
    /// Why not, and what would help.
    Unusable {
        /// Why not.
        reason: String,
        /// What to do.
        remedy: String,
    },
}

impl Verdict {
    fn unusable(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Unusable { reason: reason.into(), remedy: remedy.into() }
    }
}

/// What a verdict holds for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Key {
    binary: Stamp,
    cpu: String,
    uid: Option<u32>,
    boot: String,
    kernel: String,
}

impl crate::probe::Key for Key {
    fn name(&self) -> String {
        format!("{} {}", self.binary.path.display(), self.cpu)
    }
}

/// Judges KVM for guests of this binary whose `-cpu` is `cpu`, run as `user`.
pub(crate) async fn judge(cache: &Cache, binary: &Binary, cpu: &str, user: Option<&Credentials>) -> Verdict {
    if let Some(verdict) = without_a_guest(binary) {
        return verdict;
    }
    let key = key(binary, cpu, user);
    if let Some(verdict) = key.as_ref().and_then(|key| cache.load("kvm", key)) {
        return verdict;
    }
    let (verdict, lasting) = match run(&binary.path, "kvm", cpu, user).await {
        Ok(outcome) => outcome.verdict(cpu),
        Err(error) => {
            (Verdict::unusable(format!("the probe guest could not be started: {error}"), "see the reason"), false)
        }
    };
    if let Some(key) = key.filter(|_| lasting) {
        cache.store("kvm", &key, &verdict);
    }
    verdict
}

fn key(binary: &Binary, cpu: &str, user: Option<&Credentials>) -> Option<Key> {
    Some(Key {
        binary: Stamp::of(&binary.path).ok()?,
        cpu: cpu.to_owned(),
        uid: user.map(|it| it.uid),
        boot: polyvirt_lease::boot_id().ok()?,
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.trim().to_owned(),
    })
}

/// What can be said without running anything.
fn without_a_guest(binary: &Binary) -> Option<Verdict> {
    if !binary.kvm {
        return Some(Verdict::unusable(
            format!("'{}' was built without KVM", binary.path.display()),
            "install a QEMU that has it",
        ));
    }
    if !matches!((std::env::consts::ARCH, binary.arch.as_str()), ("x86_64", "x86_64" | "i386")) {
        return Some(Verdict::unusable(
            format!("there is no probe guest for {} on {}", binary.arch, std::env::consts::ARCH),
            "use <domain type='qemu'>",
        ));
    }
    match fs::metadata(NODE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Verdict::unusable(
            format!("{NODE} does not exist"),
            "enable virtualisation in the firmware and load kvm_intel or kvm_amd; inside a virtual machine, enable nesting",
        )),
        _ => None,
    }
}

/// How the probe guest ended.
#[derive(Debug)]
struct Outcome {
    status: Option<ExitStatus>,
    words: String,
}

impl Outcome {
    fn report(&self) -> Report {
        match self.status {
            Some(ExitStatus::Code(code)) => Report::of(code),
            _ => Report::None,
        }
    }

    /// The verdict, and whether it holds until the next boot.
    fn verdict(self, cpu: &str) -> (Verdict, bool) {
        const NESTED: &str = "use <domain type='qemu'>; if this host is a virtual machine, its own hypervisor must offer nested \
                              virtualisation";
        let words = Words(self.words.clone());
        match (self.report(), self.status) {
            (Report::Executed, _) => (Verdict::Usable, true),
            (Report::Miscalculated, _) => {
                (Verdict::unusable(format!("a probe guest with CPU '{cpu}' computed a wrong result"), NESTED), true)
            }
            (Report::None, None) => {
                let reason = format!("a probe guest with CPU '{cpu}' executed nothing within {WITHIN:?}{words}");
                (Verdict::unusable(reason, NESTED), true)
            }
            (Report::None, Some(_)) if self.words.contains("ermission denied") => {
                let reason = format!("no right to use {NODE}{words}");
                (
                    Verdict::unusable(
                        reason,
                        "add the user that runs the guests to the group of the node, usually 'kvm'",
                    ),
                    false,
                )
            }
            (Report::None, Some(status)) => {
                let reason = format!("QEMU ended a probe guest with CPU '{cpu}': {status}{words}");
                (Verdict::unusable(reason, NESTED), true)
            }
        }
    }
}

/// Runs the probe guest.
async fn run(
    program: &Path,
    accelerator: &str,
    cpu: &str,
    user: Option<&Credentials>,
) -> Result<Outcome, Box<dyn std::error::Error + Send + Sync>> {
    let mut file = fs::File::from(memfd_create("probe guest", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&image())?;
    let args = [
        "-no-user-config".into(),
        "-nodefaults".into(),
        "-display".into(),
        "none".into(),
        // A triple fault ends it, so a guest that fails tells soon.
        "-no-reboot".into(),
        "-machine".into(),
        "pc".into(),
        "-accel".into(),
        accelerator.into(),
        "-cpu".into(),
        cpu.into(),
        "-m".into(),
        "16M".into(),
        "-bios".into(),
        PathBuf::from(format!("/dev/fd/{IMAGE_FD}")).into(),
        "-device".into(),
        format!("isa-debug-exit,iobase={PORT:#x},iosize=4").into(),
    ];
    let keep = vec![(OwnedFd::from(file), IMAGE_FD)];
    let brief = Brief::start(program, args.to_vec(), keep, user, WITHIN).await?;
    let status = match tokio::time::timeout(WITHIN, brief.child.wait()).await {
        Ok(status) => Some(status?),
        Err(_) => None,
    };
    Ok(Outcome { status, words: brief.end().await })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::qemu;

    #[tokio::test]
    async fn the_probe_guest_can_pass() {
        let Some(program) = qemu() else { return };
        for cpu in ["qemu64", "max", "qemu32", "486"] {
            let outcome = run(&program, "tcg", cpu, None).await.unwrap();
            assert_eq!(outcome.report(), Report::Executed, "{cpu}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn another_user_can_run_it() {
        let Some(program) = qemu() else { return };
        if !nix::unistd::Uid::effective().is_root() {
            println!("skipped: only root can run a program as another user");
            return;
        }
        let nobody = Credentials::new(65_534, 65_534, Vec::new());
        let outcome = run(&program, "tcg", "qemu64", Some(&nobody)).await.unwrap();
        assert_eq!(outcome.report(), Report::Executed, "{outcome:?}");
    }

    #[tokio::test]
    async fn a_cpu_that_does_not_exist_is_no_kvm() {
        let Some(program) = qemu() else { return };
        let outcome = run(&program, "tcg", "no-such-cpu", None).await.unwrap();
        let (verdict, _) = outcome.verdict("no-such-cpu");
        match verdict {
            Verdict::Unusable { reason, .. } => assert!(reason.contains("no-such-cpu"), "{reason}"),
            Verdict::Usable => panic!("a CPU that does not exist ran"),
        }
    }

    #[tokio::test]
    async fn the_same_verdict_twice() {
        let Some(program) = qemu() else { return };
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().into(), Duration::from_secs(30));
        let binary = cache.binary(&program, None).await.unwrap();
        let verdict = judge(&cache, &binary, "qemu64", None).await;
        println!("{verdict:?}");
        assert_eq!(judge(&cache, &binary, "qemu64", None).await, verdict);
    }

    #[test]
    fn verdicts_have_reasons_and_remedies() {
        let code = |code| Some(ExitStatus::Code(code));
        for (status, words, expected, lasting) in [
            (None, "", "executed nothing within 3s", true),
            (code(45), "", "computed a wrong result", true),
            (code(1), "Could not access KVM kernel module: Permission denied", "no right to use /dev/kvm", false),
            (code(0), "", "exit code 0", true),
        ] {
            match (Outcome { status, words: words.into() }).verdict("host") {
                (Verdict::Unusable { reason, remedy }, lasts) => {
                    assert!(reason.contains(expected), "{reason:?} lacks {expected:?}");
                    assert!(!remedy.is_empty());
                    assert_eq!(lasts, lasting);
                }
                (Verdict::Usable, _) => panic!("{expected}"),
            }
        }
    }
}
