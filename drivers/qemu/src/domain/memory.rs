//! The balloon, and what the process may use of the host: memory, CPU time, block devices.

use std::{sync::Arc, time::Duration};

use polyvirt_core::{
    BlockWeights, Error, ErrorKind, MemoryLimitParams, MemoryLimits, MemoryTarget, Result, SchedulerParams,
    SchedulerTuning, async_trait,
    model::tuning::BlkioTune,
    placement::{Kib, Weakening},
};
use polyvirt_qmp::{Balloon, QueryBalloon};

use super::QemuDomain;
use crate::limits::{self, cpu, io};

/// How long the kernel may take to take memory back that a new limit leaves no room for.
const RECLAIM: Duration = Duration::from_secs(25);

/// QEMU's class of error is the same as for all; its words are not.
fn without_balloon(error: Error) -> Error {
    if !error.message().contains("No balloon device") {
        return error;
    }
    Error::new(ErrorKind::Unsupported, "the guest has no balloon, so it cannot give memory back")
        .hint("<memballoon model='virtio'/> among its devices is one")
        .source(error)
}

#[async_trait]
impl MemoryTarget for QemuDomain {
    async fn set(&self, target: Kib) -> Result<Kib> {
        let value = target.0.checked_mul(1024).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("{target} is more memory than can be counted"))
        })?;
        self.shared.execute(&Balloon { value }).await.map_err(without_balloon)?;
        Ok(target)
    }

    async fn now(&self) -> Result<Kib> {
        let answer = self.shared.execute(&QueryBalloon {}).await.map_err(without_balloon)?;
        Ok(Kib(answer.actual >> 10))
    }
}

impl QemuDomain {
    /// Has something done to the guest's cgroups, on a thread that may wait for the kernel.
    pub(super) async fn limit(
        &self,
        work: impl FnOnce(&crate::places::Places, u32) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        if !self.shared.parts.cgroups {
            return Err(Error::new(ErrorKind::Unsupported, "the settings of the qemu driver say cgroups = \"never\"")
                .hint("without cgroups nothing of the process is limited"));
        }
        let (places, pid) = (self.shared.parts.places.clone(), self.shared.parts.process.id().pid);
        let task = tokio::task::spawn_blocking(move || work(&places, pid));
        match tokio::time::timeout(RECLAIM, task).await {
            Ok(done) => {
                done.map_err(|error| Error::new(ErrorKind::Internal, "limiting the guest failed").source(error))?
            }
            Err(_) => {
                Err(Error::new(ErrorKind::Timeout, format!("the kernel has not set the limits within {RECLAIM:?}"))
                    .hint("it may do so yet: it waits for memory or for the storage below swap"))
            }
        }
    }
}

impl QemuDomain {
    /// Gives threads that came their parts of the guest's CPU time; what cannot be had is told.
    pub(super) async fn limit_new_threads(&self, weakened: &mut Vec<Weakening>) -> Result<()> {
        let params = SchedulerParams::of(&self.shared.live().config);
        if params.is_empty() || !self.shared.parts.cgroups {
            return Ok(());
        }
        let threads = self.threads().await?;
        if let Err(error) = self.limit(move |places, _| cpu::set(places, &threads, params)).await {
            weakened.push(Weakening::new("host", "limits of CPU time", error.message()));
        }
        Ok(())
    }
}

#[async_trait]
impl SchedulerTuning for QemuDomain {
    async fn set(&self, params: SchedulerParams) -> Result<()> {
        let threads = self.threads().await?;
        self.limit(move |places, _| cpu::set(places, &threads, params)).await?;
        // Threads that come later have it too.
        self.shared.live.send_modify(|live| params.replace(&mut Arc::make_mut(live).config));
        Ok(())
    }
}

#[async_trait]
impl BlockWeights for QemuDomain {
    async fn set(&self, weights: &BlkioTune) -> Result<()> {
        let weights = weights.clone();
        self.limit(move |places, pid| io::set(places, pid, &weights)).await
    }
}

#[async_trait]
impl MemoryLimits for QemuDomain {
    async fn set(&self, limits: MemoryLimitParams) -> Result<()> {
        self.limit(move |places, pid| limits::set_memory(places, pid, limits)).await
    }
}
