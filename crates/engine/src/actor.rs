//! One actor per domain: it owns the guest's state in this process and does one thing at a time to it.
//!
//! ```text
//!             commands (one at a time)                signals of the driver
//!                     │                                        │
//!   free ──own──► owned ──start/reattach──► attached ◄─────────┘
//!     ▲             │                          │
//!     └──release────┴───────────Stopped────────┘
//! ```
//!
//! Destroy comes through a lane of its own and pre-empts: a start under way is cancelled, given [`GRACE`], then aborted. Questions
//! have a lane too: they are answered beside a change. Who waits longer than the connection's patience for a change of another is
//! told what it waits for. The actor never awaits the driver itself: calls run in tasks of their own, so a stuck hypervisor leaves
//! the actor answering.

mod attach;
mod change;
mod command;
mod devices;
mod end;
mod line;
mod long;
mod snapshots;

use std::{future::Future, sync::Arc, time::Duration};

use polyvirt_core::{
    CancelSource, Deadline, Destroy, Domain, DomainEvents, Error, ErrorKind, EventKind, GuestState, JobKind, Result,
    Signal, Stage, StateReason, StopReason, VcpusNow,
};
use polyvirt_lease::{Durability, OwnerLock};
use tokio::{sync::mpsc, task::JoinHandle};

use self::line::{Current, Place};
pub(crate) use self::{
    change::{Change, Held, Left, Slot},
    command::{ActorHandle, AtRest, Command, Origin, Reply},
};
use crate::{
    job::{Lane, StepWrite},
    options::Ownership,
    owner::own,
    shared::Shared,
    start::{Running, Start, Wanted},
    store::{StatusRecord, blocking},
};

/// How long a cancelled job may take before it is aborted.
const GRACE: Duration = Duration::from_secs(5);
/// How long one question to the hypervisor may take.
const CALL_TIME: Duration = Duration::from_secs(30);

struct Attached {
    domain: Arc<dyn Domain>,
    record: StatusRecord,
    signals: mpsc::Receiver<Signal>,
}

/// The actor; ends, and gives the guest up, when all its handles are gone.
pub(crate) struct Actor {
    shared: Arc<Shared>,
    name: String,
    lock: Option<OwnerLock>,
    attached: Option<Attached>,
    destroy: mpsc::Receiver<(Destroy, Reply<()>)>,
    waiting: Vec<(Destroy, Reply<()>)>,
    probes: mpsc::Receiver<(Duration, Reply<Arc<dyn Domain>>)>,
    looking: Vec<(Duration, Reply<Arc<dyn Domain>>)>,
    /// What jobs have us write, and their way to us.
    steps: mpsc::Receiver<StepWrite>,
    lane: Lane,
    /// The guest stopped while something was done to it.
    ended: Option<StopReason>,
    /// A block job is over, or in step with the guest.
    block_job_news: bool,
    current: Current,
}

