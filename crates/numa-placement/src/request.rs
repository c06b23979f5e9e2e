//! What is asked of the engine, for one guest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::PageRequest;
use crate::rules::Stored;
use crate::set::{CpuSet, NodeSet};
use crate::shape::GuestShape;
use crate::units::{GuestCell, HostNode, IoThreadId, Kib, VcpuId};

/// Who decides for `placement='auto'`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AdviceSource {
    /// The engine of this crate.
    #[default]
    Engine,
    /// Somebody else did: these nodes, as numad would answer. CPUs are all CPUs of them, memory those that have some.
    Given(NodeSet),
}

/// Whether an automatic placement may use several nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Span {
    /// One node or nothing.
    Never,
    /// One node if the guest fits there without overloading its CPUs, else what costs least; every further node costs.
    #[default]
    IfNeeded,
    /// What costs least, also where one node would do.
    Allowed,
}

/// How a guest with CPUs of its own is put on the threads of cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Threads {
    /// Siblings of the same core as far as there are some, else any threads.
    #[default]
    Prefer,
    /// Only threads that have a sibling in the guest too.
    Require,
    /// One thread of each core, and nobody on the others.
    Isolate,
}

/// Whether more ordinary memory may be promised than there is. Huge pages never are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overcommit {
    /// Never: any guest that does not fit is refused.
    Never,
    /// Where the definition names nodes or binds nothing, as libvirt allows; it stands in `Plan::weakened`. Automatic
    /// placement never overcommits, and nothing larger than the nodes' installed memory is accepted.
    #[default]
    Named,
}

/// What kernel and cgroups offer for binding memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KernelSupport {
    /// A cpuset controller is usable and allowed, so that `cpuset.mems` confines the guest.
    pub cpuset: bool,
    /// `MPOL_PREFERRED_MANY` (Linux 5.15).
    pub preferred_many: bool,
    /// `MPOL_WEIGHTED_INTERLEAVE` (Linux 6.9).
    pub weighted_interleave: bool,
}

impl Default for KernelSupport {
    /// A kernel with `MPOL_PREFERRED_MANY` and no usable cpuset controller.
    fn default() -> Self {
        KernelSupport { cpuset: false, preferred_many: true, weighted_interleave: false }
    }
}

impl KernelSupport {
    /// What a kernel of this release has (`6.1.0-18-amd64`); an unreadable one counts as old.
    #[must_use]
    pub fn of_release(release: &str) -> KernelSupport {
        let mut numbers = release.split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        KernelSupport { cpuset: false, preferred_many: version >= (5, 15), weighted_interleave: version >= (6, 9) }
    }

    /// Whether a cpuset controller is usable.
    #[must_use]
    pub const fn with_cpuset(mut self, usable: bool) -> KernelSupport {
        self.cpuset = usable;
        self
    }
}

/// A memory device of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryDeviceRequest {
    /// The cell it belongs to.
    pub cell: Option<GuestCell>,
    /// Its size.
    pub size: Kib,
    /// Its page size; `None`: that of its cell.
    pub page: Option<PageRequest>,
    /// Host nodes of its own, replacing those of its cell (Q8).
    pub nodes: Option<NodeSet>,
}

impl MemoryDeviceRequest {
    /// The cell whose `memnode` is the device's: one of no cell (virtio-pmem) has none, and the guest's own policy.
    pub(crate) fn policy_cell(&self) -> GuestCell {
        self.cell.unwrap_or(GuestCell(u32::MAX))
    }

    /// A device of this size in that cell.
    #[must_use]
    pub fn new(cell: Option<GuestCell>, size: Kib) -> MemoryDeviceRequest {
        MemoryDeviceRequest { cell, size, page: None, nodes: None }
    }
}

/// What is asked of the engine. Fields are public; [`Request::new`] gives a guest without any wish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Request {
    /// The guest's name, for messages.
    pub name: String,
    /// What the guest sees.
    pub shape: GuestShape,
    /// Placement words and policies, as [`crate::rules::store`] leaves them.
    pub stored: Stored,
    /// `vcpupin`.
    pub vcpu_pins: BTreeMap<VcpuId, CpuSet>,
    /// `emulatorpin`.
    pub emulator_pin: Option<CpuSet>,
    /// All I/O threads of the guest.
    pub io_threads: Vec<IoThreadId>,
    /// `iothreadpin`.
    pub io_thread_pins: BTreeMap<IoThreadId, CpuSet>,
    /// Page size of the guest, and of every cell without its own.
    pub page: PageRequest,
    /// Page sizes of single cells.
    pub cell_pages: BTreeMap<GuestCell, PageRequest>,
    /// Whether memory is preallocated. Huge pages always are.
    pub prealloc: bool,
    /// Memory devices.
    pub devices: Vec<MemoryDeviceRequest>,
    /// Who decides for `auto`.
    pub advice: AdviceSource,
    /// What kernel and cgroups offer.
    pub kernel: KernelSupport,
    /// Whether an automatic placement may use several nodes.
    pub span: Span,
    /// Whether more memory may be promised than there is.
    pub overcommit: Overcommit,
    /// A node for each guest cell instead of one advice for all, where CPUs and memory are automatic.
    #[serde(default)]
    pub per_cell: bool,
    /// Memory to keep for hot-plug, in the page size of the guest, where the guest's other memory is.
    #[serde(default)]
    pub headroom: Kib,
    /// Nodes of devices that the guest gets; the closer its vCPUs are to them the better. One node for each device.
    #[serde(default)]
    pub near: Vec<HostNode>,
    /// CPUs of its own for every vCPU, on threads in this way; `None`: guests share CPUs.
    #[serde(default)]
    pub dedicated: Option<Threads>,
    /// Memory that is interleaved is dealt out by the weights of the nodes, where the kernel knows them.
    #[serde(default)]
    pub weighted: bool,
    /// Whether the plan tells how it was found. The decision is the same without, and faster.
    #[serde(default = "yes")]
    pub traced: bool,
}

