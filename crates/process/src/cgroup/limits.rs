//! What a group may use: CPU time, memory, block devices.
//!
//! Files and their units: cgroup-v1 `memory.rst`, `blkio-controller.rst`, `sched-bwc.rst`; `cgroup-v2.rst`. Values are those of version 1
//! where both have the same thing in other words; what a version lacks is an error that says so. Writes are made in an order that the
//! kernel takes, and what was there is put back when one of several is refused.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{
    Cgroup, CgroupError, Controller, Hierarchy, PartGroup, Version,
    group::{read, write},
};

/// Limits of memory in bytes; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryLimits {
    /// What may be used at most.
    pub hard: Option<u64>,
    /// What is reclaimed down to when memory is short on the host.
    pub soft: Option<u64>,
    /// Memory and swap together.
    pub with_swap: Option<u64>,
}

/// A quota of CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuQuota {
    /// Microseconds of a period; `None` leaves it.
    pub period: Option<u64>,
    /// Microseconds of CPU time in a period, negative for no limit; `None` leaves it.
    pub quota: Option<i64>,
}

impl CpuQuota {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.period.is_none() && self.quota.is_none()
    }
}

/// What of a block device is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoLimit {
    /// Bytes read in a second.
    ReadBytes,
    /// Bytes written in a second.
    WriteBytes,
    /// Reads in a second.
    ReadOperations,
    /// Writes in a second.
    WriteOperations,
}

fn number(limit: Option<u64>, none: &str) -> String {
    limit.map_or_else(|| none.to_owned(), |it| it.to_string())
}

fn lacks(path: &Path, action: &str, why: &str) -> CgroupError {
    CgroupError::Io {
        action: action.into(),
        path: path.into(),
        source: io::Error::new(io::ErrorKind::Unsupported, why.to_owned()),
    }
}

/// Writes all of them; if one is refused, what was there is written back, the last first.
fn write_all(writes: &[(PathBuf, String)]) -> Result<(), CgroupError> {
    let mut before: Vec<(&PathBuf, String)> = Vec::new();
    for (path, value) in writes {
        let old = read(path)?;
        if let Err(error) = write(path, value) {
            for (path, old) in before.iter().rev() {
                write(path, old).ok();
            }
            return Err(error);
        }
        before.push((path, old.trim().to_owned()));
    }
    Ok(())
}

fn set_quota(path: &Path, version: Version, quota: CpuQuota) -> Result<(), CgroupError> {
    match version {
        Version::V1 => {
            let period = quota.period.map(|it| (path.join("cpu.cfs_period_us"), it.to_string()));
            let quota = quota.quota.map(|it| (path.join("cpu.cfs_quota_us"), it.max(-1).to_string()));
            // The parent's share of time bounds the child's, so each order fails somewhere; a limit that is lifted goes first.
            let lifts = quota.as_ref().is_some_and(|(_, value): &(PathBuf, String)| value == "-1");
            let writes: Vec<_> = if lifts {
                quota.into_iter().chain(period).collect()
            } else {
                period.into_iter().chain(quota).collect()
            };
            write_all(&writes)
        }
        Version::V2 => {
            let file = path.join("cpu.max");
            let now = read(&file)?;
            let mut words = now.split_ascii_whitespace();
            let (max, period) = (words.next().unwrap_or("max").to_owned(), words.next().unwrap_or("100000").to_owned());
            let max = match quota.quota {
                Some(limit) if limit < 0 => "max".to_owned(),
                Some(limit) => limit.to_string(),
                None => max,
            };
            let period = quota.period.map_or(period, |it| it.to_string());
            write(&file, &format!("{max} {period}"))
        }
    }
}

fn quota(path: &Path, version: Version) -> Result<(u64, i64), CgroupError> {
    let parse = |text: &str| text.trim().parse::<i64>().unwrap_or(-1);
    match version {
        Version::V1 => {
            let period = parse(&read(&path.join("cpu.cfs_period_us"))?);
            Ok((period.unsigned_abs(), parse(&read(&path.join("cpu.cfs_quota_us"))?)))
        }
        Version::V2 => {
            let text = read(&path.join("cpu.max"))?;
            let mut words = text.split_ascii_whitespace();
            let max = words.next().map_or(-1, parse);
            Ok((words.next().map_or(100_000, parse).unsigned_abs(), max))
        }
    }
}

