//! One start, stage by stage, and how it is undone.
//!
//! ```text
//! spawn ── pid* ── gate ── handshake ── monitor* ── pins ── run
//!   │        │       │         │            │         │      │
//!   └────────┴───────┴─────────┴────────────┴─────────┴──────┴──> any error or cancel: kill, sweep, tell
//! ```

use std::{
    fs::File,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use polyvirt_core::{
    DeviceRef, Error, ErrorKind, LiveConfig, LiveEffect, Result, SavedStream, Stage, StartContext, StartHow,
    StartRequest, Started, io_error,
    model::{DomainConfig, memory::BackingType},
    placement::{MemMode, MemPolicy, Owner, Plan, Weakening},
};
use polyvirt_process::{
    Child, Credentials, ExitStatus, GatedChild, IdTooLarge, KeptFd, Limit, ProcessId, Resource, Signal, SpawnSpec,
    Stdio, Watched,
    cgroup::{Cgroup, Hierarchy, Part},
    spawn,
};
use polyvirt_qmp::{
    Chardev, Cont, Cpu, Events, IoThread, Monitor, QmpError, QueryChardev, QueryCpusFast, QueryIoThreads,
};

use crate::{
    command::{self, ConsoleTarget, MonitorAt, firmware},
    companions::{self, Recorded},
    config::CgroupUse,
    domain::{Nodes, Parts, Process, QemuDomain, load},
    driver::Qemu,
    failure::{cgroup_error, ended, explain, monitor_error, not_started},
    labels, limits,
    log::Log,
    orders,
    pins::{self, Placer, Threads},
    places::{Places, make_folder},
    plug::Builder,
    probe::Binary,
    program, runnable,
    status::Record,
    taps::{self, Taps},
};

/// The descriptor on which QEMU finds its monitor's listening socket.
const MONITOR_FD: i32 = 3;

/// How long undoing may wait for what it killed.
const UNDO: Duration = Duration::from_secs(5);

pub(crate) async fn start(driver: &Qemu, cx: &StartContext, request: StartRequest) -> Result<Started> {
    let binary = driver.binary(&request.live.config).await?;
    let places = driver.places(&request.live.guest());
    let user = labels::user(&request.live.config, driver.run_as.credentials.as_ref())?;
    let mut attempt = Attempt {
        driver,
        cx,
        request,
        binary,
        places,
        user,
        stage: Stage::Spawn,
        process: None,
        child: None,
        gated: Vec::new(),
        companions: Vec::new(),
        log: None,
        effects: Vec::new(),
        taps: Taps::default(),
    };
    let reading = attempt.request.how.patience(&attempt.request.live.config);
    let within = driver.config.start_timeout().saturating_add(reading);
    match cx.deadline.wait("the start", tokio::time::timeout(within, attempt.run())).await {
        Ok(Ok(Ok(started))) => Ok(started),
        Ok(Ok(Err(error))) => Err(attempt.undo(error).await),
        Ok(Err(_)) => {
            let seconds = within.as_secs();
            let error = Error::new(ErrorKind::Timeout, format!("the start did not come to its end within {seconds} s"))
                .hint("see the log; a slow host may want a larger 'start_timeout'");
            Err(attempt.undo(error).await)
        }
        Err(error) => Err(attempt.undo(error).await),
    }
}

/// What QEMU says of its vCPUs, character devices and I/O threads.
type Answers = (Vec<Cpu>, Vec<Chardev>, Vec<IoThread>);

struct Attempt<'a> {
    driver: &'a Qemu,
    cx: &'a StartContext,
    request: StartRequest,
    binary: Arc<Binary>,
    places: Places,
    /// Whom the guest runs as, if not as ourselves.
    user: Option<Credentials>,
    stage: Stage,
    /// Known from the fork on, whatever becomes of the handle.
    process: Option<ProcessId>,
    child: Option<Child>,
    /// What serves its devices, each at its gate until the record names it.
    gated: Vec<GatedChild>,
    companions: Vec<Recorded>,
    log: Option<Log>,
    effects: Vec<LiveEffect>,
    /// Until the guest's process has them.
    taps: Taps,
}

