//! A simulated guest, seen through core's traits.

use std::sync::Arc;

use polyvirt_core::{
    BalloonPolling, BlockInfo, BlockJobs, BlockResize, BlockThreshold, BlockThrottle, BlockWeights, ByteStream,
    Consoles, CoreDump, Destroy, DeviceAttach, DeviceDetach, DeviceRef, DeviceUpdate, DirtyRate, Domain, DomainId,
    Error, ErrorKind, GuestState, IoThreads, LifecycleActions, LivePlacement, LiveSnapshots, MemoryLimits,
    MemoryTarget, Pause, PowerManagement, Reboot, Reset, Result, SaveState, SchedulerTuning, Shutdown, Signal,
    SleepTarget, Statistics, StopReason, VcpuCount, VcpuInfo, VcpuSelect, VcpuState, async_trait,
    model::DomainConfig,
    placement::{PlacementReport, PlanDelta},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    config::MockSettings,
    world::{MockGuest, World},
};

/// The handle of a simulated guest.
#[derive(Debug)]
pub(crate) struct MockDomain {
    pub(crate) guest: Arc<MockGuest>,
    pub(crate) world: Arc<World>,
    pub(crate) settings: MockSettings,
}

impl MockDomain {
    pub(crate) fn alive(&self) -> Result<()> {
        if self.guest.state().is_active() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidState, format!("the guest '{}' does not run", self.guest.name)))
    }
}

#[async_trait]
impl Domain for MockDomain {
    fn id(&self) -> DomainId {
        DomainId(self.guest.id)
    }

    async fn state(&self) -> Result<GuestState> {
        Ok(self.guest.state())
    }

    async fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.alive()?;
        if how == Shutdown::Agent {
            return Err(Error::unsupported("mock", "guest agent"));
        }
        if self.settings.deaf || self.guest.state() == GuestState::Paused {
            return Ok(());
        }
        let (guest, time) = (self.guest.clone(), self.settings.shutdown_time());
        tokio::spawn(async move {
            guest.become_state(GuestState::InShutdown).await;
            tokio::time::sleep(time).await;
            guest.stop(StopReason::Shutdown).await;
        });
        Ok(())
    }

    async fn destroy(&self, _: Destroy) -> Result<()> {
        self.guest.stop(StopReason::Destroyed).await;
        self.world.remove(self.guest.id);
        Ok(())
    }

    fn pause(&self) -> Option<&dyn Pause> {
        Some(self)
    }
    fn reboot(&self) -> Option<&dyn Reboot> {
        Some(self)
    }
    fn reset(&self) -> Option<&dyn Reset> {
        Some(self)
    }
    fn consoles(&self) -> Option<&dyn Consoles> {
        Some(self)
    }
    fn attach(&self) -> Option<&dyn DeviceAttach> {
        Some(self)
    }
    fn detach(&self) -> Option<&dyn DeviceDetach> {
        Some(self)
    }
    fn update(&self) -> Option<&dyn DeviceUpdate> {
        Some(self)
    }
    fn vcpu_info(&self) -> Option<&dyn VcpuInfo> {
        Some(self)
    }
    fn statistics(&self) -> Option<&dyn Statistics> {
        Some(self)
    }
    fn balloon_polling(&self) -> Option<&dyn BalloonPolling> {
        Some(self)
    }
    fn dirty_rate(&self) -> Option<&dyn DirtyRate> {
        Some(self)
    }
    fn block_info(&self) -> Option<&dyn BlockInfo> {
        Some(self)
    }
    fn vcpu_count(&self) -> Option<&dyn VcpuCount> {
        Some(self)
    }
    fn vcpu_select(&self) -> Option<&dyn VcpuSelect> {
        Some(self)
    }
    fn memory(&self) -> Option<&dyn MemoryTarget> {
        Some(self)
    }
    fn memory_limits(&self) -> Option<&dyn MemoryLimits> {
        Some(self)
    }
    fn io_threads(&self) -> Option<&dyn IoThreads> {
        Some(self)
    }
    fn block_resize(&self) -> Option<&dyn BlockResize> {
        Some(self)
    }
    fn block_threshold(&self) -> Option<&dyn BlockThreshold> {
        Some(self)
    }
    fn block_jobs(&self) -> Option<&dyn BlockJobs> {
        Some(self)
    }
    fn block_throttle(&self) -> Option<&dyn BlockThrottle> {
        Some(self)
    }
    fn scheduler_tuning(&self) -> Option<&dyn SchedulerTuning> {
        Some(self)
    }
    fn block_weights(&self) -> Option<&dyn BlockWeights> {
        Some(self)
    }

    fn placement(&self) -> Option<&dyn LivePlacement> {
        Some(self)
    }
    fn save(&self) -> Option<&dyn SaveState> {
        Some(self)
    }
    fn snapshots(&self) -> Option<&dyn LiveSnapshots> {
        Some(self)
    }

    fn core_dump(&self) -> Option<&dyn CoreDump> {
        Some(self)
    }
    fn lifecycle_actions(&self) -> Option<&dyn LifecycleActions> {
        Some(self)
    }
    fn power_management(&self) -> Option<&dyn PowerManagement> {
        Some(self)
    }
}

