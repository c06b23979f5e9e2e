//! Names of devices: who has one keeps it, all others follow from kind and place.
//!
//! They are the `id`s of the command line, so a device that has the same place has the same id at every start. Stored definitions
//! keep only the names of the user's own (`ua-…`), those of running guests keep all: whoever is plugged in later takes a number that
//! is free, whoever was there before is not renamed. Pure.

use polyvirt_core::model::{
    DomainConfig,
    address::{Address, Alias, DeviceInfo},
    chardev::ConsoleTargetType,
    controller::{Controller, ControllerKind, ControllerModel},
    devices::Devices,
    disk::{Disk, DiskBus},
    hostdev::Hostdev,
    interface::InterfaceKind,
    memory_device::{MemoryDevice, MemoryModel},
};

use super::storage::disk;

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
    let mut cards = Numbers::of("net", devices.interfaces.iter().map(|it| &it.info));
    let mut hostdevs = Numbers::of("hostdev", devices.interfaces.iter().map(|it| &it.info));
    hostdevs.taken.extend(devices.hostdevs.iter_mut().filter_map(|it| own(hostdev_info(it)?)));
    let mut handed = 0;
    for (at, it) in devices.interfaces.iter_mut().enumerate() {
        if it.kind == Some(InterfaceKind::Hostdev) {
            set(&mut it.info, || hostdevs.next(handed));
            handed += 1;
        } else {
            set(&mut it.info, || cards.next(at));
        }
    }
    for (at, it) in devices.hostdevs.iter_mut().enumerate() {
        if let Some(info) = hostdev_info(it) {
            set(info, || hostdevs.next(handed + at));
        }
    }
    memories(&mut devices.memories);
    macro_rules! numbered {
        ($($list:ident: $prefix:literal),* $(,)?) => {$(
            let mut numbers = Numbers::of($prefix, devices.$list.iter().map(|it| &it.info));
            for (at, it) in devices.$list.iter_mut().enumerate() {
                set(&mut it.info, || numbers.next(at));
            }
        )*};
    }
    numbered!(serials: "serial", parallels: "parallel");
    if behind(devices) {
        // They are one device.
        let name = devices.serials.first().and_then(|it| it.info.alias.clone());
        devices.consoles.iter_mut().take(1).for_each(|it| it.info.alias.clone_from(&name));
    }
    numbered!(
        filesystems: "fs", smartcards: "smartcard", consoles: "console", channels: "channel", inputs: "input", tpms: "tpm", sounds: "sound", videos: "video", redirdevs: "redir",
        hubs: "hub", watchdogs: "watchdog", memballoon: "balloon", rngs: "rng", nvram: "nvram", panics: "panic",
        shmems: "shmem", iommu: "iommu", vsock: "vsock", cryptos: "crypto", pstore: "pstore",
    );
}

/// Whether the first console is the first serial port.
fn behind(devices: &Devices) -> bool {
    let kind = devices.consoles.first().map(|it| it.target.as_ref().and_then(|it| it.kind));
    matches!(kind, Some(None | Some(ConsoleTargetType::Serial))) && !devices.serials.is_empty()
}

/// Names it, if it has no name.
fn set(info: &mut DeviceInfo, usual: impl FnOnce() -> String) {
    if info.alias.is_none() {
        let mut alias = Alias::default();
        alias.name = usual();
        info.alias = Some(alias);
    }
}

fn own(info: &DeviceInfo) -> Option<String> {
    info.alias.as_ref().map(|it| it.name.clone())
}

/// Numbered names of one kind.
struct Numbers {
    prefix: &'static str,
    taken: Vec<String>,
}

impl Numbers {
    fn of<'a>(prefix: &'static str, devices: impl Iterator<Item = &'a DeviceInfo>) -> Self {
        Self { prefix, taken: devices.filter_map(own).collect() }
    }

    /// The name of the device at this place; the next that is free, if a device that was there before has it.
    fn next(&mut self, at: usize) -> String {
        let names = (at..).map(|number| format!("{}{number}", self.prefix));
        let name = names.into_iter().find(|it| !self.taken.contains(it)).unwrap_or_default();
        self.taken.push(name.clone());
        name
    }
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
    let numbers = |prefix| (Numbers::of(prefix, devices.iter().map(|it| &it.info)), 0..);
    let (mut pmem, mut mem, mut epc) = (numbers("virtiopmem"), numbers("virtiomem"), numbers("epc"));
    for (at, it) in (0u32..).zip(devices) {
        let slot = match &it.info.address {
            Some(Address::Dimm(dimm)) => dimm.slot,
            _ => None,
        };
        let counted =
            |(names, count): &mut (Numbers, std::ops::RangeFrom<usize>)| names.next(count.next().unwrap_or(0));
        let model = it.model;
        set(&mut it.info, || match model {
            Some(MemoryModel::VirtioPmem) => counted(&mut pmem),
            Some(MemoryModel::VirtioMem) => counted(&mut mem),
            Some(MemoryModel::SgxEpc) => counted(&mut epc),
            Some(MemoryModel::Nvdimm) => format!("nvdimm{}", slot.unwrap_or(at)),
            _ => format!("dimm{}", slot.unwrap_or(at)),
        });
    }
}
