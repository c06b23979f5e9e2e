//! What this host is: topology, node information, cgroups, devices.
//!
//! [`Host`] stands for a root directory. Everything is read below it, so a text tree in a temporary directory is as
//! good a host as `/`, and one program can describe another machine from a copy of its `/sys` and `/proc`.
//!
//! What it does not do: it changes nothing but the pools of huge pages, on request, starts nothing and keeps nothing; each
//! call reads anew. Whether KVM really
//! runs a guest is not decided here: a device that opens proves nothing, so drivers probe with a guest.
//!
//! Invariants: every read is bounded; a file that is missing is "not known" and only an error where the answer is
//! impossible without it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use polyvirt_numa_placement::{HostNode, HostTopology, KernelSupport, Kib, PagePool, TopologyError};
use serde::{Deserialize, Serialize};

mod bounded;
mod cache;
mod cgroup;
mod checks;
mod cpu;
mod device;
mod huge_pages;
mod limits;
mod node_info;
mod performance;

pub use cache::{BandwidthControl, CacheBank, CacheControl, CacheKind, Caches, MemorySideCache, Monitor};
pub use cgroup::{CgroupLayout, CgroupV1, CgroupV2, Cpuset};
pub use checks::{Check, Outcome};
pub use cpu::{CpuPlace, CpuTicks};
pub use device::DeviceNode;
pub use huge_pages::PoolSize;
pub use node_info::NodeInfo;
pub use performance::Interconnect;

/// Why something about the host is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// A file cannot be read.
    #[error("cannot read '{}'", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write '{}'", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A file that has to be there is not.
    #[error("'{}' is missing: is it mounted?", .0.display())]
    Missing(PathBuf),
    /// The topology cannot be read.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

/// Memory and huge pages of one node, as they are now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeFree {
    /// The node.
    pub node: HostNode,
    /// Memory nobody uses (`MemFree`).
    pub free: Kib,
    /// Huge page pools, ascending by size.
    pub pools: Vec<PagePool>,
}

