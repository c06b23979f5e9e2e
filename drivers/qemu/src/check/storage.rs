//! What disks can be.

use polyvirt_core::model::{
    DomainConfig, Problem,
    address::Address,
    disk::{Disk, DiskBus},
    hostdev::Hostdev,
    storage::{Encryption, EncryptionEngine, ImageFormat, Source},
};

use crate::probe::Binary;

pub(super) fn rules(config: &DomainConfig, binary: &Binary, found: &mut Vec<Problem>) {
    for (at, disk) in config.devices.disks.iter().enumerate() {
        let path = format!("/domain/devices/disk[{}]", at + 1);
        format(disk, &path, found);
        if let Some(source) = &disk.source {
            versions(source, binary, &path, found);
        }
        place(config, disk, &path, found);
    }
}

fn format(disk: &Disk, path: &str, found: &mut Vec<Problem>) {
    let kind = disk.driver.as_ref().and_then(|it| it.kind);
    let mut refuse = |at: &str, problem: &str| found.push(Problem::error(format!("{path}/{at}"), problem));
    if kind == Some(ImageFormat::Dir) {
        refuse("driver/@type", "a directory is no format of QEMU's; use <disk type='dir'> with format 'fat'");
    }
    // Whoever writes the headers of such an image believes to be alone.
    if disk.shareable && kind.is_some_and(|it| it != ImageFormat::Raw) {
        refuse("shareable", "guests can share raw images alone; use type='raw', or remove <shareable/>");
    }
    let encryptions: [Option<&Encryption>; 2] =
        [disk.encryption.as_ref(), disk.source.as_ref().and_then(|it| it.encryption.as_ref())];
    for encryption in encryptions.into_iter().flatten() {
        let ours = encryption.engine != Some(EncryptionEngine::Librbd);
        if ours && !matches!(kind, None | Some(ImageFormat::Raw | ImageFormat::Qcow2)) {
            refuse("encryption", "images of format 'raw' and 'qcow2' alone can be encrypted");
        }
        if encryption.cipher.is_some() {
            refuse("encryption/cipher", "the image says its cipher; it is given for new volumes alone, remove it");
        }
    }
}

/// What older QEMUs lack.
fn versions(source: &Source, binary: &Binary, path: &str, found: &mut Vec<Problem>) {
    let since = |major, minor| binary.assumed || binary.version.at_least(major, minor);
    let mut refuse = |at: &str, needs: &str| {
        let problem = format!("{} {} cannot do this; it came with QEMU {needs}", binary.path.display(), binary.version);
        found.push(Problem::error(format!("{path}/source/{at}"), problem));
    };
    if source.tls_hostname.is_some() && !since(7, 0) {
        refuse("@tlsHostname", "7.0");
    }
    let librbd = source.encryption.as_ref().filter(|it| it.engine == Some(EncryptionEngine::Librbd));
    if librbd.is_some_and(|it| it.secret.len() > 1) && !since(8, 0) {
        refuse("encryption", "8.0");
    }
}

/// A SCSI disk of the guest's own where a host's unit is passed on.
fn place(config: &DomainConfig, disk: &Disk, path: &str, found: &mut Vec<Problem>) {
    if disk.target.as_ref().and_then(|it| it.bus) != Some(DiskBus::Scsi) {
        return;
    }
    let Some(place @ Address::Drive(_)) = &disk.info.address else { return };
    let taken = |it: &Hostdev| matches!(it, Hostdev::Scsi(unit) if unit.info.address.as_ref() == Some(place));
    if let Some(at) = config.devices.hostdevs.iter().position(taken) {
        let problem = format!("hostdev {} sits there already; choose another target or address", at + 1);
        found.push(Problem::error(format!("{path}/target/@dev"), problem));
    }
}
