//! Hosts as trees of text files.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses a part of it")]

use std::{fmt::Write as _, path::Path};

/// A node: its number, its cores, its memory and what is free of it in MiB, and a pool: KiB of a page, pages there and free.
pub struct Node {
    pub id: u32,
    pub cores: Vec<Vec<u32>>,
    pub memory: u64,
    pub free: u64,
    pub pool: (u64, u64, u64),
}

/// Writes a host. Node 252 and above are devices' memory.
pub fn host(dir: &Path, nodes: &[Node], distance: impl Fn(usize, usize) -> u32) {
    let write = |path: String, text: String| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text + "\n").unwrap();
    };
    let list = |numbers: &mut dyn Iterator<Item = u32>| numbers.map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    for (at, node) in nodes.iter().enumerate() {
        let of = format!("sys/devices/system/node/node{}", node.id);
        write(format!("{of}/cpulist"), list(&mut node.cores.iter().flatten().copied()));
        let mut distances = String::new();
        (0..nodes.len()).for_each(|to| write!(distances, "{} ", distance(at, to)).unwrap());
        write(format!("{of}/distance"), distances);
        let (id, memory, free) = (node.id, node.memory << 10, node.free << 10);
        write(format!("{of}/meminfo"), format!("Node {id} MemTotal: {memory} kB\nNode {id} MemFree: {free} kB"));
        let (size, total, free) = node.pool;
        if size > 0 {
            write(format!("{of}/hugepages/hugepages-{size}kB/nr_hugepages"), total.to_string());
            write(format!("{of}/hugepages/hugepages-{size}kB/free_hugepages"), free.to_string());
        }
        for core in &node.cores {
            for cpu in core {
                let of = format!("sys/devices/system/cpu/cpu{cpu}");
                write(format!("{of}/topology/thread_siblings_list"), list(&mut core.iter().copied()));
            }
        }
    }
    let cpus = nodes.iter().flat_map(|node| node.cores.iter().flatten().copied());
    write("sys/devices/system/cpu/online".to_owned(), list(&mut cpus.clone()));
    write("sys/devices/system/cpu/possible".to_owned(), list(&mut cpus.clone()));
    write("sys/devices/system/node/online".to_owned(), list(&mut nodes.iter().map(|node| node.id)));
    let ordinary = nodes.iter().filter(|node| node.id < 252).map(|node| node.id);
    write("sys/devices/system/node/has_normal_memory".to_owned(), list(&mut ordinary.clone()));
    write("proc/meminfo".to_owned(), "MemTotal: 100663296 kB\nHugepagesize: 2048 kB".to_owned());
    write("proc/sys/kernel/osrelease".to_owned(), "6.1.0".to_owned());
    write("sys/bus/pci/devices/0000:81:00.0/numa_node".to_owned(), nodes[0].id.to_string());
    write("sys/bus/pci/devices/0000:81:00.0/class".to_owned(), "0x020000".to_owned());
}
