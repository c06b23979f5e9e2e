//! Where devices sit: addresses for all that have none and need one, the bridges that takes, and what is wrong with those that
//! were given.
//!
//! Pure and idempotent: a complete definition is not changed. What is given is reserved first and never moved. The order in which
//! devices get free places is part of what the guest sees and does not change between releases.
//!
//! USB ports and memory addresses of DIMMs are left to QEMU, which gives the same ones for the same command line.

mod ccw;
mod devices;
mod dimm;
mod fits;
mod needs;
mod pci;
mod serial;
mod spapr;
#[cfg(test)]
mod tests;
mod usb;

use polyvirt_core::model::{
    DomainConfig, Problem, Problems,
    address::Address,
    chardev::{Console, ConsoleTargetType},
};

use self::{
    devices::{Device, all},
    needs::{Need, need},
};
use super::board::{Board, Transport};
use crate::probe::Binary;

/// Gives every device its place.
///
/// # Errors
/// Places that are taken, that no bus has, or that fit the device badly; more devices than there are places for.
pub(super) fn assign(config: &mut DomainConfig, binary: &Binary) -> Result<(), Problems> {
    let mut found: Vec<Problem> = Vec::new();
    fits::check(config, &mut found);
    usb::check(config, &mut found);
    drives(config);
    serial::assign(config, &mut found);
    spapr::assign(config, &mut found);
    virtio(config, binary);
    ccw::assign(config, &mut found);
    if found.is_empty() {
        pci::assign(config, binary, &mut found);
    }
    dimm::assign(config, &mut found);
    first_console(config);
    if found.is_empty() { Ok(()) } else { Err(found.into_iter().collect()) }
}

/// Numbers of a drive's place that are not given are 0.
fn drives(config: &mut DomainConfig) {
    for device in all(config) {
        if let Some(Address::Drive(at)) = device.info_mut(&mut config.devices).and_then(|it| it.address.as_mut()) {
            for number in [&mut at.controller, &mut at.bus, &mut at.target] {
                number.get_or_insert(0);
            }
            at.unit.get_or_insert(0);
        }
    }
}

/// Marks virtio devices that say nothing and do not go to PCI: they get a bus without places, or their place by [`ccw`].
fn virtio(config: &mut DomainConfig, binary: &Binary) {
    let board = Board::of(config);
    let transport = match board.transport(binary) {
        Transport::Pci if prefers_mmio(config, board) => Transport::Mmio,
        other => other,
    };
    let address = match transport {
        Transport::Mmio => Address::VirtioMmio(Default::default()),
        Transport::Ccw => Address::Ccw(Default::default()),
        Transport::Pci | Transport::None => return,
    };
    for device in all(config) {
        let wants = match need(config, device, board) {
            Need::Virtio { .. } => true,
            Need::Ccw => transport == Transport::Ccw,
            _ => false,
        };
        let info = device.info_mut(&mut config.devices).filter(|_| wants);
        if let Some(info) = info.filter(|info| info.address.is_none()) {
            info.address = Some(address.clone());
        }
    }
}

/// Who puts every virtio device that has a place on the board's own transports, and none on PCI, means the others too.
fn prefers_mmio(config: &DomainConfig, board: &Board) -> bool {
    let mut mmio = false;
    for device in all(config) {
        match device.info(&config.devices).and_then(|it| it.address.as_ref()) {
            Some(Address::VirtioMmio(_)) => mmio = true,
            Some(Address::Pci(_)) if matches!(need(config, device, board), Need::Virtio { .. }) => return false,
            _ => {}
        }
    }
    mmio
}

/// A problem with the address of a device.
fn problem(config: &DomainConfig, device: Device, message: impl Into<String>) -> Problem {
    Problem::error(format!("{}/address", device.path(&config.devices)), message)
}

/// The first console can be the first serial port once more: then it is at the same place.
fn first_console(config: &mut DomainConfig) {
    let Some(address) = config.devices.serials.first().and_then(|it| it.info.address.clone()) else { return };
    let same = |it: &&mut Console| it.target.as_ref().and_then(|it| it.kind) == Some(ConsoleTargetType::Serial);
    if let Some(console) = config.devices.consoles.first_mut().filter(same) {
        console.info.address = Some(address);
    }
}
