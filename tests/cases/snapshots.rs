//! Snapshots with real QEMU: disks and memory go back together, and whatever happens to the process that takes, reverts to or deletes one,
//! the store and the images say the same.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use polyvirt::{
    Connection, DeleteSnapshot, Destroy, ErrorKind, Guest, GuestState, JobStep, RevertOptions, RunState, SaveOptions,
    SnapshotOptions, StateReason, Which,
};
use polyvirt_tests::{
    booted::{self, Booted},
    connect,
    counting::{counter, counting_guest, next_number},
    no_qemu, processes_with, root,
};

fn skipped() -> bool {
    let tools = (!Path::new("/usr/bin/qemu-img").exists()).then(|| "/usr/bin/qemu-img is not installed".to_owned());
    let tools = tools.filter(|reason| polyvirt_driver_testkit::require("qemu", reason));
    let reason = no_qemu().or(tools);
    if let Some(reason) = &reason {
        println!("skipped: {reason}");
    }
    reason.is_some()
}

fn qemu_img(args: &[&str], image: &Path) -> String {
    let output = Command::new("qemu-img").args(args).arg(image).output().expect("qemu-img runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "qemu-img {args:?} {}: {said}", image.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn qemu_io(image: &Path, command: &str) -> String {
    let output =
        Command::new("qemu-io").args(["-f", "qcow2", "-c", command]).arg(image).output().expect("qemu-io runs");
    assert!(output.status.success(), "qemu-io {command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What an image calls its snapshots.
fn tags(image: &Path) -> BTreeSet<String> {
    let info: serde_json::Value =
        serde_json::from_str(&qemu_img(&["info", "-U", "--output=json"], image)).expect("JSON");
    let all = info["snapshots"].as_array().cloned().unwrap_or_default();
    all.iter().map(|it| it["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A counting guest with two disks that hold snapshots.
fn definition(root: &Path) -> (String, [PathBuf; 2]) {
    let xml = counting_guest("victim", root);
    let (system, data) = (root.join("system.qcow2"), root.join("data.qcow2"));
    let raw = root.join("victim.raw");
    let converted = Command::new("qemu-img").args(["convert", "-O", "qcow2"]).args([&raw, &system]).status();
    assert!(converted.is_ok_and(|it| it.success()));
    let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&data).arg("4M").status();
    assert!(made.is_ok_and(|it| it.success()));
    let old = format!("<source file='{}'/>", raw.display());
    let new = format!("<driver name='qemu' type='qcow2'/><source file='{}'/>", system.display());
    let more = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vdb' bus='virtio'/></disk><serial",
        data.display()
    );
    (xml.replace(&old, &new).replacen("<serial", &more, 1), [system, data])
}

async fn define(root: &Path) -> (Connection, Guest, [PathBuf; 2]) {
    let (xml, images) = definition(root);
    let connection = connect("qemu", root, |_| {}).await;
    let guest = connection.define(&xml).await.expect("defined").guest;
    (connection, guest, images)
}

async fn take(guest: &Guest, name: &str) -> polyvirt::Result<()> {
    let xml = format!("<domainsnapshot><name>{name}</name></domainsnapshot>");
    guest.create_snapshot(Some(&xml), SnapshotOptions::new()).await.map(drop)
}

async fn counted(guest: &Guest, to: u32) -> u32 {
    loop {
        let number = next_number(guest).await;
        if number >= to {
            return number;
        }
    }
}

/// A paused guest counts on from below this number: it went back.
async fn goes_on_below(root: &Path, guest: &Guest, below: u32) -> bool {
    let counted = counter(root, guest).await;
    guest.resume().await.expect("resumed");
    counted < below
}

async fn names(guest: &Guest) -> BTreeSet<String> {
    let list = guest.snapshots().await.expect("a list");
    assert!(list.problems.is_empty(), "{:?}", list.problems);
    list.entries.into_iter().map(|it| it.name).collect()
}

/// Store and images say the same, and the images are sound. The guest is off.
async fn agree(guest: &Guest, images: &[PathBuf; 2], at: &str) {
    let known = names(guest).await;
    for image in images {
        assert_eq!(tags(image), known, "{at}: {}", image.display());
        qemu_img(&["check", "-q"], image);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_goes_back_and_the_store_follows() {
    if skipped() {
        return;
    }
    let dir = root();
    let (connection, guest, images) = define(dir.path()).await;
    take(&guest, "off").await.expect("taken while off");
    guest.start(false).await.expect("started");
    let before = counted(&guest, 3).await;
    take(&guest, "early").await.expect("taken");
    assert_eq!(guest.state().await.expect("a state"), GuestState::Running);
    let later = counted(&guest, before + 20).await;
    take(&guest, "late").await.expect("taken");
    guest.revert_to_snapshot("early", RevertOptions::new()).await.expect("reverted");
    assert_eq!(guest.view().await.expect("a view").reason, Some(StateReason::FromSnapshot));
    assert_eq!(guest.state().await.expect("a state"), GuestState::Running);
    let paused = RevertOptions::new().state(Some(RunState::Paused));
    guest.revert_to_snapshot("early", paused).await.expect("reverted again");
    assert!(goes_on_below(dir.path(), &guest, later).await, "it counted to {later}, and goes on");
    let [(process, _)] = processes_with(&["qemu-system", &guest.uuid().to_string()])[..] else { panic!("one process") };

    // To a later one, without its CPUs; then on.
    guest.revert_to_snapshot("late", paused).await.expect("reverted");
    assert_eq!(guest.state().await.expect("a state"), GuestState::Paused);
    guest.resume().await.expect("resumed");
    counted(&guest, later).await;
    let [(same, _)] = processes_with(&["qemu-system", &guest.uuid().to_string()])[..] else { panic!("one process") };
    assert_eq!(process, same, "it stayed in its process");

    // From power-off: a start, which is placed and promised as any other.
    guest.destroy(Destroy::default()).await.expect("destroyed");
    guest.revert_to_snapshot("early", paused).await.expect("started from it");
    assert!(goes_on_below(dir.path(), &guest, later).await);
    let leases = connection.ledger().expect("a ledger").snapshot().expect("a snapshot").leases;
    assert!(leases.iter().any(|it| it.guest == guest.uuid().to_string()), "its memory is promised");
    assert_eq!(guest.snapshots().await.expect("a list").current().map(|it| it.name.as_str()), Some("early"));

    // One of a guest that was off ends it.
    guest.revert_to_snapshot("off", RevertOptions::new()).await.expect("reverted");
    assert!(!guest.state().await.expect("a state").is_active());
    agree(&guest, &images, "reverted").await;
    let list = guest.snapshots().await.expect("a list");
    let parents: Vec<_> = list.entries.iter().map(|it| (it.name.as_str(), it.parent.as_deref())).collect();
    assert_eq!(parents, [("early", Some("off")), ("late", Some("early")), ("off", None)]);
    guest.delete_snapshot("early", DeleteSnapshot::new()).await.expect("deleted");
    assert_eq!(guest.snapshots().await.expect("a list").get("late").expect("listed").parent.as_deref(), Some("off"));
    assert_eq!(guest.undefine().await.expect_err("it has snapshots").kind(), ErrorKind::InvalidState);
    guest.delete_snapshot("off", DeleteSnapshot::new().children(true)).await.expect("deleted");
    agree(&guest, &images, "deleted").await;
    guest.undefine().await.expect("undefined");
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_go_back_while_the_guest_is_off() {
    if skipped() {
        return;
    }
    let dir = root();
    let (_connection, guest, images) = define(dir.path()).await;
    qemu_io(&images[1], "write -P 0x11 0 64k");
    // One that a number could be taken for, and the number of another.
    take(&guest, "2").await.expect("taken");
    qemu_io(&images[1], "write -P 0x22 0 64k");
    take(&guest, "second").await.expect("taken");
    qemu_io(&images[1], "write -P 0x33 0 64k");
    guest.revert_to_snapshot("2", RevertOptions::new()).await.expect("reverted");
    qemu_io(&images[1], "read -P 0x11 0 64k");
    guest.revert_to_snapshot("second", RevertOptions::new()).await.expect("reverted");
    let read = qemu_io(&images[1], "read -P 0x22 0 64k");
    assert!(!read.contains("verification failed"), "{read}");
    agree(&guest, &images, "off").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_leaves_nothing() {
    if skipped() {
        return;
    }
    let dir = root();
    let (connection, guest, images) = define(dir.path()).await;
    // An image has it, which the store does not know: the other gets nothing.
    let stray = Command::new("qemu-img").args(["snapshot", "-c", "stray"]).arg(&images[1]).status();
    assert!(stray.is_ok_and(|it| it.success()));
    for running in [false, true] {
        if running {
            guest.start(false).await.expect("started");
        }
        let error = take(&guest, "stray").await.expect_err("the second image has it");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert!(tags(&images[0]).is_empty(), "all or none");
        assert!(names(&guest).await.is_empty());
    }
    assert_eq!(guest.state().await.expect("a state"), GuestState::Running);
    guest.destroy(Destroy::default()).await.expect("destroyed");
    qemu_img(&["snapshot", "-d", "stray"], &images[1]);

    // A raw image holds none, with what to do; left out, it is no hindrance.
    let raw = guest.xml(Which::Stored).await.expect("a definition").replace(
        "<target dev='vdb'",
        "<target dev='vdc' bus='virtio'/></disk><disk type='file' device='disk'><source file='/RAW'/><target dev='vdb'",
    );
    let raw = raw.replace("/RAW", &dir.path().join("victim.raw").display().to_string());
    connection.define(&raw).await.expect("defined");
    let error = take(&guest, "s").await.expect_err("a raw image");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.remedy().is_some_and(|it| it.contains("vdb,snapshot=no")), "{error:?}");
    assert!(tags(&images[0]).is_empty() && names(&guest).await.is_empty());
    let without = "<domainsnapshot><name>s</name><disks><disk name='vdb' snapshot='no'/></disks></domainsnapshot>";
    guest.create_snapshot(Some(without), SnapshotOptions::new()).await.expect("taken");

    // Another machine since: refused, unless it is forced.
    let other = guest.xml(Which::Stored).await.expect("a definition").replace("32768", "65536");
    connection.define(&other).await.expect("defined");
    let error = guest.revert_to_snapshot("s", RevertOptions::new()).await.expect_err("twice the memory");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(error.to_string().contains("memory"), "{error}");
    guest.revert_to_snapshot("s", RevertOptions::new().force(true)).await.expect("forced");
    assert!(guest.xml(Which::Stored).await.expect("a definition").contains("32768"), "the definition came back");

    // Another guest's.
    let xml = guest.snapshot_xml("s", true).await.expect("its XML");
    let uuid = guest.uuid().to_string();
    let foreign = xml.replace(&uuid, "c7a5fdbd-edaf-9455-926a-d65c16db1809").replace("<name>s<", "<name>foreign<");
    let error = guest.redefine_snapshot(&foreign, false).await.expect_err("of another guest");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");

    // A managed save belongs to the disks as they are.
    guest.start(false).await.expect("started");
    guest.managed_save(SaveOptions::new()).await.expect("saved");
    assert_eq!(take(&guest, "t").await.expect_err("saved").kind(), ErrorKind::InvalidState);
    let error = guest.revert_to_snapshot("s", RevertOptions::new()).await.expect_err("saved");
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
    guest.remove_managed_save().await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_hypervisor_is_told_and_nothing_is_left() {
    if skipped() {
        return;
    }
    let dir = root();
    let (_connection, guest, images) = define(dir.path()).await;
    guest.start(false).await.expect("started");
    let [(pid, _)] = processes_with(&["qemu-system", &guest.uuid().to_string()])[..] else { panic!("one process") };
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("stopped");
    let error = take(&guest, "s").await.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(names(&guest).await.is_empty());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).expect("continued");
    take(&guest, "s").await.expect("taken");
    guest.destroy(Destroy::default()).await.expect("destroyed");
    agree(&guest, &images, "after it hung").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_snapshot_and_not_the_guest() {
    if skipped() {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can mount a small file system");
        return;
    }
    let dir = root();
    let small = dir.path().join("small");
    std::fs::create_dir(&small).expect("a directory");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=700k", "none"]).arg(&small).status();
    if !mounted.is_ok_and(|it| it.success()) {
        println!("skipped: a small file system cannot be mounted here");
        return;
    }
    let (xml, images) = definition(dir.path());
    let image = small.join("system.qcow2");
    std::fs::copy(&images[0], &image).expect("there is room for it");
    let xml = xml.replace(&images[0].display().to_string(), &image.display().to_string());
    let connection = connect("qemu", dir.path(), |_| {}).await;
    let guest = connection.define(&xml).await.expect("defined").guest;
    guest.start(false).await.expect("started");
    let error = take(&guest, "s").await;
    let state = guest.state().await;
    let before = next_number(&guest).await;
    let goes_on = next_number(&guest).await > before;
    guest.destroy(Destroy::default()).await.expect("destroyed");
    let left = (tags(&image), tags(&images[1]));
    let unmounted = Command::new("umount").arg(&small).status();
    assert!(unmounted.is_ok_and(|it| it.success()));
    let error = error.expect_err("there is no room");
    assert!(error.fact("not undone").is_none(), "{error:?}");
    assert_eq!(state.expect("a state"), GuestState::Running, "{error}");
    assert!(goes_on && left.0.is_empty() && left.1.is_empty(), "{error}: {left:?}");
}

/// Kills a process that does something with the guest when it is at a step.
fn kill_at(step: JobStep, root: &Path, action: &[&str]) {
    let mut holder = Command::new(env!("CARGO_BIN_EXE_holder"))
        .args(["qemu".as_ref(), root.as_os_str(), "victim".as_ref(), step.name().as_ref()])
        .args(action)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the holder starts");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    // Every step must be a place where a process can be killed: one that nothing passes through is a hole in this test.
    assert_eq!(line.trim(), format!("at {step}"), "{action:?}");
    holder.kill().expect("killed");
    holder.wait().expect("reaped");
}

/// A guest with a snapshot `kept` of it off, or paused, so that it does not count on after a revert; then it runs or is off. Gives what it
/// counted to.
async fn prepared(root: &Path, running: bool, of_running: bool) -> ([PathBuf; 2], u32) {
    let (_connection, guest, images) = define(root).await;
    if !of_running {
        take(&guest, "kept").await.expect("taken");
    }
    let mut later = 0;
    if running || of_running {
        guest.start(false).await.expect("started");
        let before = counted(&guest, 3).await;
        if of_running {
            guest.suspend().await.expect("suspended");
            take(&guest, "kept").await.expect("taken");
            guest.resume().await.expect("resumed");
        }
        later = counted(&guest, before + 20).await;
        if !running {
            guest.destroy(Destroy::default()).await.expect("destroyed");
        }
    }
    guest.release().await.expect("released");
    (images, later)
}

/// The next process: what was cut off is finished or undone, the next snapshot is taken, store and images agree.
async fn next_process(
    root: &Path,
    images: &[PathBuf; 2],
    runs: bool,
    expected: &[&str],
    at: &str,
) -> (Connection, Guest) {
    let connection = connect("qemu", root, |_| {}).await;
    let guest = connection.lookup_by_name("victim").await.expect("the definition is not lost");
    let state = guest.state().await.expect("a state");
    assert_eq!(state.is_active(), runs, "{at}: {state:?}");
    if runs {
        guest.release().await.expect("released");
        guest.vcpus().await.unwrap_or_else(|e| panic!("{at}: {e}"));
        assert_eq!(guest.state().await.expect("a state"), GuestState::Running, "{at}");
        next_number(&guest).await;
    }
    take(&guest, "after").await.unwrap_or_else(|e| panic!("{at}, the next snapshot fails: {e}"));
    let mut all: BTreeSet<String> = expected.iter().map(|it| (*it).to_owned()).collect();
    all.insert("after".to_owned());
    assert_eq!(names(&guest).await, all, "{at}");
    if runs {
        guest.destroy(Destroy::default()).await.expect("destroyed");
    }
    agree(&guest, images, at).await;
    (connection, guest)
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_one_is_killed_at_every_step() {
    if skipped() {
        return;
    }
    for running in [true, false] {
        for step in polyvirt::JobKind::Snapshot.steps() {
            let at = format!("taking, running {running}, killed at {step}");
            let dir = root();
            let (images, _) = prepared(dir.path(), running, running).await;
            kill_at(*step, dir.path(), &["snapshot-create", "cut"]);
            let expected: &[&str] = if *step >= JobStep::Kept { &["cut", "kept"] } else { &["kept"] };
            next_process(dir.path(), &images, running, expected, &at).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_one_is_killed_at_every_step() {
    if skipped() {
        return;
    }
    for running in [true, false] {
        for step in polyvirt::JobKind::SnapshotDelete.steps() {
            let at = format!("deleting, running {running}, killed at {step}");
            let dir = root();
            let (images, _) = prepared(dir.path(), running, running).await;
            kill_at(*step, dir.path(), &["snapshot-delete", "kept"]);
            // It had not written down what it is about to do.
            let expected: &[&str] = if *step == JobStep::Begun { &["kept"] } else { &[] };
            next_process(dir.path(), &images, running, expected, &at).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_is_killed_at_every_step() {
    if skipped() {
        return;
    }
    // A running guest in its process.
    for step in polyvirt::JobKind::SnapshotRevert.steps() {
        let at = format!("reverting in place, killed at {step}");
        let dir = root();
        let (images, later) = prepared(dir.path(), true, true).await;
        kill_at(*step, dir.path(), &["snapshot-revert", "kept"]);
        let connection = connect("qemu", dir.path(), |_| {}).await;
        let guest = connection.lookup_by_name("victim").await.expect("the definition is not lost");
        guest.release().await.expect("released");
        guest.vcpus().await.unwrap_or_else(|e| panic!("{at}: {e}"));
        if *step >= JobStep::Loaded {
            assert_eq!(guest.state().await.expect("a state"), GuestState::Paused, "{at}");
            assert!(goes_on_below(dir.path(), &guest, later).await, "{at}: it had counted to {later}, and goes on");
        } else {
            assert_eq!(guest.state().await.expect("a state"), GuestState::Running, "{at}");
            let number = next_number(&guest).await;
            assert!(number > later, "{at}: it had counted to {later}, and goes on at {number}");
        }
        guest.release().await.expect("released");
        drop((connection, guest));
        next_process(dir.path(), &images, true, &["kept"], &at).await;
    }
    // A start from it.
    for step in [JobStep::Loaded, JobStep::Noted, JobStep::Resumed] {
        let at = format!("starting from it, killed at {step}");
        let dir = root();
        let (images, later) = prepared(dir.path(), false, true).await;
        kill_at(step, dir.path(), &["snapshot-revert", "kept"]);
        {
            let connection = connect("qemu", dir.path(), |_| {}).await;
            let guest = connection.lookup_by_name("victim").await.expect("the definition is not lost");
            guest.vcpus().await.unwrap_or_else(|e| panic!("{at}: {e}"));
            assert_eq!(guest.state().await.expect("a state"), GuestState::Paused, "{at}");
            assert!(goes_on_below(dir.path(), &guest, later).await, "{at}: it had counted to {later}, and goes on");
            guest.release().await.expect("released");
        }
        next_process(dir.path(), &images, true, &["kept"], &at).await;
    }
    // Disks alone.
    for step in [JobStep::Begun, JobStep::Loaded, JobStep::Noted] {
        let at = format!("reverting while off, killed at {step}");
        let dir = root();
        let (images, _) = prepared(dir.path(), false, false).await;
        qemu_io(&images[1], "write -P 0x44 0 64k");
        kill_at(step, dir.path(), &["snapshot-revert", "kept"]);
        next_process(dir.path(), &images, false, &["kept"], &at).await;
        let pattern = if step == JobStep::Begun { "0x44" } else { "0" };
        let read = qemu_io(&images[1], &format!("read -P {pattern} 0 64k"));
        assert!(!read.contains("verification failed"), "{at}: {read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linux_finds_its_disk_and_its_memory_as_they_were() {
    if skipped() {
        return;
    }
    if let Some(reason) = booted::no_image() {
        println!("skipped: {reason}");
        return;
    }
    let dir = root();
    let image = dir.path().join("data.qcow2");
    let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("8M").status();
    assert!(made.is_ok_and(|it| it.success()));
    let disk = format!(
        "<disk type='file'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>",
        image.display()
    );
    let connection = connect("qemu", dir.path(), |_| {}).await;
    let mut linux = Booted::start(&connection, &booted::definition("back", "pc", &disk)).await;
    let guest = linux.guest.clone();
    linux.until("ls /sys/block", |it| it.contains("vda")).await;
    linux.run("echo first words | dd of=/dev/vda conv=fsync 2>/dev/null; echo 1 > /counter").await;
    take(&guest, "then").await.expect("taken");
    linux.run("echo other words | dd of=/dev/vda conv=fsync 2>/dev/null; echo 2 > /counter").await;
    assert_eq!(linux.run("dd if=/dev/vda bs=11 count=1 iflag=direct 2>/dev/null; cat /counter").await, "other words2");
    guest.revert_to_snapshot("then", RevertOptions::new()).await.expect("reverted");
    let said =
        linux.run("echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda bs=11 count=1 2>/dev/null; cat /counter").await;
    assert_eq!(said, "first words1", "the write is gone, and so is what it remembers");

    // The same from power-off, in a process of its own.
    linux.run("echo third words | dd of=/dev/vda conv=fsync 2>/dev/null; echo 3 > /counter").await;
    guest.destroy(Destroy::default()).await.expect("destroyed");
    guest.revert_to_snapshot("then", RevertOptions::new()).await.expect("started from it");
    let mut linux = Booted::open(guest.clone()).await;
    let said =
        linux.run("echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda bs=11 count=1 2>/dev/null; cat /counter").await;
    assert_eq!(said, "first words1");
    guest.destroy(Destroy::default()).await.expect("destroyed");
    qemu_img(&["check", "-q"], &image);
}
