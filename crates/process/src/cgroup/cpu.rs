//! CPU time of a guest: its weight against others, and how much of a period it and each of its parts may use.
//!
//! Files and their units: `sched-bwc.rst` and `sched-design-CFS.rst` of version 1, `cgroup-v2.rst`. Everything is set together: with
//! version 1 a part may have no larger share of time than the whole, so no order of single writes is right for all changes.

use std::path::{Path, PathBuf};

use super::{
    Cgroup, CgroupError, Version,
    group::{folders, read, write},
};

/// A quota of CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuQuota {
    /// Microseconds of a period; `None`: the kernel's own.
    pub period: Option<u64>,
    /// Microseconds of CPU time in a period; `None` or negative: no limit.
    pub quota: Option<i64>,
}

/// What a guest may use of the host's CPU time. What is `None` is as the kernel has it for new groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuLimits {
    /// Weight against other groups: 2 to 262144 with version 1, 1 to 10000 with version 2.
    pub weight: Option<u64>,
    /// All its threads together.
    pub whole: CpuQuota,
    /// The emulator's threads together.
    pub emulator: CpuQuota,
    /// Each vCPU.
    pub vcpu: CpuQuota,
    /// Each I/O thread.
    pub io_thread: CpuQuota,
}

/// The kernel's period of a new group, in microseconds.
const PERIOD: u64 = 100_000;

/// A period, and a quota or none.
type Share = (u64, Option<u64>);

fn share(quota: CpuQuota) -> Share {
    (quota.period.unwrap_or(PERIOD), quota.quota.and_then(|it| u64::try_from(it).ok()))
}

/// What a group has.
fn present(path: &Path, version: Version) -> Result<Share, CgroupError> {
    let parse = |text: &str| text.trim().parse::<u64>().ok();
    let (quota, period) = match version {
        Version::V1 => (read(&path.join("cpu.cfs_quota_us"))?, read(&path.join("cpu.cfs_period_us"))?),
        Version::V2 => {
            let text = read(&path.join("cpu.max"))?;
            let mut words = text.split_ascii_whitespace().map(str::to_owned);
            (words.next().unwrap_or_default(), words.next().unwrap_or_default())
        }
    };
    Ok((parse(&period).unwrap_or(PERIOD), parse(&quota)))
}

fn set(path: &Path, version: Version, (period, quota): Share) -> Result<(), CgroupError> {
    match version {
        Version::V1 => {
            let file = path.join("cpu.cfs_quota_us");
            write(&file, "-1")?;
            write(&path.join("cpu.cfs_period_us"), &period.to_string())?;
            quota.map_or(Ok(()), |quota| write(&file, &quota.to_string()))
        }
        Version::V2 => {
            let quota = quota.map_or_else(|| "max".to_owned(), |it| it.to_string());
            write(&path.join("cpu.max"), &format!("{quota} {period}"))
        }
    }
}

/// The whole first, then the parts. What changes is lifted before, because a share that is right in the end may be wrong meanwhile.
fn set_all(version: Version, wanted: &[(PathBuf, Share)]) -> Result<(), CgroupError> {
    let mut changed = Vec::new();
    for (path, share) in wanted {
        let now = present(path, version)?;
        if now != *share {
            changed.push((path, *share));
            if now.1.is_some() {
                set(path, version, (now.0, None))?;
            }
        }
    }
    changed.into_iter().try_for_each(|(path, share)| set(path, version, share))
}

impl Cgroup {
    fn weight_file(&self) -> PathBuf {
        self.path.join(match self.version {
            Version::V1 => "cpu.shares",
            Version::V2 => "cpu.weight",
        })
    }

    /// Whether the CPU time of its processes can be limited here.
    pub fn limits_cpu(&self) -> bool {
        self.weight_file().exists()
    }

