//! A guest that sits where it should not is found and moved, on a host of text files with two nodes.

#![cfg(feature = "mock")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use polyvirt::{
    Connection, Destroy, OpenOptions, Roots,
    placement::{
        HostNode, Kib, NodeSet,
        rebalance::{Hysteresis, Move},
    },
};

/// Two nodes of four CPUs and 16 GiB.
fn host(root: &Path, free: [u64; 2]) {
    let write = |path: String, text: String| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let (system, kb) = ("sys/devices/system", 1u64 << 20);
    for (node, free) in free.into_iter().enumerate() {
        let of = format!("{system}/node/node{node}");
        write(format!("{of}/cpulist"), format!("{}-{}", node * 4, node * 4 + 3));
        write(format!("{of}/distance"), if node == 0 { "10 21" } else { "21 10" }.to_owned());
        let figures = format!("Node {node} MemTotal: {} kB\nNode {node} MemFree: {} kB\n", 16 * kb, free * kb);
        write(format!("{of}/meminfo"), figures);
    }
    write(format!("{system}/cpu/online"), "0-7".to_owned());
    write(format!("{system}/cpu/possible"), "0-7".to_owned());
    write(format!("{system}/node/online"), "0-1".to_owned());
    write(format!("{system}/node/has_normal_memory"), "0-1".to_owned());
    write("proc/meminfo".to_owned(), format!("MemTotal: {} kB\n", 32 * kb));
    write("proc/sys/kernel/osrelease".to_owned(), "6.1.0".to_owned());
    // A cpuset that can be used confines memory.
    write("proc/self/mountinfo".to_owned(), "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n".to_owned());
    write("proc/self/cgroup".to_owned(), "0::/\n".to_owned());
    write("sys/fs/cgroup/cgroup.controllers".to_owned(), "cpuset cpu memory\n".to_owned());
    write("sys/fs/cgroup/cgroup.procs".to_owned(), String::new());
    write("sys/fs/cgroup/cgroup.subtree_control".to_owned(), "cpuset cpu memory\n".to_owned());
}

async fn open(root: &Path) -> Connection {
    let mut options = OpenOptions::new(polyvirt::registry().unwrap());
    options.host_root = root.join("host");
    options.roots = Some(Roots::embedded(&root.join("guests"), "mock", false));
    Connection::open("mock:///default", options).await.unwrap()
}

