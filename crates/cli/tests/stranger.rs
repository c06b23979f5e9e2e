//! What the documentation says of refusals and placements is what the command prints.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod root;
mod trees;

use root::Root;
use trees::{Node, host};

const DOCUMENTED: &str = include_str!("../../../docs/numa.md");
const GIB: u64 = 1 << 10;

/// A node of so many CPUs, two a core if `smt`, with this memory in GiB.
fn node(id: u32, cpus: u32, smt: bool, gib: u64) -> Node {
    let first = id * cpus;
    let cores = match smt {
        false => (first..first + cpus).map(|cpu| vec![cpu]).collect(),
        true => (first..first + cpus / 2).map(|cpu| vec![cpu, cpu + cpus / 2]).collect(),
    };
    Node { id, cores, memory: gib * GIB, free: gib * GIB, pool: (0, 0, 0) }
}

struct Stranger {
    root: Root,
}

impl Stranger {
    fn tree(&self, name: &str, nodes: &[Node], distance: impl Fn(usize, usize) -> u32) -> String {
        let dir = self.root.path().join(name);
        host(&dir, nodes, |a, b| if a == b { 10 } else { distance(a, b) });
        dir.display().to_string()
    }

    fn guest(&self, gib: u64, vcpus: u32, placement: &str, more: &str) -> String {
        let text = format!(
            "<domain type='kvm'><name>g</name><memory unit='GiB'>{gib}</memory><vcpu {placement}>{vcpus}</vcpu>{more}\
             <os><type arch='x86_64'>hvm</type></os></domain>"
        );
        self.root.file("g.xml", &text)
    }

    /// Such a guest is refused on this host, and the documentation says with which words.
    fn refused(&self, tree: &str, (gib, vcpus, placement, more): (u64, u32, &str, &str)) {
        let file = self.guest(gib, vcpus, placement, more);
        let line = self.root.refused(&["numa", "plan", &file, "--sysroot", tree]);
        let (_, said) = line.split_once("guest 'g' cannot be placed: ").unwrap();
        let (reason, remedy) = said.split_once("; ").unwrap();
        let whole = DOCUMENTED.contains(&format!("| {reason}; {remedy} |"));
        // Where the remedy is one that stands in the table already it is cut there.
        let cut = DOCUMENTED.lines().any(|line| line.contains(&format!("| {reason}; ")) && line.ends_with("… |"));
        assert!(whole || cut, "{said}");
    }

    /// Such an automatic guest is put there at that cost, and the documentation says so.
    fn placed(&self, tree: &str, (gib, vcpus, more): (u64, u32, &str), chosen: &str, cost: &str, documented: &str) {
        let file = self.guest(gib, vcpus, AUTO, more);
        let text = self.root.ok(&["numa", "plan", &file, "--sysroot", tree]);
        let (cpus, memory) = chosen.split_once(' ').unwrap();
        let row = |line: &&str| line.starts_with('✓');
        let row: Vec<&str> = text.lines().find(row).unwrap().split_whitespace().collect();
        assert_eq!(row[..4], ["✓", cpus, memory, cost], "{text}");
        let said = format!("| {documented}, {cost} |");
        assert!(DOCUMENTED.contains(&said), "{said}");
    }
}

const AUTO: &str = "placement='auto'";

