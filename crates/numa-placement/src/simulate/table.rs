//! All algorithms on all hosts, mixes and loads, over several seeds.

use std::fmt::Write as _;

use super::hosts::Host;
use super::rivals::{Incus, Kernel, Kubelet, Nova, Numad, Ours, Policy, Rival, Strategy, Xapi, Xen};
use super::workload::{self, ENTERPRISE, HUAWEI, Mix};
use super::world::{self, Outcome};
use crate::request::Span;

/// Seeds that weights may be tuned with.
pub const TUNING_SEEDS: [u64; 6] = [1, 2, 3, 4, 5, 6];
/// Seeds of what is reported; nothing was tuned with them.
pub const REPORTING_SEEDS: [u64; 6] = [101, 102, 103, 104, 105, 106];

/// What kind of guests are simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CPUs of their own, strict memory, over several nodes if need be.
    Dedicated,
    /// The same, never over several nodes unless a guest is wider than a node.
    DedicatedSingle,
    /// Shared CPUs, strict memory, over several nodes if need be.
    Shared,
}

/// One line of a table.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The host.
    pub host: &'a Host,
    /// The guests.
    pub mix: Mix,
    /// vCPUs asked for, by the host's threads.
    pub load: f64,
}

/// Mean and spread over seeds.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Mean.
    pub mean: Outcome,
    /// Standard deviation of a single seed.
    pub spread: Outcome,
}

/// All lines of a table.
#[must_use]
pub fn rows(hosts: &[Host]) -> Vec<Row<'_>> {
    let mixes = [HUAWEI, ENTERPRISE];
    let of = |host| mixes.into_iter().flat_map(move |mix| [0.85, 1.0].map(|load| Row { host, mix, load }));
    hosts.iter().flat_map(of).collect()
}

/// The algorithms of a table, ours last.
#[must_use]
pub fn rivals(kind: Kind) -> Vec<fn() -> Box<dyn Rival>> {
    match kind {
        Kind::Dedicated => vec![
            || Box::new(Numad),
            || Box::new(Nova::new(Strategy::Spread)),
            || Box::new(Nova::new(Strategy::Pack)),
            || Box::new(Kubelet::new(Policy::Restricted)),
            || Box::new(Kubelet::new(Policy::BestEffort)),
            || Box::new(Ours::new(Span::IfNeeded)),
        ],
        Kind::DedicatedSingle => vec![
            || Box::new(Nova::new(Strategy::Spread)),
            || Box::new(Nova::new(Strategy::Pack)),
            || Box::new(Kubelet::new(Policy::SingleNode)),
            || Box::new(Ours::single()),
        ],
        Kind::Shared => vec![
            || Box::new(Numad),
            || Box::new(Xen),
            || Box::new(Xapi::default()),
            || Box::new(Incus),
            || Box::new(Kernel),
            || Box::new(Ours::new(Span::IfNeeded)),
        ],
    }
}

/// One algorithm on one line; `None` if it does not work on this host.
#[must_use]
pub fn measure(
    row: &Row<'_>,
    kind: Kind,
    seeds: &[u64],
    guests: usize,
    rival: fn() -> Box<dyn Rival>,
) -> Option<Measured> {
    if !rival().works_with(row.host.topology.nodes().len()) {
        return None;
    }
    let threads: u32 = row.host.topology.capacity().iter().map(|capacity| capacity.usable.cpus).sum();
    let outcomes: Vec<Outcome> = seeds
        .iter()
        .map(|seed| {
            let guests = workload::guests(&row.mix, threads.into(), row.load, guests, *seed);
            world::run(&row.host.topology, &guests, kind != Kind::Shared, rival().as_mut())
        })
        .collect();
    Some(Measured { mean: mean(&outcomes), spread: spread(&outcomes) })
}

/// Reads and writes one figure of an outcome.
type Field = (fn(&Outcome) -> f64, fn(&mut Outcome) -> &mut f64);

