//! `cargo xtask demo`: the main job, seen working.
//!
//! The demo itself is `crates/polyvirt/examples/demo`, so that it is also an example of embedding. Here its guest is made and
//! the program built.

use std::{path::PathBuf, process::Command, time::Duration};

use clap::Args;

use crate::{
    checkout::Checkout,
    command,
    debian::{self, Tool},
    guest_image::{self, GuestImage},
    progress::Progress,
};

/// What `cargo xtask demo` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Installs no packages; names what is missing
    #[arg(long)]
    no_install: bool,
    /// Runs on the mock driver, as it does where there is no QEMU
    #[arg(long)]
    mock: bool,
}

/// The package whose example it is.
const PACKAGE: &str = "polyvirt";

/// `cargo xtask demo`.
pub(crate) fn run(checkout: &Checkout, options: &Options) -> Result<bool, String> {
    let guest = if options.mock { Err("--mock was given".to_owned()) } else { prepare(checkout, options.no_install) };
    let program = build(checkout)?;
    let mut demo = Command::new(&program);
    demo.current_dir(&checkout.root);
    match &guest {
        Ok(image) => {
            if let Some(notice) = &image.notice {
                println!("note: {notice}");
            }
            demo.arg("--kernel").arg(&image.kernel).arg("--initramfs").arg(&image.initramfs);
        }
        Err(why) => println!(
            "no QEMU guest: {why}\nthe demo runs on the mock driver instead: real planning, an imaginary guest\n"
        ),
    }
    let status = demo.status().map_err(|e| format!("{} does not start: {e}", program.display()))?;
    Ok(status.success())
}

/// What a QEMU guest needs: packages and its image.
fn prepare(checkout: &Checkout, no_install: bool) -> Result<GuestImage, String> {
    let progress = Progress::begin("guest", "a kernel, an initramfs and QEMU");
    let image = tools(&debian::missing(debian::GUEST), no_install, &progress)
        .and_then(|()| guest_image::make(&checkout.target, &progress));
    progress.clear();
    image
}

fn tools(missing: &[&Tool], no_install: bool, progress: &Progress) -> Result<(), String> {
    if missing.is_empty() {
        return Ok(());
    }
    let may = if no_install { Err("--no-install".to_owned()) } else { debian::may_install() };
    may.map_err(|why| format!("not installed ({why}): {}; {}", debian::names(missing), debian::remedy(missing)))?;
    debian::install(missing, progress)
}

fn build(checkout: &Checkout) -> Result<PathBuf, String> {
    let progress = Progress::begin("build", "the demo program");
    let mut cargo = checkout.cargo();
    cargo.args(["build", "--package", PACKAGE, "--example", "demo", "--features", "mock,qemu"]);
    let outcome = command::run(&mut cargo, Duration::from_secs(1800), &progress);
    progress.clear();
    let outcome = outcome?;
    match outcome.failure {
        None => Ok(checkout.target.join("debug/examples/demo")),
        Some(why) => Err(format!("the demo does not build ({why}):\n{}", outcome.output)),
    }
}
