//! Network devices as the kernel tells of them, and what is changed of them.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Stats64},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::NetdevError;

/// No such device: the same number on every architecture of Linux.
const ENODEV: i32 = 19;

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Its number, which no other device of this namespace has had.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The kernel's word for its kind (`IFLA_INFO_KIND`): `bridge`, `tun` for taps; devices of hardware have none.
    pub kind: Option<String>,
    /// Its hardware address, if it has one of Ethernet.
    pub mac: Option<[u8; 6]>,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// Whether it is switched on (`IFF_UP`).
    pub up: bool,
    /// The device of which it is a port, by number.
    pub master: Option<u32>,
    /// Whether it is a bridge's port that reaches no other port which is isolated too.
    pub isolated: bool,
    /// What went through it.
    pub counters: LinkCounters,
}

/// What went through a network device (`IFLA_STATS64`), seen from the host: rx came in from the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the kernel's")]
pub struct LinkCounters {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

impl From<Stats64> for LinkCounters {
    fn from(it: Stats64) -> Self {
        Self {
            rx_bytes: it.rx_bytes,
            rx_packets: it.rx_packets,
            rx_errors: it.rx_errors,
            rx_dropped: it.rx_dropped,
            tx_bytes: it.tx_bytes,
            tx_packets: it.tx_packets,
            tx_errors: it.tx_errors,
            tx_dropped: it.tx_dropped,
        }
    }
}

/// What is changed of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Its hardware address.
    Mac([u8; 6]),
    /// The largest packet in bytes.
    Mtu(u32),
    /// It becomes a port of the device with this number; of none with 0.
    Master(u32),
    /// As a bridge's port it reaches no other port that is isolated too.
    Isolated(bool),
    /// It is switched on or off.
    Up(bool),
}

impl Change {
    /// What is done, for errors.
    fn words(self) -> &'static str {
        match self {
            Self::Mac(_) => "give an address to",
            Self::Mtu(_) => "set the MTU of",
            Self::Master(_) => "attach to its bridge",
            Self::Isolated(_) => "isolate",
            Self::Up(true) => "switch on",
            Self::Up(false) => "switch off",
        }
    }

    fn message(self, index: u32) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let attribute = match self {
            Self::Mac(address) => LinkAttribute::Address(address.to_vec()),
            Self::Mtu(bytes) => LinkAttribute::Mtu(bytes),
            Self::Master(index) => LinkAttribute::Controller(index),
            Self::Isolated(on) => LinkAttribute::LinkInfo(vec![
                LinkInfo::PortKind(InfoPortKind::Bridge),
                LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(on)])),
            ]),
            Self::Up(on) => {
                message.header.flags = if on { LinkFlags::Up } else { LinkFlags::empty() };
                message.header.change_mask = LinkFlags::Up;
                return message;
            }
        };
        message.attributes.push(attribute);
        message
    }
}

/// A connection to the kernel's network devices, those of the namespace of the thread that opened it.
#[derive(Debug)]
pub struct Links {
    socket: Socket,
    sequence: u32,
}

