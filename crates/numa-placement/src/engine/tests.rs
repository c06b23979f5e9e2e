//! What the engine decides, on hosts small enough to check by hand, and against brute force.

mod wishes;

use proptest::prelude::*;

use super::plan;
use crate::*;

const GIB: u64 = 1 << 20;

fn gib(count: u64) -> Kib {
    Kib::from_gib(count)
}

fn nodes(text: &str) -> NodeSet {
    text.parse().unwrap()
}

fn cpus(text: &str) -> CpuSet {
    text.parse().unwrap()
}

fn two() -> HostTopology {
    HostTopology::uniform(2, 4, gib(8)).build().unwrap()
}

fn four() -> HostTopology {
    HostTopology::uniform(4, 4, gib(8)).build().unwrap()
}

fn free(host: &HostTopology, left: &[u64]) -> HostTopology {
    let mut left = left.iter();
    let nodes = host.nodes().to_vec();
    let builder = nodes
        .into_iter()
        .fold(HostTopology::builder(), |builder, node| builder.node(node.with_free(gib(*left.next().unwrap()))));
    builder.build().unwrap()
}

fn qemu(host: &HostTopology, request: &Request) -> Result<Plan, Refusal> {
    plan(host, &Promised::default(), &PlacementProfile::qemu(), request)
}

fn auto(vcpus: u32, memory: u64) -> Request {
    Request::auto("guest", GuestShape::flat(vcpus, gib(memory)))
}

fn strict(set: &str) -> rules::Stored {
    rules::Stored::default().with_memory(rules::GeneralPolicy::named(MemMode::Strict, nodes(set)))
}

fn celled(sizes: &[u64]) -> GuestShape {
    let cells = (0u32..)
        .zip(sizes)
        .map(|(cell, size)| CellShape::new(GuestCell(cell), gib(*size), VcpuSet::of_range(cell * 2, cell * 2 + 1)));
    GuestShape::with_cells(cells.collect(), u32::try_from(sizes.len()).unwrap() * 2)
}

fn shares(plan: &Plan, cell: usize) -> Vec<(u32, u64)> {
    plan.cells[cell].memory.iter().map(|share| (share.node.0, share.size.0 / GIB)).collect()
}

#[test]
fn auto_takes_one_node_with_its_cpus() {
    let plan = qemu(&two(), &auto(2, 4)).unwrap();
    assert_eq!(plan.advice, Some(Advice::new(nodes("0"), cpus("0-3"))));
    assert_eq!(plan.cells.len(), 1);
    assert_eq!(plan.cells[0].policy, MemPolicy::new(MemMode::Strict, nodes("0")));
    assert_eq!(shares(&plan, 0), [(0, 4)]);
    assert!(plan.cells[0].vcpus.iter().all(|v| v.hard == cpus("0-3") && v.origin == Origin::Advice));
    assert_eq!((plan.process.cpus.clone(), plan.process.origin), (cpus("0-3"), Origin::Advice));
    assert_eq!(plan.process.launch, Some(MemPolicy::new(MemMode::Strict, nodes("0"))));
    assert_eq!(plan.cpu_load.len(), 1);
    assert_eq!((plan.cpu_load[0].node, plan.cpu_load[0].milli_vcpus), (HostNode(0), 2000));
    assert_eq!((plan.lease.clone(), plan.revision, plan.weakened.len()), (None, 1, 0));
}

#[test]
fn auto_goes_where_there_is_room() {
    let plan = qemu(&free(&two(), &[1, 8]), &auto(2, 4)).unwrap();
    assert_eq!(plan.advice.unwrap().nodeset, nodes("1"));
    let failed = plan.trace.candidates.iter().find(|c| c.memory_nodes == nodes("0")).unwrap();
    assert_eq!(failed.verdict, Verdict::Failed(Constraint::Memory { nodes: nodes("0"), need: gib(4), have: gib(1) }));
    let chosen: Vec<_> = plan.trace.candidates.iter().filter(|c| c.verdict == Verdict::Chosen).collect();
    assert_eq!(chosen.len(), 1);
    assert_eq!(plan.trace.summary, "CPUs from node 1, memory from node 1");
}

#[test]
fn auto_heeds_promises_that_nobody_has_touched() {
    let mut promised = Promised::default();
    promised.node_mut(HostNode(0)).memory = gib(6);
    promised.node_mut(HostNode(0)).untouched = gib(6);
    let plan = plan(&two(), &promised, &PlacementProfile::qemu(), &auto(2, 4)).unwrap();
    assert_eq!(plan.advice.unwrap().nodeset, nodes("1"));
}

