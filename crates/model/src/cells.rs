//! Guest cells: rules C1–C4 and C8–C13 of libvirt's format. C2 and C6 are the parser's, C5 is QEMU's, C7 is completion's.

use std::collections::{BTreeMap, HashSet};

use polyvirt_numa_placement::{CellSet, VcpuSet};
use polyvirt_xml::{Positions, Problem, Problems};

use crate::check::MAX_PROBLEMS;
use crate::controller::ControllerKind;
use crate::cpu::{AccessType, Cell, Distances, Interconnects, Sibling};
use crate::domain::DomainConfig;

const NUMA: &str = "/domain/cpu/numa";
/// More cells than any hypervisor takes (QEMU: 128). Tables of distances grow with the square.
pub(crate) const MAX_CELLS: usize = 1024;
/// Distance of a cell to itself, by ACPI's SLIT.
const LOCAL: u32 = 10;

/// Which connection an entry of `<interconnects>` is about: kind, initiator, target, cache, type.
type Connection = (bool, u32, u32, u32, Option<AccessType>);

/// Reports every broken rule. Paths are by position in the document, so this comes before cells are sorted.
pub(crate) fn check(config: &DomainConfig, positions: &Positions) -> Problems {
    let mut rules = Rules { config, positions, problems: Problems::new(), cells: config.cells() };
    let numa = config.cpu.as_ref().and_then(|cpu| cpu.numa.as_ref());
    if numa.is_some_and(|numa| numa.cell.is_empty()) {
        rules.broken("C1", NUMA, "<numa> has no <cell>: add one or remove it".to_owned());
    } else if rules.cells.len() > MAX_CELLS {
        rules.broken("C1", NUMA, format!("{} cells, at most {MAX_CELLS} are possible", rules.cells.len()));
        return rules.problems;
    } else if numa.is_some() {
        rules.numbers();
        rules.vcpus();
        rules.distances();
        rules.caches();
        if let Some(interconnects) = numa.and_then(|numa| numa.interconnects.as_ref()) {
            rules.interconnects(interconnects);
        }
    }
    rules.hugepages();
    rules.device_nodes();
    rules.problems
}

struct Rules<'a> {
    config: &'a DomainConfig,
    positions: &'a Positions,
    problems: Problems,
    cells: &'a [Cell],
}

/// The number of the cell at a position.
fn id(cells: &[Cell], index: usize) -> u32 {
    cells[index].id.unwrap_or_else(|| u32::try_from(index).unwrap_or(u32::MAX))
}

/// `cell[2]`, or `cell` if there is only one.
fn path(cells: usize, index: usize, rest: &str) -> String {
    if cells == 1 { format!("{NUMA}/cell{rest}") } else { format!("{NUMA}/cell[{}]{rest}", index + 1) }
}

