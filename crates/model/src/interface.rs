//! `<interface>`: network cards.

use polyvirt_xml::{Element, words};
use uuid::Uuid;

use crate::address::{DeviceInfo, PciAddress, VirtioOptions};
use crate::codec::Uuids;
use crate::storage::Named;

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
    /// Whether filters set by the guest are trusted.
    #[xml(attr, yesno)]
    pub trust_guest_rx_filters: Option<bool>,
    /// Its hardware address.
    #[xml(child)]
    pub mac: Option<Mac>,
    /// The other end.
    #[xml(child)]
    pub source: Option<InterfaceSource>,
    /// VLAN tags.
    #[xml(child)]
    pub vlan: Option<Vlan>,
    /// How it joins a switch.
    #[xml(child)]
    pub virtualport: Option<VirtualPort>,
    /// Limits.
    #[xml(child)]
    pub bandwidth: Option<BandwidthLimits>,
    /// Isolation on the bridge.
    #[xml(child)]
    pub port: Option<PortOptions>,
    /// Addresses that the guest is given.
    #[xml(child)]
    pub ip: Vec<InterfaceIp>,
    /// Routes that the guest is given.
    #[xml(child)]
    pub route: Vec<Route>,
    /// Forwarded ports.
    #[xml(child)]
    pub port_forward: Vec<PortForward>,
    /// A script that connects it.
    #[xml(child)]
    pub script: Option<Script>,
    /// A script that disconnects it.
    #[xml(child)]
    pub downscript: Option<Script>,
    /// Xen: the domain that serves it.
    #[xml(child)]
    pub backenddomain: Option<Named>,
    /// Its name on the host.
    #[xml(child)]
    pub target: Option<InterfaceTarget>,
    /// Its name in a container.
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
    /// Packet filters.
    #[xml(child)]
    pub filterref: Option<FilterRef>,
    /// Buffers.
    #[xml(child)]
    pub tune: Option<InterfaceTune>,
    /// Whether the cable is in.
    #[xml(child)]
    pub link: Option<LinkState>,
    /// The largest packet.
    #[xml(child)]
    pub mtu: Option<Mtu>,
    /// How interrupts are coalesced.
    #[xml(child)]
    pub coalesce: Option<Coalesce>,
    /// A pair of cards that stand in for each other.
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
    /// The address.
    #[xml(attr)]
    pub address: String,
    /// VMware: whether it is permanent.
    #[xml(attr, name = "type")]
    pub kind: Option<MacType>,
    /// VMware: whether the range is checked.
    #[xml(attr, yesno)]
    pub check: Option<bool>,
    /// The network's current one, while the guest runs.
    #[xml(attr, name = "currentAddress", live)]
    pub current_address: Option<String>,
}

/// `<source>` of an interface. Which fields count follows from the interface's kind.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InterfaceSource {
    /// `unix`, for `vhostuser`.
    #[xml(attr, name = "type")]
    pub kind: Option<String>,
    /// A virtual network.
    #[xml(attr)]
    pub network: Option<String>,
    /// A group of ports of it.
    #[xml(attr)]
    pub portgroup: Option<String>,
    /// The port that was given, while the guest runs.
    #[xml(attr, codec = Uuids, live)]
    pub portid: Option<Uuid>,
    /// A bridge.
    #[xml(attr)]
    pub bridge: Option<String>,
    /// A device of the host.
    #[xml(attr)]
    pub dev: Option<String>,
    /// A socket.
    #[xml(attr)]
    pub path: Option<String>,
    /// How `direct` joins the device, or the side of `vhostuser`.
    #[xml(attr)]
    pub mode: Option<String>,
    /// An internal network.
    #[xml(attr)]
    pub name: Option<String>,
    /// An address.
    #[xml(attr)]
    pub address: Option<String>,
    /// A port.
    #[xml(attr)]
    pub port: Option<u32>,
    /// ESX: the switch.
    #[xml(attr)]
    pub switchid: Option<String>,
    /// ESX: the group.
    #[xml(attr)]
    pub portgroupid: Option<String>,
    /// ESX: the connection.
    #[xml(attr)]
    pub connectionid: Option<String>,
    /// UDP: our side.
    #[xml(child)]
    pub local: Option<LocalEndpoint>,
    /// How to connect again.
    #[xml(child)]
    pub reconnect: Option<crate::chardev::Reconnect>,
    /// A PCI device of the host.
    #[xml(child, name = "address")]
    pub pci: Option<HostPciAddress>,
    /// Addresses on the host.
    #[xml(child)]
    pub ip: Vec<InterfaceIp>,
    /// Routes on the host.
    #[xml(child)]
    pub route: Vec<Route>,
}

