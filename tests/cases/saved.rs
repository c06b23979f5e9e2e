//! Saved and restored with real QEMU: a guest that counts goes on counting, whatever happens to the process that saves or restores it.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use polyvirt::{
    Connection, Destroy, Guest, GuestState, JobKind, JobOutcome, JobStep, RestoreOptions, SaveOptions, Stage,
};
use polyvirt_tests::{
    connect,
    counting::{counting_guest, next_number},
    no_qemu, processes_with, root,
};

/// A process that does something with the guest and stops at a step.
struct Holder(Child);

impl Holder {
    fn at(step: &str, root: &Path, action: &[&str]) -> Self {
        let mut holder = Command::new(env!("CARGO_BIN_EXE_holder"))
            .args(["qemu".as_ref(), root.as_os_str(), "victim".as_ref(), step.as_ref()])
            .args(action)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the holder starts");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        // Every step must be a place where a process can be killed: one that nothing passes through is a hole in this test.
        assert_eq!(line.trim(), format!("at {step}"));
        Self(holder)
    }

    fn kill(mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("reaped");
    }
}

/// A counting guest that has counted to three.
async fn counting(root: &Path) -> (Connection, Guest, u32) {
    let connection = connect("qemu", root, |_| {}).await;
    let guest = connection.define(&counting_guest("victim", root)).await.expect("defined").guest;
    guest.start(false).await.expect("started");
    let number = counted(&guest, 3).await;
    (connection, guest, number)
}

/// Waits until it has counted that far.
async fn counted(guest: &Guest, to: u32) -> u32 {
    loop {
        let number = next_number(guest).await;
        if number >= to {
            return number;
        }
    }
}

/// What is in the root by the name of the file, or on the way to it.
fn files(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).expect("the root");
    entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).filter(|it| it.starts_with("vm.save")).collect()
}

