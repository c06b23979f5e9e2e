//! What an agent inside the guest does and tells.
//!
//! The agent is a program of the guest. What it says is bounded by the driver and believed no further than to be shown; it may keep silent,
//! and then its caller is told so after a deadline. One command at a time is under way; the next waits in line, and no change of the guest
//! by its hypervisor waits for any of them. Common to all: no channel for an agent is `Unsupported`, no agent at its other end
//! `InvalidState`, no answer `Timeout`.

use std::{fmt, net::IpAddr, time::Duration};

use async_trait::async_trait;
use serde::Serialize;

use crate::Result;

/// The name that the guest has for itself.
#[async_trait]
pub trait GuestHostname: Send + Sync {
    /// Its name.
    async fn hostname(&self) -> Result<String>;
}

/// Network cards and their addresses, as the guest has them.
#[async_trait]
pub trait GuestAddresses: Send + Sync {
    /// All cards, in the guest's order.
    async fn addresses(&self) -> Result<Vec<GuestInterface>>;
}

/// A network card, as the guest has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GuestInterface {
    /// Its name in the guest.
    pub name: String,
    /// Its hardware address.
    pub mac: Option<String>,
    /// Its addresses, with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// The guest's file systems.
#[async_trait]
pub trait GuestFilesystems: Send + Sync {
    /// Stops writes to these, or to all if none is named; how many were frozen.
    ///
    /// *Behaviour*: what was written is on the disks when it returns. Freezing what is frozen is an error of the agent.
    async fn freeze(&self, mountpoints: &[String]) -> Result<u32>;
    /// Lets them go on, all of them; how many did.
    async fn thaw(&self) -> Result<u32>;
    /// Gives unused blocks of at least `minimum` bytes in a row back to the host.
    async fn trim(&self, minimum: u64) -> Result<()>;
    /// Those that are mounted.
    async fn list(&self) -> Result<Vec<GuestFilesystem>>;
}

/// A file system of the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GuestFilesystem {
    /// Where it is mounted.
    pub mountpoint: String,
    /// The guest's name of its device.
    pub name: String,
    /// Its type, such as `ext4`.
    pub kind: String,
    /// Bytes that are used.
    pub used: Option<u64>,
    /// Bytes that there are.
    pub total: Option<u64>,
    /// The disks that it is on.
    pub disks: Vec<GuestDisk>,
}

/// A disk as its guest has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GuestDisk {
    /// The guest's name of it.
    pub device: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its `<target>` in the definition, where the place that the guest tells is one of them.
    pub target: Option<String>,
}

/// The guest's clock.
#[async_trait]
pub trait GuestClock: Send + Sync {
    /// The time in the guest, since 1970.
    async fn time(&self) -> Result<Duration>;
    /// Sets it: to this time since 1970, or from the guest's hardware clock.
    async fn set_time(&self, to: Option<Duration>) -> Result<()>;
}

/// Text that is shown to nobody: its `Debug` hides it.
#[derive(Clone)]
pub struct SecretText(String);

impl SecretText {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// The guest's users.
#[async_trait]
pub trait GuestAccounts: Send + Sync {
    /// Sets a password; `crypted`: it is a hash as the guest stores them.
    async fn set_password(&self, user: &str, password: &SecretText, crypted: bool) -> Result<()>;
}

/// Keys with which users of the guest may log in.
#[async_trait]
pub trait GuestSshKeys: Send + Sync {
    /// A user's keys.
    async fn keys(&self, user: &str) -> Result<Vec<String>>;
    /// Changes them.
    async fn set_keys(&self, user: &str, keys: &[String], how: SshKeysHow) -> Result<()>;
}

/// What is done with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SshKeysHow {
    /// They are the only ones.
    Replace,
    /// They are added.
    Add,
    /// They are removed.
    Remove,
}

/// The vCPUs, as the guest has them.
#[async_trait]
pub trait GuestVcpus: Send + Sync {
    /// All that the guest sees, ascending.
    async fn list(&self) -> Result<Vec<GuestVcpu>>;
    /// Switches some on or off, in the guest.
    ///
    /// *Behaviour*: all or an error that says how many; the first usually cannot be switched off.
    async fn set(&self, vcpus: &[u32], online: bool) -> Result<()>;
}

/// A vCPU, as the guest has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GuestVcpu {
    /// The guest's number of it.
    pub id: u32,
    /// Whether the guest uses it.
    pub online: bool,
    /// Whether the guest could do without.
    pub can_offline: bool,
}

impl GuestVcpu {
    /// A vCPU.
    #[must_use]
    pub fn new(id: u32, online: bool, can_offline: bool) -> Self {
        Self { id, online, can_offline }
    }
}

/// What a guest tells of its system.
#[async_trait]
pub trait GuestInfo: Send + Sync {
    /// Collects these facts. What this agent cannot tell is `None`, unless nothing can be told.
    async fn collect(&self, which: &[GuestInfoKind]) -> Result<GuestInfoRecord>;
}

/// A kind of facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestInfoKind {
    /// Who is logged in.
    Users,
    /// Which system it is.
    Os,
    /// Its time zone.
    Timezone,
    /// Its name.
    Hostname,
    /// Its file systems.
    Filesystems,
    /// Its network cards.
    Interfaces,
}

impl GuestInfoKind {
    /// All, in virsh's order.
    pub const ALL: &'static [Self] =
        &[Self::Users, Self::Os, Self::Timezone, Self::Hostname, Self::Filesystems, Self::Interfaces];
}

/// Facts of a guest.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GuestInfoRecord {
    /// Who is logged in: name, and since when in seconds since 1970.
    pub users: Option<Vec<(String, f64)>>,
    /// Which system it is: libvirt's names, such as `pretty-name`, and what they are.
    pub os: Option<Vec<(&'static str, String)>>,
    /// Its time zone: name, and seconds east of UTC.
    pub timezone: Option<(Option<String>, i64)>,
    /// Its name.
    pub hostname: Option<String>,
    /// Its file systems.
    pub filesystems: Option<Vec<GuestFilesystem>>,
    /// Its network cards.
    pub interfaces: Option<Vec<GuestInterface>>,
}

/// The agent's own language.
#[async_trait]
pub trait RawAgent: Send + Sync {
    /// Executes a command as it is written and gives the answer as text, an error of the agent included.
    async fn command(&self, text: &str, timeout: Duration) -> Result<String>;
}
