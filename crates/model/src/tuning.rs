//! Small parts of `<domain>`: block I/O weights, resource partition, sleep states, counted events.

use polyvirt_xml::{Element, words};

/// `<blkiotune>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BlkioTune {
    /// Weight against other guests, 10 to 1000.
    #[xml(leaf)]
    pub weight: Option<u32>,
    /// Weights and limits of single devices. Since 0.9.8.
    #[xml(child)]
    pub device: Vec<BlkioDevice>,
}

/// `<device>` of `<blkiotune>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BlkioDevice {
    /// The device on the host.
    #[xml(leaf)]
    pub path: String,
    /// Its weight.
    #[xml(leaf)]
    pub weight: Option<u32>,
    /// Reads per second. Since 1.2.2.
    #[xml(leaf, name = "read_iops_sec")]
    pub read_iops_sec: Option<u32>,
    /// Writes per second. Since 1.2.2.
    #[xml(leaf, name = "write_iops_sec")]
    pub write_iops_sec: Option<u32>,
    /// Bytes read per second. Since 1.2.2.
    #[xml(leaf, name = "read_bytes_sec")]
    pub read_bytes_sec: Option<u64>,
    /// Bytes written per second. Since 1.2.2.
    #[xml(leaf, name = "write_bytes_sec")]
    pub write_bytes_sec: Option<u64>,
}

/// `<resource>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Resource {
    /// The cgroup it is put below. Since 1.0.5.
    #[xml(leaf)]
    pub partition: Option<String>,
    /// Its Fibre Channel identity. Since 7.7.0.
    #[xml(child)]
    pub fibrechannel: Option<FibreChannel>,
}

/// `<fibrechannel>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FibreChannel {
    /// The application.
    #[xml(attr)]
    pub appid: String,
}

/// `<pm>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Pm {
    /// Suspend to RAM.
    #[xml(child, name = "suspend-to-mem")]
    pub suspend_to_mem: Option<PmState>,
    /// Suspend to disk.
    #[xml(child, name = "suspend-to-disk")]
    pub suspend_to_disk: Option<PmState>,
}

/// One sleep state.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PmState {
    /// Whether the guest is offered it.
    #[xml(attr, yesno)]
    pub enabled: Option<bool>,
}

/// `<perf>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Perf {
    /// The events.
    #[xml(child)]
    pub event: Vec<PerfEvent>,
}

words! {
    /// Events that can be counted.
    pub enum PerfEventName {
        Cmt = "cmt", Mbmt = "mbmt", Mbml = "mbml", CpuCycles = "cpu_cycles", Instructions = "instructions",
        CacheReferences = "cache_references", CacheMisses = "cache_misses",
        BranchInstructions = "branch_instructions", BranchMisses = "branch_misses", BusCycles = "bus_cycles",
        StalledCyclesFrontend = "stalled_cycles_frontend", StalledCyclesBackend = "stalled_cycles_backend",
        RefCpuCycles = "ref_cpu_cycles", CpuClock = "cpu_clock", TaskClock = "task_clock",
        PageFaults = "page_faults", ContextSwitches = "context_switches", CpuMigrations = "cpu_migrations",
        PageFaultsMin = "page_faults_min", PageFaultsMaj = "page_faults_maj",
        AlignmentFaults = "alignment_faults", EmulationFaults = "emulation_faults",
    }
}

/// `<event>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PerfEvent {
    /// Which one.
    #[xml(attr)]
    pub name: Option<PerfEventName>,
    /// Whether it is counted.
    #[xml(attr, yesno)]
    pub enabled: Option<bool>,
}
