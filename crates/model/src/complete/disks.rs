//! Completion of disks: their places on controllers, which follow from their names, and the controllers that devices need.

use std::collections::HashSet;

use crate::address::{Address, DriveAddress};
use crate::chardev::{ChannelTargetType, ConsoleTargetType};
use crate::controller::{Controller, ControllerKind};
use crate::devices::Devices;
use crate::disk::{Disk, DiskBus, DiskDevice, DiskTarget};
use crate::hostdev::Hostdev;
use crate::storage::SourceKind;

/// Controllers of one kind that follow from addresses of devices; beyond it an address is a mistake of the user's.
const MAX_IMPLIED: u32 = 64;

/// A place: controller, bus, target, unit.
type Place = (u32, u32, u32, u64);

pub(super) fn complete(devices: &mut Devices) {
    let mut taken: HashSet<Place> = devices
        .hostdevs
        .iter()
        .filter_map(|device| match device {
            Hostdev::Scsi(_) => place(device.info().address.as_ref()),
            _ => None,
        })
        .collect();
    order(&mut devices.disks);
    for disk in &mut devices.disks {
        disk.kind.get_or_insert(SourceKind::File);
        let device = *disk.device.get_or_insert(DiskDevice::Disk);
        disk.readonly |= device == DiskDevice::Cdrom;
        let scsi = disk.target.as_ref().is_some_and(|target| target.bus == Some(DiskBus::Scsi));
        if disk.info.address.is_none() {
            let mut implied = disk.target.as_ref().and_then(|target| target.drive_address(0));
            // A device of the host that sits there already pushes the disk on.
            for after in (1..MAX_IMPLIED).take_while(|_| scsi) {
                let address = implied.clone().map(Address::Drive);
                if place(address.as_ref()).is_none_or(|place| !taken.contains(&place)) {
                    break;
                }
                implied = disk.target.as_ref().and_then(|target| target.drive_address(after));
            }
            disk.info.address = implied.map(Address::Drive);
        }
        if scsi {
            taken.extend(place(disk.info.address.as_ref()));
        }
    }
}

/// Disks of a bus stand in the order of their names, where the first of them stood.
fn order(disks: &mut [Disk]) {
    let mut buses: Vec<Option<DiskBus>> = Vec::new();
    let keys = disks.iter().map(|disk| {
        let bus = disk.target.as_ref().and_then(|target| target.bus);
        let rank = buses.iter().position(|known| *known == bus).unwrap_or_else(|| {
            buses.push(bus);
            buses.len() - 1
        });
        (rank, disk.target.as_ref().and_then(DiskTarget::number))
    });
    let keys: Vec<_> = keys.collect();
    // Nearly all are written so; the others are moved.
    if !keys.is_sorted() {
        let mut keys = keys.into_iter();
        disks.sort_by_cached_key(|_| keys.next());
    }
}

fn place(address: Option<&Address>) -> Option<Place> {
    let Some(Address::Drive(at)) = address else { return None };
    Some((at.controller.unwrap_or(0), at.bus.unwrap_or(0), at.target.unwrap_or(0), at.unit.unwrap_or(0)))
}

impl DiskTarget {
    /// The number that the name says: `vda` is 0, `sdz` 25, `hdaa` 26; `sda1` is `sda`.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        let letters = ["xvd", "ubd", "vd", "sd", "hd", "fd"].iter().find_map(|prefix| self.dev.strip_prefix(prefix))?;
        let letters = letters.trim_end_matches(|c: char| c.is_ascii_digit());
        if letters.is_empty() || letters.len() > 4 || !letters.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return None;
        }
        letters.bytes().map(|byte| u32::from(byte - b'a') + 1).reduce(|n, digit| n * 26 + digit).map(|n| n - 1)
    }

    /// The place on a controller that follows from bus and name (`after` places further on): four disks on an IDE controller of
    /// two buses, two on a floppy controller, six on SATA, seven on SCSI, whose eighth place is the controller's own.
    #[must_use]
    pub fn drive_address(&self, after: u32) -> Option<DriveAddress> {
        let n = self.number()?.checked_add(after)?;
        let (controller, bus, unit) = match self.bus? {
            DiskBus::Ide => (n / 4, n / 2 % 2, n % 2),
            DiskBus::Fdc => (n / 2, 0, n % 2),
            DiskBus::Sata => (n / 6, 0, n % 6),
            DiskBus::Scsi => (n / 7, 0, n % 7),
            _ => return None,
        };
        Some(DriveAddress {
            controller: Some(controller),
            bus: Some(bus),
            target: Some(0),
            unit: Some(u64::from(unit)),
        })
    }
}

