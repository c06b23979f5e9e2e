//! A host as a picture: its nodes, what is used, promised and free there, and who sits on them.

use std::collections::BTreeMap;

use polyvirt::placement::{CpuSet, HostNode, HostTopology, Kib, Node, NodeKind, NodePromise, PageSize, Plan, Promised};

use super::{Cpu, Distances, Figure, Ink, Line, Panel, Part, Picture, exact};

/// What of a guest is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Sitting {
    /// Its name.
    pub(crate) name: String,
    /// Its memory by node and page size.
    pub(crate) memory: Vec<(HostNode, PageSize, Kib)>,
    /// CPUs its vCPUs may run on.
    pub(crate) cpus: CpuSet,
    /// Whether its memory is among the promises already.
    pub(crate) booked: bool,
}

impl Sitting {
    /// A guest as planned.
    pub(crate) fn planned(name: &str, plan: &Plan, booked: bool) -> Self {
        let vcpus = plan.cells.iter().flat_map(|cell| &cell.vcpus);
        let cpus = vcpus.fold(CpuSet::new(), |cpus, vcpu| cpus.union(&vcpu.hard));
        Self { name: name.to_owned(), memory: plan.promised_memory(), cpus, booked }
    }

    /// KiB on a node, huge pages included.
    pub(crate) fn on(&self, node: HostNode) -> Kib {
        self.memory.iter().filter(|(id, _, _)| *id == node).map(|(_, _, size)| *size).sum()
    }

    fn ordinary_on(&self, node: HostNode) -> Kib {
        let here = self.memory.iter().filter(|(id, page, _)| *id == node && *page == PageSize::Base);
        here.map(|(_, _, size)| *size).sum()
    }
}

/// A device and the node it is at.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Device {
    /// `0000:3b:00.0`.
    pub(crate) address: String,
    /// `network`.
    pub(crate) class: &'static str,
    /// Its node.
    pub(crate) node: u32,
}

/// What is known of a host.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) topology: &'a HostTopology,
    pub(crate) promised: &'a Promised,
    pub(crate) guests: &'a [Sitting],
    pub(crate) devices: &'a [Device],
    /// Say what can still be promised.
    pub(crate) left: bool,
}

/// The host.
pub(crate) fn picture(title: &str, facts: Facts<'_>) -> Picture {
    let mut picture = Picture { title: title.to_owned(), ..Picture::default() };
    let inks: Vec<Ink> = facts.guests.iter().map(|guest| picture.guest(&guest.name)).collect();
    picture.panels = facts.topology.nodes().iter().map(|node| panel(node, facts, &inks)).collect();
    picture.distances = distances(facts.topology);
    picture.notes = facts.topology.notes().iter().map(|note| format!("note: {note}")).collect();
    picture
}

/// Distances, if there is more than one node.
pub(crate) fn distances(topology: &HostTopology) -> Option<Distances> {
    let count = topology.nodes().len();
    let row = |from| (0..count).map(|to| topology.distance_at(from, to)).collect();
    let ids = topology.nodes().iter().map(|node| node.id.0).collect();
    (count > 1).then(|| Distances { ids, rows: (0..count).map(row).collect() })
}

/// What is special about a node.
pub(crate) fn kind(node: &Node) -> &'static str {
    match node.kind {
        NodeKind::DeviceMemory if node.memory.is_zero() => "of a device, no memory",
        NodeKind::MemoryOnly => "memory only",
        NodeKind::DeviceMemory => "memory of a device",
        _ if node.memory.is_zero() => "no memory",
        _ => "",
    }
}

fn panel(node: &Node, facts: Facts<'_>, inks: &[Ink]) -> Panel {
    let promise = facts.promised.node(node.id).cloned().unwrap_or_default();
    let mut lines = Vec::new();
    if !node.memory.is_zero() {
        lines.push(memory(node, &promise, facts, inks));
    }
    if !promise.memory.is_zero() {
        let untouched = if promise.untouched.is_zero() {
            String::new()
        } else {
            format!(", {} of it not touched yet", promise.untouched)
        };
        let detail = format!("promised {}, untouched {}", exact(promise.memory), exact(promise.untouched));
        lines.push(Line::text("promised", format!("{}{untouched}", promise.memory)).detail(detail));
    }
    if !node.cpus.is_empty() {
        lines.extend(cpus(node, facts, inks));
    }
    lines.extend(pools(node, &promise, facts, inks));
    if facts.left {
        lines.extend(left(node, facts.promised));
    }
    lines.extend(devices(node, facts.devices));
    for (guest, ink) in facts.guests.iter().zip(inks) {
        lines.extend(guest_here(guest, *ink, node, facts.topology));
    }
    Panel { name: format!("node {}", node.id), tag: kind(node).to_owned(), detail: detail(node, &promise), lines }
}

