//! Whether a device can have an address of the kind that it was given.

use polyvirt_core::model::{DomainConfig, Problem, address::Address, display::VideoType, misc::PanicModel};

use super::{
    super::board::Board,
    devices::{Device, List, all},
    needs::{Need, need},
    problem,
};

/// Refuses addresses of kinds that the device cannot have.
pub(super) fn check(config: &DomainConfig, found: &mut Vec<Problem>) {
    let board = Board::of(config);
    for device in all(config) {
        let Some(address) = device.info(&config.devices).and_then(|it| it.address.as_ref()) else { continue };
        let kinds = kinds(config, device, board);
        let given = kind(address);
        if kinds.is_some_and(|kinds| !kinds.contains(&given)) {
            let fitting = match kinds.unwrap_or_default() {
                [] => "leave it out".to_owned(),
                kinds => format!("use type='{}' or leave it out", kinds.join("' or '")),
            };
            found.push(problem(config, device, format!("it cannot have an address of type '{given}'; {fitting}")));
        }
    }
}

/// The kinds of address that a device can have; `None`: nothing is known of it.
fn kinds(config: &DomainConfig, device: Device, board: &Board) -> Option<&'static [&'static str]> {
    match need(config, device, board) {
        Need::Virtio { .. } => Some(&["pci", "ccw", "virtio-mmio", "virtio-s390"]),
        Need::Ccw => Some(&["ccw"]),
        // libvirt stores it with any; what QEMU cannot attach a start refuses.
        Need::Pci if device.list == List::Shmem => None,
        Need::Pcie if device.list == List::Hostdev => Some(&["pci", "unassigned"]),
        Need::Pci | Need::Pcie | Need::Integrated | Need::Bridge(_) => Some(&["pci"]),
        Need::Nothing => match device.list {
            List::Video => {
                let model = config.devices.videos[device.index].model.as_ref();
                (model.and_then(|it| it.kind) == Some(VideoType::Ramfb)).then_some(&[])
            }
            List::Panic => match config.devices.panics[device.index].model {
                Some(PanicModel::S390 | PanicModel::Pseries | PanicModel::Hyperv) => Some(&[]),
                Some(PanicModel::Isa) => Some(&["isa"]),
                _ => None,
            },
            _ => None,
        },
    }
}

/// The word for a kind of address.
fn kind(address: &Address) -> &'static str {
    match address {
        Address::Pci(_) => "pci",
        Address::Drive(_) => "drive",
        Address::VirtioSerial(_) => "virtio-serial",
        Address::Ccid(_) => "ccid",
        Address::Usb(_) => "usb",
        Address::SpaprVio(_) => "spapr-vio",
        Address::VirtioS390(_) => "virtio-s390",
        Address::Ccw(_) => "ccw",
        Address::VirtioMmio(_) => "virtio-mmio",
        Address::Isa(_) => "isa",
        Address::Dimm(_) => "dimm",
        Address::Unassigned(_) => "unassigned",
        Address::Mdev(_) => "mdev",
        _ => "",
    }
}
