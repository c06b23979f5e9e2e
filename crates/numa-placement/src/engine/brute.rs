//! The search against all pairs of sets: whether it finds a way whenever there is one, and what its answer costs.

use super::Board;
use super::board::{Dealt, Need};
use super::objective::Scratch;
use crate::simulate::random::Random;
use crate::*;

/// A host of up to `most` nodes with random CPUs, memory, distances and load, and something to ask of it.
fn any(random: &mut Random, most: usize) -> (HostTopology, Promised, u32, Kib) {
    let count = 2 + random.below(most - 1);
    let mut builder = HostTopology::builder();
    let mut promised = Promised::default();
    let mut first = 0;
    for at in 0..u32::try_from(count).unwrap() {
        let cpus = if random.below(8) == 0 { 0 } else { 2 + 2 * u32::try_from(random.below(8)).unwrap() };
        let memory = if random.below(8) == 0 { 0 } else { 4 + random.below(60) as u64 };
        let set: CpuSet = (first..first + cpus).map(HostCpu).collect();
        first += cpus;
        let node = Node::new(HostNode(at * 3)).with_cpus(set).with_threads(2).with_memory(Kib::from_gib(memory));
        let node = node.with_weight(1 + u8::try_from(random.below(8)).unwrap());
        builder = builder.node(node);
        let promise = promised.node_mut(HostNode(at * 3));
        promise.memory = Kib::from_gib(memory * random.below(90) as u64 / 100);
        promise.untouched = promise.memory;
        promise.milli_vcpus = u64::from(cpus) * random.below(1500) as u64;
    }
    let symmetric = random.below(2) == 0;
    let seed = random.bits();
    let distance = |from: usize, to: usize| {
        let (from, to) = if symmetric { (from.min(to), from.max(to)) } else { (from, to) };
        11 + u32::try_from(Random::new(seed ^ (from * 64 + to) as u64).below(30)).unwrap()
    };
    let row = |from| (0..count).map(|to| if from == to { 10 } else { distance(from, to) }).collect();
    let rows = (0..count).map(row).collect();
    let host = builder.distances(rows).node(Node::new(HostNode(999)).with_cpus(CpuSet::of_range(900, 901)));
    let host = host.build().unwrap();
    let cpus = 1 + u32::try_from(random.below(host.online_cpus().len() / 2 + 1)).unwrap();
    let left: u64 = host.nodes().iter().map(|node| promised.memory_left(node).0).sum();
    (host, promised, cpus, Kib(1 + left * random.below(95) as u64 / 100))
}

/// The least cost of all pairs of sets that are enough.
fn least(board: &Board<'_>, need: &Need) -> Option<f64> {
    let all: Vec<Vec<usize>> =
        (1u32..1 << board.len()).map(|mask| (0..board.len()).filter(|at| mask & (1 << at) != 0).collect()).collect();
    let on = all.iter().filter(|set| board.enough_cpus(need, set) && set.iter().all(|at| board.cpus(need, *at) > 0));
    let memory = |set: &&Vec<usize>| board.enough_memory(need, set) && set.iter().all(|at| board.sites[*at].memory);
    let from: Vec<&Vec<usize>> = all.iter().filter(memory).collect();
    let mut scratch = Scratch::default();
    let mut best: Option<f64> = None;
    for cpus in on {
        for memory in &from {
            board.shares_into(need, cpus, &mut scratch.shares);
            let total = board.score(need, memory, &mut scratch).total;
            best = Some(best.map_or(total, |known| known.min(total)));
        }
    }
    best
}

/// How much more than the least our answers cost, in the mean and at worst, over so many requests.
fn gaps(seed: u64, cases: usize, most: usize, dedicated: bool) -> (f64, f64) {
    let mut random = Random::new(seed);
    let (mut sum, mut worst, mut counted) = (0.0, 0.0f64, 0.0);
    for _ in 0..cases {
        let (host, promised, vcpus, memory) = any(&mut random, most);
        let board = Board::new(&host, &promised);
        let mut need = board.need(vcpus, memory).span(Span::Allowed);
        need.dealt = [Dealt::Nearest, Dealt::Nearest, Dealt::Evenly, Dealt::ByWeight][random.below(4)];
        if dedicated {
            need = need.dedicated(Threads::Prefer);
        }
        let least = least(&board, &need);
        let decision = board.decide(&need);
        assert_eq!(least.is_some(), decision.is_ok(), "{host:?} {promised:?} {vcpus} {memory}");
        let (Some(least), Ok(decision)) = (least, decision) else { continue };
        assert!(decision.cost() >= least - 1e-9, "{} below {least}", decision.cost());
        let gap = decision.cost() / least.max(1e-9) - 1.0;
        (sum, worst, counted) = (sum + gap, worst.max(gap), counted + 1.0);
    }
    assert!(counted > 0.0);
    (sum / counted, worst)
}

#[test]
fn answers_cost_little_more_than_the_least() {
    for (seed, cases, most) in [(11, 120, 4), (12, 40, 6), (13, 4, 8)] {
        for dedicated in [false, true] {
            let (mean, worst) = gaps(seed, cases, most, dedicated);
            println!(
                "{most} nodes, dedicated {dedicated}: {:.3} % in the mean, {:.2} % at worst",
                mean * 100.0,
                worst * 100.0
            );
            assert!(mean <= 0.01 && worst <= 0.05, "{most} nodes, dedicated {dedicated}: {mean} {worst}");
        }
    }
}
