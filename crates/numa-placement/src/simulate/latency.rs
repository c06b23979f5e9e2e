//! How long a decision takes.
//!
//! For each host size the same requests are decided on a half-filled host: by a board that is kept, by [`plan`] without
//! and with its trace, and by numad's algorithm (without the two seconds it samples CPUs for).

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::hosts;
use super::random::Random;
use super::rivals::{NumadNode, numad_advise};
use crate::engine::{Board, plan};
use crate::profile::PlacementProfile;
use crate::promised::Promised;
use crate::request::Request;
use crate::shape::GuestShape;
use crate::topology::{HostTopology, TopologyError};
use crate::units::Kib;

/// The middle and the tail of many measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// Half of them took at most this.
    pub p50: Duration,
    /// 99 of 100 took at most this.
    pub p99: Duration,
}

/// What was measured for one host size and one kind of request.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Nodes of the host.
    pub nodes: usize,
    /// Whether the guests need several nodes.
    pub several: bool,
    /// [`Board::decide`] on a board that is kept.
    pub decide: Quantiles,
    /// [`Board::explain`]: the same with the trace.
    pub explain: Quantiles,
    /// [`plan`] without its trace: from topology and promises to the finished plan.
    pub plan: Quantiles,
    /// [`plan`] with its trace.
    pub traced: Quantiles,
    /// numad's algorithm; `None` where it would take minutes.
    pub numad: Option<Quantiles>,
}

