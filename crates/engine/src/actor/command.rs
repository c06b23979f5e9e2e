//! What an actor is told.

use std::sync::Arc;

use polyvirt_core::{Destroy, Domain, Error, ErrorKind, Result, Shutdown, model::DomainConfig, placement::PlanDelta};
use tokio::sync::{mpsc, oneshot};

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// A change of the guest; one at a time.
pub(crate) enum Command {
    /// Start it, from this definition.
    Start { config: Arc<DomainConfig>, paused: bool, reply: Reply<()> },
    /// One of the simple ones.
    Do { what: Change, reply: Reply<()> },
    /// Hand the running domain out, for questions that change nothing.
    Attach { reply: Reply<Arc<dyn Domain>> },
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
            Self::Place { .. } => "change the placement",
        }
    }
}

/// The sending ends of an actor.
#[derive(Clone)]
pub(crate) struct ActorHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) destroy: mpsc::Sender<(Destroy, Reply<()>)>,
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
