//! Ports of USB devices that name none. They are given anew at every start, so a definition does not keep them. Pure.
//!
//! Controllers are filled in order, their own ports before those of hubs on them; where there are fewer ports than
//! devices, hubs are added. Source: a USB hub of QEMU has eight ports (`hw/usb/dev-hub.c`).

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        DomainConfig,
        address::{Address, DeviceInfo, UsbAddress, UsbPort},
        chardev::SerialTargetType,
        controller::{Controller, ControllerKind, ControllerModel},
        disk::DiskBus,
        display::{InputBus, InputKind, SoundModel},
        hostdev::Hostdev,
        misc::{Hub, HubType},
    },
};

use super::storage::disk::disk_bus;

const HUB_PORTS: usize = 8;

/// Deepest port, `1.2.3.4`: USB 2.0, section 4.1.1, less the hub on the board.
const DEPTH: usize = 4;

/// Ports of a controller or hub: what is in each.
#[derive(Debug)]
struct Ports(Vec<Port>);

#[derive(Debug)]
enum Port {
    Free,
    Taken,
    Hub(Ports),
}

impl Ports {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| Port::Free).collect())
    }

    /// Takes a port that a definition names; what is not there is QEMU's to refuse.
    fn take(&mut self, path: &[u8], hub: bool) {
        let Some((first, rest)) = path.split_first() else { return };
        let Some(port) = usize::from(*first).checked_sub(1).and_then(|it| self.0.get_mut(it)) else { return };
        match (rest, port) {
            ([], port) => *port = if hub { Port::Hub(Self::new(HUB_PORTS)) } else { Port::Taken },
            (rest, Port::Hub(below)) => below.take(rest, hub),
            _ => {}
        }
    }

    /// The first free port: here, else on a hub.
    fn find(&mut self, hub: bool, depth: usize) -> Option<Vec<u8>> {
        if let Some(at) = self.0.iter().position(|it| matches!(it, Port::Free)) {
            self.0[at] = if hub { Port::Hub(Self::new(HUB_PORTS)) } else { Port::Taken };
            return Some(vec![u8::try_from(at + 1).ok()?]);
        }
        if depth == DEPTH {
            return None;
        }
        self.0.iter_mut().enumerate().find_map(|(at, port)| match port {
            Port::Hub(below) => {
                let mut path = vec![u8::try_from(at + 1).ok()?];
                path.extend(below.find(hub, depth + 1)?);
                Some(path)
            }
            _ => None,
        })
    }
}

/// How many ports a controller has; `None` if no device sits on it, or on its master.
fn ports(controller: &Controller) -> Option<usize> {
    match controller.model? {
        ControllerModel::None => None,
        model if model.is_companion() => None,
        ControllerModel::Ehci | ControllerModel::Ich9Ehci1 => Some(6),
        ControllerModel::QemuXhci | ControllerModel::NecXhci => {
            Some(controller.ports.and_then(|it| usize::try_from(it).ok()).unwrap_or(4).min(255))
        }
        ControllerModel::PciOhci => Some(3),
        _ => Some(2),
    }
}

/// Gives ports to all devices, and hubs if there are too few.
///
/// # Errors
/// `InvalidConfig` for a bus that no controller has.
pub(super) fn assign(config: &mut DomainConfig) -> Result<()> {
    let mut buses: Vec<(u32, Ports)> = Vec::new();
    for it in config.devices.controllers.iter().filter(|it| it.kind == Some(ControllerKind::Usb)) {
        let index = it.index.unwrap_or(0);
        if let Some(count) = ports(it).filter(|_| buses.iter().all(|bus| bus.0 != index)) {
            buses.push((index, Ports::new(count)));
        }
    }
    buses.sort_by_key(|it| it.0);
    if buses.is_empty() {
        return Ok(());
    }
    add_hubs(config, &buses);
    let all = devices(config);
    for (hub, info) in &all {
        if let Some(Address::Usb(at)) = &info.address {
            let index = at.bus.unwrap_or(0);
            let Some(bus) = buses.iter_mut().find(|it| it.0 == index) else {
                let problem = format!("USB bus {index} is asked for, and no controller has that index; add one");
                return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", "/domain/devices"));
            };
            if let Some(port) = given(at) {
                bus.1.take(port.path(), *hub);
            }
        }
    }
    for (hub, info) in all {
        let wanted = match &info.address {
            None => None,
            Some(Address::Usb(at)) if given(at).is_none() => Some(at.bus.unwrap_or(0)),
            Some(_) => continue,
        };
        let found = buses
            .iter_mut()
            .filter(|it| wanted.is_none_or(|index| it.0 == index))
            .find_map(|(index, ports)| Some((*index, UsbPort::of_path(&ports.find(hub, 1)?)?)));
        if let Some((index, port)) = found {
            let mut at = UsbAddress::default();
            at.bus = Some(index);
            at.port = Some(port);
            info.address = Some(Address::Usb(at));
        }
    }
    Ok(())
}

