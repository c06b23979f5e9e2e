use std::fs;

use super::*;

/// Writes `path content` pairs below a temporary root.
fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let host = Host::at(root.path());
    (root, host)
}

/// Two nodes with one socket of two cores of two threads each.
fn server() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = [
        ("sys/devices/system/cpu/online", "0-7"),
        ("sys/devices/system/node/online", "0-1"),
        ("sys/devices/system/node/node0/cpulist", "0-3"),
        ("sys/devices/system/node/node1/cpulist", "4-7"),
        ("sys/devices/system/node/node0/distance", "10 21"),
        ("sys/devices/system/node/node1/distance", "21 10"),
        ("sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 4000000 kB\nNode 0 MemFree: 1000000 kB"),
        ("sys/devices/system/node/node1/meminfo", "Node 1 MemTotal: 4000000 kB\nNode 1 MemFree: 3000000 kB"),
        ("sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "8"),
        ("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "5"),
        ("sys/kernel/mm/numa/demotion_enabled", "true"),
        ("sys/kernel/iommu_groups/0/type", "DMA"),
        ("proc/meminfo", "MemTotal:  8000000 kB\nMemFree:   4000000 kB\n"),
        ("proc/cpuinfo", "processor : 0\ncpu MHz\t\t: 2594.613\nflags\t\t: fpu svm lm\n"),
        ("proc/sys/kernel/osrelease", "6.12.1-test\n"),
        ("proc/sys/kernel/arch", "x86_64\n"),
        ("proc/sys/kernel/random/boot_id", "1-2-3\n"),
        ("proc/self/cgroup", "0::/user.slice/us\n"),
        ("proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n"),
        ("sys/fs/cgroup/user.slice/us/cgroup.controllers", "cpuset cpu io memory pids"),
        ("sys/fs/cgroup/user.slice/us/cgroup.subtree_control", "memory pids"),
        ("sys/fs/cgroup/user.slice/us/cgroup.procs", ""),
        ("dev/kvm", ""),
    ]
    .map(|(path, content)| (path.to_owned(), content.to_owned()))
    .into();
    for cpu in 0..8 {
        let dir = format!("sys/devices/system/cpu/cpu{cpu}/topology");
        let first = cpu / 2 * 2;
        files.push((format!("{dir}/thread_siblings_list"), format!("{first}-{}", first + 1)));
        files.push((format!("{dir}/physical_package_id"), (cpu / 4).to_string()));
        files.push((format!("{dir}/core_id"), (cpu / 2).to_string()));
    }
    files
}

fn of(files: &[(String, String)]) -> (tempfile::TempDir, Host) {
    let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
    tree(&files)
}

fn check<'a>(checks: &'a [Check], subject: &str) -> &'a Check {
    checks.iter().find(|check| check.subject == subject).unwrap()
}

#[test]
fn node_info_of_a_regular_server() {
    let (_root, host) = of(&server());
    let info = host.node_info().unwrap();
    assert_eq!((info.nodes, info.sockets, info.cores, info.threads, info.cpus), (2, 1, 2, 2, 8));
    assert_eq!((info.model.as_str(), info.mhz, info.memory), ("x86_64", 2594, Some(Kib(8_000_000))));
}

#[test]
fn node_info_counts_an_offline_cpu_in_the_shape_and_not_among_the_cpus() {
    let mut files = server();
    files[0].1 = "0-6".to_owned();
    let (_root, host) = of(&files);
    let info = host.node_info().unwrap();
    assert_eq!((info.nodes, info.sockets, info.cores, info.threads), (2, 1, 2, 2));
    assert_eq!((info.cpus, info.max_cpus), (7, 8));
    assert_eq!(host.cpu(7).unwrap(), None);
}

#[test]
fn node_info_of_an_irregular_server_multiplies_to_its_cpus() {
    let mut files = server();
    // One core without a second thread.
    files.retain(|(path, _)| !path.contains("/cpu7/"));
    let (_root, host) = of(&files);
    let info = host.node_info().unwrap();
    assert_eq!((info.nodes, info.sockets, info.cores, info.threads, info.cpus), (1, 1, 7, 1, 7));
}

