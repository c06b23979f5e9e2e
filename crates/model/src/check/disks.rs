//! Rules of disks: what their device, their bus and their source allow (manual: formatdomain, Hard drives, floppy disks, CDROMs).

use std::collections::{HashMap, HashSet};

use super::addresses::bus_of;
use super::{Report, nth, shown};
use crate::address::Address;
use crate::devices::Place;
use crate::disk::{Disk, DiskBus, DiskDevice, IoLimits};
use crate::domain::DomainConfig;
use crate::storage::{SourceKind, StorageProtocol};

pub(super) fn check(config: &DomainConfig, report: &mut Report<'_>) {
    let disks = &config.devices.disks;
    let groups: HashSet<&str> = config
        .throttlegroups
        .iter()
        .flat_map(|groups| &groups.throttlegroup)
        .filter_map(|group| group.limits.group_name.as_deref())
        .collect();
    for (index, disk) in disks.iter().enumerate() {
        let path = Place::new("disk", disks.len(), index);
        whole_unit(path, disk, report);
        old_places(path, disk, report);
        identity(path, disk, report);
        place(path, disk, report);
        rotation(path, disk, report);
        server(path, disk, report);
        if let Some(iotune) = &disk.iotune {
            limits(&format!("{path}/iotune"), &iotune.limits, report);
        }
        for filter in disk.throttlefilters.iter().flat_map(|filters| &filters.throttlefilter) {
            if !groups.contains(filter.group.as_str()) {
                let message =
                    format!("there is no <throttlegroup> '{}', add it to <throttlegroups>", shown(&filter.group));
                report.error(format!("{path}/throttlefilters"), message);
            }
        }
    }
    throttle_groups(config, report);
    unique_numbers(disks, report);
}

/// `lun` passes SCSI commands on, so there is a unit behind it.
fn whole_unit(path: Place, disk: &Disk, report: &mut Report<'_>) {
    let kind = disk.kind.unwrap_or(SourceKind::File);
    if disk.device == Some(DiskDevice::Lun) {
        let iscsi = disk.source.as_ref().and_then(|source| source.protocol) == Some(StorageProtocol::Iscsi);
        let fits = match kind {
            SourceKind::Block | SourceKind::Volume => true,
            SourceKind::Network => iscsi,
            _ => false,
        };
        if !fits {
            let message = format!("a '{kind}' source is no SCSI unit, device 'lun' needs 'block', 'volume' or iSCSI");
            report.error(format!("{path}/@device"), message);
        }
        return;
    }
    if disk.rawio.is_some() {
        report.error(format!("{path}/@rawio"), "only device 'lun' has raw I/O, set that or leave the attribute out");
    }
    if disk.sgio.is_some() {
        report.error(
            format!("{path}/@sgio"),
            "only device 'lun' takes SCSI commands, set that or leave the attribute out",
        );
    }
}

/// `<auth>` and `<encryption>` stand below `<source>` now, and in one of the two places.
fn old_places(path: Place, disk: &Disk, report: &mut Report<'_>) {
    let source = disk.source.as_ref();
    if disk.auth.is_some() && source.is_some_and(|source| source.auth.is_some()) {
        report.error(format!("{path}/auth"), "<source> has an <auth> already, keep that one");
    }
    if disk.encryption.is_some() && source.is_some_and(|source| source.encryption.is_some()) {
        report.error(format!("{path}/encryption"), "<source> has an <encryption> already, keep that one");
    }
}

/// What a SCSI inquiry has room for.
fn identity(path: Place, disk: &Disk, report: &mut Report<'_>) {
    let digits = disk.wwn.as_ref().map(|wwn| wwn.strip_prefix("0x").unwrap_or(wwn));
    if let (Some(wwn), Some(digits)) = (&disk.wwn, digits)
        && !(digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        let message = format!("'{}' is no world wide name, which has 16 hexadecimal digits", shown(wwn));
        report.error(format!("{path}/wwn"), message);
    }
    for (name, text, most) in [("vendor", &disk.vendor, 8), ("product", &disk.product, 16)] {
        let Some(text) = text else { continue };
        if text.len() > most || !text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            let message = format!("'{}' is no {name}, which has up to {most} printable ASCII letters", shown(text));
            report.error(format!("{path}/{name}"), message);
        }
    }
}

