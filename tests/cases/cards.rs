//! Network cards of a running guest, with real QEMU, in a network namespace of each test's own: they come, move and go, and so do their
//! taps.

use std::{path::Path, time::Duration};

use polyvirt::{Affect, Connection, Destroy, Detached, Error, ErrorKind, Guest, StatsGroup, StatsQuery, Which};
use polyvirt_netdev::{Links, Tap, TapRequest};
use polyvirt_qmp::{GetFd, Monitor};
use polyvirt_tests::{
    Root,
    apart::{apart, ip, on_bridge, ports, queues_of_ours, taps},
    booted::{self, Booted},
    connect, monitor_of, root, small_guest,
};

const WITHIN: Duration = Duration::from_secs(60);

async fn place() -> (Root, Connection) {
    let root = root();
    let connection = connect("qemu", root.path(), |_| {}).await;
    (root, connection)
}

async fn booted(connection: &Connection, name: &str) -> Option<Booted> {
    if let Some(reason) = booted::no_image() {
        println!("skipped: {reason}");
        return None;
    }
    Some(Booted::start(connection, &booted::definition(name, "pc", "")).await)
}

/// A guest whose CPUs do not run, which is enough to plug into.
async fn paused(connection: &Connection, name: &str) -> Guest {
    let xml =
        small_guest("qemu", name).replace("q35", "pc").replace("<devices>", "<features><acpi/></features><devices>");
    let guest = connection.define(&xml).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    guest
}

/// The names of a bridge's ports.
fn names(bridge: &str) -> Vec<String> {
    ports(bridge).into_iter().map(|it| it.name).collect()
}

async fn live(guest: &Guest) -> String {
    guest.xml(Which::Live).await.expect("a definition")
}

/// Until the guest answers, over the bridge, at this address.
async fn answers(linux: &mut Booted, address: &str) {
    linux.until(&format!("ping -c1 -W2 {address} >/dev/null && echo yes; true"), |it| it.contains("yes")).await;
}

#[test]
fn a_card_comes_moves_and_goes_with_its_tap() {
    apart(|| async {
        let (_root, connection) = place().await;
        let Some(mut linux) = booted(&connection, "cards").await else { return };
        ip("link add br1 type bridge").and_then(|()| ip("link set br1 up")).expect("another bridge");
        ip("addr add 192.0.2.1/24 dev br0").and_then(|()| ip("addr add 198.51.100.1/24 dev br1")).expect("addresses");
        let guest = linux.guest.clone();
        let mac = "52:54:00:00:00:21";
        guest
            .attach_device(&on_bridge(mac, "<driver queues='2'/>"), Affect::Both)
            .await
            .unwrap_or_else(|e| panic!("{e}"));
        linux.until("cat /sys/class/net/*/address", |it| it.contains(mac)).await;
        assert_eq!(names("br0"), ["vnet0"]);
        assert_eq!(queues_of_ours(), 0, "the tap is the guest's alone");
        assert!(live(&guest).await.contains("<target dev='vnet0'/>"));
        let stored = guest.xml(Which::Stored).await.expect("a definition");
        assert!(stored.contains(mac) && !stored.contains("vnet"), "a name is of one run\n{stored}");
        linux.run("ip addr add 192.0.2.2/24 dev eth0; ip addr add 198.51.100.2/24 dev eth0; ip link set eth0 up").await;
        answers(&mut linux, "192.0.2.1").await;
        let numbers = guest.statistics(&StatsQuery::new(StatsGroup::Interface.into())).await.expect("numbers").numbers;
        let card = numbers.interfaces.expect("cards").remove(0);
        assert_eq!(card.device.as_deref(), Some("vnet0"));
        assert!(card.traffic.expect("traffic").tx_packets > 0, "what it sends is counted");

        // Another bridge, and what the definition does not say stays.
        let moved = on_bridge(mac, "<driver queues='2'/>").replace("br0", "br1");
        guest.update_device(&moved, Affect::Live, false).await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((names("br0").len(), names("br1")), (0, vec!["vnet0".to_owned()]));
        assert!(live(&guest).await.contains("<source bridge='br1'/>") && live(&guest).await.contains("vnet0"));
        answers(&mut linux, "198.51.100.1").await;
        let alone = moved.replace("<driver", "<port isolated='yes'/><link state='down'/><driver");
        guest.update_device(&alone, Affect::Live, false).await.unwrap_or_else(|e| panic!("{e}"));
        assert!(ports("br1")[0].isolated);
        linux.until("cat /sys/class/net/eth0/carrier", |it| it == "0").await;
        let nowhere = moved.replace("br1", "br7");
        let error = guest.update_device(&nowhere, Affect::Both, false).await.expect_err("there is no br7");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.remedy().is_some_and(|it| it.contains("ip link add br7")), "{error}");
        assert!(live(&guest).await.contains("br1") && ports("br1")[0].isolated, "and nothing changed");
        let stored = guest.xml(Which::Stored).await.expect("a definition");
        assert!(stored.contains("br0") && !stored.contains("br7"), "{stored}");

        assert_eq!(guest.detach_device(&moved, Affect::Live).await.expect("detached"), Detached::Gone);
        assert!(taps().is_empty());
        linux.until("ls /sys/class/net", |it| !it.contains("eth0")).await;
        // The number is free again.
        guest.attach_device(&on_bridge(mac, ""), Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(names("br0"), ["vnet0"]);
        guest.destroy(Destroy::default()).await.expect("destroyed");
        assert!(taps().is_empty());
    });
}

