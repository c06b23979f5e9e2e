//! Rules of places: no two disks sit on the same one, and no device of the host is given twice.

use polyvirt_xml::{Positions, Problems};

use super::addresses::bus_of;
use super::{MAX_PROBLEMS, Seen};
use crate::address::Address;
use crate::devices::{Devices, Place};
use crate::disk::DiskBus;
use crate::hostdev::Hostdev;

pub(super) fn check(devices: &Devices, positions: &Positions) -> Problems {
    let mut problems = Problems::new();
    let mut error = |path: String, message: String| {
        if problems.len() < MAX_PROBLEMS {
            problems.push(positions.error(&path, message));
        }
    };
    let mut places: Seen<(DiskBus, [u64; 4]), &str> = Seen::new();
    for (at, disk) in devices.disks.iter().enumerate() {
        let Some(target) = &disk.target else { continue };
        let (Some(bus), Some(Address::Drive(drive))) = (bus_of(disk), &disk.info.address) else { continue };
        let path = Place::new("disk", devices.disks.len(), at);
        if let Some(other) = places.insert((bus, numbers(drive)), &target.dev) {
            error(
                format!("{path}/address"),
                format!("'{}' sits where '{other}' sits already, each place of bus '{bus}' takes one", target.dev),
            );
        }
    }
    let mut given: Seen<String, usize> = Seen::new();
    for (at, device) in devices.hostdevs.iter().enumerate() {
        let path = Place::new("hostdev", devices.hostdevs.len(), at);
        if let (Hostdev::Scsi(_), Some(Address::Drive(drive))) = (device, &device.info().address)
            && let Some(other) = places.get(&(DiskBus::Scsi, numbers(drive)))
        {
            error(format!("{path}/address"), format!("disk '{other}' sits there already, give another <address>"));
        }
        if let Some(other) = identity(device).and_then(|identity| given.insert(identity, at)) {
            error(format!("{path}/source"), format!("this is hostdev {} already, a device is given once", other + 1));
        }
    }
    problems
}

fn numbers(drive: &crate::address::DriveAddress) -> [u64; 4] {
    let small = |number: Option<u32>| u64::from(number.unwrap_or(0));
    [small(drive.controller), small(drive.bus), small(drive.target), drive.unit.unwrap_or(0)]
}

/// What tells one device of the host from another, where the definition says it.
fn identity(device: &Hostdev) -> Option<String> {
    match device {
        Hostdev::Pci(pci) => {
            let at = pci.source.as_ref()?.address.as_ref()?;
            Some(format!(
                "pci {:?} {:?} {:?} {:?}",
                at.domain.unwrap_or(0),
                at.bus?,
                at.slot?,
                at.function.unwrap_or(0)
            ))
        }
        Hostdev::Usb(usb) => {
            let at = usb.source.as_ref()?.address.as_ref()?;
            Some(format!("usb {:?} {:?} {:?}", at.bus?, at.device, at.port))
                .filter(|_| at.device.is_some() || at.port.is_some())
        }
        Hostdev::Scsi(scsi) => {
            let source = scsi.source.as_ref()?;
            Some(format!("scsi {:?} {:?} {:?} {:?}", source.adapter, source.address, source.name, source.host))
        }
        Hostdev::Mdev(mdev) => Some(format!("mdev {:?}", mdev.source.as_ref()?.address.as_ref()?.uuid?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use polyvirt_xml::ParseOptions;

    use crate::{DomainConfig, Guest, check, complete_and_check};

    fn problems(devices: &str) -> String {
        let text = format!("<domain type='kvm'><name>a</name><memory>1</memory><devices>{devices}</devices></domain>");
        let parsed = DomainConfig::parse(&text, &ParseOptions::default()).unwrap();
        check(&parsed.config, &parsed.positions).to_string()
    }

    #[test]
    fn a_place_and_a_device_of_the_host_are_taken_once() {
        let disk = |dev: &str, bus: &str, unit: u32| {
            format!(
                "<disk><target dev='{dev}' bus='{bus}'/><address type='drive' controller='0' bus='0' target='0' unit='{unit}'/></disk>"
            )
        };
        let found = problems(&(disk("sda", "scsi", 1) + &disk("sdb", "scsi", 1)));
        assert!(found.contains("/domain/devices/disk[2]/address") && found.contains("'sda' sits already"), "{found}");
        assert_eq!(problems(&(disk("sda", "scsi", 1) + &disk("hda", "ide", 1))), "");
        let card = |function: u32| {
            format!(
                "<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='1' slot='2' function='{function}'/></source></hostdev>"
            )
        };
        assert!(problems(&(card(0) + &card(0))).contains("/domain/devices/hostdev[2]/source"));
        assert_eq!(problems(&(card(0) + &card(1))), "");
        let usb = "<hostdev mode='subsystem' type='usb'><source><vendor id='1'/><product id='2'/></source></hostdev>";
        assert_eq!(problems(&usb.repeat(2)), "", "two of a kind may be meant");
    }

    #[test]
    fn a_place_that_follows_from_a_name_may_be_taken() {
        let devices = "<disk><target dev='sda' bus='sata'/></disk><disk><target dev='sdb' bus='sata'/>
            <address type='drive' controller='0' bus='0' target='0' unit='0'/></disk>";
        assert_eq!(problems(devices), "", "as written, one has no place");
        let text = format!("<domain type='kvm'><name>a</name><memory>1</memory><devices>{devices}</devices></domain>");
        let mut parsed = DomainConfig::parse(&text, &ParseOptions::default()).unwrap();
        let found = complete_and_check(&mut parsed.config, Guest::Existing, &parsed.positions).unwrap_err();
        assert!(found.to_string().contains("'sdb' sits where 'sda' sits already"), "{found}");
    }
}
