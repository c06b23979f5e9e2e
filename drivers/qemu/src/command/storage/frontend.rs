//! Devices of disks: what the guest sees.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        address::VirtioModel,
        controller::{ControllerKind, ControllerModel},
        disk::{Disk, DiskBus, DiskDevice, ErrorPolicy, QueueThreads},
    },
};
use serde_json::Value;

use super::{
    super::{
        Args, Input, alias, chardev,
        option::{Members, Opts},
        place,
    },
    disk::{cache_mode, device_kind, disk_bus, place as drive_place},
    write_cache,
};

/// The device of a disk on any bus but those of floppies and SD cards.
pub(super) fn device(input: &Input<'_>, disk: &Disk, path: &str) -> Result<Members> {
    let id = alias::of(&disk.info);
    let (controller, line, _, unit) = drive_place(disk);
    let cdrom = device_kind(disk) == DiskDevice::Cdrom;
    let ide = if cdrom { "ide-cd" } else { "ide-hd" };
    let members = match disk_bus(disk) {
        DiskBus::Virtio => virtio(disk, "virtio-blk", input),
        DiskBus::Scsi => scsi(disk, cdrom, input),
        DiskBus::Ide => {
            let name = place::controller_name(input, ControllerKind::Ide, controller);
            Members::new("driver", ide).with("bus", format!("{name}.{line}")).with("unit", unit)
        }
        DiskBus::Sata => {
            let name = place::controller_name(input, ControllerKind::Sata, controller);
            Members::new("driver", ide).with("bus", format!("{name}.{unit}"))
        }
        DiskBus::Usb => {
            let removable = disk.target.as_ref().and_then(|it| it.removable).unwrap_or(false);
            Members::new("driver", "usb-storage").with("removable", removable)
        }
        other => {
            let problem =
                format!("a disk on bus '{other}' cannot be had; use 'virtio', 'scsi', 'sata', 'ide', 'usb' or 'fdc'");
            return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{path}/target/@bus")));
        }
    };
    Ok(common(members.with("id", id), disk))
}

/// What disks of every bus can have.
fn common(members: Members, disk: &Disk) -> Members {
    let blocks = disk.blockio.as_ref();
    let target = disk.target.as_ref();
    let is_ide = matches!(disk_bus(disk), DiskBus::Ide | DiskBus::Sata);
    let product = if is_ide { "model" } else { "product" };
    let geometry = disk.geometry.as_ref();
    let (write, read) = errors(disk);
    members
        // The guest sees the backslashes that libvirt puts before blanks, and knows its disk by them.
        .maybe("serial", disk.serial.as_ref().map(|it| it.replace(' ', "\\ ")))
        .maybe("wwn", disk.wwn.as_deref().and_then(|it| u64::from_str_radix(it.trim_start_matches("0x"), 16).ok()))
        .maybe("vendor", disk.vendor.clone())
        .maybe(product, disk.product.clone())
        .maybe("rotation_rate", target.and_then(|it| it.rotation_rate))
        .maybe("dpofua", target.and_then(|it| it.dpofua).map(|it| if it { "on" } else { "off" }))
        // Without it QEMU locks the image against every other user.
        .maybe("share-rw", disk.shareable.then_some(true))
        .maybe("logical_block_size", blocks.and_then(|it| it.logical_block_size))
        .maybe("physical_block_size", blocks.and_then(|it| it.physical_block_size))
        .maybe("discard_granularity", blocks.and_then(|it| it.discard_granularity))
        .maybe("cyls", geometry.map(|it| it.cyls))
        .maybe("heads", geometry.map(|it| it.heads))
        .maybe("secs", geometry.map(|it| it.secs))
        .maybe("bios-chs-trans", geometry.and_then(|it| it.trans).map(|it| it.as_str()))
        .maybe("werror", write)
        .maybe("rerror", read)
        .maybe("write-cache", write_cache(cache_mode(disk)))
}

/// What becomes of errors of writing and reading.
fn errors(disk: &Disk) -> (Option<&'static str>, Option<&'static str>) {
    let Some(about) = &disk.driver else { return (None, None) };
    let own = about.rerror_policy.map(|it| it.as_str());
    match about.error_policy {
        // Reading does not run out of space.
        Some(ErrorPolicy::Enospace) => (Some("enospc"), own),
        Some(policy) => (Some(policy.as_str()), own.or(Some(policy.as_str()))),
        None => (None, own),
    }
}

fn virtio_model(disk: &Disk) -> Option<VirtioModel> {
    disk.model
}

