//! Arguments of `firmware`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `firmware …`
#[derive(Debug, Subcommand)]
pub(crate) enum FirmwareCommand {
    /// What is installed for a machine type, the preferred first
    #[command(after_help = "Examples:
  polyvirt firmware list --machine pc-q35-7.2
  polyvirt firmware list --arch aarch64 --machine virt-8.2 --sysroot /mnt/other-host")]
    List(FirmwareList),
}

/// `firmware list …`
#[derive(Debug, Args)]
pub(crate) struct FirmwareList {
    /// Architecture of the guest (default: that of this machine)
    #[arg(long, value_name = "ARCH")]
    pub(crate) arch: Option<String>,
    /// Machine type, with its version
    #[arg(long, value_name = "MACHINE")]
    pub(crate) machine: String,
    /// A directory that stands for /
    #[arg(long, value_name = "DIR")]
    pub(crate) sysroot: Option<PathBuf>,
}
