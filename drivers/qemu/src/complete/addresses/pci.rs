//! Places on PCI and PCI Express.
//!
//! Bridges and ports have lower places than the devices behind them, and how many it takes shows only when all devices are
//! placed: so devices are placed, controllers added for those that had no place, and everything is placed anew, until none is
//! added. Given places, the board's and the usual ones come first; the rest gets the first place that fits, in a fixed order.

mod bus;
mod fixed;
mod link;
mod targets;
mod zpci;

use std::collections::{HashMap, HashSet};

use polyvirt_core::model::{
    DomainConfig, Problem,
    address::{Address, PciAddress},
    controller::{Controller, ControllerKind, ControllerModel},
    hostdev::Hostdev,
};

use self::{
    bus::{Buses, Group, Growth, Slot, Wish},
    link::Link,
};
use super::{
    devices::{Device, List, of},
    needs::{Need, need},
    problem,
};
use crate::{
    complete::{board::Board, controllers},
    machine::Family,
    probe::Binary,
};

/// The order in which devices get free places, after the bridges.
const ORDER: &[List] = &[
    List::Filesystem,
    List::Interface,
    List::Sound,
    List::Controller,
    List::Disk,
    List::Hostdev,
    List::Balloon,
    List::Rng,
    List::Watchdog,
    List::Video,
    List::Shmem,
    List::Input,
    List::Serial,
    List::Panic,
    List::Vsock,
    List::Crypto,
    List::Memory,
    List::Iommu,
    List::Pstore,
];

/// The last host bridge of pSeries (QEMU, `SPAPR_MAX_PHBS`).
const LAST_HOST_BRIDGE: u32 = 30;

/// More rounds than bridges can be added in.
const ROUNDS: usize = 256;

/// A device that is on PCI.
#[derive(Clone, Debug)]
struct Request {
    device: Device,
    wish: Wish,
    /// Bus, slot and function that were given.
    given: Option<[u32; 3]>,
    place: Option<Slot>,
}

/// Gives every device on PCI its place.
pub(super) fn assign(config: &mut DomainConfig, binary: &Binary, found: &mut Vec<Problem>) {
    let board = Board::of(config);
    let Some(root) = board.root(binary) else {
        found.extend(without(config, board));
        return;
    };
    let pseries = Family::of_config(config) == Family::Pseries;
    found.extend(numbers(config, root, pseries));
    let growth = match root {
        ControllerModel::PcieRoot if binary.has_type("pcie-pci-bridge") => Growth::Ports,
        ControllerModel::PcieRoot => Growth::PortsAndDmi,
        _ if pseries => Growth::Roots,
        _ => Growth::Bridges,
    };
    let plan = Plan { board, growth, written: models(config) };
    for _ in 0..ROUNDS {
        if !found.is_empty() {
            return;
        }
        let mut requests = requests(config, board, growth);
        let added = plan.place(config, &mut requests, found);
        if added.is_empty() {
            write(config, &requests);
            targets::complete(config, binary, growth == Growth::Roots);
            zpci::assign(config, found);
            return;
        }
        for (index, model) in added {
            let made = Controller::default().with_kind(ControllerKind::Pci).with_index(index).with_model(model);
            controllers::insert(&mut config.devices.controllers, made);
        }
    }
}

/// Devices that need PCI on a board of this family that has none. What boards have that are not known here QEMU says.
fn without(config: &DomainConfig, board: &Board) -> Vec<Problem> {
    let devices = ORDER.iter().filter(|_| board.known).flat_map(|list| of(config, *list));
    let open = |device: &Device| device.info(&config.devices).is_some_and(|it| it.address.is_none());
    let needs = |device: &Device| match need(config, *device, board) {
        Need::Pci | Need::Pcie | Need::Integrated => open(device),
        Need::Virtio { .. } => open(device),
        _ => matches!(device.info(&config.devices).and_then(|it| it.address.as_ref()), Some(Address::Pci(_))),
    };
    let machine = crate::command::machine_name(config).unwrap_or_default();
    let message = format!("machine '{machine}' has no PCI bus for it; use another machine or leave it out");
    devices.filter(needs).map(|device| Problem::error(device.path(&config.devices), message.clone())).collect()
}

