//! Arguments of the commands that save and restore guests, and of those that look at jobs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use polyvirt::{DumpFormat, RunState};

use super::Which;

/// What a restored guest's CPUs do.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct StateArgs {
    /// Its CPUs shall run when it is restored, whatever they do now
    #[arg(long, conflicts_with = "paused")]
    running: bool,
    /// Its CPUs shall stay stopped when it is restored
    #[arg(long)]
    paused: bool,
}

impl StateArgs {
    /// What was asked for.
    pub(crate) fn wanted(self) -> Option<RunState> {
        match (self.running, self.paused) {
            (true, _) => Some(RunState::Running),
            (_, true) => Some(RunState::Paused),
            _ => None,
        }
    }
}

/// `save`.
#[derive(Debug, Args)]
#[command(after_help = "Ctrl+C ends the save, and the guest goes on as before.

Examples:
  polyvirt save guest guest.save
  polyvirt save guest guest.save --paused --verbose")]
pub(crate) struct SaveArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The file; one that is there is replaced when the new one is whole
    pub(crate) file: PathBuf,
    /// The host shall not keep the file in memory
    #[arg(long)]
    pub(crate) bypass_cache: bool,
    /// Domain XML for the time after; the guest must not see a difference
    #[arg(long, value_name = "XML")]
    pub(crate) xml: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// `restore`.
#[derive(Debug, Args)]
#[command(
    after_help = "The file stays. A guest must not be continued from it twice: what it wrote on its disks since would be lost on it.

Example: polyvirt restore guest.save"
)]
pub(crate) struct RestoreArgs {
    /// The file
    pub(crate) file: PathBuf,
    /// The host shall not keep the file in memory
    #[arg(long)]
    pub(crate) bypass_cache: bool,
    /// Domain XML to be used; the guest must not see a difference
    #[arg(long, value_name = "XML")]
    pub(crate) xml: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// `save-image-dumpxml`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt save-image-dumpxml guest.save")]
pub(crate) struct SavedDumpArgs {
    /// The file
    pub(crate) file: PathBuf,
    /// With its secrets, such as passwords of displays
    #[arg(long)]
    pub(crate) security_info: bool,
}

/// `save-image-define`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt save-image-define guest.save edited.xml")]
pub(crate) struct SavedDefineArgs {
    /// The file
    pub(crate) file: PathBuf,
    /// Domain XML; the guest must not see a difference
    pub(crate) xml: PathBuf,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// `save-image-edit`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt save-image-edit guest.save")]
pub(crate) struct SavedEditArgs {
    /// The file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// `managedsave`.
#[derive(Debug, Args)]
#[command(after_help = "Ctrl+C ends the save, and the guest goes on as before.

Examples:
  polyvirt managedsave guest
  polyvirt start guest                  continues it
  polyvirt start guest --force-boot     boots it")]
pub(crate) struct ManagedSaveArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The host shall not keep the file in memory
    #[arg(long)]
    pub(crate) bypass_cache: bool,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// `managedsave-dumpxml`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt managedsave-dumpxml guest")]
pub(crate) struct ManagedDumpArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// With its secrets, such as passwords of displays
    #[arg(long)]
    pub(crate) security_info: bool,
}

/// `managedsave-define`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt managedsave-define guest edited.xml")]
pub(crate) struct ManagedDefineArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Domain XML; the guest must not see a difference
    pub(crate) xml: PathBuf,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// `managedsave-edit`.
#[derive(Debug, Args)]
#[command(after_help = "Example: polyvirt managedsave-edit guest")]
pub(crate) struct ManagedEditArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// `domjobinfo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  polyvirt domjobinfo guest
  polyvirt domjobinfo guest --completed")]
pub(crate) struct JobInfoArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Of the last job, if it did what it was to do
    #[arg(long)]
    pub(crate) completed: bool,
    /// Leave what `--completed` shows for the next time (it always stays, until another job)
    #[arg(long)]
    pub(crate) keep_completed: bool,
    /// Of the last job, also of one that failed
    #[arg(long)]
    pub(crate) anystats: bool,
}

/// `dump`.
#[derive(Debug, Args)]
#[command(
    after_help = "A core holds memory and registers. The guest's CPUs stand while QEMU writes. Ctrl+C ends the dump, and the guest goes on.

Examples:
  polyvirt dump guest guest.core
  polyvirt dump guest guest.core --format kdump-zlib --crash"
)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The file; one that is there is replaced when the new one is whole
    pub(crate) file: PathBuf,
    /// Without devices, which a core has none of: as without this option
    #[arg(long)]
    pub(crate) memory_only: bool,
    /// Without stopping the guest's CPUs; refused, because no hypervisor here can
    #[arg(long)]
    pub(crate) live: bool,
    /// End the guest when the core is written
    #[arg(long, conflicts_with_all = ["live", "reset"])]
    pub(crate) crash: bool,
    /// Press the guest's reset button when the core is written
    #[arg(long, conflicts_with = "live")]
    pub(crate) reset: bool,
    /// The host shall not keep the file in memory
    #[arg(long)]
    pub(crate) bypass_cache: bool,
    /// The form of the core
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: CoreForm,
}

/// Forms of cores.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum CoreForm {
    /// ELF, which debuggers read
    #[default]
    Elf,
    /// That of kdump, compressed with zlib
    KdumpZlib,
    /// That of kdump, compressed with LZO
    KdumpLzo,
    /// That of kdump, compressed with Snappy
    KdumpSnappy,
    /// That of Windows' debuggers
    WinDmp,
}

impl From<CoreForm> for DumpFormat {
    fn from(form: CoreForm) -> Self {
        match form {
            CoreForm::Elf => Self::Elf,
            CoreForm::KdumpZlib => Self::KdumpZlib,
            CoreForm::KdumpLzo => Self::KdumpLzo,
            CoreForm::KdumpSnappy => Self::KdumpSnappy,
            CoreForm::WinDmp => Self::WinDmp,
        }
    }
}
