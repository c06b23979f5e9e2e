//! Pause, reboot, reset.

use std::sync::atomic::Ordering;

use polyvirt_core::{Pause, Reboot, Reset, Result, async_trait};
use polyvirt_qmp::{Cont, SetAction, Stop, SystemPowerdown, SystemReset};

use super::QemuDomain;

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
    async fn reboot(&self) -> Result<()> {
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
