//! Numbers of a running guest, its balloon's pace, its dirty rate, its disks' sizes and errors.
//!
//! All questions of one call are asked at once over one monitor; each has the call's deadline.

use std::{
    collections::HashMap,
    fs::{File, Metadata},
    future::Future,
    io::{self, Seek as _, SeekFrom},
    os::unix::fs::FileTypeExt as _,
    time::Duration,
};

use polyvirt_core::{
    BalloonNumbers, BalloonPolling, BlockInfo, BlockNumbers, BlockSizes, DirtyRate, DirtyRateMode, DirtyRateNumbers,
    DirtyRateOptions, DirtyRateStatus, DiskError, Error, ErrorKind, IoNumbers, IoThreadNumbers, Result, Statistics,
    StatsGroup, StatsGroups, StatsRecord, StatsRequest, async_trait, io_error,
    model::{
        DomainConfig,
        disk::Disk,
        misc::{BalloonModel, MemBalloon},
    },
    placement::Kib,
};
use polyvirt_qmp::{
    BlockDevice, BlockDeviceStats, BlockStats, CalcDirtyRate, DirtyRateInfo, GuestMemoryStats, QomGetMemoryStats,
    QomSet, QueryBalloon, QueryBlock, QueryBlockStats, QueryDirtyRate, QueryIoThreads,
};

use super::{QemuDomain, news::peripheral};
use crate::{command::disk, outside};

#[async_trait]
impl Statistics for QemuDomain {
    fn groups(&self) -> StatsGroups {
        StatsGroups::all().without(StatsGroup::State.into())
    }

    async fn collect(&self, request: &StatsRequest) -> Result<StatsRecord> {
        let pid = self.shared.parts.process.id().pid;
        let asked = |group| request.groups.contains(group);
        let (kernel, balloon, blocks, threads, rate) = tokio::join!(
            outside::collect(pid, request),
            wanted(asked(StatsGroup::Balloon), self.balloon(pid, request)),
            wanted(asked(StatsGroup::Block), self.blocks(request)),
            wanted(asked(StatsGroup::IoThread), self.io_thread_numbers(request)),
            wanted(asked(StatsGroup::DirtyRate), self.dirty(request)),
        );
        let mut record = match kernel {
            Ok(record) => record,
            Err(error) => {
                let mut record = StatsRecord::default();
                record.miss(request.groups.and(outside::groups()), &error.to_string());
                record
            }
        };
        record.balloon = here(balloon, StatsGroup::Balloon, &mut record);
        record.blocks = here(blocks, StatsGroup::Block, &mut record);
        record.io_threads = here(threads, StatsGroup::IoThread, &mut record);
        record.dirty_rate = here(rate, StatsGroup::DirtyRate, &mut record);
        Ok(record)
    }
}

/// The answer if it is wanted.
async fn wanted<T>(asked: bool, answer: impl Future<Output = Result<T>>) -> Option<Result<T>> {
    if asked { Some(answer.await) } else { None }
}

/// What is here of a group; if it could not be had, the record says why.
fn here<T>(answer: Option<Result<T>>, group: StatsGroup, record: &mut StatsRecord) -> Option<T> {
    match answer? {
        Ok(numbers) => Some(numbers),
        Err(error) => {
            record.miss(group.into(), &error.to_string());
            None
        }
    }
}

/// The balloon's object, if the guest has one.
fn balloon_path(live: &DomainConfig) -> Option<String> {
    let balloon = live.devices.memballoon.as_ref().filter(|it| it.model != Some(BalloonModel::None))?;
    Some(path_of(balloon))
}

pub(crate) fn path_of(balloon: &MemBalloon) -> String {
    format!("/machine/peripheral/{}", balloon.info.alias.as_ref().map_or("balloon0", |it| &it.name))
}

/// Sets how often a balloon asks the guest; 0: never.
pub(crate) fn polling(path: &str, seconds: u64) -> QomSet<'_, u64> {
    QomSet { path, property: "guest-stats-polling-interval", value: seconds }
}

