//! Devices of a real Linux in a real QEMU: it reports itself what it sees come and go.

use std::path::Path;

use polyvirt::{Affect, Connection, Destroy, Detached, ErrorKind, EventKind, Which};
use polyvirt_tests::{
    Root,
    booted::{self, Booted},
    connect, monitor_of, no_qemu, root,
};

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

/// An image of this many MiB that begins with this text.
fn image(root: &Path, name: &str, mib: u64, text: &str) -> String {
    let path = root.join(name);
    std::fs::write(&path, text).expect("written");
    std::fs::OpenOptions::new().write(true).open(&path).and_then(|it| it.set_len(mib << 20)).expect("as large");
    path.display().to_string()
}

fn disk(file: &str, target: &str, bus: &str) -> String {
    format!(
        "<disk type='file'><driver name='qemu' type='raw'/><source file='{file}'/><target dev='{target}' bus='{bus}'/></disk>"
    )
}

/// Sizes of the guest's disks in MiB, by name.
const DISKS: &str = "for d in /sys/block/[vs]d*; do [ -e $d ] && echo ${d##*/} $(($(cat $d/size) / 2048)); done; true";

#[tokio::test(flavor = "multi_thread")]
async fn disks_and_cards_come_and_go() {
    let Some((root, connection)) = place().await else { return };
    let mut linux =
        Booted::start(&connection, &booted::definition("plug", "pc", "<controller type='scsi' model='virtio-scsi'/>"))
            .await;
    let guest = linux.guest.clone();
    let data = image(root.path(), "data.img", 7, "first words");
    guest.attach_device(&disk(&data, "vdb", "virtio"), Affect::Both).await.unwrap_or_else(|e| panic!("{e}"));
    linux.until(DISKS, |it| it.contains("vda 7")).await;
    assert_eq!(linux.run("dd if=/dev/vda bs=11 count=1 2>/dev/null").await, "first words");
    linux.run("echo other words | dd of=/dev/vda conv=fsync 2>/dev/null").await;
    assert!(std::fs::read(&data).expect("the image").starts_with(b"other words"), "what the guest wrote is there");
    let more = image(root.path(), "more.img", 9, "");
    guest.attach_device(&disk(&more, "sdb", "scsi"), Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
    linux.until(DISKS, |it| it.contains("sda 9")).await;
    let card = "<interface type='user'><mac address='52:54:00:00:00:77'/><model type='virtio'/></interface>";
    guest.attach_device(card, Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
    linux.until("cat /sys/class/net/*/address", |it| it.contains("52:54:00:00:00:77")).await;

    let watchdog = "<watchdog model='i6300esb' action='none'/>";
    guest.attach_device(watchdog, Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));

    let live = guest.xml(Which::Live).await.expect("a definition");
    for wanted in ["<alias name='virtio-disk1'/>", "<alias name='scsi0-0-0-1'/>", "<alias name='net0'/>", "index='1'"] {
        assert!(live.contains(wanted), "{wanted}\n{live}");
    }
    let stored = guest.xml(Which::Stored).await.expect("a definition");
    assert!(stored.contains("vdb") && !stored.contains("sdb") && !stored.contains("index='1'"), "{stored}");

    assert_eq!(guest.detach_alias("net0", Affect::Live).await.expect("detached"), Detached::Gone);
    linux.until("cat /sys/class/net/*/address", |it| !it.contains("52:54:00:00:00:77")).await;
    for (file, target, bus) in [(&more, "sdb", "scsi"), (&data, "vdb", "virtio")] {
        let detached = guest.detach_device(&disk(file, target, bus), Affect::Live).await;
        assert_eq!(detached.unwrap_or_else(|e| panic!("{e}")), Detached::Gone);
    }
    linux.until(DISKS, str::is_empty).await;
    let live = guest.xml(Which::Live).await.expect("a definition");
    assert!(!live.contains("<disk") && !live.contains("<interface"), "{live}");
    // Nothing of them is left in QEMU: the same names and files are free again.
    guest.attach_device(&disk(&data, "vdb", "virtio"), Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
    guest.attach_device(card, Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_that_can_be_plugged_is() {
    let Some((root, connection)) = place().await else { return };
    let mut linux =
        Booted::start(&connection, &booted::definition("kinds", "q35", "<controller type='virtio-serial'/>")).await;
    let guest = linux.guest.clone();
    let file = image(root.path(), "c.log", 0, "");
    let kinds = [
        "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>".to_owned(),
        "<channel type='unix'><target type='virtio' name='org.test.one'/></channel>".to_owned(),
        format!("<channel type='file'><source path='{file}'/><target type='virtio' name='org.test.two'/></channel>"),
        "<channel type='pty'><target type='virtio' name='org.test.three'/></channel>".to_owned(),
        "<console type='pty'><target type='virtio'/></console>".to_owned(),
        "<input type='tablet' bus='usb'/>".to_owned(),
        "<hub type='usb'/>".to_owned(),
        "<sound model='usb'/>".to_owned(),
    ];
    for kind in &kinds {
        guest.attach_device(kind, Affect::Live).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
    linux
        .until("cat /sys/class/virtio-ports/*/name", |it| it.contains("org.test.one") && it.contains("org.test.two"))
        .await;
    let live = guest.xml(Which::Live).await.expect("a definition");
    let pty = live.lines().skip_while(|it| !it.contains("<channel type='pty'")).nth(1).unwrap_or_default();
    assert!(pty.contains("/dev/pts/"), "the terminal of the new channel is known\n{live}");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn media_and_cables_change() {
    let Some((root, connection)) = place().await else { return };
    let one = image(root.path(), "one.iso", 1, "one");
    let two = image(root.path(), "two.iso", 2, "two");
    let drive = |source: &str| {
        format!("<disk type='file' device='cdrom'>{source}<target dev='sda' bus='scsi'/><readonly/></disk>")
    };
    let with = |file: &str| drive(&format!("<source file='{file}'/>"));
    let card = |state: &str| {
        format!(
            "<interface type='user'><mac address='52:54:00:00:00:78'/><model type='virtio'/><link state='{state}'/></interface>"
        )
    };
    let devices = format!("<controller type='scsi' model='virtio-scsi'/>{}{}", with(&one), card("up"));
    let mut linux = Booted::start(&connection, &booted::definition("media", "pc", &devices)).await;
    let guest = linux.guest.clone();
    let first = "dd if=/dev/sr0 bs=3 count=1 2>/dev/null";
    assert_eq!(linux.run(first).await, "one");
    guest.update_device(&with(&two), Affect::Live, false).await.unwrap_or_else(|e| panic!("{e}"));
    linux.until(first, |it| it == "two").await;
    guest.update_device(&drive(""), Affect::Live, false).await.unwrap_or_else(|e| panic!("{e}"));
    linux.until("dd if=/dev/sr0 bs=3 count=1 2>&1; true", |it| it.contains("No medium")).await;
    let error = guest.update_device(&with("/nowhere.iso"), Affect::Live, false).await.expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    guest.update_device(&with(&one), Affect::Both, false).await.unwrap_or_else(|e| panic!("{e}"));
    linux.until(first, |it| it == "one").await;
    // The guest holds it, and is asked.
    linux.run("exec 3</dev/sr0; sleep 600 <&3 & true").await;
    let locked = guest.update_device(&drive(""), Affect::Live, false).await;
    if let Err(error) = locked {
        assert!(error.remedy().is_some_and(|it| it.contains("--force")), "{error}");
        assert!(guest.xml(Which::Live).await.expect("a definition").contains("one.iso"), "and nothing changed");
    }
    guest.update_device(&drive(""), Affect::Live, true).await.unwrap_or_else(|e| panic!("{e}"));

    linux.run("ip link set eth0 up").await;
    linux.until("cat /sys/class/net/eth0/carrier", |it| it == "1").await;
    guest.update_device(&card("down"), Affect::Live, false).await.unwrap_or_else(|e| panic!("{e}"));
    linux.until("cat /sys/class/net/eth0/carrier", |it| it == "0").await;
    let other = card("down").replace("virtio", "e1000");
    let error = guest.update_device(&other, Affect::Live, false).await.expect_err("another card");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_goes_late_is_told_and_leaves_nothing() {
    let Some((root, connection)) = place().await else { return };
    let data = image(root.path(), "late.img", 3, "");
    let mut linux = Booted::start(&connection, &booted::definition("late", "pc", &disk(&data, "vda", "virtio"))).await;
    let guest = linux.guest.clone();
    let mut events = connection.events();
    // With its CPUs stopped it cannot let go.
    guest.suspend().await.expect("suspended");
    assert_eq!(guest.detach_alias("virtio-disk0", Affect::Live).await.expect("asked"), Detached::Requested);
    assert!(guest.xml(Which::Live).await.expect("a definition").contains("virtio-disk0"), "it is still there");
    // Whoever asked goes away; the guest lets go while nobody attends it.
    guest.release().await.expect("released");
    let monitor = std::fs::read_dir(root.path()).expect("the root");
    drop(monitor);
    guest.resume().await.expect("resumed");
    let told = async {
        loop {
            let event = events.recv().await.expect("an event");
            if matches!(&event.kind, EventKind::DeviceRemoved { alias } if alias == "virtio-disk0") {
                return;
            }
            // Attends it again, if nobody did.
            guest.vcpus().await.expect("asked");
        }
    };
    let watched = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            guest.vcpus().await.expect("asked");
        }
    };
    let told = tokio::time::timeout(std::time::Duration::from_secs(120), async {
        tokio::select! { () = told => {}, () = watched => {} }
    });
    told.await.expect("its going is told");
    assert!(!guest.xml(Which::Live).await.expect("a definition").contains("<disk"));
    linux.until(DISKS, str::is_empty).await;
    guest.attach_device(&disk(&data, "vda", "virtio"), Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
    linux.until(DISKS, |it| it.contains("vda 3") || it.contains("vdb 3")).await;
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

/// Tells a QEMU what polyvirt would, from outside, and what it answers: as if the process that did it had died before it could write it down.
async fn tell(monitor: &polyvirt_qmp::Monitor, command: &'static str, arguments: &str) -> String {
    let arguments = serde_json::from_str(arguments).expect("JSON");
    let told = monitor.execute_raw(command, &arguments, std::time::Duration::from_secs(60)).await;
    told.unwrap_or_else(|error| panic!("{command}: {error}")).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_half_put_in_is_taken_out() {
    let Some((root, connection)) = place().await else { return };
    let data = image(root.path(), "half.img", 5, "");
    let mut linux = Booted::start(&connection, &booted::definition("half", "pc", "")).await;
    let guest = linux.guest.clone();
    guest.release().await.expect("released");
    let monitor = monitor_of(root.path(), "half");
    let (raw, _events) = polyvirt_qmp::Monitor::connect(&monitor, std::time::Duration::from_secs(60))
        .await
        .expect("the monitor is free");
    let file = format!(r#"{{"driver":"file","filename":"{data}","node-name":"libvirt-7-storage"}}"#);
    tell(&raw, "blockdev-add", &file).await;
    tell(&raw, "device_add", r#"{"driver":"virtio-blk-pci","drive":"libvirt-7-storage","id":"virtio-disk7"}"#).await;
    tell(&raw, "netdev_add", r#"{"type":"user","id":"hostnet0"}"#).await;
    linux.until(DISKS, |it| it.contains("vda 5")).await;
    drop(raw);
    // Whoever attends the guest next finds what its definition has not.
    guest.vcpus().await.expect("attended");
    linux.until(DISKS, str::is_empty).await;
    guest.release().await.expect("released");
    // The guest is done with it a moment before QEMU is.
    let (raw, _events) = polyvirt_qmp::Monitor::connect(&monitor, std::time::Duration::from_secs(60))
        .await
        .expect("the monitor is free");
    while tell(&raw, "qom-list", r#"{"path":"/machine/peripheral"}"#).await.contains("virtio-disk7") {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    drop(raw);
    guest.vcpus().await.expect("attended again");
    guest.attach_device(&disk(&data, "vdb", "virtio"), Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
    let card = "<interface type='user'><mac address='52:54:00:00:00:79'/><model type='virtio'/></interface>";
    guest.attach_device(card, Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
    linux.until(DISKS, |it| it.contains("vda 5") || it.contains("vdb 5")).await;
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_plugged_says_so_and_leaves_nothing() {
    let Some((root, connection)) = place().await else { return };
    let xml = booted::definition("fixed", "pc", "");
    let guest = connection.define(&xml).await.unwrap_or_else(|e| panic!("{e}")).guest;
    guest.start(true).await.expect("started");
    let before = guest.xml(Which::Live).await.expect("a definition");
    let data = image(root.path(), "fixed.img", 1, "");
    for (device, kind) in [
        (disk(&data, "hdb", "ide"), ErrorKind::Hypervisor),
        ("<tpm model='tpm-crb'><backend type='emulator'/></tpm>".to_owned(), ErrorKind::Unsupported),
        ("<video><model type='vga'/></video>".to_owned(), ErrorKind::Unsupported),
        (
            "<memory model='dimm'><target><size unit='MiB'>128</size></target></memory>".to_owned(),
            ErrorKind::Unsupported,
        ),
        ("<graphics type='vnc'/>".to_owned(), ErrorKind::Unsupported),
        (
            "<filesystem type='mount'><source dir='/tmp'/><target dir='share'/></filesystem>".to_owned(),
            ErrorKind::Unsupported,
        ),
        ("<sound model='ich6'/>".to_owned(), ErrorKind::Unsupported),
    ] {
        let error = guest.attach_device(&device, Affect::Live).await.expect_err(&device);
        println!("{device}: {error} ({:?})", error.remedy());
        assert_eq!(error.kind(), kind, "{device}: {error}");
        assert!(error.remedy().is_some(), "{device}: {error}");
        assert_eq!(guest.xml(Which::Live).await.expect("a definition"), before, "{device}");
    }
    // The file is nobody's: it can be attached where it can be had.
    guest.attach_device(&disk(&data, "vdb", "virtio"), Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
    guest.destroy(Destroy::default()).await.expect("destroyed");
}
