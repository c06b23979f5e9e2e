//! Virtual CPUs and I/O threads: how many, where they may run, how much they may use.

use polyvirt_numa_placement::rules::VcpuPlacement;
use polyvirt_numa_placement::{CpuSet, VcpuSet};
use polyvirt_xml::{Element, words};

use crate::codec::{LargestUnit, Sets, Words};
use polyvirt_numa_placement::Kib;

/// `<vcpu>`: the maximum number, the number at boot, and where all of them may run.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Vcpu {
    /// Whether pins and `cpuset` or the advice of the placement engine decide. Since 0.9.11.
    #[xml(attr, codec = Words)]
    pub placement: Option<VcpuPlacement>,
    /// Host CPUs of every thread that has no pin of its own. Since 0.4.4.
    #[xml(attr, codec = Sets)]
    pub cpuset: Option<CpuSet>,
    /// How many are online at boot; absent: all. Since 0.8.5.
    #[xml(attr)]
    pub current: Option<u32>,
    /// How many there can be; absent: one.
    #[xml(text)]
    pub count: Option<u32>,
}

/// `<vcpus>`: the state of single vCPUs.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Vcpus {
    /// One entry per vCPU.
    #[xml(child)]
    pub vcpu: Vec<VcpuState>,
}

/// `<vcpu>` of `<vcpus>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VcpuState {
    /// Which vCPU.
    #[xml(attr)]
    pub id: u32,
    /// Whether it is online.
    #[xml(attr, yesno)]
    pub enabled: Option<bool>,
    /// Whether it can be unplugged.
    #[xml(attr, yesno)]
    pub hotpluggable: Option<bool>,
    /// In which order hot-pluggable ones are added.
    #[xml(attr)]
    pub order: Option<u32>,
}

/// `<iothreadids>`: I/O threads with numbers of their own.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IoThreadIds {
    /// The threads.
    #[xml(child)]
    pub iothread: Vec<IoThread>,
}

/// `<iothread>` of `<iothreadids>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IoThread {
    /// Its number, from 1.
    #[xml(attr)]
    pub id: u32,
    /// Worker threads that always exist. Since 8.5.0.
    #[xml(attr, name = "thread_pool_min")]
    pub thread_pool_min: Option<i32>,
    /// Worker threads at most. Since 8.5.0.
    #[xml(attr, name = "thread_pool_max")]
    pub thread_pool_max: Option<i32>,
    /// How it polls.
    #[xml(child)]
    pub poll: Option<IoThreadPoll>,
}

/// `<poll>` of `<iothread>`, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IoThreadPoll {
    /// The longest polling time.
    #[xml(attr)]
    pub max: Option<u64>,
    /// Factor by which it grows.
    #[xml(attr)]
    pub grow: Option<u64>,
    /// Divisor by which it shrinks.
    #[xml(attr)]
    pub shrink: Option<u64>,
}

/// `<defaultiothread>`: the main loop's worker threads.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DefaultIoThread {
    /// Worker threads that always exist.
    #[xml(attr, name = "thread_pool_min")]
    pub thread_pool_min: Option<i32>,
    /// Worker threads at most.
    #[xml(attr, name = "thread_pool_max")]
    pub thread_pool_max: Option<i32>,
}

/// `<cputune>`: pins, shares, quotas, schedulers.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CpuTune {
    /// Weight against other guests.
    #[xml(leaf)]
    pub shares: Option<u64>,
    /// Period of the vCPUs' quota, in microseconds. Since 0.9.4.
    #[xml(leaf)]
    pub period: Option<u64>,
    /// What each vCPU may use of a period, in microseconds; -1: everything. Since 0.9.4.
    #[xml(leaf)]
    pub quota: Option<i64>,
    /// Period of the whole guest's quota. Since 1.3.3.
    #[xml(leaf, name = "global_period")]
    pub global_period: Option<u64>,
    /// The whole guest's quota. Since 1.3.3.
    #[xml(leaf, name = "global_quota")]
    pub global_quota: Option<i64>,
    /// Period of the emulator's quota. Since 0.10.0.
    #[xml(leaf, name = "emulator_period")]
    pub emulator_period: Option<u64>,
    /// The emulator's quota. Since 0.10.0.
    #[xml(leaf, name = "emulator_quota")]
    pub emulator_quota: Option<i64>,
    /// Period of the I/O threads' quota. Since 2.1.0.
    #[xml(leaf, name = "iothread_period")]
    pub iothread_period: Option<u64>,
    /// The I/O threads' quota. Since 2.1.0.
    #[xml(leaf, name = "iothread_quota")]
    pub iothread_quota: Option<i64>,
    /// Host CPUs of single vCPUs.
    #[xml(child)]
    pub vcpupin: Vec<VcpuPin>,
    /// Host CPUs of the emulator's threads.
    #[xml(child)]
    pub emulatorpin: Option<EmulatorPin>,
    /// Host CPUs of single I/O threads. Since 1.2.9.
    #[xml(child)]
    pub iothreadpin: Vec<IoThreadPin>,
    /// Scheduler of the emulator. Since 5.3.0.
    #[xml(child)]
    pub emulatorsched: Option<EmulatorSched>,
    /// Scheduler of vCPUs. Since 1.2.13.
    #[xml(child)]
    pub vcpusched: Vec<VcpuSched>,
    /// Scheduler of I/O threads. Since 1.2.13.
    #[xml(child)]
    pub iothreadsched: Vec<IoThreadSched>,
    /// Cache allocations (resctrl). Since 4.1.0.
    #[xml(child)]
    pub cachetune: Vec<CacheTune>,
    /// Memory bandwidth allocations (resctrl). Since 4.7.0.
    #[xml(child)]
    pub memorytune: Vec<MemoryTune>,
}

