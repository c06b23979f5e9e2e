//! Devices that have their place on the first bus: the chipset's, and those that are put where real boards have them.

use polyvirt_core::model::{
    DomainConfig, Problem,
    controller::{Controller, ControllerKind, ControllerModel},
    display::SoundModel,
};

use super::{
    super::{
        devices::{Device, List, of},
        problem,
    },
    Request,
    bus::{Buses, Slot},
};
use crate::complete::board::{Board, Fixture};

impl Fixture {
    /// Whether controllers of this kind have a place on the board.
    pub(in crate::complete) fn is_controller(self, kind: ControllerKind) -> bool {
        matches!(self, Self::Controller(it, _) if it == kind)
    }
}

/// Takes what the board has, and refuses devices that are on the board and say otherwise.
pub(super) fn on_board(
    config: &DomainConfig,
    board: &Board,
    buses: &mut Buses,
    requests: &mut [Request],
) -> Vec<Problem> {
    let mut found = Vec::new();
    for &(fixture, (slot, function), _) in board.fixtures.iter().filter(|(.., fixed)| *fixed) {
        let at = Slot { bus: 0, slot, function };
        buses.take(at);
        for device in devices_of(config, fixture, requests) {
            let Some(request) = requests.iter_mut().find(|it| it.device == device) else { continue };
            if request.given.is_some_and(|given| given != [0, u32::from(slot), u32::from(function)]) {
                let message = format!("it is on the board at 00:{slot:02x}.{function}; leave the address out");
                found.push(problem(config, device, message));
            }
            request.place = Some(at);
        }
    }
    found
}

/// Puts devices that say nothing where boards usually have them, if that slot is free.
pub(super) fn usual(config: &DomainConfig, board: &Board, buses: &mut Buses, requests: &mut [Request]) {
    for &(fixture, (slot, function), _) in board.fixtures.iter().filter(|(.., fixed)| !*fixed) {
        if !buses.is_free(slot) {
            continue;
        }
        for device in devices_of(config, fixture, requests) {
            let place = within(config, device, Slot { bus: 0, slot, function });
            buses.take(place);
            if let Some(request) = requests.iter_mut().find(|it| it.device == device) {
                request.place = Some(place);
            }
        }
    }
}

/// The devices that a row is for. Where they may be elsewhere, those that have no place.
fn devices_of(config: &DomainConfig, fixture: Fixture, requests: &[Request]) -> Vec<Device> {
    let devices = &config.devices;
    let open =
        |device: &Device| requests.iter().any(|it| it.device == *device && it.given.is_none() && it.place.is_none());
    let controllers = of(config, List::Controller);
    let controller = |device: &Device| &devices.controllers[device.index];
    match fixture {
        Fixture::Chipset => Vec::new(),
        Fixture::Controller(kind, model) => {
            let is = |it: &Controller| {
                let model = model.is_none() || it.model.is_none() || model == it.model;
                it.kind == Some(kind) && it.index.unwrap_or(0) == 0 && model
            };
            controllers.filter(|it| is(controller(it))).collect()
        }
        Fixture::Video => of(config, List::Video).take(1).filter(open).collect(),
        Fixture::Ich9Sound => {
            let ich9 = |it: &Device| devices.sounds[it.index].model == Some(SoundModel::Ich9);
            of(config, List::Sound).filter(ich9).filter(open).take(1).collect()
        }
        Fixture::DmiBridge => {
            let dmi = |it: &Device| controller(it).model == Some(ControllerModel::DmiToPciBridge);
            controllers.filter(dmi).filter(open).take(1).collect()
        }
        Fixture::Ich9Usb => {
            let parts: Vec<Device> = controllers.filter(|it| is_ich9(config, *it)).collect();
            let index = |it: &Device| controller(it).index;
            // Function 0 is what makes it one; what has no such part is a card like others.
            let whole = |first: &&Device| {
                let mut set = parts.iter().filter(|it| index(it) == index(first));
                let begins = |it: &Device| controller(it).model == Some(ControllerModel::Ich9Uhci1);
                set.clone().any(begins) && set.all(open)
            };
            let Some(set) = parts.iter().find(whole).map(index) else { return Vec::new() };
            parts.into_iter().filter(|it| index(it) == set).collect()
        }
    }
}

/// Whether it is part of an ICH9 USB 2 controller.
pub(super) fn is_ich9(config: &DomainConfig, device: Device) -> bool {
    let controller = || config.devices.controllers.get(device.index);
    device.list == List::Controller && controller().and_then(|it| it.model).is_some_and(ControllerModel::is_ich9)
}

/// The place of a device in a slot: parts of an ICH9 USB 2 controller have functions of their own.
pub(super) fn within(config: &DomainConfig, device: Device, at: Slot) -> Slot {
    let model = || config.devices.controllers.get(device.index).and_then(|it| it.model);
    let function = match model().filter(|_| device.list == List::Controller) {
        Some(ControllerModel::Ich9Ehci1) => 7,
        Some(ControllerModel::Ich9Uhci2) => 1,
        Some(ControllerModel::Ich9Uhci3) => 2,
        _ => at.function,
    };
    Slot { function, ..at }
}
