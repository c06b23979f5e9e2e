//! Rules of what a guest is given: memory and its limits, memory devices, vCPUs, I/O threads (manual: formatdomain, Memory Tuning,
//! Memory devices, CPU Allocation, IOThreads Allocation).

use std::collections::HashSet;

use polyvirt_numa_placement::Kib;

use super::{Report, nth};
use crate::domain::DomainConfig;
use crate::memory_device::{MemoryDevice, MemoryModel};

pub(super) fn check(config: &DomainConfig, report: &mut Report<'_>) {
    limits(config, report);
    let devices = &config.devices.memories;
    for (index, device) in devices.iter().enumerate() {
        let path = format!("/domain/devices/{}", nth("memory", devices.len(), index));
        memory_device(&path, device, report);
    }
    plugged(config, report);
    vcpus(config, report);
    io_threads(config, report);
}

/// Swap is counted with memory.
fn limits(config: &DomainConfig, report: &mut Report<'_>) {
    let Some(tune) = &config.memtune else { return };
    if let (Some(hard), Some(swap)) = (tune.hard_limit, tune.swap_hard_limit)
        && swap < hard
    {
        let message = format!("{swap} of memory and swap is less than the {hard} of memory alone, raise it");
        report.error("/domain/memtune/swap_hard_limit", message);
    }
}

fn memory_device(path: &str, device: &MemoryDevice, report: &mut Report<'_>) {
    let Some(target) = &device.target else {
        report.error(path, "<memory> lacks its element <target>");
        return;
    };
    let Some(size) = target.size else {
        report.error(format!("{path}/target"), "<target> lacks its element <size>");
        return;
    };
    if size.is_zero() {
        report.error(format!("{path}/target/size"), "0 of memory, give more or remove the device");
    }
    match device.model {
        Some(MemoryModel::VirtioMem) => virtio_mem(path, device, size, report),
        Some(MemoryModel::Nvdimm | MemoryModel::VirtioPmem)
            if device.source.as_ref().is_none_or(|source| source.path.is_none()) =>
        {
            report.error(path, "persistent memory needs <source><path>, the file or device that holds it");
        }
        _ => {}
    }
    let label = target.label.as_ref().and_then(|label| label.size);
    if let Some(label) = label.filter(|_| device.model == Some(MemoryModel::Nvdimm)) {
        if label < Kib(128) {
            report.error(format!("{path}/target/label/size"), format!("{label}, at least 128 KiB are possible"));
        } else if label >= size {
            report.error(
                format!("{path}/target/label/size"),
                format!("{label} leaves nothing of {size}, make it smaller"),
            );
        }
    }
}

/// The guest is asked for whole blocks, and for no more than there are.
fn virtio_mem(path: &str, device: &MemoryDevice, size: Kib, report: &mut Report<'_>) {
    let Some(target) = &device.target else { return };
    let block = target.block.filter(|block| !block.is_zero());
    if let Some(block) = block {
        if !block.0.is_power_of_two() {
            report.error(
                format!("{path}/target/block"),
                format!("{block} is no power of two, which 2 MiB and 4 MiB are"),
            );
        } else if !size.0.is_multiple_of(block.0) {
            report
                .error(format!("{path}/target/size"), format!("{size} are no whole blocks of {block}, use a multiple"));
        }
    }
    let Some(requested) = target.requested else { return };
    if requested > size {
        report.error(
            format!("{path}/target/requested"),
            format!("{requested} is more than the device's {size}, ask for less"),
        );
    } else if let Some(block) = block.filter(|block| !requested.0.is_multiple_of(block.0)) {
        report.error(
            format!("{path}/target/requested"),
            format!("{requested} are no whole blocks of {block}, ask for a multiple"),
        );
    }
}

/// Each device that is plugged into a slot takes one.
fn plugged(config: &DomainConfig, report: &mut Report<'_>) {
    let slots = config.max_memory.as_ref().and_then(|memory| memory.slots);
    let dimm = |device: &&MemoryDevice| matches!(device.model, Some(MemoryModel::Dimm | MemoryModel::Nvdimm));
    let count = config.devices.memories.iter().filter(dimm).count();
    if let Some(slots) = slots.filter(|slots| count > usize::try_from(*slots).unwrap_or(usize::MAX)) {
        let message = format!("{slots} slots for {count} memory devices, give at least one each");
        report.error("/domain/maxMemory/@slots", message);
    }
}

fn vcpus(config: &DomainConfig, report: &mut Report<'_>) {
    let vcpus = config.vcpus.as_ref().map_or(&[][..], |vcpus| &vcpus.vcpu);
    for (index, vcpu) in vcpus.iter().enumerate() {
        let path = format!("/domain/vcpus/{}", nth("vcpu", vcpus.len(), index));
        if vcpu.enabled == Some(false) && vcpu.hotpluggable == Some(false) {
            let message = "a vCPU that is off and cannot be plugged is never used, set hotpluggable='yes'";
            report.error(format!("{path}/@hotpluggable"), message);
        }
    }
}

fn io_threads(config: &DomainConfig, report: &mut Report<'_>) {
    let threads = config.iothreadids.as_ref().map_or(&[][..], |threads| &threads.iothread);
    let mut seen = HashSet::new();
    for (index, thread) in threads.iter().enumerate() {
        let path = format!("/domain/iothreadids/{}", nth("iothread", threads.len(), index));
        if thread.id == 0 {
            report.error(format!("{path}/@id"), "0 is no number of an I/O thread, they begin with 1");
        } else if !seen.insert(thread.id) {
            report.error(
                format!("{path}/@id"),
                format!("there is an I/O thread {} already, each id is given once", thread.id),
            );
        }
        pool(&path, thread.thread_pool_min, thread.thread_pool_max, report);
    }
    if let Some(default) = &config.defaultiothread {
        pool("/domain/defaultiothread", default.thread_pool_min, default.thread_pool_max, report);
    }
    let known: HashSet<u32> = config.io_thread_ids().into_iter().collect();
    let disks = config.devices.disks.iter().enumerate().filter_map(|(index, disk)| {
        let thread = disk.driver.as_ref()?.iothread?;
        Some((format!("/domain/devices/{}", nth("disk", config.devices.disks.len(), index)), thread))
    });
    let controllers = config.devices.controllers.iter().enumerate().filter_map(|(index, controller)| {
        let thread = controller.driver.as_ref()?.iothread?;
        Some((format!("/domain/devices/{}", nth("controller", config.devices.controllers.len(), index)), thread))
    });
    for (path, thread) in disks.chain(controllers).filter(|(_, thread)| !known.contains(thread)) {
        let message = format!("there is no I/O thread {thread}, see <iothreads> and <iothreadids>");
        report.error(format!("{path}/driver/@iothread"), message);
    }
}

/// Workers of one event loop.
fn pool(path: &str, min: Option<i32>, max: Option<i32>, report: &mut Report<'_>) {
    if max == Some(0) {
        report.error(format!("{path}/@thread_pool_max"), "no worker thread at all, at least 1 is possible");
    } else if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        report
            .error(format!("{path}/@thread_pool_min"), format!("{min} is more than thread_pool_max, {max}, lower it"));
    }
}
