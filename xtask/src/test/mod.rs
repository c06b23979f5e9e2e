//! `cargo xtask test`: everything that must hold, step by step.
//!
//! Every step runs, also after one that failed. Failing output is shown in full, every skip with its reason, and the last line
//! is always `N passed, N failed, N skipped`: each test counts once, and so does each step that is no run of tests.

mod builds;
mod conformance;
mod guest;
mod lab;
mod libtest;
mod packages;
mod peer;
mod report;
mod session;
mod tally;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use clap::Args;

use crate::{
    checkout::Checkout,
    command::{self, Outcome},
    progress::Progress,
    test::{report::Report, tally::Tally},
};

/// What `cargo xtask test` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these steps
    #[arg(long, value_name = "STEP", num_args = 1..)]
    only: Vec<String>,
    /// Names the steps and stops
    #[arg(long)]
    list: bool,
    /// Installs no packages; names what is missing
    #[arg(long)]
    no_install: bool,
}

/// A step. What it returns as an error counts as a failure of the step itself.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Context<'_>) -> Result<Tally, String>,
}

/// All steps, in order: what is quick and what others need comes first.
const STEPS: &[Step] = &[
    Step { name: "packages", about: "what tests need from the system", run: packages::run },
    Step { name: "format", about: "cargo fmt --check", run: builds::format },
    Step { name: "tidy", about: "arrows, sizes, dependencies, layout", run: builds::tidy },
    Step { name: "clippy", about: "lints, all targets, warnings refused", run: builds::clippy },
    Step { name: "build", about: "all tests, not yet run", run: builds::tests },
    Step { name: "guest-image", about: "the tiny guest that tests boot", run: guest::run },
    Step { name: "test", about: "unit, integration and documentation tests", run: libtest::workspace },
    Step { name: "doc", about: "rustdoc, warnings refused", run: builds::doc },
    Step { name: "out-of-tree", about: "drivers outside the workspace", run: libtest::out_of_tree },
    Step { name: "conformance", about: "the conformance corpus, against floors", run: conformance::run },
    Step { name: "peer", about: "command lines beside Debian's libvirt", run: peer::run },
    Step { name: "session", about: "QEMU as an ordinary user", run: session::run },
    Step { name: "lab", about: "end to end on several real NUMA nodes", run: lab::run },
];

/// What a step works with.
struct Context<'a> {
    checkout: &'a Checkout,
    progress: &'a Progress,
    may_install: bool,
    required: Vec<String>,
}

impl Context<'_> {
    /// Runs a command of this step.
    fn run(&self, command: &mut Command, limit: Duration) -> Result<Outcome, String> {
        command::run(command, limit, self.progress)
    }

    /// A step that is one command: passed, or failed with everything it wrote.
    fn one(&self, name: &str, command: &mut Command, limit: Duration) -> Result<Tally, String> {
        let outcome = self.run(command, limit)?;
        Ok(match outcome.failure {
            None => Tally::passed(1),
            Some(why) => Tally::failed(format!("{name} ({why})"), outcome.output),
        })
    }

    /// A step that cannot be done here: skipped, or failed when `what` was required.
    fn cannot(&self, name: &str, what: &str, reason: String) -> Tally {
        if self.required.iter().any(|r| r == what) {
            Tally::failed(name.to_owned(), format!("POLYVIRT_REQUIRE names {what}, but: {reason}\n"))
        } else {
            Tally::skipped(name.to_owned(), reason)
        }
    }

    /// The optimised `polyvirt` program, built; `None` while the workspace has none.
    fn polyvirt(&self) -> Result<Option<PathBuf>, String> {
        let Some(package) = self.checkout.program("polyvirt") else { return Ok(None) };
        let mut build = self.checkout.cargo();
        build.args(["build", "--release", "--bin", "polyvirt", "--package", &package.name]);
        let outcome = self.run(&mut build, LONG)?;
        match outcome.failure {
            None => Ok(Some(self.checkout.target.join("release").join("polyvirt"))),
            Some(why) => Err(format!("the polyvirt program does not build ({why}):\n{}", outcome.output)),
        }
    }

    fn root(&self) -> &Path {
        &self.checkout.root
    }
}

/// For what takes minutes on a slow machine. A step that needs longer hangs.
const LONG: Duration = Duration::from_secs(30 * 60);

/// `cargo xtask test`.
pub(crate) fn run(checkout: &Checkout, options: &Options) -> Result<bool, String> {
    if options.list {
        STEPS.iter().for_each(|s| println!("{:<12} {}", s.name, s.about));
        return Ok(true);
    }
    if let Some(unknown) = options.only.iter().find(|name| !STEPS.iter().any(|s| s.name == **name)) {
        let names: Vec<_> = STEPS.iter().map(|s| s.name).collect();
        return Err(format!("no step '{unknown}': the steps are {}", names.join(", ")));
    }
    let required = env::var("POLYVIRT_REQUIRE").unwrap_or_default();
    let required: Vec<String> = required.split(',').map(|r| r.trim().to_owned()).filter(|r| !r.is_empty()).collect();
    let mut report = Report::default();
    for step in STEPS.iter().filter(|s| options.only.is_empty() || options.only.iter().any(|o| o == s.name)) {
        let progress = Progress::begin(step.name, step.about);
        let started = Instant::now();
        let cx =
            Context { checkout, progress: &progress, may_install: !options.no_install, required: required.clone() };
        let tally = (step.run)(&cx).unwrap_or_else(|error| Tally::failed(step.name.to_owned(), error));
        let took = started.elapsed();
        progress.end(&report::line(step.name, &tally, took));
        report::show_failures(&tally);
        report.add(step.name, tally, took);
    }
    report.print();
    Ok(report.is_good())
}