#[test]
fn a_cpu_has_its_place_and_its_ticks() {
    let mut files = server();
    files.push(("sys/devices/system/cpu/cpu5/topology/die_id".into(), "1".into()));
    files.push(("sys/devices/system/cpu/cpu5/topology/cluster_id".into(), "-1".into()));
    files.push(("proc/stat".into(), "cpu  10 1 5 100 7 2 1 0 0 0\ncpu0 10 1 5 100 7 2 1\nintr 5".into()));
    let (_root, host) = of(&files);
    let place = host.cpu(5).unwrap().unwrap();
    assert_eq!((place.socket, place.die, place.cluster, place.core), (1, 1, 0, 2));
    assert_eq!(place.siblings.to_string(), "4-5");
    let ticks = host.cpu_ticks().unwrap();
    assert_eq!(ticks.keys().collect::<Vec<_>>(), ["cpu", "cpu0"]);
    assert_eq!((ticks["cpu"].user, ticks["cpu"].kernel, ticks["cpu"].idle, ticks["cpu"].iowait), (11, 8, 100, 7));
}

#[test]
fn caches_are_counted_once_and_can_be_allotted_in_steps() {
    let index = |cpu: u32, index: u32, level: &str, id: &str, kib: &str, cpus: &str| {
        let dir = format!("sys/devices/system/cpu/cpu{cpu}/cache/index{index}");
        [("level", level), ("id", id), ("size", kib), ("type", "Unified"), ("shared_cpu_list", cpus)]
            .map(|(file, text)| (format!("{dir}/{file}"), text.to_owned()))
    };
    let mut files = server();
    for cpu in 0..8 {
        let half = if cpu < 4 { ("0", "0-3") } else { ("1", "4-7") };
        files.extend(index(cpu, 0, "1", "9", "32K", "0"));
        files.extend(index(cpu, 3, "3", half.0, "10240K", half.1));
    }
    let resctrl = [
        ("L3/cbm_mask", "3ff"),
        ("L3/min_cbm_bits", "2"),
        ("L3/num_closids", "4"),
        ("L3_MON/num_rmids", "9"),
        ("L3_MON/max_threshold_occupancy", "77"),
        ("L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nsomething_else"),
    ];
    files.extend(resctrl.map(|(file, text)| (format!("sys/fs/resctrl/info/{file}"), text.to_owned())));
    let (_root, host) = of(&files);
    let caches = host.caches().unwrap();
    let banks: Vec<_> = caches.banks.iter().map(|b| (b.level, b.id, b.kib, b.cpus.as_str())).collect();
    assert_eq!(banks, [(3, 0, 10240, "0-3"), (3, 1, 10240, "4-7")]);
    let control = caches.banks[1].controls[0];
    assert_eq!((control.granularity_kib, control.min_kib, control.max_allocations), (1024, Some(2048), 4));
    let monitor = caches.cache_monitor.unwrap();
    assert_eq!((monitor.features, monitor.reuse_threshold), (vec!["llc_occupancy".to_owned()], Some(77)));
    let monitor = caches.bandwidth_monitor.unwrap();
    assert_eq!((monitor.features, monitor.reuse_threshold), (vec!["mbm_total_bytes".to_owned()], None));
    assert_eq!(caches.bandwidth, None);
}

#[test]
fn what_the_firmware_tells_of_memory() {
    let mut files = server();
    let figures = [("read_latency", "80"), ("write_latency", "90"), ("read_bandwidth", "1000"), ("node0/uevent", "")];
    for class in [0, 1] {
        let dir = format!("sys/devices/system/node/node1/access{class}/initiators");
        files.extend(figures.map(|(file, text)| (format!("{dir}/{file}"), text.to_owned())));
    }
    let cache = [("size", "4096"), ("line_size", "64"), ("indexing", "1"), ("write_policy", "0")];
    let dir = "sys/devices/system/node/node1/memory_side_cache/index1";
    files.extend(cache.map(|(file, text)| (format!("{dir}/{file}"), text.to_owned())));
    let (_root, host) = of(&files);
    let found = host.interconnects().unwrap();
    assert_eq!(found.len(), 1, "one class is told: {found:?}");
    assert_eq!(
        (found[0].initiator, found[0].target, found[0].read_latency, found[0].write_bandwidth),
        (0, 1, Some(80), None)
    );
    let caches = host.memory_side_caches(HostNode(1)).unwrap();
    assert_eq!((caches[0].associativity, caches[0].policy, caches[0].bytes), ("full", "writeback", 4096));
    assert!(host.memory_side_caches(HostNode(0)).unwrap().is_empty() && host.has_iommu());
}

