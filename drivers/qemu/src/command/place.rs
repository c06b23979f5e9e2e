//! Where a device is plugged in, and what every device of a bus can have: `bus=`, `addr=`, `devno=`, ROM, virtio's switches.

use polyvirt_core::model::{
    address::{Address, DeviceInfo, PciAddress, VirtioModel, VirtioOptions},
    controller::{Controller, ControllerKind, ControllerModel},
};

use super::{Input, alias, option::Members};

/// Adds bus and address, if there are any; else QEMU picks a place.
pub(super) fn at(members: Members, info: &DeviceInfo, input: &Input<'_>) -> Members {
    match &info.address {
        Some(Address::Pci(address)) => pci(members, address, info, input),
        Some(Address::Usb(address)) => {
            let bus = format!("{}.0", controller_name(input, ControllerKind::Usb, address.bus.unwrap_or(0)));
            let port = address.port.as_ref().map(ToString::to_string).filter(|it| !it.is_empty());
            members.with("bus", bus).maybe("port", port)
        }
        Some(Address::Ccw(address)) => members.with(
            "devno",
            format!(
                "{:x}.{:x}.{:04x}",
                address.cssid.unwrap_or(0xfe),
                address.ssid.unwrap_or(0),
                address.devno.unwrap_or(0)
            ),
        ),
        Some(Address::SpaprVio(address)) => members.maybe("reg", address.reg),
        Some(Address::Isa(address)) => members.maybe("iobase", address.iobase).maybe("irq", address.irq),
        Some(Address::Dimm(address)) => members.maybe("slot", address.slot).maybe("addr", address.base),
        Some(Address::VirtioSerial(address)) => {
            let name = controller_name(input, ControllerKind::VirtioSerial, address.controller.unwrap_or(0));
            let bus = format!("{name}.{}", address.bus.unwrap_or(0));
            members.with("bus", bus).maybe("nr", address.port)
        }
        Some(Address::Ccid(address)) => {
            let name = controller_name(input, ControllerKind::Ccid, address.controller.unwrap_or(0));
            members.with("bus", format!("{name}.0"))
        }
        _ => members,
    }
}

fn pci(members: Members, address: &PciAddress, info: &DeviceInfo, input: &Input<'_>) -> Members {
    let Some(slot) = address.slot else { return members };
    let function = address.function.unwrap_or(0);
    let place = if function == 0 { format!("{slot:#x}") } else { format!("{slot:#x}.{function:#x}") };
    members
        .with("bus", pci_bus(address, input))
        .maybe("multifunction", address.multifunction)
        .with("addr", place)
        .maybe("acpi-index", info.acpi.as_ref().and_then(|it| it.index).filter(|it| *it > 0))
}

/// The bus a PCI address names.
fn pci_bus(address: &PciAddress, input: &Input<'_>) -> String {
    let index = address.bus.unwrap_or(0);
    let Some(controller) = controller(input, ControllerKind::Pci, index) else {
        return format!("pci.{index}");
    };
    match controller.model {
        Some(ControllerModel::PcieRoot) => "pcie.0".into(),
        Some(ControllerModel::PciRoot) if index > 0 => format!("{}.0", alias::of(&controller.info)),
        Some(ControllerModel::PciRoot) if single_bus(input) => "pci".into(),
        Some(ControllerModel::PciRoot) => "pci.0".into(),
        _ => alias::of(&controller.info).to_owned(),
    }
}

/// Boards of Arm other than `virt` have one bus, and its name has no number.
fn single_bus(input: &Input<'_>) -> bool {
    matches!(input.binary.arch.as_str(), "arm" | "aarch64") && !input.is_virt()
}

/// The controller of this kind and number.
pub(super) fn controller<'a>(input: &Input<'a>, kind: ControllerKind, index: u32) -> Option<&'a Controller> {
    let found = input.config.devices.controllers.iter();
    found.into_iter().find(|it| it.kind == Some(kind) && it.index.unwrap_or(0) == index)
}

/// What devices call it.
pub(super) fn controller_name(input: &Input<'_>, kind: ControllerKind, index: u32) -> String {
    match controller(input, kind, index) {
        Some(found) => alias::of(&found.info).to_owned(),
        None if kind == ControllerKind::Usb && index == 0 => "usb".into(),
        None => format!("{kind}{index}"),
    }
}

/// The device of a virtio function on the bus where it sits.
pub(super) fn virtio(base: &str, info: &DeviceInfo, model: Option<VirtioModel>, input: &Input<'_>) -> String {
    let bus = match &info.address {
        Some(Address::Ccw(_)) => "ccw",
        Some(Address::VirtioMmio(_)) => "device",
        Some(Address::Pci(_)) => "pci",
        _ if input.binary.arch == "s390x" => "ccw",
        _ => "pci",
    };
    let variant = match model {
        Some(VirtioModel::VirtioTransitional) if bus == "pci" => "-transitional",
        Some(VirtioModel::VirtioNonTransitional) if bus == "pci" => "-non-transitional",
        _ => "",
    };
    format!("{base}-{bus}{variant}")
}

/// Switches of every virtio device.
pub(super) fn virtio_options(members: Members, options: Option<&VirtioOptions>) -> Members {
    let Some(options) = options else { return members };
    members
        .maybe("iommu_platform", options.iommu)
        .maybe("ats", options.ats)
        .maybe("packed", options.packed)
        .maybe("page-per-vq", options.page_per_vq)
}

/// Option ROM of a PCI device, and where it stands in the boot order.
pub(super) fn rom(members: Members, info: &DeviceInfo) -> Members {
    let Some(rom) = &info.rom else { return members };
    if rom.enabled == Some(false) {
        // No file at all: QEMU would load its own.
        return members.with("romfile", "");
    }
    members.maybe("rombar", rom.bar.map(u8::from)).maybe("romfile", rom.file.clone())
}

/// Where a device stands in the boot order, and what it boots with on s390x.
pub(super) fn boot(members: Members, info: &DeviceInfo, order: Option<u32>, input: &Input<'_>) -> Members {
    let own = input.binary.has_property("virtio-blk-ccw", "loadparm");
    let parameter = info.boot.as_ref().and_then(|it| it.loadparm.as_ref()).filter(|_| own);
    members.maybe("bootindex", order).maybe("loadparm", parameter.map(ToString::to_string))
}
