//! What a card is connected to.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::interface::{Interface, InterfaceBackendType, InterfaceDriverName, InterfaceKind, IpFamily, SourceMode},
};
use serde_json::json;

use super::super::{
    Args, HandedTap, Input, SHOWN_DESCRIPTOR, alias, chardev,
    option::{Members, Opts},
};

pub(super) fn id(card: &Interface) -> String {
    format!("host{}", alias::of(&card.info))
}

/// Whether several queues reach this far.
pub(super) fn has_queues(card: &Interface) -> bool {
    use InterfaceKind::{Bridge, Direct, Ethernet, Network, Vdpa, VhostUser};
    matches!(card.kind, Some(Network | Bridge | Direct | Ethernet | VhostUser | Vdpa))
}

/// A device to open taps with is of use only to what has a tap.
pub(super) fn check_tap(card: &Interface, path: &str) -> Result<()> {
    use InterfaceKind::{Bridge, Direct, Ethernet, Network};
    let given = card.backend.as_ref().and_then(|it| it.tap.as_ref());
    if given.is_none() || matches!(card.kind, Some(Network | Bridge | Direct | Ethernet)) {
        return Ok(());
    }
    let kind = card.kind.map_or("", InterfaceKind::as_str);
    let problem = format!("an interface of type '{kind}' has no tap, so 'tap' means nothing; leave it out");
    Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{path}/backend/@tap")))
}

pub(super) fn add(
    args: &mut Args,
    input: &Input<'_>,
    card: &Interface,
    handed: Option<&HandedTap>,
    path: &str,
) -> Result<()> {
    let members = match card.kind {
        Some(InterfaceKind::User) => user(card, input),
        Some(InterfaceKind::Ethernet | InterfaceKind::Network | InterfaceKind::Bridge | InterfaceKind::Direct) => {
            match handed {
                Some(tap) => handed_tap(card, tap),
                None => shown_tap(card),
            }
        }
        Some(InterfaceKind::VhostUser) => vhost_user(args, card, input, path)?,
        Some(InterfaceKind::Vdpa) => {
            let device = args.descriptors(&format!("{}-vdpa", alias::of(&card.info)));
            let queues = card.driver.as_ref().and_then(|it| it.queues).filter(|it| *it > 1);
            Members::new("type", "vhost-vdpa").with("vhostdev", device).maybe("queues", queues)
        }
        Some(InterfaceKind::Client) => socket("connect", card),
        Some(InterfaceKind::Server) => socket("listen", card),
        Some(InterfaceKind::Mcast) => socket("mcast", card),
        Some(InterfaceKind::Udp) => {
            let local = card.source.as_ref().and_then(|it| it.local.as_ref());
            let host = local.and_then(|it| it.address.as_deref()).unwrap_or_default();
            let port = local.and_then(|it| it.port).unwrap_or(0);
            socket("udp", card).with("localaddr", format!("{host}:{port}"))
        }
        Some(InterfaceKind::Null) => return Ok(()),
        other => {
            let kind = other.map_or("", InterfaceKind::as_str);
            let problem = format!("an interface of type '{kind}' cannot be had; use 'user', 'bridge' or 'ethernet'");
            return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{path}/@type")));
        }
    };
    let members = members.with("id", id(card));
    // Kinds with lists are JSON in every release that takes JSON here (7.0).
    let json = input.binary.version.major() >= 7;
    args.add("-netdev", if json { members.build() } else { flat(members) });
    Ok(())
}

/// The form of releases before JSON.
fn flat(members: Members) -> String {
    let kind = members.text("type").unwrap_or_default().to_owned();
    let mut opts = Opts::new(&kind);
    if let serde_json::Value::Object(all) = members.without("type").value() {
        for (name, value) in all {
            opts = match value {
                serde_json::Value::Bool(on) => opts.switch(&name, on),
                serde_json::Value::String(text) => opts.with(&name, text),
                other => opts.with(&name, other),
            };
        }
    }
    opts.build()
}

/// The user's network: QEMU's own, or passt's, which somebody starts and which then listens.
fn user(card: &Interface, input: &Input<'_>) -> Members {
    if card.backend.as_ref().and_then(|it| it.kind) == Some(InterfaceBackendType::Passt) {
        let path = input.passt(alias::of(&card.info));
        let (name, delay) = if input.binary.has_path("netdev_add/+stream/reconnect-ms") {
            ("reconnect-ms", 5000)
        } else {
            ("reconnect", 5)
        };
        let reconnect = input.binary.has_path("netdev_add/+stream/reconnect")
            || input.binary.has_path("netdev_add/+stream/reconnect-ms");
        return Members::new("type", "stream")
            .with("addr", json!({"type": "unix", "path": path}))
            .with("server", false)
            .maybe(name, reconnect.then_some(delay));
    }
    let mut members = Members::new("type", "user");
    for ip in &card.ip {
        let Some(address) = ip.address else { continue };
        members = match ip.family {
            Some(IpFamily::Ipv6) => members.with("ipv6-prefix", address.to_string()).maybe("ipv6-prefixlen", ip.prefix),
            _ => {
                let net = ip.prefix.map_or_else(|| address.to_string(), |prefix| format!("{address}/{prefix}"));
                members.with("net", net)
            }
        };
    }
    members
}