impl QemuDomain {
    async fn balloon(&self, pid: u32, request: &StatsRequest) -> Result<BalloonNumbers> {
        let (within, maximum) = (request.deadline.left(), request.live.memory_total());
        let mut numbers = match balloon_path(&request.live) {
            None => BalloonNumbers::new(maximum, maximum),
            Some(path) => {
                let question = QomGetMemoryStats::of(&path);
                let (now, told) = tokio::join!(
                    self.shared.execute_within(&QueryBalloon {}, within),
                    self.shared.execute_within(&question, within),
                );
                let mut numbers = BalloonNumbers::new(Kib(now?.actual / 1024), maximum);
                told_by_guest(&mut numbers, &told?);
                numbers
            }
        };
        numbers.resident = polyvirt_process::resident(pid).ok().map(|bytes| Kib(bytes / 1024));
        Ok(numbers)
    }

    async fn blocks(&self, request: &StatsRequest) -> Result<Vec<BlockNumbers>> {
        let within = request.deadline.left();
        let (stats, devices) = tokio::try_join!(
            self.shared.execute_within(&QueryBlockStats {}, within),
            self.shared.execute_within(&QueryBlock {}, within),
        )?;
        let (stats, devices) = (by_id(&stats, |it| it.qdev.as_deref()), by_id(&devices, |it| it.qdev.as_deref()));
        let numbers = |disk: &Disk| {
            let id = disk.info.alias.as_ref().map_or("", |it| &it.name);
            block(disk, stats.get(id).copied(), devices.get(id).copied())
        };
        Ok(request.live.devices.disks.iter().map(numbers).collect())
    }

    async fn io_thread_numbers(&self, request: &StatsRequest) -> Result<Vec<IoThreadNumbers>> {
        let threads = self.shared.execute_within(&QueryIoThreads {}, request.deadline.left()).await?;
        let numbers = threads.iter().filter_map(|it| {
            let mut numbers = IoThreadNumbers::new(it.id.strip_prefix("iothread")?.parse().ok()?);
            numbers.poll_max = Duration::from_nanos(it.poll_max_ns);
            (numbers.poll_grow, numbers.poll_shrink) = (it.poll_grow, it.poll_shrink);
            Some(numbers)
        });
        let mut numbers: Vec<_> = numbers.collect();
        numbers.sort_unstable_by_key(|it| it.id);
        Ok(numbers)
    }

    async fn dirty(&self, request: &StatsRequest) -> Result<DirtyRateNumbers> {
        Ok(dirty(&self.shared.execute_within(&QueryDirtyRate {}, request.deadline.left()).await?))
    }

    /// What QEMU says of one disk.
    async fn device(&self, disk: &Disk) -> Result<BlockDevice> {
        let id = disk.info.alias.as_ref().map_or("", |it| &it.name);
        let devices = self.shared.execute(&QueryBlock {}).await?;
        let found = devices.into_iter().find(|it| it.qdev.as_deref().is_some_and(|at| id_of(at) == id));
        found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("QEMU has no disk '{id}'")).hint("it may be on its way out")
        })
    }
}

/// What a guest told through its balloon. Bytes are made KiB; what it did not tell is left out.
fn told_by_guest(numbers: &mut BalloonNumbers, told: &GuestMemoryStats) {
    let number = |it: u64| (it != u64::MAX).then_some(it);
    let size = |it: u64| number(it).map(|bytes| Kib(bytes / 1024));
    let it = &told.stats;
    numbers.swap_in = size(it.stat_swap_in);
    numbers.swap_out = size(it.stat_swap_out);
    numbers.major_faults = number(it.stat_major_faults);
    numbers.minor_faults = number(it.stat_minor_faults);
    numbers.unused = size(it.stat_free_memory);
    numbers.available = size(it.stat_total_memory);
    numbers.usable = size(it.stat_available_memory);
    numbers.disk_caches = size(it.stat_disk_caches);
    numbers.huge_pages_got = number(it.stat_htlb_pgalloc);
    numbers.huge_pages_failed = number(it.stat_htlb_pgfail);
    numbers.last_update = u64::try_from(told.last_update).ok().filter(|it| *it > 0);
}

/// The id of the device that QEMU names by id or by its object's path.
fn id_of(qdev: &str) -> String {
    peripheral(qdev).unwrap_or_else(|| qdev.to_owned())
}

fn by_id<T>(all: &[T], qdev: impl Fn(&T) -> Option<&str>) -> HashMap<String, &T> {
    all.iter().filter_map(|it| Some((id_of(qdev(it)?), it))).collect()
}

