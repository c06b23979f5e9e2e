//! `cargo xtask fuzz`: hostile input from libFuzzer for the targets of `tests/fuzz`.
//!
//! Needs a nightly compiler and `cargo-fuzz`; the latter is installed with Cargo if it is missing. What the fuzzers learn stays
//! below the target directory, so that the next run goes on from there. Memory errors are not looked for: none of the crates
//! under test has unsafe code. What is looked for: panics, overflows, hangs, memory, and the oracles of the targets.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    thread,
    time::Duration,
};

use clap::Args;

use crate::{
    checkout::Checkout,
    command::{self, Outcome},
    corpus, debian,
    progress::Progress,
};

/// What `cargo xtask fuzz` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// Only these targets
    #[arg(long = "target", value_name = "TARGET", num_args = 1..)]
    targets: Vec<String>,
    /// How many targets run at once
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: u64,
}

/// Bounds of one input, as libFuzzer's options: megabytes and seconds.
const BOUNDS: &[&str] = &["-rss_limit_mb=512", "-timeout=5", "-print_final_stats=1"];

/// Building takes minutes on a slow machine.
const LONG: Duration = Duration::from_secs(30 * 60);

/// Beyond its time a fuzzer may need this long to read what it learnt before.
const GRACE: Duration = Duration::from_secs(300);

/// `cargo xtask fuzz`.
pub(crate) fn run(checkout: &Checkout, options: &Options) -> Result<bool, String> {
    let chosen = choose(&targets(checkout)?, &options.targets)?;
    let progress = Progress::begin("fuzz", "building");
    let fuzzers = match prepare(checkout, &progress) {
        Ok(fuzzers) => fuzzers,
        Err(error) => {
            progress.clear();
            return Err(error);
        }
    };
    let waiting = Mutex::new(chosen.iter().rev().collect::<Vec<_>>());
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                // The lock is not held while a target runs.
                while let Some(target) = pop(&waiting) {
                    let report = fuzzers.run(target, options.minutes, &progress.part(target));
                    progress.say(&report.to_string());
                    lock(&reports).push(report);
                }
            });
        }
    });
    let reports = reports.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let broken = reports.iter().filter(|report| report.failure.is_some()).count();
    progress.end(&format!("{} targets, {broken} broken", reports.len()));
    Ok(broken == 0)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn pop<T>(list: &Mutex<Vec<T>>) -> Option<T> {
    lock(list).pop()
}

