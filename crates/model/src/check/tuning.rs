//! Rules of `<cputune>`: periods and quotas, schedulers, allocations of caches and memory bandwidth (resctrl).
//!
//! A group of resctrl is one set of vCPUs. Two groups share no vCPU; `<cachetune>` and `<memorytune>` of the same set are one
//! group (manual: formatdomain, CPU Tuning). vCPUs that the guest cannot have do not count.

use std::collections::HashSet;

use polyvirt_numa_placement::VcpuSet;
use polyvirt_xml::{Positions, Problems};

use super::{MAX_PROBLEMS, nth};
use crate::complete::tuning::existing;
use crate::domain::DomainConfig;
use crate::vcpu::{CacheKind, CacheTune, CpuTune, MemoryTune, Scheduler};

const TUNE: &str = "/domain/cputune";
/// The kernel's bounds of a CFS period, in microseconds.
const PERIOD: std::ops::RangeInclusive<u64> = 1000..=1_000_000;
/// Bounds of a quota, in microseconds: what the kernel counts in nanoseconds of 64 bits, with 20 bits for the fraction.
const QUOTA: std::ops::RangeInclusive<i64> = 1000..=17_592_186_044_415;

pub(super) fn check(config: &DomainConfig, positions: &Positions) -> Problems {
    let mut rules = Rules { positions, problems: Problems::new() };
    let Some(tune) = &config.cputune else { return rules.problems };
    rules.bandwidth(tune);
    rules.vcpu_schedulers(tune, config.vcpus_max());
    rules.iothread_schedulers(tune, &config.io_thread_ids());
    rules.caches(tune, config.vcpus_max());
    rules.memory(tune, config.vcpus_max());
    rules.problems
}

struct Rules<'a> {
    positions: &'a Positions,
    problems: Problems,
}

/// What a monitor watches, and where it is said.
struct Monitored<'a> {
    path: String,
    vcpus: &'a VcpuSet,
}

