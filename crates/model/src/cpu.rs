//! `<cpu>`: the CPU a guest sees, and its NUMA cells.

use polyvirt_numa_placement::{Kib, VcpuSet};
use polyvirt_xml::{Element, words};

use crate::codec::{Bytes, Sets, Size};
use crate::memory::MemoryAccess;

words! {
    /// How the guest CPU is described.
    pub enum CpuMode {
        Custom = "custom", HostModel = "host-model", HostPassthrough = "host-passthrough", Maximum = "maximum",
    }
}
words! {
    /// How strictly the host must match.
    pub enum CpuMatch { Minimum = "minimum", Exact = "exact", Strict = "strict" }
}
words! {
    /// What is compared before the guest starts.
    pub enum CpuCheck { None = "none", Partial = "partial", Full = "full" }
}

/// `<cpu>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Cpu {
    /// How the CPU is described; absent: `custom`. Since 0.9.10.
    #[xml(attr)]
    pub mode: Option<CpuMode>,
    /// How strictly the host must match; absent: `exact`.
    #[xml(attr, name = "match")]
    pub matching: Option<CpuMatch>,
    /// What is compared before the guest starts. Since 3.2.0.
    #[xml(attr)]
    pub check: Option<CpuCheck>,
    /// Whether the guest can be migrated (`host-passthrough`, `maximum`). Since 6.5.0.
    #[xml(attr, onoff)]
    pub migratable: Option<bool>,
    /// Whether features that the model deprecates are switched off.
    #[xml(attr, name = "deprecated_features", onoff)]
    pub deprecated_features: Option<bool>,
    /// The model.
    #[xml(child)]
    pub model: Option<CpuModel>,
    /// The vendor the host must have. Since 0.8.3.
    #[xml(leaf)]
    pub vendor: Option<String>,
    /// Sockets, dies, clusters, cores, threads.
    #[xml(child)]
    pub topology: Option<CpuTopology>,
    /// Cache information for the guest. Since 3.3.0.
    #[xml(child)]
    pub cache: Option<CpuCache>,
    /// Physical address bits. Since 8.7.0.
    #[xml(child)]
    pub maxphysaddr: Option<MaxPhysAddr>,
    /// Features that differ from the model's.
    #[xml(child)]
    pub feature: Vec<CpuFeature>,
    /// NUMA cells. Since 0.9.8.
    #[xml(child)]
    pub numa: Option<Numa>,
}

words! {
    /// What happens if the host cannot provide the model.
    pub enum ModelFallback { Allow = "allow", Forbid = "forbid" }
}

/// `<model>` of `<cpu>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CpuModel {
    /// What happens if the host cannot provide it; absent: `allow`. Since 0.9.10.
    #[xml(attr)]
    pub fallback: Option<ModelFallback>,
    /// The vendor string that the guest sees. Since 0.10.0.
    #[xml(attr, name = "vendor_id")]
    pub vendor_id: Option<String>,
    /// Its name.
    #[xml(text)]
    pub name: Option<String>,
}

/// `<topology>` of `<cpu>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CpuTopology {
    /// Sockets.
    #[xml(attr)]
    pub sockets: u32,
    /// Dies per socket; absent: 1.
    #[xml(attr)]
    pub dies: Option<u32>,
    /// Clusters per die; absent: 1.
    #[xml(attr)]
    pub clusters: Option<u32>,
    /// Cores per cluster.
    #[xml(attr)]
    pub cores: u32,
    /// Threads per core.
    #[xml(attr)]
    pub threads: u32,
}

words! {
    /// What the guest sees of CPU caches.
    pub enum CpuCacheMode { Emulate = "emulate", Passthrough = "passthrough", Disable = "disable" }
}

/// `<cache>` of `<cpu>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CpuCache {
    /// The level it is about.
    #[xml(attr)]
    pub level: Option<u32>,
    /// What the guest sees.
    #[xml(attr)]
    pub mode: Option<CpuCacheMode>,
}

words! {
    /// Where the number of physical address bits comes from.
    pub enum MaxPhysAddrMode { Emulate = "emulate", Passthrough = "passthrough" }
}

/// `<maxphysaddr>` of `<cpu>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MaxPhysAddr {
    /// Where the number comes from.
    #[xml(attr)]
    pub mode: Option<MaxPhysAddrMode>,
    /// The number, when emulated.
    #[xml(attr)]
    pub bits: Option<i32>,
    /// The largest number, when passed through.
    #[xml(attr)]
    pub limit: Option<u32>,
}

words! {
    /// What a feature is for the guest.
    pub enum FeaturePolicy {
        Force = "force", Require = "require", Optional = "optional", Disable = "disable", Forbid = "forbid",
    }
}

