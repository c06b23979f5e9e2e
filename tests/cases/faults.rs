//! Bad hypervisors and bad disks: every error says where, why and what to do; nothing stays behind and no definition is lost.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::sys::signal::{Signal, kill};
use polyvirt::{Connection, Destroy, Error, ErrorKind, Guest, GuestState, OpenOptions, Ownership, Which};
use polyvirt_tests::{connect, groups_of, no_qemu, processes_with, root, small_guest};

/// A root, a guest's name that no other test on this host has, and a connection that does not hold on to guests.
struct Fault {
    dir: polyvirt_tests::Root,
    name: String,
}

impl Fault {
    /// `None`, said aloud, where there is no QEMU.
    fn new(tag: &str) -> Option<Self> {
        if let Some(reason) = no_qemu() {
            println!("skipped: {reason}");
            return None;
        }
        Some(Self { dir: root(), name: format!("{tag}{}", std::process::id()) })
    }

    async fn connect(&self, emulator: Option<&Path>) -> Connection {
        connect("qemu", self.dir.path(), |options| settings(options, emulator)).await
    }

    /// A bad QEMU of this kind.
    fn impostor(&self, kind: &str) -> PathBuf {
        let path = self.dir.path().join(kind);
        symlink(env!("CARGO_BIN_EXE_impostor"), &path).expect("linked");
        path
    }

    fn xml(&self) -> String {
        small_guest("qemu", &self.name)
    }

