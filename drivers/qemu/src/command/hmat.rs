//! What a guest is told about the speed of its memory: the heterogeneous memory attribute table. Rule Q14 of the NUMA rules.
//!
//! Source: qemu(1), `-numa hmat-lb` and `-numa hmat-cache`; ACPI 6.3, section 5.2.27.

use polyvirt_core::{
    model::{
        DomainConfig,
        cpu::{AccessType, CacheAssociativity, CachePolicy, Cell, Interconnects},
    },
    placement::{
        GuestCell,
        applied::{Interconnect, initiators},
    },
};

use super::option::Opts;

/// Whether the machine needs `hmat=on`.
pub(super) fn wanted(config: &DomainConfig) -> bool {
    links(config).is_some() || config.cells().iter().any(|cell| !cell.cache.is_empty())
}

fn links(config: &DomainConfig) -> Option<&Interconnects> {
    config.cpu.as_ref()?.numa.as_ref()?.interconnects.as_ref()
}

/// Who is nearest to each of the cells, in their order; empty where the guest is told nothing.
pub(super) fn nearest(config: &DomainConfig) -> Vec<Option<GuestCell>> {
    if !wanted(config) {
        return Vec::new();
    }
    let has_vcpus: Vec<bool> = config.cells().iter().map(|cell| !super::memory::vcpus(cell).is_empty()).collect();
    let mut known = Vec::new();
    if let Some(links) = links(config) {
        let between = |from, to| Interconnect::new(GuestCell(from), GuestCell(to));
        let of_memory = |cache: Option<u32>| cache.unwrap_or(0) == 0;
        let latencies = links.latency.iter().filter(|it| of_memory(it.cache));
        known.extend(latencies.map(|it| between(it.initiator, it.target).latency(it.value)));
        let bandwidths = links.bandwidth.iter().filter(|it| of_memory(it.cache));
        known.extend(bandwidths.map(|it| between(it.initiator, it.target).bandwidth(it.value.0)));
    }
    initiators(&has_vcpus, &known)
}

/// Arguments of `-numa`: speeds, then the caches in front of memory.
pub(super) fn arguments(config: &DomainConfig) -> Vec<String> {
    let mut arguments = Vec::new();
    if let Some(links) = links(config) {
        for it in &links.latency {
            let link = link((it.initiator, it.target), it.cache, it.kind, "latency");
            arguments.push(link.with("latency", it.value).build());
        }
        for it in &links.bandwidth {
            let link = link((it.initiator, it.target), it.cache, it.kind, "bandwidth");
            arguments.push(link.with("bandwidth", format!("{}K", it.value.0)).build());
        }
    }
    for (position, cell) in (0u32..).zip(config.cells()) {
        arguments.extend(caches(cell.id.unwrap_or(position), cell));
    }
    arguments
}

fn link((from, to): (u32, u32), cache: Option<u32>, kind: Option<AccessType>, what: &str) -> Opts {
    let hierarchy = match cache {
        None | Some(0) => "memory",
        Some(1) => "first-level",
        Some(2) => "second-level",
        Some(_) => "third-level",
    };
    let kind = kind.unwrap_or(AccessType::Access);
    Opts::new("hmat-lb")
        .with("initiator", from)
        .with("target", to)
        .with("hierarchy", hierarchy)
        .with("data-type", format!("{kind}-{what}"))
}

fn caches(node: u32, cell: &Cell) -> impl Iterator<Item = String> {
    cell.cache.iter().map(move |cache| {
        let associativity = match cache.associativity {
            Some(CacheAssociativity::Direct) => "direct",
            Some(CacheAssociativity::Full) => "complex",
            _ => "none",
        };
        let policy = match cache.policy {
            Some(CachePolicy::Writeback) => "write-back",
            Some(CachePolicy::Writethrough) => "write-through",
            _ => "none",
        };
        Opts::new("hmat-cache")
            .with("node-id", node)
            .with("size", format!("{}K", cache.size.as_ref().map_or(0, |size| size.value.0)))
            .with("level", cache.level)
            .with("associativity", associativity)
            .with("policy", policy)
            .with("line", cache.line.as_ref().map_or(0, |line| line.value))
            .build()
    })
}
