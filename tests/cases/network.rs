//! Guests on a bridge, with real QEMU, in a network namespace of each test's own: nothing of the host's network is touched.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use polyvirt::{Connection, Destroy, Error, ErrorKind, EventKind, GuestState, Stage, StatsGroup, StatsQuery, Which};
use polyvirt_netdev::Links;
use polyvirt_tests::{
    Root,
    apart::{apart, ip, on_bridge, ports, queues_of_ours, taps},
    connect, processes_with, root, small_guest,
};

fn guest_with(name: &str, devices: &str) -> String {
    small_guest("qemu", name).replace("<devices>", &format!("<devices>{devices}"))
}

async fn place() -> (Root, Connection) {
    let root = root();
    let connection = connect("qemu", root.path(), |_| {}).await;
    (root, connection)
}

#[test]
fn two_guests_are_ports_of_the_bridge_until_they_end() {
    apart(|| async {
        let (_root, connection) = place().await;
        let cards = on_bridge("52:54:00:00:00:01", "<driver queues='2'/><mtu size='1400'/><port isolated='yes'/>");
        let first = connection.define(&guest_with("net-a", &cards)).await.expect("defined");
        assert!(first.warnings.is_empty(), "{:?}", first.warnings);
        let cards = on_bridge("52:54:00:00:00:02", "<link state='down'/>")
            + "<interface type='ethernet'><mac address='52:54:00:00:00:03'/><target dev='mine'/><model type='e1000'/></interface>";
        let second = connection.define(&guest_with("net-b", &cards)).await.expect("defined").guest;
        let first = first.guest;
        first.start(true).await.expect("started");
        second.start(true).await.expect("started");
        let seen: Vec<_> = ports("br0").into_iter().map(|it| (it.name, it.mac, it.mtu, it.up, it.isolated)).collect();
        let port =
            |name: &str, last, isolated| (name.to_owned(), Some([0xfe, 0x54, 0, 0, 0, last]), 1400, true, isolated);
        assert_eq!(seen, [port("vnet0", 1, true), port("vnet1", 2, false)]);
        let live = first.xml(Which::Live).await.expect("the live definition");
        assert!(live.contains("<target dev='vnet0'/>"), "{live}");
        let stored = first.xml(Which::Stored).await.expect("the stored definition");
        assert!(!stored.contains("vnet"), "a name is of one run\n{stored}");
        let mine = Links::open().and_then(|mut it| it.find("mine")).expect("rtnetlink").expect("the tap");
        assert_eq!((mine.master, mine.mac, mine.up), (None, Some([0xfe, 0x54, 0, 0, 0, 3]), true));
        assert_eq!(queues_of_ours(), 0, "the taps are the guests' alone");

        first.destroy(Destroy::default()).await.expect("destroyed");
        assert_eq!(taps(), ["vnet1", "mine"]);
        // As when the host runs out of memory.
        let [(pid, _)] = processes_with(&["qemu-system", "guest=net-b,"])[..] else { panic!("one process") };
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        let mut events = connection.events();
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
        while !matches!(events.recv().await.expect("an event").kind, EventKind::Stopped { .. }) {}
        assert!(taps().is_empty());
        // The numbers are free again, whatever the live definition said before.
        first.start(true).await.expect("started again");
        assert_eq!(taps(), ["vnet0"]);
        first.destroy(Destroy::default()).await.expect("destroyed");
        assert!(taps().is_empty() && ports("br0").is_empty());
    });
}

/// The card's own program asks for an address before anything else, again and again.
#[test]
fn what_a_guest_sends_is_counted_as_sent() {
    apart(|| async {
        let (_root, connection) = place().await;
        let xml = guest_with("net-count", &on_bridge("52:54:00:00:00:09", "<boot order='1'/>"));
        let guest = connection.define(&xml).await.expect("defined").guest;
        guest.start(false).await.expect("started");
        let query = StatsQuery::new(StatsGroup::Interface.into());
        let sent = async {
            loop {
                let numbers = guest.statistics(&query).await.expect("numbers").numbers;
                let card = numbers.interfaces.expect("cards").remove(0);
                assert_eq!((card.device.as_deref(), card.mac.as_deref()), (Some("vnet0"), Some("52:54:00:00:00:09")));
                let traffic = card.traffic.expect("the kernel counts what goes through a tap");
                if traffic.tx_packets > 0 {
                    break traffic;
                }
                tokio::task::yield_now().await;
            }
        };
        let traffic = tokio::time::timeout(Duration::from_secs(60), sent).await.expect("it asked for an address");
        let tap = Links::open().and_then(|mut it| it.find("vnet0")).expect("rtnetlink").expect("the tap").counters;
        // What the guest sent came in here; nobody answered with as many bytes.
        assert!(traffic.tx_bytes > 200 && tap.rx_bytes >= traffic.tx_bytes, "{traffic:?} {tap:?}");
        guest.destroy(Destroy::default()).await.expect("destroyed");
    });
}

