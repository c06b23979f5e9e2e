//! `-object memory-backend-*`: where the memory of a cell or device comes from. Rules Q4 to Q11 of the NUMA rules.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        cpu::Cell,
        memory::{AllocationMode, BackingType, MemoryAccess, MemoryBacking},
        memory_device::{MemoryDevice, MemoryModel},
    },
    placement::{CellPlan, Kib, MemPolicy, MemoryDevicePlan, NodeSet, PageSize},
};

use super::{Input, Purpose, option::Members};

/// What decides about one memory backend.
pub(super) struct Backend<'a> {
    input: &'a Input<'a>,
    policy: Option<&'a MemPolicy>,
    page: Option<Kib>,
    /// Whether it has nodes, pages or a place of its own.
    own: bool,
    access: Option<MemoryAccess>,
    discard: Option<bool>,
    /// A file of the host that is the memory.
    path: Option<&'a str>,
    /// A mount of huge pages, where one is used.
    mount: Option<String>,
    prealloc_nodes: Option<NodeSet>,
    model: Option<MemoryModel>,
    pmem: bool,
    align: Option<Kib>,
    /// The one that the machine names, which older releases called by its path.
    default: bool,
}

/// Where memory comes from.
enum Place {
    Anonymous,
    Memfd,
    File(String),
}

fn huge(page: PageSize) -> Option<Kib> {
    match page {
        PageSize::Huge(size) => Some(size),
        _ => None,
    }
}

impl<'a> Backend<'a> {
    pub(super) fn of_cell(input: &'a Input<'a>, plan: Option<&'a CellPlan>, cell: Option<&'a Cell>) -> Result<Self> {
        let page = plan.and_then(|it| huge(it.page));
        let backing = input.config.memory_backing.as_ref();
        let whole = backing.is_some_and(|it| it.discard).then_some(true);
        Ok(Self {
            input,
            policy: plan.map(|it| &it.policy),
            page,
            own: plan.is_some_and(|it| it.own_policy),
            access: access(backing, cell.and_then(|it| it.mem_access)),
            discard: cell.and_then(|it| it.discard).or(whole),
            path: None,
            mount: mount(input, page)?,
            prealloc_nodes: plan.and_then(|it| it.prealloc_nodes.clone()),
            model: None,
            pmem: false,
            align: None,
            default: cell.is_none(),
        })
    }

    pub(super) fn of_device(
        input: &'a Input<'a>,
        plan: Option<&'a MemoryDevicePlan>,
        device: &'a MemoryDevice,
        cell: Option<&'a Cell>,
    ) -> Result<Self> {
        let source = device.source.as_ref();
        let path = source.and_then(|it| it.path.as_deref());
        // A file has the pages of its file system.
        let page =
            plan.and_then(|it| huge(it.page)).filter(|_| path.is_none() && device.model != Some(MemoryModel::SgxEpc));
        let backing = input.config.memory_backing.as_ref();
        let whole = backing.is_some_and(|it| it.discard).then_some(true);
        let persistent = matches!(device.model, Some(MemoryModel::Nvdimm | MemoryModel::VirtioPmem));
        let own = source.is_some_and(|it| it.nodemask.is_some() || it.pagesize.is_some());
        Ok(Self {
            input,
            policy: plan.map(|it| &it.policy),
            page,
            own,
            // What a guest writes to persistent memory of virtio's reaches the file.
            access: if device.model == Some(MemoryModel::VirtioPmem) {
                device.access.or(Some(MemoryAccess::Shared))
            } else {
                access(backing, device.access.or_else(|| cell.and_then(|it| it.mem_access)))
            },
            // What is on persistent memory outlives the guest.
            discard: device.discard.or_else(|| cell.and_then(|it| it.discard)).or(whole).filter(|_| !persistent),
            path,
            mount: mount(input, page)?,
            prealloc_nodes: plan.and_then(|it| threads_near(input, it)),
            model: device.model,
            pmem: source.is_some_and(|it| it.pmem),
            align: source.and_then(|it| it.alignsize),
            default: false,
        })
    }

    fn backing(&self) -> Option<&MemoryBacking> {
        self.input.config.memory_backing.as_ref()
    }

    fn source(&self) -> Option<BackingType> {
        self.backing()?.source.as_ref()?.kind
    }

    /// Q4
    pub(super) fn needed(&self) -> bool {
        self.page.is_some()
            || self.own
            || self.path.is_some()
            || self.access.is_some()
            || matches!(self.source(), Some(BackingType::File | BackingType::Memfd))
    }

    /// Q11. Memory that is plugged in as the guest asks for it is not all there from the beginning.
    fn preallocates(&self) -> bool {
        let immediate = self.backing().and_then(|it| it.allocation.as_ref()).and_then(|it| it.mode);
        let wanted = self.page.is_some() || immediate == Some(AllocationMode::Immediate);
        match self.model {
            Some(MemoryModel::VirtioMem) => false,
            Some(MemoryModel::SgxEpc) => true,
            Some(MemoryModel::Nvdimm) => !self.pmem,
            _ => wanted,
        }
    }

    /// Whether the device takes its pages as soon as the guest gets them.
    pub(super) fn device_preallocates(&self) -> bool {
        let immediate = self.backing().and_then(|it| it.allocation.as_ref()).and_then(|it| it.mode);
        self.page.is_some() || immediate == Some(AllocationMode::Immediate)
    }

