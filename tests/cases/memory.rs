//! Memory that comes and goes while a real Linux runs in a real QEMU: the guest says how much it has, and the ledger what was promised.

use polyvirt::{Affect, Connection, Destroy, Detached, Error, ErrorKind, EventKind, Guest, Which, placement::Kib};
use polyvirt_qmp::Monitor;
use polyvirt_tests::{
    Root,
    booted::{self, Booted},
    connect, monitor_of, no_qemu, root,
};

const WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// A root with a connection, unless something is missing here.
async fn place() -> Option<(Root, Connection)> {
    if let Some(reason) = no_qemu().or_else(booted::no_image) {
        println!("skipped: {reason}");
        return None;
    }
    let root = root();
    let connection = connect("qemu", root.path(), |_| {}).await;
    Some((root, connection))
}

/// A guest with room for more memory, which it takes as soon as it comes, so that it can give it back.
fn roomy(name: &str, machine: &str) -> String {
    booted::definition(name, machine, "").replace("quiet", "quiet swiotlb=noforce memhp_default_state=online_movable").replace(
        "<features>",
        "<maxMemory slots='2' unit='GiB'>64</maxMemory><cpu><numa><cell id='0' cpus='0' memory='128' unit='MiB'/></numa></cpu><features>",
    )
}

fn dimm(mib: u64, source: &str) -> String {
    format!("<memory model='dimm'>{source}<target><size unit='MiB'>{mib}</size><node>0</node></target></memory>")
}

/// MiB that the guest has and uses, roughly: its kernel keeps some.
async fn mebibytes(linux: &mut Booted) -> u64 {
    let said = linux.run("awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo").await;
    said.parse().unwrap_or_else(|error| panic!("{said}: {error}"))
}

/// Until the guest has about so much more or less than before.
async fn until_it_has(linux: &mut Booted, mib: u64) {
    let about = mib.saturating_sub(24)..=mib + 24;
    linux
        .until("awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo", |it| {
            it.parse().is_ok_and(|it: u64| about.contains(&it))
        })
        .await;
}

/// MiB that are promised to a guest.
fn promised(connection: &Connection, guest: &Guest) -> u64 {
    let leases = connection.ledger().expect("a ledger").snapshot().expect("a snapshot").leases;
    let lease = leases.into_iter().find(|it| it.guest == guest.uuid().to_string()).expect("a promise");
    lease.booked.nodes.values().map(|it| it.memory).sum::<Kib>().0 >> 10
}

