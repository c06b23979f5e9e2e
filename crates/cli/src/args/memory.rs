//! Arguments of the commands that change a guest's memory. Sizes are in KiB if nothing else is said: `512M`, `2GiB`.

use clap::Args;

use super::{AffectArgs, Which};

/// `setmem`, `setmaxmem`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt setmem guest 512M --live
  polyvirt setmaxmem guest 2GiB --config")]
pub(crate) struct SizeArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How much: KiB, or with a unit, 512M
    pub(crate) size: String,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// `memtune`.
#[derive(Debug, Args)]
#[command(after_help = "Sizes are KiB or have a unit; -1 lifts a limit.

Examples:
  polyvirt memtune guest
  polyvirt memtune guest --hard-limit 3GiB --live --config
  polyvirt memtune guest --hard-limit=-1 --live")]
pub(crate) struct MemtuneArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// What its process may use at most
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) hard_limit: Option<String>,
    /// What is reclaimed down to when the host is short of memory
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) soft_limit: Option<String>,
    /// Memory and swap together
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) swap_hard_limit: Option<String>,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}
