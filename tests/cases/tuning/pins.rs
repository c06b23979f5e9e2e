//! Pins beside other changes of the same guest.

use polyvirt::{
    Affect, PinTarget, SchedulerParams,
    placement::{CpuSet, VcpuId},
};
use polyvirt_tests::{connect, no_qemu, root, small_guest};

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_the_same_time_do_not_undo_each_other() {
    if let Some(reason) = no_qemu() {
        return println!("skipped: {reason}");
    }
    let dir = root();
    let connection = connect("qemu", dir.path(), |_| {}).await;
    let xml = small_guest("qemu", "pinned").replacen(">1</vcpu>", " current='1'>2</vcpu>", 1);
    let guest = connection.define(&xml).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let cpu = CpuSet::of(0);
    let mut shares = SchedulerParams::default();
    shares.shares = Some(700);
    let tuned = async {
        match guest.set_scheduler(shares, Affect::Live).await {
            // A host without the controller: the others are to be seen all the same.
            Err(error) => println!("{error}"),
            Ok(()) => {
                let live = guest.view().await.expect("a view").live.expect("it runs");
                assert_eq!(SchedulerParams::of(&live).shares, Some(700));
            }
        }
    };
    let (first, emulator, offline, plugged, ()) = tokio::join!(
        guest.pin(PinTarget::Vcpu(VcpuId(0)), &cpu, Affect::Both),
        guest.pin(PinTarget::Emulator, &cpu, Affect::Live),
        // It need not be there yet.
        guest.pin(PinTarget::Vcpu(VcpuId(1)), &cpu, Affect::Live),
        guest.set_vcpus(2, false, Affect::Live),
        tuned,
    );
    for done in [first, emulator, offline, plugged] {
        done.expect("changed");
    }
    let view = guest.view().await.expect("a view");
    let live = view.live.expect("it runs");
    let tune = live.cputune.as_ref().expect("pins");
    let pins: Vec<_> = tune.vcpupin.iter().map(|it| (it.vcpu, it.cpuset.clone())).collect();
    assert_eq!(pins, [(0, cpu.clone()), (1, cpu.clone())]);
    assert_eq!(tune.emulatorpin.as_ref().expect("a pin").cpuset, cpu);
    assert_eq!(live.online_vcpus().to_string(), "0-1");
    let plan = view.plan.expect("placed");
    assert!((0..2).all(|id| plan.vcpu(VcpuId(id)).expect("a place").hard == cpu) && plan.process.cpus == cpu);
    assert_eq!(plan.shape.vcpus_online, 2);
    for vcpu in guest.vcpus().await.expect("vCPUs") {
        assert_eq!(vcpu.affinity, Some(cpu.clone()), "{:?}", vcpu.vcpu);
    }
    guest.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_one_definition_do_not_undo_each_other() {
    let dir = root();
    let here = connect("mock", dir.path(), |_| {}).await;
    let guest =
        here.define(&small_guest("test", "stored").replacen(">1</vcpu>", ">4</vcpu>", 1)).await.expect("ok").guest;
    let there = connect("mock", dir.path(), |_| {}).await;
    let other = there.lookup_by_name("stored").await.expect("found");
    let cpu = CpuSet::of(0);
    let pin = |guest: &polyvirt::Guest, id| {
        let (guest, cpu) = (guest.clone(), cpu.clone());
        async move { guest.pin(PinTarget::Vcpu(VcpuId(id)), &cpu, Affect::Config).await }
    };
    let (a, b, c, d) = tokio::join!(pin(&guest, 0), pin(&other, 1), pin(&guest, 2), pin(&other, 3));
    for done in [a, b, c, d] {
        done.expect("changed");
    }
    let stored = guest.view().await.expect("a view").stored.expect("stored");
    assert_eq!(stored.cputune.as_ref().expect("pins").vcpupin.len(), 4, "{}", stored.to_xml());
}
