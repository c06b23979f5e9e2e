//! Placement quality beside other algorithms, and how long decisions take: `cargo xtask bench placement`.
//!
//! Without arguments everything that `docs/numa.md` shows. `latency`, `dedicated`, `single`, `shared` and `burst` run a part;
//! `quick` runs it with two tuning seeds and fewer guests.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use polyvirt_numa_placement::simulate::burst::burst;
use polyvirt_numa_placement::simulate::rivals::{Numad, Ours, Rival, Xen};
use polyvirt_numa_placement::simulate::table::{Kind, REPORTING_SEEDS, TUNING_SEEDS, markdown, rows};
use polyvirt_numa_placement::simulate::{hosts, latency};
use polyvirt_numa_placement::{HostTopology, Span};

const PARTS: [&str; 5] = ["latency", "dedicated", "single", "shared", "burst"];

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let Some(unknown) = words.iter().find(|word| *word != "quick" && !PARTS.contains(&word.as_str())) {
        eprintln!("error: no part '{unknown}': there are {} and 'quick'", PARTS.join(", "));
        return ExitCode::FAILURE;
    }
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let quick = words.iter().any(|word| word == "quick");
    let wanted = |part: &str| words.iter().all(|word| word == "quick") || words.iter().any(|word| word == part);
    if wanted("latency") {
        let (sizes, count) = if quick { (&[8, 64][..], 200) } else { (&[8, 16, 64, 512, 1024][..], 2000) };
        println!("## Time of a decision, p50 (p99)\n\n{}", latency::markdown(&latency::measure(sizes, count)?));
    }
    let hosts = hosts::tables()?;
    let rows = rows(&hosts);
    let (seeds, guests) = if quick { (&TUNING_SEEDS[..2], 1000) } else { (&REPORTING_SEEDS[..], 3000) };
    for (part, kind, title) in [
        ("dedicated", Kind::Dedicated, "Dedicated CPUs: mean distance (guests on several nodes), vCPU time placed"),
        ("single", Kind::DedicatedSingle, "Dedicated CPUs on one node: vCPU time placed"),
        (
            "shared",
            Kind::Shared,
            "Shared CPUs: promised beyond a node % / touched beyond % / CPU overload % / mean distance",
        ),
    ] {
        if wanted(part) {
            let mut told = |done| progress(part, done, rows.len());
            let table = markdown(&rows, kind, seeds, guests, &mut told);
            println!("## {title}\n\nSeeds {seeds:?}, {guests} guests each.\n\n{table}");
        }
    }
    if wanted("burst") {
        println!("## Starts at the same moment: no memory left for them % / fullest node\n");
        print!("{}", bursts(&hosts::nps4()?));
    }
    Ok(())
}

type Maker = fn() -> Box<dyn Rival>;

fn bursts(host: &HostTopology) -> String {
    let ours: Maker = || Box::new(Ours::new(Span::IfNeeded));
    let columns: [(Maker, bool); 4] =
        [(|| Box::new(Numad), false), (|| Box::new(Xen), false), (ours, false), (ours, true)];
    let mut out =
        String::from("| guests | numad | xen | polyvirt without a ledger | polyvirt |\n|---|---|---|---|---|\n");
    for count in [1, 4, 8, 16] {
        let cell = |(rival, ledger): (Maker, bool)| {
            let burst = burst(host, count, &REPORTING_SEEDS, ledger, rival);
            format!("{:.1} % / {:.2}", burst.over, burst.fullest)
        };
        out.push_str(&format!("| {count} | {} |\n", columns.map(cell).join(" | ")));
    }
    out
}

fn progress(part: &str, done: usize, all: usize) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{part}: {done} of {all} lines{}", if done == all { "\n" } else { "" });
    }
}
