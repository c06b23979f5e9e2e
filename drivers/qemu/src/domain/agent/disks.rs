//! Which disk of a definition a guest means.
//!
//! The agent tells a disk's place on the guest's buses. A guest may number its PCI buses in its own way; then no disk is found there, and none
//! is named. Two disks at one place, which a guest could tell, do not exist: the first is taken.

use polyvirt_core::model::{
    DomainConfig,
    address::{Address, PciAddress},
    controller::ControllerKind,
    disk::Disk,
};
use polyvirt_qmp::agent::commands::{DiskAddress, PciPlace};

/// The `<target>` of the disk that is there.
pub(super) fn target(told: &DiskAddress, config: &DomainConfig) -> Option<String> {
    let found = config.devices.disks.iter().find(|disk| is_there(disk, told, config))?;
    found.target.as_ref().map(|it| it.dev.clone())
}

fn is_there(disk: &Disk, told: &DiskAddress, config: &DomainConfig) -> bool {
    let Some(place) = told.pci_controller else { return false };
    match &disk.info.address {
        Some(Address::Pci(address)) => is(address, place),
        Some(Address::Drive(drive)) => {
            let kind = match told.bus_type.as_str() {
                "sata" => ControllerKind::Sata,
                "scsi" | "virtio" => ControllerKind::Scsi,
                "ide" => ControllerKind::Ide,
                _ => return false,
            };
            let number = |it: Option<u32>| i64::from(it.unwrap_or(0));
            let unit = drive.unit.and_then(|it| i64::try_from(it).ok()).unwrap_or(0);
            let here = (number(drive.bus), number(drive.target), unit) == (told.bus, told.target, told.unit);
            let controllers = &config.devices.controllers;
            here && controllers.iter().any(|it| {
                let at = matches!(&it.info.address, Some(Address::Pci(address)) if is(address, place));
                at && it.kind == Some(kind) && it.index.unwrap_or(0) == drive.controller.unwrap_or(0)
            })
        }
        _ => false,
    }
}

fn is(address: &PciAddress, place: PciPlace) -> bool {
    let number = |it: Option<u32>| i64::from(it.unwrap_or(0));
    let ours = [address.domain, address.bus, address.slot, address.function].map(number);
    ours == [place.domain, place.bus, place.slot, place.function]
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    #[test]
    fn disks_are_found_by_their_places() {
        let text = "<domain type='qemu'><name>a</name><memory>1</memory><devices>
            <disk type='file'><target dev='vda' bus='virtio'/><address type='pci' domain='0' bus='3' slot='0' function='0'/></disk>
            <disk type='file'><target dev='sdb' bus='sata'/><address type='drive' controller='0' bus='0' target='0' unit='1'/></disk>
            <controller type='sata' index='0'><address type='pci' domain='0' bus='0' slot='0x1f' function='2'/></controller>
            </devices></domain>";
        let config = DomainConfig::parse(text, &ParseOptions::default()).unwrap().config;
        let told = |kind: &str, unit: i64, bus: i64, slot: i64, function: i64| {
            let place = serde_json::json!({"domain": 0, "bus": bus, "slot": slot, "function": function});
            let told =
                serde_json::json!({"bus-type": kind, "bus": 0, "target": 0, "unit": unit, "pci-controller": place});
            target(&serde_json::from_value(told).unwrap(), &config)
        };
        assert_eq!(told("virtio", 0, 3, 0, 0).as_deref(), Some("vda"));
        assert_eq!(told("sata", 1, 0, 0x1f, 2).as_deref(), Some("sdb"));
        for (kind, unit, bus, slot, function) in
            [("sata", 0, 0, 0x1f, 2), ("sata", 1, 0, 0x1e, 2), ("usb", 1, 0, 0x1f, 2), ("virtio", 0, -1, -1, -1)]
        {
            assert_eq!(told(kind, unit, bus, slot, function), None, "{kind} {unit} {bus}");
        }
        let bare = serde_json::from_value(serde_json::json!({"bus-type": "virtio"})).unwrap();
        assert_eq!(target(&bare, &config), None);
    }
}
