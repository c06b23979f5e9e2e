//! The CPUs one by one: which socket, die, cluster and core each belongs to, and how they spent their time.
//!
//! Source: Documentation/ABI/stable/sysfs-devices-system-cpu, Documentation/admin-guide/cputopology.rst, proc_stat(5).

use std::collections::{BTreeMap, BTreeSet};

use polyvirt_numa_placement::CpuSet;
use serde::{Deserialize, Serialize};

use crate::{Host, HostError};

/// The directory of CPUs.
pub(crate) const CPUS: &str = "sys/devices/system/cpu";

/// Where one CPU sits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CpuPlace {
    /// Its number.
    pub id: u32,
    /// Its socket (`physical_package_id`).
    pub socket: u32,
    /// Its die within the socket.
    pub die: u32,
    /// Its cluster within the die, as the kernel numbers it; 65535 where the firmware names none.
    pub cluster: u32,
    /// Its core within the die.
    pub core: u32,
    /// The CPUs of the same core, itself among them.
    pub siblings: CpuSet,
}

/// What CPUs did since the boot, in clock ticks (`USER_HZ`, usually 1/100 s).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CpuTicks {
    /// Programs, also those with a nice value.
    pub user: u64,
    /// The kernel, with its interrupts.
    pub kernel: u64,
    /// Nothing to do.
    pub idle: u64,
    /// Nothing to do but to wait for storage.
    pub iowait: u64,
}

/// Numbers of CPUs that the kernel knows, online or not, ascending.
pub(crate) fn present(host: &Host) -> Result<BTreeSet<u32>, HostError> {
    host.numbered(CPUS, "cpu")
}

/// The place of an online CPU; `None` for one that is offline.
pub(crate) fn place(host: &Host, id: u32) -> Result<Option<CpuPlace>, HostError> {
    if !is_online(host, id)? {
        return Ok(None);
    }
    // What an architecture does not tell is 0, as where there is one of it; -1 says the same.
    let number = |file: &str| host.number(&format!("{CPUS}/cpu{id}/topology/{file}"));
    let number = |file: &str| Ok::<_, HostError>(number(file)?.and_then(|n| u32::try_from(n).ok()).unwrap_or(0));
    let listed = host.text(&format!("{CPUS}/cpu{id}/topology/thread_siblings_list"))?;
    let siblings = listed.and_then(|text| CpuSet::from_kernel_list(text.trim()).ok()).filter(|set| !set.is_empty());
    Ok(Some(CpuPlace {
        id,
        socket: number("physical_package_id")?,
        die: number("die_id")?,
        cluster: number("cluster_id")?,
        core: number("core_id")?,
        siblings: siblings.unwrap_or_else(|| [polyvirt_numa_placement::HostCpu::from(id)].into_iter().collect()),
    }))
}

fn is_online(host: &Host, id: u32) -> Result<bool, HostError> {
    if let Some(word) = host.number(&format!("{CPUS}/cpu{id}/online"))? {
        return Ok(word != 0);
    }
    // The first CPU often has no switch.
    let online = host.text(&format!("{CPUS}/online"))?;
    let online = online.and_then(|text| CpuSet::from_kernel_list(text.trim()).ok());
    Ok(online.is_none_or(|set| set.iter().any(|cpu| u32::from(cpu) == id)))
}

/// `/proc/stat`: all CPUs together as `cpu`, then each.
pub(crate) fn ticks(host: &Host) -> Result<BTreeMap<String, CpuTicks>, HostError> {
    let text = crate::bounded::required(&host.root().join("proc/stat"))?;
    let mut ticks = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("cpu")) {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next() else { continue };
        let mut next = || words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        let (user, nice, system, idle, iowait, irq, softirq) = (next(), next(), next(), next(), next(), next(), next());
        let kernel = system.saturating_add(irq).saturating_add(softirq);
        ticks.insert(name.to_owned(), CpuTicks { user: user.saturating_add(nice), kernel, idle, iowait });
    }
    Ok(ticks)
}
