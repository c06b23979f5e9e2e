//! What devices can be, and where they can sit, beyond what their buses say.

use polyvirt_core::model::{
    DomainConfig, Problem,
    address::{Address, VirtioModel},
    chardev::{CharBackend, CharMode, CharProtocol, CharSource},
    controller::{ControllerKind, ControllerModel},
    devices::Devices,
    display::{GraphicsKind, InputKind, VideoType},
    filesystem::FilesystemDriverType,
    hostdev::{Hostdev, HostdevModel, MdevHostdev},
    interface::{InterfaceBackendType, InterfaceKind},
    memory::MemoryAccess,
    misc::{IommuModel, PanicModel, ShmemSize, TpmVersion},
    storage::SourceKind,
};

use crate::machine::Family;

/// Highest index of a pSeries host bridge (QEMU, `hw/ppc/spapr.c`).
const MAX_HOST_BRIDGE: u32 = 30;
/// Smallest shared memory, in KiB.
const MIN_SHARED: u64 = 1024;

pub(super) fn rules(config: &DomainConfig, found: &mut Vec<Problem>) {
    let (family, devices) = (Family::of_config(config), &config.devices);
    displays(devices, found);
    platform(devices, family, found);
    let acpi = config.features.as_ref().is_some_and(|it| it.acpi);
    iommus(devices, family, acpi, found);
    mediated(devices, found);
    shared_memory(config, found);
    character_devices(devices, found);
    others(devices, found);
}

fn refuse(found: &mut Vec<Problem>, element: &str, at: usize, rest: &str, problem: impl Into<String>) {
    found.push(Problem::error(format!("/domain/devices/{element}[{}]{rest}", at + 1), problem));
}

fn displays(devices: &Devices, found: &mut Vec<Problem>) {
    let count = |kind| devices.graphics.iter().filter(|it| it.kind == Some(kind)).count();
    let egl = devices.graphics.iter().position(|it| it.kind == Some(GraphicsKind::EglHeadless));
    if let Some(at) = egl {
        let alone = devices.graphics.len() == 1;
        if !alone && count(GraphicsKind::Vnc) + count(GraphicsKind::Spice) == 0 {
            refuse(found, "graphics", at, "/@type", "'egl-headless' draws for 'vnc' and 'spice'; add one of them");
        }
        let gl = |it: &polyvirt_core::model::display::Graphics| it.gl.as_ref().and_then(|gl| gl.enable) == Some(true);
        if let Some(other) = devices.graphics.iter().position(gl) {
            refuse(found, "graphics", other, "/gl", "'egl-headless' has OpenGL already, and QEMU has one; remove <gl>");
        }
    }
    for (at, video) in devices.videos.iter().enumerate() {
        let ramfb = video.model.as_ref().and_then(|it| it.kind) == Some(VideoType::Ramfb);
        if ramfb && video.info.address.is_some() {
            refuse(found, "video", at, "/address", "'ramfb' sits on no bus, remove <address>");
        }
    }
}

/// What some machines lack.
fn platform(devices: &Devices, family: Family, found: &mut Vec<Problem>) {
    for (at, panic) in devices.panics.iter().enumerate() {
        match panic.model {
            None => {
                let problem = "this machine has no device of its own that notices crashes; name a model";
                refuse(found, "panic", at, "", problem);
            }
            Some(PanicModel::S390 | PanicModel::Pseries) if panic.info.address.is_some() => {
                refuse(found, "panic", at, "/address", "the machine itself notices, remove <address>");
            }
            Some(PanicModel::Pvpanic) if !matches!(panic.info.address, None | Some(Address::Pci(_))) => {
                refuse(found, "panic", at, "/address", "'pvpanic' is a PCI device, give it a PCI address or none");
            }
            _ => {}
        }
    }
    if family == Family::Ccw && !devices.parallels.is_empty() {
        refuse(found, "parallel", 0, "", "this machine has no parallel ports, remove it");
    }
    for (at, tpm) in devices.tpms.iter().enumerate() {
        let old = tpm.backend.as_ref().and_then(|it| it.version) == Some(TpmVersion::V12);
        if old && !family.is_x86() {
            refuse(found, "tpm", at, "/backend/@version", "TPM 1.2 is for x86, use version='2.0'");
        }
    }
    for (at, controller) in devices.controllers.iter().enumerate() {
        let root = controller.kind == Some(ControllerKind::Pci) && controller.model == Some(ControllerModel::PciRoot);
        let target = controller.target.as_ref().and_then(|it| it.index).filter(|_| root && family == Family::Pseries);
        let Some(target) = target else { continue };
        if target > MAX_HOST_BRIDGE {
            let problem = format!("{target} is out of range, host bridges have 0 to {MAX_HOST_BRIDGE}");
            refuse(found, "controller", at, "/target/@index", problem);
        } else if (target == 0) != (controller.index == Some(0)) {
            let problem = "the first controller, and no other, is the first host bridge; make both 0 or neither";
            refuse(found, "controller", at, "/target/@index", problem);
        }
    }
}

