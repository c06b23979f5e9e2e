//! What kind of place a device needs. Sources: QEMU's list of devices (`-device help`) and their buses; libvirt's manual, "PCI
//! topology and hotplug".

use polyvirt_core::model::{
    DomainConfig,
    address::VirtioModel,
    chardev::SerialTargetType,
    controller::{Controller, ControllerKind, ControllerModel},
    disk::DiskBus,
    display::{InputBus, SoundModel, Video, VideoType},
    hostdev::{Hostdev, HostdevModel},
    interface::{Interface, InterfaceKind},
    memory_device::MemoryModel,
    misc::{BalloonModel, IommuModel, PanicModel, WatchdogModel},
};

use super::{
    super::board::Board,
    devices::{Device, List},
};

/// What kind of place a device needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// None, or one that others give.
    Nothing,
    /// Whatever virtio devices are attached to; one that can be driven by old drivers is a legacy device on PCI.
    Virtio { transitional: bool },
    /// A channel of s390.
    Ccw,
    /// A slot of legacy PCI.
    Pci,
    /// A port of PCI Express, or a slot where there is none.
    Pcie,
    /// A slot of the first bus, for devices that belong to the board.
    Integrated,
    /// A PCI controller, by its model.
    Bridge(ControllerModel),
}

const VIRTIO: Need = Need::Virtio { transitional: false };

/// Network cards that are not on PCI.
const CARDS_ELSEWHERE: &[&str] = &["usb-net", "lan9118", "smc91c111", "spapr-vlan", "ne2k_isa", "stellaris", "xgmac"];
/// Network cards of PCI Express.
const EXPRESS_CARDS: &[&str] = &["e1000e", "igb", "vmxnet3"];

/// What a device needs.
pub(super) fn need(config: &DomainConfig, device: Device, board: &Board) -> Need {
    let (devices, at) = (&config.devices, device.index);
    let virtio =
        |model: Option<VirtioModel>| Need::Virtio { transitional: model == Some(VirtioModel::VirtioTransitional) };
    match device.list {
        List::Disk => match devices.disks[at].target.as_ref().and_then(|it| it.bus) {
            Some(DiskBus::Virtio) => virtio(devices.disks[at].model),
            _ => Need::Nothing,
        },
        List::Interface => interface(&devices.interfaces[at]),
        List::Sound => match devices.sounds[at].model {
            Some(SoundModel::Virtio) => VIRTIO,
            Some(SoundModel::Ich6 | SoundModel::Ich7 | SoundModel::Ich9 | SoundModel::Ac97 | SoundModel::Es1370) => {
                Need::Pci
            }
            _ => Need::Nothing,
        },
        List::Video => video(&devices.videos[at]),
        List::Controller => controller(&devices.controllers[at], board),
        List::Serial => match devices.serials[at].target.as_ref().and_then(|it| it.kind) {
            Some(SerialTargetType::PciSerial) => Need::Pci,
            _ => Need::Nothing,
        },
        List::Input => match devices.inputs[at].bus {
            Some(InputBus::Virtio) => virtio(devices.inputs[at].model),
            _ => Need::Nothing,
        },
        List::Filesystem => virtio(devices.filesystems[at].model),
        List::Hostdev => hostdev(&devices.hostdevs[at]),
        List::Balloon => match devices.memballoon.as_ref().and_then(|it| it.model) {
            Some(BalloonModel::Virtio | BalloonModel::VirtioNonTransitional) => VIRTIO,
            Some(BalloonModel::VirtioTransitional) => Need::Virtio { transitional: true },
            _ => Need::Nothing,
        },
        List::Rng => virtio(devices.rngs[at].model),
        List::Watchdog if devices.watchdogs[at].model == Some(WatchdogModel::I6300esb) => Need::Pci,
        List::Shmem | List::Pstore => Need::Pci,
        List::Panic if devices.panics[at].model == Some(PanicModel::Pvpanic) => Need::Integrated,
        List::Memory => match devices.memories[at].model {
            Some(MemoryModel::VirtioMem | MemoryModel::VirtioPmem) => VIRTIO,
            _ => Need::Nothing,
        },
        List::Vsock => virtio(devices.vsock.as_ref().and_then(|it| it.model)),
        List::Iommu => match devices.iommu[at].model {
            Some(IommuModel::Virtio | IommuModel::Amd) => Need::Integrated,
            _ => Need::Nothing,
        },
        List::Crypto => VIRTIO,
        _ => Need::Nothing,
    }
}