#[test]
fn auto_goes_to_the_idle_node_and_ties_to_the_lower() {
    let mut promised = Promised::default();
    promised.node_mut(HostNode(0)).milli_vcpus = 4000;
    let idle = plan(&two(), &promised, &PlacementProfile::qemu(), &auto(2, 1)).unwrap();
    assert_eq!(idle.advice.unwrap().nodeset, nodes("1"));
    assert_eq!(qemu(&two(), &auto(2, 1)).unwrap().advice.unwrap().nodeset, nodes("0"));
}

#[test]
fn a_node_may_give_only_memory_or_only_cpus() {
    let host = HostTopology::builder()
        .node(Node::new(HostNode(0)).with_cpus(CpuSet::of_range(0, 3)))
        .node(Node::new(HostNode(4)).with_memory(gib(8)))
        .build()
        .unwrap();
    let plan = qemu(&host, &auto(2, 4)).unwrap();
    assert_eq!(plan.advice, Some(Advice::new(nodes("4"), cpus("0-3"))));
}

#[test]
fn wide_guests_take_the_nearest_pair() {
    let rows = vec![vec![10, 30, 20, 30], vec![30, 10, 30, 20], vec![20, 30, 10, 30], vec![30, 20, 30, 10]];
    let host = HostTopology::uniform(4, 4, gib(8)).distances(rows).build().unwrap();
    let plan = qemu(&host, &auto(8, 12)).unwrap();
    assert_eq!(plan.advice.as_ref().unwrap().nodeset, nodes("0,2"));
    assert_eq!(plan.advice.as_ref().unwrap().cpuset, cpus("0-3,8-11"));
    assert_eq!(shares(&plan, 0), [(0, 6), (2, 6)]);
}

#[test]
fn large_hosts_are_searched_by_growing() {
    let host = HostTopology::uniform(24, 4, gib(8)).build().unwrap();
    let plan = qemu(&host, &auto(8, 16)).unwrap();
    let advice = plan.advice.unwrap();
    assert_eq!((advice.nodeset.len(), advice.cpuset.len()), (2, 8));
    assert_eq!(host.nodes_of(&advice.cpuset), advice.nodeset);
    assert!(plan.trace.candidates.len() <= TRACE_LIMIT);
    assert!(plan.trace.candidates.iter().any(|c| c.verdict == Verdict::Chosen));
}

#[test]
fn memoryless_small_and_device_nodes_are_not_taken_for_memory() {
    let host = HostTopology::builder()
        .node(Node::new(HostNode(0)).with_cpus(CpuSet::of_range(0, 3)))
        .node(Node::new(HostNode(1)).with_cpus(CpuSet::of_range(4, 7)).with_memory(gib(8)))
        .node(Node::new(HostNode(2)).with_memory(gib(64)).with_kind(NodeKind::DeviceMemory))
        .build()
        .unwrap();
    assert_eq!(qemu(&host, &auto(4, 4)).unwrap().advice.unwrap(), Advice::new(nodes("1"), cpus("4-7")));
    let refusal = qemu(&host, &auto(4, 16)).unwrap_err();
    assert_eq!(refusal.constraints, [Constraint::Memory { nodes: nodes("1"), need: gib(16), have: gib(8) }]);
    assert_eq!(refusal.trace.candidates.len(), 3, "a refusal says what was looked at");
    let named = Request::new("g", GuestShape::flat(1, gib(16))).stored(strict("2"));
    assert_eq!(shares(&qemu(&host, &named).unwrap(), 0), [(2, 16)], "named, it is used");
}

#[test]
fn isolated_cpus_are_left_out_of_advice_unless_there_are_no_others() {
    let host = HostTopology::uniform(2, 4, gib(8)).isolated(cpus("0-1")).build().unwrap();
    assert_eq!(qemu(&host, &auto(2, 4)).unwrap().advice.unwrap().cpuset, cpus("4-7"), "the whole node is better");
    let all = HostTopology::uniform(1, 4, gib(8)).isolated(cpus("0-3")).build().unwrap();
    assert_eq!(qemu(&all, &auto(2, 4)).unwrap().advice.unwrap().cpuset, cpus("0-3"));
}