/// A tap that will be opened by whoever starts the guest, with a queue each.
fn shown_tap(card: &Interface) -> Members {
    let queues = vec![SHOWN_DESCRIPTOR.to_string(); usize::try_from(super::queues(card)).unwrap_or(1)];
    let by_qemu = card.driver.as_ref().and_then(|it| it.name) == Some(InterfaceDriverName::Qemu);
    let vhost = if super::virtio(card).is_some() && !by_qemu { queues.clone() } else { Vec::new() };
    handed_tap(card, &HandedTap { card: 0, queues, vhost })
}

/// A tap that was opened.
fn handed_tap(card: &Interface, tap: &HandedTap) -> Members {
    let plural = if tap.queues.len() > 1 { "s" } else { "" };
    let list = |all: &[String]| all.join(":");
    let vhost = !tap.vhost.is_empty();
    Members::new("type", "tap")
        .with(&format!("fd{plural}"), list(&tap.queues))
        .maybe("vhost", vhost.then_some(true))
        .maybe(&format!("vhostfd{plural}"), vhost.then(|| list(&tap.vhost)))
        .maybe("sndbuf", card.tune.as_ref().and_then(|it| it.sndbuf))
}

fn vhost_user(args: &mut Args, card: &Interface, input: &Input<'_>, path: &str) -> Result<Members> {
    let name = format!("char{}", alias::of(&card.info));
    let source = card.source.as_ref();
    let opts = Opts::new("socket").with("id", &name);
    let opts = if card.backend.as_ref().and_then(|it| it.kind) == Some(InterfaceBackendType::Passt) {
        chardev::reconnect(opts.with("path", input.passt(alias::of(&card.info))), Some(5), input)
    } else {
        let Some(socket) = source.and_then(|it| it.path.as_deref()) else {
            let problem = "a vhost-user interface needs the path of a socket";
            return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", format!("{path}/source/@path")));
        };
        let opts = opts.with("path", socket);
        if source.and_then(|it| it.mode) == Some(SourceMode::Server) {
            opts.switch("server", true)
        } else {
            let again = source.and_then(|it| it.reconnect.as_ref()).filter(|it| it.enabled != Some(false));
            chardev::reconnect(opts, again.and_then(|it| it.timeout), input)
        }
    };
    args.add("-chardev", opts.build());
    let queues = card.driver.as_ref().and_then(|it| it.queues).filter(|it| *it > 1);
    Ok(Members::new("type", "vhost-user").with("chardev", name).maybe("queues", queues))
}

fn socket(what: &str, card: &Interface) -> Members {
    let source = card.source.as_ref();
    let host = source.and_then(|it| it.address.as_deref()).unwrap_or_default();
    let port = source.and_then(|it| it.port).unwrap_or(0);
    Members::new("type", "socket").with(what, format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::{DomainConfig, ParseOptions};

    fn guest(cards: &str) -> DomainConfig {
        let text = format!("<domain type='qemu'><name>a</name><devices>{cards}</devices></domain>");
        DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config
    }

    #[test]
    fn each_queue_has_its_descriptor() {
        let config = guest("<interface type='bridge'><tune><sndbuf>9</sndbuf></tune></interface>");
        let words = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        let tap = |queues: &[&str], vhost: &[&str]| {
            let tap = HandedTap { card: 0, queues: words(queues), vhost: words(vhost) };
            handed_tap(&config.devices.interfaces[0], &tap).build()
        };
        assert_eq!(tap(&["4"], &[]), r#"{"fd":"4","sndbuf":9,"type":"tap"}"#);
        let many = r#"{"fds":"4:5","sndbuf":9,"type":"tap","vhost":true,"vhostfds":"6:7"}"#;
        assert_eq!(tap(&["4", "5"], &["6", "7"]), many);
    }

    #[test]
    fn cables_that_are_out_are_known_by_their_cards_names() {
        let config = guest(
            "<interface type='user'><link state='down'/><alias name='ua-a'/></interface>\
             <interface type='user'><link state='up'/><alias name='ua-b'/></interface>\
             <interface type='hostdev'><link state='down'/><alias name='ua-c'/></interface>",
        );
        assert_eq!(super::super::unplugged(&config).collect::<Vec<_>>(), ["ua-a"]);
    }
}
