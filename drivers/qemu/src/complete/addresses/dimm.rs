//! Slots of memory modules.

use std::collections::HashSet;

use polyvirt_core::model::{
    DomainConfig, Problem,
    address::{Address, DimmAddress},
    memory_device::MemoryModel,
};

use super::{
    devices::{List, of},
    problem,
};

/// Gives memory modules the lowest free slots. A slot that does not exist is refused with what there is.
pub(super) fn assign(config: &mut DomainConfig, found: &mut Vec<Problem>) {
    let Some(slots) = config.max_memory.as_ref().and_then(|it| it.slots) else { return };
    let given = |address: Option<&Address>| match address {
        Some(Address::Dimm(at)) => at.slot,
        _ => None,
    };
    let mut taken: HashSet<u32> =
        config.devices.memories.iter().filter_map(|it| given(it.info.address.as_ref())).collect();
    for device in of(config, List::Memory) {
        let memory = &config.devices.memories[device.index];
        if !matches!(memory.model, Some(MemoryModel::Dimm | MemoryModel::Nvdimm)) {
            continue;
        }
        let slot = match given(memory.info.address.as_ref()) {
            Some(slot) => Some(slot).filter(|slot| *slot < slots),
            None => (0..slots).find(|slot| !taken.contains(slot)),
        };
        let Some(slot) = slot else {
            let message =
                format!("the guest has {slots} memory slots and this takes another; raise <maxMemory slots='…'>");
            found.push(problem(config, device, message));
            continue;
        };
        taken.insert(slot);
        let address = config.devices.memories[device.index]
            .info
            .address
            .get_or_insert_with(|| Address::Dimm(DimmAddress::default()));
        if let Address::Dimm(at) = address {
            at.slot = Some(slot);
        }
    }
}