#[test]
fn given_advice_holds_for_everything() {
    let host = HostTopology::uniform(2, 4, gib(8)).node(Node::new(HostNode(2)).with_cpus(cpus("8-9"))).build().unwrap();
    let request = Request::auto("g", celled(&[1, 1])).advice(AdviceSource::Given(nodes("1-2")));
    let plan = qemu(&host, &request).unwrap();
    assert_eq!(plan.advice, Some(Advice::new(nodes("1"), cpus("4-9"))));
    assert!(plan.cells.iter().all(|cell| cell.policy.nodes == nodes("1")));
    let offline = qemu(&host, &auto(1, 1).advice(AdviceSource::Given(nodes("7")))).unwrap_err();
    assert!(matches!(offline.constraints[0], Constraint::NodeOffline { node: HostNode(7), .. }));
}

#[test]
fn cells_under_auto_share_the_advice() {
    let plan = qemu(&four(), &Request::auto("g", celled(&[1, 2, 1, 1]))).unwrap();
    assert_eq!(plan.cells.iter().map(|cell| cell.vcpus.len()).collect::<Vec<_>>(), [2; 4]);
    assert_eq!(plan.advice.as_ref().unwrap().nodeset.len(), 2, "8 vCPUs want 8 CPUs");
    assert_eq!(plan.memory_nodes(), plan.advice.unwrap().nodeset);
}

#[test]
fn p12_cpus_near_named_memory() {
    let rows = vec![vec![10, 20, 40], vec![20, 10, 40], vec![40, 20, 10]];
    let host = HostTopology::uniform(3, 4, gib(8)).distances(rows).build().unwrap();
    let stored = rules::Stored { vcpu_placement: rules::VcpuPlacement::Auto, ..strict("2") };
    let plan = qemu(&host, &Request::new("g", GuestShape::flat(4, gib(4))).stored(stored)).unwrap();
    assert_eq!(plan.advice, Some(Advice::new(nodes("2"), cpus("8-11"))));
    assert_eq!(plan.cells[0].policy.nodes, nodes("2"));
}

#[test]
fn p11_memory_near_pinned_cpus() {
    let stored = rules::Stored {
        vcpu_placement: rules::VcpuPlacement::Static,
        vcpu_cpuset: Some(cpus("12-13")),
        ..rules::Stored::auto()
    };
    let plan = qemu(&four(), &Request::new("g", GuestShape::flat(2, gib(4))).stored(stored)).unwrap();
    assert_eq!(plan.advice.as_ref().unwrap().nodeset, nodes("3"));
    assert_eq!(plan.cells[0].vcpus[0].hard, cpus("12-13"));
    assert_eq!(plan.cells[0].vcpus[0].origin, Origin::VcpuCpuset);
}

#[test]
fn pins_win_over_advice_and_do_not_move_memory() {
    let request = auto(2, 4).pin_vcpu(VcpuId(1), cpus("6")).pin_emulator(cpus("7")).io_thread(IoThreadId(1), None);
    let plan = qemu(&two(), &request).unwrap();
    assert_eq!(plan.vcpu(VcpuId(1)).unwrap().hard, cpus("6"));
    assert_eq!(plan.vcpu(VcpuId(1)).unwrap().origin, Origin::Pin);
    assert_eq!(plan.vcpu(VcpuId(0)).unwrap().origin, Origin::Advice);
    assert_eq!((plan.process.cpus.clone(), plan.process.origin), (cpus("7"), Origin::Pin));
    assert_eq!(plan.process.launch_cpus, Some(cpus("0-3")), "early allocations stay near the memory");
    assert_eq!(plan.io_threads[0].1.origin, Origin::Advice);
    assert_eq!(plan.cells[0].policy.nodes, nodes("0"));
}

#[test]
fn a_memnode_binds_its_cell_alone() {
    let stored =
        rules::Stored::default().with_memnode(rules::CellPolicy::new(GuestCell(1), MemMode::Strict, nodes("2")));
    let plan = qemu(&four(), &Request::new("g", celled(&[1, 1])).stored(stored)).unwrap();
    assert_eq!(plan.cells[0].policy, MemPolicy::none());
    assert!(!plan.cells[0].own_policy && plan.cells[1].own_policy);
    assert_eq!(plan.cells[1].policy, MemPolicy::new(MemMode::Strict, nodes("2")));
    assert_eq!(shares(&plan, 1), [(2, 1)]);
    assert_eq!((plan.advice, plan.process.launch, plan.process.mems), (None, None, None));
}