/// What is promised to guests by name first, then what else is taken.
fn memory(node: &Node, promise: &NodePromise, facts: Facts<'_>, inks: &[Ink]) -> Line {
    let mut parts = Vec::new();
    let (mut named, mut coming) = (Kib::ZERO, Kib::ZERO);
    for (guest, ink) in facts.guests.iter().zip(inks) {
        let size = guest.ordinary_on(node.id);
        let sum = if guest.booked { &mut named } else { &mut coming };
        *sum = sum.saturating_add(size);
        parts.push(Part::memory(size, *ink, &guest.name));
    }
    let others = promise.memory.saturating_sub(named);
    let used = node.memory.saturating_sub(node.pooled()).saturating_sub(node.free);
    // Of what is promised a part is in use already, and is not to be drawn twice.
    let touched = promise.memory.saturating_sub(promise.untouched);
    let host = used.saturating_sub(touched);
    let mut all = vec![
        Part::memory(node.pooled(), Ink::Faint, "pools of huge pages"),
        Part::memory(host, Ink::Used, "used by the host and by what nobody promised"),
        Part::memory(others, Ink::Promised, "promised to other guests"),
    ];
    all.append(&mut parts);
    let detail = format!(
        "memory {}, used {}, free {}, reclaimable {}",
        exact(node.memory),
        exact(used),
        exact(node.free),
        exact(node.reclaimable)
    );
    let pooled = node.pooled();
    let pools = if pooled.is_zero() { String::new() } else { format!(" {pooled} in huge pages,") };
    let text = format!("{}:{pools} {used} used, {} free", node.memory, node.free);
    let text = if coming.is_zero() { text } else { format!("{text}, {coming} to come") };
    Line::bar("memory", all, node.memory.0, text).detail(detail)
}

fn cpus(node: &Node, facts: Facts<'_>, inks: &[Ink]) -> Vec<Line> {
    let online = facts.topology.online_cpus();
    // Who may run anywhere is nowhere in particular.
    let placed: Vec<(&Sitting, Ink)> =
        facts.guests.iter().zip(inks.iter().copied()).filter(|(guest, _)| guest.cpus != *online).collect();
    let ink = |id: u32| {
        let mut here = placed.iter().filter(|(guest, _)| guest.cpus.contains(id)).map(|(_, ink)| *ink);
        match (here.next(), here.next()) {
            (Some(ink), None) => ink,
            (Some(_), Some(_)) => Ink::Promised,
            _ if facts.topology.isolated_cpus().contains(id) => Ink::Isolated,
            _ => Ink::Plain,
        }
    };
    let groups = if node.caches.is_empty() { vec![node.cpus.clone()] } else { node.caches.clone() };
    let cells = |cache: &CpuSet| {
        let cores = node.cores.iter().map(|core| core.intersection(cache)).filter(|core| !core.is_empty());
        let grouped: Vec<CpuSet> = cores.collect();
        let named = grouped.iter().fold(CpuSet::new(), |all, core| all.union(core));
        let alone = cache.difference(&named);
        let ids = grouped.iter().chain([&alone]).flat_map(|core| core.iter().map(|cpu| cpu.0).collect::<Vec<_>>());
        ids.map(|id| Cpu { id, ink: ink(id) }).collect::<Vec<_>>()
    };
    let cells: Vec<Vec<Cpu>> = groups.iter().map(cells).filter(|group| !group.is_empty()).collect();
    let mut figure = Line::text("CPUs", format!("{}: {}", node.cpus, cores(node)));
    figure.figure = Figure::Cpus(cells);
    let mut lines = vec![figure];
    lines.extend(caches(&groups).map(|text| Line::text("caches", text)));
    lines
}

/// Which CPUs share a last-level cache, if that is known and parts the node.
fn caches(groups: &[CpuSet]) -> Option<String> {
    let is_told = groups.len() > 1 && groups.iter().any(|group| group.len() > 1);
    is_told.then(|| groups.iter().map(CpuSet::to_string).collect::<Vec<_>>().join("; "))
}

