//! `<controller>`.

use polyvirt_numa_placement::Kib;
use polyvirt_xml::{Element, words};

use crate::address::{DeviceInfo, VirtioOptions};
use crate::codec::Size;
use crate::disk::QueueThreads;

words! {
    /// What hangs off a controller.
    pub enum ControllerKind {
        Ide = "ide", Fdc = "fdc", Scsi = "scsi", Sata = "sata", VirtioSerial = "virtio-serial", Ccid = "ccid",
        Usb = "usb", Pci = "pci", Xenbus = "xenbus", Isa = "isa", Nvme = "nvme",
    }
}

words! {
    /// Controllers of every kind; see [`ControllerKind::models`].
    pub enum ControllerModel {
        Auto = "auto", Buslogic = "buslogic", Lsilogic = "lsilogic", Lsisas1068 = "lsisas1068",
        Lsisas1078 = "lsisas1078", Vmpvscsi = "vmpvscsi", Ibmvscsi = "ibmvscsi", VirtioScsi = "virtio-scsi",
        Ncr53c90 = "ncr53c90", Dc390 = "dc390", Am53c974 = "am53c974",
        Virtio = "virtio", VirtioTransitional = "virtio-transitional",
        VirtioNonTransitional = "virtio-non-transitional",
        Piix3Uhci = "piix3-uhci", Piix4Uhci = "piix4-uhci", Ehci = "ehci", Ich9Ehci1 = "ich9-ehci1",
        Ich9Uhci1 = "ich9-uhci1", Ich9Uhci2 = "ich9-uhci2", Ich9Uhci3 = "ich9-uhci3",
        Vt82c686bUhci = "vt82c686b-uhci", PciOhci = "pci-ohci", NecXhci = "nec-xhci", Qusb1 = "qusb1",
        Qusb2 = "qusb2", QemuXhci = "qemu-xhci", None = "none",
        Piix3 = "piix3", Piix4 = "piix4", Ich6 = "ich6",
        PciRoot = "pci-root", PcieRoot = "pcie-root", PciBridge = "pci-bridge",
        DmiToPciBridge = "dmi-to-pci-bridge", PcieToPciBridge = "pcie-to-pci-bridge",
        PcieRootPort = "pcie-root-port", PcieSwitchUpstreamPort = "pcie-switch-upstream-port",
        PcieSwitchDownstreamPort = "pcie-switch-downstream-port", PciExpanderBus = "pci-expander-bus",
        PcieExpanderBus = "pcie-expander-bus",
    }
}

impl ControllerModel {
    /// Whether it is part of the ICH9's USB 2 controller, whose parts share a number.
    #[must_use]
    pub fn is_ich9(self) -> bool {
        self == Self::Ich9Ehci1 || self.is_companion()
    }

    /// Whether it serves slow devices at the ports of another controller.
    #[must_use]
    pub fn is_companion(self) -> bool {
        matches!(self, Self::Ich9Uhci1 | Self::Ich9Uhci2 | Self::Ich9Uhci3)
    }
}

impl ControllerKind {
    /// The models of this kind (manual: formatdomain, Controllers). Kinds without any take no model.
    #[must_use]
    pub fn models(self) -> &'static [ControllerModel] {
        use ControllerModel as M;
        match self {
            Self::Scsi => &[
                M::Auto,
                M::Buslogic,
                M::Lsilogic,
                M::Lsisas1068,
                M::Lsisas1078,
                M::Vmpvscsi,
                M::Ibmvscsi,
                M::VirtioScsi,
                M::VirtioTransitional,
                M::VirtioNonTransitional,
                M::Ncr53c90,
                M::Dc390,
                M::Am53c974,
            ],
            Self::Usb => &[
                M::Piix3Uhci,
                M::Piix4Uhci,
                M::Ehci,
                M::Ich9Ehci1,
                M::Ich9Uhci1,
                M::Ich9Uhci2,
                M::Ich9Uhci3,
                M::Vt82c686bUhci,
                M::PciOhci,
                M::NecXhci,
                M::Qusb1,
                M::Qusb2,
                M::QemuXhci,
                M::None,
            ],
            Self::Ide => &[M::Piix3, M::Piix4, M::Ich6],
            Self::VirtioSerial => &[M::Virtio, M::VirtioTransitional, M::VirtioNonTransitional],
            Self::Pci => &[
                M::PciRoot,
                M::PcieRoot,
                M::PciBridge,
                M::DmiToPciBridge,
                M::PcieToPciBridge,
                M::PcieRootPort,
                M::PcieSwitchUpstreamPort,
                M::PcieSwitchDownstreamPort,
                M::PciExpanderBus,
                M::PcieExpanderBus,
            ],
            Self::Fdc | Self::Sata | Self::Ccid | Self::Xenbus | Self::Isa | Self::Nvme => &[],
        }
    }
}