#[test]
fn q1_named_nodes_have_to_be_online_and_have_memory() {
    for mode in MemMode::ALL {
        let policy = rules::GeneralPolicy::named(mode, nodes("1,5"));
        let request =
            Request::new("g", GuestShape::flat(1, gib(1))).stored(rules::Stored::default().with_memory(policy));
        let refusal = qemu(&two(), &request).unwrap_err();
        let text = refusal.to_string();
        assert!(
            text.contains("node 5 named by /domain/numatune/memory/@nodeset is not online (online: 0-1)"),
            "{text}"
        );
    }
}

#[test]
fn q6_preferring_several_nodes_needs_a_kernel_that_can() {
    let policy = rules::GeneralPolicy::named(MemMode::Preferred, nodes("0-1"));
    let request = Request::new("g", GuestShape::flat(1, gib(1))).stored(rules::Stored::default().with_memory(policy));
    assert!(qemu(&two(), &request).is_ok());
    let refusal = qemu(&two(), &request.kernel(KernelSupport::of_release("5.10"))).unwrap_err();
    assert!(matches!(refusal.constraints[0], Constraint::Unsupported { .. }));
}

#[test]
fn q7_restrictive_is_confined_by_the_cgroup_or_said_not_to_be() {
    let policy = rules::GeneralPolicy::named(MemMode::Restrictive, nodes("1"));
    let request = Request::new("g", GuestShape::flat(1, gib(1))).stored(rules::Stored::default().with_memory(policy));
    let with = qemu(&two(), &request.clone().kernel(KernelSupport::default().with_cpuset(true))).unwrap();
    assert_eq!(with.process.mems, Some(nodes("1")));
    assert_eq!(with.cells[0].vcpus[0].mems, Some(nodes("1")));
    assert_eq!((with.cells[0].policy.qemu_word(), with.process.launch, with.weakened.len()), (None, None, 0));
    let without = qemu(&two(), &request).unwrap();
    assert_eq!((without.process.mems, without.weakened[0].rule.as_str()), (None, "Q7"));
}

#[test]
fn q8_a_devices_own_nodes_replace_those_of_its_cell() {
    let mut device = MemoryDeviceRequest::new(Some(GuestCell(0)), gib(1));
    device.nodes = Some(nodes("3"));
    let request = Request::new("g", celled(&[1, 1])).stored(strict("0")).device(device);
    let plan = qemu(&four(), &request).unwrap();
    assert_eq!(plan.devices[0].policy, MemPolicy::new(MemMode::Strict, nodes("3")));
    assert_eq!(plan.devices[0].memory, [NodeShare::new(HostNode(3), gib(1))]);
}

#[test]
fn a_device_of_no_cell_has_the_guests_policy() {
    let cell = rules::CellPolicy::new(GuestCell(0), MemMode::Strict, nodes("1"));
    let request = Request::new("g", celled(&[1, 1])).stored(strict("2").with_memnode(cell));
    let devices = [None, Some(GuestCell(0))].map(|cell| MemoryDeviceRequest::new(cell, gib(1)));
    let plan = qemu(&four(), &devices.into_iter().fold(request, Request::device)).unwrap();
    assert_eq!(plan.devices.iter().map(|it| it.policy.nodes.to_string()).collect::<Vec<_>>(), ["2", "1"]);
}

#[test]
fn q11_preallocation_runs_near_the_memory() {
    let request = Request::new("g", GuestShape::flat(1, gib(1))).stored(strict("1")).prealloc(true);
    let plan = qemu(&two(), &request).unwrap();
    assert_eq!(plan.cells[0].prealloc_nodes, Some(nodes("1")));
    assert_eq!(plan.cells[0].prealloc_cpus, Some(cpus("4-7")));
    let elsewhere = qemu(&two(), &request.pin_emulator(cpus("0"))).unwrap();
    assert_eq!(elsewhere.cells[0].prealloc_nodes, None);
    let unbound = Request::new("g", GuestShape::flat(1, gib(1))).prealloc(true);
    assert_eq!(qemu(&two(), &unbound).unwrap().cells[0].prealloc_nodes, None);
}

