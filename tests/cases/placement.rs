//! What decides about a guest's place: wishes in its metadata, devices of the host, advisors.

use std::path::Path;

use polyvirt::{
    Connection, ErrorKind, OpenOptions,
    placement::{Advisor, Numad, Plan},
};
use polyvirt_tests::{Root, connect, root};

/// Two nodes with four CPUs and 4 GB each, and a PCI device at the second one.
fn host() -> Root {
    let root = root();
    let node = |node: u32| {
        let dir = format!("sys/devices/system/node/node{node}");
        let meminfo = format!("Node {node} MemTotal: 4000000 kB\nNode {node} MemFree: 4000000 kB\n");
        let distance = if node == 0 { "10 21" } else { "21 10" };
        [
            (format!("{dir}/cpulist"), format!("{}-{}", node * 4, node * 4 + 3)),
            (format!("{dir}/distance"), distance.to_owned()),
            (format!("{dir}/meminfo"), meminfo),
        ]
    };
    let rest = [
        ("sys/devices/system/cpu/online", "0-7"),
        ("sys/devices/system/node/online", "0-1"),
        ("sys/bus/pci/devices/0000:81:00.0/numa_node", "1\n"),
        ("proc/sys/kernel/osrelease", "6.12.1\n"),
    ];
    let rest = rest.map(|(path, content)| (path.to_owned(), content.to_owned()));
    for (path, content) in node(0).into_iter().chain(node(1)).chain(rest) {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a directory")).expect("made");
        std::fs::write(path, content).expect("written");
    }
    root
}

fn guest(vcpus: u32, wishes: &str) -> String {
    format!(
        "<domain type='test'><name>g</name><metadata><polyvirt:placement
         xmlns:polyvirt='https://polyvirt.org/xmlns/placement/1.0' {wishes}</polyvirt:placement></metadata>
         <memory unit='MiB'>512</memory><vcpu placement='auto'>{vcpus}</vcpu><os><type>hvm</type></os><devices/></domain>"
    )
}

async fn on(host: &Root, dir: &Root, change: impl FnOnce(&mut OpenOptions)) -> Connection {
    let path = Path::to_owned(host.path());
    connect("mock", dir.path(), |options| {
        options.host_root = path;
        change(options);
    })
    .await
}

async fn planned(connection: &Connection, xml: &str) -> polyvirt::Result<Plan> {
    connection.explain(xml, None).await.expect("thought through").plan.expect("polyvirt places")
}

fn nodes(plan: &Plan) -> String {
    plan.advice.as_ref().expect("automatic").nodeset.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_in_the_metadata_are_followed() {
    let (host, dir) = (host(), root());
    let connection = on(&host, &dir, |_| {}).await;
    let plan = planned(&connection, &guest(2, "cpus='dedicated'>")).await.expect("a plan");
    let cpus: Vec<_> = plan.cells[0].vcpus.iter().map(|vcpu| vcpu.hard.to_string()).collect();
    assert_eq!((cpus, nodes(&plan)), (vec!["0".to_owned(), "1".to_owned()], "0".to_owned()));
    // Six CPUs of its own need both nodes.
    assert_eq!(nodes(&planned(&connection, &guest(6, "cpus='dedicated'>")).await.expect("a plan")), "0");
    let refused = planned(&connection, &guest(6, "span='never' cpus='dedicated'>")).await.expect_err("too many");
    assert!(refused.to_string().contains("4 there"), "{refused}");
    let kept = planned(&connection, &guest(2, "><polyvirt:headroom unit='GiB'>2</polyvirt:headroom>")).await;
    assert_eq!(kept.expect("a plan").headroom.memory.iter().map(|share| share.size.0).sum::<u64>(), 2 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_draws_its_guest() {
    let (host, dir) = (host(), root());
    let connection = on(&host, &dir, |_| {}).await;
    assert_eq!(nodes(&planned(&connection, &guest(2, ">")).await.expect("a plan")), "0");
    let plan = planned(&connection, &guest(2, "><polyvirt:near pci='0000:81:00.0'/>")).await.expect("a plan");
    assert_eq!(nodes(&plan), "1");
    assert!(plan.trace.notes.iter().any(|note| note.contains("0000:81:00.0 is on node 1")), "{:?}", plan.trace.notes);
    assert_eq!(nodes(&planned(&connection, &guest(2, "><polyvirt:near node='1'/>")).await.expect("a plan")), "1");
    let assigned = "<devices><hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000'
        bus='0x81' slot='0x00' function='0x0'/></source></hostdev></devices>";
    let xml = guest(2, ">").replace("<devices/>", assigned);
    assert_eq!(nodes(&planned(&connection, &xml).await.expect("a plan")), "1");
    // An unknown device draws nowhere, and it is said.
    let plan = planned(&connection, &guest(2, "><polyvirt:near pci='0000:99:00.0'/>")).await.expect("a plan");
    assert!(plan.trace.notes.iter().any(|note| note.contains("0000:99:00.0")), "{:?}", plan.trace.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advisor_is_followed_and_told() {
    let (host, dir) = (host(), root());
    let connection = on(&host, &dir, |options| options.advisor = Advisor::Static("1".parse().expect("a set"))).await;
    let plan = planned(&connection, &guest(2, ">")).await.expect("a plan");
    assert_eq!((nodes(&plan), plan.cells[0].vcpus[0].hard.to_string()), ("1".to_owned(), "4-7".to_owned()));
    assert!(plan.trace.notes.iter().any(|note| note.contains("the settings advise nodes 1")), "{:?}", plan.trace.notes);
    // Somebody who brings an advice of his own is not contradicted.
    let own = connection.explain(&guest(2, ">"), Some("0".parse().expect("a set"))).await.expect("thought through");
    assert_eq!(nodes(&own.plan.expect("polyvirt places").expect("a plan")), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advisor_that_fails_ends_the_start_of_automatic_guests_alone() {
    let (host, dir) = (host(), root());
    let connection = on(&host, &dir, |options| options.advisor = Advisor::Numad(Numad::at("/nowhere/numad"))).await;
    let auto = connection.define(&guest(2, ">")).await.expect("defined").guest;
    let error = auto.start(true).await.expect_err("nobody advises");
    assert_eq!((error.kind(), error.fact("stage")), (ErrorKind::NoResources, Some("reserve")), "{error}");
    assert!(error.to_string().contains("'/nowhere/numad' is not installed"), "{error}");
    let promised = connection.ledger().expect("a ledger").snapshot().expect("a snapshot");
    assert!(promised.leases.is_empty());
    let fixed = guest(2, ">").replace("placement='auto'", "placement='static'").replace(">g<", ">fixed<");
    let fixed = connection.define(&fixed).await.expect("defined").guest;
    fixed.start(true).await.expect("it needs no advice");
    fixed.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
}