impl Rules<'_> {
    fn error(&mut self, path: &str, message: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(self.positions.error(path, message));
        }
    }

    /// 0 is no value.
    fn bandwidth(&mut self, tune: &CpuTune) {
        let periods = [
            ("period", tune.period),
            ("global_period", tune.global_period),
            ("emulator_period", tune.emulator_period),
            ("iothread_period", tune.iothread_period),
        ];
        for (name, period) in periods {
            if let Some(period) = period.filter(|period| *period != 0 && !PERIOD.contains(period)) {
                let (least, most) = PERIOD.into_inner();
                let message = format!("a period of {period} µs, {least} to {most} are possible");
                self.error(&format!("{TUNE}/{name}"), message);
            }
        }
        let quotas = [
            ("quota", tune.quota),
            ("global_quota", tune.global_quota),
            ("emulator_quota", tune.emulator_quota),
            ("iothread_quota", tune.iothread_quota),
        ];
        for (name, quota) in quotas {
            if let Some(quota) = quota.filter(|quota| *quota > 0 && !QUOTA.contains(quota)) {
                let (least, most) = QUOTA.into_inner();
                let message = format!("a quota of {quota} µs, {least} to {most} are possible, or -1 for no limit");
                self.error(&format!("{TUNE}/{name}"), message);
            }
        }
    }

    fn vcpu_schedulers(&mut self, tune: &CpuTune, max: u32) {
        let mut taken = VcpuSet::new();
        for (index, sched) in tune.vcpusched.iter().enumerate() {
            let path = format!("{TUNE}/{}", nth("vcpusched", tune.vcpusched.len(), index));
            self.priority(&path, sched.scheduler, sched.priority);
            let Some(vcpus) = &sched.vcpus else { continue };
            let path = format!("{path}/@vcpus");
            if let Some(last) = vcpus.last().filter(|last| last.0 >= max) {
                self.error(&path, format!("there is no vCPU {last}, the maximum is {max}"));
            }
            let twice = taken.intersection(vcpus);
            if !twice.is_empty() {
                self.error(&path, format!("vCPU {twice} has a scheduler already, each has one"));
            }
            taken = taken.union(vcpus);
        }
    }

    fn iothread_schedulers(&mut self, tune: &CpuTune, threads: &[u32]) {
        let threads: VcpuSet = threads.iter().copied().collect();
        let mut taken = VcpuSet::new();
        for (index, sched) in tune.iothreadsched.iter().enumerate() {
            let path = format!("{TUNE}/{}", nth("iothreadsched", tune.iothreadsched.len(), index));
            self.priority(&path, sched.scheduler, sched.priority);
            let Some(wanted) = &sched.iothreads else { continue };
            let path = format!("{path}/@iothreads");
            let unknown = wanted.difference(&threads);
            if !unknown.is_empty() {
                self.error(&path, format!("there is no I/O thread {unknown}, see <iothreads> and <iothreadids>"));
            }
            let twice = taken.intersection(wanted);
            if !twice.is_empty() {
                self.error(&path, format!("I/O thread {twice} has a scheduler already, each has one"));
            }
            taken = taken.union(wanted);
        }
    }

    fn priority(&mut self, path: &str, scheduler: Option<Scheduler>, priority: Option<i32>) {
        if let Some(scheduler) = scheduler.filter(|it| it.is_real_time() && priority.is_none()) {
            self.error(
                path,
                format!("the real-time scheduler '{scheduler}' needs its attribute 'priority', from 1 to 99"),
            );
        }
    }

    fn caches(&mut self, tune: &CpuTune, max: u32) {
        let mut taken = VcpuSet::new();
        for (index, group) in tune.cachetune.iter().enumerate() {
            let path = format!("{TUNE}/{}", nth("cachetune", tune.cachetune.len(), index));
            let vcpus = existing(&group.vcpus, max);
            self.group(&path, "cachetune", &group.vcpus, &taken.intersection(&vcpus));
            taken = taken.union(&vcpus);
            self.shares(&path, group);
            let count = group.monitor.len();
            let monitors = group.monitor.iter().enumerate().map(|(at, monitor)| Monitored {
                path: format!("{path}/{}", nth("monitor", count, at)),
                vcpus: &monitor.vcpus,
            });
            self.monitors(&group.vcpus, monitors);
        }
    }

    fn memory(&mut self, tune: &CpuTune, max: u32) {
        let mut taken = VcpuSet::new();
        for (index, group) in tune.memorytune.iter().enumerate() {
            let path = format!("{TUNE}/{}", nth("memorytune", tune.memorytune.len(), index));
            let vcpus = existing(&group.vcpus, max);
            self.group(&path, "memorytune", &group.vcpus, &taken.intersection(&vcpus));
            taken = taken.union(&vcpus);
            self.with_caches(&path, &vcpus, tune, max);
            self.nodes(&path, group);
            let count = group.monitor.len();
            let monitors = group.monitor.iter().enumerate().map(|(at, monitor)| Monitored {
                path: format!("{path}/{}", nth("monitor", count, at)),
                vcpus: &monitor.vcpus,
            });
            self.monitors(&group.vcpus, monitors);
        }
    }

    fn group(&mut self, path: &str, name: &str, vcpus: &VcpuSet, twice: &VcpuSet) {
        let path = format!("{path}/@vcpus");
        if vcpus.is_empty() {
            self.error(&path, "the set is empty, name at least one vCPU".to_owned());
        }
        if !twice.is_empty() {
            self.error(&path, format!("vCPU {twice} is in another <{name}> already, each is in one"));
        }
    }

    /// One kind of a cache is allocated once, and `both` is code and data.
    fn shares(&mut self, path: &str, group: &CacheTune) {
        let mut seen: HashSet<(u32, u32, CacheKind)> = HashSet::new();
        for (at, cache) in group.cache.iter().enumerate() {
            let path = format!("{path}/{}", nth("cache", group.cache.len(), at));
            let Some(kind) = cache.kind else {
                self.error(&path, "<cache> lacks its attribute 'type', one of both, code, data".to_owned());
                continue;
            };
            let other = match kind {
                CacheKind::Both => [CacheKind::Both, CacheKind::Code, CacheKind::Data].as_slice(),
                CacheKind::Code => &[CacheKind::Both, CacheKind::Code],
                CacheKind::Data => &[CacheKind::Both, CacheKind::Data],
            };
            if let Some(other) = other.iter().find(|&&other| seen.contains(&(cache.id, cache.level, other))) {
                let message = format!(
                    "'{kind}' of cache {} at level {} collides with '{other}' before, give one of them",
                    cache.id, cache.level
                );
                self.error(&path, message);
            }
            seen.insert((cache.id, cache.level, kind));
            if cache.size.is_zero() {
                self.error(&format!("{path}/@size"), "0 of a cache, give more or leave <cache> out".to_owned());
            }
        }
    }

    /// A set of vCPUs is in both, or in one of them.
    fn with_caches(&mut self, path: &str, vcpus: &VcpuSet, tune: &CpuTune, max: u32) {
        for cache in &tune.cachetune {
            let other = existing(&cache.vcpus, max);
            if other != *vcpus && !other.is_disjoint(vcpus) {
                let message = format!("'{vcpus}' overlaps the <cachetune> of '{other}', use the same set or others");
                self.error(&format!("{path}/@vcpus"), message);
            }
        }
    }

    fn nodes(&mut self, path: &str, group: &MemoryTune) {
        let mut seen = HashSet::new();
        for (at, node) in group.node.iter().enumerate() {
            if !seen.insert(node.id) {
                let path = format!("{path}/{}/@id", nth("node", group.node.len(), at));
                self.error(&path, format!("node {} is given twice, each has one bandwidth", node.id));
            }
        }
    }

    /// A monitor watches vCPUs of its allocation. One may watch all of them; the others share none.
    fn monitors<'a>(&mut self, group: &VcpuSet, monitors: impl Iterator<Item = Monitored<'a>>) {
        let mut taken = VcpuSet::new();
        for Monitored { path, vcpus } in monitors {
            let path = format!("{path}/@vcpus");
            if vcpus.is_empty() {
                self.error(&path, "the set is empty, name at least one vCPU".to_owned());
            }
            if !vcpus.is_subset(group) {
                self.error(
                    &path,
                    format!("'{vcpus}' is not within the vCPUs '{group}' of the allocation, name vCPUs of it"),
                );
            }
            if vcpus == group {
                continue;
            }
            let twice = taken.intersection(vcpus);
            if !twice.is_empty() {
                self.error(
                    &path,
                    format!("vCPU {twice} is watched by another monitor already, each is watched by one"),
                );
            }
            taken = taken.union(vcpus);
        }
    }
}
