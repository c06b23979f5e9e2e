//! What a case works with: a driver on a fresh root, starts with a journal that remembers, and a look at what is left.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use polyvirt_core::{
    CancelSource, Custody, Deadline, Destroy, DomainEvents, DomainId, Driver, DriverDescriptor, DriverRecord, Error,
    Identity, Journal, JournalSink, Launcher, LiveConfig, OpenContext, ReapContext, Registry, Result, Roots, Settings,
    Signal, Stage, StartContext, StartHow, StartRequest, Started,
    model::{DomainConfig, ParseOptions},
    placement::{Plan, Promised, plan},
};
use polyvirt_engine::{Connection, OpenOptions};
use tokio::sync::mpsc;

/// A driver to be tested.
pub struct Subject {
    /// Its descriptor.
    pub descriptor: &'static DriverDescriptor,
    /// Its settings.
    pub settings: Settings,
    /// A small guest of that name, which starts fast and has two vCPUs and a serial port.
    pub xml: fn(&str) -> String,
    /// A device that can be put in and goes without the guest's help, if there is one.
    pub device: Option<&'static str>,
    /// A disk whose image holds snapshots, as XML; the image is made in this directory.
    pub disk: Option<fn(&std::path::Path) -> String>,
    /// Whether guests live in the testing process itself, so that their owner never dies before the test.
    pub in_process: bool,
    /// Why it cannot be tested here.
    pub skip: Option<String>,
}

impl Subject {
    /// A driver with default settings that can be tested here.
    #[must_use]
    pub fn new(descriptor: &'static DriverDescriptor, xml: fn(&str) -> String) -> Self {
        Self { descriptor, settings: Settings::default(), xml, device: None, disk: None, in_process: false, skip: None }
    }

    /// Sets [`Subject::device`].
    #[must_use]
    pub fn with_device(mut self, xml: &'static str) -> Self {
        self.device = Some(xml);
        self
    }

    /// Sets [`Subject::disk`].
    #[must_use]
    pub fn with_disk(mut self, make: fn(&std::path::Path) -> String) -> Self {
        self.disk = Some(make);
        self
    }

    /// Sets [`Subject::in_process`].
    #[must_use]
    pub fn in_process(mut self) -> Self {
        self.in_process = true;
        self
    }

    /// Skips all cases for this reason, unless `POLYVIRT_REQUIRE` names the driver.
    #[must_use]
    pub fn skip_for(mut self, reason: Option<String>) -> Self {
        self.skip = reason.filter(|reason| require(self.descriptor.name, reason));
        self
    }
}

/// Whether something may be skipped: true unless the list in `POLYVIRT_REQUIRE` names it, and then the test fails.
///
/// # Panics
/// When it is required.
#[must_use]
pub fn require(what: &str, reason: &str) -> bool {
    let required = std::env::var("POLYVIRT_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|word| word.trim() == what),
        "{what} is required by POLYVIRT_REQUIRE, but: {reason}"
    );
    true
}

/// What a start said to its journal.
#[derive(Clone, Debug, Default)]
pub struct Recorded(Arc<Mutex<Vec<Entry>>>);

/// A stage that was reached, with the record that was pushed at it.
type Entry = (Stage, Option<DriverRecord>);

impl Recorded {
    /// Stages in the order they were reached.
    #[must_use]
    pub fn stages(&self) -> Vec<Stage> {
        self.entries().iter().map(|(stage, _)| *stage).collect()
    }

