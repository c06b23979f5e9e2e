//! Disks: a chain of block nodes and the device on top.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        address::Address,
        controller::{ControllerKind, ControllerModel},
        disk::{Disk, DiskBus, DiskCache, DiskDevice},
        os::BootDeviceKind,
        storage::ImageFormat,
    },
};
use serde_json::{Value, json};

use super::{Args, Input, bus, machine::BootOrder, option::Members};

/// What the host's file or device is called; `None` for an empty drive.
pub(crate) fn path(disk: &Disk) -> Option<&str> {
    let source = disk.source.as_ref()?;
    source.file.as_deref().or(source.dev.as_deref()).filter(|it| !it.is_empty())
}

/// The bus, as completion wrote it.
pub(crate) fn disk_bus(disk: &Disk) -> DiskBus {
    disk.target.as_ref().and_then(|it| it.bus).unwrap_or(DiskBus::Virtio)
}

pub(crate) fn device_kind(disk: &Disk) -> DiskDevice {
    disk.device.unwrap_or(DiskDevice::Disk)
}

/// Whether the guest can only read it.
pub(crate) fn is_readonly(disk: &Disk) -> bool {
    disk.readonly || device_kind(disk) == DiskDevice::Cdrom
}

/// The place on the bus: `(controller, bus, target, unit)`, from the address or else from the name (`sdb` is the second).
pub(crate) fn place(disk: &Disk) -> (u32, u32, u32, u64) {
    if let Some(Address::Drive(at)) = &disk.info.address {
        return (at.controller.unwrap_or(0), at.bus.unwrap_or(0), at.target.unwrap_or(0), at.unit.unwrap_or(0));
    }
    let number = disk.target.as_ref().and_then(|it| number(&it.dev)).unwrap_or(0);
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    match disk_bus(disk) {
        DiskBus::Ide => (small(number / 4), small(number / 2 % 2), 0, number % 2),
        DiskBus::Sata => (small(number / 6), 0, 0, number % 6),
        DiskBus::Scsi => (small(number / 7), 0, 0, number % 7),
        _ => (0, 0, 0, number),
    }
}

/// The number of a disk's name: `vda` is 0, `vdz` 25, `vdaa` 26.
pub(crate) fn number(dev: &str) -> Option<u64> {
    let letters = ["vd", "sd", "hd", "fd"].iter().find_map(|it| dev.strip_prefix(it))?;
    let letters = letters.trim_end_matches(|it: char| it.is_ascii_digit());
    if letters.is_empty() || letters.len() > 4 || !letters.bytes().all(|it| it.is_ascii_lowercase()) {
        return None;
    }
    Some(letters.bytes().fold(0, |number, letter| number * 26 + u64::from(letter - b'a') + 1) - 1)
}

pub(super) fn disks(args: &mut Args, input: &Input<'_>, order: &mut BootOrder) -> Result<()> {
    for (at, disk) in input.config.devices.disks.iter().enumerate() {
        let node = path(disk).map(|path| nodes(args, disk, at, path));
        let boot = match device_kind(disk) {
            DiskDevice::Cdrom => BootDeviceKind::Cdrom,
            DiskDevice::Floppy => BootDeviceKind::Fd,
            _ => BootDeviceKind::Hd,
        };
        let index = order.take(boot, disk.info.boot.as_ref().and_then(|it| it.order));
        args.add("-device", device(disk, at, input)?.maybe("drive", node).maybe("bootindex", index).build());
    }
    Ok(())
}

/// Adds the file's node and the format's above it; returns the name of the latter.
fn nodes(args: &mut Args, disk: &Disk, at: usize, path: &str) -> String {
    let driver = disk.driver.as_ref();
    let discard = driver.and_then(|it| it.discard).map(|it| it.as_str());
    let (storage, format) = (format!("disk{at}-storage"), format!("disk{at}-format"));
    let cache = driver.and_then(|it| it.cache).and_then(cache);
    let block = disk.source.as_ref().is_some_and(|it| it.dev.is_some());
    let protocol = Members::new("driver", if block { "host_device" } else { "file" })
        .with("filename", path)
        .with("node-name", storage.clone())
        // What is only read is opened only for reading, so other guests can share its lock.
        .with("auto-read-only", true)
        .maybe("discard", discard)
        .maybe("aio", driver.and_then(|it| it.io).map(|it| it.as_str()))
        .maybe("cache", cache.clone());
    args.add("-blockdev", protocol.build());
    let layer = Members::new("driver", driver.and_then(|it| it.kind).unwrap_or(ImageFormat::Raw).as_str())
        .with("node-name", format.clone())
        .with("read-only", is_readonly(disk))
        .maybe("discard", discard)
        .maybe("detect-zeroes", driver.and_then(|it| it.detect_zeroes).map(|it| it.as_str()))
        .maybe("cache", cache)
        .with("file", storage);
    args.add("-blockdev", layer.build());
    format
}

