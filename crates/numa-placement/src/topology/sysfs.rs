//! Reading a Linux host from a sysfs and procfs tree below any root.
//!
//! Sources: Documentation/ABI/stable/sysfs-devices-node, Documentation/ABI/stable/sysfs-devices-system-cpu,
//! Documentation/admin-guide/mm/hugetlbpage, `proc(5)`. Every file is bounded; a missing optional file means "not
//! known" and never an error.

mod hmat;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::build::TopologyError;
use super::{HostTopology, Node, NodeKind, PagePool, TopologyBuilder};
use crate::set::{CpuSet, IdSet, NodeSet, SetKind};
use crate::units::{HostCpu, HostNode, Kib};

/// Lists of 16384 CPUs, distance rows of 4096 nodes and meminfo stay far below.
const FILE_LIMIT: u64 = 256 * 1024;

impl HostTopology {
    /// Reads the host whose root directory is `root` (`/` for this one).
    ///
    /// Nodes are those in `node/online`; a host without any is shown as node 0 with all CPUs and the memory of
    /// `/proc/meminfo`. CPU-less nodes that the kernel lists in `has_memory` but not in `has_normal_memory` count as
    /// [`NodeKind::DeviceMemory`]. Of each node the smaller of 256 MiB and 1/20 is reserved for the host.
    ///
    /// # Errors
    /// [`TopologyError`] if a file that has to be there cannot be read or is not in the kernel's form.
    pub fn from_sysfs(root: &Path) -> Result<HostTopology, TopologyError> {
        Tree { root }.read()
    }
}

struct Tree<'a> {
    root: &'a Path,
}

/// CPU groups by node are cut from these.
struct Groups {
    cores: Vec<CpuSet>,
    caches: Vec<CpuSet>,
}