#[test]
fn a_card_that_cannot_be_plugged_leaves_no_tap() {
    apart(|| async {
        let (root, connection) = place().await;
        let guest = paused(&connection, "refused").await;
        let before = live(&guest).await;
        let refused = async |card: &str| -> Error {
            let error = guest.attach_device(card, Affect::Both).await.expect_err(card);
            assert!(taps().is_empty(), "{error}");
            assert_eq!(queues_of_ours(), 0, "{error}");
            assert_eq!(live(&guest).await, before, "{error}");
            let stored = guest.xml(Which::Stored).await.expect("a definition");
            assert!(!stored.contains("<interface"), "{stored}");
            error
        };
        let mac = "52:54:00:00:00:22";
        let missing = refused(&on_bridge(mac, "").replace("br0", "br7")).await;
        assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
        assert!(missing.remedy().is_some_and(|it| it.contains("ip link add br7 type bridge")), "{missing}");
        let taken = refused("<interface type='ethernet'><target dev='br0'/></interface>").await;
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "{taken}");
        for (kind, source) in [("network", "network='default'"), ("direct", "dev='eth0'")] {
            let error = refused(&format!("<interface type='{kind}'><source {source}/></interface>")).await;
            assert!(error.to_string().contains("type='bridge' and <source bridge='br0'/>"), "{error}");
        }
        // QEMU refuses the card when it has the tap already.
        let rom = refused(&on_bridge(mac, "<driver queues='3'/><rom file='/nowhere/rom'/>")).await;
        assert_eq!(rom.kind(), ErrorKind::Hypervisor, "{rom}");
        // It may be had all the same, and then once.
        guest
            .attach_device(&on_bridge(mac, "<driver queues='3'/>"), Affect::Live)
            .await
            .unwrap_or_else(|e| panic!("{e}"));
        let twice = guest.attach_device(&on_bridge(mac, ""), Affect::Live).await.expect_err("the address is taken");
        assert_eq!(twice.kind(), ErrorKind::AlreadyExists, "{twice}");
        assert_eq!(names("br0"), ["vnet0"]);

        // A tap of somebody else stays, whatever becomes of the card.
        ip("tuntap add dev theirs mode tap vnet_hdr").expect("a tap");
        let before = Links::open().and_then(|mut it| it.find("theirs")).expect("rtnetlink");
        let theirs = |more: &str| {
            format!(
                "<interface type='ethernet'><mac address='52:54:00:00:00:23'/><target dev='theirs' managed='no'/><model type='virtio'/>{more}</interface>"
            )
        };
        guest.attach_device(&theirs("<rom file='/nowhere/rom'/>"), Affect::Live).await.expect_err("no such ROM");
        assert_eq!(Links::open().and_then(|mut it| it.find("theirs")).expect("rtnetlink"), before);
        guest.attach_device(&theirs(""), Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
        guest.destroy(Destroy::default()).await.expect("destroyed");
        assert_eq!(Links::open().and_then(|mut it| it.find("theirs")).expect("rtnetlink"), before);
        drop(root);
    });
}

