//! `cargo xtask bench`: runs benchmarks, which are ordinary Cargo benches of the workspace, in the release profile.

use std::process::{Command, Stdio};

use clap::Args;

use crate::checkout::{Checkout, Target};
use crate::{corpus, debian, libvirtd::Libvirtd, progress::Progress};

/// What `cargo xtask bench` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Which: `list` names them
    name: String,
    /// Handed to the benchmark
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// `cargo xtask bench NAME [ARGUMENT…]`.
pub(crate) fn run(checkout: &Checkout, options: &Options) -> Result<bool, String> {
    let benches: Vec<(&Target, &str)> = checkout
        .packages
        .iter()
        .flat_map(|p| p.targets.iter().filter(|t| t.kinds.iter().any(|k| k == "bench")).map(|t| (t, p.name.as_str())))
        .collect();
    if options.name == "list" {
        benches.iter().for_each(|(bench, package)| println!("{:<16} {package}", bench.name));
        if benches.is_empty() {
            println!("no member of the workspace has a [[bench]] yet");
        }
        return Ok(true);
    }
    let Some((bench, package)) = benches.iter().find(|(bench, _)| bench.name == options.name) else {
        let names: Vec<_> = benches.iter().map(|(bench, _)| bench.name.as_str()).collect();
        return Err(format!("no benchmark '{}': there are [{}]", options.name, names.join(", ")));
    };
    let mut cargo = checkout.cargo();
    cargo.args(["bench", "--package", package, "--bench", &bench.name]);
    if !bench.features.is_empty() {
        cargo.arg("--features").arg(bench.features.join(","));
    }
    cargo.arg("--").args(&options.arguments);
    let progress = Progress::begin("bench", &bench.name);
    if ["xml", "argv"].contains(&bench.name.as_str()) {
        install_libvirt(&progress);
    }
    // The rival of `argv` answers through a daemon, which ends with this value.
    let _libvirtd = (bench.name == "argv")
        .then(|| Libvirtd::start(checkout, true, &progress))
        .and_then(|it| it.inspect_err(|why| progress.say(&format!("without libvirtd: {why}"))).ok());
    // A benchmark that wants the corpus and has none says so.
    if let Ok(archive) = corpus::archive(checkout) {
        cargo.env("POLYVIRT_CORPUS", corpus::unpacked(checkout, &progress, &archive)?);
    }
    progress.clear();
    let status = cargo.status().map_err(|e| format!("cargo does not start: {e}"))?;
    Ok(status.success())
}

/// The rival of the benchmarks `xml` and `argv`. Without it the benchmark measures what is left.
fn install_libvirt(progress: &Progress) {
    let has_module = |python: &str| {
        let import = Command::new(python).args(["-c", "import libvirt"]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success())
    };
    if ["python3", "/usr/bin/python3"].into_iter().any(has_module) {
        return;
    }
    let packages = ["install", "-y", "--no-install-recommends", "python3-libvirt", "libvirt0"];
    let installed = debian::may_install()
        .and_then(|()| debian::apt(&["update"], progress))
        .and_then(|()| debian::apt(&packages, progress));
    if let Err(why) = installed {
        progress.say(&format!("not installed ({why}); as root on Debian: apt-get install python3-libvirt libvirt0"));
    }
}
