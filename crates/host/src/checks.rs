//! What a person should know before running guests on this host, as `virt-host-validate` tells it.

use serde::{Deserialize, Serialize};

use crate::{Cpuset, DeviceNode, Host};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// Guests run, but something is missing or slower.
    Warn,
    /// Guests that need this do not run.
    Fail,
    /// Nothing to check here.
    NotApplicable,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Check {
    /// What was looked at.
    pub subject: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
    /// What to do; `None` if nothing.
    pub remedy: Option<String>,
}

impl Check {
    fn new(subject: &str, outcome: Outcome, detail: impl Into<String>) -> Check {
        Check { subject: subject.to_owned(), outcome, detail: detail.into(), remedy: None }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Check {
        self.remedy = Some(remedy.into());
        self
    }
}

pub(crate) fn all(host: &Host) -> Vec<Check> {
    let mut checks = vec![virtualisation(host), kvm(host), tun(host)];
    checks.extend(cgroups(host));
    checks.extend(numa(host));
    checks.extend([huge_pages(host), demotion(host), iommu(host)]);
    checks
}

fn virtualisation(host: &Host) -> Check {
    const SUBJECT: &str = "hardware virtualisation";
    let cpuinfo = host.text("proc/cpuinfo").ok().flatten().unwrap_or_default();
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
    let has = |flag| flags.split_ascii_whitespace().any(|word| word == flag);
    if !matches!(host.architecture().as_str(), "x86_64" | "i686") {
        return Check::new(SUBJECT, Outcome::NotApplicable, "no CPU flag tells it on this architecture");
    }
    match (has("vmx"), has("svm")) {
        (true, _) => Check::new(SUBJECT, Outcome::Pass, "the CPUs have vmx"),
        (_, true) => Check::new(SUBJECT, Outcome::Pass, "the CPUs have svm"),
        _ => Check::new(SUBJECT, Outcome::Warn, "the CPUs have neither vmx nor svm: guests are emulated")
            .remedy("enable virtualisation in the firmware, or nested virtualisation on the machine below"),
    }
}

fn kvm(host: &Host) -> Check {
    let node = host.kvm();
    let (absent, denied) = ("modprobe kvm_intel or kvm_amd", "add this user to the group of the device (usually kvm)");
    // It opens, no more: a driver proves KVM with a guest that has really run.
    device("device /dev/kvm", &node, Outcome::Warn, "guests are emulated", absent, denied)
}

fn tun(host: &Host) -> Check {
    let node = host.tun();
    let denied = "run as root, or give this user access to the device";
    device("device /dev/net/tun", &node, Outcome::Warn, "no tap interfaces", "modprobe tun", denied)
}

fn device(
    subject: &str,
    node: &DeviceNode,
    missing: Outcome,
    consequence: &str,
    if_absent: &str,
    if_denied: &str,
) -> Check {
    match (&node.reason, node.present, node.usable) {
        (_, _, true) => Check::new(subject, Outcome::Pass, "it can be opened"),
        (_, false, _) => Check::new(subject, missing, format!("it is missing: {consequence}")).remedy(if_absent),
        (Some(reason), ..) => {
            Check::new(subject, missing, format!("it cannot be opened ({reason}): {consequence}")).remedy(if_denied)
        }
        (None, ..) => Check::new(subject, missing, format!("it is not a device: {consequence}")).remedy("remove it"),
    }
}

fn cgroups(host: &Host) -> Vec<Check> {
    let layout = match host.cgroups() {
        Ok(layout) => layout,
        Err(error) => return vec![Check::new("cgroups", Outcome::Warn, error.to_string()).remedy("mount /proc")],
    };
    let mut checks = Vec::new();
    for (v1, v2) in [("cpu", "cpu"), ("memory", "memory"), ("blkio", "io"), ("pids", "pids")] {
        let subject = format!("cgroup controller {v2}");
        let found = if layout.v1_of(v1).is_some() { Some(1) } else { layout.has(v2).then_some(2) };
        checks.push(match found {
            Some(version) => Check::new(&subject, Outcome::Pass, format!("version {version}")),
            None => Check::new(&subject, Outcome::Warn, "it is not available: limits of that kind are not applied")
                .remedy("enable it in cgroup.subtree_control of the groups above, or in the kernel"),
        });
    }
    checks.push(match layout.cpuset() {
        Cpuset::None(why) => Check::new("cgroup controller cpuset", Outcome::Warn, why)
            .remedy("run as root, or have cpuset delegated (systemd: Delegate=cpuset); CPU affinity and memory policy are used instead"),
        Cpuset::V1(directory) => {
            Check::new("cgroup controller cpuset", Outcome::Pass, format!("version 1, '{}'", directory.display()))
        }
        Cpuset::V2 { directory, delegated: true } => {
            Check::new("cgroup controller cpuset", Outcome::Pass, format!("version 2, '{}'", directory.display()))
        }
        Cpuset::V2 { directory, delegated: false } => {
            let detail = format!("version 2, but '{}' does not pass it to its children yet", directory.display());
            Check::new("cgroup controller cpuset", Outcome::Pass, detail)
        }
    });
    checks.push(match (layout.v1_of("devices"), &layout.v2) {
        (Some(_), _) => Check::new("cgroup controller devices", Outcome::Pass, "version 1"),
        (None, Some(_)) => {
            Check::new("cgroup controller devices", Outcome::NotApplicable, "version 2 does that with BPF programs")
        }
        (None, None) => Check::new("cgroup controller devices", Outcome::Warn, "no cgroup file system is mounted")
            .remedy("mount -t cgroup2 none /sys/fs/cgroup"),
    });
    checks
}

fn numa(host: &Host) -> Vec<Check> {
    const SUBJECT: &str = "NUMA topology";
    let topology = match host.topology() {
        Ok(topology) => topology,
        Err(error) => {
            let check = Check::new(SUBJECT, Outcome::Fail, error.to_string());
            return vec![check.remedy("mount /sys; placement is not possible without it")];
        }
    };
    let nodes = topology.online_nodes();
    let detail = match nodes.len() {
        1 => "one node: placement has nothing to choose".to_owned(),
        count => format!("{count} nodes ({nodes}), memory on {}", topology.memory_nodes()),
    };
    let mut checks = vec![Check::new(SUBJECT, Outcome::Pass, detail)];
    checks.extend(topology.notes().iter().map(|note| Check::new(SUBJECT, Outcome::Warn, note.clone())));
    checks
}

fn huge_pages(host: &Host) -> Check {
    const SUBJECT: &str = "huge pages";
    let pools = host.free().unwrap_or_default();
    let words: Vec<String> = pools
        .iter()
        .flat_map(|node| node.pools.iter().map(move |pool| (node.node, pool)))
        .filter(|(_, pool)| pool.total > 0)
        .map(|(node, pool)| format!("node {node}: {} of {} × {} free", pool.free, pool.total, pool.size))
        .collect();
    if words.is_empty() {
        Check::new(SUBJECT, Outcome::NotApplicable, "none are reserved")
            .remedy("vm.nr_hugepages, or nr_hugepages of a node in /sys, for guests that ask for them")
    } else {
        Check::new(SUBJECT, Outcome::Pass, words.join(", "))
    }
}

fn demotion(host: &Host) -> Check {
    const SUBJECT: &str = "memory demotion";
    match host.demotion_enabled() {
        None => Check::new(SUBJECT, Outcome::NotApplicable, "the kernel has no switch for it"),
        Some(false) => Check::new(SUBJECT, Outcome::Pass, "off"),
        Some(true) => Check::new(
            SUBJECT,
            Outcome::Warn,
            "on: the kernel may move pages to slower nodes, also out of a strict binding",
        )
        .remedy("echo false > /sys/kernel/mm/numa/demotion_enabled"),
    }
}

fn iommu(host: &Host) -> Check {
    const SUBJECT: &str = "IOMMU";
    let groups = std::fs::read_dir(host.root().join("sys/kernel/iommu_groups")).map_or(0, Iterator::count);
    if groups > 0 {
        return Check::new(SUBJECT, Outcome::Pass, format!("{groups} groups"));
    }
    Check::new(SUBJECT, Outcome::Warn, "there are no IOMMU groups: no devices can be assigned to guests")
        .remedy("enable it in the firmware and by the kernel's command line (intel_iommu=on)")
}
