//! Guests that are saved and restored.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use polyvirt_core::{
    CancelSource, CapabilityId, Destroy, Domain, Error, ErrorKind, EventKind, GuestRef, GuestState, JobContext,
    JobKind, JobProgress, JobSink, JobStep, Result, SavedStream, Stage, StartHow, StopReason,
};
use polyvirt_engine::{Guest, JobOutcome, RestoreOptions, RunState, SaveOptions, StageObserver, StartOptions, Which};

use crate::bench::{At, Bench};

/// What precedes a stream in the file of these cases.
const BEFORE: u64 = 512;

/// Remembers what a driver said of a job, and cancels it at a step.
#[derive(Default)]
struct Notes {
    steps: Mutex<Vec<JobStep>>,
    progress: Mutex<Vec<JobProgress>>,
    cancel: CancelSource,
    cancel_at: Option<JobStep>,
}

#[async_trait]
impl JobSink for Notes {
    fn progress(&self, progress: JobProgress) {
        self.progress.lock().expect("no panic holds it").push(progress);
    }
    async fn reached(&self, step: JobStep) -> Result<()> {
        self.steps.lock().expect("no panic holds it").push(step);
        if self.cancel_at == Some(step) {
            self.cancel.cancel();
        }
        Ok(())
    }
}

fn has(bench: &Bench) -> bool {
    bench.subject.descriptor.has(CapabilityId::SaveState)
}

fn new_stream(bench: &Bench) -> (PathBuf, SavedStream) {
    let path = bench.root().join("stream");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
    (&file).seek(SeekFrom::Start(BEFORE)).expect("sought");
    (path, SavedStream::new(Arc::new(file), 0))
}

fn reading(path: &Path) -> SavedStream {
    let file = File::open(path).expect("the file");
    (&file).seek(SeekFrom::Start(BEFORE)).expect("sought");
    let length = file.metadata().expect("its size").len() - BEFORE;
    SavedStream::new(Arc::new(file), length)
}

async fn save(domain: &Arc<dyn Domain>, notes: &Arc<Notes>, into: &SavedStream) -> Result<()> {
    domain.pause().expect("who saves can pause").suspend().await?;
    let job = JobContext::new(notes.clone(), notes.cancel.token());
    domain.save().expect("declared").save(&job, into).await
}

pub(crate) async fn saved_and_continued(bench: &Bench) {
    if !has(bench) {
        return;
    }
    let run = bench.start("saved", false).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    let (path, stream) = new_stream(bench);
    let notes = Arc::new(Notes::default());
    save(&domain, &notes, &stream).await.expect("saved");
    assert_eq!(*notes.steps.lock().expect("no panic holds it"), [JobStep::Streaming]);
    assert!(!notes.progress.lock().expect("no panic holds it").is_empty(), "progress is told");
    assert_eq!(domain.state().await.expect("a state"), GuestState::Paused, "a saved guest is paused");
    let first = std::fs::metadata(&path).expect("the file").len();
    assert!(first > BEFORE, "something was written");
    // It may go on as if nothing had been, and be saved again.
    domain.pause().expect("a pause").resume().await.expect("resumed");
    assert_eq!(domain.state().await.expect("a state"), GuestState::Running);
    let (path, stream) = new_stream(bench);
    save(&domain, &Arc::new(Notes::default()), &stream).await.expect("saved again");
    drop(domain);
    bench.end(run).await;

    let how = StartHow::Restore(reading(&path));
    let run = bench.start_how("saved", how, At::Never, &CancelSource::default()).await;
    let domain = run.started.as_ref().expect("restored").domain.clone();
    assert_eq!(domain.state().await.expect("a state"), GuestState::Paused, "the CPUs of a restored guest stay stopped");
    domain.pause().expect("a pause").resume().await.expect("resumed");
    assert_eq!(domain.state().await.expect("a state"), GuestState::Running);
    bench.end(run).await;
}

