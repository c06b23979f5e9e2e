//! Numbers of a guest: what it used, what it moved, what it has.
//!
//! They come in groups, as `virsh domstats` has them. A group that could not be had in time is missing and says why: nobody waits for a
//! guest that is stuck, and no number is made up. Counters count from the start of the guest's process.

mod fields;
mod groups;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use polyvirt_model::{DomainConfig, disk::Disk};
use polyvirt_numa_placement::{Kib, VcpuId};

use crate::{Deadline, DriverRecord, GuestState, Result};

pub use fields::StatValue;
pub use groups::{StatsGroup, StatsGroups};

/// What is asked of one guest.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StatsRequest {
    /// Which numbers.
    pub groups: StatsGroups,
    /// The guest's live definition, as it is now.
    pub live: Arc<DomainConfig>,
    /// By when the answer must be there.
    pub deadline: Deadline,
}

impl StatsRequest {
    /// A question.
    #[must_use]
    pub fn new(groups: StatsGroups, live: Arc<DomainConfig>, deadline: Deadline) -> Self {
        Self { groups, live, deadline }
    }
}

/// Numbers of a running guest.
#[async_trait]
pub trait Statistics: Send + Sync {
    /// The groups it has.
    fn groups(&self) -> StatsGroups;

    /// Collects those that are asked for, all in one call.
    ///
    /// *Behaviour*: changes nothing. Groups are independent: one that cannot be had by the deadline stands in
    /// [`StatsRecord::missing`] with the reason, and the others are there. Returns by the deadline.
    async fn collect(&self, request: &StatsRequest) -> Result<StatsRecord>;
}

/// Numbers of a guest that this process does not own, as far as they can be had without speaking to its hypervisor.
#[async_trait]
pub trait OutsideStatistics: Send + Sync {
    /// The groups that can be had so.
    fn groups(&self) -> StatsGroups;

    /// Collects those that are asked for.
    ///
    /// *Behaviour*: as [`Statistics::collect`]; disturbs neither the guest nor its owner.
    async fn collect(&self, record: &DriverRecord, request: &StatsRequest) -> Result<StatsRecord>;
}

/// How often the guest is asked for its memory statistics.
#[async_trait]
pub trait BalloonPolling: Send + Sync {
    /// Sets the period, in whole seconds; zero stops it.
    ///
    /// *Behaviour*: a guest without a balloon device is `InvalidState`.
    async fn set_period(&self, period: Duration) -> Result<()>;
}

/// Measuring how fast a guest writes its memory.
#[async_trait]
pub trait DirtyRate: Send + Sync {
    /// Begins a measurement; its result is told by [`StatsGroup::DirtyRate`].
    ///
    /// *Behaviour*: returns when it was ordered. One that is under way already is `Busy`.
    async fn start(&self, options: &DirtyRateOptions) -> Result<()>;
}

/// How a [`DirtyRate`] is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirtyRateOptions {
    /// For how long, in whole seconds, 1 to 60.
    pub period: Duration,
    /// By which means.
    pub mode: DirtyRateMode,
}

impl DirtyRateOptions {
    /// Measures so.
    #[must_use]
    pub fn new(period: Duration, mode: DirtyRateMode) -> Self {
        Self { period, mode }
    }
}

/// By which means a dirty rate is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirtyRateMode {
    /// Some pages are looked at twice.
    #[default]
    PageSampling,
    /// The dirty log, for the whole guest.
    DirtyBitmap,
    /// KVM's dirty ring, by vCPU.
    DirtyRing,
}

impl DirtyRateMode {
    /// All, in virsh's order.
    pub const ALL: &'static [Self] = &[Self::PageSampling, Self::DirtyBitmap, Self::DirtyRing];

    /// The word that virsh and QEMU have for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PageSampling => "page-sampling",
            Self::DirtyBitmap => "dirty-bitmap",
            Self::DirtyRing => "dirty-ring",
        }
    }
}

/// Sizes and errors of disks.
#[async_trait]
pub trait BlockInfo: Send + Sync {
    /// How large a disk of the live definition is.
    ///
    /// *Behaviour*: changes nothing. An empty drive is `NotFound`.
    async fn sizes(&self, disk: &Disk) -> Result<BlockSizes>;

    /// Disks that are in error, by the name of their target.
    ///
    /// *Behaviour*: changes nothing; empty when all is well.
    async fn errors(&self, live: &DomainConfig) -> Result<Vec<(String, DiskError)>>;
}