/// Rules of the numbers and models of PCI controllers: each number once, the root at 0 and of the machine's kind.
fn numbers(config: &DomainConfig, root: ControllerModel, pseries: bool) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let machine = crate::command::machine_name(config).unwrap_or_default();
    for device in bridges(config) {
        let controller = &config.devices.controllers[device.index];
        let index = controller.index.unwrap_or(0);
        let is_root = matches!(controller.model, Some(ControllerModel::PciRoot | ControllerModel::PcieRoot));
        let path = device.path(&config.devices);
        if !seen.insert(index) {
            let message = format!("there is a PCI controller {index} already; each number is given once");
            found.push(Problem::error(format!("{path}/@index"), message));
        } else if index > 0xff {
            found.push(Problem::error(
                format!("{path}/@index"),
                format!("PCI controller {index}, 0 to 255 are possible"),
            ));
        } else if index == 0 && controller.model != Some(root) {
            let model = controller.model.map_or("", ControllerModel::as_str);
            let message = format!("PCI controller 0 of machine '{machine}' is '{root}', not '{model}'");
            found.push(Problem::error(format!("{path}/@model"), message));
        } else if index > 0 && is_root && !pseries {
            let message = format!("a PCI root has index 0, not {index}; use model 'pci-bridge' or 'pcie-root-port'");
            found.push(Problem::error(format!("{path}/@index"), message));
        }
        let number = controller.target.as_ref().and_then(|it| it.index).filter(|_| pseries);
        if let Some(number) = number.filter(|it| *it > LAST_HOST_BRIDGE || (*it == 0) != (index == 0)) {
            let message =
                format!("host bridge {number}; PCI controller 0 is host bridge 0, others are 1 to {LAST_HOST_BRIDGE}");
            found.push(Problem::error(format!("{path}/target/@index"), message));
        }
    }
    found
}

fn bridges(config: &DomainConfig) -> impl Iterator<Item = Device> {
    of(config, List::Controller).filter(|it| config.devices.controllers[it.index].kind == Some(ControllerKind::Pci))
}

/// All devices on PCI, in the order in which they get places.
fn requests(config: &DomainConfig, board: &Board, growth: Growth) -> Vec<Request> {
    let bridge = |device: &Device| matches!(need(config, *device, board), Need::Bridge(_));
    let controllers = of(config, List::Controller).filter(bridge);
    let others = ORDER.iter().flat_map(|list| of(config, *list)).filter(|it| !bridge(it));
    controllers.chain(others).filter_map(|device| request(config, device, board, growth)).collect()
}

fn request(config: &DomainConfig, device: Device, board: &Board, growth: Growth) -> Option<Request> {
    let given = match &device.info(&config.devices)?.address {
        Some(Address::Pci(address)) => Some(address),
        Some(_) => return None,
        None => None,
    };
    let express = matches!(growth, Growth::Ports | Growth::PortsAndDmi);
    let legacy = Link::PCI.and(Link::HOTPLUG);
    let modern = if express { Link::PCIE.and(Link::HOTPLUG) } else { legacy };
    let mut shares = false;
    let link = match need(config, device, board) {
        Need::Virtio { transitional: true } | Need::Pci => legacy,
        Need::Virtio { .. } | Need::Pcie => modern,
        Need::Integrated if express => Link::INTEGRATED,
        Need::Integrated => legacy,
        Need::Bridge(model) => {
            shares = model == ControllerModel::PcieRootPort;
            link::of(model)?.needs?
        }
        Need::Nothing | Need::Ccw => {
            given?;
            legacy
        }
    };
    let group = (growth == Growth::Roots).then(|| isolation(config, device)).flatten();
    // An address of zeroes asks for one: nothing but the root can be there.
    let given = given.map(|it| [it.bus, it.slot, it.function].map(|it| it.unwrap_or(0))).filter(|it| *it != [0; 3]);
    Some(Request { device, wish: Wish { link, shares, group }, given, place: None })
}

