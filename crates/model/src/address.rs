//! Where a device sits: addresses of every bus, aliases, boot order, options of virtio.

use polyvirt_xml::{Element, words};

mod boot;
mod usb;

pub use boot::{Boot, LoadParm};
pub use usb::UsbPort;

/// `<address>`: the place of a device, by the kind of bus.
#[derive(Clone, Debug, PartialEq, Element)]
#[xml(tag = "type")]
#[non_exhaustive]
pub enum Address {
    /// PCI and PCI Express.
    #[xml("pci")]
    Pci(PciAddress),
    /// A disk on a controller.
    #[xml("drive")]
    Drive(DriveAddress),
    /// A port of a virtio-serial controller.
    #[xml("virtio-serial")]
    VirtioSerial(VirtioSerialAddress),
    /// A smart card reader.
    #[xml("ccid")]
    Ccid(CcidAddress),
    /// A USB port.
    #[xml("usb")]
    Usb(UsbAddress),
    /// pSeries virtual I/O.
    #[xml("spapr-vio")]
    SpaprVio(SpaprVioAddress),
    /// virtio of old s390 machines.
    #[xml("virtio-s390")]
    VirtioS390(VirtioS390Address),
    /// s390 channel I/O.
    #[xml("ccw")]
    Ccw(CcwAddress),
    /// virtio without a bus.
    #[xml("virtio-mmio")]
    VirtioMmio(VirtioMmioAddress),
    /// ISA.
    #[xml("isa")]
    Isa(IsaAddress),
    /// A memory slot.
    #[xml("dimm")]
    Dimm(DimmAddress),
    /// The device is kept and not given to the guest.
    #[xml("unassigned")]
    Unassigned(UnassignedAddress),
    /// A mediated device on the host.
    #[xml("mdev")]
    Mdev(MdevAddress),
}

impl Default for Address {
    fn default() -> Self {
        Self::Pci(PciAddress::default())
    }
}

/// `<address type='virtio-s390'>`: nothing more is known.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VirtioS390Address {}

/// `<address type='virtio-mmio'>`: nothing more is known.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VirtioMmioAddress {}

/// `<address type='unassigned'>`: nothing more is known.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct UnassignedAddress {}

/// `<address type='pci'>`. Without any number it asks for one.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PciAddress {
    /// The domain, up to 0xffff.
    #[xml(attr, hex = 4)]
    pub domain: Option<u32>,
    /// The bus, up to 0xff.
    #[xml(attr, hex = 2)]
    pub bus: Option<u32>,
    /// The slot, up to 0x1f.
    #[xml(attr, hex = 2)]
    pub slot: Option<u32>,
    /// The function, up to 7.
    #[xml(attr, hex = 1)]
    pub function: Option<u32>,
    /// Whether function 0 announces others; absent: `off`. Since 0.9.7.
    #[xml(attr, onoff)]
    pub multifunction: Option<bool>,
    /// s390: the identifiers of the function. Since 4.10.0.
    #[xml(child)]
    pub zpci: Option<Zpci>,
}

impl PciAddress {
    /// An address with all its numbers.
    #[must_use]
    pub fn at(domain: u32, bus: u32, slot: u32, function: u32) -> Self {
        Self { domain: Some(domain), bus: Some(bus), slot: Some(slot), function: Some(function), ..Self::default() }
    }
}

/// `<zpci>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Zpci {
    /// The user's identifier.
    #[xml(attr, hex = 4)]
    pub uid: Option<u32>,
    /// The function's identifier.
    #[xml(attr, hex = 8)]
    pub fid: Option<u32>,
}

/// `<address type='drive'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DriveAddress {
    /// The controller.
    #[xml(attr)]
    pub controller: Option<u32>,
    /// Its bus.
    #[xml(attr)]
    pub bus: Option<u32>,
    /// The target.
    #[xml(attr)]
    pub target: Option<u32>,
    /// The unit.
    #[xml(attr)]
    pub unit: Option<u64>,
}

/// `<address type='virtio-serial'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VirtioSerialAddress {
    /// The controller.
    #[xml(attr)]
    pub controller: Option<u32>,
    /// Its bus.
    #[xml(attr)]
    pub bus: Option<u32>,
    /// The port.
    #[xml(attr)]
    pub port: Option<u32>,
}