/// Every controller that an address names exists; of those for disks also the ones before it.
pub(super) fn imply_controllers(devices: &mut Devices) {
    let of_disk = |disk: &Disk| {
        let kind = match disk.target.as_ref()?.bus? {
            DiskBus::Ide => ControllerKind::Ide,
            DiskBus::Fdc => ControllerKind::Fdc,
            DiskBus::Scsi => ControllerKind::Scsi,
            DiskBus::Sata => ControllerKind::Sata,
            _ => return None,
        };
        Some((kind, place(disk.info.address.as_ref())?.0))
    };
    let of_serial = |address: Option<&Address>| match address {
        Some(Address::VirtioSerial(at)) => (ControllerKind::VirtioSerial, at.controller.unwrap_or(0)),
        _ => (ControllerKind::VirtioSerial, 0),
    };
    let disks = devices.disks.iter().filter_map(of_disk);
    let hostdevs = devices.hostdevs.iter().filter_map(|device| match device {
        Hostdev::Scsi(_) => Some((ControllerKind::Scsi, place(device.info().address.as_ref())?.0)),
        _ => None,
    });
    let channels = devices
        .channels
        .iter()
        .filter(|it| it.target.as_ref().is_some_and(|target| target.kind == Some(ChannelTargetType::Virtio)));
    let consoles = devices
        .consoles
        .iter()
        .filter(|it| it.target.as_ref().is_some_and(|target| target.kind == Some(ConsoleTargetType::Virtio)));
    let serials = channels.map(|it| &it.info).chain(consoles.map(|it| &it.info));
    let serials = serials.map(|info| of_serial(info.address.as_ref()));
    let mut needed: Vec<(ControllerKind, u32)> = Vec::new();
    let all = disks.chain(hostdevs).map(|(kind, last)| (kind, 0, last)).chain(serials.map(|(kind, it)| (kind, it, it)));
    for (kind, first, last) in all {
        for index in first..=last.min(MAX_IMPLIED) {
            if !needed.contains(&(kind, index)) {
                needed.push((kind, index));
            }
        }
    }
    // By kind, whatever came first: the order decides on their PCI addresses.
    let rank = |kind| {
        [ControllerKind::Scsi, ControllerKind::Fdc, ControllerKind::Ide, ControllerKind::Sata]
            .iter()
            .position(|it| *it == kind)
    };
    needed.sort_by_key(|(kind, _)| rank(*kind).unwrap_or(usize::MAX));
    for (kind, index) in needed {
        if !devices.controllers.iter().any(|it| it.kind == Some(kind) && it.index.unwrap_or(0) == index) {
            devices.controllers.push(Controller::default().with_kind(kind).with_index(index));
        }
    }
}

#[cfg(test)]
mod tests {
    use polyvirt_xml::ParseOptions;

    use super::*;
    use crate::domain::DomainConfig;

    fn devices(text: &str) -> Devices {
        let text = format!("<domain type='kvm'><name>a</name><devices>{text}</devices></domain>");
        let mut devices = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config.devices;
        complete(&mut devices);
        imply_controllers(&mut devices);
        devices
    }

    fn at(dev: &str, bus: &str) -> Place {
        let devices = devices(&format!("<disk><target dev='{dev}' bus='{bus}'/></disk>"));
        place(devices.disks[0].info.address.as_ref()).unwrap()
    }

    #[test]
    fn places_follow_from_names() {
        assert_eq!(at("hdd", "ide"), (0, 1, 0, 1));
        assert_eq!(at("sdg", "sata"), (1, 0, 0, 0));
        assert_eq!(at("sdh1", "scsi"), (1, 0, 0, 0));
        assert_eq!(at("fdb", "fdc"), (0, 0, 0, 1));
        let names = ["vda", "vdz", "vdaa", "xvdb", "vd", "vd1", "nvme0", "vdA", "vdaaaaa"];
        let numbers = names.map(|dev| DiskTarget::new(dev).number());
        assert_eq!(numbers, [Some(0), Some(25), Some(26), Some(1), None, None, None, None, None]);
    }

    #[test]
    fn a_disk_makes_way_and_controllers_exist() {
        let scsi = "<hostdev mode='subsystem' type='scsi'><source><adapter name='h'/><address bus='0' target='0' unit='0'/></source>
            <address type='drive' controller='0' bus='0' target='0' unit='1'/></hostdev>";
        let disk =
            "<disk device='cdrom'><target dev='sdb' bus='scsi'/></disk><disk><target dev='hde' bus='ide'/></disk>";
        let devices = devices(&format!("{disk}{scsi}<channel type='pty'><target type='virtio' name='n'/></channel>"));
        assert_eq!(place(devices.disks[0].info.address.as_ref()), Some((0, 0, 0, 2)));
        assert!(devices.disks[0].readonly);
        let made: Vec<_> = devices.controllers.iter().map(|it| (it.kind.unwrap(), it.index.unwrap())).collect();
        use ControllerKind::{Ide, Scsi, VirtioSerial};
        assert_eq!(made, [(Scsi, 0), (Ide, 0), (Ide, 1), (VirtioSerial, 0)]);
    }

    #[test]
    fn a_hostile_address_makes_no_flood_of_controllers() {
        let text = "<disk><target dev='sda' bus='scsi'/><address type='drive' controller='4294967295'/></disk>";
        assert!(devices(text).controllers.len() <= 65);
    }

    #[test]
    fn disks_of_a_bus_stand_together_in_the_order_of_their_names() {
        let names = |given: &[(&str, &str)]| {
            let text: String =
                given.iter().map(|(dev, bus)| format!("<disk><target dev='{dev}' bus='{bus}'/></disk>")).collect();
            let disks = devices(&text).disks;
            disks.iter().filter_map(|it| Some(it.target.as_ref()?.dev.clone())).collect::<Vec<_>>()
        };
        assert_eq!(names(&[("vda", "virtio"), ("vdb", "virtio"), ("hda", "ide")]), ["vda", "vdb", "hda"]);
        assert_eq!(names(&[("vdb", "virtio"), ("hda", "ide"), ("vda", "virtio")]), ["vda", "vdb", "hda"]);
        assert_eq!(names(&[("vda", "virtio"), ("hda", "ide"), ("vdb", "virtio")]), ["vda", "vdb", "hda"]);
        assert_eq!(
            names(&[("vdb", "virtio"), ("vda", "virtio"), ("hda", "ide"), ("sda", "sata")]),
            ["vda", "vdb", "hda", "sda"]
        );
        assert_eq!(names(&[("sdaa", "scsi"), ("sdz", "scsi"), ("hda", "ide")]), ["sdz", "sdaa", "hda"]);
    }
}
