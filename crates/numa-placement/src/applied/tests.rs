//! Section 6 of the rules by rows: what is done to the process, and section 7: by which driver.

use super::*;
use crate::rules::{CellPolicy, GeneralPolicy, Stored};
use crate::{CellShape, GuestShape, HostTopology, Kib, PlacementProfile, Promised, Request, VcpuSet, plan};

const CPUSET: KernelSupport = KernelSupport { cpuset: true, preferred_many: true, weighted_interleave: false };
const NO_CPUSET: KernelSupport = KernelSupport { cpuset: false, preferred_many: true, weighted_interleave: false };

fn nodes(text: &str) -> NodeSet {
    text.parse().unwrap()
}

fn shape(cells: u32) -> GuestShape {
    let cell = |cell| CellShape::new(GuestCell(cell), Kib::from_gib(1), VcpuSet::of_range(cell, cell));
    if cells == 0 {
        GuestShape::flat(2, Kib::from_gib(1))
    } else {
        GuestShape::with_cells((0..cells).map(cell).collect(), cells)
    }
}

fn planned(stored: Stored, cells: u32, profile: &PlacementProfile, kernel: KernelSupport) -> Plan {
    let host = HostTopology::uniform(4, 2, Kib::from_gib(8)).build().unwrap();
    let request = Request::new("g", shape(cells)).stored(stored).kernel(kernel);
    plan(&host, &Promised::default(), profile, &request).unwrap()
}

fn qemu(stored: Stored, cells: u32, kernel: KernelSupport) -> Applied {
    applied(&planned(stored, cells, &PlacementProfile::qemu(), kernel), Hypervisor::Qemu, kernel)
}

fn general(mode: MemMode) -> Stored {
    Stored::default().with_memory(GeneralPolicy::named(mode, nodes("1-2")))
}

#[test]
fn s6_between_fork_and_exec_strict_is_left_to_the_cgroup_and_other_modes_are_set() {
    for (mode, with, without) in [
        (MemMode::Strict, false, true),
        (MemMode::Restrictive, false, false),
        (MemMode::Preferred, true, true),
        (MemMode::Interleave, true, true),
    ] {
        assert_eq!(qemu(general(mode), 0, CPUSET).launch_policy.is_some(), with, "{mode}");
        assert_eq!(qemu(general(mode), 0, NO_CPUSET).launch_policy.is_some(), without, "{mode}");
    }
}

#[test]
fn s6_early_allocations_of_one_strict_cell_are_local() {
    let near = |mode, cells| qemu(general(mode), cells, CPUSET).launch_cpus.unwrap().to_string();
    assert_eq!(near(MemMode::Strict, 0), "2-5");
    assert_eq!(near(MemMode::Strict, 1), "2-5");
    assert_eq!(near(MemMode::Strict, 2), "0-7");
    assert_eq!(near(MemMode::Preferred, 0), "0-7");
}

#[test]
fn s6_cpuset_mems_of_the_emulator_by_mode() {
    let mems = |mode| qemu(general(mode), 0, CPUSET).threads[0].mems.clone();
    assert_eq!(mems(MemMode::Strict), Some(nodes("1-2")));
    assert_eq!(mems(MemMode::Restrictive), Some(nodes("1-2")));
    assert_eq!(mems(MemMode::Preferred), None);
    assert_eq!(mems(MemMode::Interleave), None);
    assert_eq!(qemu(general(MemMode::Strict), 0, NO_CPUSET).threads[0].mems, None);
    let with_cell = general(MemMode::Strict).with_memnode(CellPolicy::new(GuestCell(1), MemMode::Strict, nodes("3")));
    assert_eq!(qemu(with_cell, 2, CPUSET).threads[0].mems, Some(nodes("1-3")), "every cell's nodes too");
}

#[test]
fn s6_a_vcpu_of_a_restrictive_cell_is_confined_to_its_nodes() {
    let stored =
        general(MemMode::Restrictive).with_memnode(CellPolicy::new(GuestCell(1), MemMode::Restrictive, nodes("3")));
    let threads = qemu(stored, 2, CPUSET).threads;
    let mems: Vec<_> = threads.iter().map(|thread| (thread.thread, thread.mems.clone().unwrap().to_string())).collect();
    let vcpu = |id| Thread::Vcpu(VcpuId(id));
    let want = [(Thread::Process, "1-2"), (vcpu(0), "1-2"), (vcpu(1), "3")].map(|(t, m)| (t, m.to_owned()));
    assert_eq!(mems, want);
}

#[test]
fn q4_a_cell_with_a_policy_of_its_own_needs_a_backend_of_its_own() {
    let stored = Stored::default().with_memnode(CellPolicy::new(GuestCell(1), MemMode::Preferred, nodes("3")));
    let cells = qemu(stored, 2, CPUSET).cells;
    assert_eq!((cells[0].own_backend, cells[1].own_backend), (false, true));
    assert_eq!((cells[0].policy.as_deref(), cells[1].policy.as_deref()), (None, Some("preferred")));
    assert_eq!((cells[0].host_nodes.len(), cells[1].host_nodes.clone()), (0, nodes("3")));
}

#[test]
fn q7_restrictive_gives_a_backend_neither_nodes_nor_policy() {
    let cell = &qemu(general(MemMode::Restrictive), 1, CPUSET).cells[0];
    assert_eq!((cell.host_nodes.is_empty(), cell.policy.as_deref()), (true, None));
}

#[test]
fn s7_cloud_hypervisor_binds_the_process_alone() {
    let plan = planned(general(MemMode::Preferred), 1, &PlacementProfile::qemu(), CPUSET);
    let done = applied(&plan, Hypervisor::CloudHypervisor, CPUSET);
    assert_eq!(done.launch_policy, Some(MemPolicy::new(MemMode::Preferred, nodes("1-2"))));
    assert!(done.cells.iter().all(|cell| cell.host_nodes.is_empty() && !cell.own_backend));
}

#[test]
fn s7_a_strict_container_is_bound_by_its_cgroup() {
    for mode in MemMode::ALL {
        let plan = planned(general(mode), 0, &PlacementProfile::container(), CPUSET);
        let done = applied(&plan, Hypervisor::Container, CPUSET);
        assert_eq!(done.threads.len(), 1);
        assert_eq!(done.threads[0].mems, Some(nodes("1-2")), "{mode}");
    }
}

#[test]
fn s7_xen_puts_a_cell_on_a_node_and_has_no_process() {
    let plan = planned(general(MemMode::Strict), 2, &PlacementProfile::one_node_per_cell(), CPUSET);
    let done = applied(&plan, Hypervisor::Xen, CPUSET);
    assert!(done.cells.iter().all(|cell| cell.pnode.is_some() && cell.host_nodes.is_empty()));
    assert!(done.threads.iter().all(|thread| thread.thread != Thread::Process && thread.mems.is_none()));
    assert_eq!((done.launch_policy, done.launch_cpus), (None, None));
}

#[test]
fn q14_the_initiator_of_every_cell() {
    let cell = GuestCell;
    let link = |from, to| Interconnect::new(cell(from), cell(to));
    let links = [
        link(0, 2).latency(90).bandwidth(10),
        link(1, 2).latency(70).bandwidth(5),
        link(0, 3).bandwidth(10),
        link(1, 3).bandwidth(20),
    ];
    let got = initiators(&[true, true, false, false, false], &links);
    // Itself; the lowest latency; the largest bandwidth; the first with vCPUs.
    assert_eq!(got, [0, 1, 1, 1, 0].map(|id| Some(cell(id))));
    assert_eq!(initiators(&[false], &[]), [None]);
}
