//! Defaults that a definition gets when it is stored. Pure and idempotent.
//!
//! What libvirt's users meet every day: machine, emulator, buses, controllers that devices need, a console, the balloon.
//! PCI addresses are left to QEMU, which gives the same ones for the same command line.

use std::path::Path;

use polyvirt_core::model::{
    DomainConfig, Problem, Problems,
    address::Address,
    chardev::{Console, ConsoleTargetType, SerialTarget, SerialTargetType},
    controller::{Controller, ControllerKind, ControllerModel},
    disk::{Disk, DiskBus, DiskDevice},
    interface::InterfaceModel,
    misc::{BalloonModel, MemBalloon},
    storage::{ImageFormat, SourceKind},
};
use polyvirt_core::placement::VcpuSet;

use crate::{
    command::{block, is_q35},
    probe::Binary,
};

/// Fills them in.
pub(crate) fn complete(config: &mut DomainConfig, binary: &Binary) {
    machine(config, binary);
    cells(config);
    devices(config, &binary.path, &binary.arch);
}

/// Fills in what holds for every QEMU: the machine stays as it is written, and the emulator is where distributions install it.
pub(crate) fn offline(config: &mut DomainConfig) -> Result<(), Problems> {
    let found: Vec<Problem> = crate::check::without_host(config).collect();
    if !found.is_empty() {
        return Err(found.into_iter().collect());
    }
    let arch = config.os.as_ref().and_then(|os| os.r#type.as_ref()).and_then(|kind| kind.arch.clone());
    let arch = arch.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let program = Path::new("/usr/bin").join(crate::driver::default_name(&arch));
    cells(config);
    devices(config, &program, &arch);
    Ok(())
}

fn devices(config: &mut DomainConfig, program: &Path, arch: &str) {
    let q35 = crate::command::machine_name(config).is_some_and(is_q35);
    let devices = &mut config.devices;
    devices.emulator.get_or_insert_with(|| program.to_string_lossy().into_owned());
    for disk in &mut devices.disks {
        complete_disk(disk, q35);
    }
    for card in &mut devices.interfaces {
        // libvirt's choice for x86, kept because guests' configurations follow the device.
        card.model.get_or_insert_with(|| InterfaceModel::new(if is_x86(arch) { "rtl8139" } else { "virtio" }));
    }
    serials(config);
    let devices = &mut config.devices;
    devices.memballoon.get_or_insert_with(|| MemBalloon::default().with_model(BalloonModel::Virtio));
    controllers(config, q35);
}

fn is_x86(arch: &str) -> bool {
    matches!(arch, "x86_64" | "i386" | "i686")
}

fn machine(config: &mut DomainConfig, binary: &Binary) {
    let kind = config.os.get_or_insert_default().r#type.get_or_insert_default();
    kind.arch.get_or_insert_with(|| if binary.arch == "i386" { "i686".into() } else { binary.arch.clone() });
    let found = match &kind.machine {
        Some(name) => binary.machine(name),
        None => binary.default_machine(),
    };
    // The name of a version, so that a newer QEMU still shows the guest the same machine.
    if let Some(found) = found {
        kind.machine = Some(found.name.clone());
    }
}

/// Rule C5: vCPUs that no cell names are the first one's, where QEMU puts them itself.
fn cells(config: &mut DomainConfig) {
    let all = VcpuSet::of_range(0, config.vcpus_max().saturating_sub(1));
    let Some(numa) = config.cpu.as_mut().and_then(|cpu| cpu.numa.as_mut()) else { return };
    let named =
        numa.cell.iter().filter_map(|cell| cell.cpus.as_ref()).fold(VcpuSet::new(), |set, cpus| set.union(cpus));
    let homeless = all.difference(&named);
    if let Some(first) = numa.cell.first_mut().filter(|_| !homeless.is_empty()) {
        first.cpus = Some(first.cpus.take().unwrap_or_default().union(&homeless));
    }
}

fn complete_disk(disk: &mut Disk, q35: bool) {
    let device = *disk.device.get_or_insert(DiskDevice::Disk);
    disk.kind.get_or_insert(SourceKind::File);
    let driver = disk.driver.get_or_insert_default();
    driver.name.get_or_insert_with(|| "qemu".into());
    driver.kind.get_or_insert(ImageFormat::Raw);
    if let Some(target) = &mut disk.target {
        target.bus.get_or_insert(match target.dev.get(..2) {
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
        if disk.info.address.is_none() {
            disk.info.address = target.drive_address(0).map(Address::Drive);
        }
    }
    if device == DiskDevice::Cdrom {
        disk.readonly = true;
    }
}

/// Serial ports are ISA's where nobody says otherwise. That the first console is the first of them is not QEMU's alone: the model
/// says so.
fn serials(config: &mut DomainConfig) {
    for serial in &mut config.devices.serials {
        serial.target.get_or_insert_with(SerialTarget::default).kind.get_or_insert(SerialTargetType::IsaSerial);
    }
}

/// Controllers that devices need and nobody wrote.
fn controllers(config: &mut DomainConfig, q35: bool) {
    let devices = &config.devices;
    let mut needed: Vec<(ControllerKind, u32, Option<ControllerModel>)> = Vec::new();
    for disk in &devices.disks {
        let (controller, ..) = block::place(disk);
        needed.extend(match block::disk_bus(disk) {
            DiskBus::Scsi => Some((ControllerKind::Scsi, controller, Some(ControllerModel::VirtioScsi))),
            DiskBus::Sata => Some((ControllerKind::Sata, controller, None)),
            DiskBus::Ide => Some((ControllerKind::Ide, controller, None)),
            DiskBus::Fdc => Some((ControllerKind::Fdc, controller, None)),
            DiskBus::Usb => Some((ControllerKind::Usb, 0, Some(ControllerModel::QemuXhci))),
            _ => None,
        });
    }
    let virtio_console = |it: &Console| it.target.as_ref().and_then(|it| it.kind) == Some(ConsoleTargetType::Virtio);
    if !devices.channels.is_empty() || devices.consoles.iter().any(virtio_console) {
        needed.push((ControllerKind::VirtioSerial, 0, None));
    }
    needed.push((ControllerKind::Pci, 0, Some(if q35 { ControllerModel::PcieRoot } else { ControllerModel::PciRoot })));
    let mut made: Vec<Controller> = Vec::new();
    for (kind, index, model) in needed {
        let same = |it: &Controller| it.kind == Some(kind) && it.index.unwrap_or(0) == index;
        if !devices.controllers.iter().chain(&made).any(same) {
            let mut controller = Controller::default().with_kind(kind).with_index(index);
            controller.model = model;
            made.push(controller);
        }
    }
    config.devices.controllers.extend(made);
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    fn guest(kind: &str, os: &str) -> DomainConfig {
        let text = format!(
            "<domain type='{kind}'><name>a</name><os>{os}</os><devices><disk><target dev='vda'/></disk><interface type='user'/></devices></domain>"
        );
        DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config
    }

    #[test]
    fn c5_vcpus_without_a_cell_are_the_first_ones() {
        let cells = |cells: &str| {
            let text = format!(
                "<domain type='qemu'><name>a</name><vcpu>8</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os><cpu><numa>{cells}</numa></cpu></domain>"
            );
            let mut config = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config;
            offline(&mut config).unwrap();
            config.cells().iter().map(|cell| cell.cpus.clone().unwrap_or_default().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(cells("<cell cpus='0' memory='1'/><cell cpus='2-3' memory='1'/>"), ["0-1,4-7", "2-3"]);
        assert_eq!(cells("<cell memory='1'/><cell memory='1'/>"), ["0-7", ""]);
        assert_eq!(cells("<cell cpus='4-7' memory='1'/><cell cpus='0-3' memory='1'/>"), ["4-7", "0-3"]);
    }

    #[test]
    fn without_a_host_machine_names_stay_and_foreign_types_are_refused() {
        let mut config = guest("qemu", "<type arch='s390x' machine='s390-ccw-virtio'>hvm</type>");
        offline(&mut config).unwrap();
        let once = config.to_xml();
        for expected in
            ["machine='s390-ccw-virtio'", "/usr/bin/qemu-system-s390x", "bus='virtio'", "model type='virtio'"]
        {
            assert!(once.contains(expected), "{expected} not in\n{once}");
        }
        offline(&mut config).unwrap();
        assert_eq!(config.to_xml(), once);
        let bus = |machine: &str, model: &str| {
            let text = format!(
                "<domain type='qemu'><name>a</name><os><type arch='x86_64' machine='{machine}'>hvm</type></os>\
                 <devices><controller type='pci' index='1' model='{model}'/></devices></domain>"
            );
            offline(&mut DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config)
                .map_err(|it| it.to_string())
        };
        assert!(bus("pc-i440fx-7.2", "pci-expander-bus").is_ok() && bus("q35", "pcie-expander-bus").is_ok());
        assert!(bus("q35", "pci-expander-bus").unwrap_err().contains("is for the machines pc (i440FX), not for 'q35'"));
        assert!(bus("pc", "pcie-expander-bus").unwrap_err().contains("/domain/devices/controller[1]/@model"));
        let refused = offline(&mut guest("lxc", "<type>exe</type>")).unwrap_err();
        assert!(refused.to_string().contains("/domain/@type"), "{refused}");
        assert!(refused.to_string().contains("'exe' guests are not QEMU's"), "{refused}");
    }
}