/// `<feature>` of `<cpu>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CpuFeature {
    /// What it is for the guest; absent: `require`.
    #[xml(attr)]
    pub policy: Option<FeaturePolicy>,
    /// Its name.
    #[xml(attr)]
    pub name: String,
}

/// `<numa>` of `<cpu>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Numa {
    /// The cells; after completion ascending by id.
    #[xml(child)]
    pub cell: Vec<Cell>,
    /// Latencies and bandwidths between cells (HMAT). Since 6.6.0.
    #[xml(child)]
    pub interconnects: Option<Interconnects>,
}

/// `<cell>`: one NUMA node of the guest.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Cell {
    /// Its number; absent: its position. Since 1.2.7.
    #[xml(attr)]
    pub id: Option<u32>,
    /// Its vCPUs; absent or empty: memory only.
    #[xml(attr, codec = Sets)]
    pub cpus: Option<VcpuSet>,
    /// Its memory.
    #[xml(attr, codec = Size, unit = "KiB")]
    pub memory: Kib,
    /// Whether other processes may map its memory. Since 1.2.9.
    #[xml(attr)]
    pub mem_access: Option<MemoryAccess>,
    /// Whether its content is discarded when the guest ends. Since 4.4.0.
    #[xml(attr, yesno)]
    pub discard: Option<bool>,
    /// Distances to other cells. Since 3.10.0.
    #[xml(child)]
    pub distances: Option<Distances>,
    /// Memory-side caches. Since 6.6.0.
    #[xml(child)]
    pub cache: Vec<CellCache>,
}

/// `<distances>` of a cell.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Distances {
    /// One entry per other cell.
    #[xml(child)]
    pub sibling: Vec<Sibling>,
}

/// `<sibling>`: the distance to one cell.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Sibling {
    /// The other cell.
    #[xml(attr)]
    pub id: u32,
    /// The distance: 10 to itself, up to 255.
    #[xml(attr)]
    pub value: u32,
}

words! {
    /// How a memory-side cache maps memory.
    pub enum CacheAssociativity { None = "none", Direct = "direct", Full = "full" }
}
words! {
    /// How a memory-side cache writes.
    pub enum CachePolicy { None = "none", Writeback = "writeback", Writethrough = "writethrough" }
}

/// `<cache>` of a cell.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CellCache {
    /// Its level, 1 to 3.
    #[xml(attr)]
    pub level: u32,
    /// How it maps memory; required (rule C10).
    #[xml(attr)]
    pub associativity: Option<CacheAssociativity>,
    /// How it writes; required (rule C10).
    #[xml(attr)]
    pub policy: Option<CachePolicy>,
    /// Its size; required (rule C10).
    #[xml(child)]
    pub size: Option<CacheSize>,
    /// The length of a line; required (rule C10).
    #[xml(child)]
    pub line: Option<CacheLine>,
}

/// `<size>` of a cell's cache.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CacheSize {
    /// The size.
    #[xml(attr, codec = Size, unit = "KiB")]
    pub value: Kib,
}

/// `<line>` of a cell's cache.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CacheLine {
    /// The length.
    #[xml(attr, codec = Bytes, unit = "bytes")]
    pub value: u64,
}

/// `<interconnects>` of `<numa>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Interconnects {
    /// Latencies.
    #[xml(child)]
    pub latency: Vec<Latency>,
    /// Bandwidths.
    #[xml(child)]
    pub bandwidth: Vec<Bandwidth>,
}

words! {
    /// Which accesses a latency or bandwidth is about.
    pub enum AccessType { Access = "access", Read = "read", Write = "write" }
}

/// `<latency>` between cells, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Latency {
    /// The cell that accesses.
    #[xml(attr)]
    pub initiator: u32,
    /// The cell that is accessed.
    #[xml(attr)]
    pub target: u32,
    /// The level of the target's cache; 0 or absent: its memory.
    #[xml(attr)]
    pub cache: Option<u32>,
    /// Which accesses.
    #[xml(attr, name = "type")]
    pub kind: Option<AccessType>,
    /// Nanoseconds.
    #[xml(attr)]
    pub value: u64,
}

/// `<bandwidth>` between cells, per second.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Bandwidth {
    /// The cell that accesses.
    #[xml(attr)]
    pub initiator: u32,
    /// The cell that is accessed.
    #[xml(attr)]
    pub target: u32,
    /// The level of the target's cache; 0 or absent: its memory.
    #[xml(attr)]
    pub cache: Option<u32>,
    /// Which accesses.
    #[xml(attr, name = "type")]
    pub kind: Option<AccessType>,
    /// Per second.
    #[xml(attr, codec = Size, unit = "KiB")]
    pub value: Kib,
}
