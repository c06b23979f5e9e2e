//! `<interface>`: network cards.

use polyvirt_xml::{Element, words};
use uuid::Uuid;

use crate::address::{DeviceInfo, PciAddress, VirtioOptions};
use crate::codec::Uuids;
use crate::storage::Named;

mod identity;
mod network;

pub use identity::{MacAddress, PortId};
pub use network::{
    BandwidthLimit, BandwidthLimits, Coalesce, CoalesceFrames, CoalesceRx, FilterParameter, FilterRef, ForwardProtocol,
    InterfaceIp, InterfaceTune, IpFamily, Link, LinkState, Mtu, PortForward, PortOptions, PortRange, Route, Teaming,
    TeamingType, VirtualPort, VirtualPortParameters, VirtualPortType, Vlan, VlanTag,
};

words! {
    /// What a network card is connected to.
    pub enum InterfaceKind {
        User = "user", Ethernet = "ethernet", Server = "server", Client = "client", Mcast = "mcast",
        Network = "network", Bridge = "bridge", Internal = "internal", Direct = "direct", Hostdev = "hostdev",
        Udp = "udp", VhostUser = "vhostuser", Vdpa = "vdpa", Null = "null", Vds = "vds",
    }
}

/// `<interface>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Interface {
    /// What it is connected to.
    #[xml(attr, name = "type")]
    pub kind: Option<InterfaceKind>,
    /// Whether a device is taken from its host driver, or a tap is made for us.
    #[xml(attr, yesno)]
    pub managed: Option<bool>,
    /// Whether filters set by the guest are trusted; absent: `no`. Since 1.2.10.
    #[xml(attr, yesno)]
    pub trust_guest_rx_filters: Option<bool>,
    /// Its hardware address.
    #[xml(child)]
    pub mac: Option<Mac>,
    /// The other end.
    #[xml(child)]
    pub source: Option<InterfaceSource>,
    /// VLAN tags. Since 0.10.0.
    #[xml(child)]
    pub vlan: Option<Vlan>,
    /// How it joins a switch. Since 0.8.2.
    #[xml(child)]
    pub virtualport: Option<VirtualPort>,
    /// Limits.
    #[xml(child)]
    pub bandwidth: Option<BandwidthLimits>,
    /// Isolation on the bridge. Since 6.1.0.
    #[xml(child)]
    pub port: Option<PortOptions>,
    /// Addresses that the guest is given. Since 1.2.12.
    #[xml(child)]
    pub ip: Vec<InterfaceIp>,
    /// Routes that the guest is given. Since 1.2.12.
    #[xml(child)]
    pub route: Vec<Route>,
    /// Forwarded ports. Since 9.0.0.
    #[xml(child)]
    pub port_forward: Vec<PortForward>,
    /// A script that connects it. Since 0.2.1.
    #[xml(child)]
    pub script: Option<Script>,
    /// A script that disconnects it. Since 6.4.0.
    #[xml(child)]
    pub downscript: Option<Script>,
    /// Xen: the domain that serves it. Since 1.2.13.
    #[xml(child)]
    pub backenddomain: Option<Named>,
    /// Its name on the host.
    #[xml(child)]
    pub target: Option<InterfaceTarget>,
    /// Its name in a container. Since 1.2.7.
    #[xml(child)]
    pub guest: Option<InterfaceGuest>,
    /// What the guest sees.
    #[xml(child)]
    pub model: Option<InterfaceModel>,
    /// How the hypervisor serves it.
    #[xml(child)]
    pub driver: Option<InterfaceDriver>,
    /// What carries its packets.
    #[xml(child)]
    pub backend: Option<InterfaceBackend>,
    /// Packet filters. Since 0.8.0.
    #[xml(child)]
    pub filterref: Option<FilterRef>,
    /// Buffers.
    #[xml(child)]
    pub tune: Option<InterfaceTune>,
    /// Whether the cable is in. Since 0.9.5.
    #[xml(child)]
    pub link: Option<LinkState>,
    /// The largest packet. Since 3.1.0.
    #[xml(child)]
    pub mtu: Option<Mtu>,
    /// How interrupts are coalesced. Since 3.3.0.
    #[xml(child)]
    pub coalesce: Option<Coalesce>,
    /// A pair of cards that stand in for each other. Since 6.1.0.
    #[xml(child)]
    pub teaming: Option<Teaming>,
    /// Name, address, boot order.
    #[xml(group)]
    pub info: DeviceInfo,
}

