//! Controllers that the board has, models of those that were written without one, and their order.
//!
//! What the machine has comes first, then what devices need (IDE, SCSI, virtio-serial, smart card readers …); PCI bridges follow
//! with the addresses. Controllers of a kind stand together, by number, where the first of them stands.

use polyvirt_core::model::{
    DomainConfig, Guest,
    controller::{Controller, ControllerKind, ControllerMaster, ControllerModel},
    imply_controllers,
};

use super::board::{self, Board};
use crate::{machine::Family, probe::Binary};

use ControllerModel as M;

/// USB controllers where a definition writes one without a model: architectures, what an existing guest has, what a new one gets.
/// The first that the binary has is it; without any, the model stays open.
const USB: &[(&[&str], &[ControllerModel], &[ControllerModel])] = &[
    (&["x86_64", "i686"], &[M::Piix3Uhci], &[M::Piix3Uhci]),
    (&["ppc64", "ppc64le"], &[M::PciOhci], &[M::QemuXhci, M::NecXhci, M::PciOhci]),
    (&["aarch64", "loongarch64"], &[M::QemuXhci, M::NecXhci], &[M::QemuXhci, M::NecXhci]),
    (&["s390x"], &[M::None], &[M::None]),
    (&[], &[M::Piix3Uhci, M::PciOhci], &[M::Piix3Uhci, M::PciOhci]),
];

/// SCSI controllers where a definition writes one without a model. The last is taken even if the binary has none of them.
const SCSI: &[(&[&str], &[ControllerModel])] =
    &[(&["s390x", "loongarch64"], &[M::VirtioScsi]), (&[], &[M::Lsilogic, M::VirtioScsi])];

/// QEMU's names of controllers that one can be without.
const DEVICES: &[(ControllerModel, &str)] = &[
    (M::Piix3Uhci, "piix3-usb-uhci"),
    (M::PciOhci, "pci-ohci"),
    (M::QemuXhci, "qemu-xhci"),
    (M::NecXhci, "nec-usb-xhci"),
    (M::Ich9Ehci1, "ich9-usb-ehci1"),
    (M::Lsilogic, "lsi53c895a"),
    (M::VirtioScsi, "virtio-scsi-pci"),
];

/// The companions of the ICH9's USB 2 controller, and the first port of each.
const COMPANIONS: [(ControllerModel, u32); 3] = [(M::Ich9Uhci1, 0), (M::Ich9Uhci2, 2), (M::Ich9Uhci3, 4)];

/// Adds what the board has and fills in models.
pub(super) fn complete(config: &mut DomainConfig, binary: &Binary, guest: Guest) {
    let board = Board::of(config);
    models(config, binary, board, guest);
    let controllers = &mut config.devices.controllers;
    let has = |controllers: &[Controller], kind| controllers.iter().any(|it| it.kind == Some(kind));
    if !board.usb.is_empty() && !has(controllers, ControllerKind::Usb) {
        usb(controllers, binary, board, guest);
    }
    if board.sata && !has(controllers, ControllerKind::Sata) {
        controllers.push(Controller::default().with_kind(ControllerKind::Sata).with_index(0_u32));
    }
    let root = |it: &Controller| it.kind == Some(ControllerKind::Pci) && it.index.unwrap_or(0) == 0;
    if let Some(model) = board.root(binary)
        && !controllers.iter().any(root)
    {
        controllers.push(Controller::default().with_kind(ControllerKind::Pci).with_index(0_u32).with_model(model));
    }
    imply_controllers(&mut config.devices);
    let controllers = &mut config.devices.controllers;
    *controllers = ordered(std::mem::take(controllers));
    models(config, binary, board, guest);
}

fn choose(candidates: &[ControllerModel], binary: &Binary) -> Option<ControllerModel> {
    let has = |model: &ControllerModel| {
        DEVICES.iter().find(|(known, _)| known == model).is_none_or(|(_, name)| binary.has_type(name))
    };
    candidates.iter().copied().find(has)
}

fn default_usb(arch: &str, binary: &Binary, guest: Guest) -> Option<ControllerModel> {
    let row = USB.iter().find(|(archs, ..)| archs.is_empty() || archs.contains(&arch));
    row.and_then(|(_, existing, new)| choose(if guest == Guest::New { new } else { existing }, binary))
}

fn default_scsi(config: &DomainConfig, binary: &Binary) -> Option<ControllerModel> {
    if Family::of_config(config) == Family::Pseries {
        return Some(M::Ibmvscsi);
    }
    let arch = board::arch(config);
    let (_, candidates) = SCSI.iter().find(|(archs, _)| archs.is_empty() || archs.contains(&arch))?;
    choose(candidates, binary).or(candidates.last().copied())
}

fn models(config: &mut DomainConfig, binary: &Binary, board: &Board, guest: Guest) {
    let arch = board::arch(config).to_owned();
    let scsi = default_scsi(config, binary);
    let usb = default_usb(&arch, binary, guest);
    for controller in &mut config.devices.controllers {
        match controller.kind {
            Some(ControllerKind::Usb) if controller.model.is_none() => controller.model = usb,
            Some(ControllerKind::Scsi) if matches!(controller.model, None | Some(M::Auto)) => controller.model = scsi,
            Some(ControllerKind::Pci) if controller.model.is_none() => {
                let first = controller.index.unwrap_or(0) == 0;
                controller.model = if first { board.root(binary) } else { Some(M::PciBridge) };
            }
            _ => {}
        }
        let companion = COMPANIONS.iter().find(|(model, _)| controller.model == Some(*model));
        if let Some((_, port)) = companion.filter(|_| controller.master.is_none()) {
            let mut master = ControllerMaster::default();
            master.startport = *port;
            controller.master = Some(master);
        }
    }
}

