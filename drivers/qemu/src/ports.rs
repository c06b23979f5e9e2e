//! Ports of displays that are chosen at start: the lowest free one, kept free until QEMU listens there.
//!
//! Two starts at the same time, of this process or another, never choose the same: a port that was chosen is bound by us without
//! anybody listening. QEMU binds its own socket with `SO_REUSEADDR` (`util/qemu-sockets.c`), which the kernel allows beside ours
//! and refuses where somebody listens.

use std::{
    collections::HashMap,
    net::{SocketAddr, ToSocketAddrs},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{Mutex, PoisonError},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, setsockopt, socket, sockopt};
use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        DomainConfig,
        display::{Graphics, GraphicsKind, SpiceMode},
    },
};

use crate::{command::graphics, config::Config};

/// Where ports of displays begin (RFC 6143: VNC's display 0).
const DISPLAYS: u16 = 5900;
/// Where those of web sockets begin.
const WEB: u16 = 5700;

/// Ports that are kept for guests which are being started, by the guests' identity.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<HashMap<String, Vec<OwnedFd>>>);

impl Kept {
    fn keep(&self, guest: String, sockets: Vec<OwnedFd>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(guest, sockets);
    }

    /// QEMU has them, or nobody wants them any more.
    pub(crate) fn release(&self, guest: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(guest);
    }
}

/// Writes a port wherever one is to be chosen. Blocks: an address may be a name.
///
/// # Errors
/// `NoResources` if none is free, `InvalidConfig` for an address that is none of this host's.
pub(crate) fn choose(config: &mut DomainConfig, settings: &Config, kept: &Kept, guest: String) -> Result<()> {
    let mut sockets = Vec::new();
    for (at, display) in config.devices.graphics.iter_mut().enumerate() {
        let path = format!("/domain/devices/graphics[{}]", at + 1);
        one(display, settings, &mut sockets).map_err(|error| error.with("path", path))?;
    }
    kept.keep(guest, sockets);
    Ok(())
}

fn one(display: &mut Graphics, settings: &Config, sockets: &mut Vec<OwnedFd>) -> Result<()> {
    let (usual, own_socket) = match display.kind {
        Some(GraphicsKind::Vnc) => (&settings.vnc_listen, settings.vnc_auto_unix_socket),
        Some(GraphicsKind::Spice) => (&settings.spice_listen, settings.spice_auto_unix_socket),
        _ => return Ok(()),
    };
    if !graphics::by_port(display, own_socket) {
        return Ok(());
    }
    let host = graphics::address(display, usual).to_owned();
    let auto = display.autoport == Some(true);
    let wanted = |port: Option<i32>| auto || port.is_none_or(|it| it <= 0);
    let mut free = |first| free(&host, first, sockets).map(i32::from).map(Some);
    if display.kind == Some(GraphicsKind::Vnc) {
        if wanted(display.port) {
            display.port = free(DISPLAYS)?;
        }
        if display.websocket.is_some_and(|it| it <= 0) {
            display.websocket = free(WEB)?;
        }
        return Ok(());
    }
    let secure = settings.spice_tls && display.default_mode != Some(SpiceMode::Insecure);
    // One that gives a port of one kind wants none of the other.
    let any = auto || (display.port.is_none() && display.tls_port.is_none());
    if any && display.default_mode != Some(SpiceMode::Secure) {
        display.port = free(DISPLAYS)?;
    }
    if any && secure {
        display.tls_port = free(DISPLAYS)?;
    }
    Ok(())
}

/// The lowest port from `first` on that nobody has; it is ours then.
fn free(host: &str, first: u16, sockets: &mut Vec<OwnedFd>) -> Result<u16> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let no_address = |why: String| {
        let problem = format!("'{host}' is no address of this host to listen on: {why}");
        Error::new(ErrorKind::InvalidConfig, problem).hint("write <listen type='address' address='127.0.0.1'/>")
    };
    let mut found = (bare, 0).to_socket_addrs().map_err(|error| no_address(error.to_string()))?;
    let mut address = found.next().ok_or_else(|| no_address("it has none".into()))?;
    for port in first..=u16::MAX {
        address.set_port(port);
        match take(address) {
            Ok(taken) => {
                sockets.push(taken);
                return Ok(port);
            }
            Err(nix::Error::EADDRINUSE | nix::Error::EACCES) => {}
            Err(error) => return Err(no_address(error.to_string())),
        }
    }
    Err(Error::new(ErrorKind::NoResources, format!("no port from {first} on is free at '{host}'")))
}

/// Binds a port where nobody else has, then lets QEMU in.
fn take(address: SocketAddr) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let taken = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    match address {
        SocketAddr::V4(address) => bind(taken.as_raw_fd(), &SockaddrIn::from(address))?,
        SocketAddr::V6(address) => bind(taken.as_raw_fd(), &SockaddrIn6::from(address))?,
    }
    setsockopt(&taken, sockopt::ReuseAddr, &true)?;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyvirt_core::model::ParseOptions;

    fn guest(devices: &str) -> DomainConfig {
        let text =
            format!("<domain type='qemu'><name>a</name><memory>1024</memory><devices>{devices}</devices></domain>");
        let mut config = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config;
        polyvirt_core::model::complete(&mut config, polyvirt_core::model::Guest::New, &Default::default()).unwrap();
        config
    }

    #[test]
    fn two_starts_get_different_ports_and_qemu_gets_in() {
        let kept = Kept::default();
        let settings = Config::default();
        let chosen = |name: &str| {
            let mut config =
                guest("<graphics type='vnc' autoport='yes' websocket='-1'/><graphics type='spice' autoport='yes'/>");
            choose(&mut config, &settings, &kept, name.to_owned()).unwrap();
            let displays = &config.devices.graphics;
            [displays[0].port, displays[0].websocket, displays[1].port].map(|it| u16::try_from(it.unwrap()).unwrap())
        };
        let (one, two) = (chosen("one"), chosen("two"));
        assert!(one[0] >= DISPLAYS && one[1] >= WEB && one[2] > one[0], "{one:?}");
        assert!(one.iter().all(|it| !two.contains(it)), "{one:?} {two:?}");
        // The standard library sets SO_REUSEADDR, as QEMU does.
        let qemu = std::net::TcpListener::bind(("127.0.0.1", one[0])).unwrap();
        kept.release("one");
        assert_eq!(take(qemu.local_addr().unwrap()).unwrap_err(), nix::Error::EADDRINUSE);
    }

    #[test]
    fn what_is_given_or_needs_no_port_stays() {
        let settings = Config::default();
        for text in [
            "<graphics type='vnc' port='5977' autoport='no'/>",
            "<graphics type='vnc'><listen type='socket' socket='/s'/></graphics>",
            "<graphics type='spice'><listen type='none'/></graphics>",
            "<graphics type='spice' tlsPort='5999'/>",
        ] {
            let before = guest(text);
            let mut after = before.clone();
            choose(&mut after, &settings, &Kept::default(), "a".into()).unwrap();
            assert_eq!(after.to_xml(), before.to_xml(), "{text}");
        }
        let mut nowhere = guest("<graphics type='vnc'><listen type='address' address='192.0.2.1'/></graphics>");
        let error = choose(&mut nowhere, &settings, &Kept::default(), "a".into()).unwrap_err();
        assert!(error.to_string().contains("'192.0.2.1' is no address of this host"), "{error}");
    }
}