/// A PCI address that says so.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct HostPciAddress {
    /// `pci`.
    #[xml(attr, name = "type")]
    pub kind: Option<String>,
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

/// `<virtualport>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VirtualPort {
    /// The kind of switch.
    #[xml(attr, name = "type")]
    pub kind: Option<VirtualPortType>,
    /// What it needs to know.
    #[xml(child)]
    pub parameters: Option<VirtualPortParameters>,
}

words! {
    /// Kinds of switches.
    pub enum VirtualPortType {
        Qbg8021 = "802.1Qbg", Qbh8021 = "802.1Qbh", Openvswitch = "openvswitch", Midonet = "midonet",
    }
}

/// `<parameters>` of `<virtualport>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VirtualPortParameters {
    /// 802.1Qbg: the database.
    #[xml(attr)]
    pub managerid: Option<u32>,
    /// 802.1Qbg: the type.
    #[xml(attr)]
    pub typeid: Option<u32>,
    /// 802.1Qbg: its version.
    #[xml(attr)]
    pub typeidversion: Option<u32>,
    /// 802.1Qbg: the instance.
    #[xml(attr, codec = Uuids)]
    pub instanceid: Option<Uuid>,
    /// Open vSwitch and Midonet: the port.
    #[xml(attr, codec = Uuids)]
    pub interfaceid: Option<Uuid>,
    /// 802.1Qbh and Open vSwitch: the profile.
    #[xml(attr)]
    pub profileid: Option<String>,
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
    /// Whether it exists and is used as it is.
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

/// `<driver>` of an interface.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InterfaceDriver {
    /// Who serves it: `vhost`, `qemu`, `vfio`.
    #[xml(attr)]
    pub name: Option<String>,
    /// The variant of a VFIO driver.
    #[xml(attr)]
    pub model: Option<String>,
    /// How packets are sent.
    #[xml(attr)]
    pub txmode: Option<String>,
    /// Whether kicks are asynchronous.
    #[xml(attr, onoff)]
    pub ioeventfd: Option<bool>,
    /// Whether interrupts are suppressed by index.
    #[xml(attr, name = "event_idx", onoff)]
    pub event_idx: Option<bool>,
    /// Queues.
    #[xml(attr)]
    pub queues: Option<u32>,
    /// Entries of a receive queue.
    #[xml(attr, name = "rx_queue_size")]
    pub rx_queue_size: Option<u32>,
    /// Entries of a send queue.
    #[xml(attr, name = "tx_queue_size")]
    pub tx_queue_size: Option<u32>,
    /// Receive-side scaling.
    #[xml(attr, onoff)]
    pub rss: Option<bool>,
    /// Whether the guest is told the hash.
    #[xml(attr, name = "rss_hash_report", onoff)]
    pub rss_hash_report: Option<bool>,
    /// Options of virtio.
    #[xml(group)]
    pub virtio: VirtioOptions,
    /// Offloads on the host.
    #[xml(child)]
    pub host: Option<Offloads>,
    /// Offloads in the guest.
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
    /// Merged receive buffers.
    #[xml(attr, name = "mrg_rxbuf", onoff)]
    pub mrg_rxbuf: Option<bool>,
}

/// `<backend>` of an interface.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InterfaceBackend {
    /// What carries packets: `passt`, `default`.
    #[xml(attr, name = "type")]
    pub kind: Option<String>,
    /// The tap device node.
    #[xml(attr)]
    pub tap: Option<String>,
    /// The vhost device node.
    #[xml(attr)]
    pub vhost: Option<String>,
    /// passt: its log.
    #[xml(attr)]
    pub log_file: Option<String>,
    /// passt: its host name for the guest.
    #[xml(attr)]
    pub hostname: Option<String>,
    /// passt: the name it gives the guest.
    #[xml(attr)]
    pub fqdn: Option<String>,
}

/// `<filterref>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FilterRef {
    /// The filter.
    #[xml(attr)]
    pub filter: String,
    /// Its variables.
    #[xml(child)]
    pub parameter: Vec<FilterParameter>,
}

/// `<parameter>` of `<filterref>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FilterParameter {
    /// Its name.
    #[xml(attr)]
    pub name: String,
    /// Its value.
    #[xml(attr)]
    pub value: String,
}

/// `<tune>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InterfaceTune {
    /// Bytes of the send buffer.
    #[xml(leaf)]
    pub sndbuf: Option<u64>,
}

