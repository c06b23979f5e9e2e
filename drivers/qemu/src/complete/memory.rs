//! Memory devices of pSeries guests: the machine plugs blocks of 256 MiB, and a new guest's sizes follow (QEMU, *pseries
//! machine*). What a guest has that may have run is kept.

use polyvirt_core::model::{
    DomainConfig, Guest, Kib,
    cpu::{Cell, Numa},
    memory_device::{MemoryDevice, MemoryModel},
};
use polyvirt_core::placement::VcpuSet;

use crate::machine::Family;

const BLOCK: u64 = 256 * 1024;

pub(super) fn complete(config: &mut DomainConfig, guest: Guest) {
    let plugs = !config.devices.memories.is_empty() && config.max_memory.is_some();
    if Family::of_config(config) != Family::Pseries || guest == Guest::Existing || !plugs {
        return;
    }
    let own = Kib(config.memory_total().0.saturating_sub(config.device_memory().sum::<Kib>().0));
    if config.cells().is_empty() {
        // Memory is plugged into a cell.
        let all = VcpuSet::of_range(0, config.vcpus_max().saturating_sub(1));
        let cell = Cell::new(own).with_id(0u32).with_cpus(all);
        config.cpu.get_or_insert_default().numa.get_or_insert_with(Numa::default).cell.push(cell);
        for target in config.devices.memories.iter_mut().filter_map(|it| it.target.as_mut()) {
            target.node.get_or_insert(0);
        }
    }
    config.devices.memories.iter_mut().for_each(aligned);
    let total = own.saturating_add(config.device_memory().sum());
    if let Some(memory) = &mut config.memory {
        memory.size = total;
    }
}

fn aligned(device: &mut MemoryDevice) {
    let Some(target) = &mut device.target else { return };
    let Some(size) = &mut target.size else { return };
    match device.model {
        // Its file has that size: the guest sees what whole blocks of it there are, behind the label.
        Some(MemoryModel::Nvdimm) => {
            let label = target.label.as_ref().and_then(|it| it.size).unwrap_or_default().0;
            size.0 = label + (size.0.saturating_sub(label) / BLOCK * BLOCK).max(BLOCK);
        }
        _ => size.0 = size.0.div_ceil(BLOCK).saturating_mul(BLOCK),
    }
}
