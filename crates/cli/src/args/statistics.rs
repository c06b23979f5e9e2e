//! Arguments of the commands that tell numbers of guests and list their disks and cards.

use std::time::Duration;

use clap::{Args, ValueEnum};
use polyvirt::{DirtyRateMode, StatsGroup, StatsGroups};

use super::{AffectArgs, Which};

/// `domstats`.
#[derive(Debug, Args)]
#[command(
    after_help = "All guests are asked at once, each for at most --timeout; one that is stuck is told with what the host knows of it, and stderr
says what is missing and why.

Examples:
  polyvirt domstats                                every number of every guest
  polyvirt domstats --block --list-running
  polyvirt domstats web --cpu-total --json
  polyvirt domstats --openmetrics                  for Prometheus: a textfile, or behind an HTTP server"
)]
pub(crate) struct DomstatsArgs {
    /// Names, UUIDs or numbers of guests; without any, all
    #[arg(value_name = "DOMAIN")]
    pub(crate) domains: Vec<String>,
    #[command(flatten)]
    pub(crate) groups: GroupArgs,
    #[command(flatten)]
    pub(crate) list: ListArgs,
    /// Numbers as they are (they always are)
    #[arg(long)]
    pub(crate) raw: bool,
    /// Fail if a group that was asked for is not there
    #[arg(long)]
    pub(crate) enforce: bool,
    /// Report only what is there at once: every guest has a quarter of a second
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) nowait: bool,
    /// How long each guest may take to answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Answer as OpenMetrics text
    #[arg(long, conflicts_with = "json")]
    pub(crate) openmetrics: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    let time = Duration::try_from_secs_f64(number).ok().filter(|it| *it <= Duration::from_secs(3600));
    time.ok_or_else(|| "a time is from 0 to 3600 seconds".to_owned())
}

/// Which numbers; none said: all.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct GroupArgs {
    /// What the guest is doing
    #[arg(long)]
    state: bool,
    /// CPU time of its process
    #[arg(long)]
    cpu_total: bool,
    /// Its memory
    #[arg(long)]
    balloon: bool,
    /// Its vCPUs
    #[arg(long)]
    vcpu: bool,
    /// Its network cards
    #[arg(long)]
    interface: bool,
    /// Its disks
    #[arg(long)]
    block: bool,
    /// Its I/O threads
    #[arg(long)]
    iothread: bool,
    /// How fast it writes its memory, as last measured
    #[arg(long)]
    dirtyrate: bool,
}

impl GroupArgs {
    /// The groups, and whether any was said.
    pub(crate) fn groups(self) -> (StatsGroups, bool) {
        let said = [
            (self.state, StatsGroup::State),
            (self.cpu_total, StatsGroup::CpuTotal),
            (self.balloon, StatsGroup::Balloon),
            (self.vcpu, StatsGroup::Vcpu),
            (self.interface, StatsGroup::Interface),
            (self.block, StatsGroup::Block),
            (self.iothread, StatsGroup::IoThread),
            (self.dirtyrate, StatsGroup::DirtyRate),
        ];
        let groups: StatsGroups = said.into_iter().filter(|(said, _)| *said).map(|(_, group)| group).collect();
        if groups.is_empty() { (StatsGroups::all(), false) } else { (groups, true) }
    }
}

/// Which guests; none said: all. States add up, and so do the others; a guest must be of one of each.
#[derive(Clone, Copy, Debug, Args)]
#[group(conflicts_with = "domains", multiple = true)]
pub(crate) struct ListArgs {
    /// Guests that run
    #[arg(long)]
    pub(crate) list_active: bool,
    /// Guests that do not run
    #[arg(long)]
    pub(crate) list_inactive: bool,
    /// Guests with a stored definition
    #[arg(long)]
    pub(crate) list_persistent: bool,
    /// Guests without one
    #[arg(long)]
    pub(crate) list_transient: bool,
    /// Guests whose CPUs run
    #[arg(long)]
    pub(crate) list_running: bool,
    /// Guests that are paused
    #[arg(long)]
    pub(crate) list_paused: bool,
    /// Guests that are shut off
    #[arg(long)]
    pub(crate) list_shutoff: bool,
    /// Guests in other states
    #[arg(long)]
    pub(crate) list_other: bool,
}

/// `domblkstat`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt domblkstat guest            all disks together
  polyvirt domblkstat guest vda --human")]
pub(crate) struct DomblkstatArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// A disk, by target or source
    pub(crate) device: Option<String>,
    /// In words
    #[arg(long)]
    pub(crate) human: bool,
}

/// `domblkinfo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt domblkinfo guest vda --human
  polyvirt domblkinfo guest --all")]
pub(crate) struct DomblkinfoArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// A disk, by target or source
    #[arg(required_unless_present = "all")]
    pub(crate) device: Option<String>,
    /// With units
    #[arg(long)]
    pub(crate) human: bool,
    /// All disks
    #[arg(long)]
    pub(crate) all: bool,
}

/// `domblklist`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt domblklist guest --details")]
pub(crate) struct DomblklistArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Those of the stored definition, also of a running guest
    #[arg(long)]
    pub(crate) inactive: bool,
    /// With type and device
    #[arg(long)]
    pub(crate) details: bool,
}

/// `domiflist`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt domiflist guest")]
pub(crate) struct DomiflistArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Those of the stored definition, also of a running guest
    #[arg(long)]
    pub(crate) inactive: bool,
}

/// `domifstat`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt domifstat guest vnet0")]
pub(crate) struct DomifstatArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// A card, by its device on the host or its MAC
    pub(crate) interface: String,
}

/// `dommemstat`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt dommemstat guest
  polyvirt dommemstat guest --period 10 --live      ask the guest every 10 seconds; 0: never")]
pub(crate) struct DommemstatArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How often the guest is asked, in seconds; 0: never
    #[arg(long, value_name = "SECONDS")]
    pub(crate) period: Option<u32>,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// `cpu-stats`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt cpu-stats guest")]
pub(crate) struct CpuStatsArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Only the total
    #[arg(long)]
    pub(crate) total: bool,
}

/// `domdirtyrate-calc`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: polyvirt domdirtyrate-calc guest --seconds 5; sleep 5; polyvirt domstats guest --dirtyrate"
)]
pub(crate) struct DirtyrateArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// For how long, 1 to 60
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub(crate) seconds: u32,
    /// By which means
    #[arg(long, value_enum, default_value_t)]
    pub(crate) mode: DirtyrateMode,
}

/// By which means a dirty rate is measured.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum DirtyrateMode {
    /// Some pages are looked at twice
    #[default]
    PageSampling,
    /// The dirty log
    DirtyBitmap,
    /// KVM's dirty ring
    DirtyRing,
}

impl From<DirtyrateMode> for DirtyRateMode {
    fn from(mode: DirtyrateMode) -> Self {
        match mode {
            DirtyrateMode::PageSampling => Self::PageSampling,
            DirtyrateMode::DirtyBitmap => Self::DirtyBitmap,
            DirtyrateMode::DirtyRing => Self::DirtyRing,
        }
    }
}
