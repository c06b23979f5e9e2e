//! Completion of devices: numbers of controllers, hardware addresses, smart card readers, what is booted.

use std::collections::{HashMap, HashSet};

use crate::address::{Address, CcidAddress};
use crate::check::Seen;
use crate::codec::SizeUnit;
use crate::controller::{Controller, ControllerKind, ControllerModel};
use crate::devices::{Devices, Place};
use crate::domain::DomainConfig;
use crate::filesystem::{AccessMode, FilesystemKind};
use crate::interface::{Mac, MacAddress};
use crate::os::{BootDevice, BootDeviceKind, OsKind};

pub(super) fn complete(config: &mut DomainConfig) {
    boot(config);
    let identity = config.uuid.map(|uuid| *uuid.as_bytes()).unwrap_or_default();
    macs(&mut config.devices, &identity);
    controller_numbers(&mut config.devices);
    smartcards(&mut config.devices);
    filesystems(&mut config.devices);
}

/// A directory whose files keep their owners, if nothing is said; sizes of RAM disks are stored in KiB.
fn filesystems(devices: &mut Devices) {
    for filesystem in &mut devices.filesystems {
        filesystem.kind.get_or_insert(FilesystemKind::Mount);
        filesystem.accessmode.get_or_insert(AccessMode::Passthrough);
        let Some(source) = &mut filesystem.source else { continue };
        let unit = source.units.unwrap_or(SizeUnit::KIB);
        // One that is too large is a rule's to refuse.
        if let Some(Ok(size)) = source.usage.map(|usage| unit.kib(usage)) {
            source.usage = Some(size.0);
            source.units = Some(SizeUnit::KIB);
        }
    }
}

/// Where devices stand that say when they are booted, and what they say.
pub(crate) fn boot_orders(devices: &Devices) -> Vec<(Place, u32)> {
    let mut out = Vec::new();
    let mut add = |name, count, index, info: &crate::address::DeviceInfo| {
        if let Some(order) = info.boot.as_ref().and_then(|boot| boot.order) {
            out.push((Place::new(name, count, index), order));
        }
    };
    devices.disks.iter().enumerate().for_each(|(i, d)| add("disk", devices.disks.len(), i, &d.info));
    devices.interfaces.iter().enumerate().for_each(|(i, d)| add("interface", devices.interfaces.len(), i, &d.info));
    devices.hostdevs.iter().enumerate().for_each(|(i, d)| add("hostdev", devices.hostdevs.len(), i, d.info()));
    devices.redirdevs.iter().enumerate().for_each(|(i, d)| add("redirdev", devices.redirdevs.len(), i, &d.info));
    out
}

/// A machine boots its first disk if nothing is said.
fn boot(config: &mut DomainConfig) {
    let ordered = !boot_orders(&config.devices).is_empty();
    let Some(os) = &mut config.os else { return };
    let machine = os.r#type.as_ref().is_some_and(|kind| kind.kind == Some(OsKind::Hvm));
    if machine && os.boot.is_empty() && !ordered {
        os.boot.push(BootDevice { dev: Some(BootDeviceKind::Hd) });
    }
}

/// An address that is missing or all zeroes follows from the guest's identity, so that the same
/// definition gets the same one; the range is QEMU's.
fn macs(devices: &mut Devices, identity: &[u8; 16]) {
    let given: Seen<MacAddress> =
        devices.interfaces.iter().filter_map(|card| Some(card.mac.as_ref()?.address)).collect();
    for (at, card) in devices.interfaces.iter_mut().enumerate() {
        let mac = card.mac.get_or_insert_with(Mac::default);
        if mac.address == MacAddress::ZERO {
            mac.address = (at..).map(|at| derived(identity, at)).find(|mac| !given.contains(mac)).unwrap_or_default();
        }
    }
}

