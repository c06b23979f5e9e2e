//! `<hostdev>`: devices of the host that a guest gets, and `<lease>`.

use polyvirt_xml::{Element, words};
use uuid::Uuid;

use crate::address::{DeviceInfo, PciAddress, UsbPort};
use crate::codec::Uuids;
use crate::interface::{InterfaceIp, Route, Teaming};
use crate::storage::{Auth, Initiator, Named, StorageHost};

words! {
    /// Whether a device or a capability of it is passed on.
    pub enum HostdevMode { Subsystem = "subsystem", Capabilities = "capabilities" }
}

/// `<hostdev>`, by the kind of device.
#[derive(Clone, Debug, PartialEq, Element)]
#[xml(tag = "type")]
#[non_exhaustive]
pub enum Hostdev {
    /// A PCI function.
    #[xml("pci")]
    Pci(PciHostdev),
    /// A USB device.
    #[xml("usb")]
    Usb(UsbHostdev),
    /// A SCSI unit.
    #[xml("scsi")]
    Scsi(ScsiHostdev),
    /// A SCSI target of the host's vhost. Since 2.5.0.
    #[xml("scsi_host")]
    ScsiHost(ScsiHostHostdev),
    /// A mediated device.
    #[xml("mdev")]
    Mdev(MdevHostdev),
    /// A block device of a container.
    #[xml("storage")]
    Storage(StorageHostdev),
    /// A character device of a container.
    #[xml("misc")]
    Misc(MiscHostdev),
    /// A network device of a container.
    #[xml("net")]
    Net(NetHostdev),
}

impl Hostdev {
    /// Name, address and place in the boot order.
    #[must_use]
    pub fn info(&self) -> &DeviceInfo {
        match self {
            Self::Pci(device) => &device.info,
            Self::Usb(device) => &device.info,
            Self::Scsi(device) => &device.info,
            Self::ScsiHost(device) => &device.info,
            Self::Mdev(device) => &device.info,
            Self::Storage(device) => &device.info,
            Self::Misc(device) => &device.info,
            Self::Net(device) => &device.info,
        }
    }

    /// Name, address and place in the boot order, to be changed.
    pub fn info_mut(&mut self) -> &mut DeviceInfo {
        match self {
            Self::Pci(device) => &mut device.info,
            Self::Usb(device) => &mut device.info,
            Self::Scsi(device) => &mut device.info,
            Self::ScsiHost(device) => &mut device.info,
            Self::Mdev(device) => &mut device.info,
            Self::Storage(device) => &mut device.info,
            Self::Misc(device) => &mut device.info,
            Self::Net(device) => &mut device.info,
        }
    }

    /// What every kind can have.
    #[must_use]
    pub fn options(&self) -> &HostdevOptions {
        match self {
            Self::Pci(device) => &device.options,
            Self::Usb(device) => &device.options,
            Self::Scsi(device) => &device.options,
            Self::ScsiHost(device) => &device.options,
            Self::Mdev(device) => &device.options,
            Self::Storage(device) => &device.options,
            Self::Misc(device) => &device.options,
            Self::Net(device) => &device.options,
        }
    }

    /// What every kind can have, to be changed.
    pub fn options_mut(&mut self) -> &mut HostdevOptions {
        match self {
            Self::Pci(device) => &mut device.options,
            Self::Usb(device) => &mut device.options,
            Self::Scsi(device) => &mut device.options,
            Self::ScsiHost(device) => &mut device.options,
            Self::Mdev(device) => &mut device.options,
            Self::Storage(device) => &mut device.options,
            Self::Misc(device) => &mut device.options,
            Self::Net(device) => &mut device.options,
        }
    }
}

impl Default for Hostdev {
    fn default() -> Self {
        Self::Pci(PciHostdev::default())
    }
}

