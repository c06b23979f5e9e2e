//! Taps and bridges of the real kernel, in a network namespace of a thread's own.

use std::{path::Path, process::Command};

use polyvirt_netdev::{Link, Links, NetdevError, PortRequest, TUN, Tap, TapRequest, move_port};

/// Runs `test` in a network namespace that goes with its thread; says why it cannot.
fn apart(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || match nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
        Ok(()) => test(),
        Err(error) => {
            let reason = format!("no network namespace of its own: {error}");
            if polyvirt_driver_testkit::require("net", &reason) {
                println!("skipped: {reason}");
            }
        }
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().expect("ip of iproute2");
    assert!(status.success(), "ip {words}");
}

fn request() -> TapRequest<'static> {
    TapRequest { queues: 1, ..TapRequest::default() }
}

fn make(request: &TapRequest<'_>) -> Result<Tap, NetdevError> {
    Tap::make(Path::new(TUN), request)
}

fn find(name: &str) -> Option<Link> {
    Links::open().and_then(|mut links| links.find(name)).expect("rtnetlink")
}

#[test]
fn a_port_is_as_it_was_asked_for_and_goes_with_its_descriptors() {
    apart(|| {
        ip("link add br0 type bridge");
        let mut links = Links::open().unwrap();
        let bridge = links.bridge("br0").unwrap();
        let mac = [0xfe, 0x54, 0, 1, 2, 3];
        let wanted = TapRequest { bridge: Some("br0"), mac: Some(mac), mtu: Some(1400), queues: 2, ..request() };
        let first = make(&TapRequest { isolated: true, vnet_header: true, ..wanted.clone() }).unwrap();
        let second = make(&TapRequest { mtu: None, queues: 1, ..wanted }).unwrap();
        assert_eq!((first.name.as_str(), first.queues.len()), ("vnet0", 2));
        assert_eq!((second.name.as_str(), second.queues.len()), ("vnet1", 1));
        let ports = links.ports(&bridge).unwrap();
        let seen: Vec<_> = ports.iter().map(|it| (it.name.as_str(), it.mac, it.mtu, it.up, it.isolated)).collect();
        // The bridge takes the smallest of its ports' MTUs, and so the second port does.
        assert_eq!(seen, [("vnet0", Some(mac), 1400, true, true), ("vnet1", Some(mac), 1400, true, false)]);
        assert_eq!(ports[0].kind.as_deref(), Some("tun"));
        drop(first);
        assert_eq!(links.ports(&bridge).unwrap().len(), 1);
        // The lowest number that is free.
        assert_eq!(make(&request()).unwrap().name, "vnet0");
        drop(second);
        assert!(links.ports(&bridge).unwrap().is_empty());
        assert_eq!(find("vnet0"), None);
    });
}

#[test]
fn names_that_many_ask_for_at_once_are_all_different() {
    apart(|| {
        let made: Vec<Tap> = std::thread::scope(|scope| {
            let each: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..4).map(|_| make(&request()).unwrap()).collect::<Vec<_>>())).collect();
            each.into_iter().flat_map(|it| it.join().unwrap()).collect()
        });
        let mut names: Vec<_> = made.iter().map(|it| it.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 32, "{names:?}");
    });
}

#[test]
fn what_cannot_be_is_told_with_a_remedy_and_leaves_nothing() {
    apart(|| {
        ip("link add one type veth peer name two");
        let _taken = make(&TapRequest { name: Some("web"), ..request() }).unwrap();
        let many = "x".repeat(16);
        for (wanted, said, remedy) in [
            (TapRequest { bridge: Some("br7"), ..request() }, "no network device 'br7'", "ip link add br7 type bridge"),
            (TapRequest { bridge: Some("one"), ..request() }, "'one' is of kind veth, not a bridge", "ip -d"),
            (TapRequest { name: Some("web"), ..request() }, "a network device 'web' already", "managed='no'"),
            (TapRequest { name: Some("one"), ..request() }, "'one'", ""),
            (TapRequest { name: Some(&many), ..request() }, "is no name", ""),
            // Refused when the tap is already there.
            (TapRequest { name: Some("half"), mtu: Some(9), ..request() }, "cannot set the MTU of", ""),
        ] {
            let error = make(&wanted).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert!(error.remedy().unwrap_or_default().contains(remedy), "{error}: {:?}", error.remedy());
        }
        assert_eq!(find("half"), None);
        let error = Tap::make(Path::new("/nowhere/tun"), &request()).unwrap_err();
        assert!(error.remedy().unwrap().contains("modprobe tun"), "{error}");
    });
}

#[test]
fn a_tap_of_somebody_else_is_used_and_stays_as_it_is() {
    apart(|| {
        ip("tuntap add dev theirs mode tap");
        let before = find("theirs");
        let open = |name: &str| Tap::open(Path::new(TUN), name, 1, false);
        let tap = open("theirs").unwrap();
        assert!(matches!(open("theirs").unwrap_err(), NetdevError::Busy { .. }));
        drop(tap);
        assert_eq!(find("theirs"), before);
        assert!(matches!(open("gone").unwrap_err(), NetdevError::Missing { .. }));
        assert_eq!(find("gone"), None, "asking makes none");
        assert!(matches!(open("lo").unwrap_err(), NetdevError::Kind { .. }));
    });
}

#[test]
fn a_port_moves_or_stays_as_it_was() {
    apart(|| {
        ip("link add br0 type bridge");
        ip("link add br1 mtu 1300 type bridge");
        let tap = make(&TapRequest { bridge: Some("br0"), isolated: true, ..request() }).unwrap();
        let before = find(&tap.name).unwrap();
        let to = |bridge, isolated, mtu| move_port(&tap.name, &PortRequest { bridge, isolated, mtu });
        let missing = to("br7", false, None).unwrap_err();
        assert!(matches!(missing, NetdevError::Missing { bridge: true, .. }), "{missing}");
        let refused = to("br1", false, Some(7)).unwrap_err();
        assert!(matches!(refused, NetdevError::Refused { .. }), "{refused}");
        let still = find(&tap.name).unwrap();
        assert_eq!((still.master, still.mtu, still.isolated), (before.master, before.mtu, true));
        to("br1", false, None).unwrap();
        let moved = find(&tap.name).unwrap();
        let there = Links::open().unwrap().bridge("br1").unwrap().index;
        assert_eq!((moved.master, moved.mtu, moved.isolated, moved.up), (Some(there), 1300, false, true));
        to("br0", true, Some(before.mtu)).unwrap();
        let back = find(&tap.name).unwrap();
        assert_eq!((back.master, back.mtu, back.isolated), (before.master, before.mtu, true));
        let mut links = Links::open().unwrap();
        links.remove(tap.index, &tap.name).unwrap();
        assert_eq!(find(&tap.name), None);
        links.remove(tap.index, &tap.name).unwrap();
    });
}
