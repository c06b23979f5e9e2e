//! Arguments of the commands that tell what a hypervisor can do.

use std::path::PathBuf;

use clap::{ArgGroup, Args, builder::PossibleValuesParser};

use super::domxml::{ARCHITECTURES, DescribedHost, DriverName};

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
    /// Whose hypervisor (default: as for every command)
    #[arg(long)]
    pub(crate) driver: Option<DriverName>,
    /// What it can do, as it was recorded; without it this host's hypervisor is asked
    #[arg(long, value_name = "FILE", requires = "driver")]
    pub(crate) capabilities: Option<PathBuf>,
    /// Architecture of its guests (default: that of this machine)
    #[arg(long, value_name = "ARCH", value_parser = PossibleValuesParser::new(ARCHITECTURES), hide_possible_values = true)]
    pub(crate) arch: Option<String>,
    /// How guests run, as in <domain type=…>: kvm, hvf, qemu (default: the best there is)
    #[arg(long, value_name = "TYPE")]
    pub(crate) virttype: Option<String>,
    /// Its program
    #[arg(long, value_name = "PATH", alias = "emulatorbin")]
    pub(crate) emulator: Option<PathBuf>,
    /// Machine type of guests, or its alias (default: the usual one)
    #[arg(long, value_name = "MACHINE")]
    pub(crate) machine: Option<String>,
    #[command(flatten)]
    pub(crate) host: DescribedHost,
}
