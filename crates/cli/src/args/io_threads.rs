//! Arguments of the commands on I/O threads.

use clap::Args;

use super::{AffectArgs, Which};

/// `iothreadinfo`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt iothreadinfo guest")]
pub(crate) struct IothreadsArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// `iothreadadd`, `iothreaddel`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt iothreadadd guest 2 --live --config
  polyvirt iothreaddel guest 2 --live")]
pub(crate) struct IothreadArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Its number, from 1
    pub(crate) id: u32,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// `iothreadset`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt iothreadset guest 1 --poll-max-ns 50000 --live --config")]
pub(crate) struct IothreadsetArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Its number
    pub(crate) id: u32,
    /// The longest polling time, in nanoseconds; 0: it does not poll
    #[arg(long, value_name = "NS")]
    pub(crate) poll_max_ns: Option<u64>,
    /// Factor by which polling grows
    #[arg(long, value_name = "N")]
    pub(crate) poll_grow: Option<u64>,
    /// Divisor by which it shrinks
    #[arg(long, value_name = "N")]
    pub(crate) poll_shrink: Option<u64>,
    /// Worker threads that always exist
    #[arg(long, value_name = "N")]
    pub(crate) thread_pool_min: Option<i32>,
    /// Worker threads at most
    #[arg(long, value_name = "N")]
    pub(crate) thread_pool_max: Option<i32>,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// `iothreadpin`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt iothreadpin guest 1 2-3 --live --config")]
pub(crate) struct IothreadpinArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Its number
    pub(crate) iothread: u32,
    /// Host CPUs, 0-2,^1; r: all
    #[arg(value_name = "CPULIST")]
    pub(crate) cpulist: String,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}
