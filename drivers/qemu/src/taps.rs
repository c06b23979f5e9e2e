//! Taps of a guest's network cards: made, or opened as they are, by us. QEMU inherits their descriptors when it is run, or is handed
//! them over its monitor when a card is plugged in ([`hand`]). So QEMU needs no right to any of it, and whoever starts or changes the
//! guest needs `CAP_NET_ADMIN` for taps that are made.
//!
//! Invariant: once QEMU has them nobody else has. A tap that was made here ends with the card or with QEMU, whoever killed it and
//! whether or not anybody of ours is left; nothing has to be found or removed.

mod hand;

use std::{fs::OpenOptions, os::fd::OwnedFd, path::Path};

use polyvirt_core::{
    DeviceRef, Error, ErrorKind, LiveEffect, Result,
    model::{
        DomainConfig, DomainKind,
        interface::{Interface, InterfaceDriverName, InterfaceKind, MacAddress},
    },
};
use polyvirt_netdev::{NetdevError, TUN, Tap, TapRequest};
use polyvirt_process::KeptFd;

pub(crate) use hand::{Handed, forget, named, remove};

use crate::{
    command::{HandedTap, net},
    runnable::Wrong,
};

/// The first descriptor after the standard streams and the monitor.
const FIRST: i32 = 4;

/// The largest descriptor that a guest's process may inherit.
const LAST: i32 = 1023;

/// The device node by which the kernel serves queues.
const VHOST_NET: &str = "/dev/vhost-net";

/// First octet of the address of a tap that was made: its own address must not be the guest's, and a bridge takes the lowest of its
/// ports' addresses, so it keeps its own.
const OWN_OCTET: u8 = 0xfe;

/// The taps of one guest.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    cards: Vec<CardTap>,
}

#[derive(Debug)]
struct CardTap {
    /// The card's place in the definition, from 0.
    card: usize,
    /// What was made for it.
    made: Option<Made>,
    queues: Vec<OwnedFd>,
    vhost: Vec<OwnedFd>,
}

/// A tap that was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// The card's place in the definition, from 0.
    pub(crate) card: usize,
    /// Its name.
    pub(crate) name: String,
    /// Its number.
    index: u32,
}

/// The number under which QEMU inherits the descriptor at this position.
fn number(position: usize) -> i32 {
    i32::try_from(position).unwrap_or(i32::MAX).saturating_add(FIRST)
}

impl Taps {
    /// The numbers under which QEMU inherits them.
    pub(crate) fn inherited(&self) -> Vec<HandedTap> {
        self.handed(|position| number(position).to_string())
    }

    /// What QEMU knows their descriptors by, if it knows each by its position.
    fn handed(&self, word: impl Fn(usize) -> String) -> Vec<HandedTap> {
        let mut words = (0..).map(word);
        let mut take = |all: &[OwnedFd]| words.by_ref().take(all.len()).collect();
        let handed = |it: &CardTap| HandedTap { card: it.card, queues: take(&it.queues), vhost: take(&it.vhost) };
        self.cards.iter().map(handed).collect()
    }

    /// The descriptors, each at its position.
    fn descriptors(self) -> impl Iterator<Item = OwnedFd> {
        self.cards.into_iter().flat_map(|it| it.queues.into_iter().chain(it.vhost))
    }

    /// Those that were made.
    pub(crate) fn made(&self) -> Vec<Made> {
        self.cards.iter().filter_map(|it| it.made.clone()).collect()
    }

    /// Writes the names of those that were made into the definition, and says them.
    pub(crate) fn name_in(&self, config: &mut DomainConfig) -> Vec<LiveEffect> {
        let effects = self.made().into_iter().map(|Made { card, name, .. }| {
            if let Some(card) = config.devices.interfaces.get_mut(card) {
                card.target.get_or_insert_default().dev = Some(name.clone());
            }
            LiveEffect::NetworkDevice { device: DeviceRef::new("interface", card), name }
        });
        effects.collect()
    }

    /// The descriptors under their numbers.
    pub(crate) fn keep(self) -> impl Iterator<Item = KeptFd> {
        self.descriptors().enumerate().map(|(position, fd)| KeptFd::new(fd, number(position)))
    }
}

