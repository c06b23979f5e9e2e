//! What is measured: names, units, words, and where the points come from.

use std::time::Duration;

use polyvirt_core::{
    BalloonNumbers, BlockNumbers, DirtyRateStatus, GuestState, InterfaceNumbers, IoNumbers, StatsRecord, Traffic,
    VcpuTimes, placement::Kib,
};

use super::{Sample, Samples, Value};

/// How the points of a family are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It grows, and begins anew with the guest's process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Its labels are the point.
    Info,
    /// One of its states is on.
    States,
}

/// A family of points.
pub(super) struct Family {
    /// Its name, without `_total`.
    pub(super) name: &'static str,
    /// How it is read.
    pub(super) kind: Kind,
    /// Its unit, which its name ends with; empty: none.
    pub(super) unit: &'static str,
    /// What it is.
    pub(super) help: &'static str,
    /// Its points.
    pub(super) samples: Samples,
}

macro_rules! families {
    ($($name:literal $kind:ident $unit:literal $help:literal $samples:expr;)+) => {
        /// All families, in the order of the text.
        pub(super) const FAMILIES: &[Family] = &[$(Family {
            name: concat!("polyvirt_domain", $name), kind: Kind::$kind, unit: $unit, help: $help, samples: $samples,
        }),+];
    };
}

