//! Arguments of the commands for snapshots.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};
use polyvirt::model::{
    disk::DiskSnapshot,
    snapshot::{MemorySnapshot, SnapshotDisk, SnapshotDriver, SnapshotMemory},
    storage::{ImageFormat, Source, SourceKind},
};

use super::Which;

/// The commands for snapshots.
#[derive(Debug, Subcommand)]
#[expect(clippy::enum_variant_names, reason = "the names of virsh's commands")]
pub(crate) enum SnapshotCommand {
    /// Take a snapshot as XML says, or store the description of one that exists
    SnapshotCreate(SnapshotCreateArgs),
    /// Take a snapshot as options say
    SnapshotCreateAs(SnapshotCreateAsArgs),
    /// List the snapshots of a guest
    SnapshotList(SnapshotListArgs),
    /// The snapshot that a guest goes on from; or say which it is
    #[command(after_help = "Examples:
  polyvirt snapshot-current guest --name
  polyvirt snapshot-current guest --snapshotname before-update")]
    SnapshotCurrent {
        #[command(flatten)]
        which: Which,
        /// Its name instead of its XML
        #[arg(long)]
        name: bool,
        /// With secrets, such as passwords of displays
        #[arg(long)]
        security_info: bool,
        /// Make this one the current
        #[arg(long, value_name = "SNAPSHOT")]
        snapshotname: Option<String>,
    },
    /// What is known of a snapshot
    #[command(after_help = "Example: polyvirt snapshot-info guest before-update")]
    SnapshotInfo(OneSnapshot),
    /// A snapshot as XML
    #[command(after_help = "Example: polyvirt snapshot-dumpxml guest before-update")]
    SnapshotDumpxml {
        #[command(flatten)]
        which: Which,
        /// The snapshot
        snapshotname: String,
        /// With secrets, such as passwords of displays
        #[arg(long)]
        security_info: bool,
    },
    /// The name of the snapshot that another follows
    #[command(after_help = "Example: polyvirt snapshot-parent guest --current")]
    SnapshotParent(OneSnapshot),
    /// Edit the description of a snapshot
    #[command(after_help = "Example: EDITOR=nano polyvirt snapshot-edit guest before-update")]
    SnapshotEdit(SnapshotEditArgs),
    /// Bring a guest back to a snapshot; what it was until now is lost
    SnapshotRevert(SnapshotRevertArgs),
    /// Delete a snapshot
    SnapshotDelete(SnapshotDeleteArgs),
}

/// A snapshot of a guest: by name, or the current one.
#[derive(Debug, Args)]
pub(crate) struct OneSnapshot {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The snapshot
    #[arg(required_unless_present = "current", value_name = "SNAPSHOTNAME")]
    pub(crate) snapshot: Option<String>,
    /// The current one
    #[arg(long, conflicts_with = "snapshot")]
    pub(crate) current: bool,
}

/// How a snapshot is taken.
#[derive(Debug, Args)]
pub(crate) struct HowArgs {
    /// Keep nothing of it in the store: only the images know it
    #[arg(long)]
    pub(crate) no_metadata: bool,
    /// End the guest when it is taken
    #[arg(long)]
    pub(crate) halt: bool,
    /// Of the disks alone, without memory
    #[arg(long)]
    pub(crate) disk_only: bool,
    /// Use new images that are there already
    #[arg(long)]
    pub(crate) reuse_external: bool,
    /// Freeze the guest's file systems meanwhile
    #[arg(long)]
    pub(crate) quiesce: bool,
    /// All or nothing, as always
    #[arg(long)]
    pub(crate) atomic: bool,
    /// Let the guest's CPUs run meanwhile
    #[arg(long)]
    pub(crate) live: bool,
    /// Refuse elements and attributes that are not known
    #[arg(long)]
    pub(crate) validate: bool,
}

/// `snapshot-create`.
#[derive(Debug, Args)]
#[command(after_help = "Ctrl+C ends it, and the guest goes on as before.

Examples:
  polyvirt snapshot-create guest
  polyvirt snapshot-create guest snapshot.xml
  polyvirt snapshot-create guest kept.xml --redefine --current")]
