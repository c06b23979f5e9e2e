//! Arguments of the commands that work on a running guest's disks: block jobs, sizes, marks.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Which;

/// Commands on a running guest's disks.
#[derive(Debug, Subcommand)]
pub(crate) enum BlockCommand {
    /// Write what images of a disk hold into one below them, while the guest runs
    Blockcommit(CommitArgs),
    /// Copy a disk to another place, while the guest runs
    Blockcopy(Box<CopyArgs>),
    /// Show, limit or end the job of a disk
    Blockjob(BlockjobArgs),
    /// Read what the images below hold into a disk's topmost one, while the guest runs
    Blockpull(PullArgs),
    /// Change how much of a disk the running guest sees
    Blockresize(ResizeArgs),
    /// Have an event tell when a running guest writes beyond a mark of an image
    Domblkthreshold(ThresholdArgs),
}

/// The disk.
#[derive(Debug, Args)]
pub(crate) struct DiskArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The disk: its target (vda) or its source
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
}

/// A limit of speed.
#[derive(Debug, Args)]
pub(crate) struct SpeedArgs {
    /// At most so many MiB a second
    #[arg(long, value_name = "MIB")]
    pub(crate) bandwidth: Option<String>,
    /// The limit is in bytes a second, or has a unit
    #[arg(long)]
    pub(crate) bytes: bool,
}

/// How a job is waited for.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Wait until it is over, or in step with the guest
    #[arg(long)]
    pub(crate) wait: bool,
    /// Wait, and end the job after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// When the job is ended early, do not wait for its end
    #[arg(long = "async")]
    pub(crate) no_wait: bool,
}

/// `blockcommit`.
#[derive(Debug, Args)]
#[command(
    after_help = "Images are named by their path or by their number in the live definition, vda[2]. With the image that the guest
writes, the job stays in step with the guest until it is ended. Ctrl+C ends it: the guest stays on the images that it had.