    /// No process, promise, cgroup or file of the guest is left.
    async fn nothing_left(&self, connection: &Connection) {
        let root = self.dir.path().display().to_string();
        for of in [format!("guest={},", self.name), root] {
            let processes = processes_with(&[&of]);
            assert!(processes.is_empty(), "{processes:?}");
        }
        assert!(groups_of(&self.name).is_empty(), "{:?}", groups_of(&self.name));
        let run = fs::read_dir(&connection.roots().run).expect("the run directory");
        let files: Vec<_> = run.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
        assert!(files.iter().all(|file| !file.starts_with(&self.name)), "{files:?}");
        let Ok(ledger) = connection.ledger() else { return };
        let ours: Vec<_> = connection.list().await.expect("a list").into_iter().filter_map(|g| g.uuid).collect();
        let leases = ledger.snapshot().expect("a snapshot").leases;
        let left: Vec<_> = leases.iter().filter(|l| ours.iter().any(|uuid| l.guest == uuid.to_string())).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn settings(options: &mut OpenOptions, emulator: Option<&Path>) {
    options.ownership = Ownership::WhileBusy;
    options.settings.set("start_timeout", 3);
    options.settings.set("kvm", "never");
    if let Some(path) = emulator {
        options.settings.set("emulator", path.display().to_string());
    }
}

/// The error says at which stage, what to do, and has this in it.
fn tells(error: &Error, stage: &str, said: &str) {
    let text = format!("{error} {:?}", error.causes());
    println!("{text} | hint: {:?}", error.remedy());
    assert_eq!(error.fact("stage"), Some(stage), "{text}");
    assert!(text.contains(said), "'{said}' is not in: {text}");
    assert!(error.remedy().is_some(), "no remedy: {text}");
}

/// A program that never was QEMU is refused when a guest is defined.
async fn refused_at_define(tag: &str, emulator: impl FnOnce(&Fault) -> PathBuf, kind: ErrorKind, said: &str) {
    let Some(fault) = Fault::new(tag) else { return };
    let emulator = emulator(&fault);
    let connection = fault.connect(Some(&emulator)).await;
    let error = connection.define(&fault.xml()).await.expect_err("a bad QEMU");
    println!("{error} {:?} | hint: {:?}", error.causes(), error.remedy());
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(&emulator.display().to_string()), "no path: {error}");
    assert!(format!("{error} {:?}", error.causes()).contains(said), "'{said}' is not in: {error}");
    assert!(error.remedy().is_some(), "no remedy: {error}");
    assert!(connection.list().await.expect("a list").is_empty(), "defined all the same");
    fault.nothing_left(&connection).await;
}

#[tokio::test]
async fn a_missing_emulator() {
    refused_at_define("miss", |f| f.dir.path().join("none"), ErrorKind::NotFound, "No such file").await;
}

#[tokio::test]
async fn an_emulator_that_is_not_executable() {
    let plain = |fault: &Fault| {
        let path = fault.dir.path().join("plain");
        fs::write(&path, "text").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("rights");
        path
    };
    refused_at_define("noexec", plain, ErrorKind::Denied, "Permission denied").await;
}

#[tokio::test]
async fn an_emulator_that_fails_silently() {
    refused_at_define("false", |_| PathBuf::from("/bin/false"), ErrorKind::Hypervisor, "exit code 1").await;
}

#[tokio::test]
async fn a_probe_that_dies() {
    refused_at_define("pdies", |f| f.impostor("probe-dies"), ErrorKind::Hypervisor, "this build is broken").await;
}

#[tokio::test]
async fn a_probe_that_hangs() {
    refused_at_define("phangs", |f| f.impostor("probe-hangs"), ErrorKind::Timeout, "did not answer").await;
}

#[tokio::test]
async fn a_probe_that_babbles() {
    refused_at_define("pbabbles", |f| f.impostor("probe-babbles"), ErrorKind::Hypervisor, "not json").await;
}

#[tokio::test]
async fn a_probe_that_floods() {
    refused_at_define("pfloods", |f| f.impostor("probe-floods"), ErrorKind::Hypervisor, "exceeds").await;
}

/// A QEMU that passed the probe and goes wrong when a guest starts.
async fn fails_at_start(tag: &str, how: &str, kind: ErrorKind, said: &str) {
    let Some(fault) = Fault::new(tag) else { return };
    let emulator = fault.impostor(&format!("start-{how}"));
    let connection = fault.connect(Some(&emulator)).await;
    let guest = connection.define(&fault.xml()).await.expect("the probe was answered").guest;
    let before = guest.xml(Which::Stored).await.expect("the definition");
    let error = guest.start(true).await.expect_err("a bad QEMU");
    assert_eq!(error.kind(), kind, "{error}");
    tells(&error, "handshake", said);
    assert!(error.fact("log").is_some_and(|log| Path::new(log).is_file()), "no log: {error}");
    not_running(&guest).await;
    assert_eq!(guest.xml(Which::Stored).await.expect("the definition"), before);
    fault.nothing_left(&connection).await;
}

async fn not_running(guest: &Guest) {
    let state = guest.state().await.expect("a state");
    assert!(!state.is_active(), "{state:?}");
}

#[tokio::test]
async fn a_start_that_dies() {
    fails_at_start("sdies", "dies", ErrorKind::Hypervisor, "this build is broken").await;
}

#[tokio::test]
async fn a_start_that_hangs() {
    fails_at_start("shangs", "hangs", ErrorKind::Timeout, "").await;
}

#[tokio::test]
async fn a_start_that_babbles() {
    fails_at_start("sbabbles", "babbles", ErrorKind::Hypervisor, "not json").await;
}

#[tokio::test]
async fn a_start_that_floods() {
    fails_at_start("sfloods", "floods", ErrorKind::Hypervisor, "exceeds").await;
}

#[tokio::test]
async fn an_emulator_that_is_gone_at_start() {
    let Some(fault) = Fault::new("gone") else { return };
    let emulator = fault.impostor("start-dies");
    let connection = fault.connect(Some(&emulator)).await;
    let guest = connection.define(&fault.xml()).await.expect("defined").guest;
    fs::remove_file(&emulator).expect("removed");
    let error = guest.start(true).await.expect_err("no emulator");
    tells(&error, "admit", &emulator.display().to_string());
    not_running(&guest).await;
    fault.nothing_left(&connection).await;
}

/// A real guest, paused, and its process.
async fn running(fault: &Fault) -> (Connection, Guest, nix::unistd::Pid) {
    let connection = fault.connect(None).await;
    let guest = connection.define(&fault.xml()).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let processes = processes_with(&["qemu-system", &guest.uuid().to_string()]);
    let [(pid, _)] = processes[..] else { panic!("{processes:?}") };
    (connection, guest, nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid")))
}

/// What reads answers, whatever the hypervisor does.
async fn reads_answer(fault: &Fault, connection: &Connection, active: bool) {
    let list = connection.list().await.expect("a list");
    let entry = list.iter().find(|entry| entry.name == fault.name).expect("listed");
    assert_eq!(entry.state.is_active(), active, "{entry:?}");
    assert_eq!(entry.problem, None);
    let guest = connection.lookup_by_name(&fault.name).await.expect("found");
    assert_eq!(guest.view().await.expect("a view").live.is_some(), active);
}

#[tokio::test]
async fn a_stopped_qemu_costs_only_its_own_callers() {
    let Some(fault) = Fault::new("stop") else { return };
    let (connection, guest, pid) = running(&fault).await;
    let before = guest.xml(Which::Stored).await.expect("the definition");
    kill(pid, Signal::SIGSTOP).expect("stopped");
    let error = guest.resume().await.expect_err("it cannot answer");
    println!("{error} | hint: {:?}", error.remedy());
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.remedy().is_some(), "no remedy: {error}");
    reads_answer(&fault, &connection, true).await;
    // Another process, too.
    let other = fault.connect(None).await;
    reads_answer(&fault, &other, true).await;
    let elsewhere = other.lookup_by_name(&fault.name).await.expect("found");
    let error = elsewhere.suspend().await.expect_err("it cannot answer");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    guest.destroy(Destroy::default()).await.expect("destroyed");
    reads_answer(&fault, &connection, false).await;
    assert_eq!(guest.xml(Which::Stored).await.expect("the definition"), before);
    fault.nothing_left(&connection).await;
}

#[tokio::test]
async fn a_held_qemu_that_stops_is_destroyed() {
    let Some(fault) = Fault::new("held") else { return };
    let connection = connect("qemu", fault.dir.path(), |options| {
        settings(options, None);
        options.ownership = Ownership::WhileRunning;
        options.wait_for_owner = Duration::from_millis(200);
    })
    .await;
    let guest = connection.define(&fault.xml()).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let processes = processes_with(&["qemu-system", &guest.uuid().to_string()]);
    let [(pid, _)] = processes[..] else { panic!("{processes:?}") };
    kill(nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGSTOP).expect("stopped");
    let (first, second) = tokio::join!(guest.resume(), guest.suspend());
    let error = first.expect_err("it cannot answer");
    println!("{error} | hint: {:?}", error.remedy());
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.remedy().is_some(), "no remedy: {error}");
    // Who waits in line behind it learns what it waits for, and leaves.
    let error = second.expect_err("the first is under way");
    println!("{error} | hint: {:?}", error.remedy());
    assert_eq!((error.kind(), error.fact("job")), (ErrorKind::Busy, Some("resume")), "{error}");
    reads_answer(&fault, &connection, true).await;
    guest.destroy(Destroy::default()).await.expect("destroyed");
    reads_answer(&fault, &connection, false).await;
    fault.nothing_left(&connection).await;
}