/// What of a card on a bridge or with a tap is not carried out.
pub(crate) fn refusal(card: &Interface) -> Option<Wrong> {
    let target = card.target.as_ref();
    let made = !is_theirs(card);
    if card.kind == Some(InterfaceKind::Bridge) && bridge(card).is_none() {
        return Some(("/source/@bridge", "a bridge of the host is needed; write <source bridge='br0'/>".into()));
    }
    if !made && target.is_none_or(|it| it.dev.is_none()) {
        return Some(("/target/@dev", "a tap that exists has a name; write <target dev='tap0' managed='no'/>".into()));
    }
    if let Some(MacAddress([OWN_OCTET, rest @ ..])) = card.mac.as_ref().map(|it| it.address)
        && made
    {
        let free = MacAddress([0x52, 0x54, 0, rest[2], rest[3], rest[4]]);
        let problem = format!("addresses with fe in front are those of the host's end; write one like {free}");
        return Some(("/mac/@address", problem));
    }
    let named =
        |it: &Option<polyvirt_core::model::interface::Script>| it.as_ref().is_some_and(|it| !it.path.is_empty());
    if named(&card.script) || named(&card.downscript) {
        let problem = "scripts are not run; prepare the tap yourself and write <target dev='tap0' managed='no'/>, or use 'bridge'";
        return Some((if named(&card.script) { "/script" } else { "/downscript" }, problem.into()));
    }
    if card.filterref.is_some() {
        return Some(("/filterref", "packet filters are not applied yet; filter on the host and leave it out".into()));
    }
    if card.virtualport.is_some() {
        return Some((
            "/virtualport",
            "switches other than the kernel's bridge are not joined yet; leave it out".into(),
        ));
    }
    card.vlan.as_ref().map(|_| {
        (
            "/vlan",
            "VLANs of ports are not set yet; set them on a tap of yours (`bridge vlan add`), or use a bridge for each"
                .into(),
        )
    })
}

/// Opens what the definition asks for, for the cards that `whose` says.
///
/// # Errors
/// Which card it is and what is missing; then everything is closed again.
pub(crate) fn open(config: &DomainConfig, whose: impl Fn(&Interface) -> bool) -> Result<Taps> {
    let mut taps = Taps::default();
    let mut count = 0;
    for (at, card) in config.devices.interfaces.iter().enumerate() {
        if !wanted(card) || !whose(card) {
            continue;
        }
        let path = format!("/domain/devices/interface[{}]", at + 1);
        let tap = open_tap(card, &path)?;
        let vhost = open_vhost(card, config.kind, tap.queues.len(), &path)?;
        count += tap.queues.len() + vhost.len();
        let made = (!is_theirs(card)).then_some(Made { card: at, name: tap.name, index: tap.index });
        taps.cards.push(CardTap { card: at, made, queues: tap.queues, vhost });
        if number(count) > LAST + 1 {
            let problem = format!("the network cards have more than {} queues in all", LAST + 1 - FIRST);
            return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{path}/driver/@queues")));
        }
    }
    Ok(taps)
}

/// Whether a card has a tap.
pub(crate) fn wanted(card: &Interface) -> bool {
    matches!(card.kind, Some(InterfaceKind::Bridge | InterfaceKind::Ethernet))
}

/// Whether the tap exists and is used as it is.
fn is_theirs(card: &Interface) -> bool {
    card.kind == Some(InterfaceKind::Ethernet) && card.target.as_ref().is_some_and(|it| it.managed == Some(false))
}

pub(crate) fn bridge(card: &Interface) -> Option<&str> {
    let source = card.source.as_ref().filter(|_| card.kind == Some(InterfaceKind::Bridge));
    source.and_then(|it| it.bridge.as_deref()).filter(|it| !it.is_empty())
}

fn open_tap(card: &Interface, path: &str) -> Result<Tap> {
    let node = card.backend.as_ref().and_then(|it| it.tap.as_deref()).unwrap_or(TUN);
    let name = card.target.as_ref().and_then(|it| it.dev.as_deref());
    let (queues, vnet_header) = (net::queues(card), net::virtio(card).is_some());
    let opened = if is_theirs(card) {
        Tap::open(Path::new(node), name.unwrap_or_default(), queues, vnet_header)
    } else {
        let request = TapRequest {
            // A name of a run before was not chosen by anybody, and may be another's by now.
            name: name.filter(|it| !it.is_empty() && !polyvirt_netdev::is_generated(it)),
            queues,
            vnet_header,
            mac: card.mac.as_ref().map(|it| own_address(it.address)),
            mtu: card.mtu.as_ref().map(|it| it.size),
            bridge: bridge(card),
            isolated: card.port.as_ref().and_then(|it| it.isolated) == Some(true),
        };
        Tap::make(Path::new(node), &request)
    };
    opened.map_err(|error| explain(&error, path))
}