fn quantiles(count: usize, mut run: impl FnMut(usize)) -> Quantiles {
    let mut times: Vec<Duration> = (0..count)
        .map(|number| {
            let begin = Instant::now();
            run(number);
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    let of = |percent| at(percent).copied().unwrap_or_default();
    Quantiles { p50: of(50), p99: of(99) }
}

/// A host that is filled unevenly.
struct Case {
    host: HostTopology,
    promised: Promised,
    /// vCPUs and memory.
    requests: Vec<(u32, Kib)>,
}

fn case(nodes: u32, several: bool, count: usize) -> Result<Case, TopologyError> {
    let host = if nodes == 8 { hosts::nps4()? } else { hosts::clusters(nodes)? };
    let mut random = Random::new(u64::from(nodes));
    let mut promised = Promised::default();
    let threads = host.nodes().iter().map(|node| node.cpus.len()).max().unwrap_or(1);
    let memory = host.nodes().iter().map(|node| node.memory.0).max().unwrap_or(1);
    for node in host.nodes() {
        let taken = 40 + random.below(40) as u64;
        let promise = promised.node_mut(node.id);
        promise.memory = Kib(node.memory.0 * taken / 100);
        promise.untouched = promise.memory;
        promise.milli_vcpus = threads as u64 * 10 * (taken / 2);
    }
    let requests = (0..count)
        .map(|_| {
            let share = 10 + random.below(10);
            let (cpus, part) = if several { (threads * share / 8, 8) } else { (threads * share / 100, 100) };
            (u32::try_from(cpus.max(1)).unwrap_or(u32::MAX), Kib(memory * share as u64 / part / 2))
        })
        .collect();
    Ok(Case { host, promised, requests })
}

/// Measures hosts of these sizes with so many requests each.
///
/// # Errors
/// A host cannot be built.
pub fn measure(sizes: &[u32], count: usize) -> Result<Vec<Latency>, TopologyError> {
    let mut all = Vec::new();
    for nodes in sizes {
        for several in [false, true] {
            all.push(one(&case(*nodes, several, count)?, several));
        }
    }
    Ok(all)
}

fn one(case: &Case, several: bool) -> Latency {
    let Case { host, promised, requests } = case;
    let count = requests.len();
    let board = Board::new(host, promised);
    let profile = PlacementProfile::qemu();
    let needs: Vec<_> = requests.iter().map(|(vcpus, memory)| board.need(*vcpus, *memory)).collect();
    let request = |number: usize| {
        let (vcpus, memory) = requests[number];
        Request::auto("guest", GuestShape::flat(vcpus, memory))
    };
    let plans = |traced: bool| {
        let all: Vec<_> = (0..count).map(|number| request(number).traced(traced)).collect();
        quantiles(count, |number| drop(black_box(plan(host, promised, &profile, black_box(&all[number])))))
    };
    Latency {
        nodes: host.nodes().len(),
        several,
        decide: quantiles(count, |number| drop(black_box(board.decide(black_box(&needs[number]))))),
        explain: quantiles(count, |number| drop(black_box(board.explain(black_box(&needs[number]))))),
        plan: plans(false),
        traced: plans(true),
        numad: numad(case),
    }
}

fn numad(case: &Case) -> Option<Quantiles> {
    // Its time grows with the cube of the nodes.
    let count = match case.host.nodes().len() {
        0..=8 => case.requests.len(),
        9..=64 => case.requests.len().min(100),
        65..=512 => 3,
        _ => 1,
    };
    let nodes: Vec<NumadNode> = case
        .host
        .nodes()
        .iter()
        .map(|node| {
            let cpus = node.cpus.len() as u64 * 60;
            let free = case.promised.memory_left(node).mib_ceil();
            NumadNode { total_mb: node.memory.mib_ceil(), free_mb: free, total_cpu: cpus, free_cpu: cpus / 2 }
        })
        .collect();
    let distance = |from, to| case.host.distance_at(from, to);
    let requests = &case.requests;
    Some(quantiles(count, |number| {
        let (vcpus, memory) = requests[number];
        drop(black_box(numad_advise(&nodes, &distance, memory.mib_ceil(), u64::from(vcpus) * 100)));
    }))
}

/// A table in Markdown.
#[must_use]
pub fn markdown(all: &[Latency]) -> String {
    let mut out = String::from(
        "| nodes | request | decision | with trace | whole plan | with trace | numad's algorithm | numad takes |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for latency in all {
        let request = if latency.several { "several nodes" } else { "one node" };
        let (numad, ratio) = latency.numad.map_or(("–".to_owned(), "–".to_owned()), |numad| {
            let ratio = numad.p50.as_secs_f64() / latency.decide.p50.as_secs_f64().max(1e-9);
            (words(numad), format!("{ratio:.2} ×"))
        });
        out.push_str(&format!(
            "| {} | {request} | {} | {} | {} | {} | {numad} | {ratio} |\n",
            latency.nodes,
            words(latency.decide),
            words(latency.explain),
            words(latency.plan),
            words(latency.traced),
        ));
    }
    out
}

fn words(quantiles: Quantiles) -> String {
    let of = |time: Duration| match time.as_secs_f64() * 1e6 {
        micros if micros < 10.0 => format!("{micros:.2}"),
        micros if micros < 1000.0 => format!("{micros:.0}"),
        micros => format!("{:.1} ms", micros / 1000.0),
    };
    let unit = if quantiles.p50 < Duration::from_millis(1) { " µs" } else { "" };
    format!("{}{unit} ({})", of(quantiles.p50), of(quantiles.p99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_of_the_kind_they_are_said_to_be() {
        for (nodes, several) in [(8, false), (8, true), (64, false), (64, true)] {
            let case = case(nodes, several, 40).unwrap();
            let board = Board::new(&case.host, &case.promised);
            let on_one = case.requests.iter().filter(|(vcpus, memory)| {
                board.decide(&board.need(*vcpus, *memory)).is_ok_and(|d| d.cpus().len() == 1 && d.memory().len() == 1)
            });
            assert_eq!(on_one.count(), if several { 0 } else { 40 }, "{nodes} {several}");
        }
    }

    #[test]
    fn quantiles_are_of_the_sorted_times_and_a_table_has_a_line_each() {
        let quantiles = quantiles(10, |_| ());
        assert!(quantiles.p50 <= quantiles.p99);
        let all = measure(&[8], 5).unwrap();
        assert_eq!(markdown(&all).lines().count(), 4);
    }
}