#[tokio::test]
async fn a_killed_qemu_is_seen_and_cleaned_up() {
    let Some(fault) = Fault::new("kill") else { return };
    let (connection, guest, pid) = running(&fault).await;
    kill(pid, Signal::SIGKILL).expect("killed");
    let error = guest.suspend().await.expect_err("it is dead");
    println!("{error} | hint: {:?}", error.remedy());
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
    reads_answer(&fault, &connection, false).await;
    fault.nothing_left(&connection).await;
    guest.start(true).await.expect("it starts again");
    guest.destroy(Destroy::default()).await.expect("destroyed");
    assert!(matches!(guest.state().await.expect("a state"), GuestState::ShutOff(_)));
    fault.nothing_left(&connection).await;
}

#[tokio::test]
async fn a_missing_disk_is_named_with_its_place() {
    let Some(fault) = Fault::new("disk") else { return };
    let missing = fault.dir.path().join("missing.img");
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>",
        missing.display()
    );
    let connection = fault.connect(None).await;
    let xml = fault.xml().replace("<devices>", &format!("<devices>{disk}"));
    let guest = connection.define(&xml).await.expect("defined").guest;
    let error = guest.start(true).await.expect_err("no disk");
    tells(&error, "manifest", &missing.display().to_string());
    assert_eq!(error.fact("asked for at"), Some("/domain/devices/disk[1]/source/@file"), "{error}");
    not_running(&guest).await;
    fault.nothing_left(&connection).await;
}

#[tokio::test]
async fn a_name_in_use_is_refused_and_keeps_its_guest() {
    let Some(fault) = Fault::new("name") else { return };
    let connection = fault.connect(None).await;
    let guest = connection.define(&fault.xml()).await.expect("defined").guest;
    let before = guest.xml(Which::Stored).await.expect("the definition");
    let other = fault.xml().replace("<name>", "<uuid>11111111-2222-4333-8444-555555555555</uuid><name>");
    for error in [
        connection.define(&other).await.expect_err("taken"),
        connection.create(&fault.xml(), true).await.expect_err("taken"),
    ] {
        println!("{error} | hint: {:?}", error.remedy());
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert!(error.to_string().contains(&fault.name) && error.remedy().is_some(), "{error}");
    }
    assert_eq!(guest.xml(Which::Stored).await.expect("the definition"), before);
    fault.nothing_left(&connection).await;
}

/// Runs a test of this program again where mounts are its own. True in that second run.
fn with_mounts_of_our_own(test: &str) -> bool {
    const MARK: &str = "POLYVIRT_TEST_OWN_MOUNTS";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: mounting a file system needs root");
        return false;
    }
    let program = std::env::current_exe().expect("our path");
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .output()
        .expect("unshare");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    println!("{out}");
    false
}

/// A file system in memory; gone before the directory it is on is to be removed.
struct Mounted(PathBuf);

impl Mounted {
    fn new(options: &str, at: &Path) -> Self {
        mount(&["-t", "tmpfs", "-o", options, "tmpfs"], at);
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = Command::new("umount").arg("--lazy").arg(&self.0).status() {
            eprintln!("{} stays mounted: {error}", self.0.display());
        }
    }
}

