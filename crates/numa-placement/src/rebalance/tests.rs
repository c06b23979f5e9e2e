//! Changes that help, and those that do not.

use super::*;
use crate::{GuestShape, PlacementProfile, Request, plan};

fn gib(count: u64) -> Kib {
    Kib::from_gib(count)
}

fn host() -> HostTopology {
    HostTopology::uniform(2, 8, gib(16)).build().unwrap()
}

fn seat(guest: &str, cpus: u32, memory: &[(u32, u64)]) -> Seat {
    let memory = memory.iter().map(|(node, size)| (HostNode(*node), PageSize::Base, gib(*size))).collect();
    Seat::new(guest, 4, vec![(HostNode(cpus), 4000)], memory)
}

fn promised(seats: &[Seat]) -> Promised {
    let mut promised = Promised::default();
    for seat in seats {
        seat.memory.iter().for_each(|(node, _, size)| {
            let node = promised.node_mut(*node);
            node.memory = node.memory.saturating_add(*size);
            node.untouched = node.untouched.saturating_add(*size);
        });
        seat.cpus.iter().for_each(|(node, milli)| promised.node_mut(*node).milli_vcpus += milli);
    }
    promised
}

fn best(seats: &[Seat]) -> Option<Suggestion> {
    suggest(&host(), &promised(seats), seats, Hysteresis::default(), None)
}

#[test]
fn drift_is_what_lies_beyond_the_plan() {
    let request = Request::auto("g", GuestShape::flat(2, gib(4)));
    let plan = plan(&host(), &Promised::default(), &PlacementProfile::qemu(), &request).unwrap();
    let at = |node, size| NodeShare::new(HostNode(node), gib(size));
    assert_eq!(drift(&plan, &[at(0, 1)]), Drift::default(), "not touched yet is not misplaced");
    let far = drift(&plan, &[at(0, 3), at(1, 1)]);
    assert_eq!((far.misplaced, far.beyond.len()), (gib(1), 1));
    assert_eq!(far.beyond[0], NodeDrift { node: HostNode(1), planned: Kib::ZERO, observed: gib(1) });
    assert_eq!(drift(&plan, &[at(0, 3), at(0, 2)]).misplaced, gib(1), "parts of a node are added up");
}

#[test]
fn guests_that_sit_well_stay() {
    assert_eq!(best(&[seat("a", 0, &[(0, 8)]), seat("b", 1, &[(1, 8)])]), None);
    assert_eq!(best(&[]), None);
}

#[test]
fn moving_threads_is_cheaper_than_moving_pages() {
    let suggestion = best(&[seat("a", 0, &[(1, 8)])]).unwrap();
    assert_eq!((suggestion.size, suggestion.moves.len()), (Kib::ZERO, 1));
    assert_eq!(suggestion.moves[0].cpus, Some("1".parse().unwrap()));
    assert!(suggestion.gain > 0.0);
}

#[test]
fn pages_move_where_threads_may_not_and_only_those_that_lie_wrong() {
    let mut far = seat("a", 0, &[(0, 2), (1, 6)]);
    far.repinnable = false;
    let suggestion = best(std::slice::from_ref(&far)).unwrap();
    assert_eq!((suggestion.size, suggestion.moves[0].memory.clone()), (gib(6), Some("0".parse().unwrap())));
    assert_eq!(suggestion.moves[0].cpus, None);
    far.movable = false;
    assert_eq!(best(&[far]), None);
}

#[test]
fn small_guests_before_large_ones_for_the_same_gain() {
    let fixed = |mut seat: Seat| {
        seat.repinnable = false;
        seat
    };
    let suggestion = best(&[fixed(seat("large", 0, &[(1, 6)])), fixed(seat("small", 0, &[(1, 1)]))]).unwrap();
    assert_eq!(suggestion.moves[0].guest, "small");
}

#[test]
fn two_guests_change_places_where_neither_can_move_alone() {
    let fixed = |mut seat: Seat| {
        seat.repinnable = false;
        seat
    };
    let seats = [fixed(seat("a", 0, &[(1, 14)])), fixed(seat("b", 1, &[(0, 14)]))];
    let suggestion = best(&seats).unwrap();
    let to: Vec<_> =
        suggestion.moves.iter().map(|m| (m.guest.as_str(), m.memory.clone().unwrap().to_string())).collect();
    assert_eq!(to, [("a", "0".to_owned()), ("b", "1".to_owned())]);
    assert_eq!(suggestion.size, gib(28));
}

#[test]
fn little_gain_and_haste_are_not_worth_it() {
    let seats = [seat("a", 0, &[(1, 8)])];
    let ask = |hysteresis, since| suggest(&host(), &promised(&seats), &seats, hysteresis, since);
    let usual = Hysteresis::default();
    assert_eq!(ask(usual, Some(Duration::from_secs(299))), None);
    assert!(ask(usual, Some(Duration::from_secs(300))).is_some());
    assert_eq!(ask(Hysteresis { least_gain: 2.0, ..usual }, None), None);
}
