//! A guest in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use polyvirt_core::{
    Destroy, Domain, DomainEvents, DomainId, GuestState, Pause, Result, Shutdown, Signal, StopReason, async_trait,
};

use crate::driver::not_running;

/// A guest, from start to `Stopped`.
#[derive(Debug)]
pub(crate) struct HelloDomain {
    id: DomainId,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: GuestState,
    events: DomainEvents,
}

impl HelloDomain {
    /// A guest whose CPUs are stopped.
    pub(crate) fn new(id: DomainId, events: DomainEvents) -> Self {
        Self { id, inner: Mutex::new(Inner { state: GuestState::Paused, events }) }
    }

    pub(crate) fn number(&self) -> u32 {
        self.id.0
    }

    /// Its CPUs begin to run.
    pub(crate) async fn say_hello(&self) {
        self.become_state(GuestState::Running, Signal::Resumed).await;
    }

    /// From now on signals go to this sink.
    pub(crate) fn attend(&self, events: DomainEvents) {
        self.inner().events = events;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Result<()> {
        if self.inner().state.is_active() { Ok(()) } else { Err(not_running(self.number())) }
    }

    /// Changes the state and tells it; no change is not told, and a guest that stopped stays so.
    async fn become_state(&self, state: GuestState, signal: Signal) {
        let events = {
            let mut inner = self.inner();
            if inner.state == state || !inner.state.is_active() {
                return;
            }
            inner.state = state;
            inner.events.clone()
        };
        events.send(signal).await;
    }
}

#[async_trait]
impl Domain for HelloDomain {
    fn id(&self) -> DomainId {
        self.id
    }

    async fn state(&self) -> Result<GuestState> {
        Ok(self.inner().state.clone())
    }

    async fn shutdown(&self, _: Shutdown) -> Result<()> {
        self.alive()?;
        self.become_state(GuestState::ShutOff(StopReason::Shutdown), Signal::Stopped(StopReason::Shutdown)).await;
        Ok(())
    }

    async fn destroy(&self, _: Destroy) -> Result<()> {
        self.become_state(GuestState::ShutOff(StopReason::Destroyed), Signal::Stopped(StopReason::Destroyed)).await;
        Ok(())
    }

    fn pause(&self) -> Option<&dyn Pause> {
        Some(self)
    }
}

#[async_trait]
impl Pause for HelloDomain {
    async fn suspend(&self) -> Result<()> {
        self.alive()?;
        self.become_state(GuestState::Paused, Signal::Paused).await;
        Ok(())
    }

    async fn resume(&self) -> Result<()> {
        self.alive()?;
        self.become_state(GuestState::Running, Signal::Resumed).await;
        Ok(())
    }
}
