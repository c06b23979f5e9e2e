//! Compares a running guest with its plan, by the kernel's own books: `/proc/PID/task/TID/status` and `/proc/PID/numa_maps`
//! (proc(5), numa(7)).

use std::{collections::BTreeMap, fs};

use polyvirt::{
    Guest,
    placement::{CpuSet, HostNode, Kib, Plan},
};

use crate::{Result, show};

/// Mappings with less in them are not guest memory: every cell has twice as much, and all of it is touched at the start.
const GUEST_MEMORY: Kib = Kib::from_mib(64);

/// Shows each vCPU and the memory with what was planned. True when all agrees.
pub(crate) async fn check(guest: &Guest, plan: &Plan) -> Result<bool> {
    let vcpus = guest.vcpus().await?;
    let mut good = true;
    let mut process = None;
    show::step("/proc", "says of threads and pages:");
    for vcpu in &vcpus {
        let thread = vcpu.thread.ok_or("the hypervisor names no thread for a vCPU")?;
        let status = fs::read_to_string(format!("/proc/{thread}/status"))?;
        let allowed: CpuSet =
            field(&status, "Cpus_allowed_list").ok_or("the kernel names no Cpus_allowed_list")?.parse()?;
        let planned = &plan.vcpu(vcpu.vcpu).ok_or("a vCPU that the plan does not know")?.hard;
        process = process.or_else(|| field(&status, "Tgid").map(str::to_owned));
        let is_there = allowed == *planned;
        good &= is_there;
        show::detail(&format!(
            "vCPU {} (thread {thread}): may run on CPUs {allowed}, planned {planned}  {}",
            vcpu.vcpu,
            mark(is_there)
        ));
    }
    let process = process.ok_or("a guest without vCPUs")?;
    let pages = guest_memory(&fs::read_to_string(format!("/proc/{process}/numa_maps"))?);
    for (node, size) in &pages {
        let is_there = plan.memory_nodes().contains(*node);
        good &= is_there;
        show::detail(&format!(
            "memory: {size} on node {node}, planned on node {}  {}",
            plan.memory_nodes(),
            mark(is_there)
        ));
    }
    let (total, wanted): (Kib, Kib) = (pages.values().copied().sum(), plan.shape.memory);
    let is_whole = total >= wanted;
    show::detail(&format!("memory: {total} of {wanted} are there  {}", mark(is_whole)));
    Ok(good && is_whole)
}

fn mark(good: bool) -> &'static str {
    if good { "ok" } else { "WRONG" }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

/// Memory per node over all mappings that are large enough to be a cell.
fn guest_memory(numa_maps: &str) -> BTreeMap<HostNode, Kib> {
    let mut sums = BTreeMap::new();
    for line in numa_maps.lines() {
        let value = |name: &str| {
            line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
        };
        // Counted in pages of the mapping's own size.
        let page = value("kernelpagesize_kB").unwrap_or(4);
        let on_nodes: Vec<(HostNode, Kib)> =
            line.split_whitespace().filter_map(|word| pages_on_node(word, page)).collect();
        if on_nodes.iter().map(|(_, size)| *size).sum::<Kib>() < GUEST_MEMORY {
            continue;
        }
        for (node, size) in on_nodes {
            let sum: &mut Kib = sums.entry(node).or_default();
            *sum = sum.saturating_add(size);
        }
    }
    sums
}

/// `N2=1024` with pages of 4 KiB: 4 MiB on node 2.
fn pages_on_node(word: &str, page: u64) -> Option<(HostNode, Kib)> {
    let (node, pages) = word.strip_prefix('N')?.split_once('=')?;
    Some((HostNode(node.parse().ok()?), Kib(pages.parse::<u64>().ok()?.saturating_mul(page))))
}
