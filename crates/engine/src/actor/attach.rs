//! Taking a guest over that runs already.

use std::sync::Arc;

use polyvirt_core::{
    CancelSource, Deadline, DomainEvents, Error, ErrorKind, Journal, Reattached, Result, StartContext, StateReason,
    StopReason,
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
                let told = self.job(&source, async move { Ok((asked.state().await?, asked.reason().await?)) }).await?;
                let (state, reason) = told;
                let known = if record.state == state { record.reason } else { None };
                let reason = reason.or(known).unwrap_or(StateReason::Unknown);
                let removable = record.live()?.config.removable_vcpus();
                let asked = domain.clone();
                self.attached = Some(Attached { domain, record, signals });
                self.set_state(state, reason).await?;
                self.settle_job().await;
                self.settle_block_jobs().await;
                self.settle_memory().await;
                // It may have let go of a vCPU, too.
                if self.attached.is_some() && !removable.is_empty() && asked.vcpu_count().is_some() {
                    let now = self.job(&source, async move {
                        match asked.vcpu_count() {
                            Some(count) => count.now().await.map(Some),
                            None => Ok(None),
                        }
                    });
                    if let Some(now) = now.await? {
                        self.set_vcpus(&now).await?;
                    }
                }
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
