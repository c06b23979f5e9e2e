//! From a definition to what the placement engine asks for.

use std::collections::HashMap;

use polyvirt_numa_placement::rules::{self, Stored, Written, WrittenMemnode, WrittenMemory};
use polyvirt_numa_placement::{
    CellShape, CpuSet, GuestCell, GuestShape, IoThreadId, Kib, MemoryDeviceRequest, PageRequest, Request, VcpuId,
    VcpuSet,
};
use polyvirt_xml::{Positions, Problems};

use crate::cells::MAX_CELLS;
use crate::complete::report;
use crate::domain::DomainConfig;
use crate::memory::AllocationMode;

/// What the rules see of a definition.
pub(crate) fn written(config: &DomainConfig) -> Written {
    let vcpu = config.vcpu.as_ref();
    let tune = config.cputune.as_ref();
    let numatune = config.numatune.as_ref();
    Written {
        numatune_elements: usize::from(numatune.is_some()),
        vcpu_placement: vcpu.and_then(|vcpu| vcpu.placement),
        vcpu_cpuset: vcpu.and_then(|vcpu| vcpu.cpuset.clone()),
        vcpu_pin: tune.is_some_and(|tune| !tune.vcpupin.is_empty()),
        emulator_pin: tune.is_some_and(|tune| tune.emulatorpin.is_some()),
        io_thread_pin: tune.is_some_and(|tune| !tune.iothreadpin.is_empty()),
        memory: numatune.and_then(|numatune| numatune.memory.as_ref()).map(|memory| WrittenMemory {
            mode: memory.mode,
            placement: memory.placement,
            nodeset: memory.nodeset.clone(),
        }),
        memnodes: numatune
            .iter()
            .flat_map(|numatune| &numatune.memnode)
            .map(|memnode| WrittenMemnode {
                cellid: memnode.cellid,
                mode: memnode.mode,
                nodeset: memnode.nodeset.clone(),
            })
            .collect(),
        cells: u32::try_from(config.cells().len()).unwrap_or(u32::MAX),
    }
}

impl DomainConfig {
    /// What the guest sees of NUMA. Of a definition that was completed and checked.
    #[must_use]
    pub fn guest_shape(&self) -> GuestShape {
        let cells: Vec<CellShape> = self
            .cells()
            .iter()
            .zip(0_u32..)
            .map(|(cell, position)| {
                let vcpus = cell.cpus.clone().unwrap_or_else(VcpuSet::new);
                CellShape::new(GuestCell(cell.id.unwrap_or(position)), cell.memory, vcpus)
            })
            .collect();
        let max = self.vcpus_max();
        let mut shape =
            if cells.is_empty() { GuestShape::flat(max, Kib::ZERO) } else { GuestShape::with_cells(cells, max) };
        // QEMU takes the sum of the cells whatever `<memory>` says; without cells devices are part of the total.
        shape.memory = if self.cells().is_empty() {
            self.memory_total()
        } else {
            shape.memory.saturating_add(self.device_memory().sum())
        };
        shape.online(self.vcpus_online()).distances(self.distances())
    }

    /// All distances row by row with the defaults 10 and 20; empty if none is given.
    fn distances(&self) -> Vec<u8> {
        let cells = self.cells();
        // A definition with more cells was refused by the check.
        if cells.len() > MAX_CELLS || cells.iter().all(|cell| cell.distances.is_none()) {
            return Vec::new();
        }
        let count = cells.len();
        let mut out = vec![20; count * count];
        for (from, cell) in cells.iter().enumerate() {
            out[from * count + from] = 10;
            for sibling in cell.distances.iter().flat_map(|distances| &distances.sibling) {
                let to = usize::try_from(sibling.id).unwrap_or(usize::MAX);
                if let Ok(value) = u8::try_from(sibling.value)
                    && to < count
                {
                    out[from * count + to] = value;
                }
            }
        }
        out
    }

    /// The numbers of all I/O threads: those given, then the lowest free ones up to `<iothreads>`.
    #[must_use]
    pub fn io_thread_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> =
            self.iothreadids.iter().flat_map(|threads| &threads.iothread).map(|thread| thread.id).collect();
        // The number is a client's: no guest has more threads than there can be vCPUs.
        let wanted = self.iothreads.unwrap_or(0).min(16_384) as usize;
        let given: std::collections::HashSet<u32> = ids.iter().copied().collect();
        let missing = wanted.saturating_sub(ids.len());
        ids.extend((1..).filter(|id| !given.contains(id)).take(missing));
        ids
    }

    /// Placement words and policies as rules P1–P13 and M1–M8 store them.
    ///
    /// # Errors
    /// Every rule that is broken. A completed definition breaks none.
    pub fn stored_placement(&self) -> Result<Stored, Problems> {
        rules::store(&written(self)).map_err(|violations| report(&violations, &Positions::default()))
    }

    /// What is asked of the placement engine: shape, policies, pins, page sizes, memory devices, wishes. The caller adds what
    /// depends on the host: kernel, advice, the nodes of [`near_pci`](Self::near_pci). Of a definition that was completed and checked.
    ///
    /// # Errors
    /// Every rule of placement that is broken, and everything wrong with the wishes.
    pub fn placement_request(&self) -> Result<Request, Problems> {
        let mut request = Request::new(self.name.clone(), self.guest_shape()).stored(self.stored_placement()?);
        let tune = self.cputune.as_ref();
        for pin in tune.iter().flat_map(|tune| &tune.vcpupin) {
            request = request.pin_vcpu(VcpuId(pin.vcpu), pin.cpuset.clone());
        }
        if let Some(pin) = tune.and_then(|tune| tune.emulatorpin.as_ref()) {
            request = request.pin_emulator(pin.cpuset.clone());
        }
        let pins: HashMap<u32, &CpuSet> =
            tune.iter().flat_map(|tune| &tune.iothreadpin).map(|pin| (pin.iothread, &pin.cpuset)).collect();
        for id in self.io_thread_ids() {
            request = request.io_thread(IoThreadId(id), pins.get(&id).map(|cpus| (*cpus).clone()));
        }
        for device in &self.devices.memories {
            let target = device.target.as_ref();
            let size = target.and_then(|target| target.size).unwrap_or_default();
            let cell = target.and_then(|target| target.node).map(GuestCell);
            let mut wanted = MemoryDeviceRequest::new(cell, size);
            wanted.page = device.source.as_ref().and_then(|source| source.pagesize).map(PageRequest::Size);
            wanted.nodes = device.source.as_ref().and_then(|source| source.nodemask.clone());
            request = request.device(wanted);
        }
        self.with_wishes(self.pages(request))
    }

    fn pages(&self, mut request: Request) -> Request {
        let Some(backing) = &self.memory_backing else { return request };
        let mode = backing.allocation.as_ref().and_then(|allocation| allocation.mode);
        request = request.prealloc(mode == Some(AllocationMode::Immediate));
        let Some(hugepages) = &backing.hugepages else { return request };
        if hugepages.pages.is_empty() {
            return request.pages(PageRequest::DefaultHuge);
        }
        for page in &hugepages.pages {
            match &page.nodeset {
                None => request = request.pages(PageRequest::Size(page.size)),
                Some(cells) => {
                    for cell in cells.iter() {
                        request = request.cell_pages(cell, PageRequest::Size(page.size));
                    }
                }
            }
        }
        request
    }
}