families! {
    "" Info "" "Which guest it is." |guest, _| vec![Sample {
        labels: vec![
            ("uuid", guest.uuid.map(|it| it.to_string()).unwrap_or_default()),
            ("id", guest.id.map(|it| it.to_string()).unwrap_or_default()),
        ],
        value: Value::Whole(1),
    }];
    "_state" States "" "What the guest is doing." |_, it| it.state.as_ref().map(states).unwrap_or_default();
    "_missing" Gauge "" "A group of numbers that could not be had in time." |_, it| {
        it.missing.keys().map(|group| whole(vec![("group", group.to_string())], 1)).collect()
    };
    "_cpu_seconds" Counter "seconds" "CPU time that the guest's process used on the host, by mode." |_, it| {
        let modes = it.cpu.iter().flat_map(|cpu| [("user", cpu.user), ("system", cpu.system)]);
        modes.map(|(mode, time)| seconds(vec![("mode", mode.to_owned())], time)).collect()
    };
    "_vcpus" Gauge "" "vCPUs that the guest has." |_, it| it.vcpus.iter().map(|it| whole(vec![], it.current.into())).collect();
    "_vcpus_limit" Gauge "" "vCPUs that the guest can have." |_, it| it.vcpus.iter().map(|it| whole(vec![], it.maximum.into())).collect();
    "_vcpu_seconds" Counter "seconds" "Time for which the thread of a vCPU ran." |_, it| vcpus(it, |vcpu| Some(vcpu.time));
    "_vcpu_delay_seconds" Counter "seconds" "Time for which the thread of a vCPU could have run and waited for a CPU of the host." |_, it| vcpus(it, |vcpu| vcpu.delay);
    "_memory_bytes" Gauge "bytes" "Memory that the balloon leaves the guest." |_, it| memory(it, |it| Some(it.current));
    "_memory_limit_bytes" Gauge "bytes" "Memory that the guest can have." |_, it| memory(it, |it| Some(it.maximum));
    "_memory_resident_bytes" Gauge "bytes" "Memory of the host that the guest's process has." |_, it| memory(it, |it| it.resident);
    "_memory_unused_bytes" Gauge "bytes" "Memory that the guest uses for nothing, as it tells itself." |_, it| memory(it, |it| it.unused);
    "_memory_available_bytes" Gauge "bytes" "Memory that the guest sees, as it tells itself." |_, it| memory(it, |it| it.available);
    "_memory_usable_bytes" Gauge "bytes" "Memory that the guest could give up before it swaps, as it tells itself." |_, it| memory(it, |it| it.usable);
    "_memory_disk_caches_bytes" Gauge "bytes" "Memory that the guest could give up at once, as it tells itself." |_, it| memory(it, |it| it.disk_caches);
    "_memory_swap_in_bytes" Counter "bytes" "What the guest read from its swap, as it tells itself." |_, it| memory(it, |it| it.swap_in);
    "_memory_swap_out_bytes" Counter "bytes" "What the guest wrote to its swap, as it tells itself." |_, it| memory(it, |it| it.swap_out);
    "_memory_major_faults" Counter "" "Page faults for which the guest read a disk, as it tells itself." |_, it| faults(it, |it| it.major_faults);
    "_memory_minor_faults" Counter "" "Other page faults of the guest, as it tells itself." |_, it| faults(it, |it| it.minor_faults);
    "_memory_told_timestamp_seconds" Gauge "seconds" "When the guest last told of its memory, in seconds since 1970." |_, it| faults(it, |it| it.last_update);
    "_interface_receive_bytes" Counter "bytes" "What the guest received." |_, it| cards(it, |it| it.rx_bytes);
    "_interface_receive_packets" Counter "" "Packets that the guest received." |_, it| cards(it, |it| it.rx_packets);
    "_interface_receive_errors" Counter "" "Packets to the guest that were broken." |_, it| cards(it, |it| it.rx_errors);
    "_interface_receive_drops" Counter "" "Packets to the guest that were dropped." |_, it| cards(it, |it| it.rx_dropped);
    "_interface_transmit_bytes" Counter "bytes" "What the guest sent." |_, it| cards(it, |it| it.tx_bytes);
    "_interface_transmit_packets" Counter "" "Packets that the guest sent." |_, it| cards(it, |it| it.tx_packets);
    "_interface_transmit_errors" Counter "" "Packets of the guest that were broken." |_, it| cards(it, |it| it.tx_errors);
    "_interface_transmit_drops" Counter "" "Packets of the guest that were dropped." |_, it| cards(it, |it| it.tx_dropped);
    "_block_read_bytes" Counter "bytes" "What the guest read." |_, it| io(it, |it| it.read, |it| Value::Whole(it.bytes));
    "_block_read_requests" Counter "" "Reads of the guest." |_, it| io(it, |it| it.read, |it| Value::Whole(it.requests));
    "_block_read_seconds" Counter "seconds" "Time that reads took." |_, it| io(it, |it| it.read, |it| Value::Real(it.time.as_secs_f64()));
    "_block_read_errors" Counter "" "Reads that failed." |_, it| io(it, |it| it.read, |it| Value::Whole(it.failed));
    "_block_write_bytes" Counter "bytes" "What the guest wrote." |_, it| io(it, |it| it.written, |it| Value::Whole(it.bytes));
    "_block_write_requests" Counter "" "Writes of the guest." |_, it| io(it, |it| it.written, |it| Value::Whole(it.requests));
    "_block_write_seconds" Counter "seconds" "Time that writes took." |_, it| io(it, |it| it.written, |it| Value::Real(it.time.as_secs_f64()));
    "_block_write_errors" Counter "" "Writes that failed." |_, it| io(it, |it| it.written, |it| Value::Whole(it.failed));
    "_block_flush_requests" Counter "" "Flushes of the guest." |_, it| io(it, |it| it.flushed, |it| Value::Whole(it.requests));
    "_block_flush_seconds" Counter "seconds" "Time that flushes took." |_, it| io(it, |it| it.flushed, |it| Value::Real(it.time.as_secs_f64()));
    "_block_flush_errors" Counter "" "Flushes that failed." |_, it| io(it, |it| it.flushed, |it| Value::Whole(it.failed));
    "_block_capacity_bytes" Gauge "bytes" "Size of a disk as the guest sees it." |_, it| disks(it, |it| it.capacity);
    "_block_allocation_bytes" Gauge "bytes" "Highest place of a disk's image that was written." |_, it| disks(it, |it| it.allocation);
    "_block_physical_bytes" Gauge "bytes" "What a disk's image takes on the host." |_, it| disks(it, |it| it.physical);
    "_iothread_poll_max_seconds" Gauge "seconds" "How long an I/O thread polls at most." |_, it| {
        let threads = it.io_threads.iter().flatten();
        threads.map(|it| seconds(vec![("iothread", it.id.to_string())], it.poll_max)).collect()
    };
    "_dirty_bytes_per_second" Gauge "bytes_per_second" "How fast the guest wrote its memory when that was last measured." |_, it| {
        let done = it.dirty_rate.iter().filter(|it| it.status == DirtyRateStatus::Measured);
        let rate = |it: &polyvirt_core::DirtyRateNumbers| u64::try_from(it.mib_per_second?).ok()?.checked_mul(1 << 20);
        done.filter_map(rate).map(|rate| whole(vec![], rate)).collect()
    };
    "_hypervisor_value" Gauge "" "A number that only this hypervisor has." |_, it| {
        it.extra.iter().map(|(name, number)| whole(vec![("name", name.clone())], *number)).collect()
    };
}