/// How large a disk is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct BlockSizes {
    /// What the guest sees.
    pub capacity: u64,
    /// What it takes on the host, as `du` counts.
    pub allocation: u64,
    /// How long the file or device is on the host, as `ls` shows.
    pub physical: u64,
}

impl BlockSizes {
    /// Sizes.
    #[must_use]
    pub fn new(capacity: u64, allocation: u64, physical: u64) -> Self {
        Self { capacity, allocation, physical }
    }
}

/// Why a disk is in error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DiskError {
    /// Reads or writes fail.
    Unspecified,
    /// The host has no room left.
    NoSpace,
}

impl DiskError {
    /// As `virsh domblkerror` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified error",
            Self::NoSpace => "no space",
        }
    }
}

/// What a guest told of itself. Groups that were not asked for are `None`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StatsRecord {
    /// [`StatsGroup::State`]
    pub state: Option<GuestState>,
    /// [`StatsGroup::CpuTotal`]
    pub cpu: Option<CpuTimes>,
    /// [`StatsGroup::Balloon`]
    pub balloon: Option<BalloonNumbers>,
    /// [`StatsGroup::Vcpu`]
    pub vcpus: Option<VcpuNumbers>,
    /// [`StatsGroup::Interface`], in the order of the definition.
    pub interfaces: Option<Vec<InterfaceNumbers>>,
    /// [`StatsGroup::Block`], in the order of the definition.
    pub blocks: Option<Vec<BlockNumbers>>,
    /// [`StatsGroup::IoThread`]
    pub io_threads: Option<Vec<IoThreadNumbers>>,
    /// [`StatsGroup::DirtyRate`]
    pub dirty_rate: Option<DirtyRateNumbers>,
    /// What only this hypervisor has, such as `acme.queue_depth`.
    pub extra: BTreeMap<String, u64>,
    /// Groups that were asked for and could not be had, with the reason.
    pub missing: BTreeMap<StatsGroup, String>,
}

impl StatsRecord {
    /// Says of groups that they could not be had, unless they are here.
    pub fn miss(&mut self, groups: StatsGroups, why: &str) {
        for group in groups.without(self.present()).iter() {
            self.missing.entry(group).or_insert_with(|| why.to_owned());
        }
    }

    /// The groups that are here.
    #[must_use]
    pub fn present(&self) -> StatsGroups {
        let here = [
            (StatsGroup::State, self.state.is_some()),
            (StatsGroup::CpuTotal, self.cpu.is_some()),
            (StatsGroup::Balloon, self.balloon.is_some()),
            (StatsGroup::Vcpu, self.vcpus.is_some()),
            (StatsGroup::Interface, self.interfaces.is_some()),
            (StatsGroup::Block, self.blocks.is_some()),
            (StatsGroup::IoThread, self.io_threads.is_some()),
            (StatsGroup::DirtyRate, self.dirty_rate.is_some()),
        ];
        here.into_iter().filter(|(_, here)| *here).map(|(group, _)| group).collect()
    }
}

/// CPU time of everything that serves the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuTimes {
    /// All of it.
    pub total: Duration,
    /// In user mode of the host, which is where emulated guests run.
    pub user: Duration,
    /// In the host's kernel.
    pub system: Duration,
}

impl CpuTimes {
    /// The sum of both.
    #[must_use]
    pub fn new(user: Duration, system: Duration) -> Self {
        Self { total: user + system, user, system }
    }
}

/// The guest's memory. What it tells of itself is believed no further than to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BalloonNumbers {
    /// What the balloon leaves it.
    pub current: Kib,
    /// What it can have.
    pub maximum: Kib,
    /// Read from its swap.
    pub swap_in: Option<Kib>,
    /// Written to its swap.
    pub swap_out: Option<Kib>,
    /// Page faults for which it read a disk.
    pub major_faults: Option<u64>,
    /// Other page faults.
    pub minor_faults: Option<u64>,
    /// What it uses for nothing.
    pub unused: Option<Kib>,
    /// All that it sees.
    pub available: Option<Kib>,
    /// What could be taken from it before it swaps.
    pub usable: Option<Kib>,
    /// What it could give back at once, usually caches of disks.
    pub disk_caches: Option<Kib>,
    /// Huge pages that it got.
    pub huge_pages_got: Option<u64>,
    /// Huge pages that it did not get.
    pub huge_pages_failed: Option<u64>,
    /// When it last told, in seconds since 1970; `None`: never.
    pub last_update: Option<u64>,
    /// What its process has in the host's memory.
    pub resident: Option<Kib>,
}