words! {
    /// Whether a hardware address is permanent.
    pub enum MacType { Generated = "generated", Static = "static" }
}

/// `<mac>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Mac {
    /// The address; all zeroes: one is drawn.
    #[xml(attr)]
    pub address: MacAddress,
    /// VMware: whether it is permanent. Since 6.6.0.
    #[xml(attr, name = "type")]
    pub kind: Option<MacType>,
    /// VMware: whether the range is checked.
    #[xml(attr, yesno)]
    pub check: Option<bool>,
    /// The network's current one, while the guest runs.
    #[xml(attr, name = "currentAddress", live)]
    pub current_address: Option<MacAddress>,
}

words! {
    /// The kind of socket behind `vhostuser`.
    pub enum SocketType { Unix = "unix" }
}
words! {
    /// How `direct` joins a device (the first four), or which side of `vhostuser` we are.
    pub enum SourceMode {
        Vepa = "vepa", Private = "private", Bridge = "bridge", Passthrough = "passthrough", Server = "server",
        Client = "client",
    }
}
words! {
    /// The kind of a device's address on the host.
    pub enum HostAddressType { Pci = "pci", Usb = "usb" }
}

/// `<source>` of an interface. Which fields count follows from the interface's kind.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InterfaceSource {
    /// The kind of socket, for `vhostuser`.
    #[xml(attr, name = "type")]
    pub kind: Option<SocketType>,
    /// A virtual network.
    #[xml(attr)]
    pub network: Option<String>,
    /// A group of ports of it. Since 0.9.4.
    #[xml(attr)]
    pub portgroup: Option<String>,
    /// The port: of a virtual network the one that was given, while the guest runs; of a distributed switch its number.
    #[xml(attr)]
    pub portid: Option<PortId>,
    /// A bridge.
    #[xml(attr)]
    pub bridge: Option<String>,
    /// A device of the host.
    #[xml(attr)]
    pub dev: Option<String>,
    /// A socket.
    #[xml(attr)]
    pub path: Option<String>,
    /// How `direct` joins the device, or which side of `vhostuser` we are.
    #[xml(attr)]
    pub mode: Option<SourceMode>,
    /// An internal network.
    #[xml(attr)]
    pub name: Option<String>,
    /// An address.
    #[xml(attr)]
    pub address: Option<String>,
    /// A port.
    #[xml(attr)]
    pub port: Option<u32>,
    /// ESX: the distributed switch. Since 8.7.0.
    #[xml(attr, codec = Uuids)]
    pub switchid: Option<Uuid>,
    /// ESX: the group.
    #[xml(attr)]
    pub portgroupid: Option<String>,
    /// ESX: the connection.
    #[xml(attr)]
    pub connectionid: Option<i64>,
    /// UDP: our side. Since 1.2.20.
    #[xml(child)]
    pub local: Option<LocalEndpoint>,
    /// How to connect again. Since 4.1.0.
    #[xml(child)]
    pub reconnect: Option<crate::chardev::Reconnect>,
    /// A PCI device of the host.
    #[xml(child, name = "address")]
    pub pci: Option<HostPciAddress>,
    /// Addresses on the host. Since 2.1.0.
    #[xml(child)]
    pub ip: Vec<InterfaceIp>,
    /// Routes on the host. Since 2.1.0.
    #[xml(child)]
    pub route: Vec<Route>,
}

/// A PCI address that says so.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct HostPciAddress {
    /// The kind of address.
    #[xml(attr, name = "type")]
    pub kind: Option<HostAddressType>,
    /// The numbers.
    #[xml(group)]
    pub pci: PciAddress,
}

/// `<local>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct LocalEndpoint {
    /// An address.
    #[xml(attr)]
    pub address: Option<String>,
    /// A port.
    #[xml(attr)]
    pub port: Option<u32>,
}

/// `<script>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Script {
    /// Its path.
    #[xml(attr)]
    pub path: String,
}

/// `<target>` of an interface.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InterfaceTarget {
    /// Its name on the host.
    #[xml(attr)]
    pub dev: Option<String>,
    /// Whether it exists and is used as it is; absent: `yes`. Since 5.7.0.
    #[xml(attr, yesno)]
    pub managed: Option<bool>,
}