impl Links {
    /// Connects.
    ///
    /// # Errors
    /// [`NetdevError::Netlink`] if the kernel gives no socket.
    pub fn open() -> Result<Self, NetdevError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            // Messages of others than the kernel do not arrive.
            socket.connect(&SocketAddr::new(0, 0))?;
            io::Result::Ok(socket)
        };
        open().map(|socket| Self { socket, sequence: 0 }).map_err(NetdevError::Netlink)
    }

    /// The device of that name.
    ///
    /// # Errors
    /// Those of talking to the kernel; that there is none is no error.
    pub fn find(&mut self, name: &str) -> Result<Option<Link>, NetdevError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.call(RouteNetlinkMessage::GetLink(message), NLM_F_ACK) {
            Ok(found) => Ok(found.into_iter().map(read).next()),
            Err(error) if error.raw_os_error() == Some(ENODEV) => Ok(None),
            Err(error) => Err(NetdevError::Netlink(error)),
        }
    }

    /// The bridge of that name.
    ///
    /// # Errors
    /// [`NetdevError::Missing`], [`NetdevError::Kind`], those of talking to the kernel.
    pub fn bridge(&mut self, name: &str) -> Result<Link, NetdevError> {
        let found = self.find(name)?;
        let link = found.ok_or_else(|| NetdevError::Missing { name: name.to_owned(), bridge: true })?;
        match link.kind.as_deref() {
            Some("bridge") => Ok(link),
            kind => {
                let found = kind.map_or_else(|| "a device of hardware".to_owned(), |it| format!("of kind {it}"));
                Err(NetdevError::Kind { name: link.name, found, wanted: "bridge" })
            }
        }
    }

    /// All devices.
    ///
    /// # Errors
    /// Those of talking to the kernel.
    pub fn all(&mut self) -> Result<Vec<Link>, NetdevError> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let found = self.call(request, NLM_F_DUMP).map_err(NetdevError::Netlink)?;
        Ok(found.into_iter().map(read).collect())
    }

    /// The ports of a bridge.
    ///
    /// # Errors
    /// As [`Links::all`].
    pub fn ports(&mut self, bridge: &Link) -> Result<Vec<Link>, NetdevError> {
        let all = self.all()?;
        Ok(all.into_iter().filter(|it| it.master == Some(bridge.index)).collect())
    }

    /// Changes a device.
    ///
    /// # Errors
    /// [`NetdevError::Denied`] without `CAP_NET_ADMIN`, [`NetdevError::Refused`] with the kernel's reason.
    pub fn change(&mut self, link: &Link, change: Change) -> Result<(), NetdevError> {
        let message = change.message(link.index);
        // The data of ports is taken by RTM_NEWLINK alone (kernel, net/core/rtnetlink.c).
        let request = match change {
            Change::Isolated(_) => RouteNetlinkMessage::NewLink(message),
            _ => RouteNetlinkMessage::SetLink(message),
        };
        let done = self.call(request, NLM_F_ACK).map(drop);
        done.map_err(|error| NetdevError::refused(change.words(), &link.name, error))
    }

    /// Removes the device of this number, which was called so. That it is gone already is no error.
    ///
    /// # Errors
    /// As [`Links::change`].
    pub fn remove(&mut self, index: u32, name: &str) -> Result<(), NetdevError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        match self.call(RouteNetlinkMessage::DelLink(message), NLM_F_ACK) {
            Err(error) if error.raw_os_error() != Some(ENODEV) => Err(NetdevError::refused("remove", name, error)),
            _ => Ok(()),
        }
    }

    /// Asks and waits for the end of the answer.
    fn call(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<LinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(request));
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut found = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            if self.take(&datagram, &mut found)? {
                return Ok(found);
            }
        }
    }

    /// Reads the messages of a datagram; whether the answer is complete.
    fn take(&self, mut datagram: &[u8], found: &mut Vec<LinkMessage>) -> io::Result<bool> {
        while !datagram.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram).map_err(io::Error::other)?;
            // Messages begin at multiples of four (netlink(7)).
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).max(1).next_multiple_of(4);
            datagram = datagram.get(length..).unwrap_or_default();
            // Of a request before, whose caller did not wait.
            if message.header.sequence_number != self.sequence {
                continue;
            }
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => found.push(link),
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(true),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::Overrun(_) => return Err(io::Error::other("the kernel lost part of its answer")),
                _ => {}
            }
        }
        Ok(false)
    }
}

fn read(message: LinkMessage) -> Link {
    let mut link =
        Link { index: message.header.index, up: message.header.flags.contains(LinkFlags::Up), ..Link::default() };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(bytes) => link.mtu = bytes,
            LinkAttribute::Address(address) => link.mac = address.try_into().ok(),
            LinkAttribute::Controller(index) => link.master = Some(index),
            LinkAttribute::Stats64(counters) => link.counters = counters.into(),
            LinkAttribute::LinkInfo(about) => about.into_iter().for_each(|it| take_info(&mut link, it)),
            _ => {}
        }
    }
    link
}

fn take_info(link: &mut Link, info: LinkInfo) {
    match info {
        LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
        LinkInfo::PortData(InfoPortData::BridgePort(about)) => {
            link.isolated = about.iter().any(|it| matches!(it, InfoBridgePort::Isolated(true)));
        }
        _ => {}
    }
}