words! {
    /// The API of a mediated device, or the variant of virtio of a SCSI host.
    pub enum HostdevModel {
        VfioPci = "vfio-pci", VfioCcw = "vfio-ccw", VfioAp = "vfio-ap", Virtio = "virtio",
        VirtioTransitional = "virtio-transitional", VirtioNonTransitional = "virtio-non-transitional",
    }
}
words! {
    /// What hands a PCI device to the guest.
    pub enum HostdevBackend { Vfio = "vfio", Kvm = "kvm", Xen = "xen" }
}
words! {
    /// How a SCSI unit of the host is found.
    pub enum ScsiProtocol { Adapter = "adapter", Iscsi = "iscsi" }
}
words! {
    /// How a SCSI host of the host is reached.
    pub enum ScsiHostProtocol { Vhost = "vhost" }
}
words! {
    /// What happens when the guest resets a USB device.
    pub enum GuestReset { Off = "off", Uninitialized = "uninitialized", On = "on" }
}
words! {
    /// The kind of a SCSI unit's address.
    pub enum ScsiAddressType { Scsi = "scsi" }
}

/// What every `<hostdev>` can have, attributes.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct HostdevOptions {
    /// Whether the device or a capability of it is passed on.
    #[xml(attr)]
    pub mode: Option<HostdevMode>,
    /// Whether the device is taken from its host driver.
    #[xml(attr, yesno)]
    pub managed: Option<bool>,
    /// SCSI: whether unprivileged commands are filtered. Since 1.0.6.
    #[xml(attr)]
    pub sgio: Option<crate::disk::Sgio>,
    /// SCSI: whether it needs `CAP_SYS_RAWIO`. Since 1.2.9.
    #[xml(attr, yesno)]
    pub rawio: Option<bool>,
    /// mdev: the API of the device; vhost SCSI: the variant of virtio.
    #[xml(attr)]
    pub model: Option<HostdevModel>,
    /// mdev: whether it has a screen; absent: `off`. Since 4.6.0.
    #[xml(attr, onoff)]
    pub display: Option<bool>,
    /// mdev: whether there is a boot frame buffer; absent: `off`. Since 5.10.0.
    #[xml(attr, onoff)]
    pub ramfb: Option<bool>,
}

macro_rules! hostdevs {
    ($($(#[$doc:meta])* $name:ident -> $source:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Element)]
        #[non_exhaustive]
        pub struct $name {
            /// What every kind can have.
            #[xml(group)]
            pub options: HostdevOptions,
            /// PCI: the host driver.
            #[xml(child)]
            pub driver: Option<HostdevDriver>,
            /// Which device.
            #[xml(child)]
            pub source: Option<$source>,
            /// The guest may not write. Since 1.0.6.
            #[xml(flag)]
            pub readonly: bool,
            /// Other guests use it too. Since 1.0.6.
            #[xml(flag)]
            pub shareable: bool,
            /// A pair of cards that stand in for each other.
            #[xml(child)]
            pub teaming: Option<Teaming>,
            /// Addresses that a container is given.
            #[xml(child)]
            pub ip: Vec<InterfaceIp>,
            /// Routes that a container is given.
            #[xml(child)]
            pub route: Vec<Route>,
            /// Name, address, boot order.
            #[xml(group)]
            pub info: DeviceInfo,
        }
    )*};
}

hostdevs!(
    /// `<hostdev type='pci'>`.
    PciHostdev -> PciSource,
    /// `<hostdev type='usb'>`.
    UsbHostdev -> UsbSource,
    /// `<hostdev type='scsi'>`.
    ScsiHostdev -> ScsiSource,
    /// `<hostdev type='scsi_host'>`.
    ScsiHostHostdev -> ScsiHostSource,
    /// `<hostdev type='mdev'>`.
    MdevHostdev -> MdevSource,
    /// `<hostdev type='storage'>`.
    StorageHostdev -> StorageSource,
    /// `<hostdev type='misc'>`.
    MiscHostdev -> MiscSource,
    /// `<hostdev type='net'>`.
    NetHostdev -> NetSource,
);

/// `<driver>` of `<hostdev>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct HostdevDriver {
    /// What hands it to the guest. Since 1.0.5.
    #[xml(attr)]
    pub name: Option<HostdevBackend>,
    /// The variant of a VFIO driver.
    #[xml(attr)]
    pub model: Option<String>,
}

/// Which PCI function.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PciSource {
    /// Xen: whether writes to the configuration space are filtered. Since 6.8.0.
    #[xml(attr, yesno)]
    pub write_filtering: Option<bool>,
    /// Its address on the host.
    #[xml(child)]
    pub address: Option<PciAddress>,
}