#[test]
fn huge_pages_come_from_their_pools() {
    let pool = |mut node: Node, pages| {
        node.pools.clear();
        node.with_pool(PagePool::new(gib(1), pages, pages))
    };
    let host = HostTopology::builder()
        .node(pool(Node::new(HostNode(0)).with_cpus(cpus("0-3")).with_memory(gib(64)), 2))
        .node(pool(Node::new(HostNode(1)).with_cpus(cpus("4-7")).with_memory(gib(32)).with_free(gib(1)), 30))
        .build()
        .unwrap();
    let huge = |memory| auto(2, memory).pages(PageRequest::Size(gib(1)));
    let plan = qemu(&host, &huge(8)).unwrap();
    assert_eq!(plan.advice.as_ref().unwrap().nodeset, nodes("1"), "free memory says node 0, the pools say node 1");
    assert_eq!(plan.cells[0].page, PageSize::Huge(gib(1)));
    let refusal = qemu(&host, &huge(40)).unwrap_err();
    assert_eq!(
        refusal.constraints[0].to_string(),
        "nodes 0-1 together short 8 × 1 GiB pages (40 asked, 32 can be promised)"
    );
    let never = qemu(&host, &huge(31).span(Span::Never)).unwrap_err();
    assert_eq!(never.constraints[0].to_string(), "node 1 short 1 × 1 GiB pages (31 asked, 30 can be promised)");
    let empty = HostTopology::builder().node(pool(host.nodes()[0].clone(), 0)).build().unwrap();
    let none = qemu(&empty, &auto(1, 1).pages(PageRequest::Size(gib(1)))).unwrap_err();
    assert_eq!(none.constraints[0].to_string(), "node 0 short 1 × 1 GiB pages (1 asked, 0 can be promised)");
    let unknown = qemu(&host, &auto(1, 1).pages(PageRequest::Size(Kib(2048)))).unwrap_err();
    assert_eq!(unknown.constraints[0].to_string(), "no pool of 2 MiB pages: the host has 1 GiB");
    let base = qemu(&host, &auto(1, 1).pages(PageRequest::Size(Kib(4)))).unwrap();
    assert_eq!(base.cells[0].page, PageSize::Base);
    let static_huge =
        Request::new("g", GuestShape::flat(1, gib(4))).stored(strict("0")).pages(PageRequest::DefaultHuge);
    let refusal = qemu(&host, &static_huge).unwrap_err();
    assert_eq!(refusal.constraints[0].to_string(), "node 0 short 2 × 1 GiB pages (4 asked, 2 can be promised)");
    assert!(refusal.remedy.contains("/node0/hugepages/hugepages-1048576kB/nr_hugepages"), "{}", refusal.remedy);
}

#[test]
fn more_than_the_host_has_is_refused_whoever_asks() {
    for request in [
        auto(1, 17),
        Request::new("g", GuestShape::flat(1, gib(17))),
        Request::new("g", GuestShape::flat(1, gib(9))).stored(strict("1")),
    ] {
        assert!(matches!(qemu(&two(), &request).unwrap_err().constraints[..], [Constraint::Memory { .. }]));
    }
}

#[test]
fn named_nodes_may_be_overcommitted_and_it_is_said() {
    let host = free(&two(), &[2, 8]);
    let named = Request::new("g", GuestShape::flat(1, gib(4))).stored(strict("0"));
    let plan = qemu(&host, &named).unwrap();
    assert_eq!(shares(&plan, 0), [(0, 4)]);
    assert_eq!(
        plan.weakened[0].to_string(),
        "more memory is promised than is free: node 0 short 2 GiB of memory (4 GiB asked, 2 GiB can be promised) (host)"
    );
    assert!(qemu(&host, &named.overcommit(Overcommit::Never)).is_err());
    assert!(qemu(&free(&two(), &[2, 2]), &auto(1, 6)).is_err(), "automatic placement never does");
}

#[test]
fn interleaving_is_promised_evenly() {
    let policy = rules::GeneralPolicy::named(MemMode::Interleave, nodes("0-2"));
    let request = Request::new("g", GuestShape::flat(1, gib(6))).stored(rules::Stored::default().with_memory(policy));
    let plan = qemu(&four(), &request).unwrap();
    assert_eq!(shares(&plan, 0), [(0, 2), (1, 2), (2, 2)]);
    assert_eq!(plan.process.launch.unwrap().mode, Some(MemMode::Interleave));
}

#[test]
fn more_vcpus_than_the_host_has_cpus_is_said() {
    let plan = qemu(&two(), &auto(20, 4)).unwrap();
    assert_eq!(plan.weakened[0].what, "20 vCPUs on 8 CPUs");
    assert_eq!(plan.advice.unwrap().cpuset.len(), 8);
}

