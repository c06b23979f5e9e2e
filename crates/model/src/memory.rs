//! How much memory a guest has and what it is made of.

use polyvirt_numa_placement::{CellSet, Kib};
use polyvirt_xml::{Element, words};

use crate::codec::{Sets, Size};

/// `<memory>` and `<currentMemory>`: a size.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Memory {
    /// Whether a core dump contains the guest's memory. Since 0.10.2.
    #[xml(attr, onoff)]
    pub dump_core: Option<bool>,
    /// The size.
    #[xml(text, codec = Size, unit = "KiB")]
    pub size: Kib,
}

impl From<Kib> for Memory {
    fn from(size: Kib) -> Self {
        Self::new(size)
    }
}

/// `<maxMemory>`: how far memory hot-plug may go.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MaxMemory {
    /// Slots for memory devices.
    #[xml(attr)]
    pub slots: Option<u32>,
    /// The largest size with everything plugged.
    #[xml(text, codec = Size, unit = "KiB")]
    pub size: Kib,
}

/// `<memtune>`: limits of the host's memory controller.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MemTune {
    /// What the guest may use at most.
    #[xml(leaf, name = "hard_limit", codec = Size, unit = "KiB")]
    pub hard_limit: Option<Kib>,
    /// What it may use under memory contention.
    #[xml(leaf, name = "soft_limit", codec = Size, unit = "KiB")]
    pub soft_limit: Option<Kib>,
    /// What it is guaranteed.
    #[xml(leaf, name = "min_guarantee", codec = Size, unit = "KiB")]
    pub min_guarantee: Option<Kib>,
    /// Memory and swap together.
    #[xml(leaf, name = "swap_hard_limit", codec = Size, unit = "KiB")]
    pub swap_hard_limit: Option<Kib>,
}

/// `<memoryBacking>`: what the guest's memory is made of on the host.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MemoryBacking {
    /// Huge pages.
    #[xml(child)]
    pub hugepages: Option<HugePages>,
    /// Equal pages are not shared with other guests (KSM). Since 1.0.6.
    #[xml(flag)]
    pub nosharepages: bool,
    /// Pages are locked into RAM. Since 1.0.6.
    #[xml(flag)]
    pub locked: bool,
    /// What provides the pages.
    #[xml(child)]
    pub source: Option<BackingSource>,
    /// Whether other processes may map them.
    #[xml(child)]
    pub access: Option<BackingAccess>,
    /// When they are taken from the host.
    #[xml(child)]
    pub allocation: Option<BackingAllocation>,
    /// Their content is discarded when the guest ends. Since 4.4.0.
    #[xml(flag)]
    pub discard: bool,
}

/// `<hugepages>`; without a page size the host's default huge page.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct HugePages {
    /// Page sizes by guest cell. Since 1.2.5.
    #[xml(child, name = "page")]
    pub pages: Vec<HugePage>,
}

/// `<page>`: a page size for all cells or for some.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct HugePage {
    /// The page size.
    #[xml(attr, codec = Size, unit = "KiB")]
    pub size: Kib,
    /// The guest cells; absent: all that no other `<page>` names.
    #[xml(attr, codec = Sets)]
    pub nodeset: Option<CellSet>,
}

words! {
    /// What provides the guest's pages.
    pub enum BackingType { Anonymous = "anonymous", File = "file", Memfd = "memfd" }
}

/// `<source>` of `<memoryBacking>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BackingSource {
    /// What provides the pages; absent: anonymous.
    #[xml(attr, name = "type")]
    pub kind: Option<BackingType>,
}

words! {
    /// Whether other processes may map guest memory.
    pub enum MemoryAccess { Shared = "shared", Private = "private" }
}

/// `<access>` of `<memoryBacking>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BackingAccess {
    /// The mode.
    #[xml(attr)]
    pub mode: Option<MemoryAccess>,
}

words! {
    /// When memory is taken from the host.
    pub enum AllocationMode { Immediate = "immediate", Ondemand = "ondemand" }
}

/// `<allocation>` of `<memoryBacking>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BackingAllocation {
    /// When memory is taken.
    #[xml(attr)]
    pub mode: Option<AllocationMode>,
    /// Threads that touch it. Since 8.2.0.
    #[xml(attr)]
    pub threads: Option<u32>,
}
