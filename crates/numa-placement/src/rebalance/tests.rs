//! Changes that help, and those that do not.

use proptest::prelude::*;

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
    // One of them has to go first, and finds the other's pages there; promises alone take no room.
    let ask = |free: [u64; 2]| {
        let mut free = free.into_iter();
        let host = HostTopology::uniform(2, 8, gib(16)).map_nodes(|node| node.with_free(gib(free.next().unwrap())));
        suggest(&host.build().unwrap(), &promised(&seats), &seats, Hysteresis::default(), None)
    };
    assert_eq!(ask([16, 1]).map(|found| found.moves.len()), Some(2));
    assert_eq!(ask([13, 13]), None);
}

#[test]
fn little_gain_and_haste_are_not_worth_it() {
    let seats = [seat("a", 0, &[(1, 8)])];
    let ask = |hysteresis, since| suggest(&host(), &promised(&seats), &seats, hysteresis, since);
    let usual = Hysteresis::default();
    assert_eq!(ask(usual, Some(Duration::from_secs(299))), None);
    assert!(ask(usual, Some(Duration::from_secs(300))).is_some());
    assert_eq!(ask(Hysteresis { least_gain: 2.0, ..usual }, None), None);
    // 4 vCPUs at a distance of 20 instead of 10.
    assert!(ask(Hysteresis { least_saving: 0.9, ..usual }, None).is_some());
    assert_eq!(ask(Hysteresis { least_saving: 2.0, ..usual }, None), None);
}

#[test]
fn vcpus_follow_the_larger_part_of_memory_that_stays() {
    let mut torn = seat("a", 0, &[(0, 1), (1, 7)]);
    torn.movable = false;
    let suggestion = best(std::slice::from_ref(&torn)).unwrap();
    assert_eq!(suggestion.moves[0].cpus, Some("1".parse().unwrap()));
    torn.cpus = vec![(HostNode(1), 4000)];
    assert_eq!(best(&[torn]), None, "there is nothing better");
}

#[test]
fn vcpus_are_exchanged_where_a_third_would_be_too_many() {
    let bound = |guest: &str, cpus, memory| {
        let mut seat = seat(guest, cpus, &[(memory, 6)]);
        (seat.vcpus, seat.cpus[0].1, seat.movable, seat.busy) = (8, 8000, false, Some(7.0));
        seat
    };
    let suggestion = best(&[bound("a", 0, 1), bound("b", 1, 0)]).unwrap();
    let to: Vec<_> = suggestion.moves.iter().map(|m| (m.guest.as_str(), m.cpus.clone().unwrap().to_string())).collect();
    assert_eq!(to, [("a", "1".to_owned()), ("b", "0".to_owned())]);
    assert_eq!(suggestion.size, Kib::ZERO);
}

#[test]
fn what_was_seen_of_guests_counts() {
    // Three guests of four vCPUs on the eight CPUs of a node; the other node is empty.
    let of = |busy: Option<f64>| -> Vec<Seat> {
        let mut seats: Vec<Seat> = ["a", "b", "c"].map(|guest| seat(guest, 0, &[(0, 1)])).into();
        seats.iter_mut().for_each(|seat| seat.busy = busy);
        seats
    };
    let ask = |seats: &[Seat], busy_milli| {
        let mut promised = promised(seats);
        promised.node_mut(HostNode(0)).busy_milli = busy_milli;
        suggest(&host(), &promised, seats, Hysteresis::default(), None)
    };
    assert!(ask(&of(Some(4.0)), Some(10_435)).is_some(), "busy all the time");
    assert_eq!(ask(&of(Some(0.1)), Some(261)), None, "idle");
}

#[test]
fn cpus_of_its_own_are_no_load() {
    let mut own = seat("own", 0, &[(0, 4)]);
    (own.dedicated, own.repinnable, own.movable) = (true, false, false);
    let mut promised = promised(&[own.clone()]);
    promised.node_mut(HostNode(0)).dedicated = crate::CpuSet::of_range(0, 3);
    let other = seat("other", 1, &[(1, 4)]);
    promised.add(&self::promised(std::slice::from_ref(&other)));
    let suggestion = suggest(&host(), &promised, &[own, other], Hysteresis::default(), None);
    assert_eq!(suggestion, None);
}