fn virtio(disk: &Disk, base: &str, input: &Input<'_>) -> Members {
    let about = disk.driver.as_ref();
    let members = Members::new("driver", place::virtio(base, &disk.info, virtio_model(disk), input))
        .maybe("ioeventfd", about.and_then(|it| it.ioeventfd))
        .maybe("event_idx", about.and_then(|it| it.event_idx))
        .maybe("num-queues", about.and_then(|it| it.queues))
        .maybe("queue-size", about.and_then(|it| it.queue_size))
        .maybe("iothread", about.and_then(|it| it.iothread).map(|it| format!("iothread{it}")))
        .maybe("iothread-vq-mapping", threads(about.and_then(|it| it.iothreads.as_ref())));
    place::virtio_options(members, about.map(|it| &it.virtio))
}

/// Which I/O thread serves which queues.
pub(in super::super) fn threads(threads: Option<&QueueThreads>) -> Option<Value> {
    let threads = &threads?.iothread;
    let thread = |it: &polyvirt_core::model::disk::QueueThread| {
        let queues: Vec<u32> = it.queue.iter().map(|it| it.id).collect();
        Members::new("iothread", format!("iothread{}", it.id))
            .maybe("vqs", (!queues.is_empty()).then_some(queues))
            .value()
    };
    (!threads.is_empty()).then(|| threads.iter().map(thread).collect::<Vec<Value>>().into())
}

fn scsi(disk: &Disk, cdrom: bool, input: &Input<'_>) -> Members {
    let (index, line, target, unit) = drive_place(disk);
    let driver = match device_kind(disk) {
        DiskDevice::Lun => "scsi-block",
        _ if cdrom => "scsi-cd",
        _ => "scsi-hd",
    };
    let bus = format!("{}.0", place::controller_name(input, ControllerKind::Scsi, index));
    let members = scsi_place(Members::new("driver", driver).with("bus", bus), input, index, (line, target, unit));
    if driver == "scsi-block" {
        return members;
    }
    let removable = disk.target.as_ref().and_then(|it| it.removable);
    // Names the disk in the guest, which must not change with the node's name.
    let name = disk.serial.clone().unwrap_or_else(|| format!("drive-{}", alias::of(&disk.info)));
    let named = input.binary.has_property("scsi-hd", "device_id");
    members.maybe("device_id", named.then_some(name)).maybe("removable", removable)
}

/// Channel, target and unit as the controller counts them: those of old have targets only.
pub(in super::super) fn scsi_place(
    members: Members,
    input: &Input<'_>,
    controller: u32,
    (line, target, unit): (u32, u32, u64),
) -> Members {
    use ControllerModel::{Am53c974, Buslogic, Dc390, Lsilogic, Ncr53c90};
    let model = place::controller(input, ControllerKind::Scsi, controller).and_then(|it| it.model);
    match model {
        Some(Lsilogic | Buslogic | Ncr53c90 | Dc390 | Am53c974) => members.with("scsi-id", unit),
        _ => members.with("channel", line).with("scsi-id", target).with("lun", unit),
    }
}

/// A disk that another process serves.
pub(super) fn vhost_user(args: &mut Args, input: &Input<'_>, disk: &Disk, path: &str) -> Result<Members> {
    let id = alias::of(&disk.info);
    let source = disk.source.as_ref();
    let Some(socket) = source.and_then(|it| it.path.as_deref()) else {
        let problem = "a vhost-user disk needs the path of a socket";
        return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{path}/source/@path")));
    };
    let name = format!("chr-vu-{id}");
    let opts = Opts::new("socket").with("id", &name).with("path", socket);
    let reconnect = source.and_then(|it| it.reconnect.as_ref()).filter(|it| it.enabled != Some(false));
    args.add("-chardev", chardev::reconnect(opts, reconnect.and_then(|it| it.timeout), input).build());
    let members = virtio(disk, "vhost-user-blk", input);
    Ok(members.with("chardev", name).with("id", id))
}

/// Floppies know few properties, and their controller boots for them.
pub(super) fn floppy(args: &mut Args, disk: &Disk, node: Option<String>, boot: Option<u32>) {
    let (.., unit) = drive_place(disk);
    if let Some(boot) = boot {
        let drive = if unit == 0 { "bootindexA" } else { "bootindexB" };
        args.floppy_boot.push((drive, boot));
    }
    let cache = write_cache(cache_mode(disk));
    let members = Members::new("driver", "floppy")
        .with("unit", unit)
        .maybe("drive", node)
        .with("id", alias::of(&disk.info))
        .maybe("write-cache", cache);
    args.floppies.push(members);
}
