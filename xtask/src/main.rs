//! Tasks of this workspace: `cargo xtask --help` lists them.
//!
//! It names no member of the workspace, so that it builds first and fast. A task prints what it does and what to do when it
//! cannot; its exit status is 0 only when everything it promises was done.

mod bench;
mod checkout;
mod command;
mod corpus;
mod cpu_facts;
mod cycles;
mod debian;
mod demo;
mod fuzz;
mod generate;
mod guest_image;
mod libvirtd;
mod peer;
mod progress;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::checkout::Checkout;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Tasks of the polyvirt workspace")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that must hold: format, lints, tests, documentation, conformance, end-to-end
    Test(test::Options),
    /// The rules no compiler checks: arrows between crates, file sizes, dependencies, layout
    Tidy,
    /// Boots a guest with four NUMA cells, placed automatically, and shows where it went
    Demo(demo::Options),
    /// Makes the tiny guest that tests and the demo boot: a kernel and an initramfs
    GuestImage,
    /// Writes the generated documents anew: `docs/generated`
    Generate,
    /// Writes CPU features and models anew, as the QEMU of this host defines them
    CpuFacts,
    /// Hostile input from libFuzzer, until the time is over or something breaks; needs a nightly compiler
    Fuzz(fuzz::Options),
    /// Command lines of generated guests beside those of Debian's libvirt; needs root and the lab
    Peer(peer::Options),
    /// A guest started and ended many times in one process: fails if anything grew
    Cycles(cycles::Options),
    /// Benchmarks, built with the release profile
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = Checkout::find().and_then(|checkout| match arguments.task {
        Task::Test(options) => test::run(&checkout, &options),
        Task::Tidy => tidy::run(&checkout),
        Task::Demo(options) => demo::run(&checkout, &options),
        Task::GuestImage => guest_image::run(&checkout),
        Task::Generate => generate::run(&checkout),
        Task::CpuFacts => cpu_facts::run(&checkout),
        Task::Fuzz(options) => fuzz::run(&checkout, &options),
        Task::Peer(options) => peer::run(&checkout, &options),
        Task::Cycles(options) => cycles::run(&checkout, &options),
        Task::Bench(options) => bench::run(&checkout, &options),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