#[test]
fn free_memory_and_pages_by_node() {
    let (_root, host) = of(&server());
    let free = host.free().unwrap();
    assert_eq!(free.iter().map(|f| (f.node.0, f.free.0)).collect::<Vec<_>>(), [(0, 1_000_000), (1, 3_000_000)]);
    assert_eq!(free[1].pools, [PagePool::new(Kib(2048), 8, 5)]);
    assert_eq!(host.free_memory().unwrap(), Kib(4_000_000));
}

#[test]
fn cgroup_version_2() {
    let (_root, host) = of(&server());
    let layout = host.cgroups().unwrap();
    let v2 = layout.v2.as_ref().unwrap();
    assert_eq!((v2.own.as_str(), v2.directory.to_str()), ("/user.slice/us", Some("/sys/fs/cgroup/user.slice/us")));
    assert!(v2.writable && layout.has("cpuset") && !layout.has("devices") && layout.v1.is_empty());
    let directory = PathBuf::from("/sys/fs/cgroup/user.slice/us");
    assert_eq!(layout.cpuset(), Cpuset::V2 { directory, delegated: false });
    let kernel = host.kernel_support();
    assert!(kernel.cpuset && kernel.preferred_many && kernel.weighted_interleave);
}

#[test]
fn cgroup_version_2_without_cpuset_or_rights() {
    let mut files = server();
    files.retain(|(path, _)| !path.ends_with("cgroup.procs"));
    let (_root, host) = of(&files);
    assert!(matches!(host.cgroups().unwrap().cpuset(), Cpuset::None(why) if why.contains("cannot be written")));
    for (path, content) in &mut files {
        if path.ends_with("cgroup.controllers") {
            *content = "memory".to_owned();
        }
    }
    let (_root, host) = of(&files);
    assert!(matches!(host.cgroups().unwrap().cpuset(), Cpuset::None(why) if why.contains("no cpuset controller")));
    assert!(!host.kernel_support().cpuset);
}