pub(crate) struct SnapshotCreateArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The snapshot, as XML
    #[arg(value_name = "XMLFILE")]
    pub(crate) file: Option<PathBuf>,
    /// Store the description of one that exists, and do nothing else
    #[arg(long, requires = "file", conflicts_with_all = ["no_metadata", "halt", "disk_only", "quiesce", "live", "reuse_external"])]
    pub(crate) redefine: bool,
    /// And make it the current one
    #[arg(long, requires = "redefine")]
    pub(crate) current: bool,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// `snapshot-create-as`.
#[derive(Debug, Args)]
#[command(after_help = "Ctrl+C ends it, and the guest goes on as before.

Examples:
  polyvirt snapshot-create-as guest before-update
  polyvirt snapshot-create-as guest before-update --description 'works' --diskspec vdb,snapshot=no")]
pub(crate) struct SnapshotCreateAsArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Its name; the time if there is none
    pub(crate) name: Option<String>,
    /// What it is for
    pub(crate) description: Option<String>,
    /// Print the XML and do nothing
    #[arg(long)]
    pub(crate) print_xml: bool,
    #[command(flatten)]
    pub(crate) how: HowArgs,
    /// Where memory goes: [file=]PATH[,snapshot=TYPE]; a comma in a value is written twice
    #[arg(long, value_name = "SPEC")]
    pub(crate) memspec: Option<MemorySpec>,
    /// What happens to a disk: DISK[,snapshot=TYPE][,driver=TYPE][,stype=TYPE][,file=PATH]; again for others
    #[arg(long, value_name = "SPEC")]
    pub(crate) diskspec: Vec<DiskSpec>,
}

/// `--memspec`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MemorySpec(pub(crate) SnapshotMemory);

/// `--diskspec`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DiskSpec(pub(crate) SnapshotDisk);

impl FromStr for MemorySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut memory = SnapshotMemory::default();
        for (at, part) in parts(text).into_iter().enumerate() {
            match part.split_once('=') {
                Some(("file", file)) => memory.file = Some(file.to_owned()),
                Some(("snapshot", kind)) => memory.snapshot = Some(word::<MemorySnapshot>(kind)?),
                None if at == 0 => memory.file = Some(part),
                _ => return Err(format!("'{part}' is not known: file=PATH and snapshot=TYPE are")),
            }
        }
        Ok(Self(memory))
    }
}

impl FromStr for DiskSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = parts(text).into_iter();
        let mut disk = SnapshotDisk::new(parts.next().unwrap_or_default());
        if disk.name.is_empty() || disk.name.contains('=') {
            return Err("write the disk first: vda,snapshot=no".to_owned());
        }
        for part in parts {
            match part.split_once('=') {
                Some(("snapshot", kind)) => disk.snapshot = Some(word::<DiskSnapshot>(kind)?),
                Some(("driver", format)) => {
                    disk.driver = Some(SnapshotDriver::default().with_kind(word::<ImageFormat>(format)?));
                }
                Some(("stype", kind)) => disk.kind = Some(word::<SourceKind>(kind)?),
                Some(("file", path)) => disk.source = Some(Source::default().with_file(path)),
                _ => {
                    let known = "snapshot=TYPE, driver=TYPE, stype=TYPE and file=PATH are";
                    return Err(format!("'{part}' is not known: {known}"));
                }
            }
        }
        if disk.kind == Some(SourceKind::Block)
            && let Some(source) = &mut disk.source
        {
            source.dev = source.file.take();
        }
        Ok(Self(disk))
    }
}

fn word<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// What commas part; two are one of a value's own.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ',' if characters.next_if_eq(&',').is_some() => parts.last_mut().into_iter().for_each(|it| it.push(',')),
            ',' => parts.push(String::new()),
            other => parts.last_mut().into_iter().for_each(|it| it.push(other)),
        }
    }
    parts
}

/// `snapshot-list`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of virsh's")]
#[command(after_help = "Examples:
  polyvirt snapshot-list guest
  polyvirt snapshot-list guest --tree
  polyvirt snapshot-list guest --from before-update --descendants --name")]