const fn yes() -> bool {
    true
}

impl Request {
    /// A guest of this shape without any wish: static placement, nothing bound, ordinary pages.
    #[must_use]
    pub fn new(name: impl Into<String>, shape: GuestShape) -> Request {
        Request {
            name: name.into(),
            shape,
            stored: Stored::default(),
            vcpu_pins: BTreeMap::new(),
            emulator_pin: None,
            io_threads: Vec::new(),
            io_thread_pins: BTreeMap::new(),
            page: PageRequest::Base,
            cell_pages: BTreeMap::new(),
            prealloc: false,
            devices: Vec::new(),
            advice: AdviceSource::Engine,
            kernel: KernelSupport::default(),
            span: Span::IfNeeded,
            overcommit: Overcommit::Named,
            per_cell: false,
            headroom: Kib::ZERO,
            near: Vec::new(),
            dedicated: None,
            weighted: false,
            traced: true,
        }
    }

    /// CPUs and memory automatic, as `<vcpu placement='auto'>` asks for.
    #[must_use]
    pub fn auto(name: impl Into<String>, shape: GuestShape) -> Request {
        Request { stored: Stored::auto(), ..Request::new(name, shape) }
    }

    /// These placement words and policies.
    #[must_use]
    pub fn stored(mut self, stored: Stored) -> Request {
        self.stored = stored;
        self
    }

    /// This pin of a vCPU.
    #[must_use]
    pub fn pin_vcpu(mut self, vcpu: VcpuId, cpus: CpuSet) -> Request {
        self.vcpu_pins.insert(vcpu, cpus);
        self
    }

    /// This pin of the emulator thread.
    #[must_use]
    pub fn pin_emulator(mut self, cpus: CpuSet) -> Request {
        self.emulator_pin = Some(cpus);
        self
    }

    /// This I/O thread, pinned if there is a set.
    #[must_use]
    pub fn io_thread(mut self, id: IoThreadId, pin: Option<CpuSet>) -> Request {
        self.io_threads.push(id);
        if let Some(cpus) = pin {
            self.io_thread_pins.insert(id, cpus);
        }
        self
    }

    /// This page size for the whole guest.
    #[must_use]
    pub fn pages(mut self, page: PageRequest) -> Request {
        self.page = page;
        self
    }

    /// This page size for one cell.
    #[must_use]
    pub fn cell_pages(mut self, cell: GuestCell, page: PageRequest) -> Request {
        self.cell_pages.insert(cell, page);
        self
    }

    /// Memory is preallocated.
    #[must_use]
    pub fn prealloc(mut self, prealloc: bool) -> Request {
        self.prealloc = prealloc;
        self
    }

    /// This memory device.
    #[must_use]
    pub fn device(mut self, device: MemoryDeviceRequest) -> Request {
        self.devices.push(device);
        self
    }

    /// This source of advice.
    #[must_use]
    pub fn advice(mut self, source: AdviceSource) -> Request {
        self.advice = source;
        self
    }

    /// This kernel.
    #[must_use]
    pub fn kernel(mut self, kernel: KernelSupport) -> Request {
        self.kernel = kernel;
        self
    }

    /// This rule of spanning nodes.
    #[must_use]
    pub fn span(mut self, span: Span) -> Request {
        self.span = span;
        self
    }

    /// A node for each guest cell.
    #[must_use]
    pub fn per_cell(mut self, wanted: bool) -> Request {
        self.per_cell = wanted;
        self
    }

    /// So much memory is kept for hot-plug.
    #[must_use]
    pub fn headroom(mut self, memory: Kib) -> Request {
        self.headroom = memory;
        self
    }

    /// A device of the guest is on this node.
    #[must_use]
    pub fn near(mut self, node: HostNode) -> Request {
        self.near.push(node);
        self
    }

    /// CPUs of its own for every vCPU.
    #[must_use]
    pub fn dedicated(mut self, threads: Threads) -> Request {
        self.dedicated = Some(threads);
        self
    }

    /// Interleaved memory by the weights of the nodes.
    #[must_use]
    pub fn weighted(mut self, wanted: bool) -> Request {
        self.weighted = wanted;
        self
    }

    /// Whether the plan tells how it was found.
    #[must_use]
    pub fn traced(mut self, traced: bool) -> Request {
        self.traced = traced;
        self
    }

    /// This rule of overcommitting memory.
    #[must_use]
    pub fn overcommit(mut self, overcommit: Overcommit) -> Request {
        self.overcommit = overcommit;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_by_their_release() {
        for (release, many, weighted) in
            [("6.1.0-18-amd64", true, false), ("5.14.0", false, false), ("6.12-rc1", true, true), ("odd", false, false)]
        {
            let kernel = KernelSupport::of_release(release);
            assert_eq!((kernel.preferred_many, kernel.weighted_interleave), (many, weighted), "{release}");
        }
    }

    #[test]
    fn a_request_survives_json() {
        let request = Request::auto("g", GuestShape::flat(2, Kib::from_gib(1)))
            .pin_vcpu(VcpuId(1), CpuSet::of_range(0, 3))
            .io_thread(IoThreadId(1), Some(CpuSet::of_range(0, 0)))
            .cell_pages(GuestCell(0), PageRequest::Size(Kib(2048)));
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
    }
}