impl PartGroup {
    /// Limits the CPU time of each of its threads together. Of a group with the cpu controller.
    ///
    /// # Errors
    /// [`CgroupError::Io`], such as `EINVAL` for more than the guest as a whole may use.
    pub fn set_cpu_quota(&self, quota: CpuQuota) -> Result<(), CgroupError> {
        set_quota(&self.path, self.version, quota)
    }

    /// The period and the quota, negative for none.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn cpu_quota(&self) -> Result<(u64, i64), CgroupError> {
        quota(&self.path, self.version)
    }
}

impl Cgroup {
    /// Limits the CPU time of all its threads together. Of a group with the cpu controller.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn set_cpu_quota(&self, quota: CpuQuota) -> Result<(), CgroupError> {
        set_quota(&self.path, self.version, quota)
    }

    /// The period and the quota, negative for none.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn cpu_quota(&self) -> Result<(u64, i64), CgroupError> {
        quota(&self.path, self.version)
    }

    fn weight_file(&self) -> PathBuf {
        self.path.join(match self.version {
            Version::V1 => "cpu.shares",
            Version::V2 => "cpu.weight",
        })
    }

    /// Its weight against other groups: 2 to 262144 with version 1, 1 to 10000 with version 2.
    ///
    /// # Errors
    /// [`CgroupError::Io`], such as `ERANGE`.
    pub fn set_cpu_weight(&self, weight: u64) -> Result<(), CgroupError> {
        write(&self.weight_file(), &weight.to_string())
    }

    /// Its weight.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn cpu_weight(&self) -> Result<u64, CgroupError> {
        Ok(read(&self.weight_file())?.trim().parse().unwrap_or(0))
    }

    /// Limits memory. Of a group with the memory controller. All or none.
    ///
    /// # Errors
    /// [`CgroupError::Io`], such as `EBUSY` for less than is used and cannot be reclaimed.
    pub fn set_memory(&self, limits: MemoryLimits) -> Result<(), CgroupError> {
        let file = |name: &str| self.path.join(name);
        match self.version {
            Version::V1 => {
                let swap = file("memory.memsw.limit_in_bytes");
                let mut writes = Vec::new();
                // Memory alone may never be more than both together.
                if swap.exists() {
                    writes.push((swap.clone(), "-1".to_owned()));
                } else if limits.with_swap.is_some() {
                    return Err(lacks(&swap, "limit swap in", "the kernel does not account for swap (swapaccount=1)"));
                }
                writes.push((file("memory.limit_in_bytes"), number(limits.hard, "-1")));
                writes.push((file("memory.soft_limit_in_bytes"), number(limits.soft, "-1")));
                if let Some(limit) = limits.with_swap {
                    writes.push((swap, limit.to_string()));
                }
                write_all(&writes)
            }
            Version::V2 => {
                let swap = match (limits.with_swap, limits.hard) {
                    (Some(both), Some(hard)) => Some(both.saturating_sub(hard)),
                    (None, _) => None,
                    (Some(_), None) => {
                        let why = "cgroups of version 2 limit swap alone: give a hard limit of memory, too";
                        return Err(lacks(&file("memory.swap.max"), "limit swap in", why));
                    }
                };
                let mut writes = vec![
                    (file("memory.max"), number(limits.hard, "max")),
                    (file("memory.high"), number(limits.soft, "max")),
                ];
                if file("memory.swap.max").exists() {
                    writes.push((file("memory.swap.max"), number(swap, "max")));
                } else if swap.is_some() {
                    return Err(lacks(
                        &file("memory.swap.max"),
                        "limit swap in",
                        "the kernel does not account for swap",
                    ));
                }
                write_all(&writes)
            }
        }
    }

    /// Moves a running process into the group itself, with all its threads and, of a group with the memory controller, what they touched.
    ///
    /// # Errors
    /// [`CgroupError::Io`], `ESRCH` if there is no such process; `Unsupported` where the kernel counts memory where it was touched: with
    /// version 2, and with version 1 since Linux 6.11.
    pub fn take(&self, pid: u32) -> Result<(), CgroupError> {
        if self.controller == Controller::Memory {
            let moves = self.path.join("memory.move_charge_at_immigrate");
            // Anonymous pages and pages of files (memory.rst, 8.2).
            if self.version == Version::V2 || write(&moves, "3").is_err() {
                let why = "this kernel counts memory where it was touched, and moves no count";
                return Err(lacks(&self.path, "move the memory of a process to", why));
            }
        }
        write(&self.path.join("cgroup.procs"), &pid.to_string())
    }

    /// Opened files which a process that is yet to execute joins to be in the group itself.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn join_whole(&self) -> Result<Vec<std::os::fd::OwnedFd>, CgroupError> {
        let path = self.path.join(match self.version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        });
        match fs::File::options().write(true).open(&path) {
            Ok(file) => Ok(vec![file.into()]),
            Err(source) => Err(CgroupError::Io { action: "open".into(), path, source }),
        }
    }

    /// Its weight of block I/O: 10 to 1000 with version 1, 1 to 10000 with version 2.
    ///
    /// # Errors
    /// [`CgroupError::Io`]; where no I/O scheduler of the host has weights, there is no file for it.
    pub fn set_io_weight(&self, weight: u32) -> Result<(), CgroupError> {
        write(&self.io_weight_file()?, &weight.to_string())
    }

    /// The same against one device only.
    ///
    /// # Errors
    /// As [`Cgroup::set_io_weight`], and for a path that is no block device.
    pub fn set_device_weight(&self, device: &Path, weight: u32) -> Result<(), CgroupError> {
        let file = self.io_weight_file()?;
        let file = match self.version {
            Version::V1 => file.with_extension("weight_device"),
            Version::V2 => file,
        };
        write(&file, &format!("{} {weight}", device_number(device)?))
    }

    fn io_weight_file(&self) -> Result<PathBuf, CgroupError> {
        let names = match self.version {
            Version::V1 => ["blkio.weight", "blkio.bfq.weight"],
            Version::V2 => ["io.weight", "io.bfq.weight"],
        };
        let found = names.iter().map(|name| self.path.join(name)).find(|path| path.exists());
        found.ok_or_else(|| {
            lacks(&self.path.join(names[0]), "weigh I/O in", "no I/O scheduler of this kernel has weights (bfq has)")
        })
    }

    /// Limits what goes to a block device of the host and comes from it; 0 lifts the limit.
    ///
    /// # Errors
    /// [`CgroupError::Io`], and for a path that is no block device.
    pub fn set_io_limit(&self, device: &Path, what: IoLimit, limit: u64) -> Result<(), CgroupError> {
        let number = device_number(device)?;
        match self.version {
            Version::V1 => {
                let file = match what {
                    IoLimit::ReadBytes => "blkio.throttle.read_bps_device",
                    IoLimit::WriteBytes => "blkio.throttle.write_bps_device",
                    IoLimit::ReadOperations => "blkio.throttle.read_iops_device",
                    IoLimit::WriteOperations => "blkio.throttle.write_iops_device",
                };
                write(&self.path.join(file), &format!("{number} {limit}"))
            }
            Version::V2 => {
                let key = match what {
                    IoLimit::ReadBytes => "rbps",
                    IoLimit::WriteBytes => "wbps",
                    IoLimit::ReadOperations => "riops",
                    IoLimit::WriteOperations => "wiops",
                };
                let limit = if limit == 0 { "max".to_owned() } else { limit.to_string() };
                write(&self.path.join("io.max"), &format!("{number} {key}={limit}"))
            }
        }
    }

    /// Which interface it has.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether what its processes touch is counted here.
    pub fn counts_memory(&self) -> bool {
        ["memory.max", "memory.limit_in_bytes"].iter().any(|file| self.path.join(file).exists())
    }

    /// Whether a process is in it or in a part of it.
    pub fn holds(&self, pid: u32) -> bool {
        self.processes().is_ok_and(|pids| pids.binary_search(&pid).is_ok())
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

impl Hierarchy {
    /// The controller it was found for.
    pub fn controller(&self) -> Controller {
        self.controller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SpawnSpec,
        cgroup::{GroupName, Part},
        spawn,
    };
    use std::time::Duration;

    const WITHIN: Duration = Duration::from_secs(20);

    fn group(controller: Controller, name: &str) -> Option<Cgroup> {
        match Hierarchy::with(controller) {
            Ok(hierarchy) => {
                Some(hierarchy.create(&GroupName::new(&format!("test-{}-{name}", std::process::id()))).unwrap())
            }
            Err(reason) => {
                println!("skipped: {reason}");
                None
            }
        }
    }

    #[tokio::test]
    async fn memory_is_limited_and_a_refusal_changes_nothing() {
        let Some(group) = group(Controller::Memory, "memory") else { return };
        let mib = |count: u64| Some(count << 20);
        group.set_memory(MemoryLimits { hard: mib(64), soft: mib(32), with_swap: None }).unwrap();
        let (file, soft) = match group.version {
            Version::V1 => ("memory.limit_in_bytes", "memory.soft_limit_in_bytes"),
            Version::V2 => ("memory.max", "memory.high"),
        };
        let now = |name: &str| read(&group.path().join(name)).unwrap().trim().to_owned();
        assert_eq!((now(file), now(soft)), ((64_u64 << 20).to_string(), (32_u64 << 20).to_string()));
        // Lower and higher again, in whichever order the kernel wants it.
        group.set_memory(MemoryLimits { hard: mib(16), soft: None, with_swap: mib(16) }).unwrap();
        group.set_memory(MemoryLimits { hard: mib(128), soft: None, with_swap: mib(256) }).unwrap();
        if group.version == Version::V1 {
            group.set_memory(MemoryLimits { hard: mib(128), soft: None, with_swap: mib(64) }).unwrap_err();
            assert_eq!(now(file), (128_u64 << 20).to_string(), "what was there is put back");
        }
        group.set_memory(MemoryLimits::default()).unwrap();
        group.destroy(WITHIN).await.unwrap();
    }

    #[tokio::test]
    async fn cpu_time_is_limited_of_all_and_of_parts() {
        let Some(group) = group(Controller::Cpu, "cpu") else { return };
        let mut spec = SpawnSpec::new("/bin/sleep");
        spec.args = vec!["1000".into()];
        let part = group.part(Part::Emulator).unwrap();
        spec.cgroups = group.join_files(Part::Emulator).unwrap();
        let child = spawn(&spec).unwrap().open_gate(WITHIN).await.unwrap();
        assert!(group.holds(child.id().pid));
        assert_eq!(group.cpu_quota().unwrap(), (100_000, -1));
        group.set_cpu_weight(512).unwrap();
        assert_eq!(group.cpu_weight().unwrap(), 512);
        group.set_cpu_quota(CpuQuota { period: Some(50_000), quota: Some(40_000) }).unwrap();
        part.set_cpu_quota(CpuQuota { period: None, quota: Some(20_000) }).unwrap();
        assert_eq!((group.cpu_quota().unwrap(), part.cpu_quota().unwrap()), ((50_000, 40_000), (100_000, 20_000)));
        part.set_cpu_quota(CpuQuota { period: None, quota: Some(-1) }).unwrap();
        assert_eq!(part.cpu_quota().unwrap().1, -1);
        group.kill_all(WITHIN).await.unwrap();
        group.destroy(WITHIN).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_block_device_is_refused() {
        let Some(group) = group(Controller::Io, "io") else { return };
        let error = group.set_io_limit(Path::new("/dev/null"), IoLimit::ReadBytes, 1).unwrap_err();
        assert!(error.to_string().contains("no block device"), "{error}");
        group.destroy(WITHIN).await.unwrap();
    }
}
