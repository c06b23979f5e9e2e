//! `<disk>`: bus, format, and what its source leaves unsaid.

use polyvirt_core::model::{
    DomainConfig,
    address::Address,
    disk::{Disk, DiskBus, DiskCache, DiskDevice, DiskSnapshot, Tray},
    storage::{
        BackingStore, Encryption, EncryptionEngine, EncryptionFormat, Format, ImageFormat, Source, SourceKind,
        StorageProtocol, StorageTransport,
    },
};

use crate::machine::Family;

/// The unit of an iSCSI target that names none.
const FIRST_UNIT: &str = "/0";

pub(super) fn complete(config: &mut DomainConfig) {
    let q35 = Family::of_config(config) == Family::Q35;
    for disk in &mut config.devices.disks {
        one(disk, q35);
    }
}

fn one(disk: &mut Disk, q35: bool) {
    let device = *disk.device.get_or_insert(DiskDevice::Disk);
    let kind = disk.kind.get_or_insert(SourceKind::File);
    let changeable = matches!(device, DiskDevice::Cdrom | DiskDevice::Floppy);
    // An empty drive is empty however it would be filled.
    if changeable && disk.source.as_ref().is_none_or(|it| *it == Source::default()) {
        *kind = SourceKind::File;
    }
    let kind = *kind;
    if kind == SourceKind::VhostUser {
        disk.snapshot.get_or_insert(DiskSnapshot::No);
    }
    let driver = disk.driver.get_or_insert_default();
    driver.name.get_or_insert_with(|| "qemu".into());
    // The pool knows.
    if kind != SourceKind::Volume {
        driver.kind.get_or_insert(ImageFormat::Raw);
    }
    driver.cache = driver.cache.filter(|it| *it != DiskCache::Default);
    target(disk, q35, changeable);
    let mut source = disk.source.as_mut();
    if let Some(source) = source.as_mut() {
        complete_source(source);
    }
    if let Some(encryption) = &mut disk.encryption {
        engine(encryption);
    }
    if let Some(mirror) = disk.mirror.as_mut().filter(|it| it.source.is_some()) {
        mirror.format.get_or_insert_with(|| Format::default().with_kind(ImageFormat::Raw));
    }
    let mut below = disk.backing_store.as_deref_mut();
    while let Some(BackingStore { source, backing_store, .. }) = below {
        if let Some(source) = source {
            complete_source(source);
        }
        below = backing_store.as_deref_mut();
    }
    if device == DiskDevice::Cdrom {
        disk.readonly = true;
    }
}

fn target(disk: &mut Disk, q35: bool, changeable: bool) {
    let Some(target) = &mut disk.target else { return };
    let bus = *target.bus.get_or_insert(match target.dev.get(..2) {
        Some("vd") => DiskBus::Virtio,
        Some("hd") => {
            if q35 {
                DiskBus::Sata
            } else {
                DiskBus::Ide
            }
        }
        Some("fd") => DiskBus::Fdc,
        Some("sd") if q35 => DiskBus::Sata,
        Some("sd") => DiskBus::Scsi,
        _ => DiskBus::Virtio,
    });
    if bus != DiskBus::Usb {
        target.removable = None;
    }
    target.tray = target.tray.filter(|it| changeable && *it == Tray::Open);
    if disk.info.address.is_none() {
        disk.info.address = target.drive_address(0).map(Address::Drive);
    }
}

fn complete_source(source: &mut Source) {
    let port = source.protocol.and_then(StorageProtocol::default_port);
    for host in &mut source.host {
        if host.transport.is_none_or(|it| it == StorageTransport::Tcp) && host.socket.is_none() {
            host.port = host.port.or(port);
        }
    }
    if source.protocol == Some(StorageProtocol::Iscsi)
        && let Some(name) = &mut source.name
    {
        iscsi_unit(name);
    }
    if let Some(encryption) = &mut source.encryption {
        engine(encryption);
    }
}

/// A target without a unit means its first.
pub(super) fn iscsi_unit(name: &mut String) {
    if !name.contains('/') {
        name.push_str(FIRST_UNIT);
    }
}

fn engine(encryption: &mut Encryption) {
    if matches!(encryption.format, Some(EncryptionFormat::Luks | EncryptionFormat::Qcow)) {
        encryption.engine.get_or_insert(EncryptionEngine::Qemu);
    }
}
