//! I/O threads of a guest that runs.

use polyvirt::{
    Affect, ErrorKind, IoThreadParams, PinTarget,
    placement::{CpuSet, IoThreadId},
};
use polyvirt_tests::{connect, no_qemu, root, small_guest};

#[tokio::test(flavor = "multi_thread")]
async fn io_threads_come_are_pinned_and_go() {
    if let Some(reason) = no_qemu() {
        println!("skipped: {reason}");
        return;
    }
    let dir = root();
    let connection = connect("qemu", dir.path(), |_| {}).await;
    let guest = connection.define(&small_guest("qemu", "threads")).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let id = IoThreadId(2);
    guest.add_io_thread(id, Affect::Both).await.expect("added");
    assert_eq!(guest.add_io_thread(id, Affect::Live).await.expect_err("it is there").kind(), ErrorKind::AlreadyExists);
    guest.pin(PinTarget::IoThread(id), &CpuSet::of(0), Affect::Both).await.expect("pinned");
    let mut params = IoThreadParams::default();
    params.poll_max_ns = Some(50_000);
    guest.set_io_thread(id, params, Affect::Both).await.expect("changed");
    let threads = guest.io_threads().await.expect("a list");
    assert_eq!((threads.len(), threads[0].id, threads[0].affinity.as_ref()), (1, id, Some(&CpuSet::of(0))));
    assert_eq!(threads[0].params.poll_max_ns, Some(50_000));
    let view = guest.view().await.expect("a view");
    let stored = view.stored.expect("stored");
    assert_eq!(stored.io_thread_ids(), view.live.as_ref().expect("it runs").io_thread_ids());
    assert!(stored.to_xml().contains("<poll max='50000'/>"), "{}", stored.to_xml());
    assert!(view.plan.expect("placed").io_threads.iter().any(|(it, place)| *it == id && place.cpus == CpuSet::of(0)));

    guest.remove_io_thread(id, Affect::Live).await.expect("removed");
    assert!(guest.io_threads().await.expect("a list").is_empty());
    let gone = guest.pin(PinTarget::IoThread(id), &CpuSet::of(0), Affect::Live).await.expect_err("it is gone");
    assert_eq!(gone.kind(), ErrorKind::InvalidArgument, "{gone}");
    guest.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
    // The stored definition starts with it.
    guest.start(true).await.expect("started again");
    assert_eq!(guest.io_threads().await.expect("a list")[0].affinity, Some(CpuSet::of(0)));
    guest.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
}