impl Rules<'_> {
    fn broken(&mut self, rule: &'static str, path: &str, message: String) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let problem: Problem = self.positions.error(path, message).with_rule(rule);
        self.problems.push(problem);
    }

    fn exists(&self, cell: u32) -> bool {
        usize::try_from(cell).is_ok_and(|cell| cell < self.cells.len())
    }

    fn path(&self, index: usize, rest: &str) -> String {
        path(self.cells.len(), index, rest)
    }

    /// C1: ids are 0…n-1, each once.
    fn numbers(&mut self) {
        let mut seen = HashSet::new();
        let last = self.cells.len() - 1;
        for index in 0..self.cells.len() {
            let id = id(self.cells, index);
            let path = self.path(index, "/@id");
            if !self.exists(id) {
                let message = format!("cell {id} leaves a gap, the ids of {} cells are 0 to {last}", last + 1);
                self.broken("C1", &path, message);
            } else if !seen.insert(id) {
                self.broken("C1", &path, format!("there are two cells {id}, each id is given once"));
            }
        }
    }

    /// C3, C4: a vCPU is in one cell, and there is such a vCPU.
    fn vcpus(&mut self) {
        let max = self.config.vcpus_max();
        let mut taken = VcpuSet::new();
        for (index, cell) in self.cells.iter().enumerate() {
            let Some(cpus) = &cell.cpus else { continue };
            let path = self.path(index, "/@cpus");
            let twice = taken.intersection(cpus);
            if !twice.is_empty() {
                self.broken("C3", &path, format!("vCPU {twice} is in another cell already, each is in one"));
            }
            if let Some(last) = cpus.last().filter(|last| last.0 >= max) {
                let message =
                    format!("there is no vCPU {last}, the maximum is {max}: they are 0 to {}", max.saturating_sub(1));
                self.broken("C4", &path, message);
            }
            taken = taken.union(cpus);
        }
    }

    /// C8.
    fn distances(&mut self) {
        for (index, cell) in self.cells.iter().enumerate() {
            let Some(Distances { sibling }) = &cell.distances else { continue };
            let own = id(self.cells, index);
            if sibling.is_empty() {
                let path = self.path(index, "/distances");
                self.broken("C8", &path, "<distances> has no <sibling>: add one or remove it".to_owned());
            }
            for (at, Sibling { id: other, value }) in sibling.iter().enumerate() {
                let at = if sibling.len() == 1 { String::new() } else { format!("[{}]", at + 1) };
                let path = |name: &str| self.path(index, &format!("/distances/sibling{at}/@{name}"));
                let (id_path, value_path) = (path("id"), path("value"));
                if !self.exists(*other) {
                    let message = format!("there is no cell {other}, they are 0 to {}", self.cells.len() - 1);
                    self.broken("C8", &id_path, message);
                }
                if !(LOCAL..=255).contains(value) {
                    self.broken("C8", &value_path, format!("{value} is no distance, 10 to 255 are possible"));
                } else if (*value == LOCAL) != (*other == own) {
                    let message = format!(
                        "the distance from {own} to {other} is {value}: 10 is for a cell to itself, and only that"
                    );
                    self.broken("C8", &value_path, message);
                }
            }
        }
    }

    /// C10, caches.
    fn caches(&mut self) {
        for (index, cell) in self.cells.iter().enumerate() {
            let mut levels = HashSet::new();
            for (at, cache) in cell.cache.iter().enumerate() {
                let at = if cell.cache.len() == 1 { String::new() } else { format!("[{}]", at + 1) };
                let path = self.path(index, &format!("/cache{at}"));
                let level = cache.level;
                if !(1..=3).contains(&level) {
                    self.broken("C10", &format!("{path}/@level"), format!("cache level {level}, 1 to 3 are possible"));
                } else if !levels.insert(level) {
                    self.broken(
                        "C10",
                        &format!("{path}/@level"),
                        format!("a second cache of level {level}, a cell has one of each"),
                    );
                }
                let missing = [
                    (cache.associativity.is_none(), "attribute 'associativity'"),
                    (cache.policy.is_none(), "attribute 'policy'"),
                    (cache.size.is_none(), "element <size>"),
                    (cache.line.is_none(), "element <line>"),
                ];
                for (_, what) in missing.into_iter().filter(|(missing, _)| *missing) {
                    self.broken("C10", &path, format!("<cache> lacks its {what}"));
                }
            }
        }
    }

    /// C10, interconnects.
    fn interconnects(&mut self, all: &Interconnects) {
        let latencies = all.latency.iter().map(|l| (false, l.initiator, l.target, l.cache.unwrap_or(0), l.kind));
        let bandwidths = all.bandwidth.iter().map(|b| (true, b.initiator, b.target, b.cache.unwrap_or(0), b.kind));
        let mut seen: HashSet<Connection> = HashSet::new();
        let mut directions: HashSet<(u32, u32)> = HashSet::new();
        let mut index = [0, 0];
        for connection in latencies.chain(bandwidths) {
            let (is_bandwidth, initiator, target, ..) = connection;
            let (name, count, at) = if is_bandwidth {
                ("bandwidth", all.bandwidth.len(), &mut index[1])
            } else {
                ("latency", all.latency.len(), &mut index[0])
            };
            *at += 1;
            let at = if count == 1 { String::new() } else { format!("[{at}]") };
            let path = format!("{NUMA}/interconnects/{name}{at}");
            self.connection(&path, connection);
            if !seen.insert(connection) {
                self.broken(
                    "C10",
                    &path,
                    format!("a second <{name}> from {initiator} to {target} of the same kind, keep one of them"),
                );
            }
            if initiator != target && directions.contains(&(target, initiator)) {
                let message = format!("there is an entry from {target} to {initiator} already, one direction is given");
                self.broken("C10", &path, message);
            }
            directions.insert((initiator, target));
        }
    }

    fn connection(&mut self, path: &str, (_, initiator, target, cache, kind): Connection) {
        let cell_of = |number: u32| (0..self.cells.len()).find(|&index| id(self.cells, index) == number);
        let (from, to) = (cell_of(initiator), cell_of(target));
        let last = self.cells.len() - 1;
        if kind.is_none() {
            self.broken("C10", path, "lacks its attribute 'type', one of access, read, write".to_owned());
        }
        match from {
            None => {
                let message = format!("there is no cell {initiator}, they are 0 to {last}");
                self.broken("C10", &format!("{path}/@initiator"), message);
            }
            Some(index) if self.cells[index].cpus.as_ref().is_none_or(VcpuSet::is_empty) => {
                let message = format!("cell {initiator} has no vCPUs and initiates nothing, name a cell that has");
                self.broken("C10", &format!("{path}/@initiator"), message);
            }
            Some(_) => {}
        }
        match to {
            None => {
                let message = format!("there is no cell {target}, they are 0 to {last}");
                self.broken("C10", &format!("{path}/@target"), message);
            }
            Some(index) if cache != 0 && !self.cells[index].cache.iter().any(|known| known.level == cache) => {
                let message = format!("cell {target} has no cache of level {cache}, add it, or name 0 for its memory");
                self.broken("C10", &format!("{path}/@cache"), message);
            }
            Some(_) => {}
        }
    }

    /// C11.
    fn hugepages(&mut self) {
        let Some(hugepages) = self.config.memory_backing.as_ref().and_then(|backing| backing.hugepages.as_ref()) else {
            return;
        };
        let pages = &hugepages.pages;
        let mut taken = CellSet::new();
        let mut masters = 0;
        for (at, page) in pages.iter().enumerate() {
            let at = if pages.len() == 1 { String::new() } else { format!("[{}]", at + 1) };
            let path = format!("/domain/memoryBacking/hugepages/page{at}");
            let set_path = format!("{path}/@nodeset");
            // Without cells a set of exactly 0 is dropped, so it counts as none.
            let dropped = self.cells.is_empty() && page.nodeset == Some(CellSet::of(0));
            let Some(nodeset) = page.nodeset.as_ref().filter(|_| !dropped) else {
                masters += 1;
                if masters > 1 {
                    self.broken("C11", &path, "a second <page> without nodeset, one is for all other cells".to_owned());
                }
                continue;
            };
            if let Some(last) = nodeset.last().filter(|last| !self.exists(last.0)) {
                let message = format!("there is no cell {last}, the guest has {} cells", self.cells.len());
                self.broken("C11", &set_path, message);
            }
            let twice = taken.intersection(nodeset);
            if !twice.is_empty() {
                self.broken("C11", &set_path, format!("cell {twice} has a page size already, each has one"));
            }
            taken = taken.union(nodeset);
        }
    }

    /// C12, C13: cells that devices name.
    fn device_nodes(&mut self) {
        let devices = &self.config.devices;
        let memories = devices.memories.iter().enumerate().map(|(at, device)| {
            ("memory", devices.memories.len(), at, device.target.as_ref().and_then(|target| target.node), "C12")
        });
        let controllers = devices.controllers.iter().enumerate().map(|(at, controller)| {
            let node = controller.target.as_ref().and_then(|target| target.node);
            ("controller", devices.controllers.len(), at, node, "C13")
        });
        for (name, count, at, node, rule) in memories.chain(controllers) {
            let Some(node) = node.filter(|&node| !self.exists(node)) else { continue };
            let at = if count == 1 { String::new() } else { format!("[{}]", at + 1) };
            let path = format!("/domain/devices/{name}{at}/target/node");
            let message = format!("there is no cell {node}, the guest has {} cells", self.cells.len());
            self.broken(rule, &path, message);
        }
        for (at, controller) in devices.controllers.iter().enumerate() {
            let has_node = controller.target.as_ref().is_some_and(|target| target.node.is_some());
            if has_node && controller.kind == Some(ControllerKind::Pci) && controller.index == Some(0) {
                let at = if devices.controllers.len() == 1 { String::new() } else { format!("[{}]", at + 1) };
                let path = format!("/domain/devices/controller{at}/target/node");
                let message =
                    "the first PCI bus belongs to no cell: leave <node> out, or give the controller another index";
                self.broken("C13", &path, message.to_owned());
            }
        }
    }
}