#[test]
fn offline_vcpus_are_planned_and_do_not_weigh() {
    let request = Request::auto("g", GuestShape::flat(64, gib(4)).online(2));
    let plan = qemu(&two(), &request).unwrap();
    assert_eq!(plan.cells[0].vcpus.len(), 64);
    assert_eq!((plan.headroom.vcpus, plan.advice.unwrap().cpuset.len()), (62, 4));
}

#[test]
fn one_node_per_cell_where_the_hypervisor_knows_no_more() {
    let xen = PlacementProfile::one_node_per_cell();
    let request = Request::auto("g", celled(&[6, 6, 1]));
    let auto = plan(&two(), &Promised::default(), &xen, &request).unwrap();
    assert!(auto.cells.iter().all(|cell| cell.memory.len() == 1 && cell.policy.nodes.len() == 1));
    assert_ne!(auto.cells[0].policy.nodes, auto.cells[1].policy.nodes);
    assert_eq!(auto.advice.unwrap().nodeset, nodes("0-1"));
    let too_wide = plan(&two(), &Promised::default(), &xen, &Request::auto("g", GuestShape::flat(1, gib(9))));
    assert_eq!(
        too_wide.unwrap_err().constraints[0].to_string(),
        "node 0 short 1 GiB of memory (9 GiB asked, 8 GiB can be promised)"
    );
    let named = Request::new("g", celled(&[1])).stored(strict("0-1"));
    assert_eq!(plan(&two(), &Promised::default(), &xen, &named).unwrap().weakened[0].rule, "Q6");
}

#[test]
fn containers_are_bound_as_a_whole() {
    let request =
        Request::new("c", celled(&[1, 1])).stored(strict("1")).kernel(KernelSupport::default().with_cpuset(true));
    let plan = plan(&two(), &Promised::default(), &PlacementProfile::container(), &request).unwrap();
    assert_eq!((plan.cells.len(), plan.process.mems.clone()), (1, Some(nodes("1"))));
    assert_eq!(plan.weakened[0].what, "2 guest cells are not presented");
}

#[test]
fn nonsense_is_refused_with_reasons() {
    let zero = qemu(&two(), &auto(0, 0)).unwrap_err();
    assert_eq!(zero.constraints.len(), 3, "{zero}");
    let huge = Request::auto("g", GuestShape::flat(u32::MAX, Kib(u64::MAX)));
    assert_eq!(qemu(&two(), &huge).unwrap_err().constraints[0].to_string(), "4294967295 vCPUs (at most 16384)");
    let large = Request::new("g", GuestShape::flat(1, Kib(u64::MAX))).device(MemoryDeviceRequest::new(None, Kib(9)));
    assert!(matches!(qemu(&two(), &large).unwrap_err().constraints[0], Constraint::Memory { .. }));
    let pins = auto(1, 1).pin_vcpu(VcpuId(0), cpus("99"));
    let text = qemu(&two(), &pins).unwrap_err().to_string();
    assert!(
        text.contains("none of the CPUs '99' named by /domain/cputune/vcpupin[@vcpu='0']/@cpuset is online"),
        "{text}"
    );
    let partly = qemu(&two(), &auto(1, 1).pin_vcpu(VcpuId(0), cpus("1,99"))).unwrap();
    assert_eq!(partly.weakened[0].what, "CPUs 99 are left out of pins");
    assert_eq!(partly.vcpu(VcpuId(0)).unwrap().hard, cpus("1"));
    let cell = rules::CellPolicy::new(GuestCell(9), MemMode::Strict, nodes("0"));
    assert!(
        qemu(&two(), &Request::new("g", celled(&[1])).stored(rules::Stored::default().with_memnode(cell))).is_err()
    );
}

#[test]
fn a_plan_survives_json_and_is_the_same_every_time() {
    let request = Request::auto("g", celled(&[1, 2])).io_thread(IoThreadId(3), Some(cpus("1")));
    let one = qemu(&four(), &request).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&serde_json::to_string(&one).unwrap()).unwrap(), one);
    assert_eq!(qemu(&four(), &request).unwrap(), one);
}

