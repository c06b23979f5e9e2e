//! What this host is: topology, node information, cgroups, devices.
//!
//! [`Host`] stands for a root directory. Everything is read below it, so a text tree in a temporary directory is as
//! good a host as `/`, and one program can describe another machine from a copy of its `/sys` and `/proc`.
//!
//! What it does not do: it changes nothing, starts nothing and keeps nothing; each call reads anew. Whether KVM really
//! runs a guest is not decided here: a device that opens proves nothing, so drivers probe with a guest.
//!
//! Invariants: every read is bounded; a file that is missing is "not known" and only an error where the answer is
//! impossible without it.

use std::io;
use std::path::{Path, PathBuf};

use polyvirt_numa_placement::{HostNode, HostTopology, KernelSupport, Kib, PagePool, TopologyError};
use serde::{Deserialize, Serialize};

mod bounded;
mod cgroup;
mod checks;
mod device;
mod node_info;

pub use cgroup::{CgroupLayout, CgroupV1, CgroupV2, Cpuset};
pub use checks::{Check, Outcome};
pub use device::DeviceNode;
pub use node_info::NodeInfo;

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

    /// The figures of `virsh nodeinfo`.
    ///
    /// # Errors
    /// [`HostError`] if CPUs or memory cannot be read.
    pub fn node_info(&self) -> Result<NodeInfo, HostError> {
        node_info::read(self)
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

    fn text(&self, file: &str) -> Result<Option<String>, HostError> {
        bounded::optional(&self.root.join(file))
    }
}

#[cfg(test)]
mod tests;
