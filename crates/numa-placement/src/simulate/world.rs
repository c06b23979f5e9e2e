//! A host that guests come to and leave, placed by one algorithm; and how well they sit there.

use super::rivals::{Ask, NodeView, Rival, Spot, View};
use super::workload::Guest;
use crate::engine::real;
use crate::topology::HostTopology;

/// The part of the guests that only fills the host and is not counted.
const WARM_UP: usize = 6;

/// How an algorithm did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Guests that were placed, of all, in percent.
    pub placed: f64,
    /// The same by vCPUs and lifetime.
    pub placed_time: f64,
    /// Mean distance of a memory access by vCPU; 10 is local.
    pub distance: f64,
    /// Guests on more than one node, in percent.
    pub spanning: f64,
    /// Memory promised beyond what the nodes have, in percent of all that is promised.
    pub promised_over: f64,
    /// Memory touched beyond what the nodes have, in percent of all that is touched.
    pub touched_over: f64,
    /// Demand for CPUs beyond what the nodes' cores carry, in percent of all demand.
    pub overload: f64,
}

/// A guest that runs.
struct Sitting {
    guest: Guest,
    /// vCPUs by position.
    cpus: Vec<(usize, f64)>,
    /// KiB by position.
    memory: Vec<(usize, u64)>,
}

/// The host and its guests.
struct World<'a> {
    topology: &'a HostTopology,
    nodes: Vec<NodeView>,
    sitting: Vec<Sitting>,
    dedicated: bool,
}

/// Sums over time or guests.
#[derive(Default)]
struct Sums {
    asked: f64,
    placed: f64,
    asked_time: f64,
    placed_time: f64,
    distance: f64,
    vcpus: f64,
    spanning: f64,
    promised: f64,
    promised_over: f64,
    touched: f64,
    touched_over: f64,
    demand: f64,
    overload: f64,
}

/// Lets these guests come and go.
#[must_use]
pub fn run(topology: &HostTopology, guests: &[Guest], dedicated: bool, rival: &mut dyn Rival) -> Outcome {
    let mut world = World { topology, nodes: empty(topology), sitting: Vec::new(), dedicated };
    let mut sums = Sums::default();
    let mut before = 0.0;
    for (number, guest) in guests.iter().enumerate() {
        let counted = number >= guests.len() / WARM_UP;
        world.leave(guest.arrives);
        world.look(guest.arrives);
        if counted {
            world.measure(guest.arrives - before, &mut sums);
        }
        before = guest.arrives;
        let seat = world.admit(guest).then(|| world.seat(guest, rival)).flatten();
        if counted {
            count(&mut sums, topology, guest, seat.as_ref());
        }
        if let Some(seat) = seat {
            world.sit(seat);
        }
    }
    sums.outcome()
}

pub(super) fn empty(topology: &HostTopology) -> Vec<NodeView> {
    let of = |(node, capacity): (&crate::Node, &crate::topology::Capacity)| NodeView {
        threads: capacity.usable.cpus,
        cores: capacity.usable.cores(),
        free_threads: capacity.usable.cpus,
        memory: node.promisable().0,
        ..NodeView::default()
    };
    topology.nodes().iter().zip(topology.capacity()).map(of).collect()
}

fn count(sums: &mut Sums, topology: &HostTopology, guest: &Guest, seat: Option<&Sitting>) {
    let vcpus = f64::from(guest.vcpus);
    sums.asked += 1.0;
    sums.asked_time += vcpus * guest.lives;
    let Some(seat) = seat else { return };
    sums.placed += 1.0;
    sums.placed_time += vcpus * guest.lives;
    sums.distance += vcpus * distance(topology, seat);
    sums.vcpus += vcpus;
    let first = seat.cpus.first().map(|(at, _)| *at);
    let others = seat.cpus.iter().map(|(at, _)| *at).chain(seat.memory.iter().map(|(at, _)| *at));
    sums.spanning += if others.into_iter().any(|at| Some(at) != first) { 1.0 } else { 0.0 };
}

/// Mean distance of an access of any vCPU to any page.
fn distance(topology: &HostTopology, seat: &Sitting) -> f64 {
    let vcpus: f64 = seat.cpus.iter().map(|(_, share)| share).sum();
    let memory: f64 = seat.memory.iter().map(|(_, kib)| real(*kib)).sum();
    let mut sum = 0.0;
    for (from, share) in &seat.cpus {
        for (to, kib) in &seat.memory {
            sum += share * real(*kib) * f64::from(topology.distance_at(*from, *to));
        }
    }
    sum / (vcpus * memory).max(1e-9)
}

