//! Arguments of the commands that change a guest's devices.

use std::path::PathBuf;

use clap::Args;

use super::AffectArgs;

/// `attach-device`, `detach-device`, `update-device`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  polyvirt attach-device guest disk.xml --config
  polyvirt update-device guest cdrom.xml --config      another image in the drive with this <target>
  polyvirt detach-device guest disk.xml --config

A disk is told by its <target>, a network card by its <mac>, a controller by type and index, others by all that FILE says.
Devices of a running guest cannot be changed yet: use --config.")]
pub(crate) struct DeviceArgs {
    /// Name, UUID or number of the guest
    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,
    /// XML of the device
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}

/// `detach-device-alias`.
#[derive(Args, Debug)]
#[command(after_help = "Example: polyvirt detach-device-alias guest ua-backup --config")]
pub(crate) struct AliasArgs {
    /// Name, UUID or number of the guest
    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,
    /// The device's name, as in <alias name=…>
    pub(crate) alias: String,
    #[command(flatten)]
    pub(crate) affect: AffectArgs,
}
