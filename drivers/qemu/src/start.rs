//! One start, stage by stage, and how it is undone.
//!
//! ```text
//! spawn ── pid* ── gate ── handshake ── monitor* ── pins ── run
//!   │        │       │         │            │         │      │
//!   └────────┴───────┴─────────┴────────────┴─────────┴──────┴──> any error or cancel: kill, sweep, tell
//! ```

mod limited;
mod prepare;
mod talk;

use std::{sync::Arc, time::Duration};

use polyvirt_core::{
    Error, ErrorKind, LiveConfig, LiveEffect, Result, Stage, StartContext, StartHow, StartRequest, Started,
    placement::Owner,
};
use polyvirt_process::{Child, Credentials, GatedChild, ProcessId, Signal, Watched};
use polyvirt_qmp::{Cont, Events, Monitor};

use crate::{
    companions::Recorded,
    config::CgroupUse,
    domain::{Nodes, Parts, Process, QemuDomain},
    driver::Qemu,
    failure::{explain, not_started},
    labels,
    log::Log,
    orders,
    places::Places,
    plug::Builder,
    probe::Binary,
    runnable,
    status::Record,
    taps::Taps,
};

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
