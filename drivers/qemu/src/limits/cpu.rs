//! CPU time of a guest: the weight and the bandwidth of the whole, and bandwidth of its parts.
//!
//! Where anything is said every thread has a part, as with cpuset: a vCPU in the emulator's would share what the emulator may use.

use std::{ops::RangeInclusive, os::fd::OwnedFd};

use polyvirt_core::{CpuBandwidth, Error, ErrorKind, Result, SchedulerParams};
use polyvirt_process::cgroup::{
    Cgroup, CgroupError, Controller, Hierarchy, Part, Version,
    cpu::{CpuLimits, CpuQuota},
};

use super::{prepare, refused, unusable};
use crate::{pins::Threads, places::Places};

/// The weights that a kernel gives (`sched/core.c` of version 1, `cgroup-v2.rst`).
fn weights(version: Version) -> RangeInclusive<u64> {
    match version {
        Version::V1 => 2..=262_144,
        Version::V2 => 1..=10_000,
    }
}

/// A weight that this host gives.
fn check(params: SchedulerParams, version: Version) -> Result<()> {
    let possible = weights(version);
    match params.shares.filter(|it| !possible.contains(it)) {
        None => Ok(()),
        Some(shares) => {
            let number = if version == Version::V1 { 1 } else { 2 };
            let (least, most) = possible.into_inner();
            let message =
                format!("{shares} shares of CPU time, with cgroups of version {number} {least} to {most} are possible");
            Err(Error::new(ErrorKind::InvalidArgument, message))
        }
    }
}

fn limits(params: SchedulerParams) -> CpuLimits {
    let quota = |it: CpuBandwidth| CpuQuota { period: it.period, quota: it.quota };
    CpuLimits {
        weight: params.shares,
        whole: quota(params.global),
        emulator: quota(params.emulator),
        vcpu: quota(params.vcpu),
        io_thread: quota(params.io_thread),
    }
}

fn write(group: &Cgroup, params: SchedulerParams) -> Result<()> {
    group.set_cpu(limits(params)).map_err(|error| {
        let wrong =
            matches!(&error, CgroupError::Io { source, .. } if source.raw_os_error() == Some(nix::libc::EINVAL));
        let told = refused(error);
        if wrong && group.version() == Version::V1 {
            return told.hint(
                "with cgroups of version 1 no part may have a larger share of time than the whole guest (global_quota)",
            );
        }
        told
    })
}

/// A group with limits of CPU time for a process that is about to be made, and the files it joins it by.
pub(crate) fn at_start(places: &Places, params: SchedulerParams) -> Result<Vec<OwnedFd>> {
    let group = prepare(places, Controller::Cpu)?;
    check(params, group.version())?;
    group.part(Part::Emulator).map_err(refused)?;
    write(&group, params)?;
    group.join_files(Part::Emulator).map_err(refused)
}

/// Limits the CPU time of a running guest, and of the threads that it has now.
///
/// # Errors
/// `InvalidArgument` for a weight that this host does not give; `Unsupported`, `Denied`, `Hypervisor` with the kernel's answer.
pub(crate) fn set(places: &Places, threads: &Threads, params: SchedulerParams) -> Result<()> {
    let hierarchy = match Hierarchy::with(Controller::Cpu) {
        // Who may limit nothing has limited nothing.
        Err(_) if params.is_empty() => return Ok(()),
        found => found.map_err(unusable)?,
    };
    let limited = hierarchy.open(&places.group).is_some_and(|it| it.limits_cpu());
    if !limited && params.is_empty() {
        return Ok(());
    }
    check(params, hierarchy.version())?;
    let group = hierarchy.ensure(&places.group).map_err(refused)?;
    seat(&group, threads).map_err(refused)?;
    write(&group, params)
}

/// Puts every thread into its part.
fn seat(group: &Cgroup, threads: &Threads) -> Result<(), CgroupError> {
    let emulator = group.part(Part::Emulator)?;
    if emulator.threads()?.binary_search(&threads.pid).is_err() {
        group.adopt(threads.pid, Part::Emulator)?;
    }
    let vcpus = threads.vcpus.iter().map(|(number, tid)| (Part::Vcpu(*number), *tid));
    let io = threads.io.iter().map(|(number, tid)| (Part::IoThread(*number), *tid));
    for (part, tid) in vcpus.chain(io) {
        let part = group.part(part)?;
        // To move one that is there waits for the kernel all the same.
        if part.threads()?.binary_search(&tid).is_err() {
            part.attach(tid)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_versions_own() {
        let shares = |shares| {
            let mut params = SchedulerParams::default();
            params.shares = Some(shares);
            params
        };
        check(shares(262_144), Version::V1).unwrap();
        check(shares(1), Version::V2).unwrap();
        for (wrong, version, range) in [(1, Version::V1, "2 to 262144"), (10_001, Version::V2, "1 to 10000")] {
            let error = check(shares(wrong), version).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().contains(&format!("{wrong} shares")) && error.message().contains(range), "{error}");
        }
    }
}