/// The port of an address; 0 is any.
fn given(at: &UsbAddress) -> Option<&UsbPort> {
    at.port.as_ref().filter(|it| it.path().first().is_some_and(|first| *first > 0))
}

fn add_hubs(config: &mut DomainConfig, buses: &[(u32, Ports)]) {
    let hubs = config.devices.hubs.iter().filter(|it| it.kind == Some(HubType::Usb)).count();
    let there = buses.iter().map(|it| it.1.0.len()).sum::<usize>() + hubs * (HUB_PORTS - 1);
    let wanted = devices(config).iter().filter(|(hub, _)| !hub).count();
    if wanted <= there {
        return;
    }
    for _ in 0..(wanted - there + 1).div_ceil(HUB_PORTS - 1) {
        let mut hub = Hub::default();
        hub.kind = Some(HubType::Usb);
        config.devices.hubs.push(hub);
    }
}

/// Everything that sits on USB, in the order in which ports are given; and whether it is a hub.
fn devices(config: &mut DomainConfig) -> Vec<(bool, &mut DeviceInfo)> {
    let devices = &mut config.devices;
    let mut all: Vec<(bool, &mut DeviceInfo)> = Vec::new();
    all.extend(devices.hubs.iter_mut().map(|it| (true, &mut it.info)));
    all.extend(devices.hostdevs.iter_mut().filter_map(|it| match it {
        Hostdev::Usb(it) => Some((false, &mut it.info)),
        _ => None,
    }));
    let disks = devices.disks.iter_mut().filter(|it| disk_bus(it) == DiskBus::Usb);
    all.extend(disks.map(|it| (false, &mut it.info)));
    let cards = devices.interfaces.iter_mut().filter(|it| it.model.as_ref().is_some_and(|it| it.kind == "usb-net"));
    all.extend(cards.map(|it| (false, &mut it.info)));
    let readers = devices.controllers.iter_mut().filter(|it| it.kind == Some(ControllerKind::Ccid));
    all.extend(readers.map(|it| (false, &mut it.info)));
    let inputs =
        devices.inputs.iter_mut().filter(|it| it.bus == Some(InputBus::Usb) && it.kind != Some(InputKind::Evdev));
    all.extend(inputs.map(|it| (false, &mut it.info)));
    let serials = devices
        .serials
        .iter_mut()
        .filter(|it| it.target.as_ref().and_then(|it| it.kind) == Some(SerialTargetType::UsbSerial));
    all.extend(serials.map(|it| (false, &mut it.info)));
    let sounds = devices.sounds.iter_mut().filter(|it| it.model == Some(SoundModel::Usb));
    all.extend(sounds.map(|it| (false, &mut it.info)));
    all.extend(devices.redirdevs.iter_mut().map(|it| (false, &mut it.info)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: Option<Vec<u8>>) -> String {
        path.map_or_else(|| "none".into(), |it| it.iter().map(u8::to_string).collect::<Vec<_>>().join("."))
    }

    #[test]
    fn own_ports_come_before_those_of_hubs() {
        let mut ports = Ports::new(2);
        assert_eq!(text(ports.find(true, 1)), "1");
        assert_eq!(text(ports.find(false, 1)), "2");
        assert_eq!(text(ports.find(true, 1)), "1.1");
        ports.take(&[1, 3], false);
        assert_eq!(text(ports.find(false, 1)), "1.2");
        assert_eq!(text(ports.find(false, 1)), "1.4");
        for expected in ["1.5", "1.6", "1.7", "1.8", "1.1.1"] {
            assert_eq!(text(ports.find(false, 1)), expected);
        }
    }

    #[test]
    fn what_is_full_gives_nothing() {
        let mut ports = Ports::new(1);
        assert_eq!(text(ports.find(false, 1)), "1");
        assert_eq!(text(ports.find(false, 1)), "none");
        // Names that are not there change nothing.
        ports.take(&[9], false);
        ports.take(&[1, 1], false);
        ports.take(&[], true);
    }
}
