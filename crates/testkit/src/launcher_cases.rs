//! Starting, finding again, cleaning up.

use std::{sync::Arc, time::Duration};

use polyvirt_core::{
    CancelSource, Deadline, Destroy, DomainCapsQuery, DomainEvents, DriverRecord, ErrorKind, Journal, JournalSink,
    LiveConfig, Reattached, Result, Stage, StartContext,
};
use tokio::sync::mpsc;

use crate::bench::{At, Bench, launcher};

const DRIVER_STAGES: [Stage; 7] =
    [Stage::Spawn, Stage::Pid, Stage::Gate, Stage::Handshake, Stage::Monitor, Stage::Pins, Stage::Run];

pub(crate) async fn complete_is_idempotent(bench: &Bench) {
    let once = bench.config("complete").await;
    let facts = bench.driver.facts(&once).await.expect("facts");
    let mut twice = once.clone();
    bench.driver.complete(&mut twice, &facts).expect("completed again");
    assert_eq!(once.to_xml(), twice.to_xml());
    assert!(once == twice, "the text is the same, the values are not");
    bench.driver.check(&twice, &facts).expect("a completed definition passes");
}

pub(crate) async fn capabilities_of_guests(bench: &Bench) {
    let Some(told) = bench.driver.domain_capabilities() else { return };
    let config = bench.config("capabilities").await;
    let of = config.os.and_then(|os| os.r#type);
    let mut query = DomainCapsQuery::default();
    query.arch = of.as_ref().and_then(|it| it.arch.clone());
    query.machine = of.and_then(|it| it.machine);
    let first = told.capabilities(&query).await.expect("what guests can have");
    assert_eq!(Some(&first.arch), query.arch.as_ref(), "the architecture that was asked for");
    assert_eq!(first.machine, query.machine, "a machine type with its version is told as it is");
    assert_eq!(first, told.capabilities(&query).await.expect("asked again"));
    query.machine = Some("no-such-machine".to_owned());
    let error = told.capabilities(&query).await.expect_err("a machine that is none");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.to_string().contains("no-such-machine"), "{error}");
}

pub(crate) async fn manifest_is_pure(bench: &Bench) {
    let config = bench.config("manifest").await;
    let plan = bench.plan(&config);
    let live = LiveConfig::new(config, polyvirt_core::DomainId(1));
    let first = bench.launcher().manifest(&live, plan.as_ref()).expect("a manifest");
    let second = bench.launcher().manifest(&live, plan.as_ref()).expect("a manifest");
    assert_eq!(first, second);
}

pub(crate) async fn stages_come_in_order(bench: &Bench) {
    let run = bench.start("stages", true).await;
    run.started.as_ref().expect("started");
    assert_eq!(run.recorded.stages(), DRIVER_STAGES);
    let record = run.recorded.record().expect("a record was pushed");
    assert_eq!(record.driver, bench.subject.descriptor.name);
    assert!(bench.is_alive(Some(&record)), "the record names a live owner");
    bench.end(run).await;
    if !bench.subject.in_process {
        assert!(!bench.is_alive(Some(&record)), "the owner is gone after destroy");
    }
}

pub(crate) async fn cancel_at_every_stage(bench: &Bench) {
    for stage in DRIVER_STAGES.into_iter().filter(|s| *s != Stage::Run) {
        let source = Arc::new(CancelSource::default());
        let run = bench.start_with("cancel", true, At::Cancel(stage, source.clone()), &source).await;
        let error = run.started.as_ref().map(|_| ()).expect_err("cancelled starts fail");
        assert_eq!(error.kind(), ErrorKind::Cancelled, "cancelled at {stage}: {error}");
        assert_gone(bench, run.recorded.record().as_ref(), stage);
        let reaped = bench.reap(&run.live, run.recorded.record().as_ref()).await.expect("reaped");
        assert!(reaped.removed.is_empty(), "cancelled at {stage}, yet left {:?}", reaped.removed);
        bench.nothing_left().await;
    }
}

/// In-memory guests share their owner with the test; for them `reap` and the directory tell.
fn assert_gone(bench: &Bench, record: Option<&DriverRecord>, stage: Stage) {
    if !bench.subject.in_process {
        assert!(!bench.is_alive(record), "ended at {stage}, yet its owner lives");
    }
}

pub(crate) async fn drop_at_every_stage(bench: &Bench) {
    for stage in DRIVER_STAGES {
        let (told, mut hanging) = mpsc::channel(1);
        let source = CancelSource::default();
        let mut recorded = None;
        {
            let start = bench.start_with("drop", true, At::Hang(stage, told), &source);
            tokio::pin!(start);
            tokio::select! {
                run = &mut start => { recorded = Some(run.recorded); }
                _ = hanging.recv() => {}
            }
        }
        assert!(recorded.is_none(), "the start did not wait for its journal at {stage}");
        // An engine would read the same from its own record.
        let (live, record) = bench.last_start();
        bench.reap(&live, record.as_ref()).await.expect("reaped");
        assert_gone(bench, record.as_ref(), stage);
        bench.nothing_left().await;
    }
}

