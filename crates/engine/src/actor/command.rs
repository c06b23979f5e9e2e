//! What an actor is told.

use std::{pin::pin, sync::Arc, time::Duration};

use polyvirt_core::{
    BoxFuture, CancelSource, Destroy, Domain, Error, ErrorKind, Result, SnapshotRef, model::DomainConfig,
};
use tokio::sync::{mpsc, oneshot};

use super::{
    change::Change,
    line::{Current, Place},
};
use crate::{guest::StartOptions, saved::Image};

/// How long to wait before looking again whether the line moves.
const MOMENT: Duration = Duration::from_millis(10);

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// What a guest is started from.
pub(crate) enum Origin {
    /// A definition; or what a managed save left of the guest, if it did.
    Definition { config: Arc<DomainConfig>, options: StartOptions },
    /// A saved guest, with the definition to be used.
    Image { config: Box<DomainConfig>, image: Box<Image>, running: bool, bypass_cache: bool },
    /// A snapshot with memory, and the definition that it has.
    Snapshot { config: Box<DomainConfig>, snapshot: SnapshotRef, running: bool },
}

/// Work on a guest that does not run.
pub(crate) type AtRest = Box<dyn FnOnce(Arc<CancelSource>) -> BoxFuture<Result<()>> + Send>;

/// A change of the guest; one at a time.
pub(crate) enum Command {
    /// Start it.
    Start { origin: Origin, reply: Reply<()> },
    /// Change it while it runs.
    Do { what: Change, reply: Reply<()> },
    /// Do something to what is left of it while it does not run.
    Rest { name: &'static str, work: AtRest, reply: Reply<()> },
    /// Give the guest up if nothing is under way.
    Release { reply: Reply<()> },
}

impl Command {
    /// What it is called in messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Start { origin: Origin::Image { .. }, .. } => "restore",
            Self::Start { origin: Origin::Snapshot { .. }, .. } => "snapshot-revert",
            Self::Start { .. } => "start",
            Self::Rest { name, .. } => name,
            Self::Do { what, .. } => what.name,
            Self::Release { .. } => "release",
        }
    }
}

/// The sending ends of an actor.
#[derive(Clone)]
pub(crate) struct ActorHandle {
    pub(super) commands: mpsc::Sender<(Command, Place)>,
    pub(super) probes: mpsc::Sender<(Duration, Reply<Arc<dyn Domain>>)>,
    pub(super) destroy: mpsc::Sender<(Destroy, Reply<()>)>,
    pub(super) current: Current,
}

impl ActorHandle {
    /// Has a change made. Waits in line for at most `patience`; a change that has begun is waited for to its end.
    ///
    /// # Errors
    /// `Busy` naming what is under way; those of the change.
    pub(crate) async fn ask<T>(
        &self,
        guest: &str,
        mut patience: Duration,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let (command, place) = (command(reply), Place::default());
        let wanted = command.name();
        let mut answered = pin!(async {
            self.commands.send((command, place.clone())).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        });
        loop {
            match tokio::time::timeout(patience, &mut answered).await {
                Ok(done) => return done,
                Err(_) if self.current.is_idle() => patience = MOMENT,
                Err(_) if place.leave() => return Err(self.current.busy(guest, wanted)),
                Err(_) => return answered.await,
            }
        }
    }

    /// The running domain, for questions that change nothing: they do not wait for a change that is under way. Waits so long for
    /// another process that owns the guest.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `Busy` when another process owns it.
    pub(crate) async fn look_within(&self, patience: Duration) -> Result<Arc<dyn Domain>> {
        let (reply, answer) = oneshot::channel();
        self.probes.send((patience, reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Ends the guest, before whatever else is under way.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `Busy` when another process owns it.
    pub(crate) async fn destroy(&self, how: Destroy) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.destroy.send((how, reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Internal, "the actor of this guest ended; open a new connection")
}
