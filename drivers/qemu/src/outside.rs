//! Numbers of a guest that the host's kernel tells: nobody speaks to QEMU, and so a stuck one, or one that another process of ours
//! owns, has them all the same.

use std::collections::BTreeMap;

use polyvirt_core::{
    CpuTimes, DriverRecord, Error, ErrorKind, InterfaceNumbers, OutsideStatistics, Result, StatsGroup, StatsGroups,
    StatsRecord, StatsRequest, Traffic, VcpuNumbers, VcpuTimes, async_trait,
    model::{DomainConfig, interface::Interface},
};
use polyvirt_netdev::{LinkCounters, Links};

use crate::{driver::Qemu, status::Record};

/// The groups that need no monitor.
pub(crate) fn groups() -> StatsGroups {
    [StatsGroup::CpuTotal, StatsGroup::Vcpu, StatsGroup::Interface].into_iter().collect()
}

#[async_trait]
impl OutsideStatistics for Qemu {
    fn groups(&self) -> StatsGroups {
        groups()
    }

    async fn collect(&self, record: &DriverRecord, request: &StatsRequest) -> Result<StatsRecord> {
        collect(Record::read(record)?.process.pid, request).await
    }
}

/// Those of [`groups`] that are asked for.
pub(crate) async fn collect(pid: u32, request: &StatsRequest) -> Result<StatsRecord> {
    let (wanted, live) = (request.groups.and(groups()), request.live.clone());
    let read = tokio::task::spawn_blocking(move || read(pid, wanted, &live));
    let read = request.deadline.wait("reading the numbers of a process", read).await?;
    read.map_err(|error| Error::new(ErrorKind::Internal, "reading the numbers of a process failed").source(error))
}

fn read(pid: u32, wanted: StatsGroups, live: &DomainConfig) -> StatsRecord {
    let mut record = StatsRecord::default();
    if wanted.contains(StatsGroup::CpuTotal) {
        match polyvirt_process::process_times(pid) {
            Ok((user, system)) => record.cpu = Some(CpuTimes::new(user, system)),
            Err(error) => record.miss(StatsGroup::CpuTotal.into(), &format!("process {pid}: {error}")),
        }
    }
    if wanted.contains(StatsGroup::Vcpu) {
        match vcpus(pid, live.vcpus_max()) {
            Ok(vcpus) => record.vcpus = Some(vcpus),
            Err(why) => record.miss(StatsGroup::Vcpu.into(), &why),
        }
    }
    if wanted.contains(StatsGroup::Interface) {
        match interfaces(&live.devices.interfaces) {
            Ok(cards) => record.interfaces = Some(cards),
            Err(why) => record.miss(StatsGroup::Interface.into(), &why),
        }
    }
    record
}

/// The vCPUs by the names of their threads, which QEMU gives them when it is told to (`-name debug-threads=on`).
fn vcpus(pid: u32, maximum: u32) -> std::result::Result<VcpuNumbers, String> {
    let threads = polyvirt_process::threads(pid).map_err(|error| format!("process {pid}: {error}"))?;
    let numbered = threads.iter().filter_map(|it| Some((vcpu_of(&it.name, maximum)?, it.tid)));
    // Of two with one name, which a QEMU that its guest took over could have, one counts.
    let numbered: BTreeMap<u32, u32> = numbered.collect();
    let times = numbered.into_iter().filter_map(|(number, tid)| times(pid, number, tid));
    let each: Vec<_> = times.collect();
    if each.is_empty() {
        return Err(format!("process {pid} has no thread of its own for each vCPU"));
    }
    Ok(VcpuNumbers::new(maximum, each))
}

/// `CPU 3/KVM` is vCPU 3.
fn vcpu_of(thread: &str, maximum: u32) -> Option<u32> {
    let (number, _) = thread.strip_prefix("CPU ")?.split_once('/')?;
    number.parse().ok().filter(|it| *it < maximum)
}

/// `None` for a vCPU that is unplugged at this moment.
fn times(pid: u32, number: u32, tid: u32) -> Option<VcpuTimes> {
    let exact = polyvirt_process::scheduled(pid, tid).ok();
    let ran = exact.map(|(ran, _)| ran).or_else(|| Some(polyvirt_process::thread_usage(pid, tid).ok()?.time))?;
    let mut times = VcpuTimes::new(number.into(), ran);
    times.delay = exact.map(|(_, waited)| waited);
    Some(times)
}

fn interfaces(cards: &[Interface]) -> std::result::Result<Vec<InterfaceNumbers>, String> {
    let named = |card: &Interface| card.target.as_ref().and_then(|it| it.dev.clone());
    let mut links = match cards.iter().any(|card| named(card).is_some()) {
        true => Some(Links::open().map_err(|error| error.to_string())?),
        false => None,
    };
    let numbers = |card: &Interface| {
        let mut numbers = InterfaceNumbers::default();
        numbers.device = named(card);
        numbers.mac = card.mac.as_ref().map(|it| it.address.to_string());
        if let (Some(links), Some(device)) = (&mut links, &numbers.device) {
            let found = links.find(device).map_err(|error| error.to_string())?;
            // What comes in from a tap is what the guest sends.
            numbers.traffic = found.map(|it| traffic(it.counters).from_other_end());
        }
        Ok(numbers)
    };
    cards.iter().map(numbers).collect()
}

fn traffic(it: LinkCounters) -> Traffic {
    Traffic {
        rx_bytes: it.rx_bytes,
        rx_packets: it.rx_packets,
        rx_errors: it.rx_errors,
        rx_dropped: it.rx_dropped,
        tx_bytes: it.tx_bytes,
        tx_packets: it.tx_packets,
        tx_errors: it.tx_errors,
        tx_dropped: it.tx_dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_vcpus_have_their_number_in_the_name() {
        for (name, number) in [
            ("CPU 0/KVM", Some(0)),
            ("CPU 7/TCG", Some(7)),
            ("CPU 8/TCG", None),
            ("CPU -1/TCG", None),
            ("CPU 99999999999", None),
            ("ALL CPUs/TCG", None),
            ("IO iothread1", None),
        ] {
            assert_eq!(vcpu_of(name, 8), number, "{name}");
        }
    }

    #[test]
    fn a_process_that_is_gone_and_one_without_vcpus_have_reasons() {
        let live =
            DomainConfig::parse("<domain type='qemu'><name>a</name><memory>1</memory></domain>", &Default::default());
        let live = live.unwrap().config;
        let gone = read(u32::MAX, groups(), &live);
        assert_eq!(gone.missing.keys().copied().collect::<Vec<_>>(), [StatsGroup::CpuTotal, StatsGroup::Vcpu]);
        let ours = read(std::process::id(), groups(), &live);
        assert!(ours.cpu.is_some() && ours.missing[&StatsGroup::Vcpu].contains("no thread"), "{ours:?}");
    }
}