fn plural(count: impl TryInto<u64>, one: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

fn cores(node: &Node) -> String {
    let threads: Vec<usize> = node.cores.iter().map(CpuSet::len).collect();
    match (threads.iter().min(), threads.iter().max()) {
        (Some(1), Some(1)) => plural(threads.len(), "core"),
        (Some(least), Some(most)) if least == most => format!("{} of {most} threads", plural(threads.len(), "core")),
        (Some(least), Some(most)) => format!("{} of {least} to {most} threads", plural(threads.len(), "core")),
        _ => plural(node.cpus.len(), "CPU"),
    }
}

fn pools(node: &Node, promise: &NodePromise, facts: Facts<'_>, inks: &[Ink]) -> Vec<Line> {
    let line = |pool: &polyvirt::placement::PagePool| {
        let used = pool.total.saturating_sub(pool.free);
        let promised = promise.pages.get(&pool.size).copied().unwrap_or(0);
        let mut parts = vec![Part { size: used, ink: Ink::Used, detail: format!("{used} pages in use") }];
        for (guest, ink) in facts.guests.iter().zip(inks).filter(|(guest, _)| !guest.booked) {
            let here = guest.memory.iter().filter(|(id, page, _)| *id == node.id && *page == PageSize::Huge(pool.size));
            let pages: u64 = here.map(|(_, _, size)| size.pages(pool.size)).sum();
            parts.push(Part { size: pages, ink: *ink, detail: format!("{}: {pages} pages", guest.name) });
        }
        let said = if promised == 0 { String::new() } else { format!(", {promised} promised") };
        let detail =
            format!("pages of {}: {} there, {} free, {promised} promised", exact(pool.size), pool.total, pool.free);
        let text = format!("{} of {} pages free{said}", pool.free, pool.total);
        Line::bar(&pool.size.to_string(), parts, pool.total, text).detail(detail)
    };
    node.pools.iter().filter(|pool| pool.total > 0).map(line).collect()
}

/// What may still be promised.
fn left(node: &Node, promised: &Promised) -> Vec<Line> {
    let memory = promised.memory_left(node);
    let mut lines = Vec::new();
    if !node.memory.is_zero() {
        lines.push(Line::text("left", format!("{memory} can be promised")).detail(format!(
            "left {}, kept for the host {}",
            exact(memory),
            exact(node.reserve)
        )));
    }
    for pool in node.pools.iter().filter(|pool| pool.total > 0) {
        let pages = promised.pages_left(node, pool.size);
        lines.push(Line::text("", format!("{} of {} can be promised", plural(pages, "page"), pool.size)));
    }
    let own = promised.node(node.id).map(|promise| promise.dedicated.clone()).unwrap_or_default();
    if !own.is_empty() {
        lines.push(Line::text("", format!("CPUs {} belong to guests, {} to nobody", own, node.cpus.difference(&own))));
    }
    lines
}

fn devices(node: &Node, devices: &[Device]) -> Vec<Line> {
    let mut classes = BTreeMap::<&str, Vec<&str>>::new();
    for device in devices.iter().filter(|device| device.node == node.id.0) {
        classes.entry(device.class).or_default().push(&device.address);
    }
    let line = |(at, (class, addresses)): (usize, (&str, Vec<&str>))| {
        Line::text(if at == 0 { "devices" } else { "" }, format!("{class} {}", addresses.join(", ")))
    };
    classes.into_iter().enumerate().map(line).collect()
}

fn guest_here(guest: &Sitting, ink: Ink, node: &Node, topology: &HostTopology) -> Option<Line> {
    let memory = guest.on(node.id);
    let cpus = guest.cpus.intersection(&node.cpus);
    let cpus = if guest.cpus == *topology.online_cpus() { CpuSet::new() } else { cpus };
    let text = match (memory.is_zero(), cpus.is_empty()) {
        (true, true) => return None,
        (false, true) => format!("{}: {memory}", guest.name),
        (true, false) => format!("{}: CPUs {cpus}", guest.name),
        (false, false) => format!("{}: {memory}, CPUs {cpus}", guest.name),
    };
    Some(Line::text("guest", text).ink(ink).detail(format!("{}: {}", guest.name, exact(memory))))
}

/// All about a node, in figures.
fn detail(node: &Node, promise: &NodePromise) -> String {
    let mut text = format!(
        "node {}: CPUs {}, memory {} KiB, free {} KiB, reclaimable {} KiB, kept for the host {} KiB, promised {} KiB ({} KiB untouched), {} thousandths of a vCPU",
        node.id,
        node.cpus,
        node.memory.0,
        node.free.0,
        node.reclaimable.0,
        node.reserve.0,
        promise.memory.0,
        promise.untouched.0,
        promise.milli_vcpus
    );
    for pool in &node.pools {
        text.push_str(&format!(", {} of {} pages of {} KiB free", pool.free, pool.total, pool.size.0));
    }
    for (size, pages) in &promise.pages {
        let untouched = promise.untouched_pages.get(size).copied().unwrap_or(0);
        text.push_str(&format!(", {pages} pages of {} KiB promised ({untouched} untouched)", size.0));
    }
    text
}

#[cfg(test)]
pub(crate) mod tests;