fn iommus(devices: &Devices, family: Family, acpi: bool, found: &mut Vec<Problem>) {
    for (at, iommu) in devices.iommu.iter().enumerate() {
        let (fits, on) = match iommu.model {
            Some(IommuModel::Intel | IommuModel::Amd) => (family == Family::Q35, "q35"),
            Some(IommuModel::Smmuv3) => (family == Family::ArmVirt, "ARM's virt"),
            Some(IommuModel::Virtio) => (matches!(family, Family::Q35 | Family::ArmVirt), "q35 and ARM's virt"),
            _ => (true, ""),
        };
        if !fits {
            refuse(found, "iommu", at, "/@model", format!("this IOMMU is for machines of type {on}"));
        }
        if iommu.model == Some(IommuModel::Virtio) {
            if !acpi {
                refuse(
                    found,
                    "iommu",
                    at,
                    "/@model",
                    "guests find a virtio IOMMU by ACPI; add <features><acpi/></features>",
                );
            }
            if iommu.driver.is_some() {
                refuse(found, "iommu", at, "/driver", "a virtio IOMMU has no options, remove <driver>");
            }
            if !matches!(iommu.info.address, None | Some(Address::Pci(_))) {
                refuse(found, "iommu", at, "/address", "a virtio IOMMU is a PCI device, give it a PCI address or none");
            }
        }
    }
}

/// Mediated devices sit on the bus of their kind.
fn mediated(devices: &Devices, found: &mut Vec<Problem>) {
    for (at, device) in devices.hostdevs.iter().enumerate() {
        let Hostdev::Mdev(device) = device else { continue };
        let uuid = device.source.as_ref().and_then(|it| it.address.as_ref()).and_then(|it| it.uuid);
        if uuid.is_none() {
            refuse(found, "hostdev", at, "/source/address/@uuid", "which one? Give its UUID");
        }
        if let Some(problem) = misplaced(device) {
            refuse(found, "hostdev", at, "/address", problem);
        }
        if device.options.model == Some(HostdevModel::VfioAp) && device.info.boot.is_some() {
            refuse(found, "hostdev", at, "/boot", "nothing boots from a crypto adapter, remove <boot>");
        }
    }
}

fn misplaced(device: &MdevHostdev) -> Option<String> {
    let address = device.info.address.as_ref()?;
    let (fits, bus) = match device.options.model {
        Some(HostdevModel::VfioPci) => (matches!(address, Address::Pci(_)), "PCI"),
        Some(HostdevModel::VfioCcw) => (matches!(address, Address::Ccw(_)), "CCW"),
        _ => return None,
    };
    (!fits).then(|| format!("this mediated device sits on {bus}, give it such an address or none"))
}