/// `<vcpupin>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VcpuPin {
    /// Which vCPU.
    #[xml(attr)]
    pub vcpu: u32,
    /// Its host CPUs.
    #[xml(attr, codec = Sets)]
    pub cpuset: CpuSet,
}

/// `<emulatorpin>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct EmulatorPin {
    /// Its host CPUs.
    #[xml(attr, codec = Sets)]
    pub cpuset: CpuSet,
}

/// `<iothreadpin>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IoThreadPin {
    /// Which I/O thread.
    #[xml(attr)]
    pub iothread: u32,
    /// Its host CPUs.
    #[xml(attr, codec = Sets)]
    pub cpuset: CpuSet,
}

words! {
    /// Linux scheduling policies.
    pub enum Scheduler { Batch = "batch", Idle = "idle", Fifo = "fifo", Rr = "rr" }
}

impl Scheduler {
    /// Whether it has priorities.
    #[must_use]
    pub fn is_real_time(self) -> bool {
        matches!(self, Self::Fifo | Self::Rr)
    }
}

/// `<vcpusched>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VcpuSched {
    /// Which vCPUs.
    #[xml(attr, codec = Sets)]
    pub vcpus: Option<VcpuSet>,
    /// The policy.
    #[xml(attr)]
    pub scheduler: Option<Scheduler>,
    /// For real-time policies.
    #[xml(attr)]
    pub priority: Option<i32>,
}

/// `<iothreadsched>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IoThreadSched {
    /// Which I/O threads, by id.
    #[xml(attr, codec = Sets)]
    pub iothreads: Option<VcpuSet>,
    /// The policy.
    #[xml(attr)]
    pub scheduler: Option<Scheduler>,
    /// For real-time policies.
    #[xml(attr)]
    pub priority: Option<i32>,
}

/// `<emulatorsched>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct EmulatorSched {
    /// The policy.
    #[xml(attr)]
    pub scheduler: Option<Scheduler>,
    /// For real-time policies.
    #[xml(attr)]
    pub priority: Option<i32>,
}

/// `<cachetune>`: cache for some vCPUs.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CacheTune {
    /// Which vCPUs.
    #[xml(attr, codec = Sets)]
    pub vcpus: VcpuSet,
    /// The name of the allocation in resctrl, while the guest runs.
    #[xml(attr, live)]
    pub id: Option<String>,
    /// The parts.
    #[xml(child)]
    pub cache: Vec<CacheShare>,
    /// What is watched. Since 4.10.0.
    #[xml(child)]
    pub monitor: Vec<CacheMonitor>,
}

words! {
    /// What a cache holds.
    pub enum CacheKind { Both = "both", Code = "code", Data = "data" }
}

/// `<cache>` of `<cachetune>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CacheShare {
    /// Which cache.
    #[xml(attr)]
    pub id: u32,
    /// Its level.
    #[xml(attr)]
    pub level: u32,
    /// What it holds.
    #[xml(attr, name = "type")]
    pub kind: Option<CacheKind>,
    /// How much of it.
    #[xml(attr, codec = LargestUnit, unit = "bytes")]
    pub size: Kib,
}

/// `<monitor>` of `<cachetune>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CacheMonitor {
    /// The level of the cache.
    #[xml(attr)]
    pub level: u32,
    /// Which vCPUs.
    #[xml(attr, codec = Sets)]
    pub vcpus: VcpuSet,
}

/// `<memorytune>`: memory bandwidth for some vCPUs.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MemoryTune {
    /// Which vCPUs.
    #[xml(attr, codec = Sets)]
    pub vcpus: VcpuSet,
    /// Shares per memory controller.
    #[xml(child)]
    pub node: Vec<BandwidthShare>,
    /// What is watched.
    #[xml(child)]
    pub monitor: Vec<BandwidthMonitor>,
}

/// `<node>` of `<memorytune>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BandwidthShare {
    /// Which controller.
    #[xml(attr)]
    pub id: u32,
    /// Its share, in per cent or MB/s as the host has it.
    #[xml(attr)]
    pub bandwidth: u32,
}

/// `<monitor>` of `<memorytune>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BandwidthMonitor {
    /// Which vCPUs.
    #[xml(attr, codec = Sets)]
    pub vcpus: VcpuSet,
}