Examples:
  polyvirt blockcommit guest vda --pivot --verbose          all into the lowest image, and go on there
  polyvirt blockcommit guest vda --shallow --pivot --delete
  polyvirt blockcommit guest vda --top vda[2] --base vda[4] --wait"
)]
pub(crate) struct CommitArgs {
    #[command(flatten)]
    pub(crate) disk: DiskArgs,
    #[command(flatten)]
    pub(crate) speed: SpeedArgs,
    /// The image that is written into; else the lowest
    #[arg(long, value_name = "IMAGE")]
    pub(crate) base: Option<String>,
    /// Write into the image below the topmost that is committed
    #[arg(long, conflicts_with = "base")]
    pub(crate) shallow: bool,
    /// The topmost image that is committed; else the one that the guest writes
    #[arg(long, value_name = "IMAGE")]
    pub(crate) top: Option<String>,
    /// The image that the guest writes may be committed
    #[arg(long)]
    pub(crate) active: bool,
    /// Remove the files that were committed
    #[arg(long)]
    pub(crate) delete: bool,
    /// Wait until it is in step, and go on with the image that was written into
    #[arg(long, conflicts_with = "keep_overlay")]
    pub(crate) pivot: bool,
    /// Wait until it is in step, and stay on the image that the guest has
    #[arg(long)]
    pub(crate) keep_overlay: bool,
    /// The header of the image above names the base relative to itself
    #[arg(long)]
    pub(crate) keep_relative: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `blockpull`.
#[derive(Debug, Args)]
#[command(after_help = "Ctrl+C ends it: what was read stays in the image, and the chain is as it was.

Examples:
  polyvirt blockpull guest vda --wait --verbose
  polyvirt blockpull guest vda --base vda[3]")]
pub(crate) struct PullArgs {
    #[command(flatten)]
    pub(crate) disk: DiskArgs,
    #[command(flatten)]
    pub(crate) speed: SpeedArgs,
    /// The image that stays below; else none does
    #[arg(long, value_name = "IMAGE")]
    pub(crate) base: Option<String>,
    /// The header names the base relative to the image
    #[arg(long)]
    pub(crate) keep_relative: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `blockcopy`.
#[derive(Debug, Args)]
#[command(
    after_help = "A file that is not there is made, in the disk's format if no other is named. The job stays in step with the
guest until it is ended. Ctrl+C ends it: the guest stays where it is, and a file that was made for a copy that is not whole is removed.

Examples:
  polyvirt blockcopy guest vda /images/new.qcow2 --pivot --verbose
  polyvirt blockcopy guest vda --dest /images/copy.raw --format raw --finish
  polyvirt blockcopy guest vda /dev/vg/new --blockdev --format raw --wait"
)]
pub(crate) struct CopyArgs {
    #[command(flatten)]
    pub(crate) disk: DiskArgs,
    /// The file or device
    #[arg(long = "dest", value_name = "PATH", conflicts_with = "dest_word")]
    pub(crate) dest: Option<PathBuf>,
    /// The file or device
    #[arg(value_name = "DEST", conflicts_with = "xml")]
    pub(crate) dest_word: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) speed: SpeedArgs,
    /// Copy the topmost image alone; what it is based on is shared
    #[arg(long)]
    pub(crate) shallow: bool,
    /// Use an image that is there, as large as the disk
    #[arg(long)]
    pub(crate) reuse_external: bool,
    /// The destination is a block device
    #[arg(long)]
    pub(crate) blockdev: bool,
    /// Wait until it is in step, and go on with the copy
    #[arg(long, conflicts_with = "finish")]
    pub(crate) pivot: bool,
    /// Wait until it is in step, and stay where the guest is: the copy is whole
    #[arg(long)]
    pub(crate) finish: bool,
    /// A <disk> whose <source> and <driver> say where to and in which format
    #[arg(long, value_name = "XML", conflicts_with_all = ["dest", "format", "blockdev"])]
    pub(crate) xml: Option<PathBuf>,
    /// The format of the copy
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Bytes that one write makes dirty: a power of two
    #[arg(long, value_name = "BYTES")]
    pub(crate) granularity: Option<u32>,
    /// Bytes that may be on their way
    #[arg(long, value_name = "BYTES")]
    pub(crate) buf_size: Option<u64>,
    /// Taken as virsh does: a job never outlives its guest here
    #[arg(long)]
    pub(crate) transient_job: bool,
    /// A write of the guest is done when it is in both places
    #[arg(long)]
    pub(crate) synchronous_writes: bool,
    /// Print the XML of the destination and begin nothing
    #[arg(long)]
    pub(crate) print_xml: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `blockjob`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt blockjob guest vda
  polyvirt blockjob guest vda --pivot
  polyvirt blockjob guest vda --bandwidth 50")]
pub(crate) struct BlockjobArgs {
    #[command(flatten)]
    pub(crate) disk: DiskArgs,
    /// End it: the guest stays on the images that it has
    #[arg(long)]
    pub(crate) abort: bool,
    /// End it, and do not wait for its end
    #[arg(long = "async")]
    pub(crate) no_wait: bool,
    /// End a job that is in step: the guest goes on with the other image
    #[arg(long)]
    pub(crate) pivot: bool,
    /// How far it is
    #[arg(long, conflicts_with_all = ["abort", "pivot", "bandwidth"])]
    pub(crate) info: bool,
    /// How far it is, as key=value
    #[arg(long, conflicts_with_all = ["abort", "pivot", "bandwidth"])]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) speed: SpeedArgs,
}

/// `blockresize`.
#[derive(Debug, Args)]
#[command(after_help = "A disk of a guest that does not run is resized with `qemu-img resize`.

Examples:
  polyvirt blockresize guest vda 20G
  polyvirt blockresize guest vda 20971520        in KiB")]
pub(crate) struct ResizeArgs {
    #[command(flatten)]
    pub(crate) disk: DiskArgs,
    /// How large: KiB, or with a unit, 20G or 512B
    pub(crate) size: String,
}

/// `domblkthreshold`.
#[derive(Debug, Args)]
#[command(after_help = "The mark is gone when it was told. 0 takes it away.

Examples:
  polyvirt domblkthreshold guest vda 10G
  polyvirt domblkthreshold guest vda[2] 0")]
pub(crate) struct ThresholdArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The disk (vda), or one of its images (vda[2])
    pub(crate) dev: String,
    /// Bytes of the image's file, or with a unit
    pub(crate) threshold: String,
}
