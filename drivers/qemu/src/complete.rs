//! Defaults that a definition gets when it is stored. Pure and idempotent.
//!
//! What libvirt's users meet every day: machine, CPU, emulator, controllers, devices, and where they sit.

mod addresses;
mod board;
mod channels;
mod controllers;
mod cpu;
mod disks;
mod displays;
mod firmware;
mod implicit;
mod memory;
mod models;

use polyvirt_core::model::{DomainConfig, Guest, Problems};
use polyvirt_core::placement::VcpuSet;
use polyvirt_firmware::Firmwares;

use crate::{config::Config, probe::Binary};

/// What who asks for completion decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices {
    /// Whether the guest may have run before.
    pub(crate) guest: Guest,
    /// Keep the name that stands for the newest machine of its kind.
    pub(crate) keep_machine_alias: bool,
    /// Whether the guest runs: what was made for this run stays.
    pub(crate) running: bool,
}

impl Default for Choices {
    fn default() -> Self {
        Self { guest: Guest::Existing, keep_machine_alias: false, running: false }
    }
}

/// What completion goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    /// What the QEMU can do.
    pub(crate) binary: &'a Binary,
    /// The driver's settings.
    pub(crate) settings: &'a Config,
    /// The firmware of the host; only read for guests that [`wants_firmware`].
    pub(crate) firmware: &'a Firmwares,
    /// What who asks decides.
    pub(crate) choices: Choices,
}

/// Whether completing a definition needs to know what firmware there is.
pub(crate) fn wants_firmware(config: &DomainConfig) -> bool {
    config.os.as_ref().is_some_and(|os| os.firmware.is_some() || os.loader.is_some())
}

/// Fills them in.
///
/// # Errors
/// Addresses that cannot be, and more devices than there are places for.
pub(crate) fn complete(config: &mut DomainConfig, given: &Given<'_>) -> Result<(), Problems> {
    let Given { binary, settings, choices, .. } = *given;
    machine(config, binary, choices);
    firmware::complete(config, given)?;
    memory::complete(config, choices.guest);
    cells(config);
    cpu::complete(config, binary);
    config.devices.emulator.get_or_insert_with(|| binary.path.to_string_lossy().into_owned());
    implicit::complete(config, given);
    disks::complete(config);
    displays::complete(config, settings);
    channels::complete(config);
    if !choices.running {
        displays::forget_made(config, settings);
        channels::forget_made(config, settings);
    }
    models::complete(config, binary, settings);
    controllers::complete(config, binary, choices.guest);
    addresses::assign(config, binary)
}

fn machine(config: &mut DomainConfig, binary: &Binary, choices: Choices) {
    let kind = config.os.get_or_insert_default().r#type.get_or_insert_default();
    kind.arch.get_or_insert_with(|| crate::capabilities::arch(binary).to_owned());
    let found = match &kind.machine {
        Some(name) => binary.machine(name),
        None => binary.default_machine(),
    };
    // The name of a version, so that a newer QEMU still shows the guest the same machine.
    if let Some(found) = found.filter(|_| kind.machine.is_none() || !choices.keep_machine_alias) {
        kind.machine = Some(found.name.clone());
    }
}

/// Rule C5: vCPUs that no cell names are the first one's, where QEMU puts them itself.
fn cells(config: &mut DomainConfig) {
    let all = VcpuSet::of_range(0, config.vcpus_max().saturating_sub(1));
    let Some(numa) = config.cpu.as_mut().and_then(|cpu| cpu.numa.as_mut()) else { return };
    let named =
        numa.cell.iter().filter_map(|cell| cell.cpus.as_ref()).fold(VcpuSet::new(), |set, cpus| set.union(cpus));
    let homeless = all.difference(&named);
    if let Some(first) = numa.cell.first_mut().filter(|_| !homeless.is_empty()) {
        first.cpus = Some(first.cpus.take().unwrap_or_default().union(&homeless));
    }
}
