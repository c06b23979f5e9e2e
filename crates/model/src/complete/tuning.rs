//! Completion of `<cputune>`: one scheduler per thread, allocations of caches and bandwidth for the vCPUs that there are.

use std::collections::BTreeMap;

use polyvirt_numa_placement::VcpuSet;

use crate::domain::DomainConfig;
use crate::vcpu::{CacheTune, CpuTune, IoThreadSched, MemoryTune, Scheduler, VcpuSched};

pub(super) fn complete(config: &mut DomainConfig) {
    let max = config.vcpus_max();
    let Some(tune) = &mut config.cputune else { return };
    tune.vcpupin.sort_by_key(|pin| pin.vcpu);
    vcpu_schedulers(tune, max);
    iothread_schedulers(tune);
    if let Some(sched) = &mut tune.emulatorsched {
        sched.priority = sched.priority.filter(|_| sched.scheduler.is_some_and(Scheduler::is_real_time));
    }
    resctrl(tune, max);
}

/// `set` without vCPUs that the guest cannot have.
pub(crate) fn existing(set: &VcpuSet, max: u32) -> VcpuSet {
    max.checked_sub(1).map_or_else(VcpuSet::new, |last| set.intersection(&VcpuSet::of_range(0, last)))
}

type Policy = (Option<Scheduler>, Option<i32>);

/// The priority counts for real-time schedulers alone.
fn policy(scheduler: Option<Scheduler>, priority: Option<i32>) -> Policy {
    (scheduler, priority.filter(|_| scheduler.is_some_and(Scheduler::is_real_time)))
}

fn vcpu_schedulers(tune: &mut CpuTune, max: u32) {
    let mut by_id: BTreeMap<u32, Policy> = BTreeMap::new();
    for sched in &tune.vcpusched {
        for id in sched.vcpus.iter().flat_map(|set| existing(set, max).iter().collect::<Vec<_>>()) {
            by_id.entry(id.0).or_insert(policy(sched.scheduler, sched.priority));
        }
    }
    tune.vcpusched.retain(|sched| sched.vcpus.is_none());
    let one = |(id, (scheduler, priority))| VcpuSched { vcpus: Some(VcpuSet::of(id)), scheduler, priority };
    tune.vcpusched.extend(by_id.into_iter().map(one));
}

fn iothread_schedulers(tune: &mut CpuTune) {
    let mut by_id: BTreeMap<u32, Policy> = BTreeMap::new();
    for sched in &tune.iothreadsched {
        for id in sched.iothreads.iter().flat_map(VcpuSet::iter) {
            by_id.entry(id.0).or_insert(policy(sched.scheduler, sched.priority));
        }
    }
    tune.iothreadsched.retain(|sched| sched.iothreads.is_none());
    let one = |(id, (scheduler, priority))| IoThreadSched { iothreads: Some(VcpuSet::of(id)), scheduler, priority };
    tune.iothreadsched.extend(by_id.into_iter().map(one));
}

/// An allocation and its monitors are for vCPUs that there can be, and say something. Bandwidth of a group that has cache comes where the group
/// does: one group of resctrl is one set of vCPUs.
fn resctrl(tune: &mut CpuTune, max: u32) {
    for cache in &mut tune.cachetune {
        cache.vcpus = existing(&cache.vcpus, max);
        cache.monitor.iter_mut().for_each(|monitor| monitor.vcpus = existing(&monitor.vcpus, max));
        cache.monitor.retain(|monitor| !monitor.vcpus.is_empty());
    }
    tune.cachetune.retain(|CacheTune { vcpus, cache, monitor, .. }| {
        !(vcpus.is_empty() || cache.is_empty() && monitor.is_empty())
    });
    for memory in &mut tune.memorytune {
        memory.vcpus = existing(&memory.vcpus, max);
        memory.monitor.iter_mut().for_each(|monitor| monitor.vcpus = existing(&monitor.vcpus, max));
        memory.monitor.retain(|monitor| !monitor.vcpus.is_empty());
    }
    tune.memorytune
        .retain(|MemoryTune { vcpus, node, monitor }| !(vcpus.is_empty() || node.is_empty() && monitor.is_empty()));
    let groups = &tune.cachetune;
    let group = |memory: &MemoryTune| groups.iter().position(|cache| cache.vcpus == memory.vcpus);
    tune.memorytune.sort_by_key(|memory| group(memory).unwrap_or(groups.len()));
}