/// Numbers cells by position, sorts them, drops empty CPU sets and fills distances (C1, C3, C9, C11).
pub(crate) fn complete(config: &mut DomainConfig) {
    let no_cells = config.cells().is_empty();
    if let Some(hugepages) = config.memory_backing.as_mut().and_then(|backing| backing.hugepages.as_mut())
        && no_cells
    {
        let zero = CellSet::of(0);
        for page in hugepages.pages.iter_mut().filter(|page| page.nodeset.as_ref() == Some(&zero)) {
            page.nodeset = None;
        }
    }
    let Some(numa) = config.cpu.as_mut().and_then(|cpu| cpu.numa.as_mut()) else { return };
    for index in 0..numa.cell.len() {
        numa.cell[index].id = Some(id(&numa.cell, index));
        if numa.cell[index].cpus.as_ref().is_some_and(VcpuSet::is_empty) {
            numa.cell[index].cpus = None;
        }
    }
    numa.cell.sort_by_key(|cell| cell.id);
    fill_distances(&mut numa.cell);
}

/// C9: the way back is as far as the way there, if nothing else is said, and a cell that names distances is 10 from itself.
fn fill_distances(cells: &mut [Cell]) {
    let mut known: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for cell in cells.iter() {
        let from = cell.id.unwrap_or_default();
        for sibling in cell.distances.iter().flat_map(|distances| &distances.sibling) {
            known.insert((from, sibling.id), sibling.value);
        }
    }
    for ((from, to), value) in known.clone() {
        known.entry((to, from)).or_insert(value);
        known.entry((from, from)).or_insert(LOCAL);
        known.entry((to, to)).or_insert(LOCAL);
    }
    for cell in cells {
        let from = cell.id.unwrap_or_default();
        let sibling: Vec<Sibling> =
            known.range((from, 0)..=(from, u32::MAX)).map(|(&(_, id), &value)| Sibling { id, value }).collect();
        if !sibling.is_empty() {
            cell.distances = Some(Distances { sibling });
        }
    }
}
