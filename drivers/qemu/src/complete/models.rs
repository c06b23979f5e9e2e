//! Which device it is, where a definition names only its kind.

use polyvirt_core::model::{
    DomainConfig, Kib,
    address::{Address, VirtioModel},
    chardev::{SerialModel, SerialModelRef, SerialTarget, SerialTargetType},
    display::{SoundModel, VideoModel, VideoType},
    hostdev::{Hostdev, HostdevModel, ScsiProtocol},
    interface::{InterfaceKind, InterfaceModel},
    misc::{PanicModel, RngModel, Shmem, ShmemSize, ShmemType, TpmBackendType, TpmModel, TpmVersion},
};

use crate::{
    config::Config,
    machine::{Defaults, Family},
    probe::Binary,
};

/// Video memory of most devices, in KiB.
const VIDEO_MEMORY: u32 = 16 * 1024;
/// Streams of a virtio sound card: one each way.
const VIRTIO_STREAMS: u32 = 2;
/// Shared memory that says no size.
const SHARED_MEMORY: Kib = Kib(4 * 1024);
/// Memory bars of QXL, in KiB.
const QXL_MEMORY: u32 = 64 * 1024;

pub(super) fn complete(config: &mut DomainConfig, binary: &Binary, settings: &Config) {
    let family = Family::of_config(config);
    let defaults = family.defaults();
    let devices = &mut config.devices;
    for card in &mut devices.interfaces {
        let virtio = matches!(card.kind, Some(InterfaceKind::Vdpa | InterfaceKind::VhostUser));
        // Names of models are compared as people write them.
        if card.model.as_ref().is_some_and(|it| it.kind.eq_ignore_ascii_case("virtio")) {
            card.model = Some(InterfaceModel::new("virtio"));
        }
        // A passed-through function is what it is.
        if card.model.is_none() && card.kind != Some(InterfaceKind::Hostdev) {
            card.model = Some(InterfaceModel::new(if virtio { "virtio" } else { network_card(defaults, binary) }));
        }
    }
    for serial in &mut devices.serials {
        let address = serial.info.address.clone();
        serial_port(serial.target.get_or_insert_with(SerialTarget::default), address.as_ref(), family);
    }
    for (at, video) in devices.videos.iter_mut().enumerate() {
        let model = video.model.get_or_insert_with(VideoModel::default);
        screen(model, defaults, binary);
        if model.kind != Some(VideoType::None) {
            model.heads.get_or_insert(1);
            model.primary = (at == 0).then_some(true);
        }
    }
    for sound in devices.sounds.iter_mut().filter(|it| it.model == Some(SoundModel::Virtio)) {
        sound.streams.get_or_insert(VIRTIO_STREAMS);
    }
    for memory in &mut devices.shmems {
        shared_memory(memory);
    }
    if let Some(vsock) = &mut devices.vsock {
        vsock.model.get_or_insert(VirtioModel::Virtio);
    }
    for rng in &mut devices.rngs {
        let backend = rng.backend.as_mut().filter(|it| it.model == Some(RngModel::Random));
        if let Some(backend) = backend {
            backend.path.get_or_insert_with(|| "/dev/random".to_owned());
        }
    }
    for panic in &mut devices.panics {
        panic.model = panic.model.filter(|it| *it != PanicModel::Default).or(defaults.panic);
    }
    for tpm in &mut devices.tpms {
        tpm.model = tpm.model.filter(|it| *it != TpmModel::Default).or(defaults.tpm);
        let emulated = tpm.backend.as_mut().filter(|it| it.kind == Some(TpmBackendType::Emulator));
        if let Some(backend) = emulated {
            let old = family.is_x86() && tpm.model == Some(TpmModel::TpmTis);
            let offered = |version: &str| {
                settings.swtpm_versions.as_ref().is_none_or(|all| all.split(',').any(|it| it.trim() == version))
            };
            backend.version.get_or_insert(match old && offered("1.2") {
                true => TpmVersion::V12,
                false => TpmVersion::V20,
            });
        }
    }
    for device in &mut devices.hostdevs {
        device.options_mut().managed.get_or_insert(false);
        passed_through(device);
    }
}