async fn live(guest: &Guest) -> String {
    guest.xml(Which::Live).await.expect("a definition")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dimm_comes_and_goes_with_its_promise() {
    let Some((_root, connection)) = place().await else { return };
    let mut linux = Booted::start(&connection, &roomy("modules", "pc")).await;
    let guest = linux.guest.clone();
    let (had, before) = (mebibytes(&mut linux).await, promised(&connection, &guest));
    assert_eq!(before, 128);
    guest.attach_device(&dimm(256, ""), Affect::Both).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(promised(&connection, &guest), 384);
    until_it_has(&mut linux, had + 256).await;
    let xml = live(&guest).await;
    assert!(xml.contains("<alias name='dimm0'/>") && xml.contains("<memory unit='KiB'>393216</memory>"), "{xml}");
    let stored = guest.xml(Which::Stored).await.expect("a definition");
    assert!(stored.contains("model='dimm'") && stored.contains("<memory unit='KiB'>393216</memory>"), "{stored}");
    let plan = guest.view().await.expect("a view").plan.expect("a plan");
    assert_eq!(plan.devices.len(), 1);

    // Asked while its CPUs stand, it cannot let go: it keeps the memory, and its promise.
    guest.suspend().await.expect("suspended");
    assert_eq!(guest.detach_alias("dimm0", Affect::Live).await.expect("asked"), Detached::Requested);
    assert_eq!(promised(&connection, &guest), 384);
    let mut events = connection.events();
    guest.resume().await.expect("resumed");
    let gone = async {
        while !matches!(events.recv().await.expect("an event").kind, EventKind::DeviceRemoved { alias } if alias == "dimm0")
        {
        }
    };
    tokio::time::timeout(WITHIN, gone).await.expect("it lets go");
    until_it_has(&mut linux, had).await;
    let returned = async {
        while promised(&connection, &guest) != 128 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WITHIN, returned).await.expect("the promise is given back");
    let xml = live(&guest).await;
    assert!(!xml.contains("dimm") && xml.contains("<memory unit='KiB'>131072</memory>"), "{xml}");
    // Slot and backend are free again.
    guest
        .attach_device(&dimm(128, "<source><nodemask>0</nodemask></source>"), Affect::Live)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    until_it_has(&mut linux, had + 128).await;
    assert_eq!(guest.detach_alias("dimm0", Affect::Live).await.expect("detached"), Detached::Gone);
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn virtio_mem_grows_and_shrinks() {
    let Some((_root, connection)) = place().await else { return };
    let mut linux = Booted::start(&connection, &roomy("virtio-mem", "pc")).await;
    let guest = linux.guest.clone();
    let had = mebibytes(&mut linux).await;
    let device = |requested: u64| {
        format!(
            "<memory model='virtio-mem'><target><size unit='MiB'>512</size><node>0</node><block unit='MiB'>2</block>\
             <requested unit='MiB'>{requested}</requested></target></memory>"
        )
    };
    let mut events = connection.events();
    let mut until_told = async |mib: u64| {
        let told = async {
            while !matches!(&events.recv().await.expect("an event").kind, EventKind::MemoryDeviceSizeChange { size, .. } if *size == Kib::from_mib(mib))
            {
            }
        };
        tokio::time::timeout(WITHIN, told).await.expect("the guest's size is told");
    };
    guest.attach_device(&device(256), Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
    // All that it may ever use is promised.
    assert_eq!(promised(&connection, &guest), 640);
    until_told(256).await;
    until_it_has(&mut linux, had + 256).await;
    assert!(live(&guest).await.contains("<current unit='KiB'>262144</current>"), "{}", live(&guest).await);
    guest.update_device(&device(128), Affect::Live, false).await.unwrap_or_else(|e| panic!("{e}"));
    until_told(128).await;
    until_it_has(&mut linux, had + 128).await;
    let xml = live(&guest).await;
    assert!(
        xml.contains("<requested unit='KiB'>131072</requested>")
            && xml.contains("<current unit='KiB'>131072</current>"),
        "{xml}"
    );
    let larger = device(128).replace(">512<", ">1024<");
    let error = guest.update_device(&larger, Affect::Live, false).await.expect_err("another size");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = guest.update_device(&device(600), Affect::Live, false).await.expect_err("more than it has");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    // This QEMU never takes one out.
    let error = guest.detach_alias("virtiomem0", Affect::Live).await.expect_err("it stays");
    println!("{error} ({:?})", error.remedy());
    assert!(live(&guest).await.contains("virtiomem0"));
    assert_eq!(promised(&connection, &guest), 640);
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_cannot_be_had_leaves_nothing() {
    let Some((root, connection)) = place().await else { return };
    let guest = connection.define(&roomy("no-memory", "pc")).await.unwrap_or_else(|e| panic!("{e}")).guest;
    guest.start(true).await.expect("started");
    let before = live(&guest).await;
    let refused = async |device: &str| -> Error {
        let error = guest.attach_device(device, Affect::Both).await.expect_err(device);
        println!("{error} ({:?})", error.remedy());
        assert_eq!(live(&guest).await, before, "{device}");
        assert!(!guest.xml(Which::Stored).await.expect("a definition").contains("<memory model"), "{device}");
        assert_eq!(promised(&connection, &guest), 128, "{device}");
        error
    };
    // More than there is room for, than the host has, than its node has.
    let error = refused(&dimm(100 << 10, "")).await;
    assert_eq!((error.kind(), error.to_string().contains("maxMemory")), (ErrorKind::InvalidConfig, true), "{error}");
    let host = std::fs::read_to_string("/proc/meminfo").expect("procfs");
    let kib: u64 = host.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect("a size");
    if kib < 60 << 20 {
        let error = refused(&dimm((kib >> 10) + 1024, "")).await;
        assert_eq!(error.kind(), ErrorKind::NoResources, "{error}");
    }
    let error = refused(&dimm(128, "<source><nodemask>63</nodemask></source>")).await;
    assert_eq!(error.kind(), ErrorKind::NoResources, "{error}");
    assert!(error.to_string().contains("node 63"), "{error}");
    // QEMU refuses it when its backend is there already.
    let error =
        refused(&dimm(128, "").replace("</memory>", "<address type='dimm' slot='1' base='0x7'/></memory>")).await;
    assert_eq!(error.kind(), ErrorKind::Hypervisor, "{error}");
    for _ in 0..2 {
        guest.attach_device(&dimm(128, ""), Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
    }
    let error = guest.attach_device(&dimm(128, ""), Affect::Live).await.expect_err("there are two slots");
    assert!(error.to_string().contains("slots"), "{error}");
    assert_eq!(promised(&connection, &guest), 384);
    // What a process put in that died is taken out, and what it had promised is given back.
    guest.release().await.expect("released");
    let monitor =
        Monitor::connect(&monitor_of(root.path(), guest.name()), WITHIN).await.expect("the monitor is free").0;
    let tell = async |command: &'static str, arguments: &str| {
        let arguments = serde_json::from_str(arguments).expect("JSON");
        monitor.execute_raw(command, &arguments, WITHIN).await.unwrap_or_else(|error| panic!("{command}: {error}"))
    };
    tell("object-add", r#"{"qom-type":"memory-backend-ram","id":"memdimm7","size":134217728}"#).await;
    let plan = guest.view().await.expect("a view").plan.expect("a plan");
    let mut more = plan.clone();
    let mut another = more.devices[0].clone();
    another.index = 2;
    more.devices.push(another);
    let lease = plan.lease.clone().expect("a lease");
    connection.ledger().expect("a ledger").rebook_plugged(&lease, &plan, &more).expect("booked");
    assert_eq!(promised(&connection, &guest), 512);
    drop(monitor);
    guest.vcpus().await.expect("attended");
    assert_eq!(promised(&connection, &guest), 384);
    guest.release().await.expect("released");
    let monitor =
        Monitor::connect(&monitor_of(root.path(), guest.name()), WITHIN).await.expect("the monitor is free").0;
    let objects =
        monitor.execute_raw("qom-list", &serde_json::json!({"path": "/objects"}), WITHIN).await.expect("objects");
    assert!(objects.to_string().contains("memdimm0") && !objects.to_string().contains("memdimm7"), "{objects}");
    drop(monitor);
    guest.destroy(Destroy::default()).await.expect("destroyed");
}
