//! Several processes change the guests of one root at once: nothing is lost, and the history explains every step.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use polyvirt::{Destroy, ErrorKind, Event, EventKind, GuestRef, Stage, StageObserver};
use polyvirt_tests::{connect, no_qemu, processes_with, root, small_guest};

const PROCESSES: u64 = 4;
const OPERATIONS: u64 = 125;

fn racer(scheme: &str, root: &Path, seed: u64) -> Child {
    Command::new(env!("CARGO_BIN_EXE_racer"))
        .args([scheme.as_ref(), root.as_os_str(), seed.to_string().as_ref(), OPERATIONS.to_string().as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a racer starts")
}

/// What one guest is, by the events so far.
#[derive(Default)]
struct Known {
    defined: bool,
    runs: bool,
}

/// Every event follows from those before it.
fn explain(events: &[Event]) -> HashMap<String, Known> {
    let mut guests: HashMap<String, Known> = HashMap::new();
    for event in events {
        let guest = guests.entry(event.guest.name.clone()).or_default();
        let at = format!("{event:?}");
        match &event.kind {
            EventKind::Defined { updated } => {
                assert_eq!(*updated, guest.defined, "{at}");
                guest.defined = true;
            }
            EventKind::Undefined => {
                assert!(guest.defined, "{at}");
                guest.defined = false;
            }
            EventKind::Started { .. } => {
                assert!(!guest.runs, "{at}");
                guest.runs = true;
            }
            EventKind::Stopped { .. } => {
                assert!(guest.runs, "{at}");
                guest.runs = false;
            }
            EventKind::Suspended | EventKind::Resumed | EventKind::Shutdown => assert!(guest.runs, "{at}"),
            _ => {}
        }
    }
    guests
}

async fn race(scheme: &str) {
    let dir = root();
    let racers: Vec<_> = (1..=PROCESSES).map(|seed| racer(scheme, dir.path(), seed)).collect();
    let mut done: HashMap<String, u64> = HashMap::new();
    let mut operations = 0;
    for racer in racers {
        let output = racer.wait_with_output().expect("a racer ends");
        assert!(output.status.success(), "a racer failed");
        for line in String::from_utf8(output.stdout).expect("text").lines() {
            let step: serde_json::Value = serde_json::from_str(line).expect("a step");
            operations += 1;
            if step["ok"] == true {
                *done.entry(step["op"].as_str().expect("a name").to_owned()).or_default() += 1;
            } else {
                let kind = step["kind"].as_str().expect("a kind");
                assert!(["not-found", "already-exists", "invalid-state"].contains(&kind), "{line}");
            }
        }
    }
    assert_eq!(operations, PROCESSES * OPERATIONS);

    let connection = connect(scheme, dir.path(), |_| {}).await;
    let (events, _) = connection.history(0).await.expect("a history");
    let known = explain(&events);
    let count = |wanted: fn(&EventKind) -> bool| events.iter().filter(|e| wanted(&e.kind)).count() as u64;
    assert_eq!(
        count(|k| matches!(k, EventKind::Defined { .. })),
        done.get("define").copied().unwrap_or(0),
        "every define is in the history"
    );
    assert_eq!(count(|k| matches!(k, EventKind::Undefined)), done.get("undefine").copied().unwrap_or(0));
    assert_eq!(count(|k| matches!(k, EventKind::Started { .. })), done.get("start").copied().unwrap_or(0));

    let list = connection.list().await.expect("a list");
    for (name, known) in &known {
        let entry = list.iter().find(|g| g.name == *name);
        assert_eq!(entry.is_some_and(|g| g.persistent), known.defined, "{name}: defined?");
        assert_eq!(entry.is_some_and(|g| g.state.is_active()), known.runs, "{name}: runs?");
    }
    for entry in list.iter().filter(|g| g.state.is_active()) {
        connection
            .lookup_by_name(&entry.name)
            .await
            .expect("found")
            .destroy(Destroy::default())
            .await
            .expect("destroyed");
    }
    let root = dir.path().display().to_string();
    assert!(processes_with(&["qemu-system", &root]).is_empty(), "a QEMU that no record knew");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_operations_with_real_qemu() {
    if let Some(reason) = no_qemu() {
        println!("skipped: {reason}");
        return;
    }
    race("qemu").await;
}

/// Defines a guest of the same name while another is created, when that has come to a stage.
struct DefinesAt {
    stage: Stage,
    root: PathBuf,
    said: Mutex<Option<polyvirt::Result<()>>>,
}

impl StageObserver for DefinesAt {
    fn reached(&self, guest: &GuestRef, stage: Stage) -> polyvirt::Result<()> {
        if stage == self.stage {
            let (root, xml) = (self.root.clone(), small_guest("test", &guest.name));
            let define = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let connection = connect("mock", &root, |_| {}).await;
                    let uuid = "<uuid>11111111-2222-4333-8444-555555555555</uuid><name>";
                    connection.define(&xml.replace("<name>", uuid)).await.map(drop)
                })
            };
            // An observer is called within a runtime, which cannot wait for another one.
            *self.said.lock().expect("no panic") = Some(std::thread::spawn(define).join().expect("no panic"));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_defined_while_it_is_created_belongs_to_one_of_them() {
    for (stage, define_wins) in [(Stage::Reserve, true), (Stage::Intent, false)] {
        let dir = root();
        let observer = Arc::new(DefinesAt { stage, root: dir.path().to_path_buf(), said: Mutex::default() });
        let connection = connect("mock", dir.path(), |options| options.observer = Some(observer.clone())).await;
        let created = connection.create(&small_guest("test", "one"), true).await.map(drop);
        let defined = observer.said.lock().expect("no panic").take().expect("the stage was reached");
        assert_eq!((defined.is_ok(), created.is_ok()), (define_wins, !define_wins), "{defined:?} {created:?}");
        let error = defined.and(created).expect_err("one of them");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        let list = connection.list().await.expect("a list");
        assert!(list.len() == 1 && list[0].persistent == define_wins, "{list:?}");
        assert_eq!(list[0].state.is_active(), !define_wins, "{list:?}");
    }
}
