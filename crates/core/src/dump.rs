//! A guest's memory in a file, for debuggers.

use std::{fs::File, sync::Arc};

use async_trait::async_trait;

use crate::{JobContext, Result};

/// The form of a core, by libvirt's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DumpFormat {
    /// ELF, which debuggers read.
    #[default]
    Elf,
    /// That of kdump, compressed with zlib.
    KdumpZlib,
    /// That of kdump, compressed with LZO.
    KdumpLzo,
    /// That of kdump, compressed with Snappy.
    KdumpSnappy,
    /// That of Windows' debuggers.
    WinDmp,
}

impl DumpFormat {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Elf, Self::KdumpZlib, Self::KdumpLzo, Self::KdumpSnappy, Self::WinDmp];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Elf => "elf",
            Self::KdumpZlib => "kdump-zlib",
            Self::KdumpLzo => "kdump-lzo",
            Self::KdumpSnappy => "kdump-snappy",
            Self::WinDmp => "win-dmp",
        }
    }
}

/// Writing a guest's memory and registers.
#[async_trait]
pub trait CoreDump: Send + Sync {
    /// Writes them into a file, from where it stands.
    ///
    /// *Behaviour*: reports [`crate::JobStep::Streaming`] when the hypervisor has begun to write, then progress. The guest's CPUs may stand meanwhile.
    /// When it returns, `Ok` or not, nobody writes into the file any more and the guest does what it did before. A form that the hypervisor does not have is
    /// `Unsupported`, with its reason.
    async fn dump(&self, job: &JobContext, into: &Arc<File>, format: DumpFormat) -> Result<()>;

    /// Ends a dump that a process began which is gone.
    ///
    /// *Behaviour*: idempotent, none under way is no error; afterwards the guest is as after [`CoreDump::dump`].
    async fn abandon(&self) -> Result<()>;
}
