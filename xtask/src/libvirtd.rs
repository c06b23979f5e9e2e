//! Debian's libvirtd as a peer to compare with: started by the lab's `libvirtd-up`, ended with everything that came with it.
//!
//! It runs in a mount namespace of its own with state of its own below the target directory, so a libvirt that the host uses
//! is not touched; while one runs, ours is not started.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    checkout::Checkout,
    command,
    debian::{self, Tool},
    progress::Progress,
};

/// What the peer needs.
const PEER: &[Tool] = &[
    Tool { program: "qemu-system-x86_64", package: "qemu-system-x86", used_for: "both sides" },
    Tool { program: "libvirtd", package: "libvirt-daemon-system", used_for: "the peer" },
    Tool { program: "virsh", package: "libvirt-clients", used_for: "asking the peer" },
    Tool { program: "dnsmasq", package: "dnsmasq-base", used_for: "libvirt's networks, which it looks for" },
];

/// Starting asks a QEMU what it can do, which takes seconds.
const START: Duration = Duration::from_secs(120);

/// How long a daemon may take to end.
const END: Duration = Duration::from_secs(20);

/// Where they write their process ids.
const LIBVIRTD: &str = "/run/libvirtd.pid";
const VIRTLOGD: &str = "/run/virtlogd.pid";

/// A libvirtd that runs. It ends with this value.
pub(crate) struct Libvirtd {
    /// Processes that were started for it.
    started: Vec<u32>,
}

impl Libvirtd {
    /// Starts it without `/dev/kvm`, so that it answers the same on every machine.
    ///
    /// # Errors
    /// What is missing for it, and how to get it; what it said when it did not come up.
    pub(crate) fn start(checkout: &Checkout, may_install: bool, progress: &Progress) -> Result<Self, String> {
        let script = checkout.beside("POLYVIRT_LAB", "shared/lab")?.join("libvirtd-up");
        if !script.is_file() {
            return Err(format!("there is no {}", script.display()));
        }
        debian::may_install().map_err(|why| format!("libvirtd runs for root only ({why})"))?;
        let missing = debian::missing(PEER);
        if !missing.is_empty() {
            if !may_install {
                return Err(format!("missing: {}; {}", debian::names(&missing), debian::remedy(&missing)));
            }
            debian::install(&missing, progress)?;
        }
        if let Some(running) = running(LIBVIRTD) {
            return Err(format!("a libvirtd runs already, process {running}; stop it first"));
        }
        let logged_before = running(VIRTLOGD).is_some();
        let mut up = Command::new(&script);
        let state = checkout.target.join("libvirtd");
        fs::create_dir_all(&state).map_err(|error| format!("cannot create {}: {error}", state.display()))?;
        up.args(["v1", "tcg"]).env("LIBVIRTD_UP_DIR", state);
        let outcome = command::run(&mut up, START, progress);
        let mut libvirtd = Self { started: Vec::new() };
        libvirtd.started.extend(running(LIBVIRTD));
        libvirtd.started.extend(running(VIRTLOGD).filter(|_| !logged_before));
        let outcome = outcome?;
        match outcome.failure {
            None => Ok(libvirtd),
            Some(why) => Err(format!("libvirtd does not come up ({why}): {}", outcome.output.trim())),
        }
    }
}

/// The process of a daemon, by the file that it wrote; none if that file is of a process that is gone.
fn running(file: &str) -> Option<u32> {
    let pid: u32 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    let name = fs::read_to_string(proc(pid).join("comm")).ok()?;
    let daemon = Path::new(file).file_stem()?.to_str()?;
    (name.trim() == daemon).then_some(pid)
}

fn proc(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

impl Drop for Libvirtd {
    fn drop(&mut self) {
        for pid in &self.started {
            if let Err(error) = Command::new("kill").arg(pid.to_string()).status() {
                eprintln!("cannot run kill: {error}");
            }
        }
        let began = Instant::now();
        while self.started.iter().any(|pid| proc(*pid).exists()) {
            if began.elapsed() > END {
                let pids = self.started.iter().map(u32::to_string);
                drop(Command::new("kill").arg("-KILL").args(pids).status());
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_process_is_no_daemon() {
        let dir = std::env::temp_dir().join(format!("peer-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("libvirtd.pid");
        fs::write(&file, std::process::id().to_string()).unwrap();
        assert_eq!(running(file.to_str().unwrap()), None);
        fs::remove_dir_all(dir).unwrap();
    }
}
