//! The agent in the guest, over the channel `org.qemu.guest_agent.0`.
//!
//! A lane of its own: one command at a time, in line, and nothing else waits for it. Before the channel is used QEMU is asked whether a
//! program in the guest has it open, so that a guest without an agent is told so at once and not after a deadline.

mod disks;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use polyvirt_core::{
    Error, ErrorKind, GuestAccounts, GuestAddresses, GuestClock, GuestDisk, GuestFilesystem, GuestFilesystems,
    GuestHostname, GuestInfo, GuestInfoKind, GuestInfoRecord, GuestInterface, GuestSshKeys, GuestVcpu, GuestVcpus,
    RawAgent, Result, SecretText, SleepTarget, SshKeysHow, async_trait,
    model::{
        DomainConfig,
        chardev::{ChannelTargetType, CharBackend, CharMode},
    },
};
use polyvirt_qmp::{
    Command, QueryChardev,
    agent::{self, AgentError, commands},
};
use tokio::{sync::MutexGuard, time::Instant};

use super::QemuDomain;

/// The channel's name.
const CHANNEL: &str = "org.qemu.guest_agent.0";

/// How long an agent may take for what is done at once.
const SOON: Duration = Duration::from_secs(10);

/// How long it may take to write out all that is dirty.
const FREEZE: Duration = Duration::from_secs(60);

/// How long it may take to look through all file systems.
const TRIM: Duration = Duration::from_secs(600);

/// How long a refusal to power off may take.
const REFUSAL: Duration = Duration::from_secs(2);

/// More of anything than that no guest has.
const MANY: usize = 4096;

/// The socket of a channel that an agent has open, and the turn to use it until then.
struct Turn<'a> {
    path: PathBuf,
    until: Instant,
    _turn: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl QemuDomain {
    /// Waits for the turn to speak to the agent.
    async fn turn(&self, within: Duration) -> Result<Turn<'_>> {
        let until = Instant::now() + within;
        let (path, label) = self.channel()?;
        let turn = tokio::time::timeout_at(until, self.shared.agent.lock()).await.map_err(|_| {
            Error::new(ErrorKind::Busy, format!("the guest agent is busy with another command for {within:?}"))
                .hint("try again in a moment")
        })?;
        let known = self.shared.execute(&QueryChardev {}).await?;
        if !known.iter().any(|it| it.label == label && it.frontend_open) {
            return Err(Error::new(ErrorKind::InvalidState, "no guest agent is connected")
                .hint("install and start qemu-guest-agent in the guest, or wait until it has started"));
        }
        Ok(Turn { path, until, _turn: turn })
    }

    /// The channel's socket and QEMU's name of it.
    fn channel(&self) -> Result<(PathBuf, String)> {
        let live = self.shared.live();
        let mut channels = live.config.devices.channels.iter().enumerate();
        let ours = channels.find(|(_, it)| {
            let named = |it: &&polyvirt_core::model::chardev::ChannelTarget| {
                it.kind == Some(ChannelTargetType::Virtio) && it.name.as_deref() == Some(CHANNEL)
            };
            it.target.as_ref().filter(named).is_some()
        });
        let (at, channel) = ours.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the guest has no channel for an agent").hint(format!(
                "add <channel type='unix'><target type='virtio' name='{CHANNEL}'/></channel> and start it again"
            ))
        })?;
        let source = channel.backend.source.first();
        let connects = matches!(source.and_then(|it| it.mode), Some(CharMode::Connect | CharMode::Client));
        if channel.kind != Some(CharBackend::Unix) || connects {
            return Err(Error::new(ErrorKind::Unsupported, "the agent's channel is no socket that QEMU listens on")
                .hint("write <channel type='unix'> without a source"));
        }
        let given = source.and_then(|it| it.path.as_ref()).filter(|it| !it.is_empty());
        let own = || self.shared.parts.places.folders.run.join(format!("channel{at}"));
        let alias = channel.info.alias.as_ref().map_or("", |it| &it.name);
        Ok((given.map_or_else(own, PathBuf::from), format!("char{alias}")))
    }

    async fn agent<C: Command + Sync>(&self, command: &C, within: Duration) -> Result<C::Reply> {
        let turn = self.turn(within).await?;
        agent::execute(&turn.path, command, turn.left()).await.map_err(failed)
    }

    /// Has the agent do what is only answered if it does not work.
    async fn agent_tell<C: Command + Sync>(&self, command: &C) -> Result<()> {
        let turn = self.turn(SOON).await?;
        agent::execute_unanswered(&turn.path, command, turn.left(), REFUSAL).await.map(drop).map_err(failed)
    }

    /// Has the agent power the guest off, or reboot it.
    pub(super) async fn agent_power(&self, mode: &'static str) -> Result<()> {
        self.agent_tell(&commands::Shutdown { mode }).await
    }

    /// Has the agent send the guest to sleep.
    pub(super) async fn agent_sleep(&self, to: SleepTarget) -> Result<()> {
        match to {
            SleepTarget::Memory => self.agent_tell(&commands::SuspendRam {}).await,
            SleepTarget::Disk => self.agent_tell(&commands::SuspendDisk {}).await,
            SleepTarget::Hybrid => self.agent_tell(&commands::SuspendHybrid {}).await,
            other => Err(Error::new(ErrorKind::Unsupported, format!("the guest agent has no word for {other:?}"))),
        }
    }
}

