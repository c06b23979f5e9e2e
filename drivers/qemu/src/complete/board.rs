//! What boards bring along: buses, controllers, fixed places. One row per family of machines, or per board of one.
//!
//! Sources: QEMU, *System Emulation*, "Targets"; libvirt's manual, "PCI addresses in domain XML and guest OS" (reserved addresses),
//! "PCI topology and hotplug", and formatdomain, "Controllers".

use polyvirt_core::model::{
    DomainConfig,
    controller::{ControllerKind, ControllerModel},
};

use crate::{machine::Family, probe::Binary};

/// How virtio devices that say nothing are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Pci,
    Mmio,
    Ccw,
    /// There is no bus for them.
    None,
}

/// What sits at a fixed place on the first bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fixture {
    /// The controller of this kind with index 0, in this model if one is named.
    Controller(ControllerKind, Option<ControllerModel>),
    /// The first video device.
    Video,
    /// An ICH9 sound device.
    Ich9Sound,
    /// A set of ICH9 USB controllers; the first row is for the first set.
    Ich9Usb,
    /// The first bridge to legacy PCI.
    DmiBridge,
    /// Part of the chipset: nothing else can be there.
    Chipset,
}

/// A fixed place: slot and function.
pub(super) type Place = (u8, u8);

/// What a board brings along.
#[derive(Debug)]
pub(super) struct Board {
    /// The first PCI bus.
    root: Option<ControllerModel>,
    /// What the binary must have for there to be that bus.
    root_needs: Option<&'static str>,
    transport: Transport,
    /// The USB controller of a guest that names none, in order of preference. Empty: it has none.
    pub(super) usb: &'static [ControllerModel],
    /// The USB controller of a guest that names none and never ran, if it is another.
    pub(super) new_usb: Option<&'static [ControllerModel]>,
    /// Whether there is a SATA controller on the board.
    pub(super) sata: bool,
    /// Fixed places. The device must be there if `true`, else it is if the place is free.
    pub(super) fixtures: &'static [(Fixture, Place, bool)],
    /// Whether it is certain that there is no bus but those.
    pub(super) known: bool,
}

use ControllerModel::{Ich9Ehci1, NecXhci, PciOhci, PciRoot, PcieRoot, Piix3Uhci, QemuXhci};

const NOTHING: Board = Board {
    root: None,
    root_needs: None,
    transport: Transport::None,
    usb: &[],
    new_usb: None,
    sata: false,
    fixtures: &[],
    known: false,
};

/// A board with PCI Express and nothing on it.
const EXPRESS: Board = Board { root: Some(PcieRoot), transport: Transport::Pci, known: true, ..NOTHING };

const PCI: Board = Board { root: Some(PciRoot), transport: Transport::Pci, known: true, ..NOTHING };

const POWER: Board = Board { usb: &[PciOhci], new_usb: Some(&[QemuXhci, NecXhci, PciOhci]), ..PCI };

const MMIO: Board = Board { transport: Transport::Mmio, ..NOTHING };

/// Boards by family and, where they differ, by architecture or machine.
const BOARDS: &[(Family, Option<&str>, Board)] = &[
    (
        Family::I440fx,
        None,
        Board {
            usb: &[Piix3Uhci],
            fixtures: &[
                (Fixture::Chipset, (1, 0), true),
                (Fixture::Chipset, (1, 3), true),
                (Fixture::Controller(ControllerKind::Ide, None), (1, 1), true),
                (Fixture::Controller(ControllerKind::Usb, Some(Piix3Uhci)), (1, 2), true),
                (Fixture::Video, (2, 0), false),
            ],
            ..PCI
        },
    ),
    (
        Family::Q35,
        None,
        Board {
            usb: &[QemuXhci, NecXhci, Ich9Ehci1],
            sata: true,
            fixtures: &[
                (Fixture::Chipset, (0x1f, 0), true),
                (Fixture::Chipset, (0x1f, 3), true),
                (Fixture::Controller(ControllerKind::Sata, None), (0x1f, 2), true),
                (Fixture::Video, (1, 0), false),
                (Fixture::Ich9Usb, (0x1d, 0), false),
                (Fixture::Ich9Usb, (0x1a, 0), false),
                (Fixture::Ich9Sound, (0x1b, 0), false),
                (Fixture::DmiBridge, (0x1e, 0), false),
            ],
            ..EXPRESS
        },
    ),
    (Family::Isapc, None, Board { known: true, ..NOTHING }),
    (Family::Microvm, None, Board { known: true, ..MMIO }),
    (Family::ArmVirt, None, Board { root_needs: Some("gpex-pcihost"), ..EXPRESS }),
    (Family::ArmBoard, Some("versatilepb"), Board { usb: &[PciOhci], ..PCI }),
    (Family::ArmBoard, Some("vexpress-"), MMIO),
    (Family::Pseries, None, POWER),
    (Family::PpcBoard, Some("ppc"), Board { usb: &[Piix3Uhci, PciOhci], ..PCI }),
    (Family::PpcBoard, None, POWER),
    (Family::Ccw, None, Board { root_needs: Some("zpci"), transport: Transport::Ccw, ..PCI }),
    (Family::RiscvVirt, None, EXPRESS),
    (Family::LoongarchVirt, None, EXPRESS),
    (Family::Other, Some("alpha"), PCI),
    (Family::Other, Some("mips"), PCI),
    (Family::Other, Some("mipsel"), PCI),
    (Family::Other, Some("mips64"), PCI),
    (Family::Other, Some("mips64el"), PCI),
    (Family::Other, Some("sparc64"), PCI),
];

static UNKNOWN: Board = NOTHING;

impl Board {
    /// The board of a definition's machine.
    pub(super) fn of(config: &DomainConfig) -> &'static Self {
        let family = Family::of_config(config);
        let machine = crate::command::machine_name(config).unwrap_or_default();
        let fits =
            |name: &str| arch(config) == name || machine == name || name.ends_with('-') && machine.starts_with(name);
        let found = BOARDS.iter().find(|(of, name, _)| *of == family && name.is_none_or(fits));
        found.map_or(&UNKNOWN, |(.., board)| board)
    }

    /// The first PCI bus that this binary gives the machine.
    pub(super) fn root(&self, binary: &Binary) -> Option<ControllerModel> {
        self.root.filter(|_| self.root_needs.is_none_or(|name| binary.has_type(name)))
    }

    /// How virtio devices are attached with this binary.
    pub(super) fn transport(&self, binary: &Binary) -> Transport {
        match self.transport {
            Transport::Pci if self.root(binary).is_none() => Transport::Mmio,
            other => other,
        }
    }
}

/// The guest's architecture, in libvirt's words.
pub(super) fn arch(config: &DomainConfig) -> &str {
    config.os.as_ref().and_then(|os| os.r#type.as_ref()).and_then(|it| it.arch.as_deref()).unwrap_or_default()
}