#[test]
fn a_device_draws_its_guest_to_its_node_unless_that_is_full() {
    let near = |request: Request| request.near(HostNode(1));
    let plan = qemu(&two(), &near(auto(2, 4))).unwrap();
    assert_eq!(plan.advice.unwrap().nodeset, nodes("1"));
    assert!(plan.trace.candidates.iter().flat_map(|c| &c.terms).any(|t| t.name == TermName::Devices && t.value > 0.0));
    let full = qemu(&free(&two(), &[8, 1]), &near(auto(2, 4))).unwrap();
    assert_eq!(full.advice.unwrap(), Advice::new(nodes("0"), cpus("0-3")), "memory is worth more than a device");
    // Two devices outweigh one, and a node that is not there pulls nowhere.
    let split = near(near(auto(2, 4).near(HostNode(0))));
    assert_eq!(qemu(&two(), &split).unwrap().advice.unwrap().nodeset, nodes("1"));
    assert_eq!(qemu(&two(), &auto(2, 4).near(HostNode(77))).unwrap().advice.unwrap().nodeset, nodes("0"));
}

#[test]
fn headroom_for_hot_plug_is_promised_with_the_guest() {
    let plan = qemu(&free(&two(), &[6, 8]), &auto(2, 4).headroom(gib(4))).unwrap();
    assert_eq!(plan.advice.as_ref().unwrap().nodeset, nodes("1"), "node 0 has no room to grow");
    assert_eq!(plan.headroom.memory, [NodeShare::new(HostNode(1), gib(4))]);
    assert_eq!(shares(&plan, 0), [(1, 4)]);
    assert_eq!(plan.promised_memory(), [(HostNode(1), PageSize::Base, gib(8))]);
    let refusal = qemu(&two(), &auto(2, 4).headroom(gib(13))).unwrap_err();
    assert_eq!(refusal.constraints, [Constraint::Memory { nodes: nodes("0-1"), need: gib(17), have: gib(16) }]);
    assert!(qemu(&two(), &auto(2, 4)).unwrap().headroom.memory.is_empty());
}

#[test]
fn a_plan_is_the_same_whether_anybody_looks_on_or_not() {
    for host in [two(), four(), HostTopology::uniform(24, 4, gib(8)).build().unwrap()] {
        for (vcpus, memory) in [(1, 1), (3, 7), (7, 12), (8, 9), (6, 100)] {
            let loud = qemu(&host, &auto(vcpus, memory));
            let quiet = qemu(&host, &auto(vcpus, memory).traced(false));
            match (loud, quiet) {
                (Ok(mut loud), Ok(quiet)) => {
                    assert!(!loud.trace.candidates.is_empty() && quiet.trace.candidates.is_empty());
                    loud.trace = quiet.trace.clone();
                    assert_eq!(loud, quiet);
                }
                (Err(loud), Err(quiet)) => assert_eq!(loud.constraints, quiet.constraints),
                (loud, quiet) => panic!("{loud:?} but {quiet:?}"),
            }
        }
    }
}

#[test]
fn a_board_that_is_kept_decides_as_a_new_one() {
    let host = HostTopology::uniform(3, 4, gib(8)).build().unwrap();
    let mut promised = Promised::default();
    promised.node_mut(HostNode(0)).memory = gib(5);
    promised.node_mut(HostNode(0)).milli_vcpus = 2000;
    let mut kept = Board::new(&host, &Promised::default());
    let first = kept.decide(&kept.need(2, gib(4))).unwrap();
    assert_eq!((first.cpus(), first.memory()), (&[0][..], &[0][..]));
    kept.update(0, 4, 1.0, gib(3));
    let fresh = Board::new(&host, &promised);
    let need = kept.need(2, gib(4));
    assert_eq!(kept.decide(&need), fresh.decide(&need));
    assert_eq!(kept.decide(&need).unwrap().cpus(), [1]);
    let own = need.dedicated(Threads::Prefer);
    kept.update(1, 1, 0.0, gib(8));
    assert_eq!(kept.counts(&own, &kept.decide(&own).unwrap()), [(2, 2)]);
}