#[test]
fn cgroup_version_1_beside_version_2() {
    let (_root, host) = tree(&[
        (
            "proc/self/mountinfo",
            "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             34 31 0:31 /pod /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
             40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        ),
        ("proc/self/cgroup", "9:name=systemd:/s\n3:cpuset:/pod/us\n2:cpu,cpuacct:/\n0::/\n"),
        ("sys/fs/cgroup/cpuset/us/cgroup.procs", ""),
    ]);
    let layout = host.cgroups().unwrap();
    assert_eq!(layout.v1_of("cpuacct").unwrap().directory, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
    assert!(!layout.v1_of("cpuacct").unwrap().writable);
    assert_eq!(layout.cpuset(), Cpuset::V1(PathBuf::from("/sys/fs/cgroup/cpuset/us")));
    assert_eq!(layout.v1_of("name=systemd").unwrap().own, "/s");
    assert!(layout.v2.is_some_and(|v2| v2.controllers.is_empty()));
}

#[test]
fn our_own_cgroup_limits_what_can_be_used() {
    let mut files = server();
    let (_root, host) = of(&files);
    assert_eq!(host.usable().unwrap(), host.topology().unwrap());
    let own = "sys/fs/cgroup/us".to_owned();
    files.retain(|(path, _)| path != "proc/self/cgroup");
    files.extend([
        ("proc/self/cgroup".to_owned(), "0::/us\n".to_owned()),
        (format!("{own}/cpuset.cpus.effective"), "2-5\n".to_owned()),
        (format!("{own}/cpuset.mems.effective"), "1\n".to_owned()),
    ]);
    let (_root, host) = of(&files);
    let usable = host.usable().unwrap();
    assert_eq!(usable.online_cpus().to_string(), "2-5");
    assert_eq!(usable.memory_nodes().to_string(), "1");
    assert!(host.topology().unwrap().online_cpus().len() > 4);
}

#[test]
fn the_memory_limit_of_our_cgroup_or_one_above_it_bounds_all_guests() {
    let limit = |files: &[(&str, &str)]| {
        let mut all = server();
        all.retain(|(path, _)| !files.iter().any(|(other, _)| path == other));
        all.extend(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
        let (_root, host) = of(&all);
        let usable = host.usable().unwrap();
        assert_eq!(host.topology().unwrap().limit(), None, "the host is what it is");
        usable.limit().map(|limit| (limit.size.0, limit.by.clone()))
    };
    let found = |kib: u64, file: &str| Some((kib, file.to_owned()));
    let (own, above) = ("sys/fs/cgroup/user.slice/us/memory.max", "sys/fs/cgroup/user.slice/memory.max");
    assert_eq!(limit(&[]), None);
    assert_eq!(limit(&[(own, "max\n"), (above, "max\n")]), None);
    assert_eq!(limit(&[(own, "2147483648\n"), (above, "max\n")]), found(2 << 20, &format!("/{own}")));
    assert_eq!(limit(&[(own, "2147483648\n"), (above, "1073741824\n")]), found(1 << 20, &format!("/{above}")));
    assert_eq!(limit(&[(own, "99999999999999\n")]), None, "more than there is");
    for text in ["", "-1", "garbage", "99999999999999999999999"] {
        assert_eq!(limit(&[(own, text)]), None, "{text}");
    }
    let v1 = [
        ("proc/self/mountinfo", "34 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"),
        ("proc/self/cgroup", "4:memory:/pod/us\n"),
        ("sys/fs/cgroup/memory/pod/us/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "3221225472\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
    ];
    assert_eq!(limit(&v1), found(3 << 20, "/sys/fs/cgroup/memory/pod/memory.limit_in_bytes"));
}

#[test]
fn checks_tell_what_is_wrong_and_what_to_do() {
    let (_root, host) = of(&server());
    let checks = host.checks();
    for (subject, outcome) in [
        ("hardware virtualisation", Outcome::Pass),
        ("device /dev/kvm", Outcome::Pass),
        ("device /dev/net/tun", Outcome::Warn),
        ("cgroup controller cpuset", Outcome::Pass),
        ("cgroup controller io", Outcome::Pass),
        ("cgroup controller devices", Outcome::NotApplicable),
        ("NUMA topology", Outcome::Pass),
        ("huge pages", Outcome::Pass),
        ("memory demotion", Outcome::Warn),
        ("IOMMU", Outcome::Pass),
    ] {
        assert_eq!(check(&checks, subject).outcome, outcome, "{subject}");
    }
    assert!(check(&checks, "huge pages").detail.contains("node 1: 5 of 8 × 2 MiB free"));
    assert!(checks.iter().filter(|c| c.outcome == Outcome::Warn).all(|c| c.remedy.is_some()));
}

#[test]
fn the_node_of_a_pci_function() {
    let (_root, host) = tree(&[
        ("sys/bus/pci/devices/0000:81:00.0/numa_node", "1\n"),
        ("sys/bus/pci/devices/0000:00:1f.2/numa_node", "-1\n"),
        ("sys/bus/pci/secret/numa_node", "7\n"),
    ]);
    let node = |function| host.pci_node(function).unwrap().map(|node| node.0);
    assert_eq!(node("0000:81:00.0"), Some(1));
    for unknown in ["0000:00:1f.2", "0000:82:00.0", "", "../secret"] {
        assert_eq!(node(unknown), None, "{unknown}");
    }
}

#[test]
fn an_empty_root_fails_with_reasons_and_does_not_panic() {
    let (_root, host) = tree(&[]);
    assert!(matches!(host.node_info(), Err(HostError::Missing(_))));
    assert!(matches!(host.cgroups(), Err(HostError::Missing(_))));
    assert!(matches!(host.kernel_release(), Err(HostError::Missing(_))));
    assert_eq!(host.demotion_enabled(), None);
    let kvm = host.kvm();
    assert!(!kvm.present && !kvm.usable && kvm.reason.is_some());
    let checks = host.checks();
    assert_eq!(check(&checks, "NUMA topology").outcome, Outcome::Fail);
    assert_eq!(check(&checks, "cgroups").outcome, Outcome::Warn);
    assert!(!host.kernel_support().cpuset);
}

#[test]
fn what_stands_where_a_device_should_is_not_opened_if_that_could_block() {
    let (root, host) = tree(&[("dev/kvm/inside", "")]);
    let kvm = host.kvm();
    assert!(kvm.present && !kvm.usable && !kvm.is_device);
    assert_eq!(kvm.path, root.path().join("dev/kvm"));
}

#[test]
fn this_host_can_be_described() {
    let host = Host::this();
    let info = host.node_info().unwrap();
    assert!(info.cpus > 0 && info.memory > Some(Kib::ZERO));
    assert_eq!(info.nodes * info.sockets * info.cores * info.threads, info.cpus);
    assert!(!host.boot_id().unwrap().is_empty() && !host.architecture().is_empty());
    host.cgroups().unwrap();
    assert!(host.checks().len() > 8);
    let text = serde_json::to_string(&host.checks()).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Check>>(&text).unwrap(), host.checks());
}
