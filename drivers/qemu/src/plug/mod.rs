//! Putting devices in and taking them out while QEMU runs: as the difference of two command lines.
//!
//! What a definition with the device would start with, and the one without it would not, is what QEMU is told over the monitor, in the
//! same order. So a device that is plugged in is the device that a start would have given the guest, and there is one description of
//! it. The names of devices and block nodes do not change while a guest runs (`command::name_devices`, `command::disk::number_images`),
//! and names are all that is compared.
//!
//! | on the command line | put in | taken out |
//! |---|---|---|
//! | `-object` | `object-add` | `object-del` |
//! | `-blockdev` | `blockdev-add` | `blockdev-del` |
//! | `-chardev` | `chardev-add` | `chardev-remove` |
//! | `-netdev` | `netdev_add` | `netdev_del` |
//! | `-device` | `device_add` | `device_del`, then `DEVICE_DELETED` |
//!
//! All else can only be had from the start on.

mod chardev;
mod orders;
mod parts;
mod sweep;

use std::sync::Arc;

use polyvirt_core::{
    Result,
    model::{DomainConfig, disk::Disk},
    placement::Plan,
};

pub(crate) use self::{
    orders::{Trouble, ask_for, put_in, take_out, with_threads},
    parts::{Difference, Kind, Part, difference},
    sweep::{devices, nodes, strangers},
};
use crate::{
    command::{self, Folders, HandedTap, Images, Input, MonitorAt, Purpose, disk},
    config::Config,
    driver,
    probe::Binary,
    scsi,
};

/// All but the definition that a guest's command line follows from.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    pub(crate) binary: Arc<Binary>,
    pub(crate) settings: Arc<Config>,
    pub(crate) folders: Folders,
}

impl Builder {
    /// The command line that a guest of this definition would be run with.
    pub(crate) fn arguments(
        &self,
        config: &DomainConfig,
        plan: Option<&Plan>,
        taps: &[HandedTap],
        monitor: MonitorAt,
        incoming: Option<&str>,
    ) -> Result<Vec<String>> {
        command::build(&self.input(config, plan, taps, monitor, incoming))
    }

    fn input<'a>(
        &'a self,
        config: &'a DomainConfig,
        plan: Option<&'a Plan>,
        taps: &'a [HandedTap],
        monitor: MonitorAt,
        incoming: Option<&'a str>,
    ) -> Input<'a> {
        Input {
            config,
            plan,
            binary: &self.binary,
            folders: &self.folders,
            monitor,
            sandbox: self.sandboxed(),
            settings: &self.settings,
            purpose: Purpose::Run,
            incoming,
            taps,
            now: driver::now(),
            generic_scsi: scsi::generic,
            host_cpu: None,
        }
    }

    /// The block nodes of a running guest's disk; `None` if it has no image.
    pub(crate) fn images(&self, config: &DomainConfig, disk: &Disk) -> Option<Images> {
        disk::images_of(&self.input(config, None, &[], MonitorAt::Descriptor(0), None), disk)
    }

    /// Whether QEMU is confined.
    pub(crate) fn sandboxed(&self) -> bool {
        self.settings.sandbox && self.binary.sandbox()
    }

    /// Everything that QEMU was told of a guest's devices.
    pub(crate) fn parts(&self, config: &DomainConfig) -> Result<Vec<Part>> {
        let arguments = self.arguments(config, None, &[], MonitorAt::Descriptor(0), None)?;
        Ok(difference(&[], &arguments)?.added)
    }

    /// What lies between two definitions of a running guest.
    pub(crate) fn between(
        &self,
        before: &DomainConfig,
        after: &DomainConfig,
        plan: Option<&Plan>,
        taps: &[HandedTap],
    ) -> Result<Difference> {
        let arguments = |config| self.arguments(config, plan, taps, MonitorAt::Descriptor(0), None);
        difference(&arguments(before)?, &arguments(after)?)
    }
}
