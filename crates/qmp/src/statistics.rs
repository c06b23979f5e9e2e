//! Commands that ask for numbers of a guest, as QEMU's QMP reference manual describes them.

use serde::{Deserialize, Serialize};

use crate::{Command, Empty};

/// What was read and written, by block device.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct QueryBlockStats {}

impl Command for QueryBlockStats {
    const NAME: &'static str = "query-blockstats";
    type Reply = Vec<BlockStats>;
}

/// Numbers of one block device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct BlockStats {
    /// Id of the device, or the path of its object.
    pub qdev: Option<String>,
    /// What the guest did.
    pub stats: BlockDeviceStats,
    /// The node below, which writes to the host.
    pub parent: Option<Box<BlockStats>>,
}

/// Counters of a block device (`BlockDeviceStats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are QEMU's; times are in nanoseconds")]
#[non_exhaustive]
pub struct BlockDeviceStats {
    pub rd_bytes: u64,
    pub wr_bytes: u64,
    pub rd_operations: u64,
    pub wr_operations: u64,
    pub flush_operations: u64,
    pub rd_total_time_ns: u64,
    pub wr_total_time_ns: u64,
    pub flush_total_time_ns: u64,
    pub failed_rd_operations: u64,
    pub failed_wr_operations: u64,
    pub failed_flush_operations: u64,
    pub wr_highest_offset: u64,
}

/// How far the measurement of a dirty rate is, and what it gave. Since QEMU 5.2.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct QueryDirtyRate {}

impl Command for QueryDirtyRate {
    const NAME: &'static str = "query-dirty-rate";
    type Reply = DirtyRateInfo;
}

/// Reply to [`QueryDirtyRate`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct DirtyRateInfo {
    /// `unstarted`, `measuring` or `measured`.
    pub status: String,
    /// Seconds of the host's uptime at which it began.
    pub start_time: i64,
    /// Seconds that it takes.
    pub calc_time: u64,
    /// `page-sampling`, `dirty-bitmap` or `dirty-ring`. Since QEMU 6.2.
    pub mode: Option<String>,
    /// MiB a second; of one that is done.
    pub dirty_rate: Option<i64>,
}

/// Begins to measure a dirty rate. Since QEMU 5.2.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CalcDirtyRate {
    /// Seconds, 1 to 60.
    pub calc_time: u64,
    /// By which means. Since QEMU 6.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
}

impl Command for CalcDirtyRate {
    const NAME: &'static str = "calc-dirty-rate";
    type Reply = Empty;
}

/// What a guest told of its memory: the property `guest-stats` of a balloon (QEMU, docs/interop/virtio-balloon-stats).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct GuestMemoryStats {
    /// When it last told, in seconds since 1970; 0: never.
    pub last_update: i64,
    /// What it told.
    pub stats: GuestMemory,
}

/// Numbers of a guest's memory; what it did not tell is 2⁶⁴ − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[expect(missing_docs, reason = "the names are QEMU's; sizes are in bytes")]
#[non_exhaustive]
pub struct GuestMemory {
    pub stat_swap_in: u64,
    pub stat_swap_out: u64,
    pub stat_major_faults: u64,
    pub stat_minor_faults: u64,
    pub stat_free_memory: u64,
    pub stat_total_memory: u64,
    pub stat_available_memory: u64,
    pub stat_disk_caches: u64,
    pub stat_htlb_pgalloc: u64,
    pub stat_htlb_pgfail: u64,
}

impl Default for GuestMemory {
    fn default() -> Self {
        const UNTOLD: u64 = u64::MAX;
        Self {
            stat_swap_in: UNTOLD,
            stat_swap_out: UNTOLD,
            stat_major_faults: UNTOLD,
            stat_minor_faults: UNTOLD,
            stat_free_memory: UNTOLD,
            stat_total_memory: UNTOLD,
            stat_available_memory: UNTOLD,
            stat_disk_caches: UNTOLD,
            stat_htlb_pgalloc: UNTOLD,
            stat_htlb_pgfail: UNTOLD,
        }
    }
}

/// Asks a balloon for [`GuestMemoryStats`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QomGetMemoryStats<'a> {
    /// The balloon.
    pub path: &'a str,
    property: &'static str,
}

impl<'a> QomGetMemoryStats<'a> {
    /// Of the balloon at this path.
    #[must_use]
    pub fn of(path: &'a str) -> Self {
        Self { path, property: "guest-stats" }
    }
}

impl Command for QomGetMemoryStats<'_> {
    const NAME: &'static str = "qom-get";
    type Reply = GuestMemoryStats;
}

/// Sets a property of an object.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QomSet<'a, T> {
    /// The object.
    pub path: &'a str,
    /// The property.
    pub property: &'a str,
    /// What it becomes.
    pub value: T,
}

impl<T: Serialize> Command for QomSet<'_, T> {
    const NAME: &'static str = "qom-set";
    type Reply = Empty;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_does_not_tell_is_not_zero() {
        let told = r#"{"stats": {"stat-swap-in": 4096}, "last-update": 0}"#;
        let told: GuestMemoryStats = serde_json::from_str(told).unwrap();
        assert_eq!((told.stats.stat_swap_in, told.stats.stat_htlb_pgfail, told.last_update), (4096, u64::MAX, 0));
    }

    #[test]
    fn counters_of_a_device_and_of_the_node_below() {
        let text = r#"[{"device": "", "qdev": "/machine/peripheral/virtio-disk0/virtio-backend", "node-name": "f",
            "stats": {"rd_bytes": 512, "timed_stats": []},
            "parent": {"node-name": "s", "stats": {"wr_highest_offset": 77}}}]"#;
        let told: Vec<BlockStats> = serde_json::from_str(text).unwrap();
        assert_eq!((told[0].stats.rd_bytes, told[0].stats.wr_bytes), (512, 0));
        assert_eq!(told[0].parent.as_ref().unwrap().stats.wr_highest_offset, 77);
    }
}
