//! The agent's commands that polyvirt uses (QEMU Guest Agent Protocol Reference).
//!
//! Replies list the members in use; members that newer agents brought are optional.

use serde::{Deserialize, Serialize};

use crate::{Command, Empty};

macro_rules! asked {
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

asked! {
    /// The name that the guest has for itself.
    GetHostName = "guest-get-host-name" -> HostName;
    /// Network cards and their addresses, as the guest has them.
    NetworkGetInterfaces = "guest-network-get-interfaces" -> Vec<NetworkInterface>;
    /// Lets all file systems go on; how many did.
    FsfreezeThaw = "guest-fsfreeze-thaw" -> u32;
    /// File systems that are mounted.
    GetFsinfo = "guest-get-fsinfo" -> Vec<Filesystem>;
    /// Nanoseconds since 1970.
    GetTime = "guest-get-time" -> i64;
    /// The vCPUs, as the guest has them.
    GetVcpus = "guest-get-vcpus" -> Vec<LogicalProcessor>;
    /// Which system the guest runs.
    GetOsinfo = "guest-get-osinfo" -> OsInfo;
    /// Its time zone.
    GetTimezone = "guest-get-timezone" -> Timezone;
    /// Sends the guest to sleep, in memory. It is not answered if it works.
    SuspendRam = "guest-suspend-ram" -> Empty;
    /// The same, on its disk.
    SuspendDisk = "guest-suspend-disk" -> Empty;
    /// The same, both.
    SuspendHybrid = "guest-suspend-hybrid" -> Empty;
    /// Who is logged in.
    GetUsers = "guest-get-users" -> Vec<User>;
}

/// Reply to [`GetHostName`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct HostName {
    pub host_name: String,
}

/// A network card.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct NetworkInterface {
    pub name: String,
    pub hardware_address: Option<String>,
    #[serde(default)]
    pub ip_addresses: Vec<IpAddress>,
}

/// An address of a card.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct IpAddress {
    pub ip_address: String,
    pub prefix: u8,
}

/// Stops writes to file systems; how many were frozen.
#[derive(Clone, Debug, Serialize)]
pub struct FsfreezeFreezeList<'a> {
    /// Which; all if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mountpoints: Option<&'a [String]>,
}

impl Command for FsfreezeFreezeList<'_> {
    const NAME: &'static str = "guest-fsfreeze-freeze-list";
    type Reply = u32;
}

/// Gives unused blocks back.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Fstrim {
    /// Bytes of the shortest run of blocks; 0: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<u64>,
}

impl Command for Fstrim {
    const NAME: &'static str = "guest-fstrim";
    type Reply = serde::de::IgnoredAny;
}

/// A file system.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct Filesystem {
    pub name: String,
    pub mountpoint: String,
    pub r#type: String,
    pub used_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    #[serde(default)]
    pub disk: Vec<DiskAddress>,
}

/// Where a disk of a file system is.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct DiskAddress {
    pub bus_type: String,
    #[serde(default)]
    pub bus: i64,
    #[serde(default)]
    pub target: i64,
    #[serde(default)]
    pub unit: i64,
    pub pci_controller: Option<PciPlace>,
    pub serial: Option<String>,
    pub dev: Option<String>,
}

/// Where a controller is on the guest's PCI; -1 where the agent does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct PciPlace {
    pub domain: i64,
    pub bus: i64,
    pub slot: i64,
    pub function: i64,
}

/// Sets the guest's clock.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetTime {
    /// Nanoseconds since 1970; `None`: from its hardware clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<i64>,
}

impl Command for SetTime {
    const NAME: &'static str = "guest-set-time";
    type Reply = Empty;
}

/// Sets a password.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct SetUserPassword<'a> {
    pub username: &'a str,
    /// In base 64.
    pub password: String,
    pub crypted: bool,
}

impl Command for SetUserPassword<'_> {
    const NAME: &'static str = "guest-set-user-password";
    type Reply = Empty;
}

/// Keys with which a user may log in.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct SshGetAuthorizedKeys<'a> {
    pub username: &'a str,
}

/// Reply to [`SshGetAuthorizedKeys`].
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct AuthorizedKeys {
    pub keys: Vec<String>,
}

impl Command for SshGetAuthorizedKeys<'_> {
    const NAME: &'static str = "guest-ssh-get-authorized-keys";
    type Reply = AuthorizedKeys;
}

/// Adds such keys.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct SshAddAuthorizedKeys<'a> {
    pub username: &'a str,
    pub keys: &'a [String],
    /// Whether the others go.
    pub reset: bool,
}

impl Command for SshAddAuthorizedKeys<'_> {
    const NAME: &'static str = "guest-ssh-add-authorized-keys";
    type Reply = Empty;
}

/// Removes such keys.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct SshRemoveAuthorizedKeys<'a> {
    pub username: &'a str,
    pub keys: &'a [String],
}

impl Command for SshRemoveAuthorizedKeys<'_> {
    const NAME: &'static str = "guest-ssh-remove-authorized-keys";
    type Reply = Empty;
}

/// A vCPU, as the guest has it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct LogicalProcessor {
    pub logical_id: u32,
    pub online: bool,
    #[serde(default, skip_serializing)]
    pub can_offline: bool,
}

/// Switches vCPUs on or off; how many were.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct SetVcpus {
    pub vcpus: Vec<LogicalProcessor>,
}

impl Command for SetVcpus {
    const NAME: &'static str = "guest-set-vcpus";
    type Reply = u32;
}

/// Reply to [`GetOsinfo`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct OsInfo {
    pub id: Option<String>,
    pub name: Option<String>,
    pub pretty_name: Option<String>,
    pub version: Option<String>,
    pub version_id: Option<String>,
    pub variant: Option<String>,
    pub variant_id: Option<String>,
    pub kernel_release: Option<String>,
    pub kernel_version: Option<String>,
    pub machine: Option<String>,
}

/// Reply to [`GetTimezone`].
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct Timezone {
    pub zone: Option<String>,
    /// Seconds east of UTC.
    pub offset: i64,
}

/// Somebody who is logged in.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the agent's")]
pub struct User {
    pub user: String,
    /// Seconds since 1970.
    pub login_time: f64,
    pub domain: Option<String>,
}

/// Makes the guest power off, halt or reboot. It is not answered if it works.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shutdown {
    /// `powerdown`, `halt` or `reboot`.
    pub mode: &'static str,
}

impl Command for Shutdown {
    const NAME: &'static str = "guest-shutdown";
    type Reply = Empty;
}
