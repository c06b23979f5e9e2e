//! Arguments of `xml`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `xml …`
#[derive(Debug, Subcommand)]
pub(crate) enum XmlCommand {
    /// An object other than a guest, completed and checked
    #[command(
        after_help = "Example: polyvirt xml normalize --kind backup --domain guest.xml --suffix 2026-11-01 backup.xml"
    )]
    Normalize(XmlOptions),
}

/// Options of `xml normalize`.
#[derive(Debug, Args)]
pub(crate) struct XmlOptions {
    /// What it is: backup
    #[arg(long)]
    pub(crate) kind: String,
    /// backup: the guest whose disks are meant, as domain XML
    #[arg(long, value_name = "FILE")]
    pub(crate) domain: Option<PathBuf>,
    /// backup: what files that nobody named end with, behind a dot
    #[arg(long)]
    pub(crate) suffix: Option<String>,
    /// The file describes a running job: its state is kept and printed
    #[arg(long)]
    pub(crate) internal: bool,
    /// The object, as XML
    pub(crate) file: PathBuf,
}
