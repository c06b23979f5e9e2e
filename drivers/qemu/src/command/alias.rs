//! Names of devices: the user's own (`ua-…`) stay, all others follow from kind and place.
//!
//! They are the `id`s of the command line, so a device that has the same place has the same id at every start. Pure.

use polyvirt_core::model::{
    DomainConfig,
    address::{Address, Alias, DeviceInfo},
    controller::{Controller, ControllerKind, ControllerModel},
    disk::{Disk, DiskBus},
    hostdev::Hostdev,
    interface::InterfaceKind,
    memory_device::{MemoryDevice, MemoryModel},
};

use super::storage::disk;

/// What a name begins with that is the user's.
pub(super) const OWN: &str = "ua-";

/// Names every device of a definition.
pub(super) fn assign(config: &mut DomainConfig, ide_is_sata: bool) {
    let lsi = lsi_controllers(config);
    let devices = &mut config.devices;
    for it in &mut devices.disks {
        let name = disk_name(it, &lsi);
        set(&mut it.info, || name);
    }
    for it in &mut devices.controllers {
        let name = controller_name(it, ide_is_sata);
        set(&mut it.info, || name);
    }
    let mut hostdevs = 0;
    for (at, it) in devices.interfaces.iter_mut().enumerate() {
        if it.kind == Some(InterfaceKind::Hostdev) {
            set(&mut it.info, || format!("hostdev{hostdevs}"));
            hostdevs += 1;
        } else {
            set(&mut it.info, || format!("net{at}"));
        }
    }
    for (at, it) in devices.hostdevs.iter_mut().enumerate() {
        if let Some(info) = hostdev_info(it) {
            set(info, || format!("hostdev{}", hostdevs + at));
        }
    }
    memories(&mut devices.memories);
    macro_rules! numbered {
        ($($list:ident: $prefix:literal),* $(,)?) => {$(
            for (at, it) in devices.$list.iter_mut().enumerate() {
                set(&mut it.info, || format!(concat!($prefix, "{}"), at));
            }
        )*};
    }
    numbered!(
        filesystems: "fs", smartcards: "smartcard", serials: "serial", parallels: "parallel", consoles: "console",
        channels: "channel", inputs: "input", tpms: "tpm", sounds: "sound", videos: "video", redirdevs: "redir",
        hubs: "hub", watchdogs: "watchdog", memballoon: "balloon", rngs: "rng", nvram: "nvram", panics: "panic",
        shmems: "shmem", iommu: "iommu", vsock: "vsock", cryptos: "crypto", pstore: "pstore",
    );
}

fn set(info: &mut DeviceInfo, usual: impl FnOnce() -> String) {
    if info.alias.as_ref().is_some_and(|it| it.name.starts_with(OWN)) {
        return;
    }
    let mut alias = Alias::default();
    alias.name = usual();
    info.alias = Some(alias);
}

/// The name that [`assign`] gave.
pub(super) fn of(info: &DeviceInfo) -> &str {
    info.alias.as_ref().map_or("", |it| it.name.as_str())
}

/// SCSI controllers whose disks are numbered without a target.
fn lsi_controllers(config: &DomainConfig) -> Vec<u32> {
    let controllers = config.devices.controllers.iter().filter(|it| it.model == Some(ControllerModel::Lsilogic));
    controllers.map(|it| it.index.unwrap_or(0)).collect()
}

fn disk_name(disk: &Disk, lsi: &[u32]) -> String {
    let bus = disk::disk_bus(disk);
    let (controller, line, target, unit) = disk::place(disk);
    match bus {
        DiskBus::Scsi if !lsi.contains(&controller) => format!("scsi{controller}-{line}-{target}-{unit}"),
        DiskBus::Scsi | DiskBus::Ide | DiskBus::Sata | DiskBus::Fdc => format!("{bus}{controller}-{line}-{unit}"),
        _ => {
            let number = disk.target.as_ref().and_then(|it| disk::number(&it.dev)).unwrap_or(0);
            format!("{bus}-disk{number}")
        }
    }
}

fn controller_name(controller: &Controller, ide_is_sata: bool) -> String {
    let index = controller.index.unwrap_or(0);
    match controller.kind {
        Some(ControllerKind::Pci) if index == 0 && controller.model == Some(ControllerModel::PcieRoot) => {
            "pcie.0".into()
        }
        Some(ControllerKind::Pci) => format!("pci.{index}"),
        // The board's own have the board's names.
        Some(ControllerKind::Usb) if index == 0 => "usb".into(),
        Some(ControllerKind::Ide) if index == 0 && !ide_is_sata => "ide".into(),
        Some(ControllerKind::Sata) if index == 0 && ide_is_sata => "ide".into(),
        kind => format!("{}{index}", kind.map_or("", ControllerKind::as_str)),
    }
}

fn hostdev_info(hostdev: &mut Hostdev) -> Option<&mut DeviceInfo> {
    Some(match hostdev {
        Hostdev::Pci(it) => &mut it.info,
        Hostdev::Usb(it) => &mut it.info,
        Hostdev::Scsi(it) => &mut it.info,
        Hostdev::ScsiHost(it) => &mut it.info,
        Hostdev::Mdev(it) => &mut it.info,
        Hostdev::Storage(it) => &mut it.info,
        Hostdev::Misc(it) => &mut it.info,
        Hostdev::Net(it) => &mut it.info,
        _ => return None,
    })
}

/// Slots name what sits in slots; the others are counted, each kind by itself.
fn memories(devices: &mut [MemoryDevice]) {
    let mut counts = [0u32; 3];
    for (at, it) in (0u32..).zip(devices) {
        let slot = match &it.info.address {
            Some(Address::Dimm(dimm)) => dimm.slot,
            _ => None,
        };
        let mut counted = |kind: usize| {
            counts[kind] += 1;
            counts[kind] - 1
        };
        let name = match it.model {
            Some(MemoryModel::VirtioPmem) => format!("virtiopmem{}", counted(0)),
            Some(MemoryModel::VirtioMem) => format!("virtiomem{}", counted(1)),
            Some(MemoryModel::SgxEpc) => format!("epc{}", counted(2)),
            Some(MemoryModel::Nvdimm) => format!("nvdimm{}", slot.unwrap_or(at)),
            _ => format!("dimm{}", slot.unwrap_or(at)),
        };
        set(&mut it.info, || name);
    }
}
