//! Hosts and requests that nobody should have to expect, and what a refusal has to say.

use super::Board;
use crate::*;

fn gib(count: u64) -> Kib {
    Kib::from_gib(count)
}

fn auto(vcpus: u32, memory: Kib) -> Request {
    Request::auto("g", GuestShape::flat(vcpus, memory))
}

fn ask(host: &HostTopology, request: &Request) -> Result<Plan, Refusal> {
    plan(host, &Promised::default(), &PlacementProfile::qemu(), request)
}

#[test]
fn distances_that_differ_by_direction_are_read_from_the_cpus() {
    // From node 2 node 0 is near; from node 0 node 2 is far. CPUs are on 0 and 2, memory is on 1 only.
    let rows = vec![vec![10, 40, 99], vec![40, 10, 40], vec![11, 12, 10]];
    let cpus = |first| CpuSet::of_range(first, first + 3);
    let host = HostTopology::builder()
        .node(Node::new(HostNode(0)).with_cpus(cpus(0)))
        .node(Node::new(HostNode(1)).with_memory(gib(8)))
        .node(Node::new(HostNode(2)).with_cpus(cpus(4)))
        .distances(rows)
        .build()
        .unwrap();
    assert_eq!(ask(&host, &auto(2, gib(4))).unwrap().advice.unwrap().cpuset, cpus(4));
}

#[test]
fn missing_and_absurd_distances_still_give_a_plan_and_it_says_so() {
    for rows in [vec![], vec![vec![0; 4]; 4], vec![vec![255; 9]; 2], vec![vec![9, u32::MAX]]] {
        let absurd = !rows.is_empty();
        let host = HostTopology::uniform(4, 2, gib(4)).distances(rows).build().unwrap();
        let plan = ask(&host, &auto(4, gib(6))).unwrap();
        assert_eq!(plan.advice.unwrap().nodeset.len(), 2);
        assert_eq!(plan.trace.notes.iter().any(|note| note.contains("absurd")), absurd, "{:?}", plan.trace.notes);
    }
}

#[test]
fn sparse_node_numbers_are_used_as_they_are() {
    let node =
        |id: u32, first| Node::new(HostNode(id)).with_cpus(CpuSet::of_range(first, first + 3)).with_memory(gib(8));
    let host = HostTopology::builder().node(node(252, 8)).node(node(0, 0)).node(node(8, 4)).build().unwrap();
    let mut promised = Promised::default();
    promised.node_mut(HostNode(0)).memory = gib(8);
    promised.node_mut(HostNode(8)).memory = gib(7);
    // Promises on a node that has gone do not matter.
    promised.node_mut(HostNode(100)).memory = gib(900);
    let plan = plan(&host, &promised, &PlacementProfile::qemu(), &auto(2, gib(4))).unwrap();
    assert_eq!(plan.advice.unwrap().nodeset.to_string(), "252");
    assert_eq!(plan.cells[0].memory, [NodeShare::new(HostNode(252), gib(4))]);
}

#[test]
fn an_offline_node_is_named_in_the_refusal_with_those_that_are_online() {
    let host = HostTopology::uniform(2, 2, gib(4)).build().unwrap();
    let policy = rules::GeneralPolicy::named(MemMode::Strict, "0,3".parse().unwrap());
    let stored = rules::Stored::default().with_memory(policy);
    let refusal = ask(&host, &Request::new("g", GuestShape::flat(1, gib(1))).stored(stored)).unwrap_err();
    assert!(
        refusal.to_string().contains("node 3 named by /domain/numatune/memory/@nodeset is not online (online: 0-1)")
    );
}

#[test]
fn four_thousand_nodes_are_decided_and_one_more_is_refused() {
    let host = HostTopology::uniform(4096, 2, gib(2)).build().unwrap();
    let board = Board::new(&host, &Promised::default());
    assert_eq!(board.decide(&board.need(2, gib(1))).unwrap().cpus().len(), 1);
    let wide = board.decide(&board.need(7, gib(7))).unwrap();
    assert!(wide.cpus().len() >= 4 && wide.memory().len() >= 4);
    // As wide as the host: every node takes part.
    let all = board.decide(&board.need(8192, gib(8192))).unwrap();
    assert_eq!((all.cpus().len(), all.memory().len()), (4096, 4096));
    assert!(board.decide(&board.need(1, gib(8193))).is_err());
    assert!(HostTopology::uniform(4097, 1, gib(1)).build().is_err());
}

