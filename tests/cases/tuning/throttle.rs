//! Limits of a disk, as QEMU itself tells them.

use polyvirt::{Affect, ErrorKind, disk_named, model::disk::IoLimits};
use polyvirt_tests::{connect, no_qemu, root, small_guest};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

/// What QEMU has for its only disk: bytes and operations in a second.
async fn limits(path: &std::path::Path) -> (u64, u64) {
    let mut stream = BufReader::new(UnixStream::connect(path).await.expect("a second monitor"));
    let orders = b"{\"execute\": \"qmp_capabilities\"}\n{\"execute\": \"query-block\", \"id\": 7}\n";
    stream.write_all(orders).await.expect("told");
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).await.expect("an answer") > 0, "the monitor ended");
        let answer: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        if answer["id"] == 7 {
            let inserted = &answer["return"][0]["inserted"];
            return (inserted["bps"].as_u64().expect("a limit"), inserted["iops"].as_u64().expect("a limit"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_disk_change_while_the_guest_runs() {
    if let Some(reason) = no_qemu() {
        println!("skipped: {reason}");
        return;
    }
    let dir = root();
    std::fs::write(dir.path().join("a.raw"), [0; 4096]).expect("an image");
    let socket = dir.path().join("second");
    let disk = format!(
        "<disk type='file'><source file='{}'/><target dev='vda' bus='virtio'/></disk><serial",
        dir.path().join("a.raw").display()
    );
    let more = format!(
        "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-qmp'/>
         <qemu:arg value='unix:{},server=on,wait=off'/></qemu:commandline></domain>",
        socket.display()
    );
    let xml = small_guest("qemu", "throttled").replacen("<serial", &disk, 1).replace("</domain>", &more);
    let connection = connect("qemu", dir.path(), |_| {}).await;
    let guest = connection.define(&xml).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let change = |bytes: Option<u64>, operations: Option<u64>| {
        let mut limits = IoLimits::default();
        (limits.total_bytes_sec, limits.total_iops_sec) = (bytes, operations);
        limits
    };
    guest.set_block_throttle("vda", change(Some(5_000_000), Some(50)), Affect::Both).await.expect("limited");
    assert_eq!(limits(&socket).await, (5_000_000, 50));
    // What is not said stays.
    guest.set_block_throttle("vda", change(None, Some(60)), Affect::Live).await.expect("limited");
    assert_eq!(limits(&socket).await, (5_000_000, 60));
    let mut both = change(Some(1), None);
    both.read_bytes_sec = Some(1);
    let error = guest.set_block_throttle("vda", both, Affect::Both).await.expect_err("a total and a part");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    guest.set_block_throttle("vda", change(Some(0), Some(0)), Affect::Live).await.expect("lifted");
    assert_eq!(limits(&socket).await, (0, 0));
    let view = guest.view().await.expect("a view");
    let of = |config: &polyvirt::model::DomainConfig| disk_named(config, "vda").expect("the disk").iotune.clone();
    assert_eq!(of(view.live.as_ref().expect("it runs")), None);
    assert_eq!(of(view.stored.as_deref().expect("stored")).expect("limits").limits.total_iops_sec, Some(50));
    let none = guest.set_block_throttle("vdz", change(Some(1), None), Affect::Live).await.expect_err("no such disk");
    assert_eq!(none.kind(), ErrorKind::NotFound, "{none}");
    guest.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
}