/// The names of the fuzzers: one file each.
fn targets(checkout: &Checkout) -> Result<Vec<String>, String> {
    let dir = checkout.root.join("tests/fuzz/fuzz_targets");
    let entries = fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut names: Vec<_> =
        entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

fn choose(known: &[String], wanted: &[String]) -> Result<Vec<String>, String> {
    match wanted.iter().find(|name| !known.contains(name)) {
        Some(unknown) => Err(format!("no target '{unknown}': the targets are {}", known.join(", "))),
        None if wanted.is_empty() => Ok(known.to_vec()),
        None => Ok(wanted.to_vec()),
    }
}

/// Built fuzzers, and where they keep what they learn.
struct Fuzzers {
    programs: PathBuf,
    /// Dictionary, inputs, what was learnt, what broke.
    state: PathBuf,
    /// Seeds and regressions.
    committed: PathBuf,
}

fn prepare(checkout: &Checkout, progress: &Progress) -> Result<Fuzzers, String> {
    let nightly = Command::new("rustup").args(["run", "nightly", "rustc", "--version"]).output();
    if !nightly.is_ok_and(|output| output.status.success()) {
        return Err("libFuzzer needs a nightly compiler: rustup toolchain install nightly --profile minimal".to_owned());
    }
    if debian::find_program("cargo-fuzz").is_none() {
        let mut install = checkout.cargo();
        done(command::run(install.args(["install", "--locked", "cargo-fuzz"]), LONG, progress)?, "cargo-fuzz")?;
    }
    let committed = checkout.root.join("tests/fuzz");
    // What is outside the workspace follows its lock.
    fs::copy(checkout.root.join("Cargo.lock"), committed.join("Cargo.lock")).map_err(|e| format!("Cargo.lock: {e}"))?;
    let build = checkout.target.join("fuzz");
    let mut fuzz = Command::new("rustup");
    fuzz.args(["run", "nightly", "cargo", "fuzz", "build", "--sanitizer", "none", "--fuzz-dir"]).arg(&committed);
    fuzz.arg("--target-dir").arg(&build).current_dir(&checkout.root).env_remove("CARGO").env_remove("RUSTC");
    done(command::run(&mut fuzz, LONG, progress)?, "the fuzzers")?;
    let programs = fs::read_dir(&build).into_iter().flatten().flatten().map(|entry| entry.path().join("release"));
    let programs = programs.filter(|dir| dir.join("uri").is_file()).max_by_key(|dir| dir.as_os_str().len());
    let programs = programs.ok_or_else(|| format!("cargo fuzz left no programs below {}", build.display()))?;
    let state = checkout.target.join("fuzzing");
    let mut inputs = checkout.cargo();
    inputs.args(["run", "--package", "polyvirt-fuzz-targets", "--bin", "fuzz-inputs", "--"]).arg(&state);
    match corpus::archive(checkout) {
        Ok(archive) => drop(inputs.arg(corpus::unpacked(checkout, progress, &archive)?)),
        Err(why) => progress.say(&format!("no inputs but the seeds: {why}")),
    }
    done(command::run(&mut inputs, LONG, progress)?, "fuzz-inputs")?;
    Ok(Fuzzers { programs, state, committed })
}

fn done(outcome: Outcome, what: &str) -> Result<(), String> {
    outcome.failure.map_or(Ok(()), |why| Err(format!("{what}: {why}\n{}", outcome.output)))
}

/// What became of a target.
struct Report {
    target: String,
    figures: Figures,
    failure: Option<String>,
}

/// What libFuzzer says of itself.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    /// Inputs that were run.
    runs: String,
    /// Inputs a second.
    rate: String,
    /// Edges of the program that some input took.
    edges: String,
    /// Inputs that are worth keeping: each does what no other does.
    kept: String,
}

impl Figures {
    fn of(output: &str) -> Self {
        // `#4096 NEW    cov: 5134 ft: 20117 corp: 1201/1Mb lim: 4096 exec/s: 512 rss: 90Mb …`
        let status = output.lines().rev().find(|line| line.starts_with('#') && line.contains(" cov: ")).unwrap_or("");
        let figure = |name: &str| {
            let mut words = status.split_whitespace().skip_while(|word| *word != name).skip(1);
            words.next().map_or_else(|| "?".to_owned(), |word| word.split('/').next().unwrap_or(word).to_owned())
        };
        Self {
            runs: statistic(output, "number_of_executed_units"),
            rate: statistic(output, "average_exec_per_sec"),
            edges: figure("cov:"),
            kept: figure("corp:"),
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.failure {
            None => {
                let Figures { runs, rate, edges, kept } = &self.figures;
                let target = &self.target;
                write!(f, "  ok   {target:<20} {runs} inputs, {rate} a second, {edges} edges, {kept} inputs kept")
            }
            Some(failure) => write!(f, " FAIL  {:<20} {failure}", self.target),
        }
    }
}

impl Fuzzers {
    fn run(&self, target: &str, minutes: u64, progress: &Progress) -> Report {
        let report = |figures, failure| Report { target: target.to_owned(), figures, failure };
        let (learnt, broken) = (self.state.join("learnt").join(target), self.state.join("broken").join(target));
        if let Err(error) = fs::create_dir_all(&learnt).and_then(|()| fs::create_dir_all(&broken)) {
            return report(Figures::default(), Some(format!("{}: {error}", self.state.display())));
        }
        let mut fuzzer = Command::new(self.programs.join(target));
        fuzzer.args(BOUNDS).arg(format!("-max_total_time={}", minutes * 60));
        fuzzer.arg(format!("-artifact_prefix={}/", broken.display()));
        if is_document(target) {
            fuzzer.arg("-max_len=65536").arg(format!("-dict={}", self.state.join("domain.dict").display()));
        } else {
            fuzzer.arg("-max_len=4096");
        }
        fuzzer.arg(&learnt).args(self.inputs(target)).current_dir(&self.state);
        match command::run(&mut fuzzer, Duration::from_secs(minutes * 60) + GRACE, progress) {
            Err(error) => report(Figures::default(), Some(error)),
            Ok(outcome) => {
                let failure = outcome.failure.map(|why| describe(target, &why, &outcome.output));
                report(Figures::of(&outcome.output), failure)
            }
        }
    }