/// Up to six nodes with random memory, CPUs and distances.
fn any_host() -> impl Strategy<Value = HostTopology> {
    prop::collection::vec((0u32..5, 0u64..9), 1..6)
        .prop_flat_map(|sites| {
            let count = sites.len();
            (Just(sites), prop::collection::vec(prop::collection::vec(11u32..60, count), count))
        })
        .prop_filter_map("a host has a CPU", |(sites, mut rows)| {
            let mut first = 0;
            let mut builder = HostTopology::builder();
            for (at, (count, memory)) in sites.iter().enumerate() {
                rows[at][at] = 10;
                let id = HostNode(u32::try_from(at).ok()? * 3);
                let set = (first..first + count).map(HostCpu).collect();
                first += count;
                builder = builder.node(Node::new(id).with_cpus(set).with_memory(gib(*memory)));
            }
            builder.distances(rows).build().ok()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn auto_is_placed_exactly_when_the_host_has_enough(host in any_host(), vcpus in 1u32..8, memory in 1u64..24) {
        let request = auto(vcpus, memory);
        let answer = qemu(&host, &request);
        prop_assert_eq!(answer.is_ok(), host.memory() >= gib(memory));
        let Ok(plan) = answer else { return Ok(()) };
        let advice = plan.advice.clone().unwrap();
        // Nothing is promised that is not there, and the cell gets all it asked.
        let mut sum = 0;
        for (node, _, size) in plan.promised_memory() {
            prop_assert!(size <= host.node(node).unwrap().memory);
            prop_assert!(advice.nodeset.contains(node));
            sum += size.0;
        }
        prop_assert_eq!(sum, gib(memory).0);
        let all = u32::try_from(host.online_cpus().len()).unwrap();
        prop_assert!(advice.cpuset.len() >= vcpus.min(all) as usize);
        // One node wherever one is enough.
        let single = host.nodes().iter().any(|n| n.memory >= gib(memory) && n.cpus.len() >= vcpus.min(all) as usize);
        if single && plan.cpu_load.iter().map(|l| l.milli_vcpus).sum::<u64>() <= 2000 {
            prop_assert_eq!(advice.nodeset.len(), 1);
        }
    }

    #[test]
    fn the_choice_costs_what_the_best_of_all_pairs_costs(host in any_host(), vcpus in 1u32..8, memory in 1u64..24) {
        use super::{Board, demand::demand, objective::Scratch};
        let request = auto(vcpus, memory);
        let Ok(plan) = qemu(&host, &request) else { return Ok(()) };
        let profile = PlacementProfile::qemu();
        let demand = demand(&host, &profile, &request).unwrap();
        let board = Board::new(&host, &Promised::default());
        let need = board.need_of(demand.vcpus, &demand.totals()).unwrap();
        let mut scratch = Scratch::default();
        let sets: Vec<Vec<usize>> =
            (1u32..1 << board.len()).map(|m| (0..board.len()).filter(|at| m & (1 << at) != 0).collect()).collect();
        let mut best = f64::INFINITY;
        for on in sets.iter().filter(|set| board.enough_cpus(&need, set) && set.iter().all(|at| board.sites[*at].count.cpus > 0)) {
            for from in sets.iter().filter(|set| board.enough_memory(&need, set) && set.iter().all(|at| board.sites[*at].memory)) {
                board.shares_into(&need, on, &mut scratch.shares);
                best = best.min(board.score(&need, from, &mut scratch).total);
            }
        }
        let chosen = plan.trace.candidates.iter().find(|c| c.verdict == Verdict::Chosen).unwrap();
        prop_assert!(chosen.cost() >= best - 1e-9);
        // A single calm node is taken without looking further; otherwise nothing is better.
        let single = chosen.cpu_nodes.len() == 1 && chosen.cpu_nodes == chosen.memory_nodes;
        prop_assert!(single || chosen.cost() <= best + 1e-9, "{} against {}", chosen.cost(), best);
    }
}

#[test]
fn all_guests_together_stay_below_the_limit_of_their_cgroup() {
    let host = two().limited(gib(10), "/sys/fs/cgroup/pod/memory.max");
    let mut promised = Promised::default();
    let ask = |promised: &Promised, request: &Request| plan(&host, promised, &PlacementProfile::qemu(), request);
    assert!(ask(&promised, &auto(2, 6)).is_ok());
    promised.node_mut(HostNode(1)).memory = gib(5);
    let refusal = ask(&promised, &auto(2, 6)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "guest 'guest' cannot be placed: /sys/fs/cgroup/pod/memory.max is short 1 GiB of memory for all guests (6 GiB asked, \
         5 GiB can be promised); raise /sys/fs/cgroup/pod/memory.max, end other guests, or give this one at most 5 GiB"
    );
    assert!(!refusal.trace.candidates.is_empty(), "what was found before stays in the trace");
    assert!(ask(&promised, &auto(2, 5)).is_ok());
    // Named nodes may be overcommitted, and so may this.
    let named = rules::GeneralPolicy::named(MemMode::Strict, nodes("0"));
    let request = Request::new("g", GuestShape::flat(2, gib(6))).stored(rules::Stored::default().with_memory(named));
    let plan = ask(&promised, &request).unwrap();
    assert!(plan.weakened.iter().any(|weak| weak.why.contains("memory.max is short 1 GiB")), "{:?}", plan.weakened);
}
