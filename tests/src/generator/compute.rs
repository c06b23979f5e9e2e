//! CPUs, memory and how they belong together.

use polyvirt::model::{
    CellSet, Kib, MemMode, NodeSet, VcpuSet,
    address::{Address, DimmAddress},
    cpu::{
        Cell, Cpu, CpuCache, CpuCacheMode, CpuFeature, CpuMode, CpuModel, CpuTopology, Distances, FeaturePolicy, Numa,
        Sibling,
    },
    memory::{
        AllocationMode, BackingAccess, BackingAllocation, BackingSource, BackingType, HugePage, HugePages, MaxMemory,
        MemTune, Memory, MemoryAccess, MemoryBacking,
    },
    memory_device::{MemoryDevice, MemoryDeviceSource, MemoryDeviceTarget, MemoryLabel, MemoryModel},
    numatune::{MemNode, NumaMemory, NumaTune},
    vcpu::{CpuTune, IoThread, IoThreadIds, IoThreadPoll, Vcpu, VcpuState, Vcpus},
};

use super::Maker;

/// CPU models that TCG of QEMU 7.2 takes and libvirt 9.0 has in its map.
const MODELS: &[&str] =
    &["qemu64", "kvm64", "qemu32", "core2duo", "Penryn", "Nehalem", "Westmere", "Opteron_G3", "n270"];

/// Features of x86 CPUs that both have known for long.
const FEATURES: &[&str] =
    &["aes", "apic", "avx", "popcnt", "pni", "sse4.1", "sse4.2", "ssse3", "svm", "vmx", "x2apic", "nx"];

impl Maker {
    pub(super) fn compute(&mut self) {
        self.vcpus = self.dice.pick(&[1, 1, 2, 2, 3, 4, 4, 6, 8, 12, 16]);
        let mut vcpu = Vcpu::of(self.vcpus);
        if self.vcpus > 1 && self.dice.chance(20) {
            vcpu.current = Some(self.dice.number(1, self.vcpus));
        }
        self.config.vcpu = Some(vcpu);
        self.cells = if self.dice.chance(35) { self.dice.number(1, 4.min(self.vcpus)) } else { 0 };
        let total = self.memory();
        self.cpu(total);
        self.backing();
        self.numa_tune();
        self.hotplug(total);
        self.memory_devices();
        self.io_threads();
        self.tuning();
        if self.dice.chance(10) {
            self.each_vcpu();
        }
    }

    /// The guest's memory: whole mebibytes mostly, and the same for every cell.
    fn memory(&mut self) -> Kib {
        let each = match self.dice.number(0, 9) {
            0 => Kib(u64::from(self.dice.number(20_000, 400_000))),
            1..=5 => Kib::from_mib(1 << self.dice.number(5, 12)),
            _ => self.dice.mib(32, 4096),
        };
        let total = Kib(each.0 * u64::from(self.cells.max(1)));
        let mut memory = Memory::default();
        memory.size = total;
        memory.dump_core = self.dice.some(8);
        self.config.memory = Some(memory);
        if self.dice.chance(20) {
            let mut current = Memory::default();
            current.size = Kib(total.0 / u64::from(self.dice.number(1, 4)));
            self.config.current_memory = Some(current);
        }
        total
    }

    fn cpu(&mut self, total: Kib) {
        let mut cpu = Cpu::default();
        match self.dice.number(0, 9) {
            0 | 1 => cpu.mode = Some(CpuMode::Maximum),
            2..=5 => {
                cpu.mode = Some(CpuMode::Custom);
                cpu.check = self.dice.some_but(60, &["full", "partial"]);
                cpu.matching = self.dice.some_but(40, &["minimum", "strict"]);
                let mut model = CpuModel::default();
                model.name = Some(self.dice.pick(MODELS).to_owned());
                model.fallback = self.dice.some(40);
                cpu.model = Some(model);
                for name in FEATURES {
                    if self.dice.chance(12) {
                        let mut feature = CpuFeature::default();
                        feature.name = (*name).to_owned();
                        feature.policy = Some(self.dice.word_but::<FeaturePolicy>(&["forbid", "optional"]));
                        cpu.feature.push(feature);
                    }
                }
            }
            _ => {}
        }
        if self.dice.chance(40) {
            cpu.topology = self.topology();
        }
        if cpu.mode == Some(CpuMode::Custom) && self.dice.chance(10) {
            let mut cache = CpuCache::default();
            cache.mode = Some(self.dice.pick(&[CpuCacheMode::Disable, CpuCacheMode::Emulate]));
            cache.level = (cache.mode == Some(CpuCacheMode::Emulate)).then_some(3);
            cpu.cache = Some(cache);
        }
        if self.cells > 0 {
            cpu.numa = Some(self.numa(total));
        }
        self.config.cpu = (cpu != Cpu::default()).then_some(cpu);
    }