words! {
    /// Devices that stand behind a PCI controller.
    pub enum PciModel {
        PciBridge = "pci-bridge", I82801b11Bridge = "i82801b11-bridge", PciePciBridge = "pcie-pci-bridge",
        Ioh3420 = "ioh3420", PcieRootPort = "pcie-root-port", X3130Upstream = "x3130-upstream",
        Xio3130Downstream = "xio3130-downstream", Pxb = "pxb", PxbPcie = "pxb-pcie",
        SpaprPciHostBridge = "spapr-pci-host-bridge",
    }
}

/// `<model>` of a PCI controller.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PciModelRef {
    /// The device.
    #[xml(attr)]
    pub name: Option<PciModel>,
}

/// `<controller>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Controller {
    /// What hangs off it.
    #[xml(attr, name = "type")]
    pub kind: Option<ControllerKind>,
    /// Its number among those of its kind; absent: the next.
    #[xml(attr)]
    pub index: Option<u32>,
    /// The device. Which ones there are follows from the kind: [`ControllerKind::models`].
    #[xml(attr)]
    pub model: Option<ControllerModel>,
    /// Ports of USB and virtio-serial.
    #[xml(attr)]
    pub ports: Option<u32>,
    /// virtio-serial: interrupt vectors.
    #[xml(attr)]
    pub vectors: Option<u32>,
    /// Xen: grant frames. Since 5.2.0.
    #[xml(attr)]
    pub max_grant_frames: Option<u32>,
    /// Xen: event channels. Since 6.3.0.
    #[xml(attr)]
    pub max_event_channels: Option<u32>,
    /// NVMe: its serial number.
    #[xml(leaf)]
    pub serial: Option<String>,
    /// How the hypervisor serves it.
    #[xml(child)]
    pub driver: Option<ControllerDriver>,
    /// PCI: the device behind the model. Since 1.2.19.
    #[xml(child, name = "model")]
    pub model_name: Option<PciModelRef>,
    /// PCI: numbers that the guest sees. Since 1.2.19.
    #[xml(child)]
    pub target: Option<ControllerTarget>,
    /// The 64-bit PCI hole. Since 1.1.2.
    #[xml(leaf, codec = Size, unit = "KiB")]
    pub pcihole64: Option<Kib>,
    /// USB: the companion's place.
    #[xml(child)]
    pub master: Option<ControllerMaster>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

/// `<driver>` of a controller.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ControllerDriver {
    /// Queues. Since 1.0.5.
    #[xml(attr)]
    pub queues: Option<u32>,
    /// Commands per unit. Since 1.2.7.
    #[xml(attr, name = "cmd_per_lun")]
    pub cmd_per_lun: Option<u32>,
    /// Sectors of a transfer. Since 1.2.7.
    #[xml(attr, name = "max_sectors")]
    pub max_sectors: Option<u32>,
    /// Whether kicks are asynchronous. Since 1.2.18.
    #[xml(attr, onoff)]
    pub ioeventfd: Option<bool>,
    /// The I/O thread that serves it. Since 1.3.5.
    #[xml(attr)]
    pub iothread: Option<u32>,
    /// Options of virtio.
    #[xml(group)]
    pub virtio: VirtioOptions,
    /// I/O threads by queue.
    #[xml(child)]
    pub iothreads: Option<QueueThreads>,
}

/// `<target>` of a PCI controller.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ControllerTarget {
    /// The chassis of a bridge.
    #[xml(attr)]
    pub chassis_nr: Option<u32>,
    /// The chassis of a port.
    #[xml(attr)]
    pub chassis: Option<u32>,
    /// The port.
    #[xml(attr, hex = 1)]
    pub port: Option<u32>,
    /// The bus number of an expander.
    #[xml(attr)]
    pub bus_nr: Option<u32>,
    /// pSeries: the index of the host bridge. Since 3.6.0.
    #[xml(attr)]
    pub index: Option<u32>,
    /// Whether devices can be plugged into a port; absent: `on`. Since 6.3.0.
    #[xml(attr, onoff)]
    pub hotplug: Option<bool>,
    /// Memory that is kept for devices behind it, in KiB.
    #[xml(attr)]
    pub mem_reserve: Option<u64>,
    /// The guest cell it belongs to.
    #[xml(leaf)]
    pub node: Option<u32>,
}

/// `<master>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ControllerMaster {
    /// The first port of the companion.
    #[xml(attr)]
    pub startport: u32,
}
