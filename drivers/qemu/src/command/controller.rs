//! Controllers. The bridges of PCI are in [`super::pci`].

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        address::{Address, VirtioModel},
        controller::{Controller, ControllerKind, ControllerModel},
    },
};

use super::{Args, Input, alias, option::Members, overrides, pci, place, storage::threads};

pub(super) fn controllers(args: &mut Args, input: &Input<'_>) -> Result<()> {
    let controllers = &input.config.devices.controllers;
    let mut order: Vec<(usize, &Controller)> = controllers.iter().enumerate().collect();
    // QEMU makes devices as it reads them: first the bridges, each after the one that it sits behind; masters before companions.
    order.sort_by_key(|(_, it)| match it.kind {
        Some(ControllerKind::Pci) => depth(it, controllers),
        _ if it.model.is_some_and(ControllerModel::is_companion) => usize::MAX,
        _ => usize::MAX - 1,
    });
    for (at, controller) in order {
        let Some(kind) = controller.kind else { continue };
        let device = device(args, controller, kind, input).map_err(|problem| {
            let path = format!("/domain/devices/controller[{}]/@model", at + 1);
            Error::new(ErrorKind::InvalidConfig, problem).with("path", path)
        })?;
        if let Some(members) = device {
            // A companion has no name: devices sit on its master's bus.
            let companion = controller.model.is_some_and(ControllerModel::is_companion);
            let name = (!companion).then(|| alias::of(&controller.info).to_owned());
            args.device(input, &controller.info, members.maybe("id", name));
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

/// The controller of floppies, which boots for them, and their drives. It is on the board of i440FX, a device on newer ones.
pub(super) fn floppies(args: &mut Args, input: &Input<'_>) {
    let boot = std::mem::take(&mut args.floppy_boot);
    let there = input.config.devices.controllers.iter().any(|it| it.kind == Some(ControllerKind::Fdc));
    if input.is_q35() && there {
        let members = boot.iter().fold(Members::new("driver", "isa-fdc"), |it, (name, order)| it.with(name, *order));
        args.add("-device", members.build());
    } else {
        for (name, order) in boot {
            args.add("-global", format!("isa-fdc.{name}={order}"));
        }
    }
    for drive in std::mem::take(&mut args.floppies) {
        args.add("-device", overrides::apply(drive, input.config).build());
    }
}

/// The device of a controller; `None` if the machine has it already or there is to be none.
fn device(
    args: &mut Args,
    controller: &Controller,
    kind: ControllerKind,
    input: &Input<'_>,
) -> Result<Option<Members>, String> {
    let index = controller.index.unwrap_or(0);
    let q35 = input.is_q35();
    let plain = |driver: &str| Ok(Some(Members::new("driver", driver)));
    match kind {
        ControllerKind::Pci => pci::bridge(args, controller, input),
        ControllerKind::Usb => usb(controller, input),
        ControllerKind::Scsi => scsi(controller, input),
        ControllerKind::VirtioSerial => {
            let driver = place::virtio("virtio-serial", &controller.info, virtio_model(controller), input);
            let members = Members::new("driver", driver)
                .maybe("max_ports", controller.ports)
                .maybe("vectors", controller.vectors);
            Ok(Some(place::virtio_options(members, controller.driver.as_ref().map(|it| &it.virtio))))
        }
        // The first one is on the board.
        ControllerKind::Sata if index == 0 && q35 => Ok(None),
        ControllerKind::Sata => plain("ahci"),
        ControllerKind::Ide if index == 0 && !q35 => Ok(None),
        ControllerKind::Ide => Err("this machine has no such IDE controller; use bus='sata'".into()),
        ControllerKind::Ccid => plain("usb-ccid"),
        // See [`floppies`].
        ControllerKind::Fdc | ControllerKind::Isa => Ok(None),
        ControllerKind::Nvme => Ok(Some(Members::new("driver", "nvme").maybe("serial", controller.serial.clone()))),
        other => Err(format!("{other} controllers cannot be had")),
    }
}

fn virtio_model(controller: &Controller) -> Option<VirtioModel> {
    match controller.model? {
        ControllerModel::VirtioTransitional => Some(VirtioModel::VirtioTransitional),
        ControllerModel::VirtioNonTransitional => Some(VirtioModel::VirtioNonTransitional),
        _ => None,
    }
}

/// QEMU's names of USB controllers.
const USB: &[(ControllerModel, &str)] = &[
    (ControllerModel::Piix3Uhci, "piix3-usb-uhci"),
    (ControllerModel::Piix4Uhci, "piix4-usb-uhci"),
    (ControllerModel::Ehci, "usb-ehci"),
    (ControllerModel::Ich9Ehci1, "ich9-usb-ehci1"),
    (ControllerModel::Ich9Uhci1, "ich9-usb-uhci1"),
    (ControllerModel::Ich9Uhci2, "ich9-usb-uhci2"),
    (ControllerModel::Ich9Uhci3, "ich9-usb-uhci3"),
    (ControllerModel::Vt82c686bUhci, "vt82c686b-usb-uhci"),
    (ControllerModel::PciOhci, "pci-ohci"),
    (ControllerModel::NecXhci, "nec-usb-xhci"),
    (ControllerModel::QemuXhci, "qemu-xhci"),
];

fn usb(controller: &Controller, input: &Input<'_>) -> Result<Option<Members>, String> {
    let Some(model) = controller.model else {
        return Err("this USB controller has no model; use 'qemu-xhci' or 'none'".into());
    };
    if model == ControllerModel::None {
        return Ok(None);
    }
    let Some((_, driver)) = USB.iter().find(|it| it.0 == model) else {
        return Err(format!("no USB controller '{model}' can be had; use 'qemu-xhci', 'piix3-uhci', 'ehci' or 'none'"));
    };
    if !input.binary.has_type(driver) {
        return Err(format!("this QEMU has no USB controller '{model}'; use 'qemu-xhci' or 'none'"));
    }
    let members = Members::new("driver", *driver);
    let members = match model {
        ControllerModel::QemuXhci | ControllerModel::NecXhci => {
            members.maybe("p2", controller.ports).maybe("p3", controller.ports)
        }
        _ => members,
    };
    if !model.is_companion() {
        return Ok(Some(members));
    }
    let index = controller.index.unwrap_or(0);
    let own = input.config.devices.controllers.iter().find(|it| {
        it.kind == Some(ControllerKind::Usb)
            && it.index.unwrap_or(0) == index
            && !it.model.is_some_and(ControllerModel::is_companion)
    });
    let master = own.map_or_else(
        || if index == 0 { "usb".into() } else { format!("usb{index}") },
        |it| alias::of(&it.info).to_owned(),
    );
    let first = controller.master.as_ref().map_or(0, |it| it.startport);
    Ok(Some(members.with("masterbus", format!("{master}.0")).with("firstport", first)))
}

fn scsi(controller: &Controller, input: &Input<'_>) -> Result<Option<Members>, String> {
    let driver = match controller.model.unwrap_or(ControllerModel::VirtioScsi) {
        ControllerModel::VirtioScsi
        | ControllerModel::Virtio
        | ControllerModel::VirtioTransitional
        | ControllerModel::VirtioNonTransitional => return Ok(Some(virtio_scsi(controller, input))),
        ControllerModel::Lsilogic => "lsi",
        ControllerModel::Lsisas1068 => "mptsas1068",
        ControllerModel::Lsisas1078 => "megasas",
        ControllerModel::Vmpvscsi => "pvscsi",
        ControllerModel::Ibmvscsi => "spapr-vscsi",
        ControllerModel::Dc390 => "dc390",
        ControllerModel::Am53c974 => "am53c974",
        // On the board.
        ControllerModel::Ncr53c90 => return Ok(None),
        other => {
            let words = "'virtio-scsi', 'lsilogic', 'lsisas1068', 'lsisas1078' or 'vmpvscsi'";
            return Err(format!("no SCSI controller '{other}' can be had; use {words}"));
        }
    };
    Ok(Some(Members::new("driver", driver)))
}

fn virtio_scsi(controller: &Controller, input: &Input<'_>) -> Members {
    let driver = place::virtio("virtio-scsi", &controller.info, virtio_model(controller), input);
    let about = controller.driver.as_ref();
    let members = Members::new("driver", driver)
        .maybe("iothread", about.and_then(|it| it.iothread).map(|it| format!("iothread{it}")))
        .maybe("iothread-vq-mapping", threads(about.and_then(|it| it.iothreads.as_ref())))
        .maybe("num_queues", about.and_then(|it| it.queues))
        .maybe("cmd_per_lun", about.and_then(|it| it.cmd_per_lun))
        .maybe("max_sectors", about.and_then(|it| it.max_sectors))
        .maybe("ioeventfd", about.and_then(|it| it.ioeventfd));
    place::virtio_options(members, about.map(|it| &it.virtio))
}