    fn topology(&mut self) -> Option<CpuTopology> {
        let threads = self.dice.pick(&[1, 1, 2]);
        let cores = self.dice.pick(&[1, 2, 3, 4]);
        let dies = self.dice.maybe(30, &[1, 2]);
        let each = threads * cores * dies.unwrap_or(1);
        if !self.vcpus.is_multiple_of(each) {
            return None;
        }
        let mut topology = CpuTopology::default();
        (topology.sockets, topology.dies, topology.cores, topology.threads) = (self.vcpus / each, dies, cores, threads);
        Some(topology)
    }

    fn numa(&mut self, total: Kib) -> Numa {
        let mut numa = Numa::default();
        let (each, memory) = (self.vcpus / self.cells, Kib(total.0 / u64::from(self.cells)));
        let distances = self.cells > 1 && self.dice.chance(40);
        for id in 0..self.cells {
            let last = if id + 1 == self.cells { self.vcpus - 1 } else { (id + 1) * each - 1 };
            let mut cell = Cell::new(memory).with_cpus(VcpuSet::of_range(id * each, last));
            cell.id = Some(id);
            cell.mem_access = self.dice.some(10);
            cell.discard = self.dice.some(10);
            if distances {
                let mut all = Distances::default();
                all.sibling = (0..self.cells)
                    .map(|other| {
                        let mut sibling = Sibling::default();
                        // Symmetric, so that it does not matter who is asked.
                        (sibling.id, sibling.value) = (other, 10 + 11 * id.abs_diff(other));
                        sibling
                    })
                    .collect();
                cell.distances = Some(all);
            }
            numa.cell.push(cell);
        }
        numa
    }

    fn backing(&mut self) {
        if !self.dice.chance(45) {
            return;
        }
        let mut backing = MemoryBacking::default();
        backing.source =
            self.dice.maybe(50, &[BackingType::Anonymous, BackingType::File, BackingType::Memfd]).map(|kind| {
                let mut source = BackingSource::default();
                source.kind = Some(kind);
                source
            });
        backing.access = self.dice.some::<MemoryAccess>(50).map(|mode| {
            let mut access = BackingAccess::default();
            access.mode = Some(mode);
            access
        });
        backing.allocation = self.dice.some::<AllocationMode>(35).map(|mode| {
            let mut allocation = BackingAllocation::default();
            allocation.mode = Some(mode);
            allocation.threads = (mode == AllocationMode::Immediate).then(|| self.dice.maybe(40, &[1, 2, 8])).flatten();
            allocation
        });
        backing.nosharepages = self.dice.chance(15);
        backing.locked = self.dice.chance(10);
        backing.discard = self.dice.chance(15);
        if self.dice.chance(6) {
            backing.hugepages = Some(self.huge_pages());
        }
        self.shared = backing.access.as_ref().is_some_and(|it| it.mode == Some(MemoryAccess::Shared));
        self.config.memory_backing = Some(backing);
    }

    /// Pages of the size that every x86 host has a mount for.
    fn huge_pages(&mut self) -> HugePages {
        let mut pages = HugePages::default();
        if self.dice.chance(60) {
            let mut page = HugePage::default();
            page.size = Kib::from_mib(2);
            if self.cells > 1 && self.dice.chance(50) {
                page.nodeset = Some(CellSet::of_range(0, self.dice.number(0, self.cells - 1)));
            }
            pages.pages.push(page);
        }
        pages
    }

    /// Host node 0 is the one node that every host has.
    fn numa_tune(&mut self) {
        if !self.dice.chance(25) {
            return;
        }
        let mode = self.dice.pick(&[MemMode::Strict, MemMode::Preferred, MemMode::Interleave, MemMode::Restrictive]);
        let mut tune = NumaTune::default();
        let mut memory = NumaMemory::default();
        (memory.mode, memory.nodeset) = (Some(mode), Some(NodeSet::of(0)));
        tune.memory = Some(memory);
        for cell in 0..self.cells {
            if self.dice.chance(40) {
                let own = if mode == MemMode::Restrictive {
                    mode
                } else {
                    self.dice.pick(&[MemMode::Strict, MemMode::Preferred])
                };
                tune.memnode.push(MemNode::on(cell, own, NodeSet::of(0)));
            }
        }
        self.config.numatune = Some(tune);
    }

    fn hotplug(&mut self, total: Kib) {
        if self.cells > 0 && self.dice.chance(45) {
            let mut most = MaxMemory::default();
            most.size = Kib(total.0 + Kib::from_gib(16).0);
            most.slots = Some(self.dice.number(1, 16));
            self.config.max_memory = Some(most);
        }
    }

