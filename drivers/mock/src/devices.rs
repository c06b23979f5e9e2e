//! Simulated devices: they come at once, and go as soon as they are asked for unless the guest is deaf.

use std::time::Duration;

use polyvirt_core::{
    Detached, DeviceAttach, DeviceChange, DeviceDetach, DeviceUpdate, LiveConfig, LiveEffect, Result, Signal,
    async_trait, model::DomainConfig,
};

use crate::domain::MockDomain;

/// Gives every device a name that no other has.
pub(crate) fn name(config: &mut DomainConfig) {
    let taken = config.clone();
    let mut names = (0..u32::MAX).map(|it| format!("device{it}")).filter(|it| taken.devices.named(it).is_none());
    config.devices.name_nameless(|| names.next().unwrap_or_default());
    crate::block_jobs::number_images(config);
    // They are one device.
    if let (Some(port), Some(console)) = (config.devices.serials.first(), config.devices.consoles.first_mut()) {
        console.info.alias.clone_from(&port.info.alias);
    }
}

#[async_trait]
impl DeviceAttach for MockDomain {
    async fn resolve(&self, _: &LiveConfig, after: &mut LiveConfig) -> Result<()> {
        name(&mut after.config);
        Ok(())
    }

    async fn attach(&self, _: &DeviceChange) -> Result<Vec<LiveEffect>> {
        self.alive()?;
        Ok(Vec::new())
    }
}

#[async_trait]
impl DeviceDetach for MockDomain {
    async fn detach(&self, change: &DeviceChange, _: Duration) -> Result<Detached> {
        self.alive()?;
        if self.settings.deaf {
            return Ok(Detached::Requested);
        }
        for device in change.before.config.devices.new_since(&change.after.config.devices) {
            self.guest.tell(Signal::DeviceRemoved(device.alias().unwrap_or_default())).await;
        }
        Ok(Detached::Gone)
    }
}

#[async_trait]
impl DeviceUpdate for MockDomain {
    async fn update(&self, _: &DeviceChange, _: bool) -> Result<Vec<LiveEffect>> {
        self.alive()?;
        Ok(Vec::new())
    }
}
