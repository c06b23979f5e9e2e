//! Block I/O of a guest: its weight against others, and what may go to single devices of the host and come from them.
//!
//! Files and their units: `blkio-controller.rst` of version 1, `cgroup-v2.rst`, `bfq-iosched.rst`. Weights are those of whichever I/O
//! scheduler has them; a kernel may have none, and then there is no file.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{
    Cgroup, CgroupError, Version,
    group::{read, write},
    memory::lacks,
};

/// What a guest may do to a block device of the host; `None`: no limit, the guest's weight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceIo {
    /// The device's node.
    pub path: PathBuf,
    /// Its weight there.
    pub weight: Option<u32>,
    /// Bytes read in a second.
    pub read_bytes: Option<u64>,
    /// Bytes written in a second.
    pub write_bytes: Option<u64>,
    /// Reads in a second.
    pub read_operations: Option<u64>,
    /// Writes in a second.
    pub write_operations: Option<u64>,
}

/// What a guest may do to the block devices of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoLimits {
    /// Weight against other groups: 10 to 1000 with version 1, 1 to 10000 with version 2; `None`: the kernel's own.
    pub weight: Option<u32>,
    /// Single devices.
    pub devices: Vec<DeviceIo>,
}

/// The files of version 1, in the order of [`DeviceIo`]'s limits.
const THROTTLE: [&str; 4] = [
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_iops_device",
];

impl DeviceIo {
    fn limits(&self) -> [Option<u64>; 4] {
        [self.read_bytes, self.write_bytes, self.read_operations, self.write_operations]
    }
}

/// A write, and the one that takes it back.
struct Write {
    file: PathBuf,
    value: String,
    undo: String,
}

/// What a file says of each device: lines of `major:minor` and the rest.
fn entries(file: &Path) -> Result<BTreeMap<String, String>, CgroupError> {
    let text = read(file)?;
    let split = |line: &str| line.split_once(' ').map(|(device, rest)| (device.to_owned(), rest.trim().to_owned()));
    Ok(text.lines().filter_map(split).collect())
}

/// Writes that make a file say this of these devices, and `nothing` of all others.
fn replace(
    file: &Path,
    wanted: &BTreeMap<String, String>,
    nothing: &str,
    writes: &mut Vec<Write>,
) -> Result<(), CgroupError> {
    if wanted.is_empty() && !file.exists() {
        return Ok(());
    }
    let mut now = entries(file)?;
    now.remove("default");
    let mut change = |device: &str, to: &str, from: &str| {
        writes.push(Write { file: file.into(), value: format!("{device} {to}"), undo: format!("{device} {from}") });
    };
    for device in now.keys().filter(|it| !wanted.contains_key(*it)) {
        change(device, nothing, &now[device]);
    }
    for (device, value) in wanted.iter().filter(|(device, value)| now.get(*device) != Some(*value)) {
        change(device, value, now.get(device).map_or(nothing, String::as_str));
    }
    Ok(())
}