#[test]
fn refusals() {
    let it = Stranger { root: Root::new() };
    let huge = |size: u32, unit: &str| {
        format!("<memoryBacking><hugepages><page size='{size}' unit='{unit}'/></hugepages></memoryBacking>")
    };
    let on = |nodes: &str| format!("<numatune><memory mode='strict' nodeset='{nodes}'/></numatune>");
    let two = it.tree("two", &[node(0, 4, false, 8), node(1, 4, false, 8)], |_, _| 21);
    it.refused(&two, (17, 2, AUTO, ""));
    it.refused(&two, (12, 2, "", &on("0")));
    it.refused(&two, (4, 2, "", &on("0,3")));
    it.refused(&two, (4, 2, AUTO, &huge(2, "MiB")));
    let wish = |attributes: &str, inner: &str| {
        let namespace = "https://polyvirt.org/xmlns/placement/1.0";
        format!("<metadata><p:placement xmlns:p='{namespace}' {attributes}>{inner}</p:placement></metadata>")
    };
    let pins = "<cputune><vcpupin vcpu='0' cpuset='0'/></cputune>";
    it.refused(&two, (4, 9, AUTO, &wish("cpus='dedicated'", "")));
    it.refused(&two, (4, 2, AUTO, &(wish("cpus='dedicated'", "") + pins)));
    it.refused(&two, (4, 2, AUTO, &wish("", "<p:headroom unit='GiB'>13</p:headroom>")));
    it.refused(&two, (4, 2, "", "<cputune><vcpupin vcpu='0' cpuset='99'/></cputune>"));
    let pool = |id, free| Node { pool: (1 << 20, 16, free), free: 12 * GIB, ..node(id, 4, false, 32) };
    let pages = it.tree("pages", &[pool(0, 2), pool(1, 16)], |_, _| 21);
    it.refused(&pages, (4, 2, "", &(on("0") + &huge(1, "GiB"))));
    it.refused(&pages, (40, 2, AUTO, &huge(1, "GiB")));
    it.refused(&pages, (4, 2, AUTO, &huge(2, "MiB")));
    let device = |id, gib| Node { id, ..node(0, 0, false, gib) };
    let one = it.tree("one", &[node(0, 4, false, 8), device(252, 64)], |_, _| 80);
    it.refused(&one, (16, 2, AUTO, ""));
    let devices = (0..32).map(|at| device(252 + at, if at % 16 == 0 { 186 } else { 0 }));
    let nodes: Vec<Node> = [node(0, 72, false, 480), node(1, 72, false, 480)].into_iter().chain(devices).collect();
    let socket = |at: usize| if at < 2 { at } else { (at - 2) / 16 };
    let accelerators = it.tree("accelerators", &nodes, |a, b| match (a < 2 && b < 2, socket(a) == socket(b)) {
        (true, _) => 40,
        (_, true) => 80,
        _ => 120,
    });
    it.refused(&accelerators, (1000, 100, AUTO, ""));
    it.placed(&accelerators, (64, 16, ""), "0 0", "0.002", "node 0");
    let named = it.guest(16, 2, "", &on("252"));
    let text = it.root.ok(&["numa", "plan", &named, "--sysroot", &accelerators]);
    assert!(text.contains("memory    16 GiB on node 252 (strict)"), "{text}");
    assert!(text.contains("placement is static: nothing was searched"), "{text}");
}

#[test]
fn placements() {
    let it = Stranger { root: Root::new() };
    let all = |count, cpus, gib| (0..count).map(|id| node(id, cpus, true, gib)).collect::<Vec<_>>();
    let bare = |node: Node| if matches!(node.id, 0 | 2) { Node { memory: 0, free: 0, ..node } } else { node };
    let nodes: Vec<Node> = all(8, 8, 32).into_iter().map(bare).collect();
    let memoryless = it.tree("memoryless", &nodes, |_, _| 20);
    it.placed(&memoryless, (4, 4, ""), "1 1", "0.040", "node 1");
    let small = it.tree("small", &[node(0, 32, true, 16), node(1, 32, true, 128), node(2, 32, true, 128)], |_, _| 20);
    it.placed(&small, (60, 16, ""), "1 1", "0.060", "node 1");
    let sockets = |a: usize, b: usize| if a / 4 == b / 4 { 12 } else { 32 };
    let left = |node: Node| Node { free: if node.id == 5 { 68 * GIB } else { 24 * GIB + 410 }, ..node };
    let full: Vec<Node> = all(8, 32, 128).into_iter().map(left).collect();
    let full = it.tree("full", &full, sockets);
    it.placed(&full, (24, 4, ""), "5 5", "0.043", "node 5");
    it.placed(&full, (24, 24, ""), "4-5 5", "0.205", "CPUs from 4-5, memory from 5");
    let empty = it.tree("empty", &all(8, 32, 128), sockets);
    it.placed(&empty, (100, 48, ""), "0-2 0-2", "0.279", "nodes 0-2");
    it.placed(&empty, (16, 8, ""), "0 0", "0.004", "node 0");
    let device = std::path::Path::new(&empty).join("sys/bus/pci/devices/0000:c1:00.0");
    std::fs::create_dir_all(&device).unwrap();
    std::fs::write(device.join("numa_node"), "6").unwrap();
    let near = "<metadata><p:placement xmlns:p='https://polyvirt.org/xmlns/placement/1.0'>\
                <p:near pci='0000:c1:00.0'/></p:placement></metadata>";
    it.placed(&empty, (16, 8, near), "6 6", "0.004", "node 6");
    let ring = it.tree("ring", &all(8, 32, 128), |a, b| match a.abs_diff(b).min(8 - a.abs_diff(b)) {
        1 => 16,
        2 => 22,
        _ => 28,
    });
    it.placed(&ring, (200, 48, ""), "0-2 0-1", "0.686", "CPUs from 0-2, memory from 0-1");
    let memory = |id| Node { id, ..node(0, 0, false, 128) };
    let rows = [[10, 21, 24, 34], [21, 10, 34, 24], [24, 34, 10, 44], [34, 24, 44, 10]];
    let nodes = [node(0, 64, true, 256), node(1, 64, true, 256), memory(2), memory(3)];
    let cxl = it.tree("cxl", &nodes, |a, b| rows[a][b]);
    it.placed(&cxl, (300, 32, ""), "0 0-1", "0.336", "CPUs from 0, memory from 0-1");
}
