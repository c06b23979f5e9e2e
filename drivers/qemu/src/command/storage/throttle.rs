//! Limits that several disks share: objects, and filters on top of a disk's chain.

use polyvirt_core::model::disk::{Disk, IoLimits};

use super::{
    super::{Args, Input, option::Members},
    Counter,
};

/// Adds the objects of all groups.
pub(in super::super) fn groups(args: &mut Args, input: &Input<'_>) {
    let groups = input.config.throttlegroups.iter().flat_map(|it| &it.throttlegroup);
    for group in groups {
        let limits = &group.limits;
        let id = format!("throttle-{}", limits.group_name.as_deref().unwrap_or_default());
        let object = Members::new("qom-type", "throttle-group").with("id", id).with("limits", members(limits).value());
        args.add("-object", object.build());
    }
}

/// QEMU's names. Rates and bursts are always said, lengths of bursts only where they are given.
fn members(limits: &IoLimits) -> Members {
    let all = [
        ("bps-total", limits.total_bytes_sec),
        ("bps-read", limits.read_bytes_sec),
        ("bps-write", limits.write_bytes_sec),
        ("iops-total", limits.total_iops_sec),
        ("iops-read", limits.read_iops_sec),
        ("iops-write", limits.write_iops_sec),
        ("bps-total-max", limits.total_bytes_sec_max),
        ("bps-read-max", limits.read_bytes_sec_max),
        ("bps-write-max", limits.write_bytes_sec_max),
        ("iops-total-max", limits.total_iops_sec_max),
        ("iops-read-max", limits.read_iops_sec_max),
        ("iops-write-max", limits.write_iops_sec_max),
        ("iops-size", limits.size_iops_sec),
    ];
    let lengths = [
        ("bps-total-max-length", limits.total_bytes_sec_max_length),
        ("bps-read-max-length", limits.read_bytes_sec_max_length),
        ("bps-write-max-length", limits.write_bytes_sec_max_length),
        ("iops-total-max-length", limits.total_iops_sec_max_length),
        ("iops-read-max-length", limits.read_iops_sec_max_length),
        ("iops-write-max-length", limits.write_iops_sec_max_length),
    ];
    let members = all.iter().fold(Members::default(), |members, (name, value)| members.with(name, value.unwrap_or(0)));
    lengths.iter().fold(members, |members, (name, value)| members.maybe(name, *value))
}

/// Names of a disk's filters, from the bottom. Those of a disk that runs follow from its image, whatever other disks there are.
pub(super) fn names(disk: &Disk, counter: &mut Counter) -> Vec<String> {
    let filters = disk.throttlefilters.iter().flat_map(|it| &it.throttlefilter).enumerate();
    let image = disk.source.as_ref().and_then(|it| it.index);
    let name = |at| match image {
        Some(image) => format!("libvirt-{image}-{at}-filter"),
        None => format!("libvirt-{}-filter", counter.next()),
    };
    filters.map(|(at, _)| at).map(name).collect()
}

/// Adds the filters; returns the node on top.
pub(super) fn filters(args: &mut Args, disk: &Disk, names: &[String], below: String) -> String {
    let filters = disk.throttlefilters.iter().flat_map(|it| &it.throttlefilter);
    filters.zip(names).fold(below, |file, (filter, name)| {
        let node = Members::new("driver", "throttle")
            .with("node-name", name.as_str())
            .with("throttle-group", format!("throttle-{}", filter.group))
            .with("file", file);
        args.add("-blockdev", node.build());
        name.clone()
    })
}
