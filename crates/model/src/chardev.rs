//! Serial ports, parallel ports, consoles, channels and everything else with a character device behind it.

use std::net::IpAddr;

use polyvirt_xml::{Element, words};

use crate::address::DeviceInfo;
use crate::codec::IpAddresses;
use crate::security::DeviceLabel;

mod redirect;

pub use redirect::{
    RedirBus, RedirDev, RedirFilter, RedirRule, Smartcard, SmartcardMode, UsbClassFilter, UsbIdFilter, UsbVersionFilter,
};

words! {
    /// What is behind a character device on the host.
    pub enum CharBackend {
        Null = "null", Vc = "vc", Pty = "pty", Dev = "dev", File = "file", Pipe = "pipe", Stdio = "stdio",
        Udp = "udp", Tcp = "tcp", Unix = "unix", SpiceVmc = "spicevmc", SpicePort = "spiceport", Nmdm = "nmdm",
        QemuVdagent = "qemu-vdagent", Dbus = "dbus",
    }
}
words! {
    /// Which side of a connection we are.
    pub enum CharMode { Bind = "bind", Connect = "connect", Client = "client", Server = "server" }
}
words! {
    /// Protocols on a TCP connection.
    pub enum CharProtocol { Raw = "raw", Telnet = "telnet", Telnets = "telnets", Tls = "tls" }
}

/// What is behind the device, without its type.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CharSource {
    /// `<source>`; two for UDP.
    #[xml(child)]
    pub source: Vec<CharEndpoint>,
    /// The protocol on TCP.
    #[xml(child)]
    pub protocol: Option<Protocol>,
    /// A file that gets a copy of what the guest writes. Since 1.3.3.
    #[xml(child)]
    pub log: Option<CharLog>,
}

/// `<source>` of a character device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CharEndpoint {
    /// Which side we are.
    #[xml(attr)]
    pub mode: Option<CharMode>,
    /// A path.
    #[xml(attr)]
    pub path: Option<String>,
    /// A host.
    #[xml(attr)]
    pub host: Option<String>,
    /// A port or service.
    #[xml(attr)]
    pub service: Option<String>,
    /// Whether the connection is encrypted. Since 2.4.0.
    #[xml(attr, yesno)]
    pub tls: Option<bool>,
    /// Whether a file is appended to; absent: `off`. Since 1.3.1.
    #[xml(attr, onoff)]
    pub append: Option<bool>,
    /// The name of a SPICE port or D-Bus channel. Since 1.2.2.
    #[xml(attr)]
    pub channel: Option<String>,
    /// nmdm: our side. Since 1.2.4.
    #[xml(attr)]
    pub master: Option<String>,
    /// nmdm: the other side.
    #[xml(attr)]
    pub slave: Option<String>,
    /// How to connect again. Since 3.7.0.
    #[xml(child)]
    pub reconnect: Option<Reconnect>,
    /// Labels that differ from the guest's.
    #[xml(child)]
    pub seclabel: Vec<DeviceLabel>,
    /// vdagent: the clipboard. Since 8.4.0.
    #[xml(child)]
    pub clipboard: Option<Clipboard>,
    /// vdagent: the mouse. Since 8.4.0.
    #[xml(child)]
    pub mouse: Option<MouseMode>,
}

/// `<reconnect>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Reconnect {
    /// Whether it connects again.
    #[xml(attr, yesno)]
    pub enabled: Option<bool>,
    /// Seconds between attempts.
    #[xml(attr)]
    pub timeout: Option<u32>,
}

/// `<clipboard>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Clipboard {
    /// Whether copy and paste are allowed.
    #[xml(attr, yesno)]
    pub copypaste: Option<bool>,
}

/// `<mouse>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MouseMode {
    /// Who draws the pointer; absent: the client.
    #[xml(attr)]
    pub mode: Option<MousePointer>,
}

words! {
    /// Who draws the mouse pointer.
    pub enum MousePointer { Server = "server", Client = "client" }
}

/// `<protocol>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Protocol {
    /// The protocol; absent: `raw`.
    #[xml(attr, name = "type")]
    pub kind: Option<CharProtocol>,
}