fn interface(card: &Interface) -> Need {
    if card.kind == Some(InterfaceKind::Hostdev) {
        return Need::Pcie;
    }
    match card.model.as_ref().map_or("virtio", |it| it.kind.as_str()) {
        "virtio-transitional" => Need::Virtio { transitional: true },
        "virtio" | "virtio-non-transitional" => VIRTIO,
        model if CARDS_ELSEWHERE.contains(&model) => Need::Nothing,
        model if EXPRESS_CARDS.contains(&model) => Need::Pcie,
        _ => Need::Pci,
    }
}

fn video(video: &Video) -> Need {
    use VideoType::{Bochs, Cirrus, Default, Qxl, Vga, Virtio, Vmvga};
    match video.model.as_ref().and_then(|it| it.kind) {
        Some(Virtio) => VIRTIO,
        Some(Bochs) => Need::Pcie,
        Some(Vga | Cirrus | Vmvga | Qxl | Default) => Need::Pci,
        _ => Need::Nothing,
    }
}

fn controller(controller: &Controller, board: &Board) -> Need {
    use ControllerModel as M;
    let on_board = |kind| board.fixtures.iter().any(|(it, ..)| it.is_controller(kind));
    match (controller.kind, controller.model) {
        (Some(ControllerKind::Pci), Some(M::PciRoot | M::PcieRoot) | None) => Need::Nothing,
        (Some(ControllerKind::Pci), Some(model)) => Need::Bridge(model),
        (Some(ControllerKind::VirtioSerial | ControllerKind::Scsi), Some(M::VirtioTransitional)) => {
            Need::Virtio { transitional: true }
        }
        (Some(ControllerKind::VirtioSerial), _) => VIRTIO,
        (Some(ControllerKind::Scsi), Some(M::VirtioScsi | M::VirtioNonTransitional)) => VIRTIO,
        (Some(ControllerKind::Scsi), None | Some(M::Ibmvscsi | M::Ncr53c90)) => Need::Nothing,
        (Some(ControllerKind::Usb), Some(M::None | M::Qusb1 | M::Qusb2)) => Need::Nothing,
        (Some(ControllerKind::Usb), Some(M::NecXhci | M::QemuXhci)) | (Some(ControllerKind::Nvme), _) => Need::Pcie,
        (Some(ControllerKind::Usb | ControllerKind::Sata | ControllerKind::Scsi), _) => Need::Pci,
        (Some(ControllerKind::Ide), _) if on_board(ControllerKind::Ide) => Need::Pci,
        _ => Need::Nothing,
    }
}

fn hostdev(device: &Hostdev) -> Need {
    let options = match device {
        Hostdev::Pci(_) => return Need::Pcie,
        Hostdev::ScsiHost(it) => &it.options,
        Hostdev::Mdev(it) => &it.options,
        _ => return Need::Nothing,
    };
    match (device, options.model) {
        (Hostdev::ScsiHost(_), Some(HostdevModel::VirtioTransitional)) => Need::Virtio { transitional: true },
        (Hostdev::ScsiHost(_), _) => VIRTIO,
        (_, Some(HostdevModel::VfioPci)) => Need::Pcie,
        (_, Some(HostdevModel::VfioCcw)) => Need::Ccw,
        _ => Need::Nothing,
    }
}