impl Cgroup {
    /// Limits block I/O. Of a group with the io controller. All or none.
    ///
    /// # Errors
    /// [`CgroupError::Io`]: for a path that is no block device; for weights where no I/O scheduler of the kernel has any, with the file that
    /// is missing.
    pub fn set_io(&self, limits: &IoLimits) -> Result<(), CgroupError> {
        let mut numbered = Vec::new();
        for device in &limits.devices {
            numbered.push((device_number(&device.path)?, device));
        }
        let mut writes = Vec::new();
        self.weights(limits, &numbered, &mut writes)?;
        match self.version {
            Version::V1 => {
                for (at, name) in THROTTLE.iter().enumerate() {
                    let limit = |(number, device): &(String, &DeviceIo)| {
                        device.limits()[at].map(|it| (number.clone(), it.to_string()))
                    };
                    replace(&self.path.join(name), &numbered.iter().filter_map(limit).collect(), "0", &mut writes)?;
                }
            }
            Version::V2 => {
                let said = |limit: Option<u64>| limit.map_or_else(|| "max".to_owned(), |it| it.to_string());
                let line = |limits: [Option<u64>; 4]| {
                    let [rbps, wbps, riops, wiops] = limits.map(said);
                    format!("rbps={rbps} wbps={wbps} riops={riops} wiops={wiops}")
                };
                let limited = numbered.iter().filter(|(_, it)| it.limits() != [None; 4]);
                let wanted = limited.map(|(number, it)| (number.clone(), line(it.limits()))).collect();
                replace(&self.path.join("io.max"), &wanted, &line([None; 4]), &mut writes)?;
            }
        }
        for (at, it) in writes.iter().enumerate() {
            if let Err(error) = write(&it.file, &it.value) {
                for it in writes[..at].iter().rev() {
                    write(&it.file, &it.undo).ok();
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn weights(
        &self,
        limits: &IoLimits,
        devices: &[(String, &DeviceIo)],
        writes: &mut Vec<Write>,
    ) -> Result<(), CgroupError> {
        let wanted: BTreeMap<_, _> =
            devices.iter().filter_map(|(number, it)| Some((number.clone(), it.weight?.to_string()))).collect();
        // The first is that of kernels before 5.0, whose default is 500 with version 1; with version 2 that of io.cost.
        let (names, nothing) = match self.version {
            Version::V1 => ([("blkio.weight", 500), ("blkio.bfq.weight", 100)], "0"),
            Version::V2 => ([("io.weight", 100), ("io.bfq.weight", 100)], "default"),
        };
        let found = names.iter().map(|(name, usual)| (self.path.join(name), usual)).find(|(path, _)| path.exists());
        let Some((file, usual)) = found else {
            if limits.weight.is_none() && wanted.is_empty() {
                return Ok(());
            }
            let why = "no I/O scheduler of this kernel has weights, bfq would";
            return Err(lacks(&self.path.join(names[1].0), "weigh I/O in", why));
        };
        let now = read(&file)?;
        let now = now.lines().next().unwrap_or_default().trim().trim_start_matches("default ").to_owned();
        let weight = limits.weight.unwrap_or(*usual).to_string();
        if now != weight {
            writes.push(Write { file: file.clone(), value: weight, undo: now });
        }
        let of_devices = match self.version {
            Version::V1 => PathBuf::from(format!("{}_device", file.display())),
            Version::V2 => file,
        };
        replace(&of_devices, &wanted, nothing, writes)
    }
}

/// `major:minor` of a block device.
fn device_number(path: &Path) -> Result<String, CgroupError> {
    let failed = |source| CgroupError::Io { action: "look at the block device".into(), path: path.into(), source };
    let found = fs::metadata(path).map_err(failed)?;
    if !found.file_type().is_block_device() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no block device")));
    }
    let device = found.rdev();
    // glibc, sys/sysmacros.h: the numbers are split.
    let major = (device >> 8) & 0xfff | (device >> 32) & !0xfff;
    let minor = device & 0xff | (device >> 12) & !0xff;
    Ok(format!("{major}:{}", minor & 0xffff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{Controller, GroupName, Hierarchy};
    use std::time::Duration;

    fn group(name: &str) -> Option<Cgroup> {
        match Hierarchy::with(Controller::Io) {
            Ok(it) => Some(it.create(&GroupName::new(&format!("test-{}-{name}", std::process::id()))).unwrap()),
            Err(reason) => {
                println!("skipped: {reason}");
                None
            }
        }
    }

    /// Some whole disk of this host.
    fn disk() -> Option<PathBuf> {
        let names = fs::read_dir("/sys/block").ok()?.flatten().map(|it| Path::new("/dev").join(it.file_name()));
        names.into_iter().find(|it| device_number(it).is_ok())
    }

    #[tokio::test]
    async fn what_is_no_block_device_is_refused() {
        let Some(group) = group("io") else { return };
        let device = DeviceIo { path: "/dev/null".into(), read_bytes: Some(1), ..DeviceIo::default() };
        let error = group.set_io(&IoLimits { weight: None, devices: vec![device] }).unwrap_err();
        assert!(error.to_string().contains("no block device"), "{error}");
        group.destroy(Duration::from_secs(20)).await.unwrap();
    }

    #[tokio::test]
    async fn limits_come_change_and_go_and_a_refusal_changes_nothing() {
        let Some(group) = group("io2") else { return };
        let Some(path) = disk() else { return println!("skipped: this host has no disk") };
        let number = device_number(&path).unwrap();
        let now = || -> Vec<Option<String>> {
            let of = |name: &str| entries(&group.path().join(name)).unwrap_or_default().remove(&number);
            match group.version {
                Version::V1 => THROTTLE.iter().map(|name| of(name)).collect(),
                Version::V2 => vec![of("io.max")],
            }
        };
        let device = DeviceIo { path, read_bytes: Some(1 << 20), write_operations: Some(7), ..DeviceIo::default() };
        let limits = |device: &DeviceIo, weight| IoLimits { weight, devices: vec![device.clone()] };
        group.set_io(&limits(&device, None)).unwrap();
        let first = now();
        let expected = match group.version {
            Version::V1 => vec![Some("1048576".to_owned()), None, None, Some("7".to_owned())],
            Version::V2 => vec![Some("rbps=1048576 wbps=max riops=max wiops=7".to_owned())],
        };
        assert_eq!(first, expected);
        let other = DeviceIo { read_bytes: None, write_bytes: Some(9), ..device.clone() };
        // No version and no scheduler has such a weight.
        group.set_io(&limits(&other, Some(1_000_000))).unwrap_err();
        assert_eq!(now(), first, "neither the weight nor the limits");
        group.set_io(&limits(&other, None)).unwrap();
        assert_ne!(now(), first);
        group.set_io(&IoLimits::default()).unwrap();
        assert!(now().iter().all(Option::is_none), "{:?}", now());
        group.destroy(Duration::from_secs(20)).await.unwrap();
    }
}
