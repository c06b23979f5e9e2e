//! Numbers under the names that libvirt gives them (virsh(1), `domstats`; constants of `virDomainGetStats`).

use std::{fmt, time::Duration};

use polyvirt_numa_placement::Kib;

use super::{BlockNumbers, DirtyRateNumbers, InterfaceNumbers, IoNumbers, StatsRecord, VcpuNumbers};
use crate::{GuestState, StopReason};

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum StatValue {
    /// A number.
    Unsigned(u64),
    /// A number that may be negative.
    Signed(i64),
    /// Text.
    Text(String),
}

impl fmt::Display for StatValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(number) => write!(f, "{number}"),
            Self::Signed(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<u64> for StatValue {
    fn from(number: u64) -> Self {
        Self::Unsigned(number)
    }
}

impl From<u32> for StatValue {
    fn from(number: u32) -> Self {
        Self::Unsigned(number.into())
    }
}

impl From<i64> for StatValue {
    fn from(number: i64) -> Self {
        Self::Signed(number)
    }
}

impl From<Kib> for StatValue {
    fn from(size: Kib) -> Self {
        Self::Unsigned(size.0)
    }
}

/// In nanoseconds, as libvirt has all times of statistics.
impl From<Duration> for StatValue {
    fn from(time: Duration) -> Self {
        Self::Unsigned(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<&str> for StatValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Fields in their order.
#[derive(Default)]
struct Fields(Vec<(String, StatValue)>);

impl Fields {
    fn add(&mut self, name: impl Into<String>, value: impl Into<StatValue>) {
        self.0.push((name.into(), value.into()));
    }

    fn some<T: Into<StatValue>>(&mut self, name: impl Into<String>, value: Option<T>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }
}

impl StatsRecord {
    /// The numbers that are here under libvirt's names, in its order: `cpu.time`, `block.0.rd.bytes`. Times are in nanoseconds, memory
    /// in KiB, disks in bytes.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, StatValue)> {
        let mut fields = Fields::default();
        if let Some(state) = &self.state {
            let (state, reason) = numbers_of(state);
            fields.add("state.state", state);
            fields.add("state.reason", reason);
        }
        if let Some(cpu) = &self.cpu {
            fields.add("cpu.time", cpu.total);
            fields.add("cpu.user", cpu.user);
            fields.add("cpu.system", cpu.system);
        }
        self.memory(&mut fields);
        if let Some(vcpus) = &self.vcpus {
            vcpu(&mut fields, vcpus);
        }
        if let Some(cards) = &self.interfaces {
            interfaces(&mut fields, cards);
        }
        if let Some(disks) = &self.blocks {
            fields.add("block.count", disks.len() as u64);
            for (at, disk) in disks.iter().enumerate() {
                block(&mut fields, at, disk);
            }
        }
        if let Some(threads) = &self.io_threads {
            fields.add("iothread.count", threads.len() as u64);
            for thread in threads {
                let id = thread.id;
                fields.add(format!("iothread.{id}.poll-max-ns"), thread.poll_max);
                fields.add(format!("iothread.{id}.poll-grow"), thread.poll_grow);
                fields.add(format!("iothread.{id}.poll-shrink"), thread.poll_shrink);
            }
        }
        if let Some(rate) = &self.dirty_rate {
            dirty_rate(&mut fields, rate);
        }
        for (name, number) in &self.extra {
            fields.add(name.clone(), *number);
        }
        fields.0
    }

    fn memory(&self, fields: &mut Fields) {
        let Some(it) = &self.balloon else { return };
        fields.add("balloon.current", it.current);
        fields.add("balloon.maximum", it.maximum);
        fields.some("balloon.swap_in", it.swap_in);
        fields.some("balloon.swap_out", it.swap_out);
        fields.some("balloon.major_fault", it.major_faults);
        fields.some("balloon.minor_fault", it.minor_faults);
        fields.some("balloon.unused", it.unused);
        fields.some("balloon.available", it.available);
        fields.some("balloon.usable", it.usable);
        fields.some("balloon.last-update", it.last_update);
        fields.some("balloon.disk_caches", it.disk_caches);
        fields.some("balloon.hugetlb_pgalloc", it.huge_pages_got);
        fields.some("balloon.hugetlb_pgfail", it.huge_pages_failed);
        fields.some("balloon.rss", it.resident);
    }
}

fn vcpu(fields: &mut Fields, vcpus: &VcpuNumbers) {
    /// `VIR_VCPU_RUNNING`
    const RUNNING: u32 = 1;
    fields.add("vcpu.current", vcpus.current);
    fields.add("vcpu.maximum", vcpus.maximum);
    for it in &vcpus.each {
        let number = it.vcpu.0;
        fields.add(format!("vcpu.{number}.state"), RUNNING);
        fields.add(format!("vcpu.{number}.time"), it.time);
        fields.some(format!("vcpu.{number}.delay"), it.delay);
    }
}

fn interfaces(fields: &mut Fields, cards: &[InterfaceNumbers]) {
    fields.add("net.count", cards.len() as u64);
    for (at, card) in cards.iter().enumerate() {
        fields.some(format!("net.{at}.name"), card.device.as_deref());
        let Some(it) = &card.traffic else { continue };
        let counters = [
            ("rx.bytes", it.rx_bytes),
            ("rx.pkts", it.rx_packets),
            ("rx.errs", it.rx_errors),
            ("rx.drop", it.rx_dropped),
            ("tx.bytes", it.tx_bytes),
            ("tx.pkts", it.tx_packets),
            ("tx.errs", it.tx_errors),
            ("tx.drop", it.tx_dropped),
        ];
        for (name, number) in counters {
            fields.add(format!("net.{at}.{name}"), number);
        }
    }
}

fn block(fields: &mut Fields, at: usize, disk: &BlockNumbers) {
    fields.add(format!("block.{at}.name"), disk.target.as_str());
    fields.some(format!("block.{at}.path"), disk.path.as_deref());
    let both = [("rd", &disk.read), ("wr", &disk.written)];
    for (kind, IoNumbers { requests, bytes, time, .. }) in
        both.into_iter().filter_map(|(kind, it)| Some((kind, it.as_ref()?)))
    {
        fields.add(format!("block.{at}.{kind}.reqs"), *requests);
        fields.add(format!("block.{at}.{kind}.bytes"), *bytes);
        fields.add(format!("block.{at}.{kind}.times"), *time);
    }
    if let Some(it) = &disk.flushed {
        fields.add(format!("block.{at}.fl.reqs"), it.requests);
        fields.add(format!("block.{at}.fl.times"), it.time);
    }
    fields.some(format!("block.{at}.allocation"), disk.allocation);
    fields.some(format!("block.{at}.capacity"), disk.capacity);
    fields.some(format!("block.{at}.physical"), disk.physical);
    fields.some(format!("block.{at}.threshold"), disk.threshold);
}

fn dirty_rate(fields: &mut Fields, rate: &DirtyRateNumbers) {
    fields.add("dirtyrate.calc_status", rate.status as u32);
    fields.add("dirtyrate.calc_start_time", rate.start);
    fields.add("dirtyrate.calc_period", rate.period.as_secs());
    fields.some("dirtyrate.megabytes_per_second", rate.mib_per_second);
    fields.add("dirtyrate.calc_mode", rate.mode.name());
}

/// `virDomainState` and the reason that goes with it; 0 is a reason that is not known.
fn numbers_of(state: &GuestState) -> (u32, u32) {
    match state {
        GuestState::Running => (1, 0),
        GuestState::Paused => (3, 0),
        GuestState::InShutdown => (4, 0),
        GuestState::ShutOff(reason) => (5, stop_reason(reason)),
        GuestState::Crashed => (6, 0),
        GuestState::PmSuspended => (7, 0),
        GuestState::Unreachable(_) => (0, 0),
    }
}

/// `virDomainShutoffReason`
fn stop_reason(reason: &StopReason) -> u32 {
    match reason {
        StopReason::Shutdown => 1,
        StopReason::Destroyed => 2,
        StopReason::Crashed(_) => 3,
        StopReason::Failed(_) => 6,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use polyvirt_numa_placement::VcpuId;

    use super::super::{
        BalloonNumbers, CpuTimes, DirtyRateMode, DirtyRateStatus, IoThreadNumbers, StatsGroup, Traffic, VcpuTimes,
    };
    use super::*;

    #[test]
    fn names_and_units_are_libvirts() {
        let second = Duration::from_secs(1);
        let mut vcpu = VcpuTimes::new(VcpuId(1), second);
        vcpu.delay = Some(Duration::from_nanos(7));
        let mut disk = BlockNumbers::new("vda", Some("/disk".into()));
        disk.read = Some(IoNumbers { requests: 2, bytes: 1024, time: second, failed: 0 });
        disk.capacity = Some(4096);
        let card = InterfaceNumbers {
            device: Some("vnet0".into()),
            mac: None,
            traffic: Some(Traffic { rx_bytes: 1, tx_bytes: 2, ..Traffic::default() }.from_other_end()),
        };
        let mut memory = BalloonNumbers::new(Kib(512), Kib(1024));
        memory.last_update = Some(1);
        let record = StatsRecord {
            state: Some(GuestState::ShutOff(StopReason::Destroyed)),
            cpu: Some(CpuTimes::new(second, second * 2)),
            balloon: Some(memory),
            vcpus: Some(VcpuNumbers::new(2, vec![vcpu])),
            interfaces: Some(vec![card, InterfaceNumbers::default()]),
            blocks: Some(vec![disk]),
            io_threads: Some(vec![IoThreadNumbers::new(3)]),
            dirty_rate: Some(DirtyRateNumbers {
                status: DirtyRateStatus::Measured,
                mib_per_second: Some(5),
                ..Default::default()
            }),
            extra: [("acme.queue_depth".to_owned(), 9)].into(),
            ..StatsRecord::default()
        };
        let lines: Vec<_> = record.fields().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            lines.join(" "),
            "state.state=5 state.reason=2 cpu.time=3000000000 cpu.user=1000000000 cpu.system=2000000000 \
             balloon.current=512 balloon.maximum=1024 balloon.last-update=1 vcpu.current=1 vcpu.maximum=2 vcpu.1.state=1 \
             vcpu.1.time=1000000000 vcpu.1.delay=7 net.count=2 net.0.name=vnet0 net.0.rx.bytes=2 net.0.rx.pkts=0 \
             net.0.rx.errs=0 net.0.rx.drop=0 net.0.tx.bytes=1 net.0.tx.pkts=0 net.0.tx.errs=0 net.0.tx.drop=0 block.count=1 \
             block.0.name=vda block.0.path=/disk block.0.rd.reqs=2 block.0.rd.bytes=1024 block.0.rd.times=1000000000 \
             block.0.capacity=4096 iothread.count=1 iothread.3.poll-max-ns=0 iothread.3.poll-grow=0 iothread.3.poll-shrink=0 \
             dirtyrate.calc_status=2 dirtyrate.calc_start_time=0 dirtyrate.calc_period=0 dirtyrate.megabytes_per_second=5 \
             dirtyrate.calc_mode=page-sampling acme.queue_depth=9"
        );
        assert_eq!(DirtyRateMode::ALL.len(), 3);
    }

    #[test]
    fn a_group_is_here_or_missing_not_both() {
        let mut record = StatsRecord { cpu: Some(CpuTimes::default()), ..StatsRecord::default() };
        record.miss([StatsGroup::CpuTotal, StatsGroup::Block].into_iter().collect(), "stuck");
        record.miss(StatsGroup::Block.into(), "a later reason");
        assert_eq!(record.missing, [(StatsGroup::Block, "stuck".to_owned())].into());
    }
}
