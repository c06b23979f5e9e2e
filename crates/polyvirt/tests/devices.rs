//! Devices of stored definitions, put in, changed and taken out.

#![cfg(feature = "mock")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use polyvirt::{Affect, Connection, ErrorKind, Guest, OpenOptions, Which};

const GUEST: &str =
    "<domain type='test'><name>web</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os>
  <devices><disk type='file'><source file='/dev/null'/><target dev='vda' bus='virtio'/></disk></devices></domain>";
const DISK: &str = "<disk type='file'><source file='/b'/><target dev='vdb' bus='virtio'/><alias name='ua-b'/></disk>";

async fn guest(root: &tempfile::TempDir) -> Guest {
    let uri = format!("mock:///embed?root={}", root.path().display());
    let connection = Connection::open(&uri, OpenOptions::new(polyvirt::registry().unwrap())).await.unwrap();
    connection.define(GUEST).await.unwrap().guest
}

async fn stored(guest: &Guest) -> String {
    guest.xml(Which::Stored).await.unwrap()
}

#[tokio::test]
async fn a_disk_comes_changes_and_goes() {
    let root = tempfile::tempdir().unwrap();
    let guest = guest(&root).await;
    let before = stored(&guest).await;
    guest.attach_device(DISK, Affect::Config).await.unwrap();
    assert!(stored(&guest).await.contains("file='/b'"));
    let error = guest.attach_device(DISK, Affect::Config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    guest
        .update_device(&DISK.replace("/b", "/c").replace("<alias name='ua-b'/>", ""), Affect::Config, false)
        .await
        .unwrap();
    let changed = stored(&guest).await;
    assert!(changed.contains("file='/c'") && !changed.contains("file='/b'") && changed.contains("ua-b"), "{changed}");
    guest.detach_alias("ua-b", Affect::Config).await.unwrap();
    assert_eq!(stored(&guest).await, before);
    assert_eq!(guest.detach_device(DISK, Affect::Config).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(guest.detach_alias("ua-b", Affect::Config).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_cannot_be_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let guest = guest(&root).await;
    let before = stored(&guest).await;
    for (xml, kind) in [
        ("<dsik/>", ErrorKind::InvalidConfig),
        ("<disk", ErrorKind::InvalidConfig),
        ("<disk type='file'><target dev='vdz' bus='nonsense'/></disk>", ErrorKind::InvalidConfig),
        // Its place is taken.
        ("<controller type='scsi' index='0'/><controller type='scsi' index='0'/>", ErrorKind::InvalidConfig),
    ] {
        let error = guest.attach_device(xml, Affect::Config).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{xml}: {error}");
    }
    let rng = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>";
    for _ in 0..2 {
        guest.attach_device(rng, Affect::Config).await.unwrap();
    }
    let error = guest.detach_device("<rng model='virtio'/>", Affect::Config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.to_string().contains("rng[1], rng[2]"), "{error}");
    let two = stored(&guest).await;
    // Which of two is to be changed?
    assert_eq!(guest.update_device(rng, Affect::Config, false).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(stored(&guest).await, two);
    assert_ne!(two, before);
}

#[tokio::test]
async fn each_side_is_changed_for_itself() {
    let root = tempfile::tempdir().unwrap();
    let guest = guest(&root).await;
    assert_eq!(guest.attach_device(DISK, Affect::Live).await.unwrap_err().kind(), ErrorKind::InvalidState);
    std::fs::write(root.path().join("b"), "").unwrap();
    let disk = DISK.replace("/b", &root.path().join("b").display().to_string());
    guest.start(true).await.unwrap();
    guest.attach_device(&disk, Affect::Live).await.unwrap();
    assert!(guest.xml(Which::Live).await.unwrap().contains("vdb") && !stored(&guest).await.contains("vdb"));
    guest.attach_device(&disk, Affect::Config).await.unwrap();
    assert!(stored(&guest).await.contains("vdb"));
    // What one side refuses the other does not get.
    let before = stored(&guest).await;
    let missing = DISK.replace("vdb", "vdc").replace("/b", "/nowhere/b").replace("ua-b", "ua-c");
    assert_eq!(guest.attach_device(&missing, Affect::Both).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(stored(&guest).await, before);
}