/// A host of two to five nodes, and guests that sit on it anyhow.
fn anyhow() -> impl Strategy<Value = (HostTopology, Vec<Seat>)> {
    let distances = prop::collection::vec(11u32..40, 25);
    let hosts = (2usize..=5, prop::collection::vec(0u32..=8, 5), distances).prop_map(|(count, cpus, far)| {
        let mut first = 0;
        let mut builder = HostTopology::builder();
        for (at, cpus) in (0u32..).zip(&cpus).take(count) {
            // Some node has CPUs.
            let cpus = if at == 0 { cpus + 2 } else { *cpus };
            let set: crate::CpuSet = (first..first + cpus).map(crate::HostCpu).collect();
            first += cpus;
            builder = builder.node(crate::Node::new(HostNode(at)).with_cpus(set).with_memory(gib(16)));
        }
        let row = |from: usize| (0..count).map(|to| if from == to { 10 } else { far[from * 5 + to] }).collect();
        builder.distances((0..count).map(row).collect()).build().unwrap()
    });
    let shares = || prop::collection::vec((0u32..5, 1u64..9), 1..4);
    let guests = prop::collection::vec((1u32..9, shares(), shares(), any::<(bool, bool, Option<u8>)>()), 0..5);
    (hosts, guests).prop_map(|(host, guests)| {
        let count = u32::try_from(host.nodes().len()).unwrap();
        let seats = (0..).zip(guests).map(|(at, (vcpus, cpus, memory, (repinnable, movable, busy)))| {
            let cpus: std::collections::BTreeMap<_, _> =
                cpus.into_iter().map(|(node, part)| (HostNode(node % count), part)).collect();
            let milli = u64::from(vcpus) * 1000 / cpus.values().sum::<u64>();
            let cpus = cpus.into_iter().map(|(node, part)| (node, part * milli)).collect();
            let memory: std::collections::BTreeMap<_, _> =
                memory.into_iter().map(|(node, size)| (HostNode(node % count), size)).collect();
            let memory = memory.into_iter().map(|(node, size)| (node, PageSize::Base, gib(size))).collect();
            let mut seat = Seat::new(format!("g{at}"), vcpus, cpus, memory);
            (seat.repinnable, seat.movable) = (repinnable, movable);
            seat.busy = busy.map(|busy| f64::from(busy) / 16.0);
            seat
        });
        (host, seats.collect())
    })
}

/// Thousandths of a CPU that these guests keep busy on a node, rounded up.
fn seen_on(seats: &[Seat], node: HostNode) -> u64 {
    let on = |seat: &Seat| {
        let all: u64 = seat.cpus.iter().map(|(_, milli)| milli).sum();
        let here: u64 = seat.cpus.iter().filter(|(at, _)| *at == node).map(|(_, milli)| milli).sum();
        seat.cores() * crate::engine::real(here) / crate::engine::real(all.max(1))
    };
    let cores: f64 = seats.iter().map(on).sum();
    (0..).find(|milli| crate::promised::expected(*milli) >= cores).unwrap()
}

proptest! {
    #[test]
    fn a_suggestion_changes_something_and_gains_by_the_same_estimate((host, seats) in anyhow()) {
        let hysteresis = Hysteresis { least_gain: 0.0, least_saving: 0.0, ..Hysteresis::default() };
        let mut promised = promised(&seats);
        for node in host.nodes() {
            promised.node_mut(node.id).busy_milli = Some(seen_on(&seats, node.id));
        }
        let Some(found) = suggest(&host, &promised, &seats, hysteresis, None) else { return Ok(()) };
        prop_assert!(found.gain > 0.0, "{found:?}");
        let mut board = Board::new(&host, &promised);
        let concerned: Vec<&Seat> =
            found.moves.iter().map(|moved| seats.iter().find(|seat| seat.guest == moved.guest).unwrap()).collect();
        let cost = |board: &Board<'_>, seat: &Seat| {
            let mut without = board.clone();
            without.take_out(seat);
            without.seat_cost(seat) * f64::from(seat.vcpus)
        };
        let before: f64 = concerned.iter().map(|seat| cost(&board, seat)).sum();
        concerned.iter().for_each(|seat| board.take_out(seat));
        let mut after = Vec::new();
        for (moved, seat) in found.moves.iter().zip(&concerned) {
            prop_assert!(moved.cpus.is_some() || moved.memory.is_some(), "{moved:?}");
            prop_assert!(moved.cpus.is_none() || seat.repinnable, "{moved:?}");
            prop_assert!(moved.memory.is_none() || seat.movable, "{moved:?}");
            prop_assert!(moved.cpus.as_ref().is_none_or(|to| *to != seat.cpu_nodes()), "{moved:?} {seat:?}");
            prop_assert!(moved.memory.as_ref().is_none_or(|to| !seat.memory_nodes().is_subset(to)), "{moved:?} {seat:?}");
            let sits = board.place(seat, moved.cpus.as_ref(), moved.memory.as_ref()).unwrap();
            let sum = |seat: &Seat| seat.memory.iter().map(|(_, _, size)| *size).sum::<Kib>();
            prop_assert_eq!(sum(&sits), sum(seat), "memory is moved, not made");
            board.put_in(&sits);
            after.push(sits);
        }
        let then: f64 = after.iter().map(|seat| cost(&board, seat)).sum();
        // What was seen is in whole thousandths.
        prop_assert!((before - then - found.gain).abs() < 0.01 * (1.0 + before), "{before} - {then} is not {}", found.gain);
    }
}
