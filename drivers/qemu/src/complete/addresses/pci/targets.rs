//! What PCI controllers say besides their place: the device behind the model, and numbers that the guest sees.

use polyvirt_core::model::{
    DomainConfig,
    address::Address,
    controller::{Controller, ControllerKind, ControllerModel as M, PciModel},
};

use super::link;
use crate::probe::Binary;

/// Bus numbers end here; expanders count down from it.
const BUS_NUMBERS: u32 = 256;

/// Fills them in.
pub(super) fn complete(config: &mut DomainConfig, binary: &Binary, host_bridges: bool) {
    let controllers = &mut config.devices.controllers;
    let mut lowest = controllers.iter().filter_map(|it| it.target.as_ref()?.bus_nr).min().unwrap_or(BUS_NUMBERS);
    for controller in controllers.iter_mut().filter(|it| it.kind == Some(ControllerKind::Pci)) {
        let Some(model) = controller.model else { continue };
        name(controller, model, binary, host_bridges);
        let index = controller.index;
        let (slot, function) = match &controller.info.address {
            Some(Address::Pci(at)) => (at.slot.unwrap_or(0), at.function.unwrap_or(0)),
            _ => (0, 0),
        };
        match model {
            M::PciBridge => _ = controller.target.get_or_insert_default().chassis_nr.get_or_insert(index.unwrap_or(0)),
            M::PcieRootPort | M::PcieSwitchDownstreamPort => {
                let target = controller.target.get_or_insert_default();
                target.chassis = target.chassis.or(index);
                target.port.get_or_insert(if model == M::PcieRootPort { slot << 3 | function } else { slot });
            }
            M::PciExpanderBus | M::PcieExpanderBus => {
                let target = controller.target.get_or_insert_default();
                if target.bus_nr.is_none() {
                    // One for the expander, one for the bridge or port behind it.
                    lowest = lowest.saturating_sub(2);
                    target.bus_nr = Some(lowest);
                }
            }
            _ => {}
        }
    }
    if host_bridges {
        host_bridge_numbers(&mut config.devices.controllers);
    }
}

fn name(controller: &mut Controller, model: M, binary: &Binary, host_bridges: bool) {
    let device = match model {
        M::PciRoot if host_bridges => Some(PciModel::SpaprPciHostBridge),
        M::PcieRootPort if !binary.has_type("pcie-root-port") && binary.has_type("ioh3420") => Some(PciModel::Ioh3420),
        _ => link::of(model).and_then(|it| it.device),
    };
    if device.is_some() {
        let name = &mut controller.model_name.get_or_insert_default().name;
        *name = name.or(device);
    }
}

/// Host bridges of pSeries are numbered: the first is 0, the others get the lowest that are free.
fn host_bridge_numbers(controllers: &mut [Controller]) {
    let is = |it: &&mut Controller| it.kind == Some(ControllerKind::Pci) && it.model == Some(M::PciRoot);
    let mut taken: Vec<u32> = controllers.iter().filter_map(|it| it.target.as_ref()?.index).collect();
    for controller in controllers.iter_mut().filter(is) {
        let first = if controller.index.unwrap_or(0) == 0 { 0 } else { 1 };
        let target = controller.target.get_or_insert_default();
        if target.index.is_none() {
            let free = (first..).find(|it| !taken.contains(it)).unwrap_or(first);
            taken.push(free);
            target.index = Some(free);
        }
    }
}
