//! Caches: the banks of the CPUs and those in front of memory, and what of them can be allotted and watched.
//!
//! Source: Documentation/ABI/testing/sysfs-devices-system-cpu (`cache/indexN`), Documentation/admin-guide/mm/numaperf.rst
//! (`memory_side_cache`), Documentation/arch/x86/resctrl.rst (`/sys/fs/resctrl/info`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Host, HostError, cpu};

/// Caches below this level belong to one core and are not worth naming.
const LOWEST_LEVEL: u64 = 2;
/// The kernel's information on allotting caches and memory bandwidth.
const RESCTRL: &str = "sys/fs/resctrl/info";

/// What a cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CacheKind {
    /// Instructions and data.
    Both,
    /// Instructions.
    Code,
    /// Data.
    Data,
}

impl CacheKind {
    /// The word of the capabilities document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Code => "code",
            Self::Data => "data",
        }
    }
}

/// A cache that some CPUs share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CacheBank {
    /// Its number, among those of its level and kind.
    pub id: u64,
    /// Its level.
    pub level: u64,
    /// What it holds.
    pub kind: CacheKind,
    /// Its size in KiB.
    pub kib: u64,
    /// The CPUs behind it, as the kernel lists them.
    pub cpus: String,
    /// How it can be allotted.
    pub controls: Vec<CacheControl>,
}

/// How a cache can be allotted to groups of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CacheControl {
    /// The smallest step, in KiB.
    pub granularity_kib: u64,
    /// The least that can be allotted, in KiB, where it is more than one step.
    pub min_kib: Option<u64>,
    /// What is allotted: `Code` and `Data` apart where the processor separates them.
    pub kind: CacheKind,
    /// How many allotments there can be.
    pub max_allocations: u64,
}

/// What can be watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Monitor {
    /// How many groups can be watched at once.
    pub max_monitors: u64,
    /// Below this many bytes a group's counter may be given to another; of caches alone.
    pub reuse_threshold: Option<u64>,
    /// The kernel's names of what is counted.
    pub features: Vec<String>,
}

/// How memory bandwidth can be allotted; the same for every last-level cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BandwidthControl {
    /// The smallest step, in percent.
    pub granularity: u64,
    /// The least that can be allotted, in percent.
    pub min: u64,
    /// How many allotments there can be.
    pub max_allocations: u64,
}

/// Caches and memory bandwidth of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Caches {
    /// Banks from level 2 on, by level, kind and number.
    pub banks: Vec<CacheBank>,
    /// What of the last-level caches can be watched.
    pub cache_monitor: Option<Monitor>,
    /// How memory bandwidth can be allotted.
    pub bandwidth: Option<BandwidthControl>,
    /// What of memory bandwidth can be watched.
    pub bandwidth_monitor: Option<Monitor>,
}

/// The cache in front of a node's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemorySideCache {
    /// Its level, counted from the memory.
    pub level: u32,
    /// `direct` mapped or `full`y associative.
    pub associativity: &'static str,
    /// `writeback` or `writethrough`.
    pub policy: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
    /// The size of a line in bytes.
    pub line_bytes: u64,
}

pub(crate) fn read(host: &Host) -> Result<Caches, HostError> {
    let mut banks: BTreeMap<(u64, CacheKind, u64), CacheBank> = BTreeMap::new();
    for id in cpu::present(host)? {
        let dir = format!("sys/devices/system/cpu/cpu{id}/cache");
        for index in host.numbered(&dir, "index")? {
            if let Some(bank) = bank(host, &format!("{dir}/index{index}"))? {
                banks.entry((bank.level, bank.kind, bank.id)).or_insert(bank);
            }
        }
    }
    let mut banks: Vec<CacheBank> = banks.into_values().collect();
    for bank in &mut banks {
        bank.controls = controls(host, bank)?;
    }
    let features = |prefix: &str, reuse_threshold| monitor(host, prefix, reuse_threshold);
    let threshold = host.natural(&format!("{RESCTRL}/L3_MON/max_threshold_occupancy"))?;
    Ok(Caches {
        banks,
        cache_monitor: features("llc_", threshold)?,
        bandwidth: bandwidth(host)?,
        bandwidth_monitor: features("mbm_", None)?,
    })
}

