//! The host's part: CPUs, NUMA cells, caches, memory bandwidth.

use std::{collections::BTreeMap, fmt::Write as _};

use polyvirt_core::placement::{HostNode, HostTopology, Kib, Node};
use polyvirt_host::{Caches, CpuPlace, Host, HostError, Interconnect, MemorySideCache, Monitor};

use super::{escape, pretty};

/// Everything that the document tells of a host.
pub(super) struct Facts {
    topology: HostTopology,
    cpus: BTreeMap<u32, CpuPlace>,
    distances: BTreeMap<HostNode, Vec<u32>>,
    side_caches: BTreeMap<HostNode, Vec<MemorySideCache>>,
    interconnects: Vec<Interconnect>,
    caches: Caches,
    iommu: bool,
}

impl Facts {
    pub(super) fn read(host: &Host) -> Result<Self, HostError> {
        let topology = host.topology()?;
        let mut cpus = BTreeMap::new();
        let (mut distances, mut side_caches) = (BTreeMap::new(), BTreeMap::new());
        for node in topology.nodes() {
            distances.insert(node.id, host.distances(node.id)?);
            side_caches.insert(node.id, host.memory_side_caches(node.id)?);
            for id in node.cpus.iter().map(u32::from) {
                cpus.extend(host.cpu(id)?.map(|place| (id, place)));
            }
        }
        Ok(Self {
            cpus,
            distances,
            side_caches,
            interconnects: host.interconnects()?,
            caches: host.caches()?,
            iommu: host.has_iommu(),
            topology,
        })
    }
}

pub(super) fn write(out: &mut String, architecture: &str, facts: &Facts) -> std::fmt::Result {
    writeln!(out, "    <cpu>\n      <arch>{}</arch>\n    </cpu>", escape(architecture))?;
    writeln!(out, "    <power_management/>\n    <iommu support='{}'/>", if facts.iommu { "yes" } else { "no" })?;
    writeln!(out, "    <topology>\n      <cells num='{}'>", facts.topology.nodes().len())?;
    for node in facts.topology.nodes() {
        cell(out, facts, node)?;
    }
    writeln!(out, "      </cells>")?;
    interconnects(out, &facts.interconnects)?;
    writeln!(out, "    </topology>")?;
    caches(out, &facts.caches)?;
    bandwidth(out, &facts.caches)
}

fn cell(out: &mut String, facts: &Facts, node: &Node) -> std::fmt::Result {
    writeln!(out, "        <cell id='{}'>", node.id.0)?;
    writeln!(out, "          <memory unit='KiB'>{}</memory>", node.memory.0)?;
    let base = facts.topology.base_page();
    let small = node.memory.0.saturating_sub(node.pooled().0).checked_div(base.0).unwrap_or(0);
    let pages = |out: &mut String, size: Kib, count: u64| {
        writeln!(out, "          <pages unit='KiB' size='{}'>{count}</pages>", size.0)
    };
    pages(out, base, small)?;
    for pool in &node.pools {
        pages(out, pool.size, pool.total)?;
    }
    distances(out, &facts.topology, facts.distances.get(&node.id).map_or(&[], Vec::as_slice))?;
    for cache in facts.side_caches.get(&node.id).into_iter().flatten() {
        let (level, associativity, policy) = (cache.level, cache.associativity, cache.policy);
        writeln!(out, "          <cache level='{level}' associativity='{associativity}' policy='{policy}'>")?;
        let (value, unit) =
            if cache.bytes.is_multiple_of(1024) { pretty(cache.bytes / 1024) } else { (cache.bytes, "B") };
        writeln!(out, "            <size value='{value}' unit='{unit}'/>")?;
        writeln!(out, "            <line value='{}' unit='B'/>\n          </cache>", cache.line_bytes)?;
    }
    let cpus = node.cpus.iter().filter_map(|cpu| facts.cpus.get(&u32::from(cpu)));
    if node.cpus.is_empty() {
        return writeln!(out, "          <cpus num='0'/>\n        </cell>");
    }
    writeln!(out, "          <cpus num='{}'>", node.cpus.len())?;
    for CpuPlace { id, socket, die, cluster, core, siblings, .. } in cpus {
        writeln!(
            out,
            "            <cpu id='{id}' socket_id='{socket}' die_id='{die}' cluster_id='{cluster}' core_id='{core}' siblings='{siblings}'/>"
        )?;
    }
    writeln!(out, "          </cpus>\n        </cell>")
}