pub(crate) async fn cancelled_save_leaves_the_guest(bench: &Bench) {
    if !has(bench) {
        return;
    }
    let run = bench.start("uncertain", false).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    let (_, stream) = new_stream(bench);
    let notes = Arc::new(Notes { cancel_at: Some(JobStep::Streaming), ..Notes::default() });
    match save(&domain, &notes, &stream).await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}"),
        // A small guest may be written before anybody looks.
        Ok(()) => println!("the save was quicker than its end"),
    }
    assert_eq!(domain.state().await.expect("a state"), GuestState::Paused);
    for _ in 0..2 {
        domain.save().expect("declared").abandon().await.expect("none under way is no error");
    }
    domain.pause().expect("a pause").resume().await.expect("resumed");
    assert_eq!(domain.state().await.expect("a state"), GuestState::Running);
    bench.end(run).await;
}

pub(crate) async fn broken_stream_ends_the_restore(bench: &Bench) {
    if !has(bench) {
        return;
    }
    let path = bench.root().join("broken");
    let mut file = File::create(&path).expect("a file");
    file.write_all(&[0x5a; 8192]).expect("written");
    let how = StartHow::Restore(reading(&path));
    let run = bench.start_how("broken", how, At::Never, &CancelSource::default()).await;
    let error = run.started.as_ref().map(drop).expect_err("it is no stream");
    assert!(error.kind() != ErrorKind::Internal && error.kind() != ErrorKind::Timeout, "{error}");
    let gone = bench.subject.in_process || !bench.is_alive(run.recorded.record().as_ref());
    assert!(gone, "its process is gone");
    bench.reap(&run.live, run.recorded.record().as_ref()).await.expect("nothing to do");
}

/// A step, whom to tell that it is reached, and who says when to go on.
type Hold = (JobStep, std::sync::mpsc::SyncSender<()>, std::sync::mpsc::Receiver<()>);

/// Watches a job through the engine, and may end or hold it at a step.
#[derive(Default)]
pub(crate) struct Watch {
    fail_at: Mutex<Option<JobStep>>,
    hold_at: Mutex<Option<Hold>>,
    steps: Mutex<Vec<(JobKind, JobStep)>>,
}

impl StageObserver for Watch {
    fn reached(&self, _: &GuestRef, _: Stage) -> Result<()> {
        Ok(())
    }
    fn step(&self, _: &GuestRef, kind: JobKind, step: JobStep) -> Result<()> {
        self.steps.lock().expect("no panic holds it").push((kind, step));
        if let Some((_, told, go)) = self.hold_at.lock().expect("no panic holds it").as_ref().filter(|it| it.0 == step)
        {
            told.send(()).ok();
            go.recv().ok();
        }
        if *self.fail_at.lock().expect("no panic holds it") == Some(step) {
            return Err(Error::new(ErrorKind::Storage, "the test says so"));
        }
        Ok(())
    }
}

impl Watch {
    pub(crate) fn steps(&self) -> Vec<(JobKind, JobStep)> {
        std::mem::take(&mut *self.steps.lock().expect("no panic holds it"))
    }

    pub(crate) fn fail_at(&self, step: Option<JobStep>) {
        *self.fail_at.lock().expect("no panic holds it") = step;
    }
}

/// A running guest, watched.
pub(crate) async fn guest(bench: &Bench, name: &str) -> (Guest, Arc<Watch>) {
    let watch = Arc::new(Watch::default());
    let connection = bench.connect(|o| o.observer = Some(watch.clone())).await;
    let guest = connection.define(&(bench.subject.xml)(name)).await.expect("defined").guest;
    guest.start(false).await.expect("started");
    (guest, watch)
}

pub(crate) fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the directory");
    entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).filter(|name| name.contains("vm.save")).collect()
}

