//! What a lease books, and how much of it still counts against the kernel's free memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use super::busy::{Clock, uptime};
use super::{Lease, Phase};
use crate::plan::{LeaseId, NodeShare, Plan};
use crate::policy::PageSize;
use crate::promised::{NodePromise, Promised};
use crate::units::{HostNode, Kib};

/// All memory of a plan, none of it touched.
pub(super) fn of_plan(plan: &Plan) -> Promised {
    let mut booked = Promised::default();
    for (node, page, size) in plan.promised_memory() {
        let promise = booked.node_mut(node);
        match page {
            PageSize::Base => {
                promise.memory = promise.memory.saturating_add(size);
                promise.untouched = promise.memory;
            }
            PageSize::Huge(page) => {
                let pages = promise.pages.entry(page).or_default();
                *pages = pages.saturating_add(size.pages(page));
                promise.untouched_pages.insert(page, *pages);
            }
        }
    }
    cpus_of(&mut booked, plan);
    for (node, cpus) in &plan.dedicated {
        let promise = booked.node_mut(*node);
        promise.dedicated = promise.dedicated.union(cpus);
    }
    booked
}

/// Books the vCPUs of a plan, and no others.
pub(super) fn cpus_of(booked: &mut Promised, plan: &Plan) {
    for promise in booked.nodes.values_mut() {
        promise.milli_vcpus = 0;
    }
    for load in &plan.cpu_load {
        let promise = booked.node_mut(load.node);
        promise.milli_vcpus = promise.milli_vcpus.saturating_add(load.milli_vcpus);
    }
}

/// Books the memory devices of one plan instead of those of another. What the lease knows of them itself is more than the other plan
/// does.
pub(super) fn replug(lease: &mut Lease, was: &Plan, now: &Plan) {
    let (old, new) = (lease.plugged.take().unwrap_or_else(|| was.plugged()), now.plugged());
    // What stays has been touched, or not, as it is booked.
    let (mut less, mut more) = (old.clone(), new.clone());
    less.subtract_within(&new);
    more.subtract_within(&old);
    lease.booked.subtract(&less);
    lease.booked.add(&more);
    lease.plugged = Some(new);
}

/// Books what was observed where it was observed, and the rest where it was planned.
pub(super) fn observe(booked: &mut Promised, observed: &[NodeShare]) {
    for promise in booked.nodes.values_mut() {
        promise.untouched_pages.clear();
    }
    let total: Kib = booked.nodes.values().map(|promise| promise.memory).sum();
    if total.is_zero() || observed.is_empty() {
        return;
    }
    let mut seen = BTreeMap::<HostNode, Kib>::new();
    for share in observed {
        let sum = seen.entry(share.node).or_default();
        *sum = sum.saturating_add(share.size);
    }
    let mut rest = total.saturating_sub(seen.values().copied().sum());
    for promise in booked.nodes.values_mut() {
        (promise.untouched, promise.memory) = (promise.memory, Kib::ZERO);
    }
    for (node, size) in seen {
        let promise = booked.node_mut(node);
        promise.memory = size;
        promise.untouched = promise.untouched.saturating_sub(size);
    }
    // Where less was taken than planned the rest goes first, and what then is left to where it was planned at all.
    for promise in booked.nodes.values_mut() {
        promise.untouched = promise.untouched.min(rest);
        rest = rest.saturating_sub(promise.untouched);
        promise.memory = promise.memory.saturating_add(promise.untouched);
    }
    if let Some(promise) = booked.nodes.values_mut().find(|promise| !promise.memory.is_zero()) {
        promise.memory = promise.memory.saturating_add(rest);
        promise.untouched = promise.untouched.saturating_add(rest);
    }
}

/// The sum of all leases as planning sees it: running guests have touched what is resident, and are as busy as they were seen, by
/// lease.
pub(super) fn total(leases: &[Lease]) -> (Promised, BTreeMap<LeaseId, u64>) {
    let (mut sum, mut looks) = (Promised::default(), BTreeMap::new());
    let mut busy = BTreeMap::<HostNode, u64>::new();
    let now = uptime();
    for lease in leases {
        let running = lease.owner.pid().filter(|_| lease.phase == Phase::Running);
        match running.and_then(resident) {
            None => sum.add(&lease.booked),
            Some(resident) => sum.add(&touched(&lease.booked, resident)),
        }
        let clock = running.zip(now).and_then(|(pid, now)| Clock::read(pid, now));
        let seen = clock.and_then(|clock| clock.busy(lease.seen.as_ref()));
        looks.extend(seen.map(|seen| (lease.id.clone(), seen)));
        load(&lease.booked, seen, &mut busy);
    }
    // Where nobody was seen the planner's own guess is as good.
    for (node, busy) in busy.into_iter().filter(|_| !looks.is_empty()) {
        sum.node_mut(node).busy_milli = Some(busy);
    }
    (sum, looks)
}

/// What a guest adds to the load of its nodes, in the shares of its vCPUs: what was seen, else what is expected of them.
fn load(booked: &Promised, seen: Option<u64>, busy: &mut BTreeMap<HostNode, u64>) {
    let own: u64 = booked.nodes.values().map(|promise| promise.dedicated.len() as u64).sum();
    let vcpus: u64 = booked.nodes.values().map(|promise| promise.milli_vcpus).sum();
    for (node, promise) in &booked.nodes {
        let part = match seen {
            // CPUs of its own are taken off again by whoever reads this, busy or not.
            _ if own > 0 => promise.dedicated.len() as u64 * 1000,
            Some(seen) if vcpus > 0 => share_of(seen, promise.milli_vcpus, vcpus),
            _ => NodePromise::unseen_milli(promise.milli_vcpus),
        };
        let sum = busy.entry(*node).or_default();
        *sum = sum.saturating_add(part);
    }
}