    fn memory_devices(&mut self) {
        let slots = self.config.max_memory.as_ref().and_then(|it| it.slots).unwrap_or(0);
        let count = if slots == 0 { 0 } else { self.dice.number(0, slots.min(3)) };
        for slot in 0..count {
            let mut device = MemoryDevice::default();
            let kind = self.dice.word_but::<MemoryModel>(&["sgx-epc"]);
            device.model = Some(kind);
            let mut target = MemoryDeviceTarget::default();
            target.size = Some(Kib::from_mib(128 << self.dice.number(0, 3)));
            target.node = Some(self.dice.number(0, self.cells - 1));
            let mut source = MemoryDeviceSource::default();
            match kind {
                MemoryModel::Nvdimm => {
                    source.path = Some("/images/nvdimm".to_owned());
                    source.pmem = self.dice.chance(30);
                    device.access = self.dice.some(40);
                    if self.dice.chance(30) {
                        let mut label = MemoryLabel::default();
                        label.size = Some(Kib(256));
                        target.label = Some(label);
                    }
                    target.readonly = target.label.is_none() && self.dice.chance(20);
                }
                MemoryModel::VirtioPmem => {
                    source.path = Some("/images/pmem".to_owned());
                    device.access = self.dice.some_but(40, &["private"]);
                    target.node = None;
                }
                MemoryModel::VirtioMem => {
                    target.block = Some(Kib::from_mib(2));
                    target.requested = Some(Kib(target.size.map_or(0, |it| it.0) / 2));
                }
                _ => {
                    device.access = self.dice.some(30);
                    if self.dice.chance(30) {
                        let mut at = DimmAddress::default();
                        at.slot = Some(slot);
                        device.info.address = Some(Address::Dimm(at));
                    }
                    if self.dice.chance(20) {
                        source.nodemask = Some(NodeSet::of(0));
                    }
                }
            }
            device.discard =
                if matches!(kind, MemoryModel::VirtioPmem | MemoryModel::Nvdimm) { None } else { self.dice.some(15) };
            device.source = (source != MemoryDeviceSource::default()).then_some(source);
            device.target = Some(target);
            self.config.devices.memories.push(device);
        }
        // They are part of the guest's memory.
        let extra: u64 = self.config.device_memory().map(|it| it.0).sum();
        if let Some(memory) = &mut self.config.memory {
            memory.size = Kib(memory.size.0 + extra);
        }
    }

    fn io_threads(&mut self) {
        if !self.dice.chance(35) {
            return;
        }
        self.io_threads = self.dice.number(1, 4);
        self.config.iothreads = Some(self.io_threads);
        if self.dice.chance(30) {
            let mut ids = IoThreadIds::default();
            for id in 1..=self.io_threads {
                let mut thread = IoThread::default();
                thread.id = id;
                if self.dice.chance(40) {
                    thread.thread_pool_min = Some(1);
                    thread.thread_pool_max = Some(16);
                }
                if self.dice.chance(10) {
                    let mut poll = IoThreadPoll::default();
                    poll.max = Some(10_000);
                    thread.poll = Some(poll);
                }
                ids.iothread.push(thread);
            }
            self.config.iothreadids = Some(ids);
        }
    }

    fn tuning(&mut self) {
        if self.dice.chance(15) {
            let mut tune = MemTune::default();
            tune.hard_limit = Some(Kib::from_gib(64));
            tune.soft_limit = self.dice.maybe(50, &[Kib::from_gib(32)]);
            self.config.memtune = Some(tune);
        }
        if self.dice.chance(15) {
            let mut tune = CpuTune::default();
            tune.shares = Some(u64::from(self.dice.number(2, 4096)));
            tune.quota = self.dice.maybe(50, &[-1, 20_000]);
            self.config.cputune = Some(tune);
        }
    }

    /// Which vCPUs are there, one by one.
    fn each_vcpu(&mut self) {
        let mut vcpus = Vcpus::default();
        let mut online = 0;
        // Those that stay come first; sometimes not, which is refused.
        let mut pluggable = false;
        for id in 0..self.vcpus {
            let mut state = VcpuState::default();
            state.id = id;
            let enabled = id == 0 || self.dice.chance(60);
            online += u32::from(enabled);
            state.enabled = Some(enabled);
            pluggable |= id > 0 && self.dice.chance(40) || !enabled;
            state.hotpluggable = Some(pluggable && (!enabled || self.dice.chance(97)));
            vcpus.vcpu.push(state);
        }
        self.config.vcpus = Some(vcpus);
        if let Some(vcpu) = &mut self.config.vcpu {
            vcpu.current = Some(online);
        }
    }
}