/// The address is one of the disk's bus.
fn place(path: Place, disk: &Disk, report: &mut Report<'_>) {
    let (Some(bus), Some(address)) = (bus_of(disk), &disk.info.address) else { return };
    let (fits, wanted) = match bus {
        DiskBus::Ide | DiskBus::Scsi | DiskBus::Sata | DiskBus::Fdc => (matches!(address, Address::Drive(_)), "drive"),
        DiskBus::Usb => (matches!(address, Address::Usb(_)), "usb"),
        DiskBus::Virtio => (!matches!(address, Address::Drive(_) | Address::Usb(_)), "pci"),
        _ => return,
    };
    if !fits {
        let message = format!("a disk on bus '{bus}' cannot have such an address, use type='{wanted}' or leave it out");
        report.error(format!("{path}/address/@type"), message);
    }
}

/// 1 is a solid state disk; revolutions are counted from 1025 on, as ATA does.
fn rotation(path: Place, disk: &Disk, report: &mut Report<'_>) {
    let rate = disk.target.as_ref().and_then(|target| target.rotation_rate);
    if let Some(rate) = rate.filter(|rate| *rate != 1 && !(1025..=65534).contains(rate)) {
        let message = format!("rotation rate {rate}, 1 (solid state) and 1025 to 65534 are possible");
        report.error(format!("{path}/target/@rotation_rate"), message);
    }
}

fn server(path: Place, disk: &Disk, report: &mut Report<'_>) {
    let Some(source) = &disk.source else { return };
    if source.protocol == Some(StorageProtocol::Nfs) && source.host.iter().any(|host| host.port.is_some()) {
        report.error(format!("{path}/source/host/@port"), "NFS has no port here, leave it out");
    }
    if disk.kind == Some(SourceKind::Network) && source.protocol.is_none() {
        report.error(format!("{path}/source"), "a network source needs its attribute 'protocol'");
    }
    let needs_name = source.protocol.is_some_and(|protocol| protocol != StorageProtocol::Nbd);
    if needs_name && source.name.is_none() {
        report.error(
            format!("{path}/source"),
            "all protocols but nbd need the attribute 'name', the image on the server",
        );
    }
}

/// A total and its parts exclude each other.
fn limits(path: &str, limits: &IoLimits, report: &mut Report<'_>) {
    let set = |value: Option<u64>| value.is_some_and(|value| value != 0);
    let triples = [
        ("bytes_sec", limits.total_bytes_sec, limits.read_bytes_sec, limits.write_bytes_sec),
        ("iops_sec", limits.total_iops_sec, limits.read_iops_sec, limits.write_iops_sec),
        ("bytes_sec_max", limits.total_bytes_sec_max, limits.read_bytes_sec_max, limits.write_bytes_sec_max),
        ("iops_sec_max", limits.total_iops_sec_max, limits.read_iops_sec_max, limits.write_iops_sec_max),
    ];
    for (name, total, read, write) in triples {
        if set(total) && (set(read) || set(write)) {
            let message = format!("total_{name} excludes read_{name} and write_{name}, give the total or its parts");
            report.error(format!("{path}/total_{name}"), message);
        }
    }
}

fn throttle_groups(config: &DomainConfig, report: &mut Report<'_>) {
    let groups: Vec<_> = config.throttlegroups.iter().flat_map(|groups| &groups.throttlegroup).collect();
    let mut seen = HashSet::new();
    for (index, group) in groups.iter().enumerate() {
        let path = format!("/domain/throttlegroups/{}", nth("throttlegroup", groups.len(), index));
        limits(&path, &group.limits, report);
        match &group.limits.group_name {
            None => report.error(&path, "a group needs its <group_name>"),
            Some(name) if !seen.insert(name.as_str()) => {
                report.error(
                    format!("{path}/group_name"),
                    format!("there is a group '{}' already, each name is given once", shown(name)),
                );
            }
            Some(_) => {}
        }
    }
}

/// Guests tell disks apart by their numbers, unless several paths lead to one.
fn unique_numbers(disks: &[Disk], report: &mut Report<'_>) {
    let mut names: HashMap<(&str, Option<&str>), usize> = HashMap::new();
    for (index, disk) in disks.iter().enumerate() {
        let Some(wwn) = &disk.wwn else { continue };
        if let Some(other) = names.insert((wwn, disk.serial.as_deref()), index) {
            let path = |index| format!("/domain/devices/{}", nth("disk", disks.len(), index));
            report.error(
                format!("{}/wwn", path(index)),
                format!("{} has the same world wide name, each disk has its own", path(other)),
            );
        }
    }
}
