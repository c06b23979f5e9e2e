//! What plugs into what: one row per PCI controller. Sources: PCI Express Base Specification (ports and switches), QEMU
//! `docs/pcie.txt`, libvirt's manual, formatdomain, "Controllers".

use polyvirt_core::model::controller::{ControllerModel as M, PciModel};

/// A kind of connection; a set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link(u16);

impl Link {
    pub(super) const PCI: Self = Self(1);
    pub(super) const PCIE: Self = Self(1 << 1);
    /// A device can come and go while the guest runs.
    pub(super) const HOTPLUG: Self = Self(1 << 2);
    pub(super) const INTEGRATED: Self = Self(1 << 3);
    pub(super) const BRIDGE: Self = Self(1 << 4);
    pub(super) const ROOT_PORT: Self = Self(1 << 5);
    pub(super) const UPSTREAM: Self = Self(1 << 6);
    pub(super) const DOWNSTREAM: Self = Self(1 << 7);
    pub(super) const DMI_BRIDGE: Self = Self(1 << 8);
    pub(super) const PCIE_BRIDGE: Self = Self(1 << 9);
    pub(super) const PXB: Self = Self(1 << 10);
    pub(super) const PXB_PCIE: Self = Self(1 << 11);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether it is a device and no controller.
    pub(super) const fn is_endpoint(self) -> bool {
        self.0 & (Self::PCI.0 | Self::PCIE.0) != 0
    }
}

/// A PCI controller: what it plugs into, what plugs into it, and its slots.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) model: M,
    /// The device behind it.
    pub(super) device: Option<PciModel>,
    /// What it needs; `None` for the roots, which are on the board.
    pub(super) needs: Option<Link>,
    pub(super) accepts: Link,
    pub(super) first: u8,
    pub(super) last: u8,
}

const SLOTS: Link = Link::PCI.and(Link::HOTPLUG).and(Link::BRIDGE);
const PORT: Link = Link::PCIE.and(Link::HOTPLUG).and(Link::UPSTREAM).and(Link::PCIE_BRIDGE);

const fn kind(model: M, device: Option<PciModel>, needs: Option<Link>, accepts: Link, first: u8, last: u8) -> Kind {
    Kind { model, device, needs, accepts, first, last }
}

const KINDS: &[Kind] = &[
    kind(M::PciRoot, None, None, SLOTS.and(Link::PXB).and(Link::INTEGRATED), 1, 31),
    kind(
        M::PcieRoot,
        None,
        None,
        Link::PCIE.and(Link::INTEGRATED).and(Link::ROOT_PORT).and(Link::DMI_BRIDGE).and(Link::PXB_PCIE),
        1,
        31,
    ),
    // Slot 0 is the hot-plug controller's.
    kind(M::PciBridge, Some(PciModel::PciBridge), Some(Link::BRIDGE), SLOTS, 1, 31),
    kind(
        M::DmiToPciBridge,
        Some(PciModel::I82801b11Bridge),
        Some(Link::DMI_BRIDGE),
        Link::PCI.and(Link::BRIDGE),
        0,
        31,
    ),
    kind(M::PcieToPciBridge, Some(PciModel::PciePciBridge), Some(Link::PCIE_BRIDGE), SLOTS, 1, 31),
    kind(M::PcieRootPort, Some(PciModel::PcieRootPort), Some(Link::ROOT_PORT), PORT, 0, 0),
    kind(M::PcieSwitchUpstreamPort, Some(PciModel::X3130Upstream), Some(Link::UPSTREAM), Link::DOWNSTREAM, 0, 31),
    kind(M::PcieSwitchDownstreamPort, Some(PciModel::Xio3130Downstream), Some(Link::DOWNSTREAM), PORT, 0, 0),
    kind(M::PciExpanderBus, Some(PciModel::Pxb), Some(Link::PXB), SLOTS, 0, 31),
    kind(
        M::PcieExpanderBus,
        Some(PciModel::PxbPcie),
        Some(Link::PXB_PCIE),
        Link::ROOT_PORT.and(Link::DMI_BRIDGE),
        0,
        31,
    ),
];

/// The row of a model; `None` if it is no PCI controller.
pub(super) fn of(model: M) -> Option<&'static Kind> {
    KINDS.iter().find(|it| it.model == model)
}

/// The models that accept a connection, for people.
pub(super) fn accepting(link: Link) -> String {
    let names: Vec<&str> = KINDS.iter().filter(|it| it.accepts.has(link)).map(|it| it.model.as_str()).collect();
    names.join("', '")
}
