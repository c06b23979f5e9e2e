//! Ports of virtio-serial controllers. Port 0 is kept for a console.

use std::collections::BTreeMap;

use polyvirt_core::model::{
    DomainConfig, Problem,
    address::{Address, VirtioSerialAddress},
    chardev::ChannelTargetType,
    controller::{Controller, ControllerKind},
};

use super::{
    super::controllers,
    devices::{List, of},
    problem,
};

/// Ports of a controller that does not say (QEMU, `virtio-serial-pci.max_ports`), which counts the console's.
const PORTS: u32 = 31;

/// Ports at most that QEMU gives a controller.
const MOST: u32 = 31;

/// The free ports, by controller.
struct Ports(BTreeMap<u32, Vec<bool>>);

impl Ports {
    fn of(config: &DomainConfig) -> Self {
        let serial = config.devices.controllers.iter().filter(|it| it.kind == Some(ControllerKind::VirtioSerial));
        let ports = |it: &Controller| vec![false; it.ports.unwrap_or(PORTS).min(MOST) as usize];
        Self(serial.map(|it| (it.index.unwrap_or(0), ports(it))).collect())
    }

    /// Takes a port. `None`: there is no such; `false`: it is another's.
    fn take(&mut self, controller: u32, port: u32) -> Option<bool> {
        let taken = self.0.get_mut(&controller)?.get_mut(port as usize)?;
        Some(!std::mem::replace(taken, true))
    }

    /// Takes the first free port, of one controller or of any.
    fn next(&mut self, controller: Option<u32>) -> Option<(u32, u32)> {
        let mut ports = self.0.iter_mut().filter(|(index, _)| controller.is_none_or(|it| it == **index));
        ports.find_map(|(index, ports)| {
            let port = (1..).zip(ports.iter_mut().skip(1)).find(|(_, taken)| !**taken);
            port.map(|(port, taken)| {
                *taken = true;
                (*index, port)
            })
        })
    }
}

/// Gives channels their ports, and adds controllers where there are too few.
pub(super) fn assign(config: &mut DomainConfig, found: &mut Vec<Problem>) {
    let channels = of(config, List::Channel).filter(|it| is_virtio(config, it.index)).collect::<Vec<_>>();
    let mut ports = Ports::of(config);
    let given = |config: &DomainConfig, index: usize| match &config.devices.channels[index].info.address {
        Some(Address::VirtioSerial(it)) => Some((it.controller.unwrap_or(0), it.port.unwrap_or(0))),
        _ => None,
    };
    for channel in &channels {
        let Some((controller, port)) = given(config, channel.index).filter(|(_, port)| *port != 0) else { continue };
        let message = match ports.take(controller, port) {
            Some(true) => continue,
            Some(false) => format!("port {port} of virtio-serial controller {controller} is another channel's already"),
            None => {
                let last = ports.0.get(&controller).map_or(0, |it| it.len().saturating_sub(1));
                format!("virtio-serial controller {controller} has no port {port}; its ports are 1 to {last}")
            }
        };
        found.push(problem(config, *channel, message));
    }
    for channel in channels {
        let controller = match given(config, channel.index) {
            Some((_, port)) if port != 0 => continue,
            Some((controller, _)) => Some(controller),
            None => None,
        };
        let place = ports.next(controller).or_else(|| {
            let index = ports.0.keys().last().map_or(0, |last| last.saturating_add(1));
            let made = Controller::default().with_kind(ControllerKind::VirtioSerial).with_index(index);
            controller.is_none().then(|| controllers::insert(&mut config.devices.controllers, made))?;
            ports.0.insert(index, vec![false; PORTS as usize]);
            ports.next(Some(index))
        });
        let Some((controller, port)) = place else {
            let index = controller.unwrap_or(0);
            let message = format!(
                "virtio-serial controller {index} has no free port; raise its ports or name another controller"
            );
            found.push(problem(config, channel, message));
            continue;
        };
        let mut address = VirtioSerialAddress::default();
        (address.controller, address.bus, address.port) = (Some(controller), Some(0), Some(port));
        config.devices.channels[channel.index].info.address = Some(Address::VirtioSerial(address));
    }
    for channel in of(config, List::Channel) {
        if let Some(Address::VirtioSerial(address)) = &mut config.devices.channels[channel.index].info.address {
            address.controller.get_or_insert(0);
            address.bus.get_or_insert(0);
        }
    }
}

fn is_virtio(config: &DomainConfig, index: usize) -> bool {
    let target = config.devices.channels[index].target.as_ref();
    target.and_then(|it| it.kind) == Some(ChannelTargetType::Virtio)
}