/// `<guest>` of an interface.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InterfaceGuest {
    /// Its name in the container.
    #[xml(attr)]
    pub dev: Option<String>,
    /// The name that was given, while the container runs.
    #[xml(attr, live)]
    pub actual: Option<String>,
}

/// `<model>` of an interface.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InterfaceModel {
    /// The device, in the hypervisor's words.
    #[xml(attr, name = "type")]
    pub kind: String,
}

words! {
    /// Who serves an interface: the kernel (`vhost`) or QEMU; of a passed through device what hands it over.
    pub enum InterfaceDriverName { Qemu = "qemu", Vhost = "vhost", Vfio = "vfio", Kvm = "kvm", Xen = "xen" }
}
words! {
    /// Who sends packets: the main loop, or a timer that waits for more.
    pub enum TxMode { IoThread = "iothread", Timer = "timer" }
}
words! {
    /// What carries packets of a `user` interface.
    pub enum InterfaceBackendType { Default = "default", Passt = "passt" }
}

/// `<driver>` of an interface.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InterfaceDriver {
    /// Who serves it. Since 0.8.8.
    #[xml(attr)]
    pub name: Option<InterfaceDriverName>,
    /// The variant of a VFIO driver.
    #[xml(attr)]
    pub model: Option<String>,
    /// Who sends packets. Since 0.8.8.
    #[xml(attr)]
    pub txmode: Option<TxMode>,
    /// Whether kicks are asynchronous. Since 0.9.3.
    #[xml(attr, onoff)]
    pub ioeventfd: Option<bool>,
    /// Whether interrupts are suppressed by index. Since 0.9.5.
    #[xml(attr, name = "event_idx", onoff)]
    pub event_idx: Option<bool>,
    /// Queues. Since 1.0.6.
    #[xml(attr)]
    pub queues: Option<u32>,
    /// Entries of a receive queue. Since 2.3.0.
    #[xml(attr, name = "rx_queue_size")]
    pub rx_queue_size: Option<u32>,
    /// Entries of a send queue. Since 3.7.0.
    #[xml(attr, name = "tx_queue_size")]
    pub tx_queue_size: Option<u32>,
    /// Receive-side scaling. Since 8.3.0.
    #[xml(attr, onoff)]
    pub rss: Option<bool>,
    /// Whether the guest is told the hash. Since 8.3.0.
    #[xml(attr, name = "rss_hash_report", onoff)]
    pub rss_hash_report: Option<bool>,
    /// Options of virtio.
    #[xml(group)]
    pub virtio: VirtioOptions,
    /// Offloads on the host. Since 1.2.9.
    #[xml(child)]
    pub host: Option<Offloads>,
    /// Offloads in the guest. Since 1.2.9.
    #[xml(child)]
    pub guest: Option<Offloads>,
}

/// `<host>` and `<guest>` of a driver: offloads.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Offloads {
    /// Checksums.
    #[xml(attr, onoff)]
    pub csum: Option<bool>,
    /// Generic segmentation.
    #[xml(attr, onoff)]
    pub gso: Option<bool>,
    /// Segmentation of TCP over IPv4.
    #[xml(attr, onoff)]
    pub tso4: Option<bool>,
    /// Segmentation of TCP over IPv6.
    #[xml(attr, onoff)]
    pub tso6: Option<bool>,
    /// Congestion notification.
    #[xml(attr, onoff)]
    pub ecn: Option<bool>,
    /// Fragmentation of UDP.
    #[xml(attr, onoff)]
    pub ufo: Option<bool>,
    /// Merged receive buffers. Since 1.2.13.
    #[xml(attr, name = "mrg_rxbuf", onoff)]
    pub mrg_rxbuf: Option<bool>,
}

/// `<backend>` of an interface.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InterfaceBackend {
    /// What carries packets; absent: the hypervisor itself. Since 9.0.0.
    #[xml(attr, name = "type")]
    pub kind: Option<InterfaceBackendType>,
    /// The tap device node. Since 1.2.9.
    #[xml(attr)]
    pub tap: Option<String>,
    /// The vhost device node. Since 1.2.9.
    #[xml(attr)]
    pub vhost: Option<String>,
    /// passt: its log. Since 9.0.0.
    #[xml(attr)]
    pub log_file: Option<String>,
    /// passt: its host name for the guest.
    #[xml(attr)]
    pub hostname: Option<String>,
    /// passt: the name it gives the guest.
    #[xml(attr)]
    pub fqdn: Option<String>,
}
