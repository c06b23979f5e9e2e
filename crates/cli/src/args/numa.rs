//! Arguments of `numa`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::HostTree;

/// `numa …`
#[derive(Debug, Subcommand)]
pub(crate) enum NumaCommand {
    /// Nodes, what is used, promised and free there, distances, devices, who sits where
    #[command(after_help = "Examples:
  polyvirt numa topology
  polyvirt numa topology --free --svg host.svg
  polyvirt numa topology --sysroot /mnt/other-host --json")]
    Topology(Topology),
    /// Where a guest would go, drawn over the host; nothing is started or promised
    #[command(after_help = "Examples:
  polyvirt numa plan guest.xml
  polyvirt numa plan guest --auto-nodeset 0-1 --svg plan.svg
  polyvirt numa plan guest.xml --sysroot /mnt/other-host")]
    Plan(PlanArgs),
    /// What a start would do and why; the same as `polyvirt explain`
    #[command(after_help = "Example: polyvirt numa explain guest.xml")]
    Explain(Explain),
    /// Who was promised what, on which node, and who keeps the promise alive
    #[command(after_help = "Examples:\n  polyvirt numa leases\n  polyvirt numa leases --json")]
    Leases(Drawing),
    /// Where running guests lie, against where they were planned
    #[command(after_help = "Examples:
  polyvirt numa drift
  polyvirt numa drift guest --threshold 10

Exit status 1: a guest drifted beyond the threshold, or could not be looked at.")]
    Drift(DriftArgs),
    /// The one change of a guest, or of two that change places, that would help most
    #[command(after_help = "Examples:
  polyvirt numa rebalance
  polyvirt numa rebalance --apply --yes

Nothing is moved without --apply.")]
    Rebalance(RebalanceArgs),
    /// Placement algorithms compared on a host that is not there
    #[cfg(feature = "simulate")]
    #[command(after_help = "Examples:
  polyvirt numa simulate --list
  polyvirt numa simulate --host nps4 --mix huawei --seeds 1..3 --guests 500
  polyvirt numa simulate --sysroot /mnt/other-host --algorithm numad --algorithm polyvirt")]
    Simulate(Simulate),
}

/// How a picture is given out.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Drawing {
    /// Write a drawing into this file; - is stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

/// `numa topology`
#[derive(Args, Debug, Default)]
pub(crate) struct Topology {
    /// A directory that stands for `/`, of another host; nothing is known of its guests
    #[arg(long, value_name = "DIR")]
    pub(crate) sysroot: Option<PathBuf>,
    /// Say what can still be promised on each node
    #[arg(long)]
    pub(crate) free: bool,
    #[command(flatten)]
    pub(crate) drawing: Drawing,
}

impl Topology {
    pub(crate) fn tree(&self) -> HostTree {
        HostTree { sysroot: self.sysroot.clone(), arch: None }
    }
}

/// `explain`
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// A file of domain XML, or a guest
    #[arg(value_name = "FILE|DOMAIN")]
    pub(crate) what: String,
    /// Nodes to use for placement='auto' instead of asking the engine
    #[arg(long, value_name = "SET")]
    pub(crate) auto_nodeset: Option<String>,
}

/// `numa plan`
#[derive(Args, Debug)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) of: Explain,
    /// A directory that stands for `/`, of another host; nothing is promised there yet
    #[arg(long, value_name = "DIR")]
    pub(crate) sysroot: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) drawing: Drawing,
}

/// `numa drift`
#[derive(Args, Debug)]
pub(crate) struct DriftArgs {
    /// Guests; without, all that run
    #[arg(value_name = "DOMAIN")]
    pub(crate) domains: Vec<String>,
    /// Memory beyond the plan that is put up with, in percent of the guest's memory
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) threshold: u8,
    #[command(flatten)]
    pub(crate) drawing: Drawing,
}

/// `numa rebalance`
#[derive(Args, Debug)]
pub(crate) struct RebalanceArgs {
    /// Do it
    #[arg(long)]
    pub(crate) apply: bool,
    /// Do not ask
    #[arg(long, requires = "apply")]
    pub(crate) yes: bool,
    /// By how much the cost of the guests has to sink, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) least_gain: u8,
    /// How long the last change of any guest of this host has to be ago
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) least_time: u64,
}

/// How simulated guests use CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SimulatedCpus {
    /// They share them
    #[default]
    Shared,
    /// Each vCPU has one of its own; guests may span nodes
    Dedicated,
    /// The same; guests span nodes only if they are wider than one
    Single,
}

/// `numa simulate`
#[derive(Args, Debug)]
pub(crate) struct Simulate {
    /// A host by name
    #[arg(long, value_name = "NAME", default_value = "two-sockets", conflicts_with = "sysroot")]
    pub(crate) host: String,
    /// A directory that stands for `/`: the host it shows, empty
    #[arg(long, value_name = "DIR")]
    pub(crate) sysroot: Option<PathBuf>,
    /// What guests are asked for
    #[arg(long, value_name = "NAME", default_value = "enterprise")]
    pub(crate) mix: String,
    /// vCPUs asked for, by hardware threads of the host
    #[arg(long, value_name = "F", default_value_t = 0.85)]
    pub(crate) load: f64,
    /// Seeds, both ends included
    #[arg(long, value_name = "A..B", default_value = "101..103")]
    pub(crate) seeds: String,
    /// Guests for each seed
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) guests: u32,
    /// Only these algorithms
    #[arg(long = "algorithm", value_name = "NAME")]
    pub(crate) algorithms: Vec<String>,
    /// How guests use CPUs
    #[arg(long, value_enum, default_value_t)]
    pub(crate) cpus: SimulatedCpus,
    /// List hosts, mixes and algorithms
    #[arg(long)]
    pub(crate) list: bool,
}