/// The group of a device of the host: pSeries recovers from errors by host bridge, so that a bridge has one group. Functions of one
/// device are one group; what else the host groups shows only there.
fn isolation(config: &DomainConfig, device: Device) -> Option<Group> {
    let source = match device.list {
        List::Hostdev => match &config.devices.hostdevs[device.index] {
            Hostdev::Pci(it) => it.source.as_ref()?.address.as_ref()?,
            _ => return None,
        },
        List::Interface => &config.devices.interfaces[device.index].source.as_ref()?.pci.as_ref()?.pci,
        _ => return None,
    };
    let part = |number: Option<u32>| number.unwrap_or(0);
    Some(part(source.domain) << 16 | (part(source.bus) & 0xff) << 8 | part(source.slot) & 0xff)
}

/// What all rounds have in common.
struct Plan {
    board: &'static Board,
    growth: Growth,
    /// The PCI controllers of the first round, by number.
    written: Vec<Option<ControllerModel>>,
}

impl Plan {
    /// Places all requests; returns what has to be added for it.
    fn place(
        &self,
        config: &DomainConfig,
        requests: &mut [Request],
        found: &mut Vec<Problem>,
    ) -> Vec<(u32, ControllerModel)> {
        let models = models(config);
        let mut buses = Buses::new(&models, self.growth);
        found.extend(fixed::on_board(config, self.board, &mut buses, requests));
        found.extend(reserve(config, &mut buses, requests));
        found.extend(loops(config, requests));
        if !found.is_empty() {
            return Vec::new();
        }
        fixed::usual(config, self.board, &mut buses, requests);
        let full = buses.is_full();
        for at in 0..requests.len() {
            if requests[at].place.is_some() {
                continue;
            }
            match next(config, &mut buses, requests, at) {
                Ok(place) => requests[at].place = Some(place),
                Err(error) => {
                    found.push(unplaced(config, requests[at].device, &self.written, &error));
                    return Vec::new();
                }
            }
        }
        if models == self.written {
            // Nothing is lost where there is no room for it.
            self.spare(&mut buses, full).ok();
        }
        let first = u32::try_from(models.len()).unwrap_or(u32::MAX);
        let holes = (0..).zip(&models).filter_map(|(index, model)| model.is_none().then_some(index));
        holes.map(|index| (index, self.growth.filler())).chain((first..).zip(buses.added())).collect()
    }

    /// Room for one device more, so that one can be plugged in while the guest runs: a port where bridges are left to us, a slot of
    /// legacy PCI, unless the user has filled them.
    fn spare(&self, buses: &mut Buses, full: bool) -> Result<(), bus::PlaceError> {
        let link = match self.growth {
            Growth::Bridges if !full => Link::PCI.and(Link::HOTPLUG),
            Growth::Ports | Growth::PortsAndDmi if self.written.len() == 1 && buses.added().next().is_some() => {
                Link::PCIE.and(Link::HOTPLUG)
            }
            _ => return Ok(()),
        };
        buses.next(Wish { link, shares: false, group: None }).map(drop)
    }
}

/// Takes the places that were given.
fn reserve(config: &DomainConfig, buses: &mut Buses, requests: &mut [Request]) -> Vec<Problem> {
    let mut found = Vec::new();
    for request in requests.iter_mut().filter(|it| it.place.is_none()) {
        let Some(given @ [bus, slot, function]) = request.given else { continue };
        buses.reach(bus);
        match buses.reserve(given, request.wish) {
            Ok(()) => {
                let narrow = |number: u32| u8::try_from(number).unwrap_or_default();
                request.place = Some(Slot { bus, slot: narrow(slot), function: narrow(function) });
            }
            Err(error) => found.push(problem(config, request.device, error.to_string())),
        }
    }
    found
}