/// `None` for a cache of a core alone, and for one of which the kernel does not tell number or size.
fn bank(host: &Host, dir: &str) -> Result<Option<CacheBank>, HostError> {
    let natural = |file: &str| host.natural(&format!("{dir}/{file}"));
    let text = |file: &str| host.text(&format!("{dir}/{file}"));
    let Some(level) = natural("level")?.filter(|level| *level >= LOWEST_LEVEL) else { return Ok(None) };
    let kind = match text("type")?.as_deref().map(str::trim) {
        Some("Unified") => CacheKind::Both,
        Some("Instruction") => CacheKind::Code,
        Some("Data") => CacheKind::Data,
        _ => return Ok(None),
    };
    let (Some(id), Some(kib)) = (natural("id")?, text("size")?.and_then(|size| kib(size.trim()))) else {
        return Ok(None);
    };
    let cpus = text("shared_cpu_list")?.unwrap_or_default().trim().to_owned();
    Ok(Some(CacheBank { id, level, kind, kib, cpus, controls: Vec::new() }))
}

/// A size as the kernel prints it: in KiB as a rule, in larger units on some machines.
fn kib(size: &str) -> Option<u64> {
    let (number, unit) = size.split_at_checked(size.len().checked_sub(1)?)?;
    let shift = match unit {
        "K" => 0,
        "M" => 10,
        "G" => 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn controls(host: &Host, bank: &CacheBank) -> Result<Vec<CacheControl>, HostError> {
    let mut controls = Vec::new();
    for (suffix, kind) in [("", bank.kind), ("CODE", CacheKind::Code), ("DATA", CacheKind::Data)] {
        let dir = format!("{RESCTRL}/L{}{suffix}", bank.level);
        let mask = host.text(&format!("{dir}/cbm_mask"))?;
        let bits = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).map_or(0, |mask| mask.count_ones());
        let (Some(max_allocations), Some(granularity_kib)) =
            (host.natural(&format!("{dir}/num_closids"))?, bank.kib.checked_div(bits.into()))
        else {
            continue;
        };
        let least = host.natural(&format!("{dir}/min_cbm_bits"))?.unwrap_or(1);
        let min_kib = (least > 1).then(|| granularity_kib.saturating_mul(least));
        controls.push(CacheControl { granularity_kib, min_kib, kind, max_allocations });
    }
    Ok(controls)
}

fn monitor(host: &Host, prefix: &str, reuse_threshold: Option<u64>) -> Result<Option<Monitor>, HostError> {
    let dir = format!("{RESCTRL}/L3_MON");
    let Some(max_monitors) = host.natural(&format!("{dir}/num_rmids"))? else { return Ok(None) };
    let listed = host.text(&format!("{dir}/mon_features"))?.unwrap_or_default();
    let features: Vec<_> =
        listed.split_ascii_whitespace().filter(|name| name.starts_with(prefix)).map(str::to_owned).collect();
    Ok((!features.is_empty()).then_some(Monitor { max_monitors, reuse_threshold, features }))
}

fn bandwidth(host: &Host) -> Result<Option<BandwidthControl>, HostError> {
    let natural = |file: &str| host.natural(&format!("{RESCTRL}/MB/{file}"));
    let (Some(granularity), Some(min), Some(max_allocations)) =
        (natural("bandwidth_gran")?, natural("min_bandwidth")?, natural("num_closids")?)
    else {
        return Ok(None);
    };
    Ok(Some(BandwidthControl { granularity, min, max_allocations }))
}

/// The caches in front of a node's memory, from the memory outwards.
pub(crate) fn memory_side(host: &Host, node: u32) -> Result<Vec<MemorySideCache>, HostError> {
    let dir = format!("sys/devices/system/node/node{node}/memory_side_cache");
    let mut caches = Vec::new();
    for level in host.numbered(&dir, "index")? {
        let natural =
            |file: &str| Ok::<_, HostError>(host.natural(&format!("{dir}/index{level}/{file}"))?.unwrap_or(0));
        caches.push(MemorySideCache {
            level,
            associativity: if natural("indexing")? == 0 { "direct" } else { "full" },
            policy: if natural("write_policy")? == 0 { "writeback" } else { "writethrough" },
            bytes: natural("size")?,
            line_bytes: natural("line_size")?,
        });
    }
    Ok(caches)
}