    pub(super) fn write(&self, id: &str, size: Kib, objects: &mut Vec<String>) {
        let context = self.thread_context(id);
        let mut members = self.kind(id).with("id", id).with("size", size.0.saturating_mul(1024));
        members = self.policy(members).maybe("align", self.align.map(|it| it.0.saturating_mul(1024)));
        if self.pmem {
            members = members.with("pmem", true);
        }
        if self.model == Some(MemoryModel::VirtioMem) {
            members = members.with("reserve", false);
        }
        if self.preallocates() {
            let threads = self.backing().and_then(|it| it.allocation.as_ref()).and_then(|it| it.threads);
            members = members.with("prealloc", true).maybe("prealloc-threads", threads);
        }
        if let Some((name, object)) = context {
            members = members.with("prealloc-context", name);
            objects.push(object);
        }
        objects.push(members.build());
    }

    /// Q5. What runs takes huge pages from memfd, which needs no mount and leaves no file; a file only if the definition asks
    /// for one.
    fn kind(&self, id: &str) -> Members {
        let share = self.access.map(|it| it == MemoryAccess::Shared);
        if self.model == Some(MemoryModel::SgxEpc) {
            return Members::new("qom-type", "memory-backend-epc");
        }
        let members = match self.place(id, share == Some(true)) {
            Place::Anonymous => return Members::new("qom-type", "memory-backend-ram"),
            Place::Memfd => {
                let members = Members::new("qom-type", "memory-backend-memfd").maybe("share", share);
                match self.page {
                    Some(page) => members.with("hugetlb", true).with("hugetlbsize", page.0.saturating_mul(1024)),
                    None => members,
                }
            }
            Place::File(path) => Members::new("qom-type", "memory-backend-file")
                .with("mem-path", path)
                .maybe("share", share)
                .maybe("discard-data", self.discard),
        };
        // So that its name in a migration is that of backends without a path.
        members.maybe("x-use-canonical-path-for-ramblock-id", self.default.then_some(false))
    }

    fn place(&self, id: &str, shared: bool) -> Place {
        // A device's file has the device's name, a cell's that of its memory.
        let file = if self.model.is_some() { id.strip_prefix("mem").unwrap_or(id) } else { id };
        let own_file = || self.input.folders.ram.join(file).to_string_lossy().into_owned();
        if let Some(path) = self.path {
            return Place::File(path.to_owned());
        }
        if self.source() == Some(BackingType::Memfd) {
            return Place::Memfd;
        }
        if self.page.is_some() {
            return self.mount.clone().map_or(Place::Memfd, Place::File);
        }
        let by_file = self.source() == Some(BackingType::File);
        match self.input.purpose {
            _ if by_file => Place::File(own_file()),
            Purpose::Shown if self.access.is_some() => Place::File(own_file()),
            Purpose::Run if shared => Place::Memfd,
            _ => Place::Anonymous,
        }
    }

    /// Q6 and Q7
    fn policy(&self, members: Members) -> Members {
        let Some((policy, word)) = self.policy.and_then(|it| Some((it, it.qemu_word()?))) else { return members };
        let nodes: Vec<u32> = policy.nodes.iter().map(u32::from).collect();
        members.with("host-nodes", nodes).with("policy", word)
    }

    /// Q11: the threads that preallocate run near the memory, where QEMU can be told (7.2).
    fn thread_context(&self, backend: &str) -> Option<(String, String)> {
        let nodes = self.prealloc_nodes.as_ref().filter(|it| !it.is_empty())?;
        if !self.preallocates()
            || self.model == Some(MemoryModel::SgxEpc)
            || !self.input.binary.has_type("thread-context")
        {
            return None;
        }
        let id = format!("tc-{backend}");
        let nodes: Vec<u32> = nodes.iter().map(u32::from).collect();
        let object = Members::new("qom-type", "thread-context").with("id", id.clone()).with("node-affinity", nodes);
        Some((id, object.build()))
    }
}

/// Q9: the cell's or device's own, else the guest's.
fn access(backing: Option<&MemoryBacking>, own: Option<MemoryAccess>) -> Option<MemoryAccess> {
    own.or_else(|| backing?.access.as_ref()?.mode)
}

/// The folder of huge pages of this size, in a command line that is shown with mounts.
fn mount(input: &Input<'_>, page: Option<Kib>) -> Result<Option<String>> {
    let Some(page) = page.filter(|_| input.purpose == Purpose::Shown && !input.settings.hugetlbfs.is_empty()) else {
        return Ok(None);
    };
    let Some(found) = input.settings.hugetlbfs.iter().find(|it| it.size_kib == page.0) else {
        let problem = format!("no hugetlbfs of {} KiB pages is mounted", page.0);
        return Err(Error::new(ErrorKind::NoResources, problem)
            .with("path", "/domain/memoryBacking/hugepages")
            .hint("mount one and name it in 'hugetlbfs'"));
    };
    Ok(Some(found.mount.join("libvirt/qemu").join(input.short_name()).to_string_lossy().into_owned()))
}

/// The nodes of the threads that preallocate a device's memory. Of CPUs that the emulator is pinned to only the cells tell
/// where they are.
fn threads_near(input: &Input<'_>, plan: &MemoryDevicePlan) -> Option<NodeSet> {
    let pinned = input.config.cputune.as_ref().is_some_and(|it| it.emulatorpin.is_some())
        || input.config.vcpu.as_ref().is_some_and(|it| it.cpuset.is_some());
    let nodes = plan.policy.nodes.clone();
    if !pinned {
        return Some(nodes);
    }
    let known = input.plan?.cells.iter().filter_map(|it| it.prealloc_nodes.as_ref());
    Some(known.fold(NodeSet::new(), |all, it| all.union(it)).intersection(&nodes))
}