/// There is no room for a device. A bridge that nobody wrote stands for the devices that it was meant for.
fn unplaced(
    config: &DomainConfig,
    device: Device,
    written: &[Option<ControllerModel>],
    error: &bus::PlaceError,
) -> Problem {
    let made = device.list == List::Controller && {
        let it = &config.devices.controllers[device.index];
        let index = it.index.unwrap_or(0) as usize;
        it.kind == Some(ControllerKind::Pci) && written.get(index).is_none_or(Option::is_none)
    };
    if made {
        let message = "no PCI slot is free for all devices, and no bridges can be added for them; remove devices";
        return Problem::error("/domain/devices", message);
    }
    Problem::error(device.path(&config.devices), error.to_string())
}

/// Bridges that were given places behind themselves.
fn loops(config: &DomainConfig, requests: &[Request]) -> Vec<Problem> {
    let is_bridge = |it: &&Request| it.device.list == List::Controller && !it.wish.link.is_endpoint();
    let index = |it: &Request| config.devices.controllers[it.device.index].index.unwrap_or(0);
    let bridges: HashMap<u32, &Request> = requests.iter().filter(is_bridge).map(|it| (index(it), it)).collect();
    let parent = |it: &&Request| bridges.get(&it.place?.bus).copied();
    let looped = |first: &&Request| {
        let mut above = std::iter::successors(parent(first), parent).take(bridges.len());
        above.any(|it| it.device == first.device)
    };
    let message = |it: &Request| format!("PCI controller {} is behind itself; give another bus", index(it));
    let found = requests.iter().filter(is_bridge).filter(looped);
    found.map(|it| problem(config, it.device, message(it))).collect()
}

/// The next free place; a part of an ICH9 USB 2 controller goes to the others.
fn next(config: &DomainConfig, buses: &mut Buses, requests: &[Request], at: usize) -> Result<Slot, bus::PlaceError> {
    let request = &requests[at];
    if !fixed::is_ich9(config, request.device) {
        return buses.next(request.wish);
    }
    let index = |device: Device| config.devices.controllers[device.index].index;
    let sibling = requests.iter().find_map(|it| {
        let same = fixed::is_ich9(config, it.device) && index(it.device) == index(request.device);
        it.place.filter(|_| same)
    });
    let Some(sibling) = sibling else {
        // The slot is the set's; the function is this part's.
        let first = buses.next(request.wish)?;
        let place = fixed::within(config, request.device, first);
        buses.give_back(first);
        buses.take(place);
        return Ok(place);
    };
    let place = fixed::within(config, request.device, Slot { function: 0, ..sibling });
    buses.reserve([place.bus, u32::from(place.slot), u32::from(place.function)], request.wish)?;
    Ok(place)
}

/// The models of PCI controllers by number; none where a number is not given.
fn models(config: &DomainConfig) -> Vec<Option<ControllerModel>> {
    let mut models = vec![None];
    for device in bridges(config) {
        let controller = &config.devices.controllers[device.index];
        let index = controller.index.unwrap_or(0).min(0xff) as usize;
        if models.len() <= index {
            models.resize(index + 1, None);
        }
        models[index] = controller.model;
    }
    models
}

/// Writes the places down. Function 0 of a slot with several announces the others, unless it says that it does not.
fn write(config: &mut DomainConfig, requests: &[Request]) {
    let places = || requests.iter().filter_map(|it| it.place);
    let shared: HashSet<(u32, u8)> = places().filter(|it| it.function != 0).map(|it| (it.bus, it.slot)).collect();
    for request in requests {
        let Some(place) = request.place else { continue };
        let several = place.function == 0 && shared.contains(&(place.bus, place.slot));
        let Some(info) = request.device.info_mut(&mut config.devices) else { continue };
        let mut address = PciAddress::at(0, place.bus, u32::from(place.slot), u32::from(place.function));
        if let Some(Address::Pci(given)) = info.address.take() {
            address.domain = given.domain.or(address.domain);
            (address.multifunction, address.zpci) = (given.multifunction, given.zpci);
        }
        if several {
            address.multifunction.get_or_insert(true);
        }
        info.address = Some(Address::Pci(address));
    }
}
