//! Taking a guest over that runs already.

use std::sync::Arc;

use polyvirt_core::{
    CancelSource, Deadline, DomainEvents, Error, ErrorKind, Journal, Reattached, Result, StartContext, StopReason,
};

use super::{Actor, Attached, CALL_TIME};

impl Actor {
    /// Attaches to the guest if there is a record of one; what ended meanwhile is told and cleaned up.
    pub(super) async fn reattach(&mut self) -> Result<()> {
        let Some(record) = self.record().await? else { return Ok(()) };
        if !self.shared.settle(&record).await? {
            return Ok(());
        }
        let (live, driver) = (record.live()?, record.driver.clone());
        let driver = driver.ok_or_else(|| Error::new(ErrorKind::Storage, "a running guest without a driver record"))?;
        let (events, signals) = DomainEvents::channel();
        let source = CancelSource::default();
        let cx =
            StartContext::new(Journal::new(Arc::new(NoJournal)), events, source.token(), Deadline::after(CALL_TIME));
        let shared = self.shared.clone();
        let found = self.job(&source, async move { shared.launcher().reattach(&cx, &live, &driver).await }).await?;
        match found {
            Reattached::Running(domain) => {
                // While nobody attended, the guest may have stopped or continued by itself.
                let asked = domain.clone();
                let state = self.job(&source, async move { asked.state().await }).await?;
                self.attached = Some(Attached { domain, record, signals });
                self.set_state(state).await?;
                self.settle_job().await;
            }
            Reattached::Stopped(reason) => self.finish(&record, reason).await?,
            Reattached::Unfinished => {
                self.finish(&record, StopReason::Failed("its start never finished".into())).await?
            }
            Reattached::Unreachable(why) => {
                let message = format!("the guest '{}' runs, but its hypervisor does not answer: {why}", self.name);
                return Err(Error::new(ErrorKind::Timeout, message)
                    .hint(format!("try again later, or end it with `polyvirt destroy {}`", self.name)));
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Internal,
                    "the driver gave an answer that this engine does not know",
                ));
            }
        }
        Ok(())
    }
}

/// Reattaching goes through no stages.
struct NoJournal;

#[polyvirt_core::async_trait]
impl polyvirt_core::JournalSink for NoJournal {
    async fn reached(&self, _: polyvirt_core::Stage) -> Result<()> {
        Ok(())
    }
    async fn record(&self, _: polyvirt_core::Stage, _: &polyvirt_core::DriverRecord) -> Result<()> {
        Ok(())
    }
}