fn derived(identity: &[u8; 16], at: usize) -> MacAddress {
    // FNV-1a, 64 bits.
    let seed = identity.iter().copied().chain(at.to_le_bytes());
    let hash =
        seed.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let [a, b, c, ..] = hash.to_be_bytes();
    MacAddress([0x52, 0x54, 0x00, a, b, c])
}

/// A controller without a number gets the lowest free one of its kind. The parts of an ICH9's USB controller share one: a part
/// joins those before it unless they have one like it already. The first root of PCI is 0.
fn controller_numbers(devices: &mut Devices) {
    let numbers = devices.controllers.iter().filter_map(|controller| Some((controller.kind, controller.index?)));
    let mut taken: Seen<(Option<ControllerKind>, u32)> = numbers.collect();
    // Kept for the root, wherever it stands.
    let mut first_root = devices.controllers.iter().any(|it| is_root(it) && it.index.is_none())
        && taken.insert((Some(ControllerKind::Pci), 0), ()).is_none();
    let mut next: HashMap<Option<ControllerKind>, u32> = HashMap::new();
    let mut parts: Option<(u32, Vec<ControllerModel>)> = None;
    for controller in &mut devices.controllers {
        let kind = controller.kind;
        let part = controller.model.filter(|it| kind == Some(ControllerKind::Usb) && it.is_ich9());
        let joined = parts.as_ref().filter(|it| part.is_some_and(|part| !it.1.contains(&part))).map(|it| it.0);
        if controller.index.is_none() {
            controller.index = match joined {
                _ if first_root && is_root(controller) => {
                    first_root = false;
                    Some(0)
                }
                Some(joined) => Some(joined),
                _ => {
                    // Numbers are never given back, so the search goes on where it ended.
                    let next = next.entry(kind).or_default();
                    while taken.contains(&(kind, *next)) {
                        *next += 1;
                    }
                    Some(*next)
                }
            };
        }
        if let Some(index) = controller.index {
            taken.insert((kind, index), ());
            match (part, &mut parts) {
                (Some(part), Some((number, known))) if *number == index => known.push(part),
                (Some(part), _) => parts = Some((index, vec![part])),
                (None, _) => {}
            }
        }
    }
}

fn is_root(controller: &Controller) -> bool {
    controller.kind == Some(ControllerKind::Pci)
        && matches!(controller.model, Some(ControllerModel::PciRoot | ControllerModel::PcieRoot))
}

/// A smart card gets the next free slot of the first reader.
fn smartcards(devices: &mut Devices) {
    let place = |address: &Option<Address>| match address {
        Some(Address::Ccid(ccid)) => Some((ccid.controller.unwrap_or(0), ccid.slot.unwrap_or(0))),
        _ => None,
    };
    let mut taken: HashSet<(u32, u32)> =
        devices.smartcards.iter().filter_map(|card| place(&card.info.address)).collect();
    let mut next = 0;
    for card in devices.smartcards.iter_mut().filter(|card| card.info.address.is_none()) {
        while !taken.insert((0, next)) {
            next += 1;
        }
        let address = CcidAddress { controller: Some(0), slot: Some(next) };
        card.info.address = Some(Address::Ccid(address));
    }
}

/// Smart card readers that addresses name exist.
pub(super) fn imply_readers(devices: &mut Devices) {
    let place = |address: &Option<Address>| match address {
        Some(Address::Ccid(ccid)) => Some(ccid.controller.unwrap_or(0)),
        _ => None,
    };
    let mut readers: Vec<u32> = devices.smartcards.iter().filter_map(|card| place(&card.info.address)).collect();
    readers.sort_unstable();
    readers.dedup();
    let known: HashSet<u32> = devices
        .controllers
        .iter()
        .filter(|controller| controller.kind == Some(ControllerKind::Ccid))
        .filter_map(|controller| controller.index)
        .collect();
    for index in readers.into_iter().filter(|index| !known.contains(index)) {
        let reader = Controller { kind: Some(ControllerKind::Ccid), index: Some(index), ..Controller::default() };
        devices.controllers.push(reader);
    }
}