/// The address of the host's end.
fn own_address(MacAddress([_, rest @ ..]): MacAddress) -> [u8; 6] {
    let [a, b, c, d, e] = rest;
    [OWN_OCTET, a, b, c, d, e]
}

pub(crate) fn explain(error: &NetdevError, path: &str) -> Error {
    let (kind, place) = match error {
        NetdevError::Missing { bridge: true, .. } | NetdevError::Kind { wanted: "bridge", .. } => {
            (ErrorKind::NotFound, "/source/@bridge")
        }
        NetdevError::Missing { .. } | NetdevError::Kind { .. } => (ErrorKind::NotFound, "/target/@dev"),
        NetdevError::Name { .. } => (ErrorKind::InvalidConfig, "/target/@dev"),
        NetdevError::Taken { .. } => (ErrorKind::AlreadyExists, "/target/@dev"),
        NetdevError::Busy { .. } => (ErrorKind::Busy, "/target/@dev"),
        NetdevError::Denied { .. } => (ErrorKind::Denied, ""),
        NetdevError::Node { .. } => (ErrorKind::Unsupported, "/backend/@tap"),
        _ => (ErrorKind::Hypervisor, ""),
    };
    let told = Error::new(kind, error.to_string()).with("path", format!("{path}{place}"));
    match error.remedy() {
        Some(remedy) => told.hint(remedy),
        None => told,
    }
}

/// One descriptor a queue where the kernel serves the card: with KVM wherever it can, else if the definition says so.
fn open_vhost(card: &Interface, kind: DomainKind, queues: usize, path: &str) -> Result<Vec<OwnedFd>> {
    let name = card.driver.as_ref().and_then(|it| it.name);
    let demanded = name == Some(InterfaceDriverName::Vhost);
    let wanted = demanded || name.is_none() && kind == DomainKind::Kvm;
    if !wanted || net::virtio(card).is_none() {
        return Ok(Vec::new());
    }
    let node = card.backend.as_ref().and_then(|it| it.vhost.as_deref()).unwrap_or(VHOST_NET);
    let open = || OpenOptions::new().read(true).write(true).open(node).map(OwnedFd::from);
    match (0..queues).map(|_| open()).collect() {
        Ok(all) => Ok(all),
        Err(error) if demanded => {
            let problem = format!("the kernel does not serve network cards: cannot open {node}: {error}");
            Err(Error::new(ErrorKind::Unsupported, problem)
                .with("path", format!("{path}/driver/@name"))
                .hint("load it: modprobe vhost_net; or let QEMU do it: <driver name='qemu'/>"))
        }
        Err(error) => {
            tracing::debug!(node, %error, "QEMU serves the network card itself");
            Ok(Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    #[test]
    fn the_hosts_end_has_an_address_of_its_own() {
        assert_eq!(own_address(MacAddress([0x52, 0x54, 0, 1, 2, 3])), [0xfe, 0x54, 0, 1, 2, 3]);
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let missing = NetdevError::Missing { name: "br9".into(), bridge: true };
        let error = explain(&missing, "/domain/devices/interface[2]");
        assert_eq!(error.fact("path"), Some("/domain/devices/interface[2]/source/@bridge"));
        assert!(error.remedy().is_some_and(|it| it.contains("ip link add br9 type bridge")), "{error}");
    }

    #[test]
    fn vhost_that_is_demanded_is_not_left_out_silently() {
        let text = |name: &str| {
            format!(
                "<domain type='kvm'><name>a</name><devices><interface type='ethernet'><model type='virtio'/>{name}\
                 <backend vhost='/nowhere/vhost'/></interface></devices></domain>"
            )
        };
        let open = |name: &str| {
            let config = DomainConfig::parse(&text(name), &ParseOptions::default()).unwrap().config;
            open_vhost(&config.devices.interfaces[0], config.kind, 1, "/p")
        };
        let error = open("<driver name='vhost'/>").unwrap_err();
        assert!(error.to_string().contains("/nowhere/vhost"), "{error}");
        assert!(open("").unwrap().is_empty() && open("<driver name='qemu'/>").unwrap().is_empty());
    }
}
