//! What an actor is told.

use std::{pin::pin, sync::Arc, time::Duration};

use polyvirt_core::{
    Destroy, Domain, Error, ErrorKind, KeyPress, Result, Shutdown, model::DomainConfig, placement::PlanDelta,
};
use tokio::sync::{mpsc, oneshot};

use super::line::{Current, Place};

/// How long to wait before looking again whether the line moves.
const MOMENT: Duration = Duration::from_millis(10);

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// A change of the guest; one at a time.
pub(crate) enum Command {
    /// Start it, from this definition.
    Start { config: Arc<DomainConfig>, paused: bool, reply: Reply<()> },
    /// One of the simple ones.
    Do { what: Change, reply: Reply<()> },
    /// Give the guest up if nothing is under way.
    Release { reply: Reply<()> },
}

/// A simple change of a running guest.
#[derive(Clone)]
pub(crate) enum Change {
    Suspend,
    Resume,
    Shutdown(Shutdown),
    Reboot,
    Reset,
    SendKeys(KeyPress),
    InjectNmi,
    /// The plan, and the live definition that goes with it.
    Place {
        delta: Box<PlanDelta>,
        live: Box<DomainConfig>,
    },
}

impl Change {
    /// What it is called in messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Shutdown(_) => "shutdown",
            Self::Reboot => "reboot",
            Self::Reset => "reset",
            Self::SendKeys(_) => "send keys",
            Self::InjectNmi => "inject an NMI",
            Self::Place { .. } => "change the placement",
        }
    }
}

impl Command {
    /// What it is called in messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Do { what, .. } => what.name(),
            Self::Release { .. } => "release",
        }
    }
}

/// The sending ends of an actor.
#[derive(Clone)]
pub(crate) struct ActorHandle {
    pub(super) commands: mpsc::Sender<(Command, Place)>,
    pub(super) probes: mpsc::Sender<Reply<Arc<dyn Domain>>>,
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

    /// The running domain, for questions that change nothing: they do not wait for a change that is under way.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `Busy` when another process owns it.
    pub(crate) async fn look(&self) -> Result<Arc<dyn Domain>> {
        let (reply, answer) = oneshot::channel();
        self.probes.send(reply).await.map_err(|_| gone())?;
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

/// Makes a change, through the capability of the driver that has it.
pub(super) async fn apply(domain: &dyn Domain, driver: &str, what: Change) -> Result<()> {
    let missing = |capability: &str| Error::unsupported(driver, capability);
    match what {
        Change::Suspend => domain.pause().ok_or_else(|| missing("suspend"))?.suspend().await,
        Change::Resume => domain.pause().ok_or_else(|| missing("resume"))?.resume().await,
        Change::Shutdown(how) => domain.shutdown(how).await,
        Change::Reboot => domain.reboot().ok_or_else(|| missing("reboot"))?.reboot().await,
        Change::Reset => domain.reset().ok_or_else(|| missing("reset"))?.reset().await,
        Change::SendKeys(keys) => domain.keyboard().ok_or_else(|| missing("send-key"))?.send(&keys).await,
        Change::InjectNmi => domain.nmi().ok_or_else(|| missing("inject-nmi"))?.inject().await,
        Change::Place { delta, .. } => {
            let report = domain.placement().ok_or_else(|| missing("live placement"))?.apply(&delta).await?;
            match report.weakened.first() {
                None => Ok(()),
                Some(weak) => {
                    Err(Error::new(ErrorKind::Hypervisor, format!("{} could not be changed: {}", weak.what, weak.why)))
                }
            }
        }
    }
}
