//! Memory: backends with their policies, and the guest's cells. Rules Q2 to Q13 of the NUMA rules.
//!
//! Policies come from the plan alone. What is left unbound here QEMU takes from the process policy that was set before it
//! was executed, or from the cpuset.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{DomainConfig, cpu::Cell},
    placement::{GuestCell, Kib, VcpuSet},
};

use super::{Input, backend::Backend, hmat, option::Opts};

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
fn rounded(size: Kib, input: &Input<'_>) -> Result<Kib> {
    let arch = &input.binary.arch;

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

/// The guest's memory without what is plugged in.
fn own_memory(input: &Input<'_>) -> Kib {
    let devices: Kib = input.config.devices.memories.iter().filter_map(|it| it.target.as_ref()?.size).sum();
    Kib(input.config.memory_total().0.saturating_sub(devices.0))
}

fn without_cells(input: &Input<'_>) -> Result<Memory> {
    let size = rounded(own_memory(input), input)?;
    let plan = input.plan.and_then(|it| it.cells.first());
    let mut memory = Memory { size: size_argument(size, input)?, ..Memory::default() };
    // A machine without a default backend makes its memory itself.
    if let Some(id) = &input.machine()?.default_ram_id {
        Backend::of_cell(input, plan, None)?.write(id, size, &mut memory.objects);
        memory.default_backend = Some(id.clone());
    }
    Ok(memory)
}

/// `-m`: what is there, and what there is room for.
fn size_argument(size: Kib, input: &Input<'_>) -> Result<String> {
    let max = input.config.max_memory.as_ref();
    let room = max.map(|it| rounded(it.size, input)).transpose()?;
    Ok(Opts::pair("size", format!("{}k", size.0))
        .maybe("slots", max.and_then(|it| it.slots).filter(|it| *it > 0))
        .maybe("maxmem", room.map(|it| format!("{}k", it.0)))
        .build())
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
            let plan = input.plan.and_then(|it| it.cell(number));
            Ok((number, cell, Backend::of_cell(input, plan, Some(cell))?))
        })
        .collect::<Result<_>>()?;
    // Q3
    let needed = hmat::wanted(input.config)
        || !input.machine()?.numa_mem_supported
        || backends.iter().any(|(_, _, backend)| backend.needed());
    let mut memory = Memory::default();
    let mut total = Kib::ZERO;
    let mut nearest = hmat::nearest(input.config).into_iter();
    for (number, cell, backend) in &backends {
        // A guest that comes from elsewhere has its sizes already.
        let size = if input.incoming.is_some() { cell.memory } else { rounded(cell.memory, input)? };
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
    let whole = match input.incoming {
        // What the definition says, in whole MiB.
        Some(_) => Kib(own_memory(input).0 >> 10 << 10),
        None => rounded(total, input)?,
    };
    memory.size = size_argument(whole, input)?;
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
