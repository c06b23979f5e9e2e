//! Arguments of the commands that change how many vCPUs a guest has.

use clap::Args;

use super::{AffectArgs, Which};

/// `setvcpus`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt setvcpus guest 4 --live                 plug vCPUs into a running guest, or take them out
  polyvirt setvcpus guest 4 --live --config        and have as many at its next start
  polyvirt setvcpus guest 8 --maximum --config     what it can have, from its next start on")]
pub(crate) struct SetvcpusArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many
    pub(crate) count: u32,
    /// How many it can have at most; of the stored definition alone
    #[arg(long, conflicts_with_all = ["live", "hotpluggable"])]
    pub(crate) maximum: bool,
    /// Those that are added to the stored definition can be unplugged
    #[arg(long)]
    pub(crate) hotpluggable: bool,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// `setvcpu`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt setvcpu guest 2-3 --enable --live
  polyvirt setvcpu guest 3 --disable --live --config")]
pub(crate) struct SetvcpuArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// vCPUs, 0-2,^1
    #[arg(value_name = "VCPULIST")]
    pub(crate) vcpulist: String,
    /// Plug them in
    #[arg(long, required_unless_present = "disable", conflicts_with = "disable")]
    pub(crate) enable: bool,
    /// Take them out
    #[arg(long)]
    pub(crate) disable: bool,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// `vcpucount`.
#[derive(Debug, Args)]
#[command(after_help = "Without an option it lists all numbers, with one or more it prints the number that they mean.

Examples:
  polyvirt vcpucount guest
  polyvirt vcpucount guest --maximum --config")]
pub(crate) struct VcpucountArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How many it can have
    #[arg(long, conflicts_with = "active")]
    pub(crate) maximum: bool,
    /// How many it has (default)
    #[arg(long)]
    pub(crate) active: bool,
    /// Of the running guest
    #[arg(long, conflicts_with = "config")]
    pub(crate) live: bool,
    /// Of the stored definition
    #[arg(long)]
    pub(crate) config: bool,
    /// Of the running guest if it runs, else of the stored definition (default)
    #[arg(long, conflicts_with_all = ["live", "config"])]
    pub(crate) current: bool,
}