#[async_trait]
impl Pause for MockDomain {
    async fn suspend(&self) -> Result<()> {
        self.alive()?;
        self.guest.become_state(GuestState::Paused).await;
        Ok(())
    }

    async fn resume(&self) -> Result<()> {
        self.alive()?;
        self.guest.become_state(GuestState::Running).await;
        Ok(())
    }
}

#[async_trait]
impl LifecycleActions for MockDomain {
    async fn set(&self, _: &DomainConfig) -> Result<()> {
        self.alive()
    }
}

#[async_trait]
impl PowerManagement for MockDomain {
    async fn suspend(&self, to: SleepTarget) -> Result<()> {
        self.alive()?;
        if to != SleepTarget::Memory {
            return Err(Error::unsupported("mock", "sleep but in memory"));
        }
        if self.guest.state() != GuestState::Running {
            let message = format!("the guest is {}, and does not hear of it", self.guest.state().name());
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        self.guest.become_state(GuestState::PmSuspended).await;
        Ok(())
    }

    async fn wake(&self) -> Result<()> {
        self.alive()?;
        match self.guest.state() {
            GuestState::PmSuspended => drop(self.guest.become_state(GuestState::Running).await),
            other => {
                return Err(Error::new(
                    ErrorKind::InvalidState,
                    format!("the guest does not sleep, it is {}", other.name()),
                ));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Reboot for MockDomain {
    async fn reboot(&self, how: Shutdown) -> Result<()> {
        self.alive()?;
        if how == Shutdown::Agent {
            return Err(Error::unsupported("mock", "guest agent"));
        }
        self.guest.tell(Signal::Reset).await;
        Ok(())
    }
}

#[async_trait]
impl Reset for MockDomain {
    async fn reset(&self) -> Result<()> {
        self.alive()?;
        self.guest.tell(Signal::Reset).await;
        Ok(())
    }
}

#[async_trait]
impl Consoles for MockDomain {
    /// Greets, then sends back what it gets.
    async fn open(&self, console: &DeviceRef) -> Result<ByteStream> {
        self.alive()?;
        if console.index != 0 || !matches!(console.kind.as_str(), "serial" | "console") {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("the guest has no {} {}", console.kind, console.index),
            ));
        }
        let (ours, mut guests) = tokio::io::duplex(4096);
        let greeting = format!("mock console of {}\r\n", self.guest.name);
        tokio::spawn(async move {
            let mut text = [0; 1024];
            // Either side going away ends the console.
            if guests.write_all(greeting.as_bytes()).await.is_err() {
                return;
            }
            while let Ok(n @ 1..) = guests.read(&mut text).await {
                if guests.write_all(&text[..n]).await.is_err() {
                    return;
                }
            }
        });
        Ok(Box::new(ours))
    }
}

#[async_trait]
impl VcpuInfo for MockDomain {
    async fn vcpus(&self) -> Result<Vec<VcpuState>> {
        self.alive()?;
        let plan = self.guest.plan();
        let online = self.guest.vcpus().online;
        let planned = plan.iter().flat_map(|p| &p.cells).flat_map(|c| &c.vcpus).filter(|v| online.contains(v.vcpu));
        let mut vcpus: Vec<_> = planned
            .map(|planned| {
                let mut vcpu = VcpuState::new(planned.vcpu);
                vcpu.cpu = planned.hard.first().map(|cpu| cpu.0);
                vcpu.affinity = Some(planned.hard.clone());
                vcpu
            })
            .collect();
        vcpus.sort_by_key(|v| v.vcpu);
        Ok(vcpus)
    }
}

#[async_trait]
impl LivePlacement for MockDomain {
    async fn apply(&self, delta: &PlanDelta) -> Result<PlacementReport> {
        self.alive()?;
        self.guest.set_plan(delta.to.clone());
        Ok(PlacementReport::new(delta.steps.clone(), Vec::new(), Vec::new()))
    }

    async fn observe(&self) -> Result<PlacementReport> {
        self.alive()?;
        let plan = self.guest.plan();
        let observed = plan.iter().flat_map(|p| &p.cells).flat_map(|c| c.memory.clone()).collect();
        Ok(PlacementReport::new(Vec::new(), Vec::new(), observed))
    }
}