pub(crate) async fn journal_failure_ends_the_start(bench: &Bench) {
    for stage in [Stage::Pid, Stage::Monitor] {
        let run = bench.start_with("journal", true, At::Fail(stage), &CancelSource::default()).await;
        let error = run.started.as_ref().map(|_| ()).expect_err("a start without its journal fails");
        assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
        assert_gone(bench, run.recorded.record().as_ref(), stage);
        bench.nothing_left().await;
    }
}

pub(crate) async fn reap_is_idempotent(bench: &Bench) {
    let config = bench.config("reap").await;
    let live = LiveConfig::new(config, polyvirt_core::DomainId(4_000_000));
    assert!(bench.reap(&live, None).await.expect("nothing to do is no error").removed.is_empty());
    let run = bench.start("reap", true).await;
    let record = run.recorded.record();
    run.started.as_ref().expect("started");
    bench.reap(&run.live, record.as_ref()).await.expect("a running guest is reaped");
    assert_gone(bench, record.as_ref(), Stage::Run);
    assert!(bench.reap(&run.live, record.as_ref()).await.expect("twice is no error").removed.is_empty());
}

struct NoJournal;

#[async_trait::async_trait]
impl JournalSink for NoJournal {
    async fn reached(&self, _: Stage) -> Result<()> {
        Ok(())
    }
    async fn record(&self, _: Stage, _: &DriverRecord) -> Result<()> {
        Ok(())
    }
}

fn context() -> (StartContext, mpsc::Receiver<polyvirt_core::Signal>) {
    let (events, signals) = DomainEvents::channel();
    let journal = Journal::new(Arc::new(NoJournal));
    (
        StartContext::new(journal, events, CancelSource::default().token(), Deadline::after(Duration::from_secs(20))),
        signals,
    )
}

pub(crate) async fn reattach_finds_the_guest(bench: &Bench) {
    let mut run = bench.start("again", true).await;
    let id = run.started.as_ref().expect("started").domain.id();
    let record = run.recorded.record().expect("a record");
    // The first process goes away; the guest does not.
    run.started = Err(polyvirt_core::Error::new(ErrorKind::Internal, "its handle was dropped"));
    let second = bench.another_driver().await;
    let (cx, mut signals) = context();
    let found = launcher(&*second).reattach(&cx, &run.live, &record).await.expect("reattached");
    let Reattached::Running(domain) = found else { panic!("a running guest was reported as {found:?}") };
    assert_eq!(domain.id(), id);
    assert!(domain.state().await.expect("a state").is_active());
    domain.destroy(Destroy::default()).await.expect("destroyed");
    assert!(
        matches!(last(&mut signals).await, Some(polyvirt_core::Signal::Stopped(_))),
        "Stopped comes to whoever attends"
    );
    bench.reap(&run.live, Some(&record)).await.expect("reaped");
}

async fn last(signals: &mut mpsc::Receiver<polyvirt_core::Signal>) -> Option<polyvirt_core::Signal> {
    let mut last = None;
    while let Ok(Some(signal)) = tokio::time::timeout(Duration::from_secs(10), signals.recv()).await {
        let stopped = matches!(signal, polyvirt_core::Signal::Stopped(_));
        last = Some(signal);
        if stopped {
            break;
        }
    }
    last
}

pub(crate) async fn newer_record_is_unreachable(bench: &Bench) {
    let run = bench.start("newer", true).await;
    let mut record = run.recorded.record().expect("a record");
    record.version += 1;
    let second = bench.another_driver().await;
    let (cx, _signals) = context();
    let found = launcher(&*second).reattach(&cx, &run.live, &record).await.expect("an answer");
    assert!(matches!(found, Reattached::Unreachable(_)), "a record of a newer version gave {found:?}");
    assert!(bench.is_alive(run.recorded.record().as_ref()), "the guest was killed");
    bench.end(run).await;
}

pub(crate) async fn reattach_to_a_dead_guest(bench: &Bench) {
    let run = bench.start("dead", true).await;
    let (live, record) = (run.live.clone(), run.recorded.record().expect("a record"));
    bench.end(run).await;
    let second = bench.another_driver().await;
    let (cx, _signals) = context();
    let found = launcher(&*second).reattach(&cx, &live, &record).await.expect("an answer");
    assert!(matches!(found, Reattached::Stopped(_)), "a dead guest was reported as {found:?}");
}