impl Tree<'_> {
    fn read(&self) -> Result<HostTopology, TopologyError> {
        let online = self.list::<crate::set::Cpus>("sys/devices/system/cpu/online")?;
        let ids = self.node_ids()?;
        let mut builder = HostTopology::builder()
            .base_page(self.base_page())
            .default_huge(self.default_huge()?)
            .possible(self.list("sys/devices/system/cpu/possible")?.unwrap_or_default())
            .isolated(self.list("sys/devices/system/cpu/isolated")?.unwrap_or_default());
        builder = match ids {
            Some(ids) => self.nodes(builder, &ids, online.as_ref())?,
            None => self.single_node(builder, online)?,
        };
        builder.build().map_err(|error| match error {
            TopologyError::NoCpus(_) => TopologyError::NoCpus(self.root.to_owned()),
            other => other,
        })
    }

    /// Online nodes that have a directory; `None` on a host without NUMA support.
    fn node_ids(&self) -> Result<Option<NodeSet>, TopologyError> {
        let dir = self.root.join("sys/devices/system/node");
        let listed: NodeSet = match self.list("sys/devices/system/node/online")? {
            Some(listed) => listed,
            None => match fs::read_dir(&dir) {
                Ok(entries) => entries
                    .filter_map(Result::ok)
                    .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse::<u32>().ok())
                    .collect(),
                Err(_) => return Ok(None),
            },
        };
        if listed.len() > super::MAX_NODES {
            return Err(TopologyError::TooManyNodes(listed.len()));
        }
        let there: NodeSet = listed.iter().filter(|id| dir.join(format!("node{id}")).is_dir()).collect();
        Ok(if there.is_empty() { None } else { Some(there) })
    }

    fn nodes(
        &self,
        mut builder: TopologyBuilder,
        ids: &NodeSet,
        online: Option<&CpuSet>,
    ) -> Result<TopologyBuilder, TopologyError> {
        let normal: Option<NodeSet> = self.list("sys/devices/system/node/has_normal_memory")?;
        let mut nodes = Vec::new();
        let (mut rows, mut access) = (Vec::new(), Vec::new());
        for id in ids.iter() {
            let mut node = self.node(id, online)?;
            if node.cpus.is_empty() && normal.as_ref().is_some_and(|normal| !normal.contains(id)) {
                node.kind = NodeKind::DeviceMemory;
            }
            rows.push(self.distance_row(id)?);
            access.push(self.access(id)?);
            nodes.push(node);
        }
        let measured = hmat::sharpen(&mut rows, &ids.iter().collect::<Vec<_>>(), &access);
        if !measured.is_empty() {
            builder = builder.note(format!("distances to the memory of nodes {measured} are by its latency (HMAT)"));
        }
        let cpus = nodes.iter().fold(CpuSet::new(), |set, node| set.union(&node.cpus));
        if let Some(homeless) = online.map(|online| online.difference(&cpus)).filter(|set| !set.is_empty()) {
            builder = builder.note(format!("online CPUs {homeless} belong to no node and are not used"));
        }
        let groups = self.groups(&cpus)?;
        for node in nodes {
            builder = builder.node(grouped(node, &groups));
        }
        Ok(builder.distances(rows))
    }

    fn node(&self, id: HostNode, online: Option<&CpuSet>) -> Result<Node, TopologyError> {
        let dir = format!("sys/devices/system/node/node{id}");
        let listed: CpuSet = self.list(&format!("{dir}/cpulist"))?.unwrap_or_default();
        let mut node = Node::new(id);
        node.cpus = online.map_or(listed.clone(), |online| listed.intersection(online));
        let meminfo = self.text(&format!("{dir}/meminfo"))?.unwrap_or_default();
        fill_memory(&mut node, &meminfo);
        node.pools = self.pools(&format!("{dir}/hugepages"))?;
        // Linux 6.9; without the file all nodes are alike.
        let weight = self.text(&format!("sys/kernel/mm/mempolicy/weighted_interleave/node{id}"))?;
        node.weight = weight.and_then(|weight| weight.trim().parse().ok()).unwrap_or(1).max(1);
        Ok(node)
    }

    fn single_node(&self, builder: TopologyBuilder, online: Option<CpuSet>) -> Result<TopologyBuilder, TopologyError> {
        let mut node = Node::new(HostNode(0));
        node.cpus = online.unwrap_or_default();
        fill_memory(&mut node, &self.text("proc/meminfo")?.unwrap_or_default());
        node.pools = self.pools("sys/kernel/mm/hugepages")?;
        let groups = self.groups(&node.cpus)?;
        Ok(builder.node(grouped(node, &groups)).note("no NUMA nodes: shown as one node with all CPUs and memory"))
    }

    fn distance_row(&self, id: HostNode) -> Result<Vec<u32>, TopologyError> {
        let text = self.text(&format!("sys/devices/system/node/node{id}/distance"))?.unwrap_or_default();
        // A number that cannot be read becomes one that is absurd, so that the others keep their places.
        Ok(text.split_ascii_whitespace().map(|word| word.parse().unwrap_or(0)).take(super::MAX_NODES).collect())
    }

    fn pools(&self, dir: &str) -> Result<Vec<PagePool>, TopologyError> {
        let Ok(entries) = fs::read_dir(self.root.join(dir)) else { return Ok(Vec::new()) };
        let mut pools = Vec::new();
        // No architecture has more than a handful of sizes.
        for entry in entries.filter_map(Result::ok).take(64) {
            let name = entry.file_name();
            let size = name.to_str().and_then(|n| n.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok());
            let Some(size) = size.filter(|size| *size > 0) else { continue };
            let count = |file: &str| -> Result<u64, TopologyError> {
                let text = self.text(&format!("{dir}/hugepages-{size}kB/{file}"))?;
                Ok(text.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
            };
            pools.push(PagePool::new(Kib(size), count("nr_hugepages")?, count("free_hugepages")?));
        }
        pools.sort_by_key(|pool| pool.size);
        Ok(pools)
    }

    /// Cores and last-level caches. Only the first CPU of each group is asked, so this reads few files per core.
    fn groups(&self, cpus: &CpuSet) -> Result<Groups, TopologyError> {
        let mut groups = Groups { cores: Vec::new(), caches: Vec::new() };
        let (mut cored, mut cached) = (CpuSet::new(), CpuSet::new());
        for cpu in cpus.iter() {
            let dir = format!("sys/devices/system/cpu/cpu{cpu}");
            if !cored.contains(cpu) {
                let siblings = match self.list(&format!("{dir}/topology/thread_siblings_list"))? {
                    Some(siblings) => Some(siblings),
                    None => self.list(&format!("{dir}/topology/core_cpus_list"))?,
                };
                groups.cores.push(group_of(cpu, siblings, cpus, &mut cored));
            }
            if !cached.contains(cpu) {
                groups.caches.push(group_of(cpu, self.last_level_cache(&dir)?, cpus, &mut cached));
            }
        }
        Ok(groups)
    }

    fn last_level_cache(&self, cpu_dir: &str) -> Result<Option<CpuSet>, TopologyError> {
        let mut best: Option<(u32, String)> = None;
        for index in 0..16 {
            let dir = format!("{cpu_dir}/cache/index{index}");
            let Some(level) = self.text(&format!("{dir}/level"))? else { break };
            let level = level.trim().parse().unwrap_or(0);
            if best.as_ref().is_none_or(|(known, _)| level > *known) {
                best = Some((level, dir));
            }
        }
        match best {
            Some((_, dir)) => self.list(&format!("{dir}/shared_cpu_list")),
            None => Ok(None),
        }
    }

    /// The size in the auxiliary vector (`AT_PAGESZ` is 6, getauxval(3)); a tree without one has pages of 4 KiB.
    fn base_page(&self) -> Kib {
        let mut bytes = Vec::new();
        let read = fs::File::open(self.root.join("proc/self/auxv")).and_then(|f| f.take(4096).read_to_end(&mut bytes));
        const WORD: usize = size_of::<usize>();
        let word = |chunk: &[u8]| chunk.try_into().map_or(0, usize::from_ne_bytes);
        let size = bytes
            .chunks_exact(2 * WORD)
            .find(|pair| read.is_ok() && word(&pair[..WORD]) == 6)
            .and_then(|pair| u64::try_from(word(&pair[WORD..])).ok());
        Kib(size.map(|bytes| bytes / 1024).filter(|kib| kib.is_power_of_two()).unwrap_or(4))
    }

    fn default_huge(&self) -> Result<Option<Kib>, TopologyError> {
        let meminfo = self.text("proc/meminfo")?.unwrap_or_default();
        Ok(meminfo_value(&meminfo, "Hugepagesize").filter(|size| !size.is_zero()))
    }

    fn list<K: SetKind>(&self, file: &str) -> Result<Option<IdSet<K>>, TopologyError> {
        let Some(text) = self.text(file)? else { return Ok(None) };
        match IdSet::from_kernel_list(&text) {
            Ok(set) => Ok(Some(set)),
            Err(source) => Err(TopologyError::List { path: self.root.join(file), source }),
        }
    }

    /// `None` if there is no such file.
    fn text(&self, file: &str) -> Result<Option<String>, TopologyError> {
        let path: PathBuf = self.root.join(file);
        let mut text = String::new();
        let read = fs::File::open(&path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_string(&mut text));
        match read {
            Ok(_) if text.len() as u64 > FILE_LIMIT => Err(TopologyError::TooLong { path, limit: FILE_LIMIT }),
            Ok(_) => Ok(Some(text)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(source) => Err(TopologyError::Read { path, source }),
        }
    }
}

/// The group a CPU is in, less offline CPUs and those already in another one; the CPU alone if nothing is known.
fn group_of(cpu: HostCpu, group: Option<CpuSet>, online: &CpuSet, taken: &mut CpuSet) -> CpuSet {
    let mut group = group.unwrap_or_default().intersection(online).difference(taken);
    group.insert(cpu);
    *taken = taken.union(&group);
    group
}

fn grouped(mut node: Node, groups: &Groups) -> Node {
    let cut = |groups: &[CpuSet]| -> Vec<CpuSet> {
        groups.iter().map(|group| group.intersection(&node.cpus)).filter(|group| !group.is_empty()).collect()
    };
    let (cores, caches) = (cut(&groups.cores), cut(&groups.caches));
    (node.cores, node.caches) = (cores, caches);
    node
}

fn fill_memory(node: &mut Node, meminfo: &str) {
    let value = |key| meminfo_value(meminfo, key).unwrap_or_default();
    node.memory = value("MemTotal");
    node.free = value("MemFree").min(node.memory);
    node.reclaimable = value("Inactive(file)").min(node.memory.saturating_sub(node.free));
    node.reserve = Kib(node.memory.0 / 20).min(Kib::from_mib(256));
}

/// The value of a line `KEY: N kB`, with or without the `Node I` in front that per-node files have.
fn meminfo_value(text: &str, key: &str) -> Option<Kib> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.rsplit(' ').next()? == key).then_some(())?;
        value.split_ascii_whitespace().next()?.parse().ok().map(Kib)
    })
}

#[cfg(test)]
mod tests;
