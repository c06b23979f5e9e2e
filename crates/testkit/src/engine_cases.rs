//! The driver under the engine.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use polyvirt_core::{Destroy, Error, ErrorKind, EventKind, GuestRef, GuestState, Result, Stage};
use polyvirt_engine::{Ownership, StageObserver, Which};

use crate::bench::Bench;

pub(crate) async fn life_through_the_engine(bench: &Bench) {
    let connection = bench.connect(|_| {}).await;
    let defined = connection.define(&(bench.subject.xml)("life")).await.expect("defined");
    let guest = defined.guest;
    assert_eq!(connection.list().await.expect("a list").len(), 1);
    guest.start(true).await.expect("started");
    assert_eq!(guest.state().await.expect("a state"), GuestState::Paused);
    let again = guest.start(true).await.expect_err("it runs already");
    assert_eq!(again.kind(), ErrorKind::InvalidState, "{again}");
    let live = guest.xml(Which::Live).await.expect("a live definition");
    assert!(live.contains(" id='"), "the live definition carries the number: {live}");
    guest.resume().await.expect("resumed");
    assert_eq!(guest.state().await.expect("a state"), GuestState::Running);
    guest.destroy(Destroy::default()).await.expect("destroyed");
    assert!(!guest.state().await.expect("a state").is_active());
    let gone = guest.destroy(Destroy::default()).await.expect_err("it does not run");
    assert_eq!(gone.kind(), ErrorKind::InvalidState, "{gone}");
    guest.undefine().await.expect("undefined");
    assert!(connection.list().await.expect("a list").is_empty());
}

/// Fails the start at one stage.
struct FailAt(Mutex<Option<Stage>>);

impl StageObserver for FailAt {
    fn reached(&self, _: &GuestRef, stage: Stage) -> Result<()> {
        if *self.0.lock().expect("no panic holds it") == Some(stage) {
            return Err(Error::new(ErrorKind::Hypervisor, "the test says so"));
        }
        Ok(())
    }
}

pub(crate) async fn failed_start_leaves_nothing(bench: &Bench) {
    let fail = Arc::new(FailAt(Mutex::new(None)));
    let connection = bench.connect(|o| o.observer = Some(fail.clone())).await;
    let guest = connection.define(&(bench.subject.xml)("fails")).await.expect("defined").guest;
    for stage in Stage::ALL {
        *fail.0.lock().expect("no panic holds it") = Some(*stage);
        let error = guest.start(true).await.expect_err("the start fails");
        assert_eq!(error.message(), "the test says so", "at {stage}");
        assert!(error.fact("stage").is_some(), "the error of {stage} names its stage");
        assert!(!guest.state().await.expect("a state").is_active(), "failed at {stage}, yet active");
        bench.nothing_left().await;
        let promises = connection.ledger().expect("a ledger").snapshot().expect("a snapshot");
        assert!(promises.leases.is_empty(), "failed at {stage}, yet memory is promised");
    }
    *fail.0.lock().expect("no panic holds it") = None;
    guest.start(true).await.expect("the next start works");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

pub(crate) async fn one_owner_at_a_time(bench: &Bench) {
    let first = bench.connect(|_| {}).await;
    let second = bench.connect(|o| o.wait_for_owner = Duration::from_millis(50)).await;
    let guest = first.define(&(bench.subject.xml)("owned")).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let seen = second.lookup_by_name("owned").await.expect("found");
    assert_eq!(seen.state().await.expect("reading waits for nobody"), GuestState::Paused);
    let busy = seen.resume().await.expect_err("another owns it");
    assert_eq!(busy.kind(), ErrorKind::Busy, "{busy}");
    assert!(busy.to_string().contains(&std::process::id().to_string()), "the owner is named: {busy}");
    assert!(busy.remedy().is_some(), "what to do is said");
    guest.release().await.expect("released");
    seen.resume().await.expect("taken over at once");
    assert_eq!(guest.state().await.expect("a state"), GuestState::Running);
    seen.destroy(Destroy::default()).await.expect("destroyed");
}

/// Holds the start at one stage until let go.
struct HoldAt(Stage, std::sync::mpsc::SyncSender<()>);

impl StageObserver for HoldAt {
    fn reached(&self, _: &GuestRef, stage: Stage) -> Result<()> {
        if stage == self.0 {
            self.1.send(()).ok();
            std::thread::sleep(Duration::from_millis(300));
        }
        Ok(())
    }
}

pub(crate) async fn destroy_preempts_start(bench: &Bench) {
    let (told, at_stage) = std::sync::mpsc::sync_channel(1);
    let connection = bench.connect(|o| o.observer = Some(Arc::new(HoldAt(Stage::Pid, told)))).await;
    let guest = connection.define(&(bench.subject.xml)("preempt")).await.expect("defined").guest;
    let starting = tokio::spawn({
        let guest = guest.clone();
        async move { guest.start(true).await }
    });
    tokio::task::spawn_blocking(move || at_stage.recv()).await.expect("joined").expect("the start got there");
    let destroyed = guest.destroy(Destroy::default()).await;
    let started = starting.await.expect("joined");
    assert_eq!(started.map_err(|e| e.kind()), Err(ErrorKind::Cancelled));
    // The start undid itself, so there is nothing left to destroy: both answers are true.
    assert!(destroyed.is_ok() || destroyed.is_err_and(|e| e.kind() == ErrorKind::InvalidState));
    assert!(!guest.state().await.expect("a state").is_active());
}

pub(crate) async fn events_tell_the_life(bench: &Bench) {
    let connection = bench.connect(|o| o.ownership = Ownership::WhileRunning).await;
    let mut events = connection.events();
    let guest = connection.define(&(bench.subject.xml)("told")).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    guest.resume().await.expect("resumed");
    guest.suspend().await.expect("suspended");
    guest.destroy(Destroy::default()).await.expect("destroyed");
    guest.undefine().await.expect("undefined");
    let mut kinds = Vec::new();
    let mut sequence = 0;
    while let Ok(event) = events.try_recv() {
        sequence += 1;
        assert_eq!((event.epoch, event.sequence), (connection.epoch(), sequence), "numbered without holes");
        kinds.push(event.kind);
    }
    let told: Vec<_> = kinds.iter().filter(|k| !matches!(k, EventKind::Shutdown)).collect();
    assert!(
        matches!(
            told[..],
            [
                EventKind::Defined { updated: false },
                EventKind::Started { paused: true },
                EventKind::Resumed,
                EventKind::Suspended,
                EventKind::Stopped { .. },
                EventKind::Undefined
            ]
        ),
        "{kinds:?}"
    );
}