const FIELDS: [Field; 7] = [
    (|o| o.placed, |o| &mut o.placed),
    (|o| o.placed_time, |o| &mut o.placed_time),
    (|o| o.distance, |o| &mut o.distance),
    (|o| o.spanning, |o| &mut o.spanning),
    (|o| o.promised_over, |o| &mut o.promised_over),
    (|o| o.touched_over, |o| &mut o.touched_over),
    (|o| o.overload, |o| &mut o.overload),
];

fn count(outcomes: &[Outcome]) -> f64 {
    f64::from(u32::try_from(outcomes.len()).unwrap_or(u32::MAX))
}

fn mean(outcomes: &[Outcome]) -> Outcome {
    let mut mean = Outcome::default();
    for (get, set) in FIELDS {
        *set(&mut mean) = outcomes.iter().map(get).sum::<f64>() / count(outcomes).max(1.0);
    }
    mean
}

fn spread(outcomes: &[Outcome]) -> Outcome {
    let middle = mean(outcomes);
    let mut spread = Outcome::default();
    for (get, set) in FIELDS {
        let squares: f64 = outcomes.iter().map(|outcome| (get(outcome) - get(&middle)).powi(2)).sum();
        *set(&mut spread) = (squares / (count(outcomes) - 1.0).max(1.0)).sqrt();
    }
    spread
}

/// A table in Markdown. `told` is called after every line with how many are done.
#[must_use]
pub fn markdown(rows: &[Row<'_>], kind: Kind, seeds: &[u64], guests: usize, told: &mut dyn FnMut(usize)) -> String {
    let rivals = rivals(kind);
    let mut out = String::from("| host | mix | load |");
    rivals.iter().for_each(|rival| out.push_str(&format!(" {} |", rival().name())));
    out.push_str("\n|---|---|---|");
    out.push_str(&"---|".repeat(rivals.len()));
    out.push('\n');
    for (number, row) in rows.iter().enumerate() {
        let _ = write!(out, "| {} | {} | {:.2} |", row.host.name, row.mix.name, row.load);
        for rival in &rivals {
            let text = measure(row, kind, seeds, guests, *rival).map_or("–".to_owned(), |m| cell(kind, &m));
            let _ = write!(out, " {text} |");
        }
        out.push('\n');
        told(number + 1);
    }
    out
}

fn cell(kind: Kind, measured: &Measured) -> String {
    let Measured { mean, spread } = measured;
    match kind {
        Kind::Dedicated => format!(
            "{:.2} ± {:.2} ({:.1} %) {:.1} ± {:.1} %",
            mean.distance, spread.distance, mean.spanning, mean.placed_time, spread.placed_time
        ),
        Kind::DedicatedSingle => format!("{:.1} ± {:.1} %", mean.placed_time, spread.placed_time),
        Kind::Shared => format!(
            "{:.2} / {:.2} / {:.2} ± {:.2} / {:.2} ± {:.2}",
            mean.promised_over, mean.touched_over, mean.overload, spread.overload, mean.distance, spread.distance
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::hosts;
    use super::*;

    #[test]
    fn seeds_of_tuning_and_reporting_are_disjoint() {
        assert!(TUNING_SEEDS.iter().all(|seed| !REPORTING_SEEDS.contains(seed)));
    }

    #[test]
    fn mean_and_spread() {
        let of = |distance| Outcome { distance, ..Outcome::default() };
        let outcomes = [of(10.0), of(12.0), of(14.0)];
        assert!((mean(&outcomes).distance - 12.0).abs() < 1e-12);
        assert!((spread(&outcomes).distance - 2.0).abs() < 1e-12);
        assert!(spread(&outcomes[..1]).distance.abs() < 1e-12);
    }

    #[test]
    fn a_table_has_a_line_per_row_and_a_dash_where_an_algorithm_gives_up() {
        let hosts = hosts::tables().unwrap();
        let all = rows(&hosts);
        assert_eq!(all.len(), 16);
        let mut told = 0;
        let text = markdown(&all[15..], Kind::Shared, &[1], 60, &mut |done| told = done);
        assert_eq!((told, text.lines().count()), (1, 3));
        assert!(text.lines().last().unwrap().contains("| – |"), "{text}");
    }
}