pub(crate) struct SnapshotListArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// With what each follows
    #[arg(long, conflicts_with_all = ["roots", "tree", "name"])]
    pub(crate) parent: bool,
    /// Those that follow none
    #[arg(long, conflicts_with_all = ["tree", "from", "current"])]
    pub(crate) roots: bool,
    /// Those that none follows
    #[arg(long, conflicts_with = "no_leaves")]
    pub(crate) leaves: bool,
    /// Those that another follows
    #[arg(long)]
    pub(crate) no_leaves: bool,
    /// Those that the store knows, which all are
    #[arg(long)]
    pub(crate) metadata: bool,
    /// Those that the store does not know: none is listed
    #[arg(long, conflicts_with = "metadata")]
    pub(crate) no_metadata: bool,
    /// Those of a guest that was off
    #[arg(long)]
    pub(crate) inactive: bool,
    /// Those with memory
    #[arg(long)]
    pub(crate) active: bool,
    /// Those of disks alone
    #[arg(long)]
    pub(crate) disk_only: bool,
    /// Those in the images that the guest had
    #[arg(long)]
    pub(crate) internal: bool,
    /// Those with files of their own
    #[arg(long)]
    pub(crate) external: bool,
    /// As a tree
    #[arg(long, conflicts_with = "name")]
    pub(crate) tree: bool,
    /// Those that follow this one
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "current")]
    pub(crate) from: Option<String>,
    /// Those that follow the current one
    #[arg(long)]
    pub(crate) current: bool,
    /// With --from or --current: also those that follow these
    #[arg(long)]
    pub(crate) descendants: bool,
    /// Names alone
    #[arg(long)]
    pub(crate) name: bool,
    /// Each after what it follows
    #[arg(long)]
    pub(crate) topological: bool,
}

/// `snapshot-edit`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotEditArgs {
    #[command(flatten)]
    pub(crate) one: OneSnapshot,
    /// Under another name; refused, because images keep the old one
    #[arg(long)]
    pub(crate) rename: bool,
    /// A second one under another name; refused, because images know the old one alone
    #[arg(long = "clone", conflicts_with = "rename")]
    pub(crate) copy: bool,
}

/// `snapshot-revert`.
#[derive(Debug, Args)]
#[command(
    after_help = "A running guest that is the same machine stays in its process; else it is ended, and started from the snapshot if it ran then.

Examples:
  polyvirt snapshot-revert guest before-update
  polyvirt snapshot-revert guest --current --paused"
)]
pub(crate) struct SnapshotRevertArgs {
    #[command(flatten)]
    pub(crate) one: OneSnapshot,
    /// Its CPUs run then
    #[arg(long, conflicts_with = "paused")]
    pub(crate) running: bool,
    /// It is there then, its CPUs stopped
    #[arg(long)]
    pub(crate) paused: bool,
    /// Also to another machine: the guest is ended, and becomes what it was
    #[arg(long)]
    pub(crate) force: bool,
    /// Fill the firmware's variables from their template; refused, they come back with the snapshot
    #[arg(long)]
    pub(crate) reset_nvram: bool,
}

/// `snapshot-delete`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt snapshot-delete guest before-update
  polyvirt snapshot-delete guest before-update --children")]
pub(crate) struct SnapshotDeleteArgs {
    #[command(flatten)]
    pub(crate) one: OneSnapshot,
    /// And all that follow it
    #[arg(long, conflicts_with = "children_only")]
    pub(crate) children: bool,
    /// All that follow it, but not it
    #[arg(long)]
    pub(crate) children_only: bool,
    /// What the store knows alone; the images keep what they have
    #[arg(long)]
    pub(crate) metadata: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_read_as_virsh_reads_them() {
        let disk = "vda,snapshot=external,driver=qcow2,file=/a,,b".parse::<DiskSpec>().unwrap().0;
        assert_eq!((disk.name.as_str(), disk.snapshot), ("vda", Some(DiskSnapshot::External)));
        assert_eq!(disk.source.unwrap().file.as_deref(), Some("/a,b"));
        let block = "vda,stype=block,file=/dev/x".parse::<DiskSpec>().unwrap().0;
        assert_eq!(block.source.unwrap().dev.as_deref(), Some("/dev/x"));
        for text in ["/m", "file=/m", "/m,snapshot=external"] {
            assert_eq!(text.parse::<MemorySpec>().unwrap().0.file.as_deref(), Some("/m"), "{text}");
        }
        for wrong in ["", "snapshot=no", "vda,snapshot=maybe", "vda,size=1"] {
            assert!(wrong.parse::<DiskSpec>().is_err(), "{wrong}");
        }
        assert!("/m,size=1".parse::<MemorySpec>().is_err());
    }
}
