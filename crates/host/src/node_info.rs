//! The figures of `virsh nodeinfo`.
//!
//! Sockets, cores and threads are those of the largest node, socket and core, so that their product with the number of
//! nodes is the number of CPUs on a regular machine. Where it is not (offline CPUs, mixed cores, sockets that span
//! nodes), one socket with all CPUs as cores is shown, as libvirt does: a program that multiplies must get the truth.

use std::collections::{BTreeMap, BTreeSet};

use polyvirt_numa_placement::{HostTopology, Kib};
use serde::{Deserialize, Serialize};

use crate::{Host, HostError};

/// The figures of `virsh nodeinfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Architecture, such as `x86_64`.
    pub model: String,
    /// Installed memory.
    pub memory: Kib,
    /// Online CPUs.
    pub cpus: u32,
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
    let topology = host.topology()?;
    let cpus = count(topology.online_cpus().len());
    let mut info = NodeInfo {
        model: host.architecture(),
        memory: host.memory()?,
        cpus,
        mhz: mhz(host)?,
        nodes: 1,
        sockets: 1,
        cores: cpus,
        threads: 1,
    };
    let (nodes, sockets, cores, threads) = shape(host, &topology)?;
    let product = [nodes, sockets, cores, threads].into_iter().try_fold(1u32, u32::checked_mul);
    if product == Some(cpus) {
        (info.nodes, info.sockets, info.cores, info.threads) = (nodes, sockets, cores, threads);
    }
    Ok(info)
}

/// Nodes with CPUs, and the most sockets of a node, cores of a socket and threads of a core.
fn shape(host: &Host, topology: &HostTopology) -> Result<(u32, u32, u32, u32), HostError> {
    let (mut nodes, mut sockets, mut cores, mut threads) = (0, 1, 1, 1);
    for node in topology.nodes().iter().filter(|node| !node.cpus.is_empty()) {
        nodes += 1;
        let mut by_socket: BTreeMap<i64, u32> = BTreeMap::new();
        for core in &node.cores {
            let Some(first) = core.first() else { continue };
            let file = format!("sys/devices/system/cpu/cpu{first}/topology/physical_package_id");
            let socket = host.text(&file)?.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            *by_socket.entry(socket).or_default() += 1;
            threads = threads.max(count(core.len()));
        }
        sockets = sockets.max(count(by_socket.keys().collect::<BTreeSet<_>>().len()));
        cores = cores.max(by_socket.values().copied().max().unwrap_or(1));
    }
    Ok((nodes, sockets, cores, threads))
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
