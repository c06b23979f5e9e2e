//! Wishes beyond libvirt's format: weights, nearness, fixed cells.

use super::*;

#[test]
fn interleaving_by_weights_is_the_policy_of_the_process_and_promises_by_weight() {
    let mut weights = [4u8, 2, 1, 1].into_iter();
    let host = HostTopology::uniform(4, 4, gib(8)).map_nodes(|node| node.with_weight(weights.next().unwrap())).build();
    let host = host.unwrap();
    let general = rules::GeneralPolicy::named(MemMode::Interleave, nodes("0-3"));
    let own = rules::CellPolicy::new(GuestCell(1), MemMode::Interleave, nodes("2-3"));
    let stored = rules::Stored::default().with_memory(general).with_memnode(own);
    let kernel = |release| KernelSupport::of_release(release);
    let request = Request::new("g", celled(&[8, 2])).stored(stored).weighted(true).kernel(kernel("6.12.1"));
    let plan = qemu(&host, &request).unwrap();
    assert_eq!(shares(&plan, 0), [(0, 4), (1, 2), (2, 1), (3, 1)]);
    let policy = MemPolicy::new(MemMode::Interleave, nodes("0-3")).weighted(true);
    assert_eq!((&plan.cells[0].policy, plan.process.launch.as_ref()), (&policy, Some(&policy)));
    assert_eq!((shares(&plan, 1), plan.cells[1].policy.weighted), (vec![(2, 1), (3, 1)], false), "a policy of its own");
    assert!(plan.weakened.is_empty());
    let bound = applied::applied(&plan, applied::Hypervisor::Qemu, request.kernel);
    assert_eq!((bound.cells[0].policy.as_deref(), bound.cells[0].host_nodes.is_empty()), (None, true));
    assert_eq!(bound.cells[1].policy.as_deref(), Some("interleave"));
    // An older kernel deals out evenly, and it is said.
    let plan = qemu(&host, &request.kernel(kernel("6.1.0-18-amd64"))).unwrap();
    assert_eq!(shares(&plan, 0), [(0, 2), (1, 2), (2, 2), (3, 2)]);
    assert_eq!(plan.process.launch, Some(MemPolicy::new(MemMode::Interleave, nodes("0-3"))));
    assert!(plan.weakened.iter().any(|weak| weak.what.contains("weights") && weak.why.contains("6.9")));
}

#[test]
fn wishes_that_cannot_be_met_are_said() {
    let plan = qemu(&two(), &auto(2, 4).near(HostNode(9))).unwrap();
    assert!(plan.weakened.iter().any(|weak| weak.what == "nearness to node 9" && weak.why.contains("0-1")));
    let given = auto(2, 4).span(Span::Never).advice(AdviceSource::Given(nodes("0-1")));
    assert!(qemu(&two(), &given).unwrap().weakened.iter().any(|weak| weak.what.contains("one node")));
    assert!(qemu(&two(), &auto(2, 4).near(HostNode(1)).span(Span::Never)).unwrap().weakened.is_empty());
}

#[test]
fn a_fixed_cell_stays_and_the_rest_is_placed_beside_it() {
    let fix = |cell, set| rules::CellPolicy::new(GuestCell(cell), MemMode::Strict, nodes(set)).fixed();
    let stored = rules::Stored::auto().with_memnode(fix(1, "0"));
    let on = |plan: &Plan| plan.cells.iter().map(|cell| cell.policy.nodes.to_string()).collect::<Vec<_>>();
    // Six of eight GiB of node 0 are the fixed cell's, so the other one goes elsewhere.
    let plan = qemu(&four(), &Request::new("g", celled(&[4, 6])).stored(stored.clone())).unwrap();
    assert_eq!(on(&plan), ["1", "0"]);
    assert_eq!((plan.cells[0].own_policy, plan.cells[1].own_policy), (false, true));
    assert_eq!(shares(&plan, 1), [(0, 6)]);
    assert_eq!(plan.advice.as_ref().unwrap().nodeset, nodes("1"));
    let cpuset = KernelSupport::default().with_cpuset(true);
    let held = qemu(&four(), &Request::new("g", celled(&[4, 6])).stored(stored.clone()).kernel(cpuset)).unwrap();
    assert_eq!(held.process.mems, Some(nodes("0-1")), "the cgroup gives both");
    // With a node for each cell the fixed one has its own CPUs too.
    let each = Request::new("g", celled(&[4, 6])).stored(stored.clone()).per_cell(true);
    let plan = qemu(&four(), &each).unwrap();
    assert_eq!(
        (on(&plan), plan.cells[1].vcpus[0].hard.to_string()),
        (vec!["1".to_owned(), "0".to_owned()], "0-3".to_owned())
    );
    // What it needs is never promised twice or beyond what there is.
    let refusal = qemu(&four(), &Request::new("g", celled(&[4, 9])).stored(stored)).unwrap_err();
    assert!(refusal.to_string().contains("node 0 short 1 GiB"), "{refusal}");
    let offline = rules::Stored::auto().with_memnode(fix(1, "7"));
    assert!(
        qemu(&four(), &Request::new("g", celled(&[1, 1])).stored(offline)).unwrap_err().to_string().contains("node 7")
    );
    let xen = PlacementProfile::one_node_per_cell();
    let stored = rules::Stored::auto().with_memnode(fix(1, "0"));
    let request = Request::new("g", celled(&[4, 6])).stored(stored);
    assert_eq!(on(&plan_for(&four(), &xen, &request)), ["1", "0"]);
    assert_eq!(on(&plan_for(&four(), &PlacementProfile::container(), &request)), ["0-1"], "one policy for all");
}

fn plan_for(host: &HostTopology, profile: &PlacementProfile, request: &Request) -> Plan {
    plan(host, &Promised::default(), profile, request).unwrap()
}

#[test]
fn the_search_counts_interleaved_pages_where_they_will_be() {
    // Node 2 is nearer than node 1; but by weight three quarters of the memory would be there, and none of it is local.
    let mut weights = [1u8, 1, 3].into_iter();
    let host = HostTopology::uniform(3, 4, gib(16)).map_nodes(|node| node.with_weight(weights.next().unwrap()));
    let host = host.distances(vec![vec![10, 21, 19], vec![21, 10, 21], vec![19, 21, 10]]).build().unwrap();
    let chosen = |mode, weighted| {
        let stored =
            rules::Stored::default().with_memory(rules::GeneralPolicy::auto(mode)).with_cpuset("0-3".parse().unwrap());
        let request = Request::new("g", GuestShape::flat(2, gib(20))).stored(stored).weighted(weighted);
        let plan = qemu(&host, &request.kernel(KernelSupport::of_release("6.12.1"))).unwrap();
        shares(&plan, 0)
    };
    assert_eq!(chosen(MemMode::Interleave, false), [(0, 10), (2, 10)]);
    assert_eq!(chosen(MemMode::Interleave, true), [(0, 10), (1, 10)], "its weight makes node 2 dear");
    assert_eq!(chosen(MemMode::Strict, true)[1].0, 2);
}
