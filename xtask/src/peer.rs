//! `cargo xtask peer`: generated guests through Debian's libvirt and through polyvirt, compared in meaning.

use std::{path::PathBuf, process::Command, time::Duration};

use clap::Args;

use crate::{
    checkout::Checkout,
    command::{self, Outcome},
    libvirtd::Libvirtd,
    progress::Progress,
};

/// What `cargo xtask peer` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// How many guests
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) first: u64,
    /// Keeps the definitions and both answers in this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) keep: Option<PathBuf>,
    /// Installs no packages; names what is missing
    #[arg(long)]
    pub(crate) no_install: bool,
}

/// Building takes minutes on a slow machine.
const LONG: Duration = Duration::from_secs(30 * 60);

/// `cargo xtask peer`.
pub(crate) fn run(checkout: &Checkout, options: &Options) -> Result<bool, String> {
    let progress = Progress::begin("peer", "building");
    let outcome = compare(checkout, options, &progress);
    progress.clear();
    let outcome = outcome?;
    print!("{}", outcome.output);
    match outcome.code {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(outcome.failure.unwrap_or_default()),
    }
}

/// Builds both programs and runs the comparison beside a libvirtd that is there for it alone.
///
/// # Errors
/// When something cannot be built or libvirtd cannot be had.
pub(crate) fn compare(checkout: &Checkout, options: &Options, progress: &Progress) -> Result<Outcome, String> {
    let polyvirt = build(checkout, "polyvirt-cli", "polyvirt", progress)?;
    let peer = build(checkout, "polyvirt-tests", "peer", progress)?;
    progress.tell("starting libvirtd");
    let _libvirtd = Libvirtd::start(checkout, !options.no_install, progress)?;
    let mut compare = Command::new(peer);
    compare.arg(polyvirt).args([options.first.to_string(), options.seeds.to_string()]).args(&options.keep);
    // libvirt answers some twenty times a second.
    command::run(&mut compare, LONG + Duration::from_secs(options.seeds), progress)
}

fn build(checkout: &Checkout, package: &str, program: &str, progress: &Progress) -> Result<PathBuf, String> {
    let mut cargo = checkout.cargo();
    cargo.args(["build", "--package", package, "--bin", program]);
    let outcome = command::run(&mut cargo, LONG, progress)?;
    match outcome.failure {
        None => Ok(checkout.target.join("debug").join(program)),
        Some(why) => Err(format!("{program} does not build ({why}):\n{}", outcome.output)),
    }
}
