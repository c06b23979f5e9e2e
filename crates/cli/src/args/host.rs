//! Arguments of commands on the host, of `host` and of `config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Which host is looked at.
#[derive(Args, Debug)]
pub(crate) struct HostTree {
    /// A directory that stands for `/`, of another host; its hypervisors are not asked
    #[arg(long, value_name = "DIR")]
    pub(crate) sysroot: Option<PathBuf>,
    /// Architecture of that host, in the kernel's words
    #[arg(long, value_name = "ARCH", requires = "sysroot")]
    pub(crate) arch: Option<String>,
}

/// `freepages`
#[derive(Args, Debug)]
pub(crate) struct Freepages {
    /// Of this node
    #[arg(long, value_name = "NODE", conflicts_with = "all")]
    pub(crate) cellno: Option<u32>,
    /// Of this size, in KiB
    #[arg(long, value_name = "KIB")]
    pub(crate) pagesize: Option<u64>,
    /// Of every node; so it is without --cellno
    #[arg(long)]
    pub(crate) all: bool,
}

/// `allocpages`
#[derive(Args, Debug)]
pub(crate) struct Allocpages {
    /// Their size, in KiB
    pub(crate) pagesize: u64,
    /// How many the pool shall have
    pub(crate) pagecount: u64,
    /// The pool of this node; without, that of the whole host
    #[arg(long, value_name = "NODE", conflicts_with = "all")]
    pub(crate) cellno: Option<u32>,
    /// The pools of all nodes
    #[arg(long)]
    pub(crate) all: bool,
    /// So many more than now
    #[arg(long)]
    pub(crate) add: bool,
}

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
