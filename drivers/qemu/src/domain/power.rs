//! Pause, reboot, reset, waking.

use std::sync::atomic::Ordering;

use polyvirt_core::{
    Error, ErrorKind, GuestState, LifecycleActions, Pause, PowerManagement, Reboot, Reset, Result, Shutdown,
    SleepTarget, async_trait, model::DomainConfig,
};
use polyvirt_qmp::{Cont, QueryStatus, SetAction, Stop, SystemPowerdown, SystemReset, SystemWakeup};

use super::{QemuDomain, state_of};
use crate::command::boot::actions;

#[async_trait]
impl Pause for QemuDomain {
    async fn suspend(&self) -> Result<()> {
        self.shared.execute(&Stop {}).await.map(drop)
    }

    async fn resume(&self) -> Result<()> {
        self.shared.execute(&Cont {}).await.map(drop)
    }
}

/// QEMU has a power button and a reset button, but none that makes a guest reboot. So the power button is pressed, QEMU is
/// told to wait when the guest is off, and the attendant resets it then.
#[async_trait]
impl Reboot for QemuDomain {
    async fn reboot(&self, how: Shutdown) -> Result<()> {
        if how == Shutdown::Agent {
            return self.agent_power("reboot").await;
        }
        let wait = SetAction { shutdown: Some("pause"), ..SetAction::default() };
        self.shared.execute(&wait).await?;
        self.shared.rebooting.store(true, Ordering::SeqCst);
        let pressed = self.shared.execute(&SystemPowerdown {}).await;
        if pressed.is_err() {
            self.shared.rebooting.store(false, Ordering::SeqCst);
        }
        pressed.map(drop)
    }
}

#[async_trait]
impl Reset for QemuDomain {
    async fn reset(&self) -> Result<()> {
        self.shared.execute(&SystemReset {}).await.map(drop)
    }
}

#[async_trait]
impl PowerManagement for QemuDomain {
    async fn suspend(&self, to: SleepTarget) -> Result<()> {
        self.agent_sleep(to).await
    }

    async fn wake(&self) -> Result<()> {
        // QEMU takes the order of a guest that is awake, too, and an older one without a word.
        let state = state_of(&self.shared.execute(&QueryStatus {}).await?.status);
        if state != GuestState::PmSuspended {
            let problem = format!("the guest does not sleep, it is {}", state.name());
            return Err(Error::new(ErrorKind::InvalidState, problem));
        }
        self.shared.execute(&SystemWakeup {}).await.map(drop)
    }
}

#[async_trait]
impl LifecycleActions for QemuDomain {
    async fn set(&self, config: &DomainConfig) -> Result<()> {
        let (reboot, shutdown, panic) = actions(config);
        // A guest that is being rebooted is to wait when it is off, whatever its definition says.
        let shutdown = if self.shared.rebooting.load(Ordering::SeqCst) { "pause" } else { shutdown };
        let actions = SetAction { reboot: Some(reboot), shutdown: Some(shutdown), panic: Some(panic), watchdog: None };
        self.shared.execute(&actions).await.map(drop)
    }
}
