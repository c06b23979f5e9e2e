//! Definitions as Debian's libvirt 9.0 stored them in `/etc/libvirt/qemu`, taken over by the QEMU driver.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use polyvirt::{
    Connection, OpenOptions, Roots,
    import::{self, Directory, Import, Options, Step},
    model::{DomainConfig, ParseOptions, abi_changes},
};

const EMULATOR: &str = "/usr/bin/qemu-system-x86_64";

fn skipped() -> bool {
    if Path::new(EMULATOR).exists() {
        return false;
    }
    let reason = format!("there is no {EMULATOR}, which the definitions name");
    println!("skipped: {reason}");
    polyvirt_driver_testkit::require("qemu", &reason)
}

async fn open(root: &Path) -> Connection {
    let mut options = OpenOptions::new(polyvirt::registry().unwrap());
    options.roots = Some(Roots::embedded(root, "qemu", false));
    Connection::open("qemu:///session", options).await.unwrap()
}

async fn plan(connection: &Connection) -> Import {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/libvirt-9.0");
    let directory = Directory::read(&directory).await.unwrap();
    import::plan(connection, directory, Options::default(), &|_| {}).await.unwrap()
}

#[tokio::test]
async fn guests_of_libvirt_9_keep_their_hardware() {
    if skipped() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let connection = open(root.path()).await;
    let mut import = plan(&connection).await;
    assert!(connection.list().await.unwrap().is_empty(), "a plan stores nothing");
    import.apply(&connection, &|_| {}).await;
    for candidate in &import.guests {
        let name = candidate.name.as_deref().unwrap();
        assert_eq!(*candidate.step.as_ref().unwrap(), Step::Define, "{name}");
        assert_eq!(candidate.differences.lost, [], "{name}");
        let text = std::fs::read_to_string(&candidate.file).unwrap();
        let before = DomainConfig::parse(&text, &ParseOptions::default()).unwrap().config;
        let after = connection.lookup_by_name(name).await.unwrap().view().await.unwrap().stored.unwrap();
        // What the chipset has anyway is written out; everything else stays in its place.
        let written: Vec<_> = candidate.differences.completed.iter().map(|change| change.path.as_str()).collect();
        let seen: Vec<_> = abi_changes(&before, &after).into_iter().map(|it| it.path).collect();
        let seen: Vec<_> = seen.iter().filter(|path| !written.contains(&path.as_str())).collect();
        let expected: &[&str] = if name == "web" { &["/domain/devices/watchdog[itco]"] } else { &[] };
        assert_eq!(seen, expected, "{name}");
        assert_eq!(candidate.differences.guest.len(), expected.len(), "{name}");
    }
    let again = plan(&connection).await;
    assert!(again.guests.iter().all(|it| matches!(it.step, Ok(Step::Keep))), "{again:?}");
}