#[test]
fn a_tap_of_somebody_else_is_used_and_stays() {
    apart(|| async {
        ip("tuntap add dev theirs mode tap multi_queue vnet_hdr").expect("a tap");
        let root = root();
        // QEMU itself needs no right to a tap.
        let connection = connect("qemu", root.path(), |options| options.settings.set("user", "nobody")).await;
        let card = "<interface type='ethernet'><target dev='theirs' managed='no'/><model type='virtio'/><driver queues='2'/></interface>";
        let guest = connection.define(&guest_with("theirs", card)).await.expect("defined").guest;
        let before = Links::open().and_then(|mut it| it.find("theirs")).expect("rtnetlink");
        guest.start(true).await.expect("started");
        guest.destroy(Destroy::default()).await.expect("destroyed");
        assert_eq!(Links::open().and_then(|mut it| it.find("theirs")).expect("rtnetlink"), before);
    });
}

#[test]
fn a_start_that_fails_says_what_is_missing_and_leaves_no_tap() {
    apart(|| async {
        let (_root, connection) = place().await;
        let start = async |name: &str, devices: &str| -> Error {
            let guest = connection.define(&guest_with(name, devices)).await.expect("defined").guest;
            guest.start(true).await.expect_err("cannot start")
        };
        // The second card's bridge is missing when the first card's tap is there.
        let cards = on_bridge("52:54:00:00:00:01", "") + &on_bridge("52:54:00:00:00:02", "").replace("br0", "br7");
        let error = start("no-bridge", &cards).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(error.fact("path"), Some("/domain/devices/interface[2]/source/@bridge"), "{error}");
        let remedy = error.remedy().unwrap_or_default();
        assert!(remedy.contains("ip link add br7 type bridge"), "{remedy}");
        assert!(taps().is_empty());

        let taken = "<interface type='ethernet'><target dev='br0'/></interface>";
        let error = start("taken", taken).await;
        assert!(error.to_string().contains("br0"), "{error}");

        let network = start("network", "<interface type='network'><source network='default'/></interface>").await;
        assert!(network.to_string().contains("type='bridge' and <source bridge='br0'/>"), "{network}");

        // QEMU itself refuses the card, after it was given its tap.
        let error = start("no-rom", &on_bridge("52:54:00:00:00:03", "<rom file='/nowhere/rom'/>")).await;
        assert_eq!(error.fact("stage"), Some("handshake"), "{error}");
        assert!(taps().is_empty() && ports("br0").is_empty());
        assert_eq!(queues_of_ours(), 0);
    });
}

#[test]
fn a_starter_killed_at_any_stage_leaves_no_tap() {
    apart(|| async {
        for stage in Stage::ALL {
            let dir = root();
            {
                let connection = connect("qemu", dir.path(), |_| {}).await;
                let card = on_bridge("52:54:00:00:00:01", "");
                connection.define(&guest_with("victim", &card)).await.expect("defined");
            }
            kill_at(dir.path(), *stage);
            let connection = connect("qemu", dir.path(), |_| {}).await;
            let guest = connection.lookup_by_name("victim").await.expect("the definition");
            if guest.state().await.expect("a state") == GuestState::Paused {
                assert!(*stage >= Stage::Observe, "killed at {stage}, it lives");
                let live = guest.xml(Which::Live).await.expect("the live definition");
                assert!(live.contains("<target dev='vnet0'/>"), "found again without its tap's name\n{live}");
                assert_eq!(ports("br0").len(), 1);
                guest.destroy(Destroy::default()).await.expect("destroyed");
            }
            assert!(taps().is_empty(), "killed at {stage}");
        }
    });
}

/// Kills a process that is starting the guest when it has reached `stage`.
fn kill_at(root: &Path, stage: Stage) {
    let mut holder = Command::new(env!("CARGO_BIN_EXE_holder"))
        .args(["qemu".as_ref(), root.as_os_str(), "victim".as_ref(), stage.name().as_ref(), "start".as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the holder starts");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), format!("at {stage}"));
    holder.kill().expect("killed");
    holder.wait().expect("reaped");
}