fn block(disk: &Disk, stats: Option<&BlockStats>, device: Option<&BlockDevice>) -> BlockNumbers {
    let target = disk.target.as_ref().map_or("", |it| &it.dev);
    let mut numbers = BlockNumbers::new(target, disk::path(disk).map(ToOwned::to_owned));
    if let Some(BlockStats { stats: it, parent, .. }) = stats {
        let BlockDeviceStats { rd_operations, wr_operations, flush_operations, .. } = *it;
        numbers.read = Some(io(rd_operations, it.rd_bytes, it.rd_total_time_ns, it.failed_rd_operations));
        numbers.written = Some(io(wr_operations, it.wr_bytes, it.wr_total_time_ns, it.failed_wr_operations));
        numbers.flushed = Some(io(flush_operations, 0, it.flush_total_time_ns, it.failed_flush_operations));
        numbers.allocation = parent.as_ref().map(|it| it.stats.wr_highest_offset);
    }
    if let Some(node) = device.and_then(|it| it.inserted.as_ref()) {
        numbers.capacity = node.image.as_ref().map(|it| it.virtual_size);
        numbers.physical = node.image.as_ref().and_then(|it| it.actual_size);
        numbers.threshold = Some(node.write_threshold).filter(|it| *it > 0);
    }
    numbers
}

fn io(requests: u64, bytes: u64, time: u64, failed: u64) -> IoNumbers {
    IoNumbers { requests, bytes, time: Duration::from_nanos(time), failed }
}

fn dirty(info: &DirtyRateInfo) -> DirtyRateNumbers {
    let mut numbers = DirtyRateNumbers::default();
    numbers.status = match info.status.as_str() {
        "measuring" => DirtyRateStatus::Measuring,
        "measured" => DirtyRateStatus::Measured,
        _ => DirtyRateStatus::Unstarted,
    };
    numbers.start = info.start_time;
    numbers.period = Duration::from_secs(info.calc_time);
    let mode = DirtyRateMode::ALL.iter().find(|it| Some(it.name()) == info.mode.as_deref());
    numbers.mode = mode.copied().unwrap_or_default();
    numbers.mib_per_second = info.dirty_rate;
    numbers
}

#[async_trait]
impl BalloonPolling for QemuDomain {
    async fn set_period(&self, period: Duration) -> Result<()> {
        let path = balloon_path(&self.shared.live().config).ok_or_else(|| {
            Error::new(ErrorKind::InvalidState, "the guest has no balloon that could be asked")
                .hint("add <memballoon model='virtio'/> and start it again")
        })?;
        self.shared.execute(&polling(&path, period.as_secs())).await.map(drop)
    }
}

#[async_trait]
impl DirtyRate for QemuDomain {
    async fn start(&self, options: &DirtyRateOptions) -> Result<()> {
        let now = self.shared.execute(&QueryDirtyRate {}).await?;
        if now.status == "measuring" {
            return Err(Error::new(ErrorKind::Busy, "a dirty rate is being measured already")
                .hint(format!("wait until it is done, at most {} s", now.calc_time)));
        }
        // QEMU before 6.2 has one mode, and no word for it.
        let mode = (options.mode != DirtyRateMode::PageSampling).then(|| options.mode.name());
        let order = CalcDirtyRate { calc_time: options.period.as_secs(), mode };
        self.shared.execute(&order).await.map(drop)
    }
}

#[async_trait]
impl BlockInfo for QemuDomain {
    async fn sizes(&self, disk: &Disk) -> Result<BlockSizes> {
        let device = self.device(disk).await?;
        let target = disk.target.as_ref().map_or("", |it| it.dev.as_str());
        let image = device.inserted.and_then(|it| it.image);
        let image =
            image.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("nothing is in the drive '{target}'")))?;
        let known = image.actual_size.unwrap_or(image.virtual_size);
        let Some(path) = disk::path(disk).map(ToOwned::to_owned) else {
            return Ok(BlockSizes::new(image.virtual_size, known, known));
        };
        let looked = tokio::task::spawn_blocking(move || {
            physical(&path).map_err(|error| io_error("look at", path.as_ref(), error))
        });
        let physical = tokio::time::timeout(super::ANSWER, looked).await.map_err(|_| {
            Error::new(ErrorKind::Timeout, format!("the file of '{target}' does not answer"))
                .hint("see the storage that it is on")
        })?;
        let physical = physical.map_err(|error| Error::new(ErrorKind::Internal, "looking failed").source(error))??;
        Ok(BlockSizes::new(image.virtual_size, known, physical))
    }

    async fn errors(&self, live: &DomainConfig) -> Result<Vec<(String, DiskError)>> {
        let devices = self.shared.execute(&QueryBlock {}).await?;
        let devices = by_id(&devices, |it| it.qdev.as_deref());
        let error = |disk: &Disk| {
            let status = devices.get(&disk.info.alias.as_ref()?.name)?.io_status.as_deref()?;
            let error = match status {
                "nospace" => DiskError::NoSpace,
                "failed" => DiskError::Unspecified,
                _ => return None,
            };
            Some((disk.target.as_ref()?.dev.clone(), error))
        };
        Ok(live.devices.disks.iter().filter_map(error).collect())
    }
}