/// A host, by its root directory.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The host whose root directory this is.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Host {
        Host { root: root.into() }
    }

    /// The host this program runs on.
    #[must_use]
    pub fn this() -> Host {
        Host::at("/")
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Nodes, distances, CPUs, memory and huge pages.
    ///
    /// # Errors
    /// [`TopologyError`] if there is no CPU or a file is not in the kernel's form.
    pub fn topology(&self) -> Result<HostTopology, TopologyError> {
        HostTopology::from_sysfs(&self.root)
    }

    /// The part of [`topology`](Self::topology) that this process may use: the CPUs and nodes of its cpuset cgroup, and in all the
    /// memory that its cgroup and those above it may have. Guests are placed within it.
    ///
    /// # Errors
    /// As for [`topology`](Self::topology); [`HostError`] if what the cgroup says cannot be read.
    pub fn usable(&self) -> Result<HostTopology, HostError> {
        limits::usable(self, self.topology()?)
    }

    /// The figures of `virsh nodeinfo`.
    ///
    /// # Errors
    /// [`HostError`] if CPUs or memory cannot be read.
    pub fn node_info(&self) -> Result<NodeInfo, HostError> {
        node_info::read(self)
    }

    /// Where an online CPU sits; `None` for one that is offline.
    ///
    /// # Errors
    /// [`HostError`] if a file cannot be read.
    pub fn cpu(&self, id: u32) -> Result<Option<CpuPlace>, HostError> {
        cpu::place(self, id)
    }

    /// How CPUs spent their time since the boot, by `cpu` (all), `cpu0` …; the figures of `virsh nodecpustats`.
    ///
    /// # Errors
    /// [`HostError`] if `/proc/stat` cannot be read.
    pub fn cpu_ticks(&self) -> Result<BTreeMap<String, CpuTicks>, HostError> {
        cpu::ticks(self)
    }

    /// Caches, and what of them and of memory bandwidth can be allotted and watched.
    ///
    /// # Errors
    /// [`HostError`] if a file cannot be read.
    pub fn caches(&self) -> Result<Caches, HostError> {
        cache::read(self)
    }

    /// The caches in front of a node's memory, from the memory outwards.
    ///
    /// # Errors
    /// [`HostError`] if a file cannot be read.
    pub fn memory_side_caches(&self, node: HostNode) -> Result<Vec<MemorySideCache>, HostError> {
        cache::memory_side(self, node.into())
    }

    /// A node's distances to all online nodes, ascending by node, as the kernel tells them; none where it tells none.
    ///
    /// # Errors
    /// [`HostError`] if the file cannot be read.
    pub fn distances(&self, node: HostNode) -> Result<Vec<u32>, HostError> {
        let row = self.text(&format!("sys/devices/system/node/node{node}/distance"))?.unwrap_or_default();
        Ok(row.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect())
    }

    /// Resizes a pool of huge pages, of one node or of the whole host, and gives the number of pages it then has: the kernel
    /// may find memory for fewer.
    ///
    /// # Errors
    /// [`HostError::Missing`] for a node or a size that the host does not have, [`HostError::Write`] without the right to.
    pub fn resize_pool(&self, node: Option<HostNode>, size: Kib, pages: PoolSize) -> Result<u64, HostError> {
        huge_pages::resize(self, node, size, pages)
    }

    /// Latency and bandwidth between nodes, where the firmware tells them.
    ///
    /// # Errors
    /// [`HostError`] if a file cannot be read.
    pub fn interconnects(&self) -> Result<Vec<Interconnect>, HostError> {
        performance::read(self)
    }

    /// The node that a PCI function (`0000:81:00.0`) is next to: of its own or of the bus above it. `None` if there is no such function,
    /// or the firmware does not tell.
    ///
    /// # Errors
    /// [`HostError`] if the file cannot be read.
    pub fn pci_node(&self, function: &str) -> Result<Option<HostNode>, HostError> {
        // A name from a definition goes into a path.
        if function.is_empty() || !function.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.') {
            return Ok(None);
        }
        // -1: not known.
        let node = self.number(&format!("sys/bus/pci/devices/{function}/numa_node"))?;
        Ok(node.and_then(|node| u32::try_from(node).ok()).map(HostNode))
    }

    /// Whether the kernel drives an IOMMU: devices can be handed to guests.
    #[must_use]
    pub fn has_iommu(&self) -> bool {
        self.numbered("sys/kernel/iommu_groups", "").is_ok_and(|groups| !groups.is_empty())
    }

    /// Free memory and huge pages per node, ascending; the figures of `virsh freecell --all` and `freepages --all`.
    ///
    /// # Errors
    /// [`TopologyError`], as for [`topology`](Self::topology).
    pub fn free(&self) -> Result<Vec<NodeFree>, TopologyError> {
        let nodes = self.topology()?;
        let free =
            nodes.nodes().iter().map(|node| NodeFree { node: node.id, free: node.free, pools: node.pools.clone() });
        Ok(free.collect())
    }

    /// Free memory of the whole host, from `/proc/meminfo`.
    ///
    /// # Errors
    /// [`HostError`] if it cannot be read.
    pub fn free_memory(&self) -> Result<Kib, HostError> {
        self.meminfo("MemFree")
    }

    /// Installed memory of the whole host, from `/proc/meminfo`. It need not be the sum of the nodes.
    ///
    /// # Errors
    /// [`HostError`] if it cannot be read.
    pub fn memory(&self) -> Result<Kib, HostError> {
        self.meminfo("MemTotal")
    }

    /// Where our cgroups are, and which controllers they have.
    ///
    /// # Errors
    /// [`HostError`] if `/proc/self` cannot be read.
    pub fn cgroups(&self) -> Result<CgroupLayout, HostError> {
        cgroup::read(self)
    }

    /// The kernel's release, such as `6.1.0-18-amd64`.
    ///
    /// # Errors
    /// [`HostError`] if `/proc` is not there.
    pub fn kernel_release(&self) -> Result<String, HostError> {
        self.word("proc/sys/kernel/osrelease")
    }

    /// The id of the running boot, as text of a uuid.
    ///
    /// # Errors
    /// [`HostError`] if `/proc` is not there.
    pub fn boot_id(&self) -> Result<String, HostError> {
        self.word("proc/sys/kernel/random/boot_id")
    }

    /// The architecture in the kernel's words (`x86_64`, `aarch64`). Kernels before 6.1 have no file for it; then it is
    /// that of this program.
    #[must_use]
    pub fn architecture(&self) -> String {
        self.word("proc/sys/kernel/arch").unwrap_or_else(|_| {
            match std::env::consts::ARCH {
                // Where Rust's word is not the kernel's.
                "x86" => "i686",
                "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
                "powerpc64" => "ppc64",
                "arm" => "armv7l",
                other => other,
            }
            .to_owned()
        })
    }

    /// `/dev/kvm`.
    #[must_use]
    pub fn kvm(&self) -> DeviceNode {
        DeviceNode::at(&self.root, "dev/kvm")
    }

    /// `/dev/net/tun`.
    #[must_use]
    pub fn tun(&self) -> DeviceNode {
        DeviceNode::at(&self.root, "dev/net/tun")
    }

    /// Whether the kernel may move pages to slower nodes on its own, also out of a cpuset; `None` if it has no such
    /// switch.
    #[must_use]
    pub fn demotion_enabled(&self) -> Option<bool> {
        let word = self.word("sys/kernel/mm/numa/demotion_enabled").ok()?;
        Some(matches!(word.as_str(), "true" | "1"))
    }

    /// What kernel and cgroups offer for binding memory; what cannot be read counts as not there.
    #[must_use]
    pub fn kernel_support(&self) -> KernelSupport {
        let support = self.kernel_release().map_or(KernelSupport::of_release(""), |r| KernelSupport::of_release(&r));
        let cpuset = self.cgroups().is_ok_and(|layout| layout.cpuset().is_usable());
        support.with_cpuset(cpuset)
    }

    /// What a person should know before running guests here, each with what to do about it.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        checks::all(self)
    }

    fn meminfo(&self, key: &str) -> Result<Kib, HostError> {
        let path = self.root.join("proc/meminfo");
        let text = bounded::required(&path)?;
        let value =
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.split_ascii_whitespace().next());
        value.and_then(|value| value.parse().ok()).map(Kib).ok_or(HostError::Missing(path))
    }

    fn word(&self, file: &str) -> Result<String, HostError> {
        Ok(bounded::required(&self.root.join(file))?.trim().to_owned())
    }

    /// The number in a file; `None` if there is no such file or no number in it.
    fn number(&self, file: &str) -> Result<Option<i64>, HostError> {
        Ok(self.text(file)?.and_then(|text| text.trim().parse().ok()))
    }

    /// As [`number`](Self::number), for what cannot be negative.
    fn natural(&self, file: &str) -> Result<Option<u64>, HostError> {
        Ok(self.text(file)?.and_then(|text| text.trim().parse().ok()))
    }

    /// The numbers behind a prefix among the entries of a directory: of `cpu0`, `cpu1` … with `cpu`. None if there is no
    /// such directory.
    fn numbered(&self, dir: &str, prefix: &str) -> Result<BTreeSet<u32>, HostError> {
        let path = self.root.join(dir);
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(BTreeSet::new());
            }
            Err(source) => return Err(HostError::Read { path, source }),
        };
        let names = entries.take(bounded::ENTRIES).flatten();
        Ok(names.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()).collect())
    }

    fn text(&self, file: &str) -> Result<Option<String>, HostError> {
        bounded::optional(&self.root.join(file))
    }
}

#[cfg(test)]
mod tests;
