//! Arguments of `xml`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use polyvirt::model::snapshot::SnapshotState;
use uuid::Uuid;

use super::EmbeddedOptions;

/// `xml …`
#[derive(Debug, Subcommand)]
pub(crate) enum XmlCommand {
    /// An object other than a guest, completed and checked
    #[command(after_help = "Examples:
  polyvirt xml normalize --kind backup --domain guest.xml --suffix 2026-11-01 backup.xml
  polyvirt xml normalize --kind snapshot --creation-time 1700000000 wish.xml      a new snapshot
  polyvirt xml normalize --kind snapshot --redefine --driver qemu kept.xml        one that exists")]
    Normalize(XmlOptions),
}

/// Options of `xml normalize`.
#[derive(Debug, Args)]
pub(crate) struct XmlOptions {
    /// What it is: backup, checkpoint, snapshot
    #[arg(long)]
    pub(crate) kind: String,
    /// backup: the guest whose disks are meant, as domain XML
    #[arg(long, value_name = "FILE")]
    pub(crate) domain: Option<PathBuf>,
    /// backup: what files that nobody named end with, behind a dot
    #[arg(long)]
    pub(crate) suffix: Option<String>,
    /// snapshot, checkpoint: the file describes one that exists
    #[arg(long)]
    pub(crate) redefine: bool,
    /// snapshot, checkpoint: when it is made, in seconds since 1970; names it if nobody did
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) creation_time: Option<i64>,
    /// snapshot: what the guest does
    #[arg(long)]
    pub(crate) state: Option<SnapshotState>,
    /// snapshot, checkpoint: the one before
    #[arg(long, value_name = "NAME")]
    pub(crate) parent: Option<String>,
    /// snapshot: the guest's UUID
    #[arg(long, value_name = "UUID")]
    pub(crate) domain_uuid: Option<Uuid>,
    #[command(flatten)]
    pub(crate) embedded: EmbeddedOptions,
    /// The file is a store's own: what describes a running job or the current snapshot is kept and printed
    #[arg(long)]
    pub(crate) internal: bool,
    /// The object, as XML
    pub(crate) file: PathBuf,
}
