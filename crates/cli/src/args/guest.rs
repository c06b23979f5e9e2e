//! Which guest, and how: arguments of the commands that work on guests.

use clap::{Args, ValueEnum};

/// Names a guest.
#[derive(Clone, Debug, Args)]
pub(crate) struct Which {
    /// Name, UUID or number of the guest
    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,
}

/// `start`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt start guest
  polyvirt start --autostarted      every guest that is marked to start with the host")]
pub(crate) struct Start {
    /// Name, UUID or number of the guest
    #[arg(value_name = "DOMAIN", required_unless_present = "autostarted")]
    pub(crate) domain: Option<String>,
    /// Leave its CPUs stopped
    #[arg(long)]
    pub(crate) paused: bool,
    /// Attach to its console
    #[arg(long, conflicts_with = "autostarted")]
    pub(crate) console: bool,
    /// Drop its managed save, if it has one, and boot it
    #[arg(long, conflicts_with = "autostarted")]
    pub(crate) force_boot: bool,
    /// The host shall not keep its managed save in memory
    #[arg(long)]
    pub(crate) bypass_cache: bool,
    /// Every guest that is marked to start with the host and does not run
    #[arg(long, conflicts_with = "domain")]
    pub(crate) autostarted: bool,
}

/// How to ask a guest to power off.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ShutdownMode {
    /// The ACPI power button
    Acpi,
    /// The agent in the guest
    Agent,
}

/// `dompmsuspend`.
#[derive(Debug, Args)]
#[command(after_help = "It takes the agent in the guest.\n\nExample: polyvirt dompmsuspend guest mem")]
pub(crate) struct SleepArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Where what it has in mind is kept
    #[arg(value_enum)]
    pub(crate) target: SleepTo,
    /// Seconds after which it wakes by itself: only 0, it does not
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=0))]
    pub(crate) duration: u64,
}

/// Where a sleeping guest keeps what it has in mind.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SleepTo {
    /// In memory; `dompmwakeup` wakes it
    Mem,
    /// On its disk; it is off then
    Disk,
    /// Both
    Hybrid,
}

/// `list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Guests that do not run, too
    #[arg(long)]
    pub(crate) all: bool,
    /// Only guests that do not run
    #[arg(long, conflicts_with = "all")]
    pub(crate) inactive: bool,
    /// Only guests with a stored definition
    #[arg(long)]
    pub(crate) persistent: bool,
    /// Only guests without a stored definition
    #[arg(long, conflicts_with = "persistent")]
    pub(crate) transient: bool,
    /// Only guests that start with the host
    #[arg(long)]
    pub(crate) autostart: bool,
    /// Only guests that do not start with the host
    #[arg(long, conflicts_with = "autostart")]
    pub(crate) no_autostart: bool,
    /// Only running guests
    #[arg(long)]
    pub(crate) state_running: bool,
    /// Only paused guests
    #[arg(long)]
    pub(crate) state_paused: bool,
    /// Only guests that are shut off
    #[arg(long)]
    pub(crate) state_shutoff: bool,
    /// Names alone
    #[arg(long)]
    pub(crate) name: bool,
    /// UUIDs alone
    #[arg(long)]
    pub(crate) uuid: bool,
    /// Numbers alone
    #[arg(long)]
    pub(crate) id: bool,
}

/// Which side of a guest a change is for.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct AffectArgs {
    /// The running guest
    #[arg(long)]
    pub(crate) live: bool,
    /// The stored definition
    #[arg(long)]
    pub(crate) config: bool,
    /// The running guest if it runs, else the stored definition (default)
    #[arg(long, conflicts_with_all = ["live", "config"])]
    pub(crate) current: bool,
}
