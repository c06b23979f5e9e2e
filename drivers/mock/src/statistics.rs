//! Made-up numbers of simulated guests: they grow with each question, as real ones do with time.

use std::time::Duration;

use polyvirt_core::{
    BalloonNumbers, BalloonPolling, BlockInfo, BlockNumbers, BlockSizes, CpuTimes, DirtyRate, DirtyRateNumbers,
    DirtyRateOptions, DirtyRateStatus, DiskError, DriverRecord, Error, ErrorKind, InterfaceNumbers, IoNumbers,
    IoThreadNumbers, OutsideStatistics, Result, Statistics, StatsGroup, StatsGroups, StatsRecord, StatsRequest,
    Traffic, VcpuInfo, VcpuNumbers, VcpuTimes, async_trait,
    model::{DomainConfig, disk::Disk},
};

use crate::{domain::MockDomain, driver::MockDriver, launcher};

/// What each question adds to a counter.
const STEP: u64 = 1000;

/// The largest disk and all that is on it.
pub(crate) const DISK: u64 = 1 << 30;

#[async_trait]
impl Statistics for MockDomain {
    fn groups(&self) -> StatsGroups {
        StatsGroups::all().without(StatsGroup::State.into())
    }

    async fn collect(&self, request: &StatsRequest) -> Result<StatsRecord> {
        self.alive()?;
        let mut record = StatsRecord::default();
        if self.settings.stuck.as_deref() == Some(&*self.guest.name) {
            tokio::time::sleep(request.deadline.left()).await;
            record.miss(request.groups, "the mock hypervisor is stuck, as its setting says");
            return Ok(record);
        }
        let count = self.guest.count() * STEP;
        let time = Duration::from_micros(count);
        let (live, asked) = (&request.live, |group| request.groups.contains(group));
        record.cpu = asked(StatsGroup::CpuTotal).then(|| CpuTimes::new(time, time));
        record.balloon = asked(StatsGroup::Balloon).then(|| {
            let mut memory = BalloonNumbers::new(live.memory_total(), live.memory_total());
            memory.last_update = self.guest.polled().then_some(count);
            memory
        });
        if asked(StatsGroup::Vcpu) {
            let vcpus = self.vcpus().await?;
            let each = vcpus.iter().map(|it| VcpuTimes::new(it.vcpu, time)).collect();
            record.vcpus = Some(VcpuNumbers::new(live.vcpus_max(), each));
        }
        let cards = || live.devices.interfaces.iter().map(|_| card(count)).collect();
        record.interfaces = asked(StatsGroup::Interface).then(cards);
        let disks = || live.devices.disks.iter().map(|it| disk(it, count)).collect();
        record.blocks = asked(StatsGroup::Block).then(disks);
        let threads = || live.io_thread_ids().into_iter().map(IoThreadNumbers::new).collect();
        record.io_threads = asked(StatsGroup::IoThread).then(threads);
        record.dirty_rate = asked(StatsGroup::DirtyRate).then(|| rate(self.guest.measured()));
        Ok(record)
    }
}

fn card(count: u64) -> InterfaceNumbers {
    let mut card = InterfaceNumbers::default();
    card.device = Some("mock0".to_owned());
    card.traffic = Some(Traffic { rx_bytes: count, rx_packets: count / STEP, ..Traffic::default() });
    card
}

fn disk(disk: &Disk, count: u64) -> BlockNumbers {
    let path = disk.source.as_ref().and_then(|it| it.file.clone());
    let mut numbers = BlockNumbers::new(disk.target.as_ref().map_or("", |it| &it.dev), path);
    let io = IoNumbers { requests: count / STEP, bytes: count, time: Duration::from_nanos(count), failed: 0 };
    (numbers.read, numbers.written, numbers.flushed) = (Some(io), Some(io), Some(IoNumbers::default()));
    (numbers.capacity, numbers.physical) = (Some(DISK), Some(DISK));
    numbers
}

fn rate(measured: Option<Duration>) -> DirtyRateNumbers {
    let mut rate = DirtyRateNumbers::default();
    if let Some(period) = measured {
        (rate.status, rate.period, rate.mib_per_second) = (DirtyRateStatus::Measured, period, Some(1));
    }
    rate
}

#[async_trait]
impl OutsideStatistics for MockDriver {
    fn groups(&self) -> StatsGroups {
        StatsGroup::CpuTotal.into()
    }

    async fn collect(&self, record: &DriverRecord, request: &StatsRequest) -> Result<StatsRecord> {
        let guest = launcher::read(record).and_then(|it| self.world.get(it.id));
        let guest = guest.ok_or_else(|| Error::new(ErrorKind::InvalidState, "the simulated guest is gone"))?;
        let time = Duration::from_micros(guest.count() * STEP);
        let mut numbers = StatsRecord::default();
        numbers.cpu = request.groups.contains(StatsGroup::CpuTotal).then(|| CpuTimes::new(time, time));
        Ok(numbers)
    }
}

#[async_trait]
impl BalloonPolling for MockDomain {
    async fn set_period(&self, period: Duration) -> Result<()> {
        self.alive()?;
        self.guest.poll(!period.is_zero());
        Ok(())
    }
}

#[async_trait]
impl DirtyRate for MockDomain {
    async fn start(&self, options: &DirtyRateOptions) -> Result<()> {
        self.alive()?;
        self.guest.measure(options.period);
        Ok(())
    }
}

#[async_trait]
impl BlockInfo for MockDomain {
    async fn sizes(&self, disk: &Disk) -> Result<BlockSizes> {
        self.alive()?;
        match &disk.source {
            Some(_) => {
                let size = self.guest.blocks().size(disk);
                Ok(BlockSizes::new(size, size, size))
            }
            None => Err(Error::new(ErrorKind::NotFound, "nothing is in the drive")),
        }
    }

    async fn errors(&self, _: &DomainConfig) -> Result<Vec<(String, DiskError)>> {
        self.alive()?;
        Ok(Vec::new())
    }
}
