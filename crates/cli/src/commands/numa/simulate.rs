//! `numa simulate`: placement algorithms on a host that is not there, one line for each.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use polyvirt::{
    Host,
    placement::{
        HostTopology, TopologyError,
        simulate::{
            hosts,
            rivals::Rival,
            table::{self, Kind, Measured, Row as Case},
            workload::{self, Mix},
            world::Outcome,
        },
    },
};

use super::Done;
use crate::{
    args::{Simulate, SimulatedCpus},
    commands::host::unreadable,
    failure::Failure,
    output::Output,
    picture::{Grid, Ink, Picture, terminal},
};

type MakeHost = fn() -> Result<HostTopology, TopologyError>;
type MakeRival = fn() -> Box<dyn Rival>;

/// Hosts by name, with what they are.
const HOSTS: [(&str, &str, MakeHost); 10] = [
    ("two-sockets", "2 sockets × 64 threads", hosts::two_sockets),
    ("nps4", "2 sockets of 4 nodes, 12 and 32 apart", hosts::nps4),
    ("ring", "8 nodes in a ring, 16, 22 and 28 apart", hosts::ring),
    ("l3-as-numa", "2 sockets of 12 last-level caches, each a node", hosts::l3_as_numa),
    ("clusters", "64 small nodes in sockets of 16", || hosts::clusters(64)),
    ("hypercube", "16 nodes, 10 more with every hop", || hosts::hypercube(4)),
    ("cxl", "2 sockets and 2 nodes of CXL memory", hosts::cxl),
    ("accelerators", "2 processors and 32 nodes of accelerators' memory", hosts::accelerators),
    ("memoryless-first", "8 nodes, 0 and 2 without memory", hosts::memoryless_first),
    ("asymmetric", "4 nodes whose distances differ by direction", hosts::asymmetric),
];
const MIXES: [Mix; 2] = [workload::HUAWEI, workload::ENTERPRISE];
/// More seeds than this are refused.
const MOST_SEEDS: u64 = 1000;

pub(super) async fn simulate(args: &Simulate, out: &mut Output) -> Done {
    if args.list {
        list(out);
        return Ok(());
    }
    let (name, topology) = host(args)?;
    let mix = *MIXES.iter().find(|mix| mix.name == args.mix).ok_or_else(|| unknown("mix", &args.mix, &mixes()))?;
    if !(args.load.is_finite() && args.load > 0.0 && args.load <= 10.0) {
        return Err(Failure::argument(format!("--load: {} is not between 0 and 10", args.load)));
    }
    let seeds = seeds(&args.seeds)?;
    let kind = match args.cpus {
        SimulatedCpus::Shared => Kind::Shared,
        SimulatedCpus::Dedicated => Kind::Dedicated,
        SimulatedCpus::Single => Kind::DedicatedSingle,
    };
    let rivals = chosen(kind, &args.algorithms)?;
    let (load, guests) = (args.load, args.guests);
    let progress = progress(rivals.len(), out.err_is_terminal());
    let told = progress.clone();
    let shown = seeds.clone();
    let measured = tokio::task::spawn_blocking(move || {
        // A table knows hosts by names that live as long as the program.
        let host = hosts::Host { name: "", topology };
        let case = Case { host: &host, mix, load };
        let guests = usize::try_from(guests).unwrap_or(usize::MAX);
        let run = |make: MakeRival| {
            let rival = make().name();
            told.set_message(rival);
            let measured = table::measure(&case, kind, &seeds, guests, make);
            told.inc(1);
            (rival, measured)
        };
        rivals.into_iter().map(run).collect::<Vec<_>>()
    })
    .await
    .map_err(|error| polyvirt::Error::new(polyvirt::ErrorKind::Internal, "the simulation failed").source(error))?;
    progress.finish_and_clear();
    let about = format!(
        "{name}, {} guests of the mix {} at load {load} for each of the seeds {shown:?}",
        args.guests, mix.name
    );
    if out.json {
        let results: Vec<_> = measured.iter().map(|(name, measured)| json(name, measured.as_ref())).collect();
        out.json(&serde_json::json!({
            "host": name, "mix": mix.name, "load": load, "guests": args.guests, "seeds": shown,
            "cpus": format!("{:?}", args.cpus).to_lowercase(), "algorithms": results,
        }));
        return Ok(());
    }
    out.print(&terminal::render(&picture(&about, &measured), out.style()));
    Ok(())
}

fn host(args: &Simulate) -> Result<(String, HostTopology), Failure> {
    if let Some(root) = &args.sysroot {
        if !root.is_dir() {
            return Err(Failure::argument(format!("--sysroot: {} is not a directory", root.display())));
        }
        return Ok((root.display().to_string(), Host::at(root).topology().map_err(unreadable)?));
    }
    let known: Vec<&str> = HOSTS.iter().map(|(name, _, _)| *name).collect();
    let (name, _, make) =
        HOSTS.iter().find(|(name, _, _)| *name == args.host).ok_or_else(|| unknown("host", &args.host, &known))?;
    Ok(((*name).to_owned(), make().map_err(unreadable)?))
}

fn mixes() -> Vec<&'static str> {
    MIXES.iter().map(|mix| mix.name).collect()
}

fn unknown(what: &str, name: &str, known: &[&str]) -> Failure {
    Failure::argument(format!("there is no {what} '{name}': take one of {}", known.join(", ")))
}