words! {
    /// What happens if a device is missing at start.
    pub enum UsbStartupPolicy { Mandatory = "mandatory", Requisite = "requisite", Optional = "optional" }
}

/// Which USB device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct UsbSource {
    /// What happens if it is missing at start; absent: mandatory. Since 1.0.0.
    #[xml(attr)]
    pub startup_policy: Option<UsbStartupPolicy>,
    /// What happens when the guest resets it. Since 8.6.0.
    #[xml(attr)]
    pub guest_reset: Option<GuestReset>,
    /// Whether it is missing, while the guest runs.
    #[xml(attr, yesno, live)]
    pub missing: Option<bool>,
    /// Its vendor.
    #[xml(child)]
    pub vendor: Option<UsbId>,
    /// Its product.
    #[xml(child)]
    pub product: Option<UsbId>,
    /// Its place on the host.
    #[xml(child)]
    pub address: Option<UsbHostAddress>,
}

/// `<vendor>` and `<product>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct UsbId {
    /// The number.
    #[xml(attr, hex = 4)]
    pub id: u32,
}

/// A place on the host's USB.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct UsbHostAddress {
    /// The bus.
    #[xml(attr)]
    pub bus: Option<u32>,
    /// The device.
    #[xml(attr)]
    pub device: Option<u32>,
    /// The port.
    #[xml(attr)]
    pub port: Option<UsbPort>,
}

/// Which SCSI unit.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ScsiSource {
    /// How it is found; absent: through its adapter. Since 1.2.8.
    #[xml(attr)]
    pub protocol: Option<ScsiProtocol>,
    /// iSCSI: the name of the target.
    #[xml(attr)]
    pub name: Option<String>,
    /// iSCSI: servers.
    #[xml(child)]
    pub host: Vec<StorageHost>,
    /// iSCSI: who logs in.
    #[xml(child)]
    pub auth: Option<Auth>,
    /// iSCSI: the initiator. Since 6.7.0.
    #[xml(child)]
    pub initiator: Option<Initiator>,
    /// The adapter.
    #[xml(child)]
    pub adapter: Option<Named>,
    /// The unit.
    #[xml(child)]
    pub address: Option<ScsiHostAddress>,
}

/// A place on a SCSI adapter.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ScsiHostAddress {
    /// The kind; not needed.
    #[xml(attr, name = "type")]
    pub kind: Option<ScsiAddressType>,
    /// The bus.
    #[xml(attr)]
    pub bus: Option<u32>,
    /// The target.
    #[xml(attr)]
    pub target: Option<u32>,
    /// The unit.
    #[xml(attr)]
    pub unit: Option<u64>,
}

/// Which vhost SCSI target.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ScsiHostSource {
    /// How it is reached.
    #[xml(attr)]
    pub protocol: Option<ScsiHostProtocol>,
    /// The world wide port name.
    #[xml(attr)]
    pub wwpn: Option<String>,
}

/// Which mediated device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MdevSource {
    /// Its UUID.
    #[xml(child)]
    pub address: Option<MdevUuid>,
}

/// `<address uuid='…'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MdevUuid {
    /// The device.
    #[xml(attr, codec = Uuids)]
    pub uuid: Option<Uuid>,
}

/// A block device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct StorageSource {
    /// Its node.
    #[xml(leaf)]
    pub block: Option<String>,
}

/// A character device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MiscSource {
    /// Its node.
    #[xml(leaf)]
    pub char: Option<String>,
}

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct NetSource {
    /// Its name.
    #[xml(leaf)]
    pub interface: Option<String>,
}

/// `<lease>`: a lock held while the guest runs.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Lease {
    /// Where locks are kept.
    #[xml(leaf)]
    pub lockspace: Option<String>,
    /// The lock.
    #[xml(leaf)]
    pub key: Option<String>,
    /// The file with it.
    #[xml(child)]
    pub target: Option<LeaseTarget>,
}

/// `<target>` of `<lease>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct LeaseTarget {
    /// The file.
    #[xml(attr)]
    pub path: String,
    /// Where in it.
    #[xml(attr)]
    pub offset: Option<u64>,
}