/// The USB controller of a guest that has none.
fn usb(controllers: &mut Vec<Controller>, binary: &Binary, board: &Board, guest: Guest) {
    let candidates = board.new_usb.filter(|_| guest == Guest::New).unwrap_or(board.usb);
    let usb = Controller::default().with_kind(ControllerKind::Usb).with_index(0_u32);
    let Some(model) = choose(candidates, binary) else {
        controllers.push(usb);
        return;
    };
    controllers.push(usb.clone().with_model(model));
    if model == M::Ich9Ehci1 {
        controllers.extend(COMPANIONS.iter().map(|(model, _)| usb.clone().with_model(*model)));
    }
}

/// Puts a controller where it belongs: after those of its kind with a lower or the same number, else at the end.
pub(super) fn insert(controllers: &mut Vec<Controller>, controller: Controller) {
    let key = |it: &Controller| (it.index.unwrap_or(0), it.model.is_some_and(M::is_companion));
    let of_kind = |it: &Controller| it.kind == controller.kind;
    let before = controllers.iter().rposition(|it| of_kind(it) && key(it) <= key(&controller)).map(|at| at + 1);
    let at = before.or_else(|| controllers.iter().position(of_kind)).unwrap_or(controllers.len());
    controllers.insert(at, controller);
}

fn ordered(controllers: Vec<Controller>) -> Vec<Controller> {
    let mut out = Vec::with_capacity(controllers.len());
    controllers.into_iter().for_each(|it| insert(&mut out, it));
    out
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use polyvirt_core::model::ParseOptions;

    use super::*;

    /// The controllers of a guest, before bridges.
    fn of(arch: &str, machine: &str, guest: Guest, controllers: &str) -> Vec<String> {
        let text = format!(
            "<domain type='qemu'><name>a</name><os><type arch='{arch}' machine='{machine}'>hvm</type></os>\
             <devices>{controllers}</devices></domain>"
        );
        let mut config = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config;
        let binary = Binary::assumed(PathBuf::from("qemu"), arch);
        complete(&mut config, &binary, guest);
        let once = config.clone();
        complete(&mut config, &binary, guest);
        assert_eq!(config, once);
        let kind = |it: &Controller| it.kind.map_or("", ControllerKind::as_str);
        let name = |it: &Controller| it.model.map_or(kind(it), ControllerModel::as_str).to_owned();
        config.devices.controllers.iter().map(|it| format!("{} {}", name(it), it.index.unwrap_or(0))).collect()
    }

    #[test]
    fn boards_bring_their_own() {
        let new = |arch, machine| of(arch, machine, Guest::New, "");
        assert_eq!(new("x86_64", "pc"), ["piix3-uhci 0", "pci-root 0"]);
        assert_eq!(new("x86_64", "q35"), ["qemu-xhci 0", "sata 0", "pcie-root 0"]);
        assert_eq!(new("aarch64", "virt-9.0"), ["pcie-root 0"]);
        assert_eq!(new("aarch64", "versatilepb"), ["pci-ohci 0", "pci-root 0"]);
        assert_eq!(new("ppc64", "pseries"), ["qemu-xhci 0", "pci-root 0"]);
        assert_eq!(of("ppc64", "pseries", Guest::Existing, ""), ["pci-ohci 0", "pci-root 0"]);
        assert_eq!(new("ppc", "mac99"), ["piix3-uhci 0", "pci-root 0"]);
        assert_eq!(new("s390x", "s390-ccw-virtio"), ["pci-root 0"]);
        for (arch, machine) in [("x86_64", "isapc"), ("x86_64", "microvm"), ("aarch64", "borzoi")] {
            assert_eq!(new(arch, machine), [""; 0], "{machine}");
        }
    }

    #[test]
    fn models_follow_from_the_architecture() {
        let bare = "<controller type='usb' index='0'/><controller type='scsi' index='0' model='auto'/>";
        let models = |arch, machine| of(arch, machine, Guest::Existing, bare)[..2].join(", ");
        assert_eq!(models("x86_64", "q35"), "piix3-uhci 0, lsilogic 0");
        assert_eq!(models("ppc64", "pseries"), "pci-ohci 0, ibmvscsi 0");
        assert_eq!(models("s390x", "s390-ccw-virtio"), "none 0, virtio-scsi 0");
        assert_eq!(models("aarch64", "virt"), "qemu-xhci 0, lsilogic 0");
        assert_eq!(models("loongarch64", "virt"), "qemu-xhci 0, virtio-scsi 0");
    }

    #[test]
    fn controllers_of_a_kind_stand_together_and_companions_behind() {
        let written = "<controller type='usb' index='1' model='ich9-uhci1'/><controller type='scsi' index='1' model='virtio-scsi'/>\
                       <controller type='usb' index='0' model='qemu-xhci'/><controller type='usb' index='1' model='ich9-ehci1'/>\
                       <controller type='scsi' index='0' model='virtio-scsi'/>";
        assert_eq!(
            of("x86_64", "pc", Guest::Existing, written),
            ["qemu-xhci 0", "ich9-ehci1 1", "ich9-uhci1 1", "virtio-scsi 0", "virtio-scsi 1", "pci-root 0"]
        );
    }
}
