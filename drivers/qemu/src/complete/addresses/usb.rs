//! Ports of USB: which there are, and who is at which. Free ones are left to QEMU.
//!
//! Ports by controller: QEMU's device models (`hw/usb`), of which only xHCI lets the user choose.

use std::collections::{HashMap, HashSet};

use polyvirt_core::model::{
    DomainConfig, Problem,
    address::{Address, UsbPort},
    controller::{Controller, ControllerKind, ControllerModel as M},
};

use super::{
    devices::{Device, List, all, of},
    problem,
};

/// Ports of a hub.
const HUB_PORTS: u32 = 8;
/// Ports at most that an xHCI has.
const MAX_XHCI: u32 = 15;
/// Ports by controller.
const PORTS: &[(M, u32)] = &[
    (M::Piix3Uhci, 2),
    (M::Piix4Uhci, 2),
    (M::Vt82c686bUhci, 2),
    (M::Ehci, 6),
    (M::Ich9Ehci1, 6),
    (M::PciOhci, 3),
    (M::NecXhci, 4),
    (M::QemuXhci, 4),
];

/// Refuses ports that are not there, devices that are at one port, and parts of controllers without the whole.
pub(super) fn check(config: &DomainConfig, found: &mut Vec<Problem>) {
    let controllers: Vec<(Device, &Controller)> = of(config, List::Controller)
        .map(|device| (device, &config.devices.controllers[device.index]))
        .filter(|(_, it)| it.kind == Some(ControllerKind::Usb))
        .collect();
    for (device, controller) in &controllers {
        let path = device.path(&config.devices);
        let index = controller.index.unwrap_or(0);
        let whole = |it: &Controller| it.index.unwrap_or(0) == index && !it.model.is_some_and(M::is_companion);
        if controller.model.is_some_and(M::is_companion) && !controllers.iter().any(|(_, it)| whole(it)) {
            let message = format!("USB controller {index} has only companions; add one of model 'ich9-ehci1'");
            found.push(Problem::error(format!("{path}/@index"), message));
        }
        let xhci = matches!(controller.model, Some(M::NecXhci | M::QemuXhci));
        if let Some(ports) = controller.ports.filter(|ports| xhci && *ports > MAX_XHCI) {
            let message = format!("an xHCI controller with {ports} ports, 1 to {MAX_XHCI} are possible");
            found.push(Problem::error(format!("{path}/@ports"), message));
        }
    }
    ports(config, &controllers, found);
}

fn ports(config: &DomainConfig, controllers: &[(Device, &Controller)], found: &mut Vec<Problem>) {
    let roots: HashMap<u32, u32> = controllers
        .iter()
        .filter(|(_, it)| !it.model.is_some_and(M::is_companion))
        .filter_map(|(_, it)| {
            let known = PORTS.iter().find(|(model, _)| it.model == Some(*model)).map(|(_, ports)| *ports);
            Some((it.index.unwrap_or(0), it.ports.or(known)?))
        })
        .collect();
    let given = |device: Device| match device.info(&config.devices)?.address.as_ref()? {
        Address::Usb(at) => Some((at.bus.unwrap_or(0), at.port.filter(|it| it.path() != [0])?)),
        _ => None,
    };
    let hubs: HashSet<(u32, UsbPort)> = of(config, List::Hub).filter_map(given).collect();
    let mut taken: HashSet<(u32, UsbPort)> = HashSet::new();
    for device in all(config) {
        let Some((bus, port)) = given(device) else { continue };
        if !taken.insert((bus, port)) {
            found.push(problem(config, device, format!("port {port} of USB bus {bus} is another device's already")));
            continue;
        }
        let (last, hub) = match port.path() {
            [] => continue,
            [last] => (*last, None),
            [hub @ .., last] => (*last, Some(hub)),
        };
        let most = match hub {
            None => match roots.get(&bus) {
                Some(ports) => *ports,
                // A bus of a kind that is not known here, or none.
                None => continue,
            },
            Some(hub) if hubs.iter().any(|(of, port)| *of == bus && port.path() == hub) => HUB_PORTS,
            Some(_) => {
                let (hub, _) =
                    port.to_string().rsplit_once('.').map(|(a, b)| (a.to_owned(), b.len())).unwrap_or_default();
                found.push(problem(config, device, format!("there is no hub at port {hub} of USB bus {bus}; add one")));
                continue;
            }
        };
        if u32::from(last) > most {
            let message = format!("USB bus {bus} has no port {port}; the last one there is {most}");
            found.push(problem(config, device, message));
        }
    }
}
