use polyvirt::placement::{GuestShape, Ledger, Owner, PlacementProfile, Request, plan};

use super::*;
use crate::picture::{style::Style, svg, terminal};

#[test]
fn who_holds_what() {
    let host = HostTopology::uniform(2, 4, Kib::from_gib(8)).build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    let owner = Owner::this_process().unwrap();
    for (guest, gib) in [("one", 5), ("two", 6)] {
        let request = Request::auto(guest, GuestShape::flat(2, Kib::from_gib(gib)));
        ledger
            .reserve(&owner, guest, &mut |promised| plan(&host, promised, &PlacementProfile::qemu(), &request))
            .unwrap();
    }
    let names = BTreeMap::from([("two".to_owned(), "the second".to_owned())]);
    let snapshot = ledger.snapshot().unwrap();
    let picture = picture(&host, &snapshot, &names);
    let text = terminal::render(&picture, Style::plain());
    let pid = std::process::id();
    assert!(text.contains("  memory    5 GiB of 8 GiB promised\n  untouched 5 GiB at most\n  vCPUs     2\n"), "{text}");
    let last: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    let owner = [format!("{pid},"), "alive".to_owned()];
    assert_eq!(last[..2], ["the", "second"], "{text}");
    assert_eq!(last[3..], ["planned", &owner[0], &owner[1], "1", "6", "GiB", "0", "KiB", "2"], "{text}");
    let drawn = svg::tests::text_of(&svg::render(&picture));
    for lease in &snapshot.leases {
        assert!(drawn.contains(&lease.id.0) && drawn.contains(&lease.guest), "{drawn}");
    }
    assert!(drawn.contains("promised 5242880 KiB, untouched 5242880 KiB, 2000 thousandths"), "{drawn}");
}

#[test]
fn an_empty_ledger_and_thousandths() {
    let host = HostTopology::uniform(1, 4, Kib::from_gib(8)).build().unwrap();
    let picture = picture(&host, &Snapshot::default(), &BTreeMap::new());
    assert!(terminal::render(&picture, Style::plain()).ends_with("nothing is promised\n"));
    assert_eq!([milli(2000), milli(1500), milli(333), milli(0)], ["2", "1.5", "0.333", "0"]);
}
