//! What a start does beside the command line: ports, passwords, limits, and the processes that serve devices.

use std::path::Path;

use polyvirt::{Destroy, EventKind, Guest, StopReason, Which};
use polyvirt_driver_testkit::require;
use polyvirt_tests::{connect, no_qemu, processes_with};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    compare::{ask, monitor_of},
    ground::Ground,
};

async fn guest(root: &Path, name: &str, more: &str, devices: &str) -> Guest {
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory>{more}
         <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices>{devices}</devices></domain>"
    );
    let connection = connect("qemu", root, |_| {}).await;
    connection.define(&xml).await.expect("defined").guest
}

/// The value of an attribute in the live definition's `<graphics>`.
async fn display(guest: &Guest, attribute: &str) -> String {
    let xml = guest.xml(Which::Live).await.expect("it runs");
    let element = xml.split("<graphics ").nth(1).expect("a display").split('>').next().expect("an end");
    let value = element.split(&format!(" {attribute}='")).nth(1).expect("the attribute");
    value.split('\'').next().expect("a value").to_owned()
}

/// What a VNC server offers to who connects: its kinds of security (RFC 6143, section 7.1).
async fn offered(port: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).await.expect("it listens");
    let mut version = [0; 12];
    stream.read_exact(&mut version).await.expect("a version");
    assert_eq!(&version, b"RFB 003.008\n");
    stream.write_all(&version).await.expect("written");
    let count = stream.read_u8().await.expect("a count");
    let mut kinds = vec![0; usize::from(count)];
    stream.read_exact(&mut kinds).await.expect("kinds");
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn displays_get_ports_of_their_own_and_their_passwords() {
    if let Some(reason) = no_qemu() {
        return println!("skipped: {reason}");
    }
    const NONE: u8 = 1;
    const PASSWORD: u8 = 2;
    let ground = Ground::new();
    let vnc = |more: &str| format!("<graphics type='vnc' autoport='yes'{more}/>");
    let open = guest(ground.path(), "open", "", &vnc("")).await;
    let locked = guest(ground.path(), "locked", "", &vnc(" passwd='secret'")).await;
    let (one, two) = tokio::join!(open.start(false), locked.start(false));
    one.expect("started");
    two.expect("started beside the other");
    let ports = (display(&open, "port").await, display(&locked, "port").await);
    assert_ne!(ports.0, ports.1);
    assert_eq!(offered(&ports.0).await, [NONE]);
    assert_eq!(offered(&ports.1).await, [PASSWORD]);
    for guest in [open, locked] {
        guest.destroy(Destroy::default()).await.expect("destroyed");
        let stored = guest.xml(Which::Stored).await.expect("defined");
        assert!(stored.contains("port='-1' autoport='yes'"), "{stored}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drives_are_limited_before_the_guest_runs() {
    if let Some(reason) = no_qemu() {
        return println!("skipped: {reason}");
    }
    let ground = Ground::new();
    let disk = |target: &str| {
        let file = ground.disk();
        format!(
            "<disk type='file'><source file='{file}'/><target {target}/><iotune><read_bytes_sec>1000000</read_bytes_sec>
             <write_iops_sec>400</write_iops_sec><write_iops_sec_max>800</write_iops_sec_max></iotune></disk>"
        )
    };
    let disks = [disk("dev='vda' bus='virtio'"), disk("dev='sda' bus='scsi'"), disk("dev='sdb' bus='usb'")].concat();
    let guest = guest(ground.path(), "limited", "", &disks).await;
    guest.start(false).await.expect("started");
    let monitor = monitor_of(&guest, &ground).await.expect("a monitor");
    let blocks = ask(&monitor, "query-block", &json!({})).await.expect("answered");
    let limits: Vec<_> = blocks
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| &it["inserted"])
        .map(|it| [&it["bps_rd"], &it["iops_wr"], &it["iops_wr_max"]].map(|it| it.as_u64().unwrap_or(0)))
        .collect();
    assert_eq!(limits, [[1_000_000, 400, 800]; 3], "{blocks}");
    drop(monitor);
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

/// A guest with a TPM and a folder of the host.
async fn served(ground: &Ground, root: &Path, name: &str) -> Guest {
    let devices = format!(
        "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
         <filesystem type='mount'><driver type='virtiofs'/><source dir='{}'/><target dir='shared'/></filesystem>",
        ground.folder()
    );
    let more = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>";
    guest(root, name, more, &devices).await
}

/// Programs that serve guests below a root.
fn companions(root: &Path) -> Vec<String> {
    let below = format!("{}/", root.display());
    let all = processes_with(&[&below]).into_iter().filter_map(|(_, line)| Some(line.split(' ').next()?.to_owned()));
    let mut found: Vec<_> = all.filter(|it| !it.contains("qemu-system")).collect();
    found.sort();
    found.dedup();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_serves_a_guest_lives_as_long_as_it_does() {
    let missing = [("swtpm", "/usr/bin/swtpm"), ("virtiofsd", "/usr/lib/qemu/virtiofsd")]
        .into_iter()
        .find(|(what, path)| !Path::new(path).exists() && require(what, &format!("{path} is not installed")));
    let rootless = (!nix::unistd::Uid::effective().is_root()).then(|| "virtiofsd takes root".to_owned());
    let missing = missing.map(|(_, path)| format!("{path} is not installed")).or(rootless);
    if let Some(reason) = no_qemu().or(missing) {
        return println!("skipped: {reason}");
    }
    let ground = Ground::new();
    let root = ground.path();
    let guest = served(&ground, root, "served").await;
    guest.start(false).await.expect("started");
    assert_eq!(companions(root), ["/usr/bin/swtpm", "/usr/lib/qemu/virtiofsd"]);
    let monitor = monitor_of(&guest, &ground).await.expect("a monitor");
    let tpm = ask(&monitor, "query-tpm", &json!({})).await.expect("answered");
    assert_eq!(tpm[0]["model"], "tpm-crb", "{tpm}");
    drop(monitor);
    // Somebody else finds it, with what serves it, and ends both.
    let other = connect("qemu", root, |_| {}).await;
    let again = other.lookup_by_name("served").await.expect("it is there");
    again.destroy(Destroy::default()).await.expect("destroyed");
    assert_eq!(companions(root), [""; 0]);

    // The TPM's state is found again; and what serves goes with a QEMU that is killed from outside.
    let mut events = other.events();
    again.start(false).await.expect("started again");
    assert_eq!(companions(root).len(), 2);
    let below = format!("{}/", root.display());
    for (pid, _) in processes_with(&[&below, "qemu-system"]) {
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
    }
    while !matches!(
        events.recv().await.expect("events go on").kind,
        EventKind::Stopped { reason: StopReason::Crashed(_) }
    ) {}
    assert_eq!(companions(root), [""; 0]);
}