fn failed(error: AgentError) -> Error {
    let kind = match &error {
        AgentError::Timeout { .. } => ErrorKind::Timeout,
        AgentError::Refused { class, .. } if class == "CommandNotFound" => ErrorKind::Unsupported,
        AgentError::Encode { .. } => ErrorKind::InvalidArgument,
        _ => ErrorKind::Hypervisor,
    };
    let told = Error::new(kind, error.to_string());
    let told = match kind {
        ErrorKind::Timeout => {
            told.hint("see whether the agent in the guest still runs; what it was told it may yet do")
        }
        ErrorKind::Unsupported => {
            told.hint("a newer qemu-guest-agent may know the command, or it is switched off there")
        }
        _ => told,
    };
    told.source(error)
}

#[async_trait]
impl GuestHostname for QemuDomain {
    async fn hostname(&self) -> Result<String> {
        Ok(self.agent(&commands::GetHostName {}, SOON).await?.host_name)
    }
}

#[async_trait]
impl GuestAddresses for QemuDomain {
    async fn addresses(&self) -> Result<Vec<GuestInterface>> {
        let cards = self.agent(&commands::NetworkGetInterfaces {}, SOON).await?;
        Ok(cards.into_iter().take(MANY).map(interface).collect())
    }
}

/// Addresses that are none are left out.
fn interface(card: commands::NetworkInterface) -> GuestInterface {
    let address = |it: &commands::IpAddress| Some((it.ip_address.parse::<IpAddr>().ok()?, it.prefix));
    let mut told = GuestInterface::default();
    told.addresses = card.ip_addresses.iter().filter_map(address).collect();
    (told.name, told.mac) = (card.name, card.hardware_address);
    told
}

#[async_trait]
impl GuestFilesystems for QemuDomain {
    async fn freeze(&self, mountpoints: &[String]) -> Result<u32> {
        let mountpoints = (!mountpoints.is_empty()).then_some(mountpoints);
        self.agent(&commands::FsfreezeFreezeList { mountpoints }, FREEZE).await
    }

    async fn thaw(&self) -> Result<u32> {
        self.agent(&commands::FsfreezeThaw {}, FREEZE).await
    }

    async fn trim(&self, minimum: u64) -> Result<()> {
        let minimum = (minimum > 0).then_some(minimum);
        self.agent(&commands::Fstrim { minimum }, TRIM).await.map(drop)
    }

    async fn list(&self) -> Result<Vec<GuestFilesystem>> {
        let found = self.agent(&commands::GetFsinfo {}, SOON).await?;
        let live = self.shared.live();
        Ok(found.into_iter().take(MANY).map(|it| filesystem(it, &live.config)).collect())
    }
}

fn filesystem(it: commands::Filesystem, config: &DomainConfig) -> GuestFilesystem {
    let mut told = GuestFilesystem::default();
    let disk = |it: commands::DiskAddress| {
        let mut told = GuestDisk::default();
        told.target = disks::target(&it, config);
        (told.device, told.serial) = (it.dev, it.serial);
        told
    };
    told.disks = it.disk.into_iter().take(MANY).map(disk).collect();
    (told.mountpoint, told.name, told.kind) = (it.mountpoint, it.name, it.r#type);
    (told.used, told.total) = (it.used_bytes, it.total_bytes);
    told
}

#[async_trait]
impl GuestClock for QemuDomain {
    async fn time(&self) -> Result<Duration> {
        let time = self.agent(&commands::GetTime {}, SOON).await?;
        let time = u64::try_from(time).map(Duration::from_nanos);
        time.map_err(|_| Error::new(ErrorKind::Hypervisor, "the guest agent says that it is before 1970"))
    }

    async fn set_time(&self, to: Option<Duration>) -> Result<()> {
        let time = to.map(|it| i64::try_from(it.as_nanos())).transpose();
        let time = time.map_err(|_| Error::new(ErrorKind::InvalidArgument, "a time after the year 2262"))?;
        self.agent(&commands::SetTime { time }, SOON).await.map(drop)
    }
}

#[async_trait]
impl GuestAccounts for QemuDomain {
    async fn set_password(&self, user: &str, password: &SecretText, crypted: bool) -> Result<()> {
        let password = base64(password.reveal().as_bytes());
        self.agent(&commands::SetUserPassword { username: user, password, crypted }, SOON).await.map(drop)
    }
}

/// As the agent wants passwords (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| -> [char; 4] {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        let sign = |at: usize| match at > three.len() {
            true => '=',
            false => char::from(SIGNS[bits >> (18 - 6 * at) & 63]),
        };
        [0, 1, 2, 3].map(sign)
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[async_trait]
impl GuestSshKeys for QemuDomain {
    async fn keys(&self, user: &str) -> Result<Vec<String>> {
        Ok(self.agent(&commands::SshGetAuthorizedKeys { username: user }, SOON).await?.keys)
    }

