//! Block I/O of a guest: its weight, and limits at single devices of the host.

use std::os::fd::OwnedFd;

use polyvirt_core::{Error, ErrorKind, Result, model::tuning::BlkioTune};
use polyvirt_process::cgroup::{
    Cgroup, CgroupError, Controller, Hierarchy, Part, Version,
    io::{DeviceIo, IoLimits},
};

use super::{prepare, refused, unusable};
use crate::places::Places;

/// 0 is the same as nothing (manual: formatdomain, Block I/O Tuning).
fn limits(tune: &BlkioTune) -> IoLimits {
    let some = |it: Option<u32>| it.filter(|it| *it != 0);
    let many = |it: Option<u64>| it.filter(|it| *it != 0);
    let devices = tune.device.iter().map(|it| DeviceIo {
        path: it.path.clone().into(),
        weight: some(it.weight),
        read_bytes: many(it.read_bytes_sec),
        write_bytes: many(it.write_bytes_sec),
        read_operations: some(it.read_iops_sec).map(u64::from),
        write_operations: some(it.write_iops_sec).map(u64::from),
    });
    IoLimits { weight: some(tune.weight), devices: devices.collect() }
}

/// Weights that this host gives (`blkio-controller.rst`, `cgroup-v2.rst`).
fn check(limits: &IoLimits, version: Version) -> Result<()> {
    let (number, possible) = match version {
        Version::V1 => (1, 10..=1000),
        Version::V2 => (2, 1..=10_000),
    };
    let all = limits.weight.into_iter().chain(limits.devices.iter().filter_map(|it| it.weight));
    match all.into_iter().find(|it| !possible.contains(it)) {
        None => Ok(()),
        Some(weight) => {
            let (least, most) = possible.into_inner();
            let message =
                format!("a weight of {weight}, with cgroups of version {number} {least} to {most} are possible");
            Err(Error::new(ErrorKind::InvalidArgument, message))
        }
    }
}

fn write(group: &Cgroup, limits: &IoLimits) -> Result<()> {
    group.set_io(limits).map_err(|error| match &error {
        CgroupError::Io { path, source, .. } if path.starts_with(group.path()) => {
            // A kernel that was built without it does not have the file.
            let told = refused(error_of_file(path, source));
            told.source(error)
        }
        // The device itself.
        _ => Error::new(ErrorKind::InvalidArgument, error.to_string()).source(error),
    })
}

/// What is missing is told as something that the kernel lacks.
fn error_of_file(path: &std::path::Path, source: &std::io::Error) -> CgroupError {
    let lacks = matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::Unsupported);
    let source = match lacks {
        true => {
            std::io::Error::new(std::io::ErrorKind::Unsupported, format!("this kernel does not have it ({source})"))
        }
        false => std::io::Error::new(source.kind(), source.to_string()),
    };
    CgroupError::Io { action: "limit block I/O with".into(), path: path.into(), source }
}

/// A group with limits of block I/O for a process that is about to be made, and the files it joins it by.
pub(crate) fn at_start(places: &Places, tune: &BlkioTune) -> Result<Vec<OwnedFd>> {
    let (group, limits) = (prepare(places, Controller::Io)?, limits(tune));
    check(&limits, group.version())?;
    write(&group, &limits)?;
    match group.version() {
        Version::V1 => group.join_whole(),
        Version::V2 => group.part(Part::Emulator).and_then(|_| group.join_files(Part::Emulator)),
    }
    .map_err(refused)
}

/// Limits the block I/O of a running guest.
///
/// # Errors
/// `InvalidArgument` for what is no block device, and for a weight that this host does not give; `Unsupported`, `Denied`, `Hypervisor`
/// with the kernel's answer.
pub(crate) fn set(places: &Places, pid: u32, tune: &BlkioTune) -> Result<()> {
    let limits = limits(tune);
    let hierarchy = match Hierarchy::with(Controller::Io) {
        // Who may limit nothing has limited nothing.
        Err(_) if limits == IoLimits::default() => return Ok(()),
        found => found.map_err(unusable)?,
    };
    let there = hierarchy.open(&places.group).filter(|it| it.holds(pid));
    if there.is_none() && limits == IoLimits::default() {
        return Ok(());
    }
    check(&limits, hierarchy.version())?;
    let group = hierarchy.ensure(&places.group).map_err(refused)?;
    write(&group, &limits)?;
    match (there, group.version()) {
        (Some(_), _) => Ok(()),
        (None, Version::V1) => group.take(pid).map_err(refused),
        (None, Version::V2) => group.adopt(pid, Part::Emulator).map_err(refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_versions_own() {
        let weight = |weight| IoLimits { weight: Some(weight), devices: Vec::new() };
        check(&weight(1000), Version::V1).unwrap();
        check(&weight(10_000), Version::V2).unwrap();
        for (wrong, version, range) in [(1001, Version::V1, "10 to 1000"), (10_001, Version::V2, "1 to 10000")] {
            let error = check(&weight(wrong), version).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().contains(range), "{error}");
        }
    }
}
