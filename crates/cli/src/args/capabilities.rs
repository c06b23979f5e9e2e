//! Arguments of the commands that tell what a hypervisor can do.

use std::path::PathBuf;

use clap::{ArgGroup, Args, builder::PossibleValuesParser};

use super::domxml::{ARCHITECTURES, DriverName, Setting};

/// `capabilities …`
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("elsewhere").args(["sysroot", "driver"]).multiple(true)))]
pub(crate) struct CapabilitiesArgs {
    /// A directory that stands for `/`, of another host; its hypervisors are not asked
    #[arg(long, value_name = "DIR")]
    pub(crate) sysroot: Option<PathBuf>,
    /// Architecture of that host, in the kernel's words
    #[arg(long, value_name = "ARCH", requires = "elsewhere")]
    pub(crate) arch: Option<String>,
    /// Whose hypervisor was recorded
    #[arg(long, requires = "capabilities")]
    pub(crate) driver: Option<DriverName>,
    /// What the hypervisor can do, as it was recorded: machine types are left out then, `qemu-caps` has them
    #[arg(long, value_name = "FILE", requires = "driver")]
    pub(crate) capabilities: Option<PathBuf>,
    /// Where its program is on that host
    #[arg(long, value_name = "PATH", requires = "driver")]
    pub(crate) emulator: Option<PathBuf>,
}

/// `qemu-caps …`
#[derive(Args, Debug)]
pub(crate) struct QemuCapsArgs {
    /// Architecture of its guests
    #[arg(long, value_name = "ARCH", value_parser = PossibleValuesParser::new(ARCHITECTURES), hide_possible_values = true)]
    pub(crate) arch: String,
    /// What it answered when it was probed over QMP, commands and replies in turn
    #[arg(long, value_name = "FILE")]
    pub(crate) replies: PathBuf,
}

/// `domcapabilities …`
#[derive(Args, Debug)]
pub(crate) struct DomcapabilitiesArgs {
    /// Whose hypervisor was recorded
    #[arg(long)]
    pub(crate) driver: DriverName,
    /// What it can do, as it was recorded
    #[arg(long, value_name = "FILE")]
    pub(crate) capabilities: PathBuf,
    /// Architecture of its guests (default: that of this machine)
    #[arg(long, value_name = "ARCH", value_parser = PossibleValuesParser::new(ARCHITECTURES), hide_possible_values = true)]
    pub(crate) arch: Option<String>,
    /// How guests run, as in <domain type=…>: kvm, hvf, qemu (default: the best that was recorded)
    #[arg(long, value_name = "TYPE")]
    pub(crate) virttype: Option<String>,
    /// Where its program is on that host
    #[arg(long, value_name = "PATH")]
    pub(crate) emulator: Option<PathBuf>,
    /// Machine type of guests, or its alias (default: the usual one)
    #[arg(long, value_name = "MACHINE")]
    pub(crate) machine: Option<String>,
    /// The host's <cpu>, as capabilities have it
    #[arg(long, value_name = "FILE")]
    pub(crate) host_cpu: Option<PathBuf>,
    /// Settings of the driver, in TOML
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One setting of the driver, by its name in qemu.conf; again for others
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
    /// A directory that stands for / of that host, for firmware; without it there is none
    #[arg(long, value_name = "DIR")]
    pub(crate) sysroot: Option<PathBuf>,
}
