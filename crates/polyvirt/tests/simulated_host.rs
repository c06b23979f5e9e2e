//! Guests on a host that the driver has and the kernel does not: four nodes where there may be one.

#![cfg(feature = "mock")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use polyvirt::{Connection, ErrorKind, OpenOptions};

async fn open(root: &Path, nodes: u32) -> polyvirt::Result<Connection> {
    let mut options = OpenOptions::new(polyvirt::registry().unwrap());
    options.settings.set("nodes", nodes);
    options.settings.set("cpus_per_node", 4);
    options.settings.set("memory_per_node", 8192);
    Connection::open(&format!("mock:///embed?root={}", root.display()), options).await
}

fn xml(name: &str, gib: u32, more: &str) -> String {
    format!(
        "<domain type='test'><name>{name}</name><memory unit='GiB'>{gib}</memory><vcpu placement='auto'>4</vcpu>{more}\
         <os><type arch='x86_64'>hvm</type></os></domain>"
    )
}

#[tokio::test]
async fn guests_are_placed_on_the_host_of_the_driver() {
    let root = tempfile::tempdir().unwrap();
    let connection = open(root.path(), 4).await.unwrap();
    assert_eq!(connection.topology().await.unwrap().online_nodes().to_string(), "0-3");
    let mut taken = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let guest = connection.define(&xml(name, 5, "")).await.unwrap().guest;
        guest.start(true).await.unwrap();
        taken.push(guest.view().await.unwrap().plan.unwrap().advice.unwrap().nodeset.to_string());
    }
    taken.sort();
    // Two of them do not fit on one node, so each has its own.
    assert_eq!(taken, ["0", "1", "2", "3"]);
    let guest = connection
        .define(&xml("e", 9, "<numatune><memory mode='strict' nodeset='2'/></numatune>"))
        .await
        .unwrap()
        .guest;
    let error = guest.start(true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoResources, "{error}");
    // Promises about nodes that this machine does not have are kept apart from those about its own.
    assert!(root.path().join("run/mock/numa").is_dir());
}

#[tokio::test]
async fn a_host_that_cannot_be_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let error = open(root.path(), u32::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let error = open(root.path(), 10_000).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}