/// How long a file or a block device is.
fn physical(path: &str) -> io::Result<u64> {
    let about: Metadata = std::fs::metadata(path)?;
    if about.file_type().is_block_device() { File::open(path)?.seek(SeekFrom::End(0)) } else { Ok(about.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer<T: serde::de::DeserializeOwned>(text: &str) -> T {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_guest_that_tells_nothing_has_no_numbers() {
        let mut numbers = BalloonNumbers::new(Kib(1), Kib(2));
        told_by_guest(&mut numbers, &answer(r#"{"stats": {}, "last-update": 0}"#));
        assert_eq!(numbers, BalloonNumbers::new(Kib(1), Kib(2)));
        told_by_guest(
            &mut numbers,
            &answer(r#"{"stats": {"stat-swap-in": 4096, "stat-major-faults": 3}, "last-update": -5}"#),
        );
        assert_eq!((numbers.swap_in, numbers.major_faults, numbers.last_update), (Some(Kib(4)), Some(3), None));
    }

    #[test]
    fn disks_are_found_by_what_qemu_calls_them() {
        let text = "<domain type='qemu'><name>a</name><memory>1</memory><devices>\
            <disk type='file' device='disk'><source file='/d'/><target dev='vda'/><alias name='virtio-disk0'/></disk>\
            <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><alias name='sata0-0-0'/></disk>\
            <disk type='block' device='disk'><source dev='/b'/><target dev='sdb' bus='usb'/><alias name='usb-disk1'/></disk>\
            </devices></domain>";
        let config = DomainConfig::parse(text, &Default::default()).unwrap().config;
        let stats: Vec<BlockStats> = answer(
            r#"[{"qdev": "sata0-0-0", "stats": {}},
                {"qdev": "/machine/peripheral/usb-disk1/usb-disk1.0/legacy[0]", "stats": {"wr_bytes": 9, "wr_total_time_ns": 8}},
                {"qdev": "/machine/peripheral/virtio-disk0/virtio-backend", "stats": {"rd_operations": 1, "failed_rd_operations": 2},
                 "parent": {"stats": {"wr_highest_offset": 512}}}, {"stats": {}}]"#,
        );
        let devices: Vec<BlockDevice> = answer(
            r#"[{"qdev": "/machine/peripheral/virtio-disk0/virtio-backend", "io-status": "nospace",
                 "inserted": {"write_threshold": 3, "image": {"virtual-size": 1024, "actual-size": 77}}}]"#,
        );
        let (stats, devices) = (by_id(&stats, |it| it.qdev.as_deref()), by_id(&devices, |it| it.qdev.as_deref()));
        let numbers = |at: usize| {
            let disk = &config.devices.disks[at];
            let id = &disk.info.alias.as_ref().unwrap().name;
            block(disk, stats.get(id).copied(), devices.get(id).copied())
        };
        let first = numbers(0);
        assert_eq!(
            (first.capacity, first.physical, first.allocation, first.threshold),
            (Some(1024), Some(77), Some(512), Some(3))
        );
        assert_eq!(first.read, Some(io(1, 0, 0, 2)));
        assert_eq!((numbers(1).path, numbers(1).capacity), (None, None));
        assert_eq!((numbers(2).path.as_deref(), numbers(2).written), (Some("/b"), Some(io(0, 9, 8, 0))));
    }

    #[test]
    fn dirty_rates() {
        let done = dirty(&answer(
            r#"{"status": "measured", "start-time": 5, "calc-time": 1, "mode": "dirty-bitmap", "dirty-rate": 2, "sample-pages": 0}"#,
        ));
        assert_eq!(
            (done.status, done.mode, done.mib_per_second),
            (DirtyRateStatus::Measured, DirtyRateMode::DirtyBitmap, Some(2))
        );
        let none = dirty(&answer(r#"{"status": "unstarted", "start-time": 0, "calc-time": 0}"#));
        assert_eq!(none, DirtyRateNumbers::default());
    }
}
