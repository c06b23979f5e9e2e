use polyvirt::placement::PagePool;

use super::*;
use crate::picture::{style::Style, terminal};

/// Hosts of one, two and very many nodes, with the number of the last.
pub(crate) fn hosts() -> &'static [(Picture, u32); 3] {
    static HOSTS: std::sync::OnceLock<[(Picture, u32); 3]> = std::sync::OnceLock::new();
    HOSTS.get_or_init(|| [1, 2, 4096].map(|nodes| (of(&uniform(nodes)), nodes - 1)))
}

fn uniform(nodes: u32) -> HostTopology {
    HostTopology::uniform(nodes, 2, Kib::from_gib(8)).build().unwrap()
}

fn of(topology: &HostTopology) -> Picture {
    let promised = Promised::default();
    picture("a host", Facts { topology, promised: &promised, guests: &[], devices: &[], left: false })
}

fn guest(name: &str, node: u32, gib: u64, cpus: &str, booked: bool) -> Sitting {
    let memory = vec![(HostNode(node), PageSize::Base, Kib::from_gib(gib))];
    Sitting { name: name.to_owned(), memory, cpus: cpus.parse().unwrap(), booked }
}

#[test]
fn nodes_guests_devices_and_promises() {
    let node = |id: u32, gib| Node::new(HostNode(id)).with_memory(Kib::from_gib(gib));
    let topology = HostTopology::builder()
        .node(node(0, 16).with_cpus(CpuSet::of_range(0, 7)).with_threads(2).with_free(Kib::from_gib(10)))
        .node(node(8, 64).with_pool(PagePool::new(Kib(2048), 10, 7)))
        .node(node(252, 96).with_kind(NodeKind::DeviceMemory))
        .build()
        .unwrap();
    let mut promised = Promised::default();
    let promise = promised.node_mut(HostNode(0));
    (promise.memory, promise.untouched) = (Kib::from_gib(4), Kib::from_gib(1));
    let guests = [guest("old", 0, 4, "0-7", true), guest("new", 0, 2, "2-3", false)];
    let devices = [Device { address: "0000:03:00.0".to_owned(), class: "network", node: 8 }];
    let facts = Facts { topology: &topology, promised: &promised, guests: &guests, devices: &devices, left: true };
    let picture = picture("a host", facts);
    let text = terminal::render(&picture, Style::plain());
    for line in [
        "node 0",
        "  memory   16 GiB: 6 GiB used, 10 GiB free, 2 GiB to come",
        "  promised 4 GiB, 1 GiB of it not touched yet",
        "  CPUs     0-7: 4 cores of 2 threads",
        "  guest    old: 4 GiB",
        "           ",
        "  guest    new: 2 GiB, CPUs 2-3",
        "node 8: memory only",
        "  2 MiB   7 of 10 pages free",
        "  devices network 0000:03:00.0",
        "node 252: memory of a device",
        " 252  20  20  10",
    ] {
        assert!(line.trim().is_empty() || text.lines().any(|known| known == line), "{line}\n{text}");
    }
    // 3 of the 6 GiB in use are what `old` touched: the host's part is the other half.
    let Figure::Bar { parts, whole } = &picture.panels[0].lines[0].figure else { panic!("{text}") };
    let sizes: Vec<u64> = parts.iter().map(|part| part.size >> 20).collect();
    assert_eq!((sizes, whole >> 20), (vec![0, 3, 0, 4, 2], 16));
}

#[test]
fn cpus_show_whose_they_are() {
    let topology = HostTopology::uniform(1, 4, Kib::from_gib(8)).isolated(CpuSet::of_range(3, 3)).build().unwrap();
    let promised = Promised::default();
    let guests = [guest("a", 0, 1, "0-1", false), guest("b", 0, 1, "1", false), guest("c", 0, 1, "0-3", false)];
    let facts = Facts { topology: &topology, promised: &promised, guests: &guests, devices: &[], left: false };
    let picture = picture("", facts);
    let cpus = picture.panels[0].lines.iter().find(|line| line.label == "CPUs").unwrap();
    let Figure::Cpus(groups) = &cpus.figure else { panic!("no CPUs") };
    let inks: Vec<Ink> = groups.iter().flatten().map(|cpu| cpu.ink).collect();
    assert_eq!(inks, [Ink::Guest(0), Ink::Promised, Ink::Plain, Ink::Isolated]);
}