pub(crate) async fn failed_save_leaves_the_guest(bench: &Bench) {
    if !has(bench) {
        return;
    }
    let (guest, watch) = guest(bench, "steps").await;
    let file = bench.root().join("vm.save");
    for step in JobKind::Save.steps().iter().filter(|it| **it < JobStep::Kept) {
        watch.fail_at(Some(*step));
        let error = guest.save(&file, SaveOptions::new()).await.expect_err("the save fails");
        assert_eq!(error.message(), "the test says so", "at {step}");
        assert_eq!(guest.state().await.expect("a state"), GuestState::Running, "failed at {step}");
        assert_eq!(files(bench.root()), Vec::<String>::new(), "failed at {step}");
        let report = guest.last_job().await.expect("readable").expect("kept");
        assert!(matches!(report.outcome, Some(JobOutcome::Failed(_))), "{report:?}");
        watch.steps();
    }
    watch.fail_at(None);
    guest.save(&file, SaveOptions::new()).await.expect("saved");
    let walked: Vec<_> = watch.steps().into_iter().map(|(_, step)| step).collect();
    assert_eq!(walked, JobKind::Save.steps(), "every step is one that a save goes through");
    assert!(!guest.state().await.expect("a state").is_active(), "a saved guest runs no more");
    assert_eq!(files(bench.root()), ["vm.save"]);
    bench.nothing_left().await;
    let report = guest.last_job().await.expect("readable").expect("kept");
    assert_eq!((report.outcome, report.step), (Some(JobOutcome::Completed), Some(JobStep::Ended)));
}

pub(crate) async fn restored_through_the_engine(bench: &Bench) {
    if !has(bench) {
        return;
    }
    let watch = Arc::new(Watch::default());
    let connection = bench.connect(|o| o.observer = Some(watch.clone())).await;
    let guest = connection.define(&(bench.subject.xml)("moved")).await.expect("defined").guest;
    guest.start(false).await.expect("started");
    let file = bench.root().join("vm.save");
    let mut events = connection.events();
    guest.save(&file, SaveOptions::new()).await.expect("saved");
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(event.kind);
    }
    assert_eq!(told.last(), Some(&EventKind::Stopped { reason: StopReason::Saved }), "{told:?}");

    let image = connection.saved_image(&file).await.expect("readable");
    assert_eq!((image.config.name.as_str(), image.state), ("moved", RunState::Running));
    // Another machine is refused, what the host does may change.
    let other = image.xml().replace("<vcpu", "<title>moved</title><vcpu");
    let smaller = image.xml().replace("</memory>", "0</memory>");
    let error = connection.redefine_saved_image(&file, Some(&smaller), None).await.expect_err("ten times the memory");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    connection.redefine_saved_image(&file, Some(&other), Some(RunState::Paused)).await.expect("changed");
    watch.steps();
    let restored = connection.restore(&file, RestoreOptions::new()).await.expect("restored");
    let walked: Vec<_> = watch.steps().into_iter().map(|(_, step)| step).collect();
    assert_eq!(walked, JobKind::Restore.steps());
    assert_eq!(restored.state().await.expect("a state"), GuestState::Paused, "as its file says");
    assert!(restored.xml(Which::Live).await.expect("a definition").contains("<title>moved</title>"));
    assert!(connection.ledger().expect("a ledger").snapshot().expect("a snapshot").leases.len() <= 1);
    let again = connection.restore(&file, RestoreOptions::new()).await.expect_err("it runs");
    assert_eq!(again.kind(), ErrorKind::InvalidState, "{again}");
    restored.destroy(Destroy::default()).await.expect("destroyed");
    let options = RestoreOptions::new().state(Some(RunState::Running));
    connection.restore(&file, options).await.expect("the file stays");
    assert_eq!(guest.state().await.expect("a state"), GuestState::Running);
    guest.destroy(Destroy::default()).await.expect("destroyed");
    std::fs::File::options().write(true).open(&file).expect("the file").set_len(100_000).expect("cut");
    let error = connection.restore(&file, RestoreOptions::new()).await.map(drop).expect_err("a part is missing");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

