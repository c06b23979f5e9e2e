//! The simulated hypervisor: guests that live in this process's memory and outlive connections, as processes would.
//!
//! One [`World`] per run directory, so that two connections to one root see the same guests.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use polyvirt_core::{
    DomainEvents, GuestState, IoThreadState, LiveConfig, Signal, StopReason, VcpusNow,
    placement::{IoThreadId, Kib, Plan},
};

use crate::block_jobs::Blocks;

static WORLDS: LazyLock<Mutex<HashMap<PathBuf, Arc<World>>>> = LazyLock::new(Mutex::default);

/// All simulated guests of one root.
#[derive(Debug, Default)]
pub(crate) struct World {
    guests: Mutex<HashMap<u32, Arc<MockGuest>>>,
    /// Tags in simulated images: guest, disk, tag, and whether memory is with it.
    snapshots: Mutex<HashMap<(String, String, String), bool>>,
}

impl World {
    /// The world of a run directory.
    pub(crate) fn of(run: &Path) -> Arc<Self> {
        WORLDS.lock().unwrap_or_else(PoisonError::into_inner).entry(run.to_path_buf()).or_default().clone()
    }

    fn guests(&self) -> MutexGuard<'_, HashMap<u32, Arc<MockGuest>>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tags in simulated images, by guest, disk and tag.
    pub(crate) fn snapshots(&self) -> MutexGuard<'_, HashMap<(String, String, String), bool>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, guest: Arc<MockGuest>) {
        self.guests().insert(guest.id, guest);
    }

    pub(crate) fn get(&self, id: u32) -> Option<Arc<MockGuest>> {
        self.guests().get(&id).cloned()
    }

    pub(crate) fn remove(&self, id: u32) -> Option<Arc<MockGuest>> {
        self.guests().remove(&id)
    }
}

/// A simulated guest.
#[derive(Debug)]
pub(crate) struct MockGuest {
    pub(crate) id: u32,
    pub(crate) name: String,
    /// vCPUs it can have.
    pub(crate) max: u32,
    inner: Mutex<Inner>,
    blocks: Mutex<Blocks>,
}

#[derive(Debug)]
struct Inner {
    state: GuestState,
    plan: Option<Plan>,
    vcpus: VcpusNow,
    memory: Kib,
    io_threads: Vec<IoThreadState>,
    events: DomainEvents,
    /// How often it was asked for numbers.
    asked: u64,
    /// Whether it tells of its memory.
    polled: bool,
    /// How long its dirty rate was measured.
    measured: Option<Duration>,
}

impl MockGuest {
    pub(crate) fn new(live: &LiveConfig, plan: Option<Plan>, events: DomainEvents) -> Arc<Self> {
        let config = &live.config;
        let vcpus = VcpusNow::new(config.online_vcpus(), config.removable_vcpus());
        let memory = config.current_memory.as_ref().map_or(config.memory_total(), |it| it.size);
        let io_threads = config.io_thread_ids().into_iter().map(|id| IoThreadState::new(IoThreadId(id))).collect();
        let inner = Inner {
            state: GuestState::Paused,
            plan,
            vcpus,
            memory,
            io_threads,
            events,
            asked: 0,
            polled: false,
            measured: None,
        };
        Arc::new(Self {
            id: live.id.0,
            name: config.name.clone(),
            max: config.vcpus_max(),
            inner: Mutex::new(inner),
            blocks: Mutex::default(),
        })
    }

    pub(crate) fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> GuestState {
        self.inner().state.clone()
    }

    pub(crate) fn plan(&self) -> Option<Plan> {
        self.inner().plan.clone()
    }

    pub(crate) fn vcpus(&self) -> VcpusNow {
        self.inner().vcpus.clone()
    }

    pub(crate) fn set_vcpus(&self, vcpus: VcpusNow) {
        self.inner().vcpus = vcpus;
    }

    pub(crate) fn memory(&self) -> Kib {
        self.inner().memory
    }

    pub(crate) fn set_memory(&self, memory: Kib) {
        self.inner().memory = memory;
    }

    pub(crate) fn io_threads(&self) -> Vec<IoThreadState> {
        self.inner().io_threads.clone()
    }

    pub(crate) fn set_io_threads(&self, all: Vec<IoThreadState>) {
        self.inner().io_threads = all;
    }

    pub(crate) fn set_plan(&self, plan: Plan) {
        self.inner().plan = Some(plan);
    }

    /// Asked once more for its numbers: how often, so far.
    pub(crate) fn count(&self) -> u64 {
        let mut inner = self.inner();
        inner.asked += 1;
        inner.asked
    }

    pub(crate) fn poll(&self, on: bool) {
        self.inner().polled = on;
    }

    pub(crate) fn polled(&self) -> bool {
        self.inner().polled
    }

    pub(crate) fn measure(&self, period: Duration) {
        self.inner().measured = Some(period);
    }

    pub(crate) fn measured(&self) -> Option<Duration> {
        self.inner().measured
    }

    /// From now on signals go to this sink.
    pub(crate) fn attend(&self, events: DomainEvents) {
        self.inner().events = events;
    }

    /// Changes the state and reports it; a stopped guest stays stopped, and no change is no report.
    pub(crate) async fn become_state(&self, state: GuestState) -> bool {
        let events = {
            let mut inner = self.inner();
            if inner.state == state || !inner.state.is_active() {
                return false;
            }
            inner.state = state.clone();
            inner.events.clone()
        };
        let signal = match state {
            GuestState::Paused => Signal::Paused,
            GuestState::PmSuspended => Signal::Asleep,
            GuestState::InShutdown => Signal::ShutdownBegan,
            GuestState::Crashed => Signal::Panicked("injected".to_owned()),
            GuestState::ShutOff(reason) => Signal::Stopped(reason),
            _ => Signal::Resumed,
        };
        events.send(signal).await;
        true
    }

    pub(crate) async fn stop(&self, reason: StopReason) -> bool {
        self.become_state(GuestState::ShutOff(reason)).await
    }

    /// Reports what changes no state.
    pub(crate) async fn tell(&self, signal: Signal) {
        let events = self.inner().events.clone();
        events.send(signal).await;
    }
}
