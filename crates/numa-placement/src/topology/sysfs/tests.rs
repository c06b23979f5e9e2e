use super::*;

/// Writes `path content` pairs below a temporary root.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

fn two_nodes() -> Vec<(&'static str, &'static str)> {
    vec![
        ("sys/devices/system/cpu/online", "0-3\n"),
        ("sys/devices/system/cpu/possible", "0-7\n"),
        ("sys/devices/system/cpu/isolated", "3\n"),
        ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0-1\n"),
        ("sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "2-3\n"),
        ("sys/devices/system/cpu/cpu0/cache/index0/level", "1\n"),
        ("sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list", "0\n"),
        ("sys/devices/system/cpu/cpu0/cache/index1/level", "3\n"),
        ("sys/devices/system/cpu/cpu0/cache/index1/shared_cpu_list", "0-1\n"),
        ("sys/devices/system/node/online", "0,8\n"),
        ("sys/devices/system/node/has_normal_memory", "0\n"),
        ("sys/devices/system/node/node0/cpulist", "0-3\n"),
        ("sys/devices/system/node/node0/distance", "10 40\n"),
        (
            "sys/devices/system/node/node0/meminfo",
            "Node 0 MemTotal:  2097152 kB\nNode 0 MemFree: 1048576 kB\nNode 0 Active(file): 9 kB\nNode 0 Inactive(file): 2048 kB\n",
        ),
        ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "10\n"),
        ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "7\n"),
        ("sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages", "0\n"),
        ("sys/devices/system/node/node8/cpulist", "\n"),
        ("sys/devices/system/node/node8/distance", "40 10\n"),
        ("sys/devices/system/node/node8/meminfo", "Node 8 MemTotal: 4194304 kB\nNode 8 MemFree: 4194304 kB\n"),
        ("proc/meminfo", "MemTotal: 6291456 kB\nHugepagesize:       2048 kB\n"),
    ]
}

#[test]
fn reads_nodes_memory_pools_and_groups() {
    let root = tree(&two_nodes());
    let host = HostTopology::from_sysfs(root.path()).unwrap();
    assert_eq!(host.online_nodes().to_string(), "0,8");
    assert_eq!(host.isolated_cpus().to_string(), "3");
    assert_eq!(host.possible_cpus().to_string(), "0-7");
    assert_eq!(host.default_huge(), Some(Kib(2048)));
    assert_eq!(host.base_page(), Kib(4));
    assert_eq!(host.distance(HostNode(0), HostNode(8)), 40);
    let node = host.node(HostNode(0)).unwrap();
    assert_eq!((node.memory, node.free, node.reclaimable), (Kib(2_097_152), Kib(1_048_576), Kib(2048)));
    assert_eq!(node.reserve, Kib(2_097_152 / 20));
    assert_eq!(node.pools, [PagePool::new(Kib(2048), 10, 7), PagePool::new(Kib(1 << 20), 0, 0)]);
    assert_eq!(node.cores, [CpuSet::of_range(0, 1), CpuSet::of_range(2, 3)]);
    assert_eq!(node.caches, [CpuSet::of_range(0, 1), CpuSet::of_range(2, 2), CpuSet::of_range(3, 3)]);
    assert!(host.notes().is_empty(), "{:?}", host.notes());
}

#[test]
fn memory_for_movable_pages_only_is_a_devices() {
    let mut files = two_nodes();
    let root = tree(&files);
    let kind = |root: &Path| HostTopology::from_sysfs(root).unwrap().node(HostNode(8)).unwrap().kind;
    assert_eq!(kind(root.path()), NodeKind::DeviceMemory);
    files.retain(|(path, _)| !path.ends_with("has_normal_memory"));
    assert_eq!(kind(tree(&files).path()), NodeKind::MemoryOnly);
}