impl Attempt<'_> {
    async fn run(&mut self) -> Result<Started> {
        self.cx.cancel.check()?;
        runnable::check(&self.live().config, &self.binary).map_err(Error::invalid_config)?;
        if let Some(warning) = &self.driver.run_as.warning {
            self.weakened("a user of their own for guests", warning);
        }
        if !self.builder().sandboxed() {
            let why = if self.driver.config.sandbox {
                "this QEMU was built without seccomp"
            } else {
                "the settings say sandbox = false"
            };
            self.weakened("QEMU's sandbox", why);
        }
        let gated = self.spawn().await?;
        self.process = Some(gated.id());
        self.reached(Stage::Spawn).await?;

        self.stage = Stage::Pid;
        let mut record = self.record(&gated)?;
        self.cx.journal.record(Stage::Pid, &record.write()?).await?;
        self.cx.cancel.check()?;

        self.stage = Stage::Gate;
        // Not abandoned when cancelled: it takes milliseconds, and afterwards there is somebody to kill.
        // On a host that is busy with many starts the program waits for its turn, so it has as long as all of the start.
        let within = self.cx.deadline.left().min(self.driver.config.start_timeout());
        for companion in std::mem::take(&mut self.gated) {
            // The handle is not needed: the record finds it again.
            drop(companion.open_gate(within).await.map_err(not_started)?);
        }
        self.child = Some(gated.open_gate(within).await.map_err(not_started)?);
        self.reached(Stage::Gate).await?;

        self.stage = Stage::Handshake;
        let (monitor, events) = self.handshake().await?;
        self.plug_vcpus(&monitor).await?;
        self.reached(Stage::Handshake).await?;

        self.stage = Stage::Monitor;
        record.answered = true;
        let record = record.write()?;
        // QEMU is slow to its first answer, so it is asked while the record becomes durable.
        let (recorded, answers) =
            tokio::join!(self.cx.journal.record(Stage::Monitor, &record), self.first_answers(&monitor));
        recorded?;

        self.stage = Stage::Pins;
        self.place(answers?).await?;
        let within = || self.cx.deadline.left().min(self.driver.config.start_timeout());
        let orders = orders::give(&monitor, &self.live().config, &self.driver.config, within);
        self.cx.cancel.guard(orders).await??;
        self.reached(Stage::Pins).await?;

        self.stage = Stage::Run;
        let paused = match &self.request.how {
            StartHow::Boot { paused } => *paused,
            StartHow::Restore(stream) => {
                self.load(&monitor, &stream.clone()).await?;
                true
            }
            StartHow::Revert(snapshot) => {
                let nodes = Nodes::of(&monitor, &self.live().config, &self.places, snapshot)?;
                self.cx.cancel.guard(nodes.load()).await??;
                true
            }
            _ => false,
        };
        if !paused {
            self.execute(&monitor, &Cont {}).await?;
        }
        self.reached(Stage::Run).await?;
        self.started(monitor, events, !paused)
    }

    /// Has QEMU read what the guest is restored from. If it cannot, it ends itself and its last words say why.
    async fn load(&self, monitor: &Monitor, stream: &SavedStream) -> Result<()> {
        let Some(child) = &self.child else { return Err(Error::new(ErrorKind::Internal, "there is no child")) };
        let loaded = async {
            tokio::select! {
                biased;
                status = child.wait() => Err(ended(status.unwrap_or(ExitStatus::Unknown))),
                loaded = load(monitor, stream) => match loaded {
                    // It closes the monitor a moment before it is gone.
                    Err(error) if monitor.close_reason().is_some() => {
                        match tokio::time::timeout(Duration::from_secs(1), child.wait()).await {
                            Ok(status) => Err(ended(status.unwrap_or(ExitStatus::Unknown))),
                            Err(_) => Err(error),
                        }
                    }
                    loaded => loaded,
                },
            }
        };
        self.cx.cancel.guard(loaded).await?
    }

    /// Says that the stage is done, and looks whether to go on.
    async fn reached(&self, stage: Stage) -> Result<()> {
        self.cx.journal.reached(stage).await?;
        self.cx.cancel.check()
    }

    fn weakened(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.effects.push(LiveEffect::Weakened { what: what.into(), why: why.into() });
    }

    fn builder(&self) -> Builder {
        self.driver.builder(self.binary.clone(), &self.places)
    }

    fn live(&self) -> &LiveConfig {
        &self.request.live
    }

    async fn spawn(&mut self) -> Result<GatedChild> {
        // What stays with the definition may take its time on a disk.
        let (places, user) = (self.places.clone(), self.user.clone());
        let (config, folder) = (self.live().config.clone(), self.driver.config.nvram_dir.clone());
        blocking(move || make_variables(&config, &places, &folder, user.as_ref())).await?;
        self.open_taps().await?;
        let log = self.open_log().await?;
        // What reap has to find is made here and not on a thread of its own, which would go on if we are dropped. It is a
        // few calls to file systems in memory.
        let listener = self.make_places()?;
        let serving = log.try_clone().map_err(|error| io_error("open", &self.places.log, error))?;
        let spec = self.spec(listener, log)?;
        for companion in companions::of(&self.live().config, &self.places, &self.driver.search)? {
            let cgroups = match self.places.cgroup() {
                Some(group) => group.join_files(Part::Emulator).map_err(|error| cgroup_error(&error))?,
                None => Vec::new(),
            };
            let (gated, recorded) = companion.prepare(self.user.as_ref(), &serving, cgroups)?;
            self.gated.push(gated);
            self.companions.push(recorded);
        }
        spawn(&spec).map_err(not_started)
    }

    /// Opens the taps, and writes their names into the definition. A thread whose result nobody wants any more closes them again.
    async fn open_taps(&mut self) -> Result<()> {
        let config = self.live().config.clone();
        self.taps = blocking(move || taps::open(&config)).await?;
        for (card, name) in self.taps.made() {
            let effect = LiveEffect::NetworkDevice { device: DeviceRef::new("interface", card), name: name.clone() };
            self.effects.push(effect);
            if let Some(card) = self.request.live.config.devices.interfaces.get_mut(card) {
                card.target.get_or_insert_default().dev = Some(name);
            }
        }
        Ok(())
    }

    fn make_places(&self) -> Result<OwnedFd> {
        let (places, user) = (&self.places, self.user.as_ref());
        places.make(user)?;
        let backing = self.live().config.memory_backing.as_ref();
        if backing.and_then(|it| it.source.as_ref()).and_then(|it| it.kind) == Some(BackingType::File) {
            make_folder(&places.folders.ram, 0o700, user)?;
        }
        let listener = UnixListener::bind(&places.monitor);
        listener.map(OwnedFd::from).map_err(|error| io_error("listen on", &places.monitor, error))
    }

    fn arguments(&self) -> Result<Vec<String>> {
        let incoming = matches!(self.request.how, StartHow::Restore(_)).then_some("defer");
        let monitor = MonitorAt::Descriptor(MONITOR_FD);
        let (config, plan) = (&self.live().config, self.request.plan.as_ref());
        self.builder().arguments(config, plan, &self.taps.handed(), monitor, incoming)
    }

    /// Opens the log and writes down what is about to be run.
    async fn open_log(&mut self) -> Result<File> {
        let user = self.user.as_ref();
        let about = format!(
            "starting '{}' with QEMU {} as {}:\n{}",
            self.live().config.name,
            self.binary.version,
            user.map_or_else(|| "ourselves".into(), |it| format!("user {}", it.uid)),
            command::shell(&self.binary.path, &self.arguments()?)
        );
        let (path, max) = (self.places.log.clone(), self.driver.config.log_max_bytes);
        let (log, file) = blocking(move || Log::open(&path, max, &about)).await?;
        self.log = Some(log);
        Ok(file)
    }

    fn spec(&mut self, listener: OwnedFd, log: File) -> Result<SpawnSpec> {
        let mut spec = SpawnSpec::new(&self.binary.path);
        spec.args = self.arguments()?.into_iter().map(Into::into).collect();
        spec.env = program::environment();
        let extra = command::extra_environment(&self.live().config, &self.driver.config);
        spec.env.extend(extra.into_iter().map(|(name, value)| (name.into(), value.into())));
        spec.keep = vec![KeptFd::new(listener, MONITOR_FD)];
        // From here on they are the guest's alone, and go with it.
        spec.keep.extend(std::mem::take(&mut self.taps).keep());
        spec.credentials = self.user.clone();
        spec.no_new_privs = true;
        if self.live().config.memory_backing.as_ref().is_some_and(|it| it.locked) {
            spec.limits.push((Resource::LockedMemory, Limit::exactly(Limit::INFINITY)));
        }
        spec.stdout = Stdio::Fd(log.try_clone().map_err(|error| io_error("open", &self.places.log, error))?.into());
        spec.stderr = Stdio::Fd(log.into());
        self.place_process(&mut spec)?;
        self.limit_memory(&mut spec);
        Ok(spec)
    }

    /// What the process may use of the host's memory is set before it takes any.
    fn limit_memory(&mut self, spec: &mut SpawnSpec) {
        let Some(limits) = limits::memory_of(&self.live().config) else { return };
        if self.driver.config.cgroups == CgroupUse::Never {
            self.weakened("limits of memory", "the settings say cgroups = \"never\"");
            return;
        }
        match limits::memory_at_start(&self.places, limits) {
            Ok(files) => spec.cgroups.extend(files),
            Err(error) => self.weakened("limits of memory", error.message()),
        }
    }

    /// What of the plan is set between fork and exec.
    fn place_process(&mut self, spec: &mut SpawnSpec) -> Result<()> {
        let Some(plan) = self.request.plan.clone() else { return Ok(()) };
        let large = |error: IdTooLarge| Error::new(ErrorKind::InvalidArgument, error.to_string());
        let cpus = plan.process.launch_cpus.as_ref().unwrap_or(&plan.process.cpus);
        if !cpus.is_empty() {
            spec.affinity = Some(pins::cpus(cpus).map_err(large)?);
        }
        if let Some(policy) = &plan.process.launch {
            spec.memory_policy = pins::policy(policy).map_err(large)?;
        }
        match self.group(&plan) {
            Ok(Some(group)) => {
                spec.cgroups = group.join_files(Part::Emulator).map_err(|error| cgroup_error(&error))?;
            }
            Ok(None) => {}
            Err(why) => {
                self.weakened("cpuset cgroups", &why);
                // The next best: what the cpuset would have allowed, as the policy of the process.
                if let (Some(mems), None) = (&plan.process.mems, &spec.memory_policy) {
                    spec.memory_policy = pins::policy(&MemPolicy::new(MemMode::Strict, mems.clone())).map_err(large)?;
                }
            }
        }
        Ok(())
    }

    /// The guest's cgroup, if the plan has need of one; why there is none if there should be.
    fn group(&self, plan: &Plan) -> Result<Option<Cgroup>, String> {
        if !pins::confines(plan) {
            return Ok(None);
        }
        if self.driver.config.cgroups == CgroupUse::Never {
            return Err("the settings of the qemu driver say cgroups = \"never\"".into());
        }
        let hierarchy = Hierarchy::detect().map_err(|it| it.to_string())?;
        let group = hierarchy.create(&self.places.group).map_err(|it| it.to_string())?;
        let part = group.part(Part::Emulator).map_err(|it| it.to_string())?;
        if let Some(mems) = &plan.process.mems {
            let nodes = pins::nodes(mems).map_err(|it| it.to_string())?;
            part.set_mems(&nodes).map_err(|it| it.to_string())?;
        }
        Ok(Some(group))
    }

    fn record(&self, gated: &GatedChild) -> Result<Record> {
        let owner = Owner::of_pid(gated.id().pid)
            .map_err(|error| Error::new(ErrorKind::Hypervisor, "the child ended at its gate").source(error))?;
        let log = self.log.as_ref();
        Ok(Record {
            process: gated.id(),
            owner,
            uuid: self.live().guest().uuid,
            monitor: self.places.monitor.clone(),
            log: self.places.log.clone(),
            log_begins: log.map_or(0, |it| it.begins),
            companions: self.companions.clone(),
            answered: false,
        })
    }

    /// Connects to the socket, which has listened since before QEMU was run; so there is nothing to wait for but QEMU.
    async fn handshake(&self) -> Result<(Monitor, Events)> {
        let Some(child) = &self.child else { return Err(Error::new(ErrorKind::Internal, "there is no child")) };
        let within = self.cx.deadline.left().min(self.driver.config.start_timeout());
        let greeted = async {
            tokio::select! {
                biased;
                connected = Monitor::connect(&self.places.monitor, within) => connected.map_err(|error| (error, None)),
                status = child.wait() => {
                    let closed = QmpError::Timeout { command: "greeting".into(), after: Duration::ZERO };
                    Err((closed, Some(status.unwrap_or(ExitStatus::Unknown))))
                }
            }
        };
        match self.cx.cancel.guard(greeted).await? {
            Ok(connected) => Ok(connected),
            Err((_, Some(status))) => Err(ended(status)),
            // It closes the monitor a moment before it is gone.
            Err((error, None)) if error.is_closed() => {
                match tokio::time::timeout(Duration::from_secs(1), child.wait()).await {
                    Ok(status) => Err(ended(status.unwrap_or(ExitStatus::Unknown))),
                    Err(_) => Err(monitor_error(&error)),
                }
            }
            Err((error, None)) => Err(monitor_error(&error)),
        }
    }

    async fn execute<C: polyvirt_qmp::Command + Sync>(&self, monitor: &Monitor, command: &C) -> Result<C::Reply> {
        let within = self.cx.deadline.left().min(self.driver.config.start_timeout());
        self.cx.cancel.guard(monitor.execute(command, within)).await?.map_err(|error| monitor_error(&error))
    }

    /// vCPUs that can be unplugged are plugged in, and not of the command line.
    async fn plug_vcpus(&self, monitor: &Monitor) -> Result<()> {
        let wanted = self.live().config.removable_vcpus();
        if wanted.is_empty() {
            return Ok(());
        }
        let within = self.cx.deadline.left().min(self.driver.config.start_timeout());
        self.cx.cancel.guard(crate::domain::plug_at_start(monitor, &wanted, within)).await?
    }

    /// Asks QEMU for its threads and terminals in one round.
    async fn first_answers(&self, monitor: &Monitor) -> Result<Answers> {
        let has_io_threads = !self.live().config.io_thread_ids().is_empty();
        let io_threads =
            async { if has_io_threads { self.execute(monitor, &QueryIoThreads {}).await } else { Ok(Vec::new()) } };
        tokio::try_join!(self.execute(monitor, &QueryCpusFast {}), self.execute(monitor, &QueryChardev {}), io_threads)
    }

    /// Puts the threads in their places.
    async fn place(&mut self, (cpus, chardevs, io): Answers) -> Result<()> {
        let pid = self.child.as_ref().map_or(0, |it| it.id().pid);
        let threads = crate::domain::threads_of(pid, &cpus, &io);
        self.terminals(&chardevs);
        let Some(plan) = self.request.plan.clone() else { return Ok(()) };
        let (places, with_group) = (self.places.clone(), pins::confines(&plan));
        let weakened = tokio::task::spawn_blocking(move || place_threads(&places, with_group, &threads, &plan)).await;
        for it in weakened.map_err(|error| Error::new(ErrorKind::Internal, "placing threads failed").source(error))? {
            self.weakened(it.what, it.why);
        }
        Ok(())
    }

    /// Where the terminals of character devices are.
    fn terminals(&mut self, chardevs: &[Chardev]) {
        let config = &self.request.live.config;
        let find = |target: ConsoleTarget| {
            let id = target.chardev(config);
            chardevs.iter().find(|it| it.label == id)?.filename.strip_prefix("pty:").map(std::path::PathBuf::from)
        };
        let serials = (0..config.devices.serials.len()).map(|at| ("serial", at, Some(ConsoleTarget::Serial(at))));
        let consoles =
            (0..config.devices.consoles.len()).map(|at| ("console", at, command::console_target(config, at)));
        let found = serials.chain(consoles).filter_map(|(kind, at, target)| {
            Some(LiveEffect::CharacterDevice { device: DeviceRef::new(kind, at), path: find(target?)? })
        });
        let found: Vec<_> = found.collect();
        self.effects.extend(found);
    }

    fn started(&mut self, monitor: Monitor, events: Events, expect_resume: bool) -> Result<Started> {
        let (Some(child), Some(log)) = (self.child.take(), self.log.take()) else {
            return Err(Error::new(ErrorKind::Internal, "a start came to its end without a process"));
        };
        let parts = Parts {
            live: self.live().clone(),
            monitor,
            process: Process::Ours(child),
            places: self.places.clone(),
            log,
            companions: std::mem::take(&mut self.companions),
            signals: self.cx.events.clone(),
            expect_resume,
            cgroups: self.driver.config.cgroups != CgroupUse::Never,
            unplugs: self.driver.config.unplugs(&self.live().config),
            builder: Some(self.builder()),
        };
        Ok(Started::new(QemuDomain::attend(parts, events), std::mem::take(&mut self.effects)))
    }

    /// Leaves nothing, and tells everything: the stage, QEMU's last words, where the log is.
    async fn undo(&mut self, error: Error) -> Error {
        let child = self.child.take();
        // The handle is lost if the deadline passed while the gate was being opened; the process is not.
        if let Some(watched) = self.process.and_then(|it| Watched::open(it).ok().flatten()) {
            watched.kill(Signal::SIGKILL).ok();
            if tokio::time::timeout(UNDO, watched.exited()).await.is_err() {
                tracing::warn!(pid = watched.id().pid, "process does not end, its kernel call may hang");
            }
        }
        // Reaps it.
        drop(child);
        self.gated.clear();
        for it in &self.companions {
            it.end().await;
        }
        if let Some(group) = self.places.cgroup() {
            group.kill_all(UNDO).await.ok();
        }
        self.places.sweep(UNDO).await;
        explain(error.with("stage", self.stage), self.log.as_ref())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(ErrorKind::Internal, "preparing files failed").source(error))?
}

