//! A change of a running guest, as something the actor runs: what is called, and what it leaves in the guest's record.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use polyvirt_core::{
    BoxFuture, CancelSource, Domain, Error, ErrorKind, EventKind, GuestState, Result, StopReason, model::DomainConfig,
    placement::Plan,
};

use super::CALL_TIME;
use crate::{job::Lane, store::StatusRecord};

/// The running guest, as a change finds it. Nothing else changes the guest meanwhile.
#[derive(Clone)]
pub(crate) struct Held {
    /// Its handle.
    pub(crate) domain: Arc<dyn Domain>,
    /// What is recorded of it.
    pub(crate) record: StatusRecord,
    /// The driver's name, for messages.
    pub(crate) driver: &'static str,
    /// Where jobs write their steps.
    pub(crate) lane: Lane,
    /// Cancelled when the guest is to be destroyed; jobs let others cancel it too.
    pub(crate) cancel: Arc<CancelSource>,
}

impl Held {
    /// The driver does not have what the change wants.
    pub(crate) fn missing(&self, capability: &str) -> Error {
        Error::unsupported(self.driver, capability)
    }
}

/// What a change leaves in the record of the guest.
#[derive(Default)]
pub(crate) struct Left {
    state: Option<GuestState>,
    plan: Option<Plan>,
    edit: Option<Edit>,
    event: Option<EventKind>,
    end: Option<StopReason>,
}

type Edit = Box<dyn FnOnce(&mut DomainConfig) + Send>;

impl Left {
    /// Nothing but what the guest itself tells.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// Another state; its event is told if it is new.
    pub(crate) fn state(state: GuestState) -> Self {
        Self { state: Some(state), ..Self::default() }
    }

    /// An edit of the live definition. It is made when the change is over, to what the definition is then.
    pub(crate) fn live(edit: impl FnOnce(&mut DomainConfig) + Send + 'static) -> Self {
        Self { edit: Some(Box::new(edit)), ..Self::default() }
    }

    /// And another plan.
    pub(crate) fn plan(mut self, plan: Plan) -> Self {
        self.plan = Some(plan);
        self
    }

    /// And an event that tells of it.
    pub(crate) fn event(mut self, event: EventKind) -> Self {
        self.event = Some(event);
        self
    }

    /// The guest's process is gone, for this reason.
    pub(crate) fn ended(reason: StopReason) -> Self {
        Self { end: Some(reason), ..Self::default() }
    }

    pub(super) fn take_end(&mut self) -> Option<StopReason> {
        self.end.take()
    }

    pub(super) fn take_state(&mut self) -> Option<GuestState> {
        self.state.take()
    }

    /// Writes it into a record; says whether there was anything, and what to tell.
    ///
    /// # Errors
    /// `Storage`: the live definition cannot be read.
    pub(super) fn into_record(self, record: &mut StatusRecord) -> Result<(bool, Option<EventKind>)> {
        let some = self.plan.is_some() || self.edit.is_some();
        if let Some(edit) = self.edit {
            let mut config = record.live()?.config;
            edit(&mut config);
            record.set_live(&config);
        }
        if self.plan.is_some() {
            record.plan = self.plan;
        }
        Ok((some, self.event))
    }
}

/// A change of a running guest.
pub(crate) struct Change {
    pub(super) name: &'static str,
    /// As long as it takes if there is none.
    pub(super) time: Option<Duration>,
    pub(super) work: Box<dyn FnOnce(Held) -> BoxFuture<Result<Left>> + Send>,
}

impl Change {
    /// A change that is made by one call, and has as long as one question to the hypervisor may take.
    pub(crate) fn new<F>(name: &'static str, work: impl FnOnce(Held) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Left>> + Send + 'static,
    {
        Self { name, time: Some(CALL_TIME), work: Box::new(move |held| Box::pin(work(held))) }
    }

    /// One that may take so long.
    pub(crate) fn within(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// One that takes as long as it takes, and says how far it is.
    pub(crate) fn job(mut self) -> Self {
        self.time = None;
        self
    }
}
/// Where a change puts what it gives besides.
pub(crate) struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Slot<T> {
    /// Puts it there.
    pub(crate) fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    /// Takes it out, after a change that ended well.
    ///
    /// # Errors
    /// `Internal` if nothing was put.
    pub(crate) fn take(&self) -> Result<T> {
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(|| Error::new(ErrorKind::Internal, "a change ended without what it was made for"))
    }
}
