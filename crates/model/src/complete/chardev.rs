//! Completion of character devices: what is behind them, and their port numbers.

use crate::chardev::{CharBackend, CharMode, CharProtocol, CharSource, Protocol};
use crate::devices::Devices;

pub(super) fn complete(devices: &mut Devices) {
    backends(devices);
    for (kind, backend) in sources(devices) {
        match kind {
            CharBackend::Tcp => tcp(backend),
            CharBackend::Udp => udp(backend),
            CharBackend::Unix => unix(backend),
            _ => {}
        }
    }
    ports(devices);
}

/// A device that does not say what is behind it has a pseudo-terminal.
fn backends(devices: &mut Devices) {
    let serials = devices.serials.iter_mut().map(|device| &mut device.kind);
    let parallels = devices.parallels.iter_mut().map(|device| &mut device.kind);
    let consoles = devices.consoles.iter_mut().map(|device| &mut device.kind);
    let channels = devices.channels.iter_mut().map(|device| &mut device.kind);
    for kind in serials.chain(parallels).chain(consoles).chain(channels) {
        kind.get_or_insert(CharBackend::Pty);
    }
}

fn sources(devices: &mut Devices) -> impl Iterator<Item = (CharBackend, &mut CharSource)> {
    let serials = devices.serials.iter_mut().map(|device| (device.kind, &mut device.backend));
    let parallels = devices.parallels.iter_mut().map(|device| (device.kind, &mut device.backend));
    let consoles = devices.consoles.iter_mut().map(|device| (device.kind, &mut device.backend));
    let channels = devices.channels.iter_mut().map(|device| (device.kind, &mut device.backend));
    let redirected = devices.redirdevs.iter_mut().map(|device| (device.kind, &mut device.backend));
    let smartcards = devices.smartcards.iter_mut().map(|device| (device.kind, &mut device.backend));
    let rngs = devices.rngs.iter_mut().filter_map(|device| device.backend.as_mut());
    let rngs = rngs.map(|backend| (backend.kind, &mut backend.source));
    let all = serials.chain(parallels).chain(consoles).chain(channels).chain(redirected).chain(smartcards).chain(rngs);
    all.filter_map(|(kind, source)| Some((kind?, source)))
}

/// We are the client, and the protocol is none, if nothing is said.
fn tcp(backend: &mut CharSource) {
    for endpoint in &mut backend.source {
        endpoint.mode.get_or_insert(CharMode::Connect);
    }
    backend.protocol.get_or_insert_with(Protocol::default).kind.get_or_insert(CharProtocol::Raw);
}

/// The side that is bound comes first.
fn udp(backend: &mut CharSource) {
    for endpoint in &mut backend.source {
        endpoint.mode.get_or_insert(CharMode::Connect);
    }
    backend.source.sort_by_key(|endpoint| endpoint.mode != Some(CharMode::Bind));
}

/// Without a path there is nothing to say: where the path is drawn at start, we are always the side that binds.
fn unix(backend: &mut CharSource) {
    backend
        .source
        .retain(|endpoint| endpoint.path.is_some() || endpoint.reconnect.is_some() || !endpoint.seclabel.is_empty());
    for endpoint in &mut backend.source {
        endpoint.mode.get_or_insert(CharMode::Connect);
    }
}

/// Devices without a port get the ones after the highest that is given.
fn ports(devices: &mut Devices) {
    number(devices.serials.iter_mut().map(|device| &mut device.target.get_or_insert_default().port).collect());
    number(devices.parallels.iter_mut().map(|device| &mut device.target.get_or_insert_default().port).collect());
    number(devices.consoles.iter_mut().map(|device| &mut device.target.get_or_insert_default().port).collect());
}

fn number(ports: Vec<&mut Option<u32>>) {
    let mut next = ports.iter().filter_map(|port| **port).max().map_or(0, |last| last.saturating_add(1));
    for port in ports {
        if port.is_none() {
            *port = Some(next);
            next = next.saturating_add(1);
        }
    }
}