fn share_of(seen: u64, part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(seen) * u128::from(part) / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}

/// Looks again at running guests whose last look is long ago.
pub(super) fn look(leases: &mut [Lease]) {
    let Some(now) = uptime() else { return };
    for lease in leases.iter_mut().filter(|lease| lease.phase == Phase::Running) {
        let last = lease.seen.as_ref();
        let due = last.is_none_or(|last| Clock { now, cpu: 0, began: 0 }.is_due(Some(last)));
        if let Some(clock) = lease.owner.pid().filter(|_| due).and_then(|pid| Clock::read(pid, now)) {
            lease.seen = Some(clock.look(last));
        }
    }
}

/// With this much resident, the rest may be missing from any of the nodes.
fn touched(booked: &Promised, resident: Kib) -> Promised {
    let mut booked = booked.clone();
    let total: Kib = booked.nodes.values().map(|promise| promise.memory).sum();
    let untouched = total.saturating_sub(resident);
    for promise in booked.nodes.values_mut() {
        promise.untouched = promise.memory.min(untouched);
    }
    booked
}

/// `VmRSS` of `/proc/PID/status` (huge pages are no part of it, see `proc(5)`).
fn resident(pid: u32) -> Option<Kib> {
    let mut text = String::new();
    File::open(format!("/proc/{pid}/status")).ok()?.take(64 * 1024).read_to_string(&mut text).ok()?;
    resident_of(&text)
}

fn resident_of(status: &str) -> Option<Kib> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok().map(Kib)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booked(shares: &[(u32, u64)]) -> Promised {
        let mut booked = Promised::default();
        for (node, size) in shares {
            let promise = booked.node_mut(HostNode(*node));
            (promise.memory, promise.untouched) = (Kib(*size), Kib(*size));
        }
        booked
    }

    fn figures(booked: &Promised) -> Vec<(u32, u64, u64)> {
        booked.nodes.iter().map(|(node, p)| (node.0, p.memory.0, p.untouched.0)).collect()
    }

    fn observed(shares: &[(u32, u64)]) -> Vec<NodeShare> {
        shares.iter().map(|(node, size)| NodeShare::new(HostNode(*node), Kib(*size))).collect()
    }

    #[test]
    fn what_was_observed_is_booked_there_and_the_rest_where_it_was_planned() {
        for (planned, seen, expected) in [
            (&[(0, 100), (1, 100)][..], &[(0, 30)][..], &[(0, 100, 70), (1, 100, 100)][..]),
            (&[(0, 100)], &[(2, 40)], &[(0, 60, 60), (2, 40, 0)]),
            (&[(0, 100)], &[(0, 100)], &[(0, 100, 0)]),
            (&[(0, 100)], &[(1, 130)], &[(0, 0, 0), (1, 130, 0)]),
            (&[(0, 50), (1, 50)], &[(0, 80)], &[(0, 80, 0), (1, 20, 20)]),
            (&[(0, 100)], &[], &[(0, 100, 100)]),
        ] {
            let mut promise = booked(planned);
            observe(&mut promise, &observed(seen));
            assert_eq!(figures(&promise), expected, "{planned:?} {seen:?}");
        }
    }

    #[test]
    fn what_is_resident_is_touched_and_the_rest_may_be_anywhere() {
        let promise = booked(&[(0, 100), (1, 60)]);
        assert_eq!(figures(&touched(&promise, Kib(0))), [(0, 100, 100), (1, 60, 60)]);
        assert_eq!(figures(&touched(&promise, Kib(90))), [(0, 100, 70), (1, 60, 60)]);
        assert_eq!(figures(&touched(&promise, Kib(500))), [(0, 100, 0), (1, 60, 0)]);
    }

    #[test]
    fn load_goes_where_the_vcpus_are() {
        let mut booked = Promised::default();
        booked.node_mut(HostNode(0)).milli_vcpus = 3000;
        booked.node_mut(HostNode(1)).milli_vcpus = 1000;
        let of = |booked: &Promised, seen| {
            let mut busy = BTreeMap::new();
            load(booked, seen, &mut busy);
            busy.into_values().collect::<Vec<_>>()
        };
        assert_eq!(of(&booked, Some(2000)), [1500, 500]);
        // What nobody saw counts as the planner expects it, half a core for each.
        let unseen = of(&booked, None);
        let expected = |milli| NodePromise { busy_milli: Some(milli), ..NodePromise::default() }.expected_busy();
        assert!((expected(unseen[0]) - 1.5).abs() < 0.002 && (expected(unseen[1]) - 0.5).abs() < 0.002, "{unseen:?}");
        booked.node_mut(HostNode(1)).dedicated = crate::CpuSet::of_range(4, 5);
        assert_eq!(of(&booked, Some(2000)), [0, 2000]);
    }

    #[test]
    fn the_resident_set_is_read_from_status() {
        assert_eq!(resident_of("Name:\tx\nVmRSS:\t   1234 kB\n"), Some(Kib(1234)));
        assert_eq!(resident_of("Name:\tx\n"), None);
        assert!(resident(std::process::id()).unwrap() > Kib::ZERO);
    }
}
