//! The simulated hypervisor: guests that live in this process's memory and outlive connections, as processes would.
//!
//! One [`World`] per run directory, so that two connections to one root see the same guests.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use polyvirt_core::{DomainEvents, GuestState, Signal, StopReason, placement::Plan};

static WORLDS: LazyLock<Mutex<HashMap<PathBuf, Arc<World>>>> = LazyLock::new(Mutex::default);

/// All simulated guests of one root.
#[derive(Debug, Default)]
pub(crate) struct World {
    guests: Mutex<HashMap<u32, Arc<MockGuest>>>,
}

impl World {
    /// The world of a run directory.
    pub(crate) fn of(run: &Path) -> Arc<Self> {
        WORLDS.lock().unwrap_or_else(PoisonError::into_inner).entry(run.to_path_buf()).or_default().clone()
    }

    fn guests(&self) -> MutexGuard<'_, HashMap<u32, Arc<MockGuest>>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
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
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: GuestState,
    plan: Option<Plan>,
    events: DomainEvents,
}

impl MockGuest {
    pub(crate) fn new(id: u32, name: &str, plan: Option<Plan>, events: DomainEvents) -> Arc<Self> {
        let inner = Inner { state: GuestState::Paused, plan, events };
        Arc::new(Self { id, name: name.to_owned(), inner: Mutex::new(inner) })
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

    pub(crate) fn set_plan(&self, plan: Plan) {
        self.inner().plan = Some(plan);
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