/// `<address type='ccid'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CcidAddress {
    /// The controller.
    #[xml(attr)]
    pub controller: Option<u32>,
    /// The slot.
    #[xml(attr)]
    pub slot: Option<u32>,
}

/// `<address type='usb'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct UsbAddress {
    /// The bus.
    #[xml(attr)]
    pub bus: Option<u32>,
    /// The port, `1.2` behind hubs.
    #[xml(attr)]
    pub port: Option<UsbPort>,
    /// The device's number on the host.
    #[xml(attr)]
    pub device: Option<u32>,
}

/// `<address type='spapr-vio'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SpaprVioAddress {
    /// The register.
    #[xml(attr, hex = 8)]
    pub reg: Option<u64>,
}

/// `<address type='ccw'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CcwAddress {
    /// The channel subsystem, up to 0xfe.
    #[xml(attr, hex = 1)]
    pub cssid: Option<u32>,
    /// The subchannel set, up to 3.
    #[xml(attr, hex = 1)]
    pub ssid: Option<u32>,
    /// The device, up to 0xffff.
    #[xml(attr, hex = 4)]
    pub devno: Option<u32>,
}

/// `<address type='isa'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IsaAddress {
    /// The I/O port.
    #[xml(attr, hex = 1)]
    pub iobase: Option<u32>,
    /// The interrupt.
    #[xml(attr, hex = 1)]
    pub irq: Option<u32>,
}

/// `<address type='dimm'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DimmAddress {
    /// The slot.
    #[xml(attr)]
    pub slot: Option<u32>,
    /// Where it is mapped.
    #[xml(attr, hex = 1)]
    pub base: Option<u64>,
}

/// `<address type='mdev'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MdevAddress {
    /// The mediated device.
    #[xml(attr, codec = crate::codec::Uuids)]
    pub uuid: Option<uuid::Uuid>,
}

/// `<alias>`: a name for a device. Names that begin with `ua-` are the user's and are kept.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Alias {
    /// The name.
    #[xml(attr)]
    pub name: String,
}

/// `<rom>`: the option ROM of a PCI device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Rom {
    /// Whether the guest sees it. Since 0.9.7.
    #[xml(attr, onoff)]
    pub bar: Option<bool>,
    /// Its content. Since 0.9.10.
    #[xml(attr)]
    pub file: Option<String>,
    /// Whether there is one at all. Since 4.3.0.
    #[xml(attr, yesno)]
    pub enabled: Option<bool>,
}

/// `<acpi>` of a device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DeviceAcpi {
    /// Its index in ACPI.
    #[xml(attr)]
    pub index: Option<u32>,
}

/// What every device can have below its own elements.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// Its place in the boot order. Since 0.8.8.
    #[xml(child)]
    pub boot: Option<Boot>,
    /// Its name. Since 3.9.0.
    #[xml(child)]
    pub alias: Option<Alias>,
    /// Its option ROM.
    #[xml(child)]
    pub rom: Option<Rom>,
    /// Its index in ACPI. Since 7.3.0.
    #[xml(child)]
    pub acpi: Option<DeviceAcpi>,
    /// Where it sits. Manual: Device Addresses.
    #[xml(child)]
    pub address: Option<Address>,
}

/// Options that `<driver>` of every virtio device has.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VirtioOptions {
    /// Whether it uses the guest's IOMMU. Since 3.5.0.
    #[xml(attr, onoff)]
    pub iommu: Option<bool>,
    /// Whether it translates addresses itself. Since 3.5.0.
    #[xml(attr, onoff)]
    pub ats: Option<bool>,
    /// Whether it uses packed queues. Since 6.3.0.
    #[xml(attr, onoff)]
    pub packed: Option<bool>,
    /// Whether each queue has a page of its own for notifications. Since 7.9.0.
    #[xml(attr, name = "page_per_vq", onoff)]
    pub page_per_vq: Option<bool>,
}

/// `<driver>` with nothing but the options of virtio.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VirtioDriver {
    /// The options.
    #[xml(group)]
    pub virtio: VirtioOptions,
}

words! {
    /// Variants of a virtio device.
    pub enum VirtioModel {
        Virtio = "virtio", VirtioTransitional = "virtio-transitional",
        VirtioNonTransitional = "virtio-non-transitional",
    }
}
