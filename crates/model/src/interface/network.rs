//! What an interface is beside its two ends: switch ports, filters, limits, VLANs, addresses, forwarding, teams.

use std::net::IpAddr;

use polyvirt_xml::{Element, words};
use uuid::Uuid;

use crate::codec::{IpAddresses, Uuids};

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
    /// Bytes of the send buffer. Since 0.8.8.
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
    /// Whether the cable is in; absent: `up`.
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

words! {
    /// Whether packets of the native VLAN carry its tag.
    pub enum NativeMode { Tagged = "tagged", Untagged = "untagged" }
}

/// `<tag>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VlanTag {
    /// The number, up to 4095.
    #[xml(attr)]
    pub id: u32,
    /// Open vSwitch: this is the native VLAN, and whether its packets carry the tag. Since 1.1.0.
    #[xml(attr)]
    pub native_mode: Option<NativeMode>,
}

/// `<port>` of an interface.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PortOptions {
    /// Whether it cannot reach other isolated ports; absent: `no`.
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
    #[xml(attr, codec = IpAddresses)]
    pub address: Option<IpAddr>,
    /// Its family.
    #[xml(attr)]
    pub family: Option<IpFamily>,
    /// Bits of the network.
    #[xml(attr)]
    pub prefix: Option<u32>,
    /// The other end. Since 2.1.0.
    #[xml(attr, codec = IpAddresses)]
    pub peer: Option<IpAddr>,
}

/// `<route>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Route {
    /// Its family.
    #[xml(attr)]
    pub family: Option<IpFamily>,
    /// The destination.
    #[xml(attr, codec = IpAddresses)]
    pub address: Option<IpAddr>,
    /// Its mask.
    #[xml(attr, codec = IpAddresses)]
    pub netmask: Option<IpAddr>,
    /// Bits of the destination.
    #[xml(attr)]
    pub prefix: Option<u32>,
    /// Where packets go.
    #[xml(attr, codec = IpAddresses)]
    pub gateway: Option<IpAddr>,
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
    #[xml(attr, codec = IpAddresses)]
    pub address: Option<IpAddr>,
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
