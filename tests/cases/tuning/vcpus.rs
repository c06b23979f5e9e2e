//! vCPUs that come and go, as the guest sees them.

use polyvirt::{
    Affect, ErrorKind, EventKind, PinTarget, VcpuNumbers, Which,
    placement::{CpuSet, VcpuId},
};

use crate::linux::{Linux, open};

#[tokio::test(flavor = "multi_thread")]
async fn the_guest_sees_vcpus_come_and_lets_them_go() {
    let Some(mut linux) = Linux::boot("vcpus", "<vcpu current='1'>4</vcpu>", "").await else { return };
    let guest = linux.guest.clone();
    linux.has_cpus("0").await;
    // Its place is decided long before it comes.
    guest.pin(PinTarget::Vcpu(VcpuId(2)), &CpuSet::of(0), Affect::Live).await.expect("pinned while it is away");
    guest.set_vcpus(3, false, Affect::Both).await.expect("plugged");
    linux.has_cpus("0-2").await;
    let vcpus = guest.vcpus().await.expect("vCPUs");
    assert_eq!(vcpus.iter().map(|it| it.vcpu.0).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(vcpus[2].affinity, Some(CpuSet::of(0)), "the pin waited for it");

    let view = guest.view().await.expect("a view");
    let live = view.live.expect("it runs");
    assert_eq!((VcpuNumbers::of(&live).current, VcpuNumbers::of(&live).maximum), (3, 4));
    assert_eq!(live.removable_vcpus(), "1-2".parse().expect("a set"));
    assert_eq!(VcpuNumbers::of(&view.stored.expect("stored")).current, 3);
    let plan = view.plan.expect("placed");
    assert_eq!((plan.shape.vcpus_online, plan.headroom.vcpus), (3, 1));
    let leases = linux.connection.ledger().expect("a ledger").snapshot().expect("a snapshot").leases;
    let uuid = guest.uuid().to_string();
    let own = leases.iter().find(|lease| lease.guest == uuid).expect("a lease");
    assert_eq!(own.booked.nodes.values().map(|node| node.milli_vcpus).sum::<u64>(), 3000);

    let none = guest.set_vcpus(0, false, Affect::Live).await.expect_err("none");
    assert_eq!(none.kind(), ErrorKind::InvalidArgument, "{none}");
    let first = guest.select_vcpus(&"0".parse().expect("a set"), false, Affect::Live).await.expect_err("it stays");
    assert_eq!(first.kind(), ErrorKind::InvalidState, "{first}");

    // Another process finds what there is.
    guest.release().await.expect("released");
    let other = open(&linux.root).await;
    let found = other.lookup_by_name("vcpus").await.expect("found");
    found.set_vcpus(1, false, Affect::Live).await.expect("the guest lets go");
    linux.has_cpus("0").await;
    assert!(found.xml(Which::Live).await.expect("XML").contains("current='1'"));
    let (events, _) = other.history(0).await.expect("history");
    let counts: Vec<u32> = events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::VcpusChanged { online } => Some(online),
            _ => None,
        })
        .collect();
    assert_eq!(counts.last(), Some(&1), "{counts:?}");
    found.release().await.expect("released");
    linux.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removable_ones_of_the_definition_are_plugged_at_the_start_and_stay_while_it_is_paused() {
    let vcpus = "<vcpu current='2'>3</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/>
        <vcpu id='1' enabled='yes' hotpluggable='yes'/><vcpu id='2' enabled='no' hotpluggable='yes'/></vcpus>";
    let Some(mut linux) = Linux::boot("plugged", vcpus, "").await else { return };
    linux.has_cpus("0-1").await;
    let there = linux.guest.vcpus().await.expect("vCPUs");
    assert_eq!(there.iter().map(|it| it.vcpu.0).collect::<Vec<_>>(), [0, 1]);
    let guest = linux.guest.clone();
    guest.suspend().await.expect("paused");
    let error = guest.set_vcpus(1, false, Affect::Both).await.expect_err("nobody would let go");
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
    let view = guest.view().await.expect("a view");
    assert_eq!(VcpuNumbers::of(&view.stored.expect("stored")).current, 2, "both or neither");
    guest.resume().await.expect("resumed");
    guest.set_vcpus(1, false, Affect::Both).await.expect("the guest lets go");
    linux.has_cpus("0").await;
    linux.end().await;
}