#[test]
fn nothing_and_too_much_are_refused_with_the_reason() {
    let host = HostTopology::uniform(2, 4, gib(8)).build().unwrap();
    for (vcpus, memory, said) in [
        (0, gib(1), "0 online vCPUs of 0"),
        (1, Kib(0), "a memory size of zero"),
        (u32::MAX, gib(1), "4294967295 vCPUs (at most 16384)"),
        (1, Kib(u64::MAX), "nodes 0-1 together short"),
        (1, gib(17), "nodes 0-1 together short 1 GiB of memory (17 GiB asked, 16 GiB can be promised)"),
    ] {
        let text = ask(&host, &auto(vcpus, memory)).unwrap_err().to_string();
        assert!(text.contains(said), "{text}");
    }
    let board = Board::new(&host, &Promised::default());
    let own = board.need(9, gib(1)).dedicated(Threads::Prefer);
    let nine = board.decide(&own).unwrap_err();
    assert_eq!(nine[0].to_string(), "nodes 0-1 together short 1 CPU (9 asked, 8 there)");
    assert!(board.decide(&board.need(0, Kib(0))).is_ok(), "nothing fits anywhere");
}

/// Memory in ordinary pages and in huge ones, both short: what is named is what is binding, all of it and no more.
#[test]
fn a_refusal_names_the_binding_constraints_and_no_others() {
    let with = |free: u64, pages: u64| {
        let pool = PagePool::new(gib(1), pages, pages);
        let node = |id: u32| {
            let cpus = CpuSet::of_range(id * 4, id * 4 + 3);
            Node::new(HostNode(id)).with_cpus(cpus).with_memory(gib(64)).with_free(gib(free)).with_pool(pool)
        };
        HostTopology::builder().node(node(0)).node(node(1)).build().unwrap()
    };
    let cell = |cell, gibs| CellShape::new(GuestCell(cell), gib(gibs), VcpuSet::of_range(cell, cell));
    let shape = GuestShape::with_cells(vec![cell(0, 20), cell(1, 12)], 2);
    let request = Request::auto("g", shape).cell_pages(GuestCell(1), PageRequest::Size(gib(1)));
    let constraints = |free, pages| ask(&with(free, pages), &request).map_or_else(|r| r.constraints, |_| Vec::new());
    let both = "0-1".parse::<NodeSet>().unwrap();
    let memory = |have| Constraint::Memory { nodes: both.clone(), need: gib(20), have: gib(have) };
    let pages = |have| Constraint::HugePages { nodes: both.clone(), size: gib(1), need: 12, have };
    assert_eq!(constraints(8, 5), [memory(16), pages(10)]);
    assert_eq!(constraints(10, 5), [pages(10)], "with the memory there only the pages are short");
    assert_eq!(constraints(8, 6), [memory(16)], "and the other way round");
    assert_eq!(constraints(10, 6), []);
}

/// A guest that may not span is told about the node that comes nearest, and about everything that is short there.
#[test]
fn one_node_and_nothing_else() {
    let host = HostTopology::uniform(3, 4, gib(8)).build().unwrap();
    let mut promised = Promised::default();
    promised.node_mut(HostNode(0)).memory = gib(8);
    promised.node_mut(HostNode(2)).memory = gib(5);
    let request = auto(4, gib(9)).span(Span::Never);
    let refusal = plan(&host, &promised, &PlacementProfile::qemu(), &request).unwrap_err();
    let node = "1".parse::<NodeSet>().unwrap();
    assert_eq!(refusal.constraints, [Constraint::Memory { nodes: node.clone(), need: gib(9), have: gib(8) }]);
    let request = auto(5, gib(9)).span(Span::Never);
    let refusal = plan(&host, &promised, &PlacementProfile::qemu(), &request).unwrap_err();
    assert_eq!(refusal.constraints.len(), 2, "{refusal}");
    assert_eq!(refusal.constraints[1], Constraint::Cpus { nodes: node, need: 5, have: 4 });
}