impl Actor {
    /// Makes one in the current runtime.
    pub(crate) fn spawn(shared: Arc<Shared>, name: &str) -> ActorHandle {
        let (commands, mut inbox) = mpsc::channel(16);
        let (destroy, urgent) = mpsc::channel(4);
        let (probes, questions) = mpsc::channel(16);
        let (lane, steps) = mpsc::channel(1);
        let current = Current::default();
        let mut actor = Self {
            shared,
            name: name.to_owned(),
            lock: None,
            attached: None,
            destroy: urgent,
            waiting: Vec::new(),
            probes: questions,
            looking: Vec::new(),
            steps,
            lane: Lane(lane),
            ended: None,
            block_job_news: false,
            current: current.clone(),
        };
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    Some((how, reply)) = actor.destroy.recv() => actor.on_destroy(how, reply).await,
                    Some(signal) = next_signal(&mut actor.attached) => actor.on_signal(signal).await,
                    Some((patience, reply)) = actor.probes.recv() => actor.on_probe(patience, reply).await,
                    asked = inbox.recv() => match asked {
                        Some((command, place)) => actor.on_command(command, &place).await,
                        None => break,
                    },
                }
                actor.afterwards().await;
                actor.rest();
            }
        });
        ActorHandle { commands, probes, destroy, current }
    }

    /// Between operations: give the guest up if this process owns guests only while it works on them.
    fn rest(&mut self) {
        if self.shared.options.ownership == Ownership::WhileBusy || self.attached.is_none() {
            self.free();
        }
    }

    fn free(&mut self) {
        let running = self.attached.take().is_some();
        if let Some(lock) = self.lock.take() {
            if running {
                lock.release();
            } else if let Err(error) = lock.remove() {
                tracing::debug!(%error, "an owner file stays behind, unlocked");
            }
        }
    }

    /// What waited for the end of what was done.
    async fn afterwards(&mut self) {
        for (how, reply) in std::mem::take(&mut self.waiting) {
            self.on_destroy(how, reply).await;
        }
        if let Some(reason) = self.ended.take() {
            self.on_signal(Signal::Stopped(reason)).await;
        }
        while self.block_job_news {
            self.settle_block_jobs().await;
        }
        for (patience, reply) in std::mem::take(&mut self.looking) {
            self.on_probe(patience, reply).await;
        }
    }

    async fn on_probe(&mut self, patience: Duration, reply: Reply<Arc<dyn Domain>>) {
        if reply.is_closed() {
            return;
        }
        let done = self.domain("look into", patience).await;
        self.answer(reply, done);
    }

    async fn on_command(&mut self, command: Command, place: &Place) {
        if !place.serve() {
            return;
        }
        let _doing = self.current.begin(command.name());
        match command {
            Command::Start { origin, reply } => {
                let done = self.start_from(origin).await;
                self.answer(reply, done);
            }
            Command::Do { what, reply } => {
                let done = self.change(what).await;
                self.answer(reply, done);
            }
            Command::Rest { name, work, reply } => {
                let done = self.at_rest(name, work).await;
                self.answer(reply, done);
            }
            Command::Release { reply } => {
                self.free();
                self.answer(reply, Ok(()));
            }
        }
    }

    async fn on_destroy(&mut self, how: Destroy, reply: Reply<()>) {
        let done = self.end(how).await;
        self.answer(reply, done);
    }

    /// The guest is given up before the answer, so that whoever has it finds the guest free. A caller who went away gets no
    /// answer; the work is done all the same.
    fn answer<T>(&mut self, reply: Reply<T>, done: Result<T>) {
        self.rest();
        drop(reply.send(done));
    }

    async fn own(&mut self, purpose: &str) -> Result<()> {
        self.own_within(purpose, self.shared.options.wait_for_owner).await
    }

    async fn own_within(&mut self, purpose: &str, patience: Duration) -> Result<()> {
        if self.lock.is_none() {
            self.lock = Some(own(&self.shared.records, &self.name, purpose, patience).await?);
        }
        Ok(())
    }

    async fn record(&self) -> Result<Option<StatusRecord>> {
        let (records, name) = (self.shared.records.clone(), self.name.clone());
        blocking(move || records.get(&name)).await
    }

    /// Owns the guest, of which nothing runs.
    async fn own_to_start(&mut self) -> Result<()> {
        self.own("start").await.map_err(|e| e.operation("start").with("stage", Stage::Admit))?;
        if self.attached.is_some() {
            return Err(already_running(&self.name));
        }
        if let Some(record) = self.record().await?
            && self.shared.settle(&record).await?
        {
            return Err(already_running(&self.name));
        }
        self.settle_at_rest().await
    }

    /// Starts the guest that we own.
    async fn start(&mut self, wanted: Wanted, source: &CancelSource) -> Result<()> {
        let (events, signals) = DomainEvents::channel();
        let start = Start { shared: self.shared.clone(), wanted, events, cancel: source.token() };
        let running = self.job(source, start.run()).await;
        if let Err(error) = &running
            && error.kind() == ErrorKind::Internal
            && let Some(record) = self.record().await?
        {
            // Aborted or panicked: the same clean-up as after a crash.
            self.shared.settle(&record).await?;
        }
        let Running { domain, record } = running?;
        self.ended = None;
        self.attached = Some(Attached { domain, record, signals });
        Ok(())
    }

    /// Runs a job in a task of its own; a destroy that comes meanwhile cancels it and is answered when it is over.
    async fn job<T: Send + 'static>(
        &mut self,
        source: &CancelSource,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut task = tokio::spawn(work);
        let mut until = None;
        loop {
            tokio::select! {
                biased;
                done = &mut task => return finished(done),
                () = passed(until) => return abort(task).await,
                Some(destroy) = self.destroy.recv() => {
                    self.waiting.push(destroy);
                    source.cancel();
                    until.get_or_insert_with(|| Deadline::after(GRACE));
                }
                Some(step) = self.steps.recv() => self.on_step(step).await,
                Some(signal) = next_signal(&mut self.attached) => match signal {
                    // The job learns it too, and fails; then the end is looked after.
                    Signal::Stopped(reason) => self.ended = Some(reason),
                    news => self.news(news).await,
                },
                Some((patience, reply)) = self.probes.recv() => match &self.attached {
                    Some(attached) => drop(reply.send(Ok(attached.domain.clone()))),
                    None => self.looking.push((patience, reply)),
                },
            }
        }
    }

    /// The running domain, attaching to it if need be, which waits so long for another owner.
    async fn domain(&mut self, purpose: &str, patience: Duration) -> Result<Arc<dyn Domain>> {
        if self.attached.is_none() {
            self.own_within(purpose, patience).await?;
            self.reattach().await?;
        }
        let attached = self.attached.as_ref().ok_or_else(|| not_running(&self.name))?;
        Ok(attached.domain.clone())
    }

    async fn change(&mut self, what: Change) -> Result<()> {
        let Change { name, time, work } = what;
        let domain = self.domain(name, self.shared.options.wait_for_owner).await?;
        self.settled().await?;
        let Some(attached) = &self.attached else { return Err(not_running(&self.name)) };
        let source = Arc::new(CancelSource::default());
        let driver = self.shared.driver.descriptor().name;
        let (record, lane) = (attached.record.clone(), self.lane.clone());
        let work = work(Held { domain, record, driver, lane, cancel: source.clone() });
        let work = async move {
            match time {
                Some(time) => Deadline::after(time).wait(name, work).await?,
                None => work.await,
            }
        };
        let mut left = self.job(&source, work).await?;
        // What the guest told of it meanwhile comes first.
        while let Some(signal) = self.attached.as_mut().and_then(|it| it.signals.try_recv().ok()) {
            match signal {
                Signal::Stopped(reason) => self.ended = Some(reason),
                news => self.news(news).await,
            }
        }
        if let Some(reason) = left.take_end() {
            return self.over(reason).await;
        }
        if let Some((state, reason)) = left.take_state() {
            self.set_state(state, reason).await.map_err(only_recorded)?;
        }
        let failed = left.take_error();
        self.keep(left).await.map_err(only_recorded)?;
        failed.map_or(Ok(()), Err)
    }

    /// Writes down what a change left.
    async fn keep(&mut self, left: Left) -> Result<()> {
        let Some(attached) = &mut self.attached else { return Ok(()) };
        let (changed, event) = left.into_record(&mut attached.record)?;
        if let Some(event) = event {
            self.shared.history.tell(attached.record.guest.clone(), event);
        }
        if changed { write(&self.shared, &attached.record).await } else { Ok(()) }
    }

    /// Why a guest is paused that does not say so itself: a job does it, or somebody asked for it.
    fn who_pauses(&self) -> StateReason {
        match self.attached.as_ref().and_then(|it| it.record.job.as_ref()).map(|it| it.kind) {
            Some(JobKind::Save) => StateReason::Saving,
            Some(JobKind::Dump) => StateReason::Dumping,
            Some(JobKind::Snapshot | JobKind::SnapshotRevert) => StateReason::Snapshot,
            _ => StateReason::User,
        }
    }

    /// Keeps a state that is new, and tells it.
    async fn set_state(&mut self, state: GuestState, reason: StateReason) -> Result<()> {
        let Some(attached) = &mut self.attached else { return Ok(()) };
        if attached.record.state == state {
            // Whoever did it knows better than what the guest tells of it, which may come before or after.
            let usual = matches!(reason, StateReason::User | StateReason::Unpaused | StateReason::Unknown);
            if attached.record.reason == Some(reason) || (usual && attached.record.reason.is_some()) {
                return Ok(());
            }
            attached.record.reason = Some(reason);
            return write(&self.shared, &attached.record).await;
        }
        attached.record.reason = Some(reason);
        let event = match (&attached.record.state, &state) {
            (_, GuestState::Paused) => Some(EventKind::Suspended),
            (GuestState::PmSuspended, GuestState::Running) => Some(EventKind::Woken),
            (_, GuestState::Running) => Some(EventKind::Resumed),
            (_, GuestState::PmSuspended) => Some(EventKind::Asleep),
            (_, GuestState::InShutdown) => Some(EventKind::Shutdown),
            _ => None,
        };
        attached.record.state = state;
        let written = write(&self.shared, &attached.record).await;
        // Whoever hears of it and looks finds it so.
        if let Some(event) = event {
            self.shared.history.tell(attached.record.guest.clone(), event);
        }
        written
    }

    /// Keeps which vCPUs there are, if that is new.
    async fn set_vcpus(&mut self, now: &VcpusNow) -> Result<()> {
        let Some(attached) = &mut self.attached else { return Ok(()) };
        let mut config = attached.record.live()?.config;
        if config.online_vcpus() == now.online {
            return Ok(());
        }
        crate::vcpus::note(&mut config, now);
        attached.record.set_live(&config);
        let online = u32::try_from(now.online.len()).unwrap_or(u32::MAX);
        self.shared.history.tell(attached.record.guest.clone(), EventKind::VcpusChanged { online });
        write(&self.shared, &attached.record).await
    }

    async fn on_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Stopped(reason) => {
                let done = self.stopped(reason).await;
                self.kept(done);
            }
            news => self.news(news).await,
        }
    }

    /// What a guest reports that goes on.
    async fn news(&mut self, signal: Signal) {
        let done = match signal {
            Signal::Paused => self.set_state(GuestState::Paused, self.who_pauses()).await,
            Signal::PausedBy(reason) => self.set_state(GuestState::Paused, reason).await,
            Signal::Resumed => self.set_state(GuestState::Running, StateReason::Unpaused).await,
            Signal::Woken => self.set_state(GuestState::Running, StateReason::Wakeup).await,
            Signal::Asleep => self.set_state(GuestState::PmSuspended, StateReason::Unknown).await,
            Signal::ShutdownBegan => self.set_state(GuestState::InShutdown, StateReason::Unknown).await,
            Signal::Reset => self.tell(EventKind::Rebooted),
            Signal::Panicked(message) => {
                self.tell(EventKind::Panicked { message }).ok();
                self.set_state(GuestState::Crashed, StateReason::Panicked).await
            }
            Signal::DeviceRemoved(alias) => self.device_removed(alias).await,
            Signal::DeviceRefused(alias) => self.tell(EventKind::DeviceRefused { alias }),
            Signal::MemoryDevice { alias, size } => self.set_memory_device(alias, size).await,
            Signal::Vcpus(now) => self.set_vcpus(&now).await,
            Signal::BlockJob(id) => {
                let known = self.attached.as_ref().map(|it| &it.record.block_jobs);
                self.block_job_news |= known.is_some_and(|all| all.iter().any(|it| it.job.id == id && !it.is_over()));
                Ok(())
            }
            Signal::Noticed(noticed) => self.tell(EventKind::Noticed(noticed)),
            _ => Ok(()),
        };
        self.kept(done);
    }

    fn kept(&self, done: Result<()>) {
        if let Err(error) = done {
            tracing::error!(guest = %self.name, %error, "what a guest reported could not be kept");
        }
    }

    fn tell(&self, kind: EventKind) -> Result<()> {
        if let Some(attached) = &self.attached {
            self.shared.history.tell(attached.record.guest.clone(), kind);
        }
        Ok(())
    }
}