/// Connects to the monitor of a guest that nobody attends.
async fn monitor(root: &Path, guest: &Guest) -> Monitor {
    Monitor::connect(&monitor_of(root, guest.name()), WITHIN).await.expect("the monitor is free").0
}

async fn tell(monitor: &Monitor, command: &'static str, arguments: &str) -> String {
    let arguments = serde_json::from_str(arguments).expect("JSON");
    let told = monitor.execute_raw(command, &arguments, WITHIN).await;
    told.unwrap_or_else(|error| panic!("{command}: {error}")).to_string()
}

#[test]
fn a_guest_that_lets_go_while_nobody_attends_leaves_no_tap() {
    apart(|| async {
        let (root, connection) = place().await;
        let Some(mut linux) = booted(&connection, "late-card").await else { return };
        let guest = linux.guest.clone();
        let card = on_bridge("52:54:00:00:00:24", "");
        guest.attach_device(&card, Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
        linux.until("ls /sys/class/net", |it| it.contains("eth0")).await;
        // With its CPUs stopped it cannot let go.
        guest.suspend().await.expect("suspended");
        assert_eq!(guest.detach_device(&card, Affect::Live).await.expect("asked"), Detached::Requested);
        assert!(live(&guest).await.contains("vnet0") && names("br0") == ["vnet0"], "it is still there");
        guest.release().await.expect("released");
        let raw = monitor(root.path(), &guest).await;
        tell(&raw, "cont", "{}").await;
        while tell(&raw, "qom-list", r#"{"path":"/machine/peripheral"}"#).await.contains("\"net0\"") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(raw);
        assert_eq!(taps(), ["vnet0"], "nobody took it away yet");
        guest.vcpus().await.expect("attended again");
        let gone = async {
            while !taps().is_empty() || live(&guest).await.contains("<interface") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(WITHIN, gone).await.expect("the tap is taken away");
        guest.attach_device(&card, Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
        guest.destroy(Destroy::default()).await.expect("destroyed");
    });
}

/// A tap on the bridge with a queue.
fn tap(queues: u32) -> Tap {
    let request = TapRequest { queues, vnet_header: true, bridge: Some("br0"), ..TapRequest::default() };
    Tap::make(Path::new(polyvirt_netdev::TUN), &request).expect("a tap")
}

#[test]
fn a_card_that_was_half_put_in_is_taken_out_with_its_tap() {
    apart(|| async {
        let (root, connection) = place().await;
        let guest = paused(&connection, "half-card").await;
        // As if whoever plugs it in had died: before QEMU used the descriptors, before it got the card, before that was written down.
        for step in 0..3 {
            guest.release().await.expect("released");
            let raw = monitor(root.path(), &guest).await;
            for (at, queue) in tap(2).queues.into_iter().enumerate() {
                let fdname = format!("polyvirt-tap-{at}");
                raw.execute_with(&GetFd { fdname: &fdname }, queue, WITHIN).await.expect("handed");
            }
            if step > 0 {
                let netdev = r#"{"type":"tap","id":"hostnet0","fds":"polyvirt-tap-0:polyvirt-tap-1"}"#;
                tell(&raw, "netdev_add", netdev).await;
            }
            if step > 1 {
                tell(&raw, "device_add", r#"{"driver":"virtio-net-pci","netdev":"hostnet0","id":"net0","mq":true}"#)
                    .await;
            }
            drop(raw);
            assert_eq!(taps(), ["vnet0"], "step {step}");
            guest.vcpus().await.expect("attended");
            assert!(taps().is_empty(), "step {step}");
        }
        guest.destroy(Destroy::default()).await.expect("destroyed");
    });
}
