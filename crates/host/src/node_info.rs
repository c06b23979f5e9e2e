//! The figures of `virsh nodeinfo`.
//!
//! Sockets, cores and threads are those of the largest node, socket and core, so that their product with the number of
//! nodes is the number of CPUs on a regular machine, offline ones counted. Where it is not (mixed cores, sockets that span
//! nodes, cores that are numbered anew in each die), one socket with all CPUs as cores is shown, as libvirt does: a program
//! that multiplies must get the truth.

use std::collections::{BTreeMap, BTreeSet};

use polyvirt_numa_placement::{CpuSet, Kib};
use serde::{Deserialize, Serialize};

use crate::{Host, HostError, cpu};

/// The directory of nodes.
const NODES: &str = "sys/devices/system/node";

/// The figures of `virsh nodeinfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Architecture, such as `x86_64`.
    pub model: String,
    /// Installed memory; `None` where `/proc/meminfo` does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Kib>,
    /// Online CPUs.
    pub cpus: u32,
    /// Nodes times sockets times cores times threads: online and offline CPUs.
    pub max_cpus: u32,
    /// Clock of the first CPU; 0 if not known.
    pub mhz: u32,
    /// NUMA nodes with CPUs; 1 without NUMA.
    pub nodes: u32,
    /// Sockets per node.
    pub sockets: u32,
    /// Cores per socket.
    pub cores: u32,
    /// Threads per core.
    pub threads: u32,
}

pub(crate) fn read(host: &Host) -> Result<NodeInfo, HostError> {
    let present = cpu::present(host)?;
    if present.is_empty() {
        return Err(HostError::Missing(host.root().join(cpu::CPUS)));
    }
    let shape = shape(host, &present)?;
    let all = count(present.len());
    let Shape { online, nodes, sockets, cores, threads } = shape;
    let product = [nodes, sockets, cores, threads].into_iter().try_fold(1u32, u32::checked_mul);
    let (nodes, sockets, cores, threads) =
        if product == Some(all) { (nodes, sockets, cores, threads) } else { (1, 1, all, 1) };
    Ok(NodeInfo {
        model: host.architecture(),
        memory: host.memory().ok(),
        cpus: online,
        max_cpus: all,
        mhz: mhz(host)?,
        nodes,
        sockets,
        cores,
        threads,
    })
}

/// Online CPUs, nodes with CPUs, and the most sockets of a node, cores of a socket and threads of a core.
struct Shape {
    online: u32,
    nodes: u32,
    sockets: u32,
    cores: u32,
    threads: u32,
}

fn shape(host: &Host, present: &BTreeSet<u32>) -> Result<Shape, HostError> {
    let mut shape = Shape { online: 0, nodes: 0, sockets: 1, cores: 1, threads: 1 };
    for cpus in nodes(host, present)? {
        let mut cores_by_socket: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for id in cpus.intersection(present) {
            let Some(place) = cpu::place(host, *id)? else { continue };
            shape.online += 1;
            shape.threads = shape.threads.max(count(place.siblings.len()));
            cores_by_socket.entry(place.socket).or_default().insert(place.core);
        }
        if !cores_by_socket.is_empty() {
            shape.nodes += 1;
        }
        shape.sockets = shape.sockets.max(count(cores_by_socket.len()));
        shape.cores = shape.cores.max(cores_by_socket.values().map(|cores| count(cores.len())).max().unwrap_or(1));
    }
    Ok(shape)
}

/// The CPUs of each node; of one node with all where the kernel knows no nodes.
fn nodes(host: &Host, present: &BTreeSet<u32>) -> Result<Vec<BTreeSet<u32>>, HostError> {
    let mut nodes = Vec::new();
    for node in host.numbered(NODES, "node")? {
        // Links to offline CPUs stay, while the list has the online ones alone.
        let mut cpus = host.numbered(&format!("{NODES}/node{node}"), "cpu")?;
        let listed = host.text(&format!("{NODES}/node{node}/cpulist"))?;
        let listed = listed.and_then(|text| CpuSet::from_kernel_list(text.trim()).ok()).unwrap_or_default();
        cpus.extend(listed.iter().map(u32::from));
        nodes.push(cpus);
    }
    if nodes.iter().all(BTreeSet::is_empty) {
        nodes = vec![present.clone()];
    }
    Ok(nodes)
}

/// `cpu MHz` of `/proc/cpuinfo` (x86) or `clock` (ppc), without the fraction.
fn mhz(host: &Host) -> Result<u32, HostError> {
    let cpuinfo = host.text("proc/cpuinfo")?.unwrap_or_default();
    let value = cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        matches!(key.trim(), "cpu MHz" | "clock").then(|| value.trim().to_owned())
    });
    let whole = value.as_deref().and_then(|value| value.split(['.', 'M']).next()?.parse().ok());
    Ok(whole.unwrap_or(0))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
