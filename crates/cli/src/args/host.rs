//! Arguments of `host` and `config`.

use clap::Subcommand;

/// `host …`
#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Check what this host has for running guests, with remedies
    Check,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Every setting, its value, and where it came from
    Show,
}
