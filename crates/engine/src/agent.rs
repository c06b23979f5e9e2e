//! The agent in a guest, asked beside whatever is done to the guest by its hypervisor: a hung one keeps nobody but its own callers.

use std::{sync::Arc, time::Duration};

use polyvirt_core::{
    Domain, Error, GuestFilesystem, GuestInfoKind, GuestInfoRecord, GuestInterface, GuestVcpu, Result, SecretText,
    SshKeysHow,
};

use crate::guest::Guest;

/// Asks the agent through a capability, or says that the driver has none.
macro_rules! agent {
    ($self:ident . $capability:ident $(. $call:ident ( $($argument:expr),* ))?) => {{
        let domain: Arc<dyn Domain> = $self.domain().await?;
        let driver = $self.connection.driver().descriptor().name;
        domain.$capability().ok_or_else(|| Error::unsupported(driver, "guest agent"))?$(.$call($($argument),*).await)?
    }};
}

/// Each fails with `InvalidState` when the guest does not run or no agent is connected, `Unsupported` when there is no channel for one or
/// it does not know the command, `Timeout` when it keeps silent, `Hypervisor` with its own words when it refuses.
impl Guest {
    /// The name that it has for itself.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn hostname(&self) -> Result<String> {
        agent!(self.guest_hostname.hostname())
    }

    /// Its network cards and their addresses, as it has them.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn addresses(&self) -> Result<Vec<GuestInterface>> {
        agent!(self.guest_addresses.addresses())
    }

    /// Stops writes to these file systems, or to all if none is named; how many were frozen.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn freeze(&self, mountpoints: &[String]) -> Result<u32> {
        agent!(self.guest_filesystems.freeze(mountpoints))
    }

    /// Lets file systems go on; how many did.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn thaw(&self) -> Result<u32> {
        agent!(self.guest_filesystems.thaw())
    }

    /// Gives unused blocks of at least `minimum` bytes in a row back to the host.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn trim(&self, minimum: u64) -> Result<()> {
        agent!(self.guest_filesystems.trim(minimum))
    }

    /// Its file systems that are mounted.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn filesystems(&self) -> Result<Vec<GuestFilesystem>> {
        agent!(self.guest_filesystems.list())
    }

    /// The time in it, since 1970.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn time(&self) -> Result<Duration> {
        agent!(self.guest_clock.time())
    }

    /// Sets its clock: to this time since 1970, or from its hardware clock.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn set_time(&self, to: Option<Duration>) -> Result<()> {
        agent!(self.guest_clock.set_time(to))
    }

    /// Sets a password; `crypted`: it is a hash as the guest stores them.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn set_password(&self, user: &str, password: &SecretText, crypted: bool) -> Result<()> {
        agent!(self.guest_accounts.set_password(user, password, crypted))
    }

    /// Keys with which a user may log in.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn ssh_keys(&self, user: &str) -> Result<Vec<String>> {
        agent!(self.guest_ssh_keys.keys(user))
    }

    /// Changes them.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn set_ssh_keys(&self, user: &str, keys: &[String], how: SshKeysHow) -> Result<()> {
        agent!(self.guest_ssh_keys.set_keys(user, keys, how))
    }

    /// Its vCPUs, as it has them.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn guest_vcpus(&self) -> Result<Vec<GuestVcpu>> {
        agent!(self.guest_vcpus.list())
    }

    /// Switches vCPUs on or off in it.
    ///
    /// # Errors
    /// Those of all questions to an agent; `Hypervisor` when it did so with some alone.
    pub async fn set_guest_vcpus(&self, vcpus: &[u32], online: bool) -> Result<()> {
        agent!(self.guest_vcpus.set(vcpus, online))
    }

    /// What it tells of its system.
    ///
    /// # Errors
    /// Those of all questions to an agent.
    pub async fn guest_info(&self, which: &[GuestInfoKind]) -> Result<GuestInfoRecord> {
        agent!(self.guest_info.collect(which))
    }

    /// Executes a command in the agent's own language and gives its answer as text.
    ///
    /// # Errors
    /// Those of all questions to an agent, but an error of the agent is an answer; `InvalidArgument` for what is no command.
    pub async fn agent_command(&self, text: &str, timeout: Duration) -> Result<String> {
        agent!(self.raw_agent.command(text, timeout))
    }
}