/// Cache modes are two switches of the nodes and one of the device (see [`write_cache`]).
fn cache(mode: DiskCache) -> Option<Value> {
    let (direct, no_flush) = match mode {
        DiskCache::None | DiskCache::DirectSync => (true, false),
        DiskCache::Unsafe => (false, true),
        DiskCache::Writethrough | DiskCache::Writeback => (false, false),
        _ => return None,
    };
    Some(json!({"direct": direct, "no-flush": no_flush}))
}

fn write_cache(disk: &Disk) -> Option<&'static str> {
    match disk.driver.as_ref().and_then(|it| it.cache)? {
        DiskCache::DirectSync | DiskCache::Writethrough => Some("off"),
        DiskCache::None | DiskCache::Writeback | DiskCache::Unsafe => Some("on"),
        _ => None,
    }
}

fn device(disk: &Disk, at: usize, input: &Input<'_>) -> Result<Members> {
    let (controller, line, _, unit) = place(disk);
    let drive = |id: &str| bus::alias(&disk.info, || format!("{id}{controller}-{line}-{unit}"));
    let cdrom = device_kind(disk) == DiskDevice::Cdrom;
    let ide = if cdrom { "ide-cd" } else { "ide-hd" };
    let members = match disk_bus(disk) {
        DiskBus::Virtio => virtio(disk, at, input),
        DiskBus::Scsi => scsi(disk, cdrom, input),
        DiskBus::Ide => {
            Members::new("driver", ide).with("id", drive("ide")).with("bus", format!("ide.{line}")).with("unit", unit)
        }
        DiskBus::Sata => {
            // The board's own AHCI is called "ide".
            let own = controller == 0 && input.is_q35();
            let name = if own { "ide".into() } else { bus::controller_id(ControllerKind::Sata, controller) };
            Members::new("driver", ide).with("id", drive("sata")).with("bus", format!("{name}.{unit}"))
        }
        // Knows none of the properties below.
        DiskBus::Fdc => return Ok(Members::new("driver", "floppy").with("id", drive("fdc")).with("unit", unit)),
        DiskBus::Usb => {
            let id = bus::alias(&disk.info, || format!("usb-disk{at}"));
            Members::new("driver", "usb-storage").with("id", id).with("bus", "usb.0")
        }
        other => {
            let problem =
                format!("a disk on bus '{other}' cannot be had; use 'virtio', 'scsi', 'sata', 'ide', 'usb' or 'fdc'");
            let path = format!("/domain/devices/disk[{}]/target/@bus", at + 1);
            return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", path));
        }
    };
    let blocks = disk.blockio.as_ref();
    Ok(members
        .maybe("serial", disk.serial.clone())
        // Without it QEMU locks the image against every other user.
        .maybe("share-rw", disk.shareable.then_some(true))
        .maybe("logical_block_size", blocks.and_then(|it| it.logical_block_size))
        .maybe("physical_block_size", blocks.and_then(|it| it.physical_block_size))
        .maybe("write-cache", write_cache(disk)))
}

fn virtio(disk: &Disk, at: usize, input: &Input<'_>) -> Members {
    let driver = disk.driver.as_ref();
    let members = Members::new("driver", "virtio-blk-pci")
        .with("id", bus::alias(&disk.info, || format!("virtio-disk{at}")))
        .maybe("num-queues", driver.and_then(|it| it.queues))
        .maybe("queue-size", driver.and_then(|it| it.queue_size))
        .maybe("iothread", driver.and_then(|it| it.iothread).map(|it| format!("iothread{it}")));
    bus::pci(members, &disk.info, input)
}

fn scsi(disk: &Disk, cdrom: bool, input: &Input<'_>) -> Members {
    let (controller, line, target, unit) = place(disk);
    let members = Members::new("driver", if cdrom { "scsi-cd" } else { "scsi-hd" })
        .with("id", bus::alias(&disk.info, || format!("scsi{controller}-{line}-{target}-{unit}")))
        .with("bus", format!("{}.0", bus::controller_id(ControllerKind::Scsi, controller)));
    // virtio-scsi has targets with units; the old controllers call the unit the target.
    match is_virtio_scsi(input, controller) {
        true => members.with("channel", line).with("scsi-id", target).with("lun", unit),
        false => members.with("scsi-id", unit),
    }
}

fn is_virtio_scsi(input: &Input<'_>, index: u32) -> bool {
    let mut scsi = input.config.devices.controllers.iter().filter(|it| it.kind == Some(ControllerKind::Scsi));
    let found = scsi.find(|it| it.index.unwrap_or(0) == index);
    found.is_none_or(|it| matches!(it.model, None | Some(ControllerModel::VirtioScsi)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers() {
        for (dev, expected) in [
            ("vda", Some(0)),
            ("sdz", Some(25)),
            ("vdaa", Some(26)),
            ("vdab1", Some(27)),
            ("vd", None),
            ("vd1", None),
            ("vdA", None),
            ("v", None),
            ("vdzzzzz", None),
            ("üda", None),
            ("disk", None),
        ] {
            assert_eq!(number(dev), expected, "{dev}");
        }
    }
}