impl World<'_> {
    fn leave(&mut self, now: f64) {
        let nodes = &mut self.nodes;
        let dedicated = self.dedicated;
        self.sitting.retain(|seat| {
            let stays = seat.guest.arrives + seat.guest.lives > now;
            if !stays {
                book(nodes, seat, dedicated, false);
            }
            stays
        });
    }

    fn sit(&mut self, seat: Sitting) {
        book(&mut self.nodes, &seat, self.dedicated, true);
        self.sitting.push(seat);
    }

    /// What guests do at this moment.
    fn look(&mut self, now: f64) {
        for node in &mut self.nodes {
            (node.busy, node.touched) = (0.0, 0);
        }
        for seat in &self.sitting {
            let busy = seat.guest.cores(now) / f64::from(seat.guest.vcpus.max(1));
            for (at, vcpus) in &seat.cpus {
                self.nodes[*at].busy += busy * vcpus;
            }
            let touched = seat.guest.touched(now);
            for (at, kib) in &seat.memory {
                self.nodes[*at].touched += part(*kib, touched);
            }
        }
    }

    fn measure(&self, time: f64, sums: &mut Sums) {
        for node in &self.nodes {
            sums.promised += time * real(node.promised);
            sums.promised_over += time * real(node.promised.saturating_sub(node.memory));
            sums.touched += time * real(node.touched);
            sums.touched_over += time * real(node.touched.saturating_sub(node.memory));
            sums.demand += time * node.busy;
            sums.overload += time * (node.busy - node.cores).max(0.0);
        }
    }

    /// No host takes more than it has, whoever places.
    fn admit(&self, guest: &Guest) -> bool {
        let memory: u64 = self.nodes.iter().map(|node| node.memory).sum();
        let promised: u64 = self.nodes.iter().map(|node| node.promised).sum();
        let free: u32 = self.nodes.iter().map(|node| node.free_threads).sum();
        promised + guest.memory.0 <= memory && (!self.dedicated || free >= guest.vcpus)
    }

    fn seat(&self, guest: &Guest, rival: &mut dyn Rival) -> Option<Sitting> {
        let view = View { topology: self.topology, nodes: &self.nodes, dedicated: self.dedicated };
        let spot = rival.place(&view, &Ask { vcpus: guest.vcpus, memory: guest.memory })?;
        let cpus = self.cpus(guest, &spot)?;
        let memory = self.memory(guest, &spot, &cpus)?;
        Some(Sitting { guest: *guest, cpus, memory })
    }

    fn cpus(&self, guest: &Guest, spot: &Spot) -> Option<Vec<(usize, f64)>> {
        let vcpus = f64::from(guest.vcpus);
        if !self.dedicated {
            // vCPUs float over all CPUs of the set.
            let all: f64 = spot.cpus.iter().map(|at| self.nodes[*at].cores).sum();
            return Some(spot.cpus.iter().map(|at| (*at, vcpus * self.nodes[*at].cores / all.max(1e-9))).collect());
        }
        let mut left = guest.vcpus;
        let mut cpus = Vec::new();
        for at in &spot.cpus {
            let taken = left.min(self.nodes[*at].free_threads);
            left -= taken;
            if taken > 0 {
                cpus.push((*at, f64::from(taken)));
            }
        }
        (left == 0).then_some(cpus)
    }

    /// Where the kernel puts it: near the threads that touch it, within the set, as long as a node looks free. With
    /// CPUs of their own guests have memory of their own too, so that what is promised is taken.
    fn memory(&self, guest: &Guest, spot: &Spot, cpus: &[(usize, f64)]) -> Option<Vec<(usize, u64)>> {
        let looks_free = |at: usize| {
            let node = &self.nodes[at];
            if self.dedicated || spot.booked { node.unpromised() } else { node.unpromised().max(node.untouched()) }
        };
        let mut left: Vec<(usize, u64)> = spot.memory.iter().map(|at| (*at, looks_free(*at))).collect();
        let mut got: Vec<(usize, u64)> = spot.memory.iter().map(|at| (*at, 0)).collect();
        let shares: Vec<(usize, f64)> =
            if spot.striped { spot.memory.iter().map(|at| (*at, 1.0)).collect() } else { cpus.to_vec() };
        let whole: f64 = shares.iter().map(|(_, share)| share).sum();
        let mut rest = guest.memory.0;
        for (index, (from, share)) in shares.iter().enumerate() {
            let last = index + 1 == shares.len();
            let mut want = if last { rest } else { part(guest.memory.0, share / whole.max(1e-9)).min(rest) };
            let mut order: Vec<usize> = (0..left.len()).collect();
            order.sort_by_key(|at| self.topology.distance_at(*from, left[*at].0));
            for at in order {
                let taken = want.min(left[at].1);
                left[at].1 -= taken;
                got[at].1 += taken;
                want -= taken;
                rest -= taken;
            }
        }
        if rest > 0 {
            // Strict memory that is not there kills somebody later; a promise cannot be given.
            if self.dedicated {
                return None;
            }
            if let Some((_, kib)) = got.first_mut() {
                *kib += rest;
            }
        }
        got.retain(|(_, kib)| *kib > 0);
        Some(got)
    }
}

