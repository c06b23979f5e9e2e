//! `cargo xtask cycles`: a guest started and ended many times in one process, and whether anything grew.

use std::{process::Command, time::Duration};

use clap::Args;

use crate::{checkout::Checkout, command, progress::Progress};

/// What `cargo xtask cycles` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// How many cycles
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    count: u32,
}

/// The package and its program.
const PROGRAM: (&str, &str) = ("polyvirt-tests", "cycles");

/// `cargo xtask cycles`.
pub(crate) fn run(checkout: &Checkout, options: &Options) -> Result<bool, String> {
    let progress = Progress::begin("build", "the program");
    let mut cargo = checkout.cargo();
    cargo.args(["build", "--package", PROGRAM.0, "--bin", PROGRAM.1]);
    let outcome = command::run(&mut cargo, Duration::from_secs(1800), &progress);
    progress.clear();
    let outcome = outcome?;
    if let Some(why) = outcome.failure {
        return Err(format!("it does not build ({why}):\n{}", outcome.output));
    }
    let program = checkout.target.join("debug").join(PROGRAM.1);
    let status = Command::new(&program).arg(options.count.to_string()).status();
    status.map(|it| it.success()).map_err(|e| format!("{} does not start: {e}", program.display()))
}