impl BalloonNumbers {
    /// A guest that has `current` of `maximum` and tells nothing.
    #[must_use]
    pub fn new(current: Kib, maximum: Kib) -> Self {
        Self { current, maximum, ..Self::default() }
    }
}

/// The vCPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VcpuNumbers {
    /// How many it has.
    pub current: u32,
    /// How many it can have.
    pub maximum: u32,
    /// Those that it has, ascending.
    pub each: Vec<VcpuTimes>,
}

impl VcpuNumbers {
    /// These, of so many.
    #[must_use]
    pub fn new(maximum: u32, each: Vec<VcpuTimes>) -> Self {
        Self { current: u32::try_from(each.len()).unwrap_or(u32::MAX), maximum, each }
    }
}

/// One vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VcpuTimes {
    /// Which.
    pub vcpu: VcpuId,
    /// How long its thread ran.
    pub time: Duration,
    /// How long its thread could have run and waited for a CPU of the host.
    pub delay: Option<Duration>,
}

impl VcpuTimes {
    /// One that ran so long.
    #[must_use]
    pub fn new(vcpu: VcpuId, time: Duration) -> Self {
        Self { vcpu, time, delay: None }
    }
}

/// One network card. Directions are the guest's: what it received, what it sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterfaceNumbers {
    /// The host's device behind it; `None` for one that has none, such as QEMU's user network.
    pub device: Option<String>,
    /// Its hardware address.
    pub mac: Option<String>,
    /// What went through; `None` where nobody counts.
    pub traffic: Option<Traffic>,
}

/// What went through a network card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "rx: the guest received; tx: it sent")]
pub struct Traffic {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

impl Traffic {
    /// The same, seen from the other end of the cable.
    #[must_use]
    pub fn from_other_end(self) -> Self {
        Self {
            rx_bytes: self.tx_bytes,
            rx_packets: self.tx_packets,
            rx_errors: self.tx_errors,
            rx_dropped: self.tx_dropped,
            tx_bytes: self.rx_bytes,
            tx_packets: self.rx_packets,
            tx_errors: self.rx_errors,
            tx_dropped: self.rx_dropped,
        }
    }
}

/// One disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockNumbers {
    /// The name of its target, such as `vda`.
    pub target: String,
    /// The host's file or device; `None` for an empty drive and for what is not on this host.
    pub path: Option<String>,
    /// What was read.
    pub read: Option<IoNumbers>,
    /// What was written.
    pub written: Option<IoNumbers>,
    /// What was flushed; its bytes are 0.
    pub flushed: Option<IoNumbers>,
    /// Bytes up to the highest place that was written.
    pub allocation: Option<u64>,
    /// Bytes that the guest sees.
    pub capacity: Option<u64>,
    /// Bytes on the host.
    pub physical: Option<u64>,
    /// Beyond which byte a write is told; `None`: none is.
    pub threshold: Option<u64>,
}

impl BlockNumbers {
    /// A disk of which nothing is known yet.
    #[must_use]
    pub fn new(target: impl Into<String>, path: Option<String>) -> Self {
        Self { target: target.into(), path, ..Self::default() }
    }
}

/// Operations of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct IoNumbers {
    pub requests: u64,
    pub bytes: u64,
    pub time: Duration,
    pub failed: u64,
}

/// One I/O thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoThreadNumbers {
    /// Its number.
    pub id: u32,
    /// How long it polls at most; zero: it does not.
    pub poll_max: Duration,
    /// By what that grows; 0: as the hypervisor likes.
    pub poll_grow: u64,
    /// By what it shrinks, likewise.
    pub poll_shrink: u64,
}

impl IoThreadNumbers {
    /// One that does not poll.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self { id, ..Self::default() }
    }
}

/// How fast the guest wrote its memory when that was last measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirtyRateNumbers {
    /// How far the measurement is.
    pub status: DirtyRateStatus,
    /// When it began, in seconds of the host's uptime.
    pub start: i64,
    /// For how long.
    pub period: Duration,
    /// By which means.
    pub mode: DirtyRateMode,
    /// MiB a second; only of one that is done.
    pub mib_per_second: Option<i64>,
}

/// How far the measurement of a dirty rate is; the numbers are those of libvirt's `virDomainDirtyRateStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum DirtyRateStatus {
    #[default]
    Unstarted = 0,
    Measuring = 1,
    Measured = 2,
}