#[test]
fn weights_of_nodes_are_read_and_without_any_all_are_alike() {
    let mut files = two_nodes();
    let weights = |files: &[(&str, &str)]| {
        let host = HostTopology::from_sysfs(tree(files).path()).unwrap();
        host.nodes().iter().map(|node| node.weight).collect::<Vec<_>>()
    };
    assert_eq!(weights(&files), [1, 1]);
    files.push(("sys/kernel/mm/mempolicy/weighted_interleave/node0", "4\n"));
    files.push(("sys/kernel/mm/mempolicy/weighted_interleave/node1", "odd\n"));
    assert_eq!(weights(&files), [4, 1]);
}

#[test]
fn a_host_without_nodes_is_one_node() {
    let root = tree(&[
        ("sys/devices/system/cpu/online", "0-1\n"),
        ("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 600 kB\n"),
        ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "3\n"),
    ]);
    let host = HostTopology::from_sysfs(root.path()).unwrap();
    assert_eq!(host.nodes().len(), 1);
    assert_eq!((host.nodes()[0].memory, host.nodes()[0].pools[0].total), (Kib(1000), 3));
    assert_eq!(host.notes().len(), 1);
}

#[test]
fn offline_cpus_and_nodes_without_a_directory_do_not_appear() {
    let mut files = two_nodes();
    files.retain(|(path, _)| !path.contains("node8"));
    for (path, content) in &mut files {
        if path.ends_with("cpu/online") {
            *content = "0-1";
        }
    }
    let host = HostTopology::from_sysfs(tree(&files).path()).unwrap();
    assert_eq!(host.online_nodes().to_string(), "0");
    assert_eq!(host.online_cpus().to_string(), "0-1");
    assert_eq!(host.nodes()[0].cores, [CpuSet::of_range(0, 1)]);
}

#[test]
fn an_unreadable_distance_falls_back() {
    let mut files = two_nodes();
    for (path, content) in &mut files {
        if path.ends_with("node0/distance") {
            *content = "10 forty";
        }
    }
    let host = HostTopology::from_sysfs(tree(&files).path()).unwrap();
    assert_eq!(host.distance(HostNode(0), HostNode(8)), 20);
    assert_eq!(host.distance(HostNode(8), HostNode(0)), 40);
    assert_eq!(host.notes().len(), 1);
}

#[test]
fn hostile_trees_are_refused_and_not_swallowed() {
    let error = HostTopology::from_sysfs(tree(&[]).path()).unwrap_err();
    assert!(error.to_string().contains("no online CPU"), "{error}");
    let error = HostTopology::from_sysfs(tree(&[("sys/devices/system/cpu/online", "0-99999")]).path()).unwrap_err();
    assert!(error.to_string().contains("'99999' is too large"), "{error}");
    let long = "0,".repeat(300_000);
    let error = HostTopology::from_sysfs(tree(&[("sys/devices/system/cpu/online", &long)]).path()).unwrap_err();
    assert!(matches!(error, TopologyError::TooLong { .. }), "{error}");
    let error = HostTopology::from_sysfs(tree(&[("sys/devices/system/node/online", "0-4999")]).path()).unwrap_err();
    assert!(matches!(error, TopologyError::TooManyNodes(5000)), "{error}");
}

#[test]
fn this_machine_can_be_read() {
    let host = HostTopology::from_sysfs(Path::new("/")).unwrap();
    assert!(!host.online_cpus().is_empty());
    assert!(host.memory() > Kib::ZERO);
}

#[test]
fn latencies_sharpen_the_distances_of_memory_without_cpus() {
    let mut files = two_nodes();
    files.extend([
        ("sys/devices/system/node/node0/access0/initiators/node0/uevent", ""),
        ("sys/devices/system/node/node0/access0/initiators/read_latency", "100\n"),
        ("sys/devices/system/node/node8/access0/initiators/node0/uevent", ""),
        ("sys/devices/system/node/node8/access0/initiators/read_latency", "300\n"),
    ]);
    let root = tree(&files);
    let host = HostTopology::from_sysfs(root.path()).unwrap();
    assert_eq!((host.distance(HostNode(0), HostNode(8)), host.distance(HostNode(8), HostNode(0))), (30, 40));
    assert!(host.notes()[0].contains("nodes 8 are by its latency"), "{:?}", host.notes());
}
