//! Rules of addresses: numbers within what a bus has, and one device at a place (manual: formatdomain, Device Addresses).

use super::{Report, Seen};
use crate::address::{Address, CcwAddress, DeviceInfo, PciAddress};
use crate::devices::Place;
use crate::disk::DiskBus;
use crate::domain::DomainConfig;

pub(super) fn check(config: &DomainConfig, infos: &[(Place, &DeviceInfo)], report: &mut Report<'_>) {
    let mut pci: Seen<[u32; 4], Place> = Seen::new();
    let mut ccw: Seen<(u32, u32, u32), Place> = Seen::new();
    let mut slots: Seen<u32, Place> = Seen::new();
    for &(place, info) in infos {
        if place.is_first_console() {
            continue;
        }
        let path = || format!("{place}/address");
        match &info.address {
            Some(Address::Pci(address)) => {
                pci_numbers(place, address, report);
                pci_once(place, address, &mut pci, report);
            }
            Some(Address::Ccw(address)) => {
                ccw_numbers(place, address, report);
                if let (Some(cssid), Some(ssid), Some(devno)) = (address.cssid, address.ssid, address.devno)
                    && let Some(other) = ccw.insert((cssid, ssid, devno), place)
                {
                    report.error(path(), format!("{other} is at this address already, each has one device"));
                }
            }
            Some(Address::Dimm(address)) => {
                if let Some(slot) = address.slot
                    && let Some(other) = slots.insert(slot, place)
                {
                    report.error(path(), format!("{other} is in slot {slot} already, each takes one memory device"));
                }
            }
            _ => {}
        }
    }
    memory_ranges(config, report);
}

/// The parts of a PCI address, and the largest number of each.
fn pci_numbers(place: Place, address: &PciAddress, report: &mut Report<'_>) {
    let parts = [
        ("domain", address.domain, 0xffff),
        ("bus", address.bus, 0xff),
        ("slot", address.slot, 0x1f),
        ("function", address.function, 7),
    ];
    for (name, number, most) in parts {
        if let Some(number) = number.filter(|number| *number > most) {
            report.error(
                format!("{place}/address/@{name}"),
                format!("PCI {name} {number:#x}, 0 to {most:#x} are possible"),
            );
        }
    }
    if let Some(uid) = address.zpci.as_ref().and_then(|zpci| zpci.uid).filter(|uid| !(1..=0xffff).contains(uid)) {
        report.error(
            format!("{place}/address/zpci/@uid"),
            format!("zPCI identifier {uid:#x}, 0x1 to 0xffff are possible"),
        );
    }
}

/// An address without a slot asks for one, so it collides with nothing.
fn pci_once(place: Place, address: &PciAddress, seen: &mut Seen<[u32; 4], Place>, report: &mut Report<'_>) {
    let Some(slot) = address.slot else { return };
    let part = |number: Option<u32>| number.unwrap_or(0);
    let key = [part(address.domain), part(address.bus), slot, part(address.function)];
    // The root itself is at no address that a device could have.
    if key == [0; 4] {
        return;
    }
    if let Some(other) = seen.insert(key, place) {
        report
            .error(format!("{place}/address"), format!("{other}/address is the same, each PCI address has one device"));
    }
}

fn ccw_numbers(place: Place, address: &CcwAddress, report: &mut Report<'_>) {
    let parts = [("cssid", address.cssid, 0xfe), ("ssid", address.ssid, 3), ("devno", address.devno, 0xffff)];
    for (name, number, most) in parts {
        if let Some(number) = number.filter(|number| *number > most) {
            report
                .error(format!("{place}/address/@{name}"), format!("{name} {number:#x}, 0 to {most:#x} are possible"));
        }
    }
}

/// The bus of a disk: what is said, or what its name says.
pub(super) fn bus_of(disk: &crate::disk::Disk) -> Option<DiskBus> {
    let target = disk.target.as_ref()?;
    target.bus.or_else(|| match target.dev.as_str() {
        name if name.starts_with("hd") => Some(DiskBus::Ide),
        name if name.starts_with("sd") => Some(DiskBus::Scsi),
        name if name.starts_with("vd") => Some(DiskBus::Virtio),
        name if name.starts_with("fd") => Some(DiskBus::Fdc),
        name if name.starts_with("xvd") => Some(DiskBus::Xen),
        _ => None,
    })
}

/// virtio memory devices that say where they are mapped do not overlap. What a DIMM takes of its range depends on its label.
fn memory_ranges(config: &DomainConfig, report: &mut Report<'_>) {
    let devices = &config.devices.memories;
    let mut ranges: Vec<(u128, u128, usize)> = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        let Some(target) = &device.target else { continue };
        let base = target.address.as_ref().map(|address| address.base);
        if let (Some(base), Some(size)) = (base.filter(|base| *base != 0), target.size) {
            ranges.push((u128::from(base), u128::from(base) + u128::from(size.0) * 1024, index));
        }
    }
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        if let [(_, end, first), (start, _, second)] = *pair
            && start < end
        {
            let path = |index| format!("/domain/devices/{}", super::nth("memory", devices.len(), index));
            let message =
                format!("begins at {start:#x}, within {}, which ends at {end:#x}, move one of them", path(first));
            report.error(path(second), message);
        }
    }
}
