//! Arguments of the commands on what a guest may use of the host's CPU time and block devices.

use clap::Args;

use super::{AffectArgs, Which};

/// `schedinfo`.
#[derive(Debug, Args)]
#[command(
    after_help = "cpu_shares; global_period, global_quota of the whole guest; vcpu_…, emulator_…, iothread_period, …_quota of its parts.
Periods and quotas are in microseconds, a negative quota is no limit, 0 takes a value out. Without a value all are shown.

Examples:
  polyvirt schedinfo guest
  polyvirt schedinfo guest cpu_shares=512 vcpu_quota=50000 --live --config"
)]
pub(crate) struct SchedinfoArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// What to change
    #[arg(value_name = "NAME=VALUE")]
    pub(crate) values: Vec<String>,
    /// The same
    #[arg(long, value_name = "NAME=VALUE", num_args = 1..)]
    pub(crate) set: Vec<String>,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// `blkiotune`.
#[derive(Debug, Args)]
#[command(
    after_help = "DEVICES is a list of devices of the host, each with its value: /dev/sda,300,/dev/sdb,500. 0 lifts a limit.
Without a limit they are shown.

Examples:
  polyvirt blkiotune guest
  polyvirt blkiotune guest --device-write-bytes-sec /dev/sda,20M --live --config"
)]
pub(crate) struct BlkiotuneArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Its weight against other guests
    #[arg(long, value_name = "N")]
    pub(crate) weight: Option<u32>,
    /// Its weights at single devices
    #[arg(long, value_name = "DEVICES")]
    pub(crate) device_weights: Option<String>,
    /// Reads in a second
    #[arg(long, value_name = "DEVICES")]
    pub(crate) device_read_iops_sec: Option<String>,
    /// Writes in a second
    #[arg(long, value_name = "DEVICES")]
    pub(crate) device_write_iops_sec: Option<String>,
    /// Bytes read in a second
    #[arg(long, value_name = "DEVICES")]
    pub(crate) device_read_bytes_sec: Option<String>,
    /// Bytes written in a second
    #[arg(long, value_name = "DEVICES")]
    pub(crate) device_write_bytes_sec: Option<String>,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}