words! {
    /// Whether a cable is in.
    pub enum Link { Up = "up", Down = "down" }
}

/// `<link>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct LinkState {
    /// Whether the cable is in.
    #[xml(attr)]
    pub state: Option<Link>,
}

/// `<mtu>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Mtu {
    /// Bytes.
    #[xml(attr)]
    pub size: u32,
}

/// `<coalesce>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Coalesce {
    /// On receiving.
    #[xml(child)]
    pub rx: Option<CoalesceRx>,
}

/// `<rx>` of `<coalesce>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CoalesceRx {
    /// By number of frames.
    #[xml(child)]
    pub frames: Option<CoalesceFrames>,
}

/// `<frames>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CoalesceFrames {
    /// At most so many.
    #[xml(attr)]
    pub max: Option<u32>,
}

/// `<bandwidth>` of an interface.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BandwidthLimits {
    /// To the guest.
    #[xml(child)]
    pub inbound: Option<BandwidthLimit>,
    /// From the guest.
    #[xml(child)]
    pub outbound: Option<BandwidthLimit>,
}

/// A limit, in KiB per second and KiB.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BandwidthLimit {
    /// On average.
    #[xml(attr)]
    pub average: Option<u64>,
    /// At most.
    #[xml(attr)]
    pub peak: Option<u64>,
    /// Guaranteed.
    #[xml(attr)]
    pub floor: Option<u64>,
    /// How much at the peak.
    #[xml(attr)]
    pub burst: Option<u64>,
}

/// `<vlan>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Vlan {
    /// Whether tags are passed on.
    #[xml(attr, yesno)]
    pub trunk: Option<bool>,
    /// The tags.
    #[xml(child)]
    pub tag: Vec<VlanTag>,
}

/// `<tag>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VlanTag {
    /// The number, up to 4095.
    #[xml(attr)]
    pub id: u32,
    /// What untagged packets become.
    #[xml(attr)]
    pub native_mode: Option<String>,
}

/// `<port>` of an interface.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PortOptions {
    /// Whether it cannot reach other isolated ports.
    #[xml(attr, yesno)]
    pub isolated: Option<bool>,
}

words! {
    /// Families of addresses.
    pub enum IpFamily { Ipv4 = "ipv4", Ipv6 = "ipv6" }
}

/// `<ip>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InterfaceIp {
    /// The address.
    #[xml(attr)]
    pub address: String,
    /// Its family.
    #[xml(attr)]
    pub family: Option<IpFamily>,
    /// Bits of the network.
    #[xml(attr)]
    pub prefix: Option<u32>,
    /// The other end.
    #[xml(attr)]
    pub peer: Option<String>,
}

/// `<route>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Route {
    /// Its family.
    #[xml(attr)]
    pub family: Option<IpFamily>,
    /// The destination.
    #[xml(attr)]
    pub address: Option<String>,
    /// Its mask.
    #[xml(attr)]
    pub netmask: Option<String>,
    /// Bits of the destination.
    #[xml(attr)]
    pub prefix: Option<u32>,
    /// Where packets go.
    #[xml(attr)]
    pub gateway: Option<String>,
    /// How good it is.
    #[xml(attr)]
    pub metric: Option<u32>,
}

words! {
    /// Protocols that can be forwarded.
    pub enum ForwardProtocol { Tcp = "tcp", Udp = "udp" }
}

/// `<portForward>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PortForward {
    /// The protocol.
    #[xml(attr)]
    pub proto: Option<ForwardProtocol>,
    /// The address on the host.
    #[xml(attr)]
    pub address: Option<String>,
    /// The device on the host.
    #[xml(attr)]
    pub dev: Option<String>,
    /// The ports.
    #[xml(child)]
    pub range: Vec<PortRange>,
}

/// `<range>` of `<portForward>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PortRange {
    /// The first port.
    #[xml(attr)]
    pub start: u32,
    /// The last port.
    #[xml(attr)]
    pub end: Option<u32>,
    /// The first port in the guest.
    #[xml(attr)]
    pub to: Option<u32>,
    /// Whether these are left out.
    #[xml(attr, yesno)]
    pub exclude: Option<bool>,
}

words! {
    /// Roles in a team.
    pub enum TeamingType { Persistent = "persistent", Transient = "transient" }
}

/// `<teaming>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Teaming {
    /// The role.
    #[xml(attr, name = "type")]
    pub kind: Option<TeamingType>,
    /// The alias of the persistent card.
    #[xml(attr)]
    pub persistent: Option<String>,
}