/// Only where the kernel tells them.
fn distances(out: &mut String, topology: &HostTopology, row: &[u32]) -> std::fmt::Result {
    if row.is_empty() {
        return Ok(());
    }
    writeln!(out, "          <distances>")?;
    for (other, value) in topology.nodes().iter().zip(row) {
        writeln!(out, "            <sibling id='{}' value='{value}'/>", other.id.0)?;
    }
    writeln!(out, "          </distances>")
}

fn interconnects(out: &mut String, links: &[Interconnect]) -> std::fmt::Result {
    if links.is_empty() {
        return Ok(());
    }
    writeln!(out, "      <interconnects>")?;
    for link in links {
        for (kind, value) in [("read", link.read_latency), ("write", link.write_latency)] {
            let Some(value) = value else { continue };
            let (from, to) = (link.initiator, link.target);
            writeln!(out, "        <latency initiator='{from}' target='{to}' type='{kind}' value='{value}'/>")?;
        }
    }
    for link in links {
        for (kind, value) in [("read", link.read_bandwidth), ("write", link.write_bandwidth)] {
            let Some(kib) = value.map(|mib| mib.saturating_mul(1024)) else { continue };
            let (from, to) = (link.initiator, link.target);
            writeln!(
                out,
                "        <bandwidth initiator='{from}' target='{to}' type='{kind}' value='{kib}' unit='KiB'/>"
            )?;
        }
    }
    writeln!(out, "      </interconnects>")
}

fn caches(out: &mut String, caches: &Caches) -> std::fmt::Result {
    if caches.banks.is_empty() && caches.cache_monitor.is_none() {
        return Ok(());
    }
    writeln!(out, "    <cache>")?;
    for bank in &caches.banks {
        let (size, unit) = pretty(bank.kib);
        let (id, level, kind, cpus) = (bank.id, bank.level, bank.kind.name(), escape(&bank.cpus));
        write!(out, "      <bank id='{id}' level='{level}' type='{kind}' size='{size}' unit='{unit}' cpus='{cpus}'")?;
        if bank.controls.is_empty() {
            writeln!(out, "/>")?;
            continue;
        }
        writeln!(out, ">")?;
        for control in &bank.controls {
            let (granularity, unit) = pretty(control.granularity_kib);
            // A multiple of the step: whole in its unit too.
            let steps = control.min_kib.and_then(|min| min.checked_div(control.granularity_kib));
            let min = steps.map_or_else(String::new, |steps| format!(" min='{}'", granularity.saturating_mul(steps)));
            let (kind, most) = (control.kind.name(), control.max_allocations);
            writeln!(
                out,
                "        <control granularity='{granularity}'{min} unit='{unit}' type='{kind}' maxAllocs='{most}'/>"
            )?;
        }
        writeln!(out, "      </bank>")?;
    }
    if let Some(found) = &caches.cache_monitor {
        monitor(out, found, " level='3'")?;
    }
    writeln!(out, "    </cache>")
}

fn bandwidth(out: &mut String, caches: &Caches) -> std::fmt::Result {
    if caches.bandwidth.is_none() && caches.bandwidth_monitor.is_none() {
        return Ok(());
    }
    writeln!(out, "    <memory_bandwidth>")?;
    if let Some(control) = caches.bandwidth {
        // The kernel allots it where the last-level cache ends.
        let last = caches.banks.iter().map(|bank| bank.level).max();
        for bank in caches.banks.iter().filter(|bank| Some(bank.level) == last) {
            writeln!(out, "      <node id='{}' cpus='{}'>", bank.id, escape(&bank.cpus))?;
            let (granularity, min, most) = (control.granularity, control.min, control.max_allocations);
            writeln!(out, "        <control granularity='{granularity}' min='{min}' maxAllocs='{most}'/>")?;
            writeln!(out, "      </node>")?;
        }
    }
    if let Some(found) = &caches.bandwidth_monitor {
        monitor(out, found, "")?;
    }
    writeln!(out, "    </memory_bandwidth>")
}

fn monitor(out: &mut String, monitor: &Monitor, level: &str) -> std::fmt::Result {
    let threshold = monitor.reuse_threshold.map_or_else(String::new, |bytes| format!(" reuseThreshold='{bytes}'"));
    writeln!(out, "      <monitor{level}{threshold} maxMonitors='{}'>", monitor.max_monitors)?;
    for feature in &monitor.features {
        writeln!(out, "        <feature name='{}'/>", escape(feature))?;
    }
    writeln!(out, "      </monitor>")
}
