//! What the end-to-end tests share: roots, guests, and a look at the host's processes.

pub mod apart;
pub mod bare;
pub mod booted;
pub mod counting;
pub mod generator;
pub mod offline;
pub mod open_metrics;
pub mod peer;
pub mod rival;

use std::path::{Path, PathBuf};

use polyvirt::{Connection, OpenOptions};

/// A directory that stands for a root. With it go the guests in it: a test that failed leaves them running.
#[derive(Debug)]
pub struct Root(tempfile::TempDir);

impl Root {
    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let below = format!("{}/", self.path().display());
        // One whose command line names no file of the root writes its log there all the same.
        let writes =
            |pid: u32| std::fs::read_link(format!("/proc/{pid}/fd/1")).is_ok_and(|log| log.starts_with(self.path()));
        let named = processes_with(&[&below]).into_iter().map(|(pid, _)| pid);
        let writing = processes_with(&["qemu"]).into_iter().map(|(pid, _)| pid).filter(|pid| writes(*pid));
        for pid in named.chain(writing) {
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
        }
    }
}

/// A root; short, because sockets below it have short names, and passable for other users.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn root() -> Root {
    let dir = tempfile::Builder::new().prefix("pv").tempdir().expect("a temporary directory");
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("rights of the directory");
    Root(dir)
}

/// Why real QEMU cannot be tested here, unless `POLYVIRT_REQUIRE` demands it.
#[must_use]
pub fn no_qemu() -> Option<String> {
    let probe = polyvirt::ProbeContext::new(polyvirt::Settings::default());
    if probe.find("qemu-system-x86_64").is_some() {
        return None;
    }
    let reason = "qemu-system-x86_64 is not installed";
    polyvirt_driver_testkit::require("qemu", reason).then(|| reason.to_owned())
}

/// A small guest that is fast to start.
#[must_use]
pub fn small_guest(kind: &str, name: &str) -> String {
    format!(
        "<domain type='{kind}'>
  <name>{name}</name>
  <memory unit='MiB'>32</memory>
  <vcpu placement='auto'>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><serial type='pty'/></devices>
</domain>"
    )
}

/// The type of guest and the URI scheme for tests on a driver.
#[must_use]
pub fn kind_of(scheme: &str) -> &'static str {
    if scheme == "qemu" { "qemu" } else { "test" }
}

/// Opens a connection to a root of its own.
///
/// # Panics
/// When it cannot be opened.
pub async fn connect(scheme: &str, root: &Path, change: impl FnOnce(&mut OpenOptions)) -> Connection {
    let mut options = OpenOptions::new(polyvirt::registry().expect("the drivers are linked"));
    if scheme == "qemu" {
        // Whoever owns the files of these tests may use them.
        options.settings.set("user", "root");
    }
    change(&mut options);
    Connection::open(&format!("{scheme}:///embed?root={}", root.display()), options).await.expect("connected")
}

/// Guests' cgroups of which the name has this in it, in every hierarchy.
#[must_use]
pub fn groups_of(name: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    let ours = hierarchies.chain([top.to_owned()]).map(|hierarchy| hierarchy.join("polyvirt"));
    let groups = ours.filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten().map(|entry| entry.path());
    groups
        .filter(|path| path.is_dir() && path.file_name().is_some_and(|it| it.to_string_lossy().contains(name)))
        .collect()
}

/// Processes whose command line has all of these words, as (pid, command line).
#[must_use]
pub fn processes_with(words: &[&str]) -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc").expect("procfs");
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            words.iter().all(|word| line.contains(word)).then_some((pid, line))
        })
        .filter(|(pid, _)| *pid != std::process::id())
        .collect()
}

/// The socket of a guest's monitor.
///
/// # Panics
/// When there is none below the root.
#[must_use]
pub fn monitor_of(root: &Path, guest: &str) -> PathBuf {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let of_guest = || path.parent().is_some_and(|it| it.to_string_lossy().contains(guest));
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("monitor") && of_guest() {
                return path;
            }
        }
    }
    panic!("no monitor of '{guest}' below {}", root.display());
}