async fn passed(deadline: Option<Deadline>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.left()).await,
        None => std::future::pending().await,
    }
}

async fn next_signal(attached: &mut Option<Attached>) -> Option<Signal> {
    match attached {
        Some(attached) => attached.signals.recv().await,
        None => None,
    }
}

async fn write(shared: &Shared, record: &StatusRecord) -> Result<()> {
    let (records, record) = (shared.records.clone(), record.clone());
    blocking(move || records.put(&record, Durability::Durable)).await
}

fn finished<T>(done: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    done.unwrap_or_else(|e| {
        Err(Error::new(ErrorKind::Internal, "a job of the driver ended without an answer").source(e))
    })
}

async fn abort<T>(task: JoinHandle<Result<T>>) -> Result<T> {
    task.abort();
    finished(task.await)
}

/// The guest changed; only its record could not be written.
fn only_recorded(error: Error) -> Error {
    error.with("guest", "changed; only its record is old")
}

fn already_running(name: &str) -> Error {
    Error::new(ErrorKind::InvalidState, format!("the guest '{name}' runs already"))
}

pub(crate) fn not_running(name: &str) -> Error {
    Error::new(ErrorKind::InvalidState, format!("the guest '{name}' does not run"))
        .hint(format!("start it with `polyvirt start {name}`"))
}