fn place_threads(places: &Places, with_group: bool, threads: &Threads, plan: &Plan) -> Vec<Weakening> {
    let group = if with_group { places.cgroup() } else { None };
    Placer { threads, group: group.as_ref() }.place(plan)
}

/// Copies the firmware's variables from their template, if the guest has none yet.
fn make_variables(config: &DomainConfig, places: &Places, usual: &Path, user: Option<&Credentials>) -> Result<()> {
    let Some(path) = firmware::variables(config, &places.folders) else { return Ok(()) };
    let Some(template) = config.os.as_ref().and_then(|it| it.nvram.as_ref()).and_then(|it| it.template.as_ref()) else {
        return Ok(());
    };
    if path.exists() {
        return Ok(());
    }
    if let Some(folder) = path.parent().filter(|it| *it == places.folders.nvram || *it == usual) {
        make_folder(folder, 0o711, None)?;
    }
    let bytes = std::fs::read(template).map_err(|error| io_error("read", Path::new(template), error))?;
    polyvirt_lease::write_atomic(&path, &bytes, 0o600, polyvirt_lease::Durability::Durable)
        .map_err(|error| io_error("write", &path, error))?;
    match user {
        Some(user) => std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid))
            .map_err(|error| io_error("change the owner of", &path, error)),
        None => Ok(()),
    }
}