fn book(nodes: &mut [NodeView], seat: &Sitting, dedicated: bool, come: bool) {
    let guest = &seat.guest;
    for (at, vcpus) in &seat.cpus {
        let node = &mut nodes[*at];
        let own = if dedicated { whole(*vcpus) } else { 0 };
        if come {
            node.free_threads -= own;
            node.runnable += guest.vcpus;
            node.guests += 1;
        } else {
            node.free_threads += own;
            node.runnable -= guest.vcpus;
            node.guests -= 1;
        }
    }
    for (at, kib) in &seat.memory {
        let promised = &mut nodes[*at].promised;
        *promised = if come { *promised + kib } else { *promised - kib };
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small whole number")]
fn whole(vcpus: f64) -> u32 {
    vcpus as u32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a size below 2^53")]
fn part(kib: u64, share: f64) -> u64 {
    (real(kib) * share) as u64
}

impl Sums {
    fn outcome(&self) -> Outcome {
        let percent = |part: f64, whole: f64| 100.0 * part / whole.max(1e-9);
        Outcome {
            placed: percent(self.placed, self.asked),
            placed_time: percent(self.placed_time, self.asked_time),
            distance: self.distance / self.vcpus.max(1e-9),
            spanning: percent(self.spanning, self.placed),
            promised_over: percent(self.promised_over, self.promised),
            touched_over: percent(self.touched_over, self.touched),
            overload: percent(self.overload, self.demand),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rivals::{Incus, Kernel, Numad, Ours};
    use super::super::{hosts, workload};
    use super::*;
    use crate::request::Span;

    fn guests(count: usize, load: f64) -> Vec<Guest> {
        workload::guests(&workload::ENTERPRISE, 128.0, load, count, 1)
    }

    #[test]
    fn an_outcome_is_the_same_every_time() {
        let host = hosts::two_sockets().unwrap();
        let guests = guests(200, 0.85);
        let one = run(&host, &guests, true, &mut Ours::new(Span::IfNeeded));
        assert_eq!(one, run(&host, &guests, true, &mut Ours::new(Span::IfNeeded)));
        assert!(one.placed > 80.0 && one.distance >= 10.0, "{one:?}");
    }

    #[test]
    fn promises_are_never_exceeded_by_us_and_are_by_who_keeps_none() {
        let host = hosts::nps4().unwrap();
        let guests = workload::guests(&workload::ENTERPRISE, 256.0, 1.0, 400, 2);
        let ours = run(&host, &guests, false, &mut Ours::new(Span::IfNeeded));
        assert!(ours.promised_over.abs() < 1e-9 && ours.touched_over.abs() < 1e-9, "{ours:?}");
        let incus = run(&host, &guests, false, &mut Incus);
        assert!(incus.promised_over > 1.0, "{incus:?}");
    }

    #[test]
    fn whoever_places_an_idle_host_places_all() {
        let host = hosts::two_sockets().unwrap();
        let guests = guests(200, 0.1);
        for rival in [&mut Numad as &mut dyn Rival, &mut Kernel, &mut Ours::new(Span::IfNeeded)] {
            let outcome = run(&host, &guests, false, rival);
            assert!((outcome.placed - 100.0).abs() < 1e-9, "{}: {outcome:?}", rival.name());
        }
    }
}