    /// The last record.
    #[must_use]
    pub fn record(&self) -> Option<DriverRecord> {
        self.entries().iter().rev().find_map(|(_, record)| record.clone())
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happens when a stage is reached.
#[derive(Clone)]
pub(crate) enum At {
    /// Nothing.
    Never,
    /// The journal fails.
    Fail(Stage),
    /// The start is cancelled.
    Cancel(Stage, Arc<CancelSource>),
    /// The journal never returns, so that the start can be dropped there.
    Hang(Stage, mpsc::Sender<()>),
}

struct Sink {
    recorded: Recorded,
    at: At,
}

impl Sink {
    async fn happen(&self, stage: Stage) -> Result<()> {
        match &self.at {
            At::Fail(s) if *s == stage => {
                Err(Error::new(polyvirt_core::ErrorKind::Storage, "the journal is full, says the test"))
            }
            At::Cancel(s, source) if *s == stage => {
                source.cancel();
                Ok(())
            }
            At::Hang(s, told) if *s == stage => {
                told.send(()).await.ok();
                std::future::pending().await
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl JournalSink for Sink {
    async fn reached(&self, stage: Stage) -> Result<()> {
        self.recorded.entries().push((stage, None));
        self.happen(stage).await
    }
    async fn record(&self, stage: Stage, record: &DriverRecord) -> Result<()> {
        self.recorded.entries().push((stage, Some(record.clone())));
        self.happen(stage).await
    }
}

/// A guest that a case started at the driver.
pub(crate) struct Run {
    pub(crate) live: LiveConfig,
    pub(crate) recorded: Recorded,
    pub(crate) signals: mpsc::Receiver<Signal>,
    pub(crate) started: Result<Started>,
}

/// A driver on a fresh root.
pub struct Bench {
    pub(crate) subject: Subject,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) roots: Roots,
    dir: tempfile::TempDir,
    /// The last start and its journal: what an engine would find on disk after a crash.
    last: Mutex<Option<(LiveConfig, Recorded)>>,
}

impl Drop for Bench {
    /// A case that failed leaves its guest running: that is what guests are made for.
    fn drop(&mut self) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((live, recorded)) = last.filter(|_| std::thread::panicking()) else { return };
        let (driver, roots) = (self.driver.clone(), self.roots.clone());
        // A runtime cannot be waited for inside another one.
        let reaping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let cx = ReapContext::new(live.guest(), roots, Deadline::after(Duration::from_secs(20)));
            let reaped = runtime.block_on(async { launcher(&*driver).reap(&cx, recorded.record().as_ref()).await });
            reaped.map(drop).map_err(std::io::Error::other)
        });
        if let Ok(Err(error)) = reaping.join() {
            eprintln!("the guest of a failed case may still run: {error}");
        }
    }
}

impl Bench {
    /// Opens the driver on a new directory.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn new(subject: Subject) -> Self {
        let dir = tempfile::Builder::new().prefix("pv").tempdir().expect("a temporary directory");
        // Root's hypervisors may run as another user, who must be able to pass through.
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("rights of the directory");
        let mut roots = Roots::embedded(dir.path(), subject.descriptor.name, false);
        roots.numa = dir.path().join("numa");
        for made in [&roots.run, &roots.config, &roots.state, &roots.log, &roots.cache] {
            std::fs::create_dir_all(made).expect("directories");
        }
        let driver = open(&subject, &roots).await;
        Self { subject, driver, roots, dir, last: Mutex::default() }
    }

    /// The directory that all is kept in.
    #[must_use]
    pub fn root(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Another opened instance, as another process would have.
    pub(crate) async fn another_driver(&self) -> Arc<dyn Driver> {
        open(&self.subject, &self.roots).await
    }

    pub(crate) fn launcher(&self) -> &dyn Launcher {
        launcher(&*self.driver)
    }

    /// The subject's guest, completed.
    pub(crate) async fn config(&self, name: &str) -> DomainConfig {
        let parsed =
            DomainConfig::parse(&(self.subject.xml)(name), &ParseOptions::default()).expect("the subject's definition");
        let mut config = parsed.config;
        polyvirt_core::model::complete_and_check(&mut config, polyvirt_core::model::Guest::Existing, &parsed.positions)
            .expect("the subject's definition is completed");
        let facts = self.driver.facts(&config).await.expect("facts");
        self.driver.complete(&mut config, &facts).expect("completed");
        self.driver.check(&config, &facts).expect("checked");
        config
    }

    /// A plan on this host, when the driver lets us place.
    pub(crate) fn plan(&self, config: &DomainConfig) -> Option<Plan> {
        let profile = self.driver.placement()?;
        let topology = polyvirt_host::Host::at("/").topology().expect("this host's topology");
        let request = config.placement_request().expect("a request");
        Some(plan(&topology, &Promised::default(), profile, &request).expect("a plan"))
    }

    pub(crate) async fn start(&self, name: &str, paused: bool) -> Run {
        self.start_with(name, paused, At::Never, &CancelSource::default()).await
    }

    /// Starts the subject's guest with changes of its definition.
    pub(crate) async fn start_changed(&self, name: &str, paused: bool, change: impl FnOnce(&mut DomainConfig)) -> Run {
        let mut config = self.config(name).await;
        change(&mut config);
        self.start_config(config, StartHow::Boot { paused }, At::Never, &CancelSource::default()).await
    }

    pub(crate) async fn start_with(&self, name: &str, paused: bool, at: At, cancel: &CancelSource) -> Run {
        self.start_how(name, StartHow::Boot { paused }, at, cancel).await
    }

    pub(crate) async fn start_how(&self, name: &str, how: StartHow, at: At, cancel: &CancelSource) -> Run {
        self.start_config(self.config(name).await, how, at, cancel).await
    }

    async fn start_config(&self, config: DomainConfig, how: StartHow, at: At, cancel: &CancelSource) -> Run {
        let plan = self.plan(&config);
        // Every start has a number of its own, as the engine gives them.
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let live = LiveConfig::new(config, DomainId(id));
        let recorded = Recorded::default();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((live.clone(), recorded.clone()));
        let (events, signals) = DomainEvents::channel();
        let journal = Journal::new(Arc::new(Sink { recorded: recorded.clone(), at }));
        let cx = StartContext::new(journal, events, cancel.token(), Deadline::after(Duration::from_secs(60)));
        let request = StartRequest::new(live.clone(), plan, how);
        let started = self.launcher().start(&cx, request).await;
        Run { live, recorded, signals, started }
    }

    /// The guest of the last start, also of one that was dropped, and its record.
    pub(crate) fn last_start(&self) -> (LiveConfig, Option<DriverRecord>) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (live, recorded) = last.expect("something was started");
        (live, recorded.record())
    }

    pub(crate) async fn reap(&self, run: &LiveConfig, record: Option<&DriverRecord>) -> Result<polyvirt_core::Reaped> {
        let cx = ReapContext::new(run.guest(), self.roots.clone(), Deadline::after(Duration::from_secs(20)));
        self.launcher().reap(&cx, record).await
    }

    /// Whether the guest of a record is alive.
    pub(crate) fn is_alive(&self, record: Option<&DriverRecord>) -> bool {
        record.and_then(|r| self.launcher().owner(r)).is_some_and(|owner| owner.is_alive())
    }

    /// Ends a guest and cleans up after it.
    pub(crate) async fn end(&self, run: Run) {
        if let Ok(started) = &run.started {
            started.domain.destroy(Destroy::default()).await.expect("destroyed");
        }
        self.reap(&run.live, run.recorded.record().as_ref()).await.expect("reaped");
    }

    /// A connection of the engine to this root.
    pub(crate) async fn connect(&self, options: impl FnOnce(&mut OpenOptions)) -> Connection {
        let mut registry = Registry::empty();
        registry.add(self.subject.descriptor).expect("an empty registry takes a driver");
        let mut open = OpenOptions::new(registry).settings(self.subject.settings.clone());
        open.roots = Some(self.roots.clone());
        options(&mut open);
        Connection::open(
            &format!("{}:///embed?root={}", self.subject.descriptor.schemes[0], self.root().display()),
            open,
        )
        .await
        .expect("connected")
    }

    /// The run directory holds nothing of a guest: no socket, record or lock.
    pub(crate) async fn nothing_left(&self) {
        let kept = ["history.jsonl", "next-id", ".ids", "jobs"];
        let left: Vec<_> = std::fs::read_dir(&self.roots.run)
            .expect("the run directory")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !kept.contains(&name.as_str()) && !name.ends_with(".owner"))
            .collect();
        assert!(left.is_empty(), "left in the run directory: {left:?}");
    }
}

async fn open(subject: &Subject, roots: &Roots) -> Arc<dyn Driver> {
    let uri = format!("{}:///embed", subject.descriptor.schemes[0]).parse().expect("a URI");
    let uid = std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m)).expect("procfs");
    let cx = OpenContext::new(uri, Identity::new(uid, uid == 0), roots.clone(), subject.settings.clone());
    (subject.descriptor.open)(cx).await.expect("the driver opens")
}

/// The starting half of a driver.
pub(crate) fn launcher(driver: &dyn Driver) -> &dyn Launcher {
    match driver.custody() {
        Custody::Ours(launcher) => launcher,
        _ => panic!("this suite is for drivers whose definitions are ours"),
    }
}