/// Rule Q15: who serves a device from another process reads the guest's memory, all of it. A switch (`<interface type='vhostuser'>`)
/// is its administrator's to know, and screens have long been stored without.
fn shared_memory(config: &DomainConfig, found: &mut Vec<Problem>) {
    let backing = config.memory_backing.as_ref().and_then(|it| it.access.as_ref()).and_then(|it| it.mode);
    let cells = config.cells();
    let of_cells = cells.iter().all(|it| it.mem_access.or(backing) == Some(MemoryAccess::Shared));
    if if cells.is_empty() { backing == Some(MemoryAccess::Shared) } else { of_cells } {
        return;
    }
    let devices = &config.devices;
    let cards = devices.interfaces.iter().enumerate().filter(|(_, it)| {
        let passt = it.backend.as_ref().and_then(|it| it.kind) == Some(InterfaceBackendType::Passt);
        it.kind == Some(InterfaceKind::VhostUser) && passt
    });
    let disks = devices.disks.iter().enumerate().filter(|(_, it)| it.kind == Some(SourceKind::VhostUser));
    let folders = devices
        .filesystems
        .iter()
        .enumerate()
        .filter(|(_, it)| it.driver.as_ref().and_then(|it| it.kind) == Some(FilesystemDriverType::Virtiofs));
    let served = cards
        .map(|(at, _)| ("interface", at))
        .chain(disks.map(|(at, _)| ("disk", at)))
        .chain(folders.map(|(at, _)| ("filesystem", at)));
    for (element, at) in served {
        let problem = "the process that serves it reads the guest's memory, all of it; \
                       add <memoryBacking><access mode='shared'/></memoryBacking>";
        refuse(found, element, at, "", problem);
    }
}

fn character_devices(devices: &Devices, found: &mut Vec<Problem>) {
    let serials = devices.serials.iter().map(|it| (it.kind, &it.backend)).enumerate().map(|it| ("serial", it));
    let parallels = devices.parallels.iter().map(|it| (it.kind, &it.backend)).enumerate().map(|it| ("parallel", it));
    let consoles = devices.consoles.iter().map(|it| (it.kind, &it.backend)).enumerate().map(|it| ("console", it));
    let channels = devices.channels.iter().map(|it| (it.kind, &it.backend)).enumerate().map(|it| ("channel", it));
    for (element, (at, (kind, about))) in serials.chain(parallels).chain(consoles).chain(channels) {
        let protocol = about.protocol.as_ref().and_then(|it| it.kind);
        if kind == Some(CharBackend::Tcp) && protocol == Some(CharProtocol::Tls) {
            refuse(found, element, at, "/protocol/@type", "TLS is chosen with <source tls='yes'>; use protocol 'raw'");
        }
        if reconnects(about) && about.source.first().and_then(|it| it.mode) != Some(CharMode::Connect) {
            refuse(found, element, at, "/source/reconnect", "only who connects can do it again; use mode='connect'");
        }
    }
}

fn reconnects(about: &CharSource) -> bool {
    about.source.iter().any(|it| it.reconnect.as_ref().and_then(|it| it.enabled) == Some(true))
}

fn others(devices: &Devices, found: &mut Vec<Problem>) {
    for (at, input) in devices.inputs.iter().enumerate() {
        let host = matches!(input.kind, Some(InputKind::Passthrough | InputKind::Evdev));
        if !host && matches!(input.model, Some(VirtioModel::VirtioTransitional | VirtioModel::VirtioNonTransitional)) {
            refuse(found, "input", at, "/@model", "this device came after transitional virtio; use model='virtio'");
        }
    }
    for (at, memory) in devices.shmems.iter().enumerate() {
        let wrong = |it: &&ShmemSize| it.size.0 < MIN_SHARED || !it.size.0.is_power_of_two();
        if let Some(size) = memory.size.as_ref().filter(wrong) {
            let problem = format!("{} KiB; shared memory is a power of two and at least 1 MiB", size.size.0);
            refuse(found, "shmem", at, "/size", problem);
        }
    }
    for (at, filesystem) in devices.filesystems.iter().enumerate() {
        let virtiofs = filesystem.driver.as_ref().and_then(|it| it.kind) == Some(FilesystemDriverType::Virtiofs);
        let pci = matches!(filesystem.info.address, None | Some(Address::Pci(_)));
        if virtiofs && filesystem.info.boot.is_some() && !pci {
            refuse(found, "filesystem", at, "/boot", "a guest boots from virtiofs on PCI alone, remove <boot>");
        }
    }
}