pub(crate) async fn managed_save_is_used_once(bench: &Bench) {
    if !has(bench) {
        return;
    }
    let (guest, watch) = guest(bench, "kept").await;
    guest.suspend().await.expect("suspended");
    guest.managed_save(SaveOptions::new()).await.expect("saved");
    assert!(guest.has_managed_save().await.expect("known"));
    let refused = guest.undefine().await.expect_err("it would be lost");
    assert_eq!(refused.kind(), ErrorKind::InvalidState, "{refused}");
    guest.redefine_managed_save(None, Some(RunState::Running)).await.expect("changed");
    watch.steps();
    // What fails at the last moment leaves a guest that is there, paused, and no image that could be used a second time.
    watch.fail_at(Some(JobStep::Spent));
    guest.start(false).await.expect_err("the test says so");
    assert!(!guest.has_managed_save().await.expect("known"));
    watch.fail_at(None);
    guest.release().await.expect("released");
    guest.vcpus().await.ok();
    assert_eq!(guest.state().await.expect("a state"), GuestState::Running, "who finds it finishes the restore");
    guest.managed_save(SaveOptions::new().state(Some(RunState::Paused))).await.expect("saved");
    guest.start(false).await.expect("restored");
    assert_eq!(guest.state().await.expect("a state"), GuestState::Paused);
    assert!(!guest.has_managed_save().await.expect("known"));
    guest.resume().await.expect("resumed");
    guest.managed_save(SaveOptions::new()).await.expect("saved");
    guest.start_with(StartOptions::new().force_boot(true)).await.expect("booted");
    assert!(!guest.has_managed_save().await.expect("known"));
    guest.destroy(Destroy::default()).await.expect("destroyed");
    guest.undefine().await.expect("undefined");
}

pub(crate) async fn job_is_told_and_aborted(bench: &Bench) {
    if !has(bench) {
        return;
    }
    let (guest, watch) = guest(bench, "watched").await;
    assert!(guest.abort_job().await.is_err_and(|e| e.kind() == ErrorKind::InvalidState), "there is none");
    let (told, at_step) = std::sync::mpsc::sync_channel(1);
    let (go, wait) = std::sync::mpsc::sync_channel(1);
    *watch.hold_at.lock().expect("no panic holds it") = Some((JobStep::Opened, told, wait));
    let file = bench.root().join("vm.save");
    let saving = tokio::spawn({
        let (guest, file) = (guest.clone(), file.clone());
        async move { guest.save(&file, SaveOptions::new()).await }
    });
    tokio::task::spawn_blocking(move || at_step.recv()).await.expect("joined").expect("the save got there");
    // From another process, as far as it can tell.
    let other = bench.connect(|o| o.wait_for_owner = Duration::from_millis(50)).await;
    let seen = other.lookup_by_name("watched").await.expect("found");
    let busy = seen.suspend().await.expect_err("it is being saved");
    assert_eq!(busy.kind(), ErrorKind::Busy, "{busy}");
    assert_eq!(seen.state().await.expect("reading waits for nobody"), GuestState::Running);
    assert_eq!(seen.job().await.expect("readable").expect("under way").kind, JobKind::Save);
    assert_eq!(seen.abort_job().await.expect("asked"), JobKind::Save);
    let requested = bench.roots.run.join("jobs/watched.abort");
    assert!(requested.exists());
    go.send(()).expect("the save waits");
    let error = saving.await.expect("joined").expect_err("cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert_eq!(guest.state().await.expect("a state"), GuestState::Running);
    assert_eq!(files(bench.root()), Vec::<String>::new());
    assert_eq!(seen.job().await.expect("readable"), None);
    let last = seen.last_job().await.expect("readable").expect("kept");
    assert_eq!(last.outcome, Some(JobOutcome::Cancelled));
    assert!(!requested.exists(), "a request is for one job");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}