    async fn set_keys(&self, user: &str, keys: &[String], how: SshKeysHow) -> Result<()> {
        let username = user;
        match how {
            SshKeysHow::Remove => {
                self.agent(&commands::SshRemoveAuthorizedKeys { username, keys }, SOON).await.map(drop)
            }
            how => {
                let reset = how == SshKeysHow::Replace;
                self.agent(&commands::SshAddAuthorizedKeys { username, keys, reset }, SOON).await.map(drop)
            }
        }
    }
}

#[async_trait]
impl GuestVcpus for QemuDomain {
    async fn list(&self) -> Result<Vec<GuestVcpu>> {
        let told = self.agent(&commands::GetVcpus {}, SOON).await?;
        let vcpus = told.iter().take(MANY).map(|it| GuestVcpu::new(it.logical_id, it.online, it.can_offline));
        let mut vcpus: Vec<_> = vcpus.collect();
        vcpus.sort_unstable_by_key(|it| it.id);
        Ok(vcpus)
    }

    async fn set(&self, vcpus: &[u32], online: bool) -> Result<()> {
        let one = |id: &u32| commands::LogicalProcessor { logical_id: *id, online, can_offline: false };
        let wanted = commands::SetVcpus { vcpus: vcpus.iter().map(one).collect() };
        let done = self.agent(&wanted, SOON).await?;
        if usize::try_from(done) == Ok(vcpus.len()) {
            return Ok(());
        }
        let word = if online { "on" } else { "off" };
        let message = format!("the guest switched {done} of {} vCPUs {word}", vcpus.len());
        Err(Error::new(ErrorKind::Hypervisor, message).hint("`polyvirt guestvcpus DOMAIN` shows which it has"))
    }
}

#[async_trait]
impl GuestInfo for QemuDomain {
    async fn collect(&self, which: &[GuestInfoKind]) -> Result<GuestInfoRecord> {
        let mut told = GuestInfoRecord::default();
        self.channel()?;
        for kind in which {
            match self.fact(*kind, &mut told).await {
                // An agent that is too old for one kind is not for others.
                Err(error) if error.kind() == ErrorKind::Unsupported && which.len() > 1 => {}
                other => other?,
            }
        }
        Ok(told)
    }
}

impl QemuDomain {
    async fn fact(&self, kind: GuestInfoKind, told: &mut GuestInfoRecord) -> Result<()> {
        match kind {
            GuestInfoKind::Users => {
                let users = self.agent(&commands::GetUsers {}, SOON).await?;
                told.users = Some(users.into_iter().take(MANY).map(|it| (it.user, it.login_time)).collect());
            }
            GuestInfoKind::Os => told.os = Some(os(self.agent(&commands::GetOsinfo {}, SOON).await?)),
            GuestInfoKind::Timezone => {
                let zone = self.agent(&commands::GetTimezone {}, SOON).await?;
                told.timezone = Some((zone.zone, zone.offset));
            }
            GuestInfoKind::Hostname => told.hostname = Some(self.hostname().await?),
            GuestInfoKind::Filesystems => told.filesystems = Some(GuestFilesystems::list(self).await?),
            GuestInfoKind::Interfaces => told.interfaces = Some(self.addresses().await?),
            _ => {}
        }
        Ok(())
    }
}

fn os(it: commands::OsInfo) -> Vec<(&'static str, String)> {
    let all = [
        ("id", it.id),
        ("name", it.name),
        ("pretty-name", it.pretty_name),
        ("version", it.version),
        ("version-id", it.version_id),
        ("kernel-release", it.kernel_release),
        ("kernel-version", it.kernel_version),
        ("machine", it.machine),
        ("variant", it.variant),
        ("variant-id", it.variant_id),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[async_trait]
impl RawAgent for QemuDomain {
    async fn command(&self, text: &str, timeout: Duration) -> Result<String> {
        let turn = self.turn(timeout).await?;
        let told = agent::execute_text(&turn.path, text, turn.left()).await.map_err(failed)?;
        Ok(told.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 4648, section 10.
    #[test]
    fn base64_as_in_its_rfc() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