fn whole(labels: Vec<(&'static str, String)>, number: u64) -> Sample {
    Sample { labels, value: Value::Whole(number) }
}

fn seconds(labels: Vec<(&'static str, String)>, time: Duration) -> Sample {
    Sample { labels, value: Value::Real(time.as_secs_f64()) }
}

/// Every state that there is; the present one is on. The label is called as the family is (specification, "StateSet").
fn states(state: &GuestState) -> Vec<Sample> {
    let all = ["running", "paused", "pmsuspended", "in shutdown", "crashed", "shut off", "no state"];
    let one = |name: &str| whole(vec![("polyvirt_domain_state", name.to_owned())], u64::from(name == state.name()));
    all.into_iter().map(one).collect()
}

fn vcpus(it: &StatsRecord, time: fn(&VcpuTimes) -> Option<Duration>) -> Vec<Sample> {
    let each = it.vcpus.iter().flat_map(|it| &it.each);
    each.filter_map(|it| Some(seconds(vec![("vcpu", it.vcpu.0.to_string())], time(it)?))).collect()
}

fn memory(it: &StatsRecord, size: fn(&BalloonNumbers) -> Option<Kib>) -> Vec<Sample> {
    let bytes = it.balloon.as_ref().and_then(size).map(|it| it.0.saturating_mul(1024));
    bytes.map(|bytes| whole(vec![], bytes)).into_iter().collect()
}

fn faults(it: &StatsRecord, number: fn(&BalloonNumbers) -> Option<u64>) -> Vec<Sample> {
    it.balloon.as_ref().and_then(number).map(|number| whole(vec![], number)).into_iter().collect()
}

fn cards(it: &StatsRecord, number: fn(&Traffic) -> u64) -> Vec<Sample> {
    let one = |card: &InterfaceNumbers| {
        let labels =
            vec![("device", card.device.clone().unwrap_or_default()), ("mac", card.mac.clone().unwrap_or_default())];
        Some(whole(labels, number(card.traffic.as_ref()?)))
    };
    it.interfaces.iter().flatten().filter_map(one).collect()
}

fn io(it: &StatsRecord, kind: fn(&BlockNumbers) -> Option<IoNumbers>, value: fn(&IoNumbers) -> Value) -> Vec<Sample> {
    let one = |disk: &BlockNumbers| {
        Some(Sample { labels: vec![("device", disk.target.clone())], value: value(&kind(disk)?) })
    };
    it.blocks.iter().flatten().filter_map(one).collect()
}

fn disks(it: &StatsRecord, size: fn(&BlockNumbers) -> Option<u64>) -> Vec<Sample> {
    let one = |disk: &BlockNumbers| Some(whole(vec![("device", disk.target.clone())], size(disk)?));
    it.blocks.iter().flatten().filter_map(one).collect()
}
