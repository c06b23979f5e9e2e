//! Memory: backends with their policies, and the guest's cells. Rules Q2 to Q13 of the NUMA rules.
//!
//! Policies come from the plan alone. What is left unbound here QEMU takes from the process policy that was set before it
//! was executed, or from the cpuset.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        DomainConfig,
        cpu::Cell,
        memory::{AllocationMode, BackingType, MemoryAccess, MemoryBacking},
    },
    placement::{CellPlan, GuestCell, Kib, PageSize, VcpuSet},
};

use super::{
    Input, hmat,
    option::{Members, Opts},
};

/// What the guest's memory becomes on the command line.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Argument of `-m`.
    pub(super) size: String,
    /// Backend of a machine without cells, for `-machine memory-backend=` (Q2).
    pub(super) default_backend: Option<String>,
    /// Arguments of `-object`.
    pub(super) objects: Vec<String>,
    /// Arguments of `-numa`.
    pub(super) numa: Vec<String>,
}

/// Whether the guest's memory is locked.
pub(super) fn locked(config: &DomainConfig) -> bool {
    config.memory_backing.as_ref().is_some_and(|it| it.locked)
}

/// Q10: sizes are multiples of 1 MiB, of 256 MiB on ppc64.
fn rounded(size: Kib, arch: &str) -> Result<Kib> {
    let granule = if arch.starts_with("ppc64") { Kib::from_mib(256) } else { Kib::from_mib(1) };
    let rounded = size.0.div_ceil(granule.0).checked_mul(granule.0).map(Kib);
    rounded.filter(|it| it.bytes().is_some()).ok_or_else(|| {
        Error::new(ErrorKind::InvalidConfig, format!("a memory of {} KiB is more than can be counted in bytes", size.0))
    })
}

pub(super) fn memory(input: &Input<'_>) -> Result<Memory> {
    let cells = input.config.cells();
    if cells.is_empty() { without_cells(input) } else { with_cells(input, cells) }
}

fn without_cells(input: &Input<'_>) -> Result<Memory> {
    let size = rounded(input.config.memory_total(), &input.binary.arch)?;
    let plan = input.plan.and_then(|it| it.cells.first());
    let mut memory = Memory { size: size_argument(size), ..Memory::default() };
    // A machine without a default backend makes its memory itself.
    if let Some(id) = &input.machine()?.default_ram_id {
        Backend { input, plan, cell: None }.write(id, size, &mut memory.objects);
        memory.default_backend = Some(id.clone());
    }
    Ok(memory)
}

fn size_argument(size: Kib) -> String {
    Opts::pair("size", format!("{}k", size.0)).build()
}

fn with_cells(input: &Input<'_>, cells: &[Cell]) -> Result<Memory> {
    if cells.iter().all(|cell| vcpus(cell).is_empty()) {
        // Q12
        let problem = "no guest cell has a vCPU; give at least one cell 'cpus'";
        return Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", "/domain/cpu/numa"));
    }
    let number = |(at, cell): (u32, &Cell)| GuestCell(cell.id.unwrap_or(at));
    let backends: Vec<(GuestCell, &Cell, Backend<'_>)> = (0u32..)
        .zip(cells)
        .map(|(at, cell)| {
            let number = number((at, cell));
            (number, cell, Backend { input, plan: input.plan.and_then(|it| it.cell(number)), cell: Some(cell) })
        })
        .collect();
    // Q3
    let needed = hmat::wanted(input.config)
        || !input.machine()?.numa_mem_supported
        || backends.iter().any(|(_, _, backend)| backend.needed());
    let mut memory = Memory::default();
    let mut total = Kib::ZERO;
    let mut nearest = hmat::nearest(input.config).into_iter();
    for (number, cell, backend) in &backends {
        let size = rounded(cell.memory, &input.binary.arch)?;
        total = total.saturating_add(size);
        let mut node = Opts::new("node").with("nodeid", number);
        for (first, last) in vcpus(cell).ranges() {
            node = node.with("cpus", if first == last { first.to_string() } else { format!("{first}-{last}") });
        }
        node = node.maybe("initiator", nearest.next().flatten());
        node = if needed {
            let id = format!("ram-node{number}");
            backend.write(&id, size, &mut memory.objects);
            node.with("memdev", id)
        } else {
            node.with("mem", size.mib_ceil())
        };
        memory.numa.push(node.build());
    }
    memory.size = size_argument(rounded(total, &input.binary.arch)?);
    let shape: Vec<(GuestCell, &Cell)> = backends.iter().map(|(number, cell, _)| (*number, *cell)).collect();
    memory.numa.extend(distances(&shape));
    memory.numa.extend(hmat::arguments(input.config));
    Ok(memory)
}

/// The vCPUs of a cell.
pub(super) fn vcpus(cell: &Cell) -> VcpuSet {
    cell.cpus.clone().unwrap_or_default()
}

/// Q13: all pairs as soon as one is given.
fn distances(cells: &[(GuestCell, &Cell)]) -> Vec<String> {
    if cells.iter().all(|(_, cell)| cell.distances.is_none()) {
        return Vec::new();
    }
    let pairs = cells.iter().flat_map(|from| cells.iter().map(move |to| (from, to)));
    pairs
        .map(|((from, cell), (to, _))| {
            let given = cell.distances.iter().flat_map(|it| &it.sibling).find(|it| it.id == to.0);
            let value = given.map_or(if from == to { 10 } else { 20 }, |it| it.value);
            Opts::new("dist").with("src", from).with("dst", to).with("val", value).build()
        })
        .collect()
}

/// What decides about one memory backend.
struct Backend<'a> {
    input: &'a Input<'a>,
    plan: Option<&'a CellPlan>,
    cell: Option<&'a Cell>,
}