/// `<log>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CharLog {
    /// The file.
    #[xml(attr)]
    pub file: String,
    /// Whether it is appended to; absent: `off`.
    #[xml(attr, onoff)]
    pub append: Option<bool>,
}

macro_rules! character_devices {
    ($($(#[$doc:meta])* $name:ident -> $target:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Element)]
        #[non_exhaustive]
        pub struct $name {
            /// What is behind it.
            #[xml(attr, name = "type")]
            pub kind: Option<CharBackend>,
            /// The terminal, while the guest runs.
            #[xml(attr, live)]
            pub tty: Option<String>,
            /// Where that is.
            #[xml(group)]
            pub backend: CharSource,
            /// What the guest sees.
            #[xml(child)]
            pub target: Option<$target>,
            /// Name and address.
            #[xml(group)]
            pub info: DeviceInfo,
        }
    )*};
}

character_devices!(
    /// `<serial>`.
    Serial -> SerialTarget,
    /// `<parallel>`.
    Parallel -> ParallelTarget,
    /// `<console>`.
    Console -> ConsoleTarget,
    /// `<channel>`.
    Channel -> ChannelTarget,
);

words! {
    /// Where a serial port sits.
    pub enum SerialTargetType {
        IsaSerial = "isa-serial", UsbSerial = "usb-serial", PciSerial = "pci-serial",
        SpaprVioSerial = "spapr-vio-serial", SystemSerial = "system-serial", SclpSerial = "sclp-serial",
        IsaDebug = "isa-debug", DebugCon = "debugcon",
    }
}

/// `<target>` of `<serial>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SerialTarget {
    /// Where it sits.
    #[xml(attr, name = "type")]
    pub kind: Option<SerialTargetType>,
    /// Its number.
    #[xml(attr)]
    pub port: Option<u32>,
    /// The device; absent: what fits where it sits. Since 3.10.0.
    #[xml(child)]
    pub model: Option<SerialModelRef>,
}

words! {
    /// Devices behind a serial port.
    pub enum SerialModel {
        IsaSerial = "isa-serial", UsbSerial = "usb-serial", PciSerial = "pci-serial", SpaprVty = "spapr-vty",
        Pl011 = "pl011", Ns16550a = "16550a", SclpConsole = "sclpconsole", SclpLmConsole = "sclplmconsole",
        IsaDebugcon = "isa-debugcon",
    }
}

/// `<model>` of a serial port's `<target>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SerialModelRef {
    /// The device.
    #[xml(attr)]
    pub name: Option<SerialModel>,
}

/// `<target>` of `<parallel>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ParallelTarget {
    /// Its number.
    #[xml(attr)]
    pub port: Option<u32>,
}

words! {
    /// What a console is for the guest.
    pub enum ConsoleTargetType {
        Serial = "serial", Xen = "xen", Uml = "uml", Virtio = "virtio", Lxc = "lxc", Openvz = "openvz",
        Sclp = "sclp", Sclplm = "sclplm",
    }
}

/// `<target>` of `<console>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ConsoleTarget {
    /// What it is for the guest.
    #[xml(attr, name = "type")]
    pub kind: Option<ConsoleTargetType>,
    /// Its number.
    #[xml(attr)]
    pub port: Option<u32>,
}

words! {
    /// What a channel is for the guest.
    pub enum ChannelTargetType { Guestfwd = "guestfwd", Virtio = "virtio", Xen = "xen" }
}
words! {
    /// Whether the guest has opened a channel.
    pub enum ChannelState { Connected = "connected", Disconnected = "disconnected" }
}

/// `<target>` of `<channel>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ChannelTarget {
    /// What it is for the guest.
    #[xml(attr, name = "type")]
    pub kind: Option<ChannelTargetType>,
    /// The address that is forwarded.
    #[xml(attr, codec = IpAddresses)]
    pub address: Option<IpAddr>,
    /// The port that is forwarded.
    #[xml(attr)]
    pub port: Option<u32>,
    /// Its name for the guest.
    #[xml(attr)]
    pub name: Option<String>,
    /// Whether the guest has opened it. Since 1.2.11.
    #[xml(attr, live)]
    pub state: Option<ChannelState>,
}
