//! Controllers, and where a device is plugged in.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        address::{Address, DeviceInfo, PciAddress},
        controller::{Controller, ControllerKind, ControllerModel},
    },
};

use super::{Args, Input, option::Members};

/// Adds bus and address of a PCI device, if it has them; else QEMU picks a place.
pub(super) fn pci(members: Members, info: &DeviceInfo, input: &Input<'_>) -> Members {
    let Some(Address::Pci(address)) = &info.address else { return members };
    let Some(slot) = address.slot else { return members };
    let function = address.function.unwrap_or(0);
    let place = if function == 0 { format!("{slot:#x}") } else { format!("{slot:#x}.{function:#x}") };
    let members = members.with("bus", pci_bus(address, input)).with("addr", place);
    members.maybe("multifunction", address.multifunction)
}

fn pci_bus(address: &PciAddress, input: &Input<'_>) -> String {
    match address.bus.unwrap_or(0) {
        0 if input.is_q35() || input.binary.arch == "aarch64" => "pcie.0".into(),
        bus => format!("pci.{bus}"),
    }
}

/// A device's own name if it is the user's, else the usual one.
pub(super) fn alias(info: &DeviceInfo, usual: impl FnOnce() -> String) -> String {
    let own = info.alias.as_ref().map(|it| &it.name).filter(|it| it.starts_with("ua-"));
    own.cloned().unwrap_or_else(usual)
}

/// The id of a controller, by which devices name their bus.
pub(super) fn controller_id(kind: ControllerKind, index: u32) -> String {
    match kind {
        ControllerKind::Pci => format!("pci.{index}"),
        ControllerKind::Usb if index == 0 => "usb".into(),
        other => format!("{other}{index}"),
    }
}

pub(super) fn controllers(args: &mut Args, input: &Input<'_>) -> Result<()> {
    let controllers = &input.config.devices.controllers;
    let mut order: Vec<(usize, &Controller)> = controllers.iter().enumerate().collect();
    // QEMU makes devices as it reads them: first the bridges, each after the one that it sits behind.
    order.sort_by_key(|(_, it)| if it.kind == Some(ControllerKind::Pci) { depth(it, controllers) } else { usize::MAX });
    for (at, controller) in order {
        let Some(kind) = controller.kind else { continue };
        let index = controller.index.unwrap_or(0);
        let device = device(controller, kind, index, input).map_err(|problem| {
            let path = format!("/domain/devices/controller[{}]/@model", at + 1);
            Error::new(ErrorKind::InvalidConfig, problem).with("path", path)
        })?;
        if let Some(members) = device {
            let members = members.with("id", controller_id(kind, index));
            args.add("-device", pci(members, &controller.info, input).build());
        }
    }
    Ok(())
}

/// How many bridges a PCI controller is behind. A loop, which completion refuses, has an end too.
fn depth(controller: &Controller, controllers: &[Controller]) -> usize {
    let parent = |it: &Controller| match &it.info.address {
        Some(Address::Pci(at)) => {
            let bus = at.bus.unwrap_or(0);
            controllers.iter().find(|it| it.kind == Some(ControllerKind::Pci) && it.index.unwrap_or(0) == bus)
        }
        _ => None,
    };
    std::iter::successors(parent(controller), |it| parent(it)).take(controllers.len()).count()
}

/// The device of a controller; `None` if the machine has it already or there is to be none.
fn device(
    controller: &Controller,
    kind: ControllerKind,
    index: u32,
    input: &Input<'_>,
) -> Result<Option<Members>, String> {
    let model = controller.model.map(ControllerModel::as_str);
    let q35 = input.is_q35();
    let plain = |driver: &str| Ok(Some(Members::new("driver", driver)));
    match kind {
        ControllerKind::Pci => bridge(controller, model, index),
        ControllerKind::Usb => match model.unwrap_or(if q35 { "qemu-xhci" } else { "piix3-uhci" }) {
            "none" => Ok(None),
            "qemu-xhci" => {
                let xhci = Members::new("driver", "qemu-xhci").maybe("p2", controller.ports);
                Ok(Some(xhci.maybe("p3", controller.ports)))
            }
            "nec-xhci" => plain("nec-usb-xhci"),
            "piix3-uhci" => plain("piix3-usb-uhci"),
            "piix4-uhci" => plain("piix4-usb-uhci"),
            "ehci" => plain("usb-ehci"),
            other => {
                Err(format!("no USB controller '{other}' can be had; use 'qemu-xhci', 'piix3-uhci', 'ehci' or 'none'"))
            }
        },
        ControllerKind::Scsi => scsi(controller, model.unwrap_or("virtio-scsi")).map(Some),
        ControllerKind::VirtioSerial => {
            Ok(Some(Members::new("driver", "virtio-serial-pci").maybe("max_ports", controller.ports)))
        }
        // The first one is on the board.
        ControllerKind::Sata if index == 0 && q35 => Ok(None),
        ControllerKind::Sata => plain("ahci"),
        ControllerKind::Ide if index == 0 && !q35 => Ok(None),
        ControllerKind::Ide => Err("this machine has no such IDE controller; use bus='sata'".into()),
        ControllerKind::Fdc if q35 => plain("isa-fdc"),
        ControllerKind::Fdc => Ok(None),
        other => Err(format!("{other} controllers cannot be had")),
    }
}

fn scsi(controller: &Controller, model: &str) -> Result<Members, String> {
    let driver = match model {
        "virtio-scsi" => {
            let about = controller.driver.as_ref();
            let thread = about.and_then(|it| it.iothread).map(|it| format!("iothread{it}"));
            return Ok(Members::new("driver", "virtio-scsi-pci")
                .maybe("num_queues", about.and_then(|it| it.queues))
                .maybe("iothread", thread));
        }
        "lsilogic" => "lsi",
        "lsisas1068" => "mptsas1068",
        "lsisas1078" => "megasas",
        "vmpvscsi" => "pvscsi",
        other => {
            let words = "'virtio-scsi', 'lsilogic', 'lsisas1068', 'lsisas1078' or 'vmpvscsi'";
            return Err(format!("no SCSI controller '{other}' can be had; use {words}"));
        }
    };
    Ok(Members::new("driver", driver))
}

fn bridge(controller: &Controller, model: Option<&str>, index: u32) -> Result<Option<Members>, String> {
    let target = controller.target.as_ref();
    let members = match model {
        None | Some("pci-root" | "pcie-root") => return Ok(None),
        Some("pcie-root-port") => Members::new("driver", "pcie-root-port")
            .with("port", target.and_then(|it| it.port).unwrap_or(index))
            .with("chassis", target.and_then(|it| it.chassis).unwrap_or(index)),
        Some("pci-bridge") => Members::new("driver", "pci-bridge")
            .with("chassis_nr", target.and_then(|it| it.chassis_nr).unwrap_or(index)),
        Some("pcie-to-pci-bridge") => Members::new("driver", "pcie-pci-bridge"),
        Some("dmi-to-pci-bridge") => Members::new("driver", "i82801b11-bridge"),
        Some(other) => {
            let words = "'pcie-root-port', 'pci-bridge', 'pcie-to-pci-bridge' or 'dmi-to-pci-bridge'";
            return Err(format!("no PCI controller '{other}' can be had; use {words}"));
        }
    };
    Ok(Some(members))
}