fn skipped() -> bool {
    let reason = no_qemu();
    if let Some(reason) = &reason {
        println!("skipped: {reason}");
    }
    reason.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_counting() {
    if skipped() {
        return;
    }
    let dir = root();
    let (connection, guest, before) = counting(dir.path()).await;
    let file = dir.path().join("vm.save");
    guest.save(&file, SaveOptions::new()).await.expect("saved");
    assert!(processes_with(&["qemu-system", &guest.uuid().to_string()]).is_empty());
    let leases = connection.ledger().expect("a ledger").snapshot().expect("a snapshot");
    assert!(leases.leases.iter().all(|it| it.guest != guest.uuid().to_string()), "its memory is given back");
    connection.restore(&file, RestoreOptions::new()).await.expect("restored");
    let after = next_number(&guest).await;
    assert!(after >= before, "it counted to {before}, and goes on at {after}");
    // Twenty times in a row: nothing adds up.
    let mut last = after;
    for _ in 0..20 {
        guest.managed_save(SaveOptions::new()).await.expect("saved");
        guest.start(false).await.expect("restored");
        let number = next_number(&guest).await;
        assert!(number >= last, "{number} after {last}");
        last = number;
    }
    assert!(last > before, "it counts");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

/// Whatever happened, the guest is in one place, whole: it runs, or is in its file.
async fn in_one_place(root: &Path, at: &str, saved: bool, before: u32) {
    let file = root.join("vm.save");
    let connection = connect("qemu", root, |_| {}).await;
    let guest = connection.lookup_by_name("victim").await.expect("the definition is not lost");
    let state = guest.state().await.expect("a state");
    let report = guest.last_job().await.expect("readable").expect("there was a job");
    if saved {
        assert!(!state.is_active(), "killed at {at}, yet {state:?}");
        assert_eq!(files(root), ["vm.save"], "killed at {at}");
        assert!(processes_with(&["qemu-system", &guest.uuid().to_string()]).is_empty(), "killed at {at}");
        assert_eq!(report.outcome, Some(JobOutcome::Completed), "killed at {at}");
        connection.restore(&file, RestoreOptions::new()).await.unwrap_or_else(|e| panic!("killed at {at}: {e}"));
    } else {
        assert_eq!(state, GuestState::Running, "killed at {at}");
        assert_eq!(files(root), Vec::<String>::new(), "killed at {at}");
        assert!(matches!(report.outcome, Some(JobOutcome::Failed(_))), "killed at {at}: {report:?}");
    }
    let after = next_number(&guest).await;
    assert!(after >= before, "killed at {at}: it counted to {before}, and goes on at {after}");
    // It can be saved after all.
    guest.save(&file, SaveOptions::new()).await.unwrap_or_else(|e| panic!("killed at {at}, the next save fails: {e}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_is_killed_at_every_step() {
    if skipped() {
        return;
    }
    for step in JobKind::Save.steps() {
        let dir = root();
        let (connection, guest, before) = counting(dir.path()).await;
        drop((connection, guest));
        let file = dir.path().join("vm.save").display().to_string();
        Holder::at(step.name(), dir.path(), &["save", &file]).kill();
        in_one_place(dir.path(), step.name(), *step >= JobStep::Kept, before).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_its_name_counts_also_if_the_record_does_not_know() {
    if skipped() {
        return;
    }
    let dir = root();
    let (connection, guest, before) = counting(dir.path()).await;
    drop((connection, guest));
    let file = dir.path().join("vm.save");
    let holder = Holder::at("written", dir.path(), &["save", &file.display().to_string()]);
    let [partial] = &files(dir.path())[..] else { panic!("{:?}", files(dir.path())) };
    std::fs::rename(dir.path().join(partial), &file).expect("what the next step does");
    holder.kill();
    in_one_place(dir.path(), "the moment after the name", true, before).await;
}

fn managed(connection: &Connection) -> PathBuf {
    connection.roots().state.join("save/victim.save")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_killed_at_every_stage_and_step() {
    if skipped() {
        return;
    }
    let stages = Stage::ALL.iter().map(|it| (it.name(), *it >= Stage::Observe));
    let steps = JobKind::Restore.steps().iter().map(|it| (it.name(), true));
    for (at, runs) in stages.chain(steps) {
        let dir = root();
        let (connection, guest, before) = counting(dir.path()).await;
        guest.managed_save(SaveOptions::new()).await.expect("saved");
        let image = managed(&connection);
        assert!(image.exists());
        drop((connection, guest));
        Holder::at(at, dir.path(), &["start"]).kill();

        let connection = connect("qemu", dir.path(), |_| {}).await;
        let guest = connection.lookup_by_name("victim").await.expect("the definition is not lost");
        let state = guest.state().await.expect("a state");
        assert_eq!(image.exists(), !runs, "killed at {at}: the guest is in one place");
        if runs {
            assert_eq!(state, GuestState::Running, "killed at {at}");
        } else {
            assert!(!state.is_active(), "killed at {at}, yet {state:?}");
            assert!(processes_with(&["qemu-system", &guest.uuid().to_string()]).is_empty(), "killed at {at}");
            guest.start(false).await.unwrap_or_else(|e| panic!("killed at {at}, the next start fails: {e}"));
        }
        let after = next_number(&guest).await;
        assert!(after >= before, "killed at {at}: it counted to {before}, and goes on at {after}");
        guest.destroy(Destroy::default()).await.expect("destroyed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_killed_at_every_step() {
    if skipped() {
        return;
    }
    for step in JobKind::Dump.steps() {
        let dir = root();
        let (connection, guest, before) = counting(dir.path()).await;
        drop((connection, guest));
        let file = dir.path().join("vm.save").display().to_string();
        Holder::at(step.name(), dir.path(), &["dump", &file]).kill();
        let connection = connect("qemu", dir.path(), |_| {}).await;
        let guest = connection.lookup_by_name("victim").await.expect("the definition is not lost");
        assert_eq!(guest.state().await.expect("a state"), GuestState::Running, "killed at {step}");
        let expected: &[&str] = if *step >= JobStep::Kept { &["vm.save"] } else { &[] };
        assert_eq!(files(dir.path()), expected, "killed at {step}");
        let after = next_number(&guest).await;
        assert!(after >= before, "killed at {step}: it counted to {before}, and goes on at {after}");
        guest.destroy(Destroy::default()).await.expect("destroyed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_of_a_hung_hypervisor_is_settled_when_it_answers_again() {
    if skipped() {
        return;
    }
    let dir = root();
    let (_connection, guest, before) = counting(dir.path()).await;
    let [(pid, _)] = processes_with(&["qemu-system", &guest.uuid().to_string()])[..] else { panic!("one process") };
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("stopped");
    let error = guest.save(&dir.path().join("vm.save"), SaveOptions::new()).await.expect_err("nobody answers");
    assert!(error.fact("guest").is_some_and(|it| it.starts_with("not resumed")), "{error}");
    assert_eq!(files(dir.path()), Vec::<String>::new());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).expect("continued");
    guest.suspend().await.expect("what is left of the save is settled first");
    assert_eq!(guest.state().await.expect("a state"), GuestState::Paused);
    guest.resume().await.expect("resumed");
    assert!(next_number(&guest).await >= before);
    guest.save(&dir.path().join("vm.save"), SaveOptions::new()).await.expect("saved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_save_and_not_the_guest() {
    if skipped() {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can mount a small file system");
        return;
    }
    let dir = root();
    let (_connection, guest, before) = counting(dir.path()).await;
    let small = dir.path().join("small");
    std::fs::create_dir(&small).expect("a directory");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=200k", "none"]).arg(&small).status();
    if !mounted.is_ok_and(|it| it.success()) {
        println!("skipped: a small file system cannot be mounted here");
        return;
    }
    let error = guest.save(&small.join("vm.save"), SaveOptions::new()).await;
    let left = files(&small);
    let unmounted = Command::new("umount").arg(&small).status();
    assert!(unmounted.is_ok_and(|it| it.success()));
    let error = error.expect_err("there is no room");
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(guest.state().await.expect("a state"), GuestState::Running);
    assert!(next_number(&guest).await >= before);
    guest.destroy(Destroy::default()).await.expect("destroyed");
}