impl Backend<'_> {
    fn backing(&self) -> Option<&MemoryBacking> {
        self.input.config.memory_backing.as_ref()
    }

    fn source(&self) -> Option<BackingType> {
        self.backing()?.source.as_ref()?.kind
    }

    fn page(&self) -> Option<Kib> {
        match self.plan?.page {
            PageSize::Huge(size) => Some(size),
            _ => None,
        }
    }

    /// Q9: the cell's own, else the guest's.
    fn access(&self) -> Option<MemoryAccess> {
        let cell = self.cell.and_then(|it| it.mem_access);
        cell.or_else(|| self.backing()?.access.as_ref()?.mode)
    }

    /// Q4
    fn needed(&self) -> bool {
        self.page().is_some()
            || self.plan.is_some_and(|it| it.own_policy)
            || self.access().is_some()
            || matches!(self.source(), Some(BackingType::File | BackingType::Memfd))
    }

    /// Q11
    fn preallocates(&self) -> bool {
        let immediate = self.backing().and_then(|it| it.allocation.as_ref()).and_then(|it| it.mode);
        self.page().is_some() || immediate == Some(AllocationMode::Immediate)
    }

    fn write(&self, id: &str, size: Kib, objects: &mut Vec<String>) {
        let context = self.thread_context(id);
        let mut members = self.kind(id).with("id", id).with("size", size.0.saturating_mul(1024));
        members = self.policy(members);
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

    /// Q5. Huge pages and memory that is shared come from memfd, which needs no mount and leaves no file; a file
    /// only if the definition asks for one.
    fn kind(&self, id: &str) -> Members {
        let share = self.access().map(|it| it == MemoryAccess::Shared);
        if let Some(page) = self.page() {
            return Members::new("qom-type", "memory-backend-memfd")
                .with("hugetlb", true)
                .with("hugetlbsize", page.0.saturating_mul(1024))
                .with("share", share.unwrap_or(true));
        }
        if self.source() == Some(BackingType::File) {
            let whole = self.backing().is_some_and(|it| it.discard).then_some(true);
            return Members::new("qom-type", "memory-backend-file")
                .with("mem-path", self.input.folders.ram.join(id).to_string_lossy())
                .with("share", share.unwrap_or(false))
                .maybe("discard-data", self.cell.and_then(|it| it.discard).or(whole));
        }
        if share == Some(true) || self.source() == Some(BackingType::Memfd) {
            return Members::new("qom-type", "memory-backend-memfd").with("share", share.unwrap_or(true));
        }
        Members::new("qom-type", "memory-backend-ram")
    }

    /// Q6 and Q7
    fn policy(&self, members: Members) -> Members {
        let policy = self.plan.map(|it| &it.policy);
        let Some((policy, word)) = policy.and_then(|it| Some((it, it.qemu_word()?))) else { return members };
        let nodes: Vec<u32> = policy.nodes.iter().map(u32::from).collect();
        members.with("host-nodes", nodes).with("policy", word)
    }

    /// Q11: the threads that preallocate run near the memory, where QEMU can be told (7.2).
    fn thread_context(&self, backend: &str) -> Option<(String, String)> {
        let nodes = self.plan?.prealloc_nodes.as_ref().filter(|it| !it.is_empty())?;
        if !self.preallocates() || !self.input.binary.has_type("thread-context") {
            return None;
        }
        let id = format!("tc-{backend}");
        let nodes: Vec<u32> = nodes.iter().map(u32::from).collect();
        let object = Members::new("qom-type", "thread-context").with("id", id.clone()).with("node-affinity", nodes);
        Some((id, object.build()))
    }
}
