//! Limits of disks, told to QEMU.

use polyvirt_core::{BlockThrottle, Error, ErrorKind, Result, async_trait, model::disk::Disk};

use super::{ANSWER, QemuDomain};
use crate::{failure::monitor_error, orders};

#[async_trait]
impl BlockThrottle for QemuDomain {
    async fn set(&self, disk: &Disk) -> Result<()> {
        let told = orders::tell_limits(&self.shared.parts.monitor, disk, ANSWER).await;
        if told.map_err(|error| monitor_error(&error))? {
            return Ok(());
        }
        let name = disk.target.as_ref().map_or("", |it| it.dev.as_str());
        Err(Error::new(ErrorKind::InvalidState, format!("the drive '{name}' has no medium, and so nothing to limit"))
            .hint("put one in first, or change the stored definition with --config"))
    }
}