/// A directory seen through a mount that cannot be written. Unlike `remount,ro` it does not mind files that are open for writing,
/// as a disk that fails does not.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn over(dir: &Path) -> Self {
        mount(&["--bind", &dir.display().to_string()], dir);
        mount(&["-o", "remount,bind,ro"], dir);
        Self(dir.to_owned())
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(status.is_ok_and(|it| it.success()), "{} stays read-only", self.0.display());
    }
}

fn mount(args: &[&str], at: &Path) {
    let status = Command::new("mount").args(args).arg(at).status().expect("mount");
    assert!(status.success(), "mount {args:?}");
}

/// On a root that cannot be written: reading works, changing is told, nothing is lost.
async fn cannot_be_changed(fault: &Fault, stage: &str, hint: &str) {
    let connection = fault.connect(None).await;
    reads_answer(fault, &connection, false).await;
    let guest = connection.lookup_by_name(&fault.name).await.expect("found");
    let before = guest.xml(Which::Stored).await.expect("the definition");
    let changed = fault.xml().replace("<memory unit='MiB'>32", "<memory unit='MiB'>48");
    let other = small_guest("qemu", &format!("{}b", fault.name));
    for xml in [&changed, &other] {
        let error = connection.define(xml).await.expect_err("it cannot be written");
        println!("{error} {:?} | hint: {:?}", error.causes(), error.remedy());
        assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
        assert!(error.to_string().contains(&fault.dir.path().display().to_string()), "no path: {error}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains(hint)), "{:?}", error.remedy());
    }
    let error = guest.start(true).await.expect_err("it cannot be recorded");
    tells(&error, stage, &fault.dir.path().display().to_string());
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert!(error.remedy().is_some_and(|remedy| remedy.contains(hint)), "{:?}", error.remedy());
    not_running(&guest).await;
    assert_eq!(guest.xml(Which::Stored).await.expect("the definition"), before);
    assert_eq!(connection.list().await.expect("a list").len(), 1);
    fault.nothing_left(&connection).await;
}

#[tokio::test]
async fn a_read_only_root() {
    if !with_mounts_of_our_own("a_read_only_root") {
        return;
    }
    let Some(fault) = Fault::new("ro") else { return };
    let _mounted = Mounted::new("size=8m,mode=755", fault.dir.path());
    fault.connect(None).await.define(&fault.xml()).await.expect("defined");
    mount(&["-o", "remount,ro"], fault.dir.path());
    cannot_be_changed(&fault, "admit", "read-write").await;
    mount(&["-o", "remount,rw"], fault.dir.path());
    starts_again(&fault).await;
    // One that runs when the disk turns read-only can be looked at and ended; what is left of it goes when it can.
    let (connection, _, pid) = running(&fault).await;
    drop(connection);
    let read_only = ReadOnly::over(fault.dir.path());
    let connection = fault.connect(None).await;
    reads_answer(&fault, &connection, true).await;
    let guest = connection.lookup_by_name(&fault.name).await.expect("found");
    guest.destroy(Destroy::default()).await.expect("destroyed");
    let uuid = guest.uuid().to_string();
    assert!(processes_with(&["qemu-system", &uuid]).is_empty(), "process {pid} still runs");
    reads_answer(&fault, &connection, false).await;
    drop((connection, read_only));
    starts_again(&fault).await;
}

#[tokio::test]
async fn a_full_root() {
    if !with_mounts_of_our_own("a_full_root") {
        return;
    }
    let Some(fault) = Fault::new("full") else { return };
    let _mounted = Mounted::new("size=1m,mode=755", fault.dir.path());
    fault.connect(None).await.define(&fault.xml()).await.expect("defined");
    let ballast = fault.dir.path().join("ballast");
    fill(&ballast);
    cannot_be_changed(&fault, "intent", "free").await;
    fs::remove_file(&ballast).expect("removed");
    starts_again(&fault).await;
    // One that runs when the disk fills up can be looked at and ended.
    let (connection, guest, _) = running(&fault).await;
    fill(&ballast);
    reads_answer(&fault, &connection, true).await;
    guest.destroy(Destroy::default()).await.expect("destroyed");
    reads_answer(&fault, &connection, false).await;
    fault.nothing_left(&connection).await;
}

fn fill(ballast: &Path) {
    let full = std::io::copy(&mut std::io::repeat(0), &mut fs::File::create(ballast).expect("a file"));
    assert_eq!(full.expect_err("full").kind(), std::io::ErrorKind::StorageFull);
}

/// The trouble is over, and nothing of it is left.
async fn starts_again(fault: &Fault) {
    let connection = fault.connect(None).await;
    let guest = connection.lookup_by_name(&fault.name).await.expect("found");
    guest.start(true).await.expect("started");
    guest.destroy(Destroy::default()).await.expect("destroyed");
    fault.nothing_left(&connection).await;
}
