//! Guests of the conformance corpus, really started: QEMU has every device where our definition says that it is.
//!
//! [`guests`] lists them and what each stands for, [`ground`] makes what they need on this host and says so in their definitions.
//! Each is defined and started through the embedding API and runs; then QEMU is asked over its own monitor, which the connection
//! gives up meanwhile ([`compare`]).

mod compare;
mod ground;
mod guests;
mod places;
mod qtree;
mod served;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use compare::compare;
use ground::Ground;
use guests::{MEMORY, REFUSED, STARTED};
use polyvirt::{
    Destroy, Guest,
    model::{DomainConfig, ParseOptions},
};
use polyvirt_driver_testkit::require;
use polyvirt_tests::{Root, connect, groups_of, no_qemu, processes_with, root};

/// What a start says of a guest with a TPM where nobody can emulate one.
const NO_TPM: &str = "there is no swtpm in PATH";

/// Generous: the machine may be busy. Nothing here asserts times.
const WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn guests_of_the_corpus_have_their_devices_where_their_definitions_say() {
    let files = root();
    let Some(corpus) = corpus(&files) else { return };
    let mut failed = Vec::new();
    for guest in STARTED {
        // A guest that goes wrong does not hide what is wrong with the others.
        match lived(&definition(&corpus, guest.name), guest.numbered).await {
            Ok(count) => println!("{}: {count} places agree ({})", guest.name, guest.stands_for),
            Err(problem) if problem.contains(NO_TPM) && require("swtpm", NO_TPM) => {
                println!("skipped: {}: {NO_TPM}", guest.name);
            }
            Err(problem) => failed.push(format!("{} ({}): {problem}", guest.name, guest.stands_for)),
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), STARTED.len(), failed.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_here_is_told_in_qemus_words() {
    let files = root();
    let Some(corpus) = corpus(&files) else { return };
    for (name, words) in REFUSED {
        let ground = Ground::new();
        let guest =
            defined(&definition(&corpus, name), &ground).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let error = guest.start(false).await.expect_err(name);
        assert!(error.fact("hypervisor said").is_some_and(|it| it.contains(words)), "{name}: {error}");
        nothing_left(&ground, guest.name()).unwrap_or_else(|left| panic!("{name}: {left}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_devices_sit_in_their_slots() {
    if let Some(reason) = no_qemu() {
        return println!("skipped: {reason}");
    }
    lived(MEMORY, true).await.unwrap_or_else(|problem| panic!("{problem}"));
}

/// The definitions of the corpus; `None`, with the reason printed, where they or QEMU are missing.
fn corpus(files: &Root) -> Option<PathBuf> {
    let found = no_qemu().map_or_else(|| unpack(files.path()), Err);
    found.map_err(|reason| println!("skipped: {reason}")).ok()
}

/// The definitions of the corpus, unpacked already or unpacked here.
fn unpack(to: &Path) -> Result<PathBuf, String> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let folder = std::env::var_os("POLYVIRT_CORPUS").map_or(beside, PathBuf::from);
    let definitions = "visible/qemuxmlconf/in";
    if folder.join(definitions).is_dir() {
        return Ok(folder.join(definitions));
    }
    let archive = folder.join("visible.tar.xz");
    if !archive.is_file() {
        let reason = format!("there is no {}; POLYVIRT_CORPUS may name another folder", archive.display());
        assert!(require("corpus", &reason));
        return Err(reason);
    }
    let mut tar = Command::new("tar");
    let output = tar.arg("-xJf").arg(&archive).arg("-C").arg(to).arg(definitions).output();
    let output = output.expect("tar is there");
    assert!(output.status.success(), "{}: {}", archive.display(), String::from_utf8_lossy(&output.stderr));
    Ok(to.join(definitions))
}

fn definition(corpus: &Path, name: &str) -> String {
    let path = corpus.join(format!("{name}.xml"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Defines a guest, with what it needs on this host.
async fn defined(text: &str, ground: &Ground) -> Result<Guest, String> {
    let parsed = DomainConfig::parse(text, &ParseOptions::default()).map_err(|error| format!("parse: {error}"))?;
    let mut config = parsed.config;
    ground.lay(&mut config);
    let connection = connect("qemu", ground.path(), |_| {}).await;
    let defined = connection.define(&config.to_xml()).await.map_err(|error| format!("define: {error}"))?;
    Ok(defined.guest)
}

/// A guest's life: how many places were compared in it.
async fn lived(text: &str, numbered: bool) -> Result<usize, String> {
    let ground = Ground::new();
    let guest = defined(text, &ground).await?;
    guest.start(false).await.map_err(|error| format!("start: {error}"))?;
    let compared = compare(&guest, &ground, numbered).await;
    let ended = guest.destroy(Destroy::default()).await;
    let compared = compared?;
    ended.map_err(|error| format!("destroy: {error}"))?;
    nothing_left(&ground, guest.name()).map(|()| compared)
}

/// No process, no cgroup, no socket of a guest that was ended.
fn nothing_left(ground: &Ground, name: &str) -> Result<(), String> {
    let below = format!("{}/", ground.path().display());
    let processes = processes_with(&[&below]);
    if !processes.is_empty() {
        return Err(format!("still running: {processes:?}"));
    }
    let short: String = name.chars().take(20).collect();
    let groups = groups_of(&format!("qemu-{short}-"));
    if !groups.is_empty() {
        return Err(format!("cgroups left: {groups:?}"));
    }
    let run = ground.path().join("run/qemu");
    // The list of numbers and the history are the connection's.
    let of_guest = |it: &PathBuf| it.is_dir() || it.to_string_lossy().contains(name);
    let entries = std::fs::read_dir(&run).into_iter().flatten().flatten();
    let left: Vec<_> = entries.map(|it| it.path()).filter(of_guest).collect();
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}")) }
}
