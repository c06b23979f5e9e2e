//! How a guest ends: by itself, or because somebody says so.

use std::sync::Arc;

use polyvirt_core::{
    CancelSource, Destroy, Error, ErrorKind, EventKind, Result, StartHow, StopReason, model::LifecycleAction,
};

use super::{Actor, Attached, GRACE, finished, not_running};
use crate::{
    start::Wanted,
    store::{Phase, StatusRecord, blocking},
};

impl Actor {
    /// The guest ended: clean up, or start it again if its definition says so.
    pub(super) async fn stopped(&mut self, reason: StopReason) -> Result<()> {
        let Some(Attached { record, .. }) = self.attached.take() else { return Ok(()) };
        let live = record.live()?;
        let action = match reason {
            StopReason::Shutdown => live.config.on_poweroff,
            StopReason::Crashed(_) => live.config.on_crash,
            _ => None,
        };
        if action != Some(LifecycleAction::Restart) {
            return self.finish(&record, reason).await;
        }
        let definitions = self.shared.definitions.clone();
        let name = self.name.clone();
        let stored = blocking(move || definitions.get(&name)).await?;
        self.finish(&record, reason.clone()).await?;
        let config = stored.map_or_else(|| Arc::new(live.config), |d| d.config);
        self.own_to_start().await?;
        let wanted = Wanted { config, how: StartHow::Relaunch(reason), job: None };
        self.start(wanted, &CancelSource::default()).await
    }

    /// The guest was ended by what was done to it.
    pub(super) async fn over(&mut self, reason: StopReason) -> Result<()> {
        self.ended = None;
        match self.attached.take() {
            Some(Attached { record, .. }) => self.finish(&record, reason).await,
            None => Ok(()),
        }
    }

    /// Removes what is left of a guest that ended.
    pub(super) async fn finish(&mut self, record: &StatusRecord, reason: StopReason) -> Result<()> {
        let reason = if self.shared.end_job(record).await { StopReason::Saved } else { reason };
        let lease = record.plan.as_ref().and_then(|p| p.lease.clone());
        self.shared.clean_up(&record.guest, record.driver.as_ref(), lease).await?;
        self.shared.history.tell(record.guest.clone(), EventKind::Stopped { reason });
        Ok(())
    }

    /// Ends the guest, whatever state it is in.
    pub(super) async fn end(&mut self, how: Destroy) -> Result<()> {
        self.own("destroy").await?;
        let record = match &self.attached {
            Some(attached) => attached.record.clone(),
            None => match self.record().await? {
                Some(record) => record,
                None => return Err(not_running(&self.name)),
            },
        };
        if self.attached.is_none() {
            if !self.shared.settle(&record).await? {
                // It was gone or had never finished; `settle` told and cleaned up.
                return if record.phase == Phase::Running { Err(not_running(&self.name)) } else { Ok(()) };
            }
            if let Err(error) = self.reattach().await {
                tracing::info!(guest = %self.name, %error, "not answering; its process is ended");
            }
        }
        let asked = self.ask_to_end(how).await;
        if !how.force {
            asked?;
        } else if let Err(error) = asked {
            tracing::info!(guest = %self.name, %error, "did not end when asked; its process is ended");
        }
        self.attached = None;
        self.ended = None;
        match self.finish(&record, StopReason::Destroyed).await {
            // On a disk that turned read-only it has ended all the same; whoever can write next removes what is left.
            Err(error) if error.kind() == ErrorKind::Storage => {
                tracing::warn!(guest = %self.name, %error, "the guest is ended, its files stay until the root can be written again");
                self.shared.history.tell(record.guest.clone(), EventKind::Stopped { reason: StopReason::Destroyed });
                Ok(())
            }
            done => done,
        }
    }

    /// Asks the hypervisor to end the guest, under a deadline: one that is stuck must not keep us.
    async fn ask_to_end(&self, how: Destroy) -> Result<()> {
        let Some(attached) = &self.attached else { return Ok(()) };
        let domain = attached.domain.clone();
        let call = tokio::spawn(async move { domain.destroy(how).await });
        match tokio::time::timeout(how.grace + GRACE, call).await {
            Ok(done) => finished(done),
            Err(_) => Err(Error::new(ErrorKind::Timeout, format!("the guest '{}' did not end in time", self.name))
                .hint("destroy it without --graceful")),
        }
    }
}