fn passed_through(device: &mut Hostdev) {
    match device {
        Hostdev::Mdev(device) if device.options.model == Some(HostdevModel::VfioPci) => {
            device.options.display.get_or_insert(false);
        }
        Hostdev::Scsi(device) => {
            let iscsi = device.source.as_mut().filter(|it| it.protocol == Some(ScsiProtocol::Iscsi));
            if let Some(name) = iscsi.and_then(|it| it.name.as_mut()) {
                super::disks::iscsi_unit(name);
            }
        }
        _ => {}
    }
}

fn shared_memory(memory: &mut Shmem) {
    let doorbell = memory.model.as_ref().and_then(|it| it.kind) == Some(ShmemType::IvshmemDoorbell);
    // The server says how much it has.
    if !doorbell && memory.server.is_none() {
        memory.size.get_or_insert_with(|| ShmemSize::new(SHARED_MEMORY));
    }
    if doorbell {
        memory.msi.get_or_insert_default().ioeventfd.get_or_insert(true);
    }
}

/// The first card that this QEMU has, the family's own before others.
fn network_card(defaults: &Defaults, binary: &Binary) -> &'static str {
    match defaults.card {
        "rtl8139" if binary.has_type("rtl8139") => "rtl8139",
        "rtl8139" if binary.has_type("e1000") => "e1000",
        "rtl8139" => "virtio",
        other => other,
    }
}

fn screen(model: &mut VideoModel, defaults: &Defaults, binary: &Binary) {
    if matches!(model.kind, None | Some(VideoType::Default)) {
        model.kind = match defaults.video {
            Some(VideoType::Cirrus) if !binary.has_type("cirrus-vga") => Some(VideoType::Vga),
            other => other,
        };
    }
    match model.kind {
        Some(VideoType::Cirrus | VideoType::Vga | VideoType::Vmvga | VideoType::Bochs) => {
            model.vram.get_or_insert(VIDEO_MEMORY);
        }
        Some(VideoType::Qxl) => {
            model.vram.get_or_insert(QXL_MEMORY);
            model.ram.get_or_insert(QXL_MEMORY);
            model.vgamem.get_or_insert(VIDEO_MEMORY);
        }
        _ => {}
    }
}

/// Where a port sits follows from its address, else from the machine; the device follows from where it sits.
fn serial_port(target: &mut SerialTarget, address: Option<&Address>, family: Family) {
    let own = family.defaults().serial;
    if target.kind.is_none() {
        target.kind = match address {
            Some(Address::Pci(_)) => Some(SerialTargetType::PciSerial),
            Some(Address::Usb(_)) => Some(SerialTargetType::UsbSerial),
            Some(Address::Isa(_)) => Some(SerialTargetType::IsaSerial),
            Some(Address::SpaprVio(_)) => Some(SerialTargetType::SpaprVioSerial),
            _ => own.map(|(kind, _)| kind),
        };
    }
    let model = target.model.get_or_insert_with(SerialModelRef::default);
    if model.name.is_none() {
        model.name = target.kind.and_then(|kind| match kind {
            SerialTargetType::IsaSerial => Some(SerialModel::IsaSerial),
            SerialTargetType::UsbSerial => Some(SerialModel::UsbSerial),
            SerialTargetType::PciSerial => Some(SerialModel::PciSerial),
            SerialTargetType::SpaprVioSerial => Some(SerialModel::SpaprVty),
            SerialTargetType::IsaDebug | SerialTargetType::DebugCon => Some(SerialModel::IsaDebugcon),
            _ => own.filter(|(here, _)| *here == kind).map(|(_, model)| model),
        });
    }
    if model.name.is_none() {
        target.model = None;
    }
}
