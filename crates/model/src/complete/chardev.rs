//! Completion of character devices: what is behind them, and their port numbers.

use crate::chardev::{
    CharBackend, CharMode, CharProtocol, CharSource, Console, ConsoleTarget, ConsoleTargetType, Protocol, Serial,
    SerialTargetType,
};
use crate::devices::Devices;

pub(super) fn complete(devices: &mut Devices, machine: bool) {
    backends(devices);
    if machine {
        consoles(devices);
    }
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

/// The first console of a machine and its first serial port are one and the same device, written twice. Nobody sits at a port
/// on PCI or USB or for debugging, unless a console is written.
fn consoles(devices: &mut Devices) {
    let serial_console = |console: &Console| {
        matches!(console.target.as_ref().and_then(|target| target.kind), None | Some(ConsoleTargetType::Serial))
    };
    let first = devices.consoles.first().filter(|console| serial_console(console));
    if devices.serials.is_empty()
        && let Some(console) = first
    {
        let mut serial = Serial::default().with_kind(console.kind.unwrap_or(CharBackend::Pty));
        serial.backend = console.backend.clone();
        serial.info = console.info.clone();
        devices.serials.push(serial);
    }
    let has_console = first.is_some();
    let terminal = first.and_then(|console| console.tty.clone());
    serial_ports(devices);
    let Some(serial) = devices.serials.first() else { return };
    let target = serial.target.as_ref();
    let elsewhere = target.and_then(|target| target.kind);
    if !has_console
        && matches!(
            elsewhere,
            Some(SerialTargetType::PciSerial | SerialTargetType::UsbSerial | SerialTargetType::IsaDebug)
        )
    {
        return;
    }
    let port = target.and_then(|target| target.port).unwrap_or(0);
    let console = Console {
        kind: serial.kind,
        tty: terminal.or_else(|| serial.tty.clone()),
        backend: serial.backend.clone(),
        target: Some(ConsoleTarget::default().with_kind(ConsoleTargetType::Serial).with_port(port)),
        info: serial.info.clone(),
    };
    if has_console {
        devices.consoles[0] = console;
    } else {
        // Before consoles of other kinds: what the first console is, is the serial port's wherever there is one.
        devices.consoles.insert(0, console);
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
    serial_ports(devices);
    number(devices.parallels.iter_mut().map(|device| &mut device.target.get_or_insert_default().port).collect());
    // A console's number is its place, but the first may be a serial port's.
    for (port, console) in (0..).zip(&mut devices.consoles) {
        let target = console.target.get_or_insert_default();
        if port > 0 || target.port.is_none() {
            target.port = Some(port);
        }
    }
}

fn serial_ports(devices: &mut Devices) {
    number(devices.serials.iter_mut().map(|device| &mut device.target.get_or_insert_default().port).collect());
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

#[cfg(test)]
mod tests {
    use polyvirt_xml::ParseOptions;

    use super::*;
    use crate::DomainConfig;

    fn consoles_of(devices: &str, machine: bool) -> (usize, Vec<Option<ConsoleTargetType>>) {
        let text = format!("<domain type='kvm'><name>a</name><devices>{devices}</devices></domain>");
        let mut devices = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config.devices;
        complete(&mut devices, machine);
        let once = devices.clone();
        complete(&mut devices, machine);
        assert_eq!(devices, once);
        (devices.serials.len(), devices.consoles.iter().map(|it| it.target.as_ref().and_then(|it| it.kind)).collect())
    }

    #[test]
    fn the_first_serial_port_of_a_machine_is_its_console() {
        let (serial, virtio) = (Some(ConsoleTargetType::Serial), Some(ConsoleTargetType::Virtio));
        assert_eq!(consoles_of("<serial type='pty'/>", true), (1, vec![serial]));
        assert_eq!(consoles_of("<console type='pty'/>", true), (1, vec![serial]));
        assert_eq!(consoles_of("<console type='pty'/>", false), (0, vec![None]));
        let own = "<serial type='pty'/><console type='pty'><target type='virtio'/></console>";
        assert_eq!(consoles_of(own, true), (1, vec![serial, virtio]));
        let debug = own.replace("<serial type='pty'/>", "<serial type='pty'><target type='isa-debug'/></serial>");
        assert_eq!(consoles_of(&debug, true), (1, vec![virtio]));
        let usb = "<serial type='pty'><target type='usb-serial'/></serial>";
        assert_eq!(consoles_of(usb, true), (1, vec![]));
        assert_eq!(consoles_of(&format!("{usb}<console type='pty'/>"), true), (1, vec![serial]));
    }

    #[test]
    fn the_console_has_port_and_address_of_the_serial_port() {
        let text = "<domain type='kvm'><name>a</name><devices><serial type='pty'><target port='1'/>
            <address type='spapr-vio' reg='0x30000000'/></serial><console type='pty'/></devices></domain>";
        let mut devices = DomainConfig::parse(text, &ParseOptions::default()).unwrap().config.devices;
        complete(&mut devices, true);
        assert_eq!(devices.consoles[0].info, devices.serials[0].info);
        assert!(devices.consoles[0].info.address.is_some());
        assert_eq!(devices.consoles[0].target.as_ref().unwrap().port, Some(1));
    }
}
