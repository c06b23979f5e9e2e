//! Memory that is plugged in: DIMMs, persistent memory, virtio-mem, enclaves.

use polyvirt_core::{
    Result,
    model::memory_device::{MemoryDevice, MemoryModel},
    placement::Kib,
};

use super::{Args, Input, alias, backend::Backend, option::Members, place};

pub(super) fn devices(args: &mut Args, input: &Input<'_>) -> Result<()> {
    for (at, device) in input.config.devices.memories.iter().enumerate() {
        let plan = input.plan.and_then(|it| it.devices.iter().find(|it| it.index == at));
        let node = device.target.as_ref().and_then(|it| it.node);
        let cells = input.config.cells();
        let cell =
            node.and_then(|node| (0u32..).zip(cells).find(|(at, it)| it.id.unwrap_or(*at) == node)).map(|it| it.1);
        let backend = Backend::of_device(input, plan, device, cell)?;
        let id = format!("mem{}", alias::of(&device.info));
        let mut objects = Vec::new();
        backend.write(&id, size(device, &input.binary.arch), &mut objects);
        for object in objects {
            args.add("-object", object);
        }
        // The machine names enclaves.
        if device.model != Some(MemoryModel::SgxEpc) {
            let members = self::device(device, &backend, input).with("memdev", id);
            let members = members.with("id", alias::of(&device.info));
            args.plain_device(input, &device.info, members);
        }
    }
    Ok(())
}

/// Sizes are whole blocks of what the guest can plug: 2 MiB, 256 MiB on ppc64, where a label is not counted.
fn size(device: &MemoryDevice, arch: &str) -> Kib {
    let target = device.target.as_ref();
    let size = target.and_then(|it| it.size).unwrap_or_default();
    let label = target.and_then(|it| it.label.as_ref()).and_then(|it| it.size).unwrap_or_default();
    if !arch.starts_with("ppc64") {
        return Kib(size.0.div_ceil(2048).saturating_mul(2048));
    }
    let block = Kib::from_mib(256).0;
    if device.model == Some(MemoryModel::Nvdimm) {
        return Kib((size.0.saturating_sub(label.0) / block).saturating_mul(block).saturating_add(label.0));
    }
    Kib(size.0.div_ceil(block).saturating_mul(block))
}

fn device(device: &MemoryDevice, backend: &Backend<'_>, input: &Input<'_>) -> Members {
    let target = device.target.as_ref();
    let bytes = |it: Option<Kib>| it.map(|it| it.0.saturating_mul(1024));
    let node = target.and_then(|it| it.node);
    match device.model {
        Some(MemoryModel::VirtioMem) => Members::new("driver", place::virtio("virtio-mem", &device.info, None, input))
            .maybe("node", node)
            .maybe("block-size", bytes(target.and_then(|it| it.block)))
            .maybe("requested-size", bytes(target.and_then(|it| it.requested)))
            .maybe("prealloc", backend.device_preallocates().then_some(true))
            .maybe("memaddr", target.and_then(|it| it.address.as_ref()).map(|it| it.base))
            .maybe("dynamic-memslots", target.and_then(|it| it.dynamic_memslots).filter(|it| *it)),
        Some(MemoryModel::VirtioPmem) => {
            Members::new("driver", place::virtio("virtio-pmem", &device.info, None, input))
                .maybe("memaddr", target.and_then(|it| it.address.as_ref()).map(|it| it.base))
        }
        model => {
            let nvdimm = model == Some(MemoryModel::Nvdimm);
            let label = target.and_then(|it| it.label.as_ref()).and_then(|it| it.size).filter(|_| nvdimm);
            Members::new("driver", if nvdimm { "nvdimm" } else { "pc-dimm" })
                .maybe("node", node)
                .maybe("label-size", bytes(label))
                .maybe("uuid", device.uuid.filter(|_| nvdimm).map(|it| it.to_string()))
                .maybe("unarmed", target.is_some_and(|it| nvdimm && it.readonly).then_some(true))
        }
    }
}
