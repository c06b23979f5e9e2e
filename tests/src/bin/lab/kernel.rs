//! What the kernel says of a process: its pages, its threads, its cgroups.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use polyvirt::placement::{CpuSet, NodeSet};
use polyvirt_process::numa_maps;

/// One block of memory.
#[derive(Debug)]
pub(crate) struct Block {
    /// As `numa_maps` has it: `bind:2`, `default`.
    pub(crate) policy: String,
    /// KiB by node.
    pub(crate) kib: BTreeMap<u32, u64>,
}

impl Block {
    /// The nodes it has pages on.
    pub(crate) fn nodes(&self) -> NodeSet {
        self.kib.iter().filter(|(_, kib)| **kib > 0).map(|(node, _)| *node).collect()
    }

    /// KiB on all nodes.
    pub(crate) fn total(&self) -> u64 {
        self.kib.values().sum()
    }
}

/// The one mapping of exactly this size: `/proc/PID/maps` has sizes, `/proc/PID/numa_maps` has pages, addresses join them.
pub(crate) async fn block(pid: u32, mib: u64) -> Result<Block, String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(|e| format!("maps of {pid}: {e}"))?;
    let sizes: BTreeMap<u64, u64> = maps.lines().filter_map(mapping).collect();
    let mappings = numa_maps::read(pid).await.map_err(|e| format!("numa_maps of {pid}: {e}"))?;
    let size_of = |it: &numa_maps::Mapping| sizes.get(&it.start).copied().unwrap_or_default();
    let found: Vec<_> = mappings.iter().filter(|it| size_of(it) == mib << 20).collect();
    match found[..] {
        [one] => Ok(Block { policy: one.policy.clone(), kib: numa_maps::total_kib([one]) }),
        _ => {
            let large = sizes.values().filter(|size| **size >= 1 << 20).map(|size| size >> 20);
            let large: Vec<_> = large.collect();
            Err(format!("{} mappings of {mib} MiB in process {pid}; there are {large:?} MiB", found.len()))
        }
    }
}

/// The policies that are in force anywhere in a process.
pub(crate) async fn policies(pid: u32) -> Result<BTreeSet<String>, String> {
    let mappings = numa_maps::read(pid).await.map_err(|e| format!("numa_maps of {pid}: {e}"))?;
    Ok(mappings.into_iter().map(|it| it.policy).collect())
}

/// Page sizes in KiB of the mapping of this size that has pages, ascending.
pub(crate) async fn page_sizes(pid: u32, mib: u64) -> Result<Vec<u64>, String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(|e| format!("maps of {pid}: {e}"))?;
    let sizes: BTreeMap<u64, u64> = maps.lines().filter_map(mapping).collect();
    let mappings = numa_maps::read(pid).await.map_err(|e| format!("numa_maps of {pid}: {e}"))?;
    let found = mappings.iter().filter(|it| sizes.get(&it.start) == Some(&(mib << 20)) && !it.pages.is_empty());
    let mut pages: Vec<u64> = found.map(|it| it.page_kib).collect();
    pages.sort_unstable();
    Ok(pages)
}

/// Start and size in bytes of a line of `/proc/PID/maps`.
fn mapping(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

/// A thread, and where it may run and take memory.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) tid: u32,
    pub(crate) cpus: CpuSet,
    pub(crate) mems: NodeSet,
    /// Its cpuset group, below the mount.
    pub(crate) group: String,
}

/// All threads of a process, ascending.
pub(crate) fn threads(pid: u32) -> Result<Vec<Thread>, String> {
    let tasks = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&tasks).map_err(|e| format!("{tasks}: {e}"))?;
    let mut tids: Vec<u32> = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
    tids.sort_unstable();
    // One that ended meanwhile has no files any more.
    Ok(tids.into_iter().filter_map(|tid| thread(&Path::new(&tasks).join(tid.to_string()), tid)).collect())
}

fn thread(dir: &Path, tid: u32) -> Option<Thread> {
    let status = fs::read_to_string(dir.join("status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    let groups = fs::read_to_string(dir.join("cgroup")).ok()?;
    // `4:cpuset:/path` of version 1 wins over `0::/path`: a controller is in one hierarchy only.
    let path = |wanted: &str| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            fields.next().filter(|controllers| controllers.split(',').any(|c| c == wanted))?;
            fields.next().map(str::to_owned)
        })
    };
    Some(Thread {
        tid,
        cpus: CpuSet::from_kernel_list(&field("Cpus_allowed_list:")?).ok()?,
        mems: NodeSet::from_kernel_list(&field("Mems_allowed_list:")?).ok()?,
        group: path("cpuset").or_else(|| path(""))?,
    })
}

/// Where the hierarchy with the cpuset controller is mounted.
fn cpuset_mount() -> PathBuf {
    let v1 = Path::new("/sys/fs/cgroup/cpuset");
    if v1.is_dir() { v1.to_owned() } else { PathBuf::from("/sys/fs/cgroup") }
}

/// CPUs and nodes that a group gives its threads.
pub(crate) fn cpuset(group: &str) -> Result<(CpuSet, NodeSet), String> {
    let dir = cpuset_mount().join(group.trim_start_matches('/'));
    let read = |v2: &str, v1: &str| {
        let text = fs::read_to_string(dir.join(v2)).or_else(|_| fs::read_to_string(dir.join(v1)));
        text.map_err(|e| format!("{}: {e}", dir.join(v2).display()))
    };
    let cpus = read("cpuset.cpus.effective", "cpuset.effective_cpus")?;
    let mems = read("cpuset.mems.effective", "cpuset.effective_mems")?;
    let bad = |e: polyvirt::placement::SetError| e.to_string();
    Ok((CpuSet::from_kernel_list(cpus.trim()).map_err(bad)?, NodeSet::from_kernel_list(mems.trim()).map_err(bad)?))
}

/// KiB of a node that nobody uses.
pub(crate) fn free_kib(node: u32) -> Result<u64, String> {
    meminfo(node, "MemFree:")
}

/// KiB of a node that nobody uses or that are given up at once, such as files read long ago: what placement counts on.
pub(crate) fn available_kib(node: u32) -> Result<u64, String> {
    Ok(free_kib(node)? + meminfo(node, "Inactive(file):")?)
}

fn meminfo(node: u32, name: &str) -> Result<u64, String> {
    let path = format!("/sys/devices/system/node/node{node}/meminfo");
    let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let words = text.lines().find(|line| line.contains(name)).map(|l| l.split_whitespace().collect::<Vec<_>>());
    words.and_then(|w| w.get(3)?.parse().ok()).ok_or_else(|| format!("{path} has no {name}"))
}