/// `7` or `1..3`, both ends included.
fn seeds(text: &str) -> Result<Vec<u64>, Failure> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let number = |text: &str| text.trim().trim_start_matches('=').parse::<u64>().ok();
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last && last - first < MOST_SEEDS => Ok((first..=last).collect()),
        _ => Err(Failure::argument(format!("--seeds: '{text}' is not like 101..103, with {MOST_SEEDS} seeds at most"))),
    }
}

/// The algorithms of a kind, or those of them that were named.
fn chosen(kind: Kind, names: &[String]) -> Result<Vec<MakeRival>, Failure> {
    let all = table::rivals(kind);
    let known: Vec<&str> = all.iter().map(|make| make().name()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(unknown("algorithm of this kind", name, &known));
    }
    let wanted = |make: &MakeRival| names.is_empty() || names.iter().any(|name| name == make().name());
    Ok(all.into_iter().filter(wanted).collect())
}

/// Shown after a second, on a terminal only.
fn progress(steps: usize, terminal: bool) -> ProgressBar {
    if !terminal {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(steps).unwrap_or(1));
    let style = ProgressStyle::with_template("{spinner} simulating {msg} ({pos} of {len} algorithms, {elapsed})");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let ticking = bar.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if !ticking.is_finished() {
            ticking.enable_steady_tick(Duration::from_millis(120));
        }
    });
    bar
}

/// What is told of an outcome: heading, key in JSON, figure.
type Figure = (&'static str, &'static str, fn(&Outcome) -> f64);

const FIGURES: [Figure; 7] = [
    ("placed %", "placed_percent", |o| o.placed),
    ("vCPU time placed %", "placed_time_percent", |o| o.placed_time),
    ("distance", "distance", |o| o.distance),
    ("on several nodes %", "spanning_percent", |o| o.spanning),
    ("promised beyond %", "promised_over_percent", |o| o.promised_over),
    ("touched beyond %", "touched_over_percent", |o| o.touched_over),
    ("CPU overload %", "overload_percent", |o| o.overload),
];

fn json(name: &str, measured: Option<&Measured>) -> serde_json::Value {
    let figures = |outcome: &Outcome| -> BTreeMap<&str, f64> {
        FIGURES.iter().map(|(_, key, figure)| (*key, figure(outcome))).collect()
    };
    serde_json::json!({
        "algorithm": name, "works": measured.is_some(),
        "mean": measured.map(|m| figures(&m.mean)), "spread": measured.map(|m| figures(&m.spread)),
    })
}

fn picture(about: &str, measured: &[(&'static str, Option<Measured>)]) -> Picture {
    let mut header = vec!["algorithm"];
    header.extend(FIGURES.iter().map(|(heading, _, _)| *heading));
    let mut grid = Grid::new(about, &header);
    for (name, measured) in measured {
        let figure = |(_, _, figure): &Figure| match measured {
            Some(Measured { mean, spread }) => format!("{:.2} ± {:.2}", figure(mean), figure(spread)),
            None => "–".to_owned(),
        };
        let ink = if *name == "polyvirt" { Ink::Strong } else { Ink::Plain };
        grid.row([vec![(*name).to_owned()], FIGURES.iter().map(figure).collect()].concat(), ink);
    }
    let notes = vec!["mean and spread of one seed; distance 10 is local; – does not work on so many nodes".to_owned()];
    Picture { title: about.to_owned(), grids: vec![grid], notes, ..Picture::default() }
}

fn list(out: &mut Output) {
    let kinds = [("shared", Kind::Shared), ("dedicated", Kind::Dedicated), ("single", Kind::DedicatedSingle)]
        .map(|(name, kind)| (name, table::rivals(kind).iter().map(|make| make().name()).collect::<Vec<_>>()));
    if out.json {
        let hosts: BTreeMap<_, _> = HOSTS.iter().map(|(name, about, _)| (*name, *about)).collect();
        let kinds: BTreeMap<_, _> = kinds.into_iter().collect();
        out.json(&serde_json::json!({ "hosts": hosts, "mixes": mixes(), "algorithms": kinds }));
        return;
    }
    let mut hosts = Grid::new("Hosts", &["--host", "what it is"]);
    for (name, about, _) in HOSTS {
        hosts.row(vec![name.to_owned(), about.to_owned()], Ink::Plain);
    }
    let mut algorithms = Grid::new("Algorithms", &["--cpus", "--algorithm"]);
    for (kind, names) in kinds {
        algorithms.row(vec![kind.to_owned(), names.join(", ")], Ink::Plain);
    }
    let mut mixed = Grid::new("Mixes", &["--mix"]);
    for name in mixes() {
        mixed.row(vec![name.to_owned()], Ink::Plain);
    }
    let picture = Picture { grids: vec![hosts, mixed, algorithms], ..Picture::default() };
    out.print(&terminal::render(&picture, out.style()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_with_both_ends() {
        assert_eq!(seeds("7").unwrap(), [7]);
        assert_eq!(seeds("1..3").unwrap(), [1, 2, 3]);
        for bad in ["", "3..1", "a", "0..99999", "1..2..3"] {
            assert!(seeds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_host_can_be_built_and_names_are_one_word() {
        for (name, _, make) in HOSTS {
            assert!(make().is_ok() && !name.contains(' '), "{name}");
        }
    }
}
