//! Commands that move a guest's state: migration, its parameters, memory dumps, and descriptors for them.

use serde::{Deserialize, Serialize};

use crate::{Command, Empty};

/// Takes the descriptor that comes with the command, under a name that others refer to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GetFd<'a> {
    /// The name.
    pub fdname: &'a str,
}

impl Command for GetFd<'_> {
    const NAME: &'static str = "getfd";
    type Reply = Empty;
}

/// Closes a descriptor that [`GetFd`] named and nothing took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CloseFd<'a> {
    /// The name.
    pub fdname: &'a str,
}

impl Command for CloseFd<'_> {
    const NAME: &'static str = "closefd";
    type Reply = Empty;
}

/// Sends the guest's state away; returns when it has begun.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Migrate<'a> {
    /// Where to: `fd:NAME`, `unix:PATH`, `tcp:HOST:PORT`.
    pub uri: &'a str,
}

impl Command for Migrate<'_> {
    const NAME: &'static str = "migrate";
    type Reply = Empty;
}

/// Takes a guest's state, in a QEMU that was started with `-incoming defer`; returns when it has begun.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MigrateIncoming<'a> {
    /// Where from, as [`Migrate::uri`].
    pub uri: &'a str,
}

impl Command for MigrateIncoming<'_> {
    const NAME: &'static str = "migrate-incoming";
    type Reply = Empty;
}

macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident = $wire:literal -> $reply:ty;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Serialize)]
        pub struct $name {}

        impl Command for $name {
            const NAME: &'static str = $wire;
            type Reply = $reply;
        }
    )* };
}

plain! {
    /// Ends a migration that is under way; returns before it has ended. None is no error.
    MigrateCancel = "migrate_cancel" -> Empty;
    /// How the last migration is doing.
    QueryMigrate = "query-migrate" -> MigrationInfo;
    /// How the last memory dump is doing.
    QueryDump = "query-dump" -> DumpInfo;
    /// The limits of migrations.
    QueryMigrateParameters = "query-migrate-parameters" -> MigrationLimits;
    /// Wakes a guest that sleeps (ACPI S3).
    SystemWakeup = "system_wakeup" -> Empty;
}

/// Sets limits of migrations; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MigrationLimits {
    /// Bytes a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bandwidth: Option<u64>,
    /// Milliseconds that the guest may stand at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downtime_limit: Option<u64>,
}

impl Command for MigrationLimits {
    const NAME: &'static str = "migrate-set-parameters";
    type Reply = Empty;
}

/// Switches capabilities of migrations.
#[derive(Clone, Debug, Serialize)]
pub struct MigrateSetCapabilities<'a> {
    /// Which.
    pub capabilities: &'a [MigrationCapability],
}

/// One capability of migrations.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MigrationCapability {
    /// Its name, such as `events`.
    pub capability: &'static str,
    /// On or off.
    pub state: bool,
}

impl Command for MigrateSetCapabilities<'_> {
    const NAME: &'static str = "migrate-set-capabilities";
    type Reply = Empty;
}

/// Reply to [`QueryMigrate`]; empty before the first migration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct MigrationInfo {
    /// How far it is.
    pub status: Option<MigrationStatus>,
    /// What of the guest's memory is done.
    pub ram: Option<MigrationRam>,
    /// Why it failed.
    pub error_desc: Option<String>,
}

/// How far a migration is (`MigrationStatus`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MigrationStatus {
    /// There was none.
    None,
    /// It is being prepared.
    Setup,
    /// It is being cancelled.
    Cancelling,
    /// It was cancelled.
    Cancelled,
    /// Memory is under way.
    Active,
    /// It is whole.
    Completed,
    /// It failed.
    Failed,
    /// Devices are under way.
    Device,
    /// One that is not told apart here.
    #[serde(untagged)]
    Other(String),
}

impl MigrationStatus {
    /// Whether something is, or will be, sent.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        !matches!(self, Self::None | Self::Cancelled | Self::Completed | Self::Failed)
    }
}

/// Numbers of a migration's memory (`MigrationStats`), in bytes where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct MigrationRam {
    /// Sent.
    pub transferred: u64,
    /// Left to send.
    pub remaining: u64,
    /// All memory of the guest.
    pub total: u64,
    /// Pages of one byte all over.
    pub duplicate: u64,
    /// Pages that were sent.
    pub normal: u64,
    /// Megabits a second.
    pub mbps: f64,
    /// How often the guest's memory was gone through.
    pub dirty_sync_count: u64,
    /// A page. Since QEMU 2.10.
    #[serde(default)]
    pub page_size: u64,
}

/// Writes the guest's memory as a core.
#[derive(Clone, Debug, Serialize)]
pub struct DumpGuestMemory<'a> {
    /// Whether addresses are virtual, by the guest's page tables.
    pub paging: bool,
    /// Where to, `fd:NAME`.
    pub protocol: &'a str,
    /// Whether to return when it has begun.
    pub detach: bool,
    /// Its form; ELF if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<&'static str>,
}

impl Command for DumpGuestMemory<'_> {
    const NAME: &'static str = "dump-guest-memory";
    type Reply = Empty;
}

/// Reply to [`QueryDump`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct DumpInfo {
    /// How far it is.
    pub status: DumpStatus,
    /// Bytes of memory that are done.
    pub completed: i64,
    /// Bytes of memory in all.
    pub total: i64,
}

/// How far a dump is (`DumpStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DumpStatus {
    /// There was none.
    None,
    /// Under way.
    Active,
    /// Whole.
    Completed,
    /// It failed.
    Failed,
}
