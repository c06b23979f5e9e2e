//! kill -9 of the starting process at every stage, with real QEMU: the next open leaves no orphan.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use polyvirt::{Destroy, GuestState, Stage};
use polyvirt_tests::{connect, no_qemu, processes_with, root, small_guest};

/// Kills a process that is starting `name` when it has reached `stage`.
fn kill_at(scheme: &str, root: &Path, name: &str, stage: Stage) {
    let mut holder = Command::new(env!("CARGO_BIN_EXE_holder"))
        .args([scheme.as_ref(), root.as_os_str(), name.as_ref(), stage.name().as_ref(), "start".as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the holder starts");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    // Every stage must be a place where a start can be killed: one that no start passes through is a hole in this test.
    assert_eq!(line.trim(), format!("at {stage}"), "the start did not stop at {stage}");
    holder.kill().expect("killed");
    holder.wait().expect("reaped");
}

async fn no_orphan_at(scheme: &str, xml: &str, stage: Stage) {
    let dir = root();
    let uuid = {
        let connection = connect(scheme, dir.path(), |_| {}).await;
        connection.define(xml).await.expect("defined").guest.uuid().to_string()
    };
    kill_at(scheme, dir.path(), "victim", stage);
    let connection = connect(scheme, dir.path(), |_| {}).await;
    let guest = connection.lookup_by_name("victim").await.expect("the definition is not lost");
    let state = guest.state().await.expect("a state");
    if stage >= Stage::Observe {
        assert_eq!(state, GuestState::Paused, "once its last record is written the guest lives on");
        guest.destroy(Destroy::default()).await.expect("destroyed by the next process");
    } else {
        assert!(!state.is_active(), "killed at {stage}, yet {state:?}");
    }
    let orphans: Vec<_> = processes_with(&["qemu-system", &uuid]);
    assert!(orphans.is_empty(), "killed at {stage}: {orphans:?}");
    // What serves a guest keeps its state below the root.
    let serving = processes_with(&["swtpm", &format!("{}/", dir.path().display())]);
    assert!(serving.is_empty(), "killed at {stage}: {serving:?}");
    let leases = connection.ledger().expect("a ledger").snapshot().expect("a snapshot");
    assert!(leases.leases.iter().all(|l| l.guest != uuid), "killed at {stage}, yet memory is promised");
    let left: Vec<_> = files_of(&connection.roots().run, "victim");
    assert!(left.is_empty(), "killed at {stage}: {left:?}");
    guest.start(true).await.unwrap_or_else(|e| panic!("killed at {stage}, the next start fails: {e}"));
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

fn files_of(run: &Path, name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(run).expect("the run directory");
    entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).filter(|f| f.starts_with(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_stage_with_real_qemu() {
    if let Some(reason) = no_qemu() {
        println!("skipped: {reason}");
        return;
    }
    for stage in Stage::ALL {
        no_orphan_at("qemu", &small_guest("qemu", "victim"), *stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_serves_a_guest_is_no_orphan_either() {
    let missing = (!Path::new("/usr/bin/swtpm").exists()).then(|| "/usr/bin/swtpm is not installed".to_owned());
    let missing = missing.filter(|reason| polyvirt_driver_testkit::require("swtpm", reason));
    if let Some(reason) = no_qemu().or(missing) {
        println!("skipped: {reason}");
        return;
    }
    let tpm = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm></devices>";
    let xml = small_guest("qemu", "victim").replace("</devices>", tpm);
    for stage in [Stage::Spawn, Stage::Pid, Stage::Gate, Stage::Run, Stage::Commit] {
        no_orphan_at("qemu", &xml, stage).await;
    }
}