fn xml(name: &str, vcpus: u32, more: &str) -> String {
    format!(
        "<domain type='test'><name>{name}</name><memory unit='GiB'>4</memory><vcpu placement='auto'>{vcpus}</vcpu>{more}\
         <os><type arch='x86_64'>hvm</type></os></domain>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn vcpus_go_where_there_is_room_and_the_promise_with_them() {
    let root = tempfile::tempdir().unwrap();
    host(&root.path().join("host"), [16, 0]);
    let connection = open(root.path()).await;
    let mut guests = Vec::new();
    // Node 1 has no memory left, so all of them are put on node 0 and its four CPUs.
    for name in ["one", "two", "three"] {
        let guest = connection.define(&xml(name, 4, "")).await.unwrap().guest;
        guest.start(false).await.unwrap();
        guests.push(guest);
    }
    let mut seen = Vec::new();
    for guest in &guests {
        let observation = guest.observe().await.unwrap();
        assert_eq!(observation.plan.memory_nodes().to_string(), "0");
        assert!(observation.drift().misplaced.is_zero());
        assert!(!observation.movable, "strict memory stays");
        seen.push(observation);
    }
    host(&root.path().join("host"), [4, 16]);
    let suggestion = connection.suggest(&seen, Hysteresis::default()).await.unwrap().unwrap();
    let [change] = suggestion.moves.as_slice() else { panic!("{suggestion:?}") };
    assert!(change.memory.is_none() && suggestion.size == Kib::ZERO, "{suggestion:?}");
    // Another process of this host moves a guest: then the next has to wait, in every process.
    let mut hasty = Hysteresis::default();
    hasty.least_time = std::time::Duration::ZERO;
    assert_eq!(connection.since_move().await.unwrap(), None);
    open(root.path()).await.ledger().unwrap().note_move().unwrap();
    assert_eq!(connection.suggest(&seen, Hysteresis::default()).await.unwrap(), None);
    assert_eq!(connection.suggest(&seen, hasty).await.unwrap().as_ref(), Some(&suggestion));
    let guest = guests.iter().find(|guest| guest.name() == change.guest).unwrap();
    guest.relocate(change).await.unwrap();
    let after = guest.observe().await.unwrap();
    let nodes = change.cpus.as_ref().unwrap();
    let cpus = connection.host().topology().unwrap().cpus_of(nodes);
    assert!(after.vcpus.iter().all(|vcpu| vcpu.affinity.as_ref() == Some(&cpus)), "{after:?}");
    assert_eq!(after.plan.revision, 2);
    let snapshot = connection.ledger().unwrap().snapshot().unwrap();
    let lease = snapshot.leases.iter().find(|lease| Some(&lease.id) == after.plan.lease.as_ref()).unwrap();
    let vcpus: u64 = nodes.iter().map(|node| lease.booked.node(node).unwrap().milli_vcpus).sum();
    assert_eq!(vcpus, 4000);
    assert_eq!(lease.booked.node(HostNode(0)).unwrap().memory, Kib::from_gib(4));
    assert!(connection.since_move().await.unwrap().is_some());
    let again = connection.suggest(&[after], hasty).await.unwrap();
    assert!(again.is_none(), "what was moved well is not moved again: {again:?}");
    for guest in guests {
        guest.destroy(Destroy::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_definition_fixed_stays() {
    let root = tempfile::tempdir().unwrap();
    host(&root.path().join("host"), [16, 16]);
    let connection = open(root.path()).await;
    let pins = "<cputune><vcpupin vcpu='0' cpuset='0'/></cputune>";
    let guest = connection.define(&xml("pinned", 1, pins)).await.unwrap().guest;
    guest.start(false).await.unwrap();
    let change = |text: &str| serde_json::from_str::<Move>(text).unwrap();
    let cpus = r#"{"guest": "pinned", "cpus": "1", "memory": null, "size": 0}"#;
    let error = guest.relocate(&change(cpus)).await.unwrap_err();
    assert!(error.to_string().contains("the vCPUs of the guest 'pinned' cannot be moved"), "{error}");
    let memory = r#"{"guest": "pinned", "cpus": null, "memory": "1", "size": 4194304}"#;
    let error = guest.relocate(&change(memory)).await.unwrap_err();
    assert!(error.to_string().contains("only memory with mode 'restrictive' moves"), "{error}");
    assert!(!guest.observe().await.unwrap().seat().repinnable);
    guest.destroy(Destroy::default()).await.unwrap();
    let error = guest.observe().await.unwrap_err();
    assert!(error.to_string().contains("does not run"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn restrictive_memory_moves() {
    let root = tempfile::tempdir().unwrap();
    host(&root.path().join("host"), [16, 16]);
    let connection = open(root.path()).await;
    let policy = "<numatune><memory mode='restrictive' nodeset='0'/></numatune>";
    let text = xml("roams", 1, policy).replace(" placement='auto'", "");
    let guest = connection.define(&text).await.unwrap().guest;
    guest.start(false).await.unwrap();
    let seen = guest.observe().await.unwrap();
    assert!(seen.movable, "{:?}", seen.plan.process);
    let change = r#"{"guest": "roams", "cpus": null, "memory": "1", "size": 4194304}"#;
    guest.relocate(&serde_json::from_str(change).unwrap()).await.unwrap();
    let after = guest.observe().await.unwrap();
    assert_eq!(after.plan.process.mems, Some(NodeSet::of(HostNode(1))));
    let snapshot = connection.ledger().unwrap().snapshot().unwrap();
    let booked = snapshot.leases[0].booked.node(HostNode(1)).unwrap();
    assert!(booked.untouched.is_zero(), "what was found there is booked as touched: {booked:?}");
    let promised = snapshot.promised;
    let on = |node: u32| promised.node(HostNode(node)).map_or(Kib::ZERO, |promise| promise.memory);
    assert_eq!((on(0), on(1)), (Kib::ZERO, Kib::from_gib(4)));
    guest.destroy(Destroy::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_change_places_and_their_promises_with_them() {
    let root = tempfile::tempdir().unwrap();
    host(&root.path().join("host"), [16, 16]);
    let connection = open(root.path()).await;
    let mut seen = Vec::new();
    // Each runs on one node and has its memory on the other, and no node has room for both.
    for (name, cpus, node) in [("one", "0-3", 1), ("two", "4-7", 0)] {
        let policy = format!("<numatune><memory mode='restrictive' nodeset='{node}'/></numatune>");
        let text = xml(name, 2, &policy).replace("'GiB'>4<", "'GiB'>12<");
        let text = text.replace(" placement='auto'", &format!(" placement='static' cpuset='{cpus}'"));
        let guest = connection.define(&text).await.unwrap().guest;
        guest.start(false).await.unwrap();
        seen.push(guest.observe().await.unwrap());
    }
    let suggestion = connection.suggest(&seen, Hysteresis::default()).await.unwrap().unwrap();
    assert_eq!((suggestion.moves.len(), suggestion.size), (2, Kib::from_gib(24)), "{suggestion:?}");
    assert_eq!(connection.carry_out(&suggestion).await.unwrap(), Kib::ZERO);
    let snapshot = connection.ledger().unwrap().snapshot().unwrap();
    for (name, node) in [("one", 0), ("two", 1)] {
        let guest = connection.lookup_by_name(name).await.unwrap();
        let after = guest.observe().await.unwrap();
        assert_eq!(after.plan.process.mems, Some(NodeSet::of(HostNode(node))));
        assert!(after.drift().misplaced.is_zero());
        let lease = snapshot.leases.iter().find(|lease| Some(&lease.id) == after.plan.lease.as_ref()).unwrap();
        assert_eq!(lease.booked.node(HostNode(node)).unwrap().memory, Kib::from_gib(12));
    }
    // One that is gone cannot change places: the other stays.
    connection.lookup_by_name("two").await.unwrap().destroy(Destroy::default()).await.unwrap();
    let back = r#"{"moves": [{"guest": "one", "cpus": null, "memory": "1", "size": 12582912},
                             {"guest": "two", "cpus": null, "memory": "0", "size": 12582912}], "size": 25165824, "gain": 1.0}"#;
    let error = connection.carry_out(&serde_json::from_str(back).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("does not run"), "{error}");
    let one = connection.lookup_by_name("one").await.unwrap();
    assert_eq!(one.observe().await.unwrap().plan.process.mems, Some(NodeSet::of(HostNode(0))));
    one.destroy(Destroy::default()).await.unwrap();
}