    /// Limits the CPU time of the guest and of every part there is. Of a group with the cpu controller. All or none.
    ///
    /// # Errors
    /// [`CgroupError::Io`], such as `ERANGE` for a weight, and with version 1 `EINVAL` for a part with a larger share of time than the whole.
    pub fn set_cpu(&self, limits: CpuLimits) -> Result<(), CgroupError> {
        let mut wanted = vec![(self.path.clone(), share(limits.whole))];
        for folder in folders(&self.path)? {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let quota = match name.as_str() {
                "emulator" => limits.emulator,
                name if name.starts_with("vcpu") => limits.vcpu,
                name if name.starts_with("iothread") => limits.io_thread,
                // Of somebody else.
                _ => continue,
            };
            wanted.push((folder, share(quota)));
        }
        let before: Vec<(PathBuf, Share)> = wanted
            .iter()
            .map(|(path, _)| Ok((path.clone(), present(path, self.version)?)))
            .collect::<Result<_, CgroupError>>()?;
        let (file, usual) = (self.weight_file(), if self.version == Version::V1 { 1024 } else { 100 });
        let weight = read(&file)?;
        let done =
            set_all(self.version, &wanted).and_then(|()| write(&file, &limits.weight.unwrap_or(usual).to_string()));
        if done.is_err() {
            set_all(self.version, &before).ok();
            write(&file, weight.trim()).ok();
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SpawnSpec,
        cgroup::{Controller, GroupName, Hierarchy, Part},
        spawn,
    };
    use std::time::Duration;

    const WITHIN: Duration = Duration::from_secs(20);

    fn quota(period: u64, quota: i64) -> CpuQuota {
        CpuQuota { period: Some(period), quota: Some(quota) }
    }

    #[tokio::test]
    async fn cpu_time_is_limited_of_all_and_of_parts() {
        let group = match Hierarchy::with(Controller::Cpu) {
            Ok(it) => it.create(&GroupName::new(&format!("test-{}-cpu", std::process::id()))).unwrap(),
            Err(reason) => return println!("skipped: {reason}"),
        };
        let mut spec = SpawnSpec::new("/bin/sleep");
        spec.args = vec!["1000".into()];
        group.part(Part::Emulator).unwrap();
        spec.cgroups = group.join_files(Part::Emulator).unwrap();
        let child = spawn(&spec).unwrap().open_gate(WITHIN).await.unwrap();
        assert!(group.holds(child.id().pid) && group.limits_cpu());
        group.part(Part::Vcpu(0)).unwrap();
        let shares = || -> Vec<Share> {
            let paths = [group.path().to_owned(), group.path().join("emulator"), group.path().join("vcpu0")];
            paths.iter().map(|path| present(path, group.version).unwrap()).collect()
        };
        let weight = || read(&group.weight_file()).unwrap().trim().to_owned();
        let mut limits = CpuLimits {
            weight: Some(512),
            whole: quota(50_000, 40_000),
            emulator: CpuQuota { period: None, quota: Some(20_000) },
            vcpu: quota(10_000, 8_000),
            ..CpuLimits::default()
        };
        group.set_cpu(limits).unwrap();
        let first = [(50_000, Some(40_000)), (100_000, Some(20_000)), (10_000, Some(8_000))];
        assert_eq!((shares().as_slice(), weight().as_str()), (&first[..], "512"));
        if group.version == Version::V1 {
            limits.whole = quota(50_000, 1_000);
            group.set_cpu(limits).unwrap_err();
            assert_eq!((shares().as_slice(), weight().as_str()), (&first[..], "512"), "what was there is put back");
        }
        // Each step would be wrong by itself: all are raised and lowered at once.
        let lower = CpuLimits {
            whole: quota(100_000, 10_000),
            emulator: quota(100_000, 5_000),
            vcpu: quota(200_000, 20_000),
            ..limits
        };
        for limits in [lower, CpuLimits { whole: quota(1_000, -1), ..limits }, lower] {
            group.set_cpu(limits).unwrap();
        }
        assert_eq!(shares(), [(100_000, Some(10_000)), (100_000, Some(5_000)), (200_000, Some(20_000))]);
        group.set_cpu(CpuLimits::default()).unwrap();
        assert_eq!(shares(), [(100_000, None); 3]);
        assert_eq!(weight(), if group.version == Version::V1 { "1024" } else { "100" });
        group.kill_all(WITHIN).await.unwrap();
        group.destroy(WITHIN).await.unwrap();
    }
}