    /// Directories that are read: seeds, regressions, and documents of the corpus where there is one.
    fn inputs(&self, target: &str) -> Vec<PathBuf> {
        let corpus = match target {
            "domain_json" => self.state.join("inputs/json"),
            "domain_parse" | "domain_fixed_point" => self.state.join("inputs/xml"),
            _ => PathBuf::new(),
        };
        let all = [self.committed.join("seeds").join(target), self.committed.join("regressions").join(target), corpus];
        all.into_iter().filter(|dir: &PathBuf| dir.is_dir()).collect()
    }
}

/// Whether its input is a document; the others' is short.
fn is_document(target: &str) -> bool {
    ["domain_parse", "domain_fixed_point", "domain_json"].contains(&target)
}

/// `stat::NAME: 12`.
fn statistic(output: &str, name: &str) -> String {
    let prefix = format!("stat::{name}:");
    output.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or("?").trim().to_owned()
}

/// What it said, which input it was, and how to see it again on any compiler.
fn describe(target: &str, why: &str, output: &str) -> String {
    let lines = output.lines().skip_while(|line| !line.contains("panicked at") && !line.starts_with("==")).take(12);
    let said: String = lines.map(|line| format!("         {}\n", line.chars().take(300).collect::<String>())).collect();
    let input = output.lines().find_map(|line| line.split("Test unit written to ").nth(1));
    let Some(input) = input.map(|path| Path::new(path.trim())) else {
        return format!("{why}, without an input\n{said}");
    };
    format!(
        "{why}\n{said}       input   {input}\n       replay  cargo run --package polyvirt-fuzz-targets --bin replay -- {target} {input}\n       \
         keep    once mended, as small as it can be made, in tests/fuzz/regressions/{target}",
        input = input.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_chosen_by_name() {
        let known = ["a".to_owned(), "b".to_owned()];
        assert_eq!(choose(&known, &[]).unwrap(), known);
        assert_eq!(choose(&known, &["b".to_owned()]).unwrap(), ["b"]);
        assert!(choose(&known, &["c".to_owned()]).unwrap_err().contains("a, b"));
    }

    #[test]
    fn figures_are_of_the_last_line_of_status() {
        let output = "#2 INITED cov: 9 ft: 9 corp: 1/1b exec/s: 0 rss: 1Mb\n#4096 NEW    cov: 5134 ft: 20117 corp: 1201/1Mb lim: 4096 exec/s: 512 rss: 90Mb\n\
            Done 5000 runs in 10 second(s)\nstat::number_of_executed_units: 5000\nstat::average_exec_per_sec: 500\n";
        let [runs, rate, edges, kept] = ["5000", "500", "5134", "1201"].map(str::to_owned);
        assert_eq!(Figures::of(output), Figures { runs, rate, edges, kept });
        assert_eq!(Figures::of("").edges, "?");
    }

    #[test]
    fn a_failure_names_its_input_and_how_to_replay_it() {
        let output = "#1 NEW\nthread 'x' panicked at uri.rs:33:5:\nit differs\nTest unit written to /tmp/crash-1\nstat::number_of_executed_units: 7\n";
        let text = describe("uri", "uri: exit status: 77", output);
        assert!(text.contains("it differs") && text.contains("--bin replay -- uri /tmp/crash-1"), "{text}");
        assert_eq!(statistic(output, "number_of_executed_units"), "7");
    }
}
