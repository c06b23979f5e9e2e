//! One guest, as an embedder holds it.

use std::{future::Future, sync::Arc};

use polyvirt_core::{
    ByteStream, Destroy, DeviceRef, Domain, DomainId, Error, ErrorKind, EventKind, GuestRef, GuestState, KeyPress,
    Result, Screenshot, Shutdown, StateReason, StopReason, VcpuState,
    model::{DomainConfig, FormatOptions},
    placement::{Kib, Plan},
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    actor::{Change, Command, Held, Left, Origin, Reply, not_running},
    connection::Connection,
    store::{Definition, StatusRecord, blocking},
};

/// A guest. Clones are the same guest; holding one keeps the connection open.
#[derive(Clone, Debug)]
pub struct Guest {
    pub(crate) connection: Connection,
    name: String,
    uuid: Uuid,
}

/// A line of a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GuestEntry {
    /// Its name.
    pub name: String,
    /// Its UUID; `None` when the definition is broken.
    pub uuid: Option<Uuid>,
    /// Its number while it runs.
    pub id: Option<DomainId>,
    /// What it does, as last known.
    pub state: GuestState,
    /// vCPUs it starts with.
    pub vcpus: u32,
    /// vCPUs it can have at most.
    pub max_vcpus: u32,
    /// Memory it has.
    pub memory: Kib,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Whether a definition is stored.
    pub persistent: bool,
    /// What is wrong with its files.
    pub problem: Option<String>,
}

impl GuestEntry {
    /// Of a guest of which only the name is known.
    #[must_use]
    pub fn transient(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            uuid: None,
            id: None,
            state: GuestState::ShutOff(StopReason::Unknown),
            vcpus: 0,
            max_vcpus: 0,
            memory: Kib(0),
            autostart: false,
            persistent: false,
            problem: None,
        }
    }

    pub(crate) fn describe(&mut self, config: &DomainConfig) {
        self.uuid = config.uuid;
        self.vcpus = config.vcpus_online();
        self.max_vcpus = config.vcpus_max();
        self.memory = config.memory_total();
    }

    pub(crate) fn is_running(&mut self, record: &StatusRecord, alive: bool) {
        if alive {
            self.id = record.guest.id;
            self.state = record.state.clone();
        }
        match record.live() {
            Ok(live) if alive => self.describe(&live.config),
            Ok(_) => {}
            Err(error) => self.problem = Some(error.to_string()),
        }
    }
}

/// What is known of a guest, stored and running.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GuestView {
    /// The line of a list.
    pub entry: GuestEntry,
    /// The stored definition.
    pub stored: Option<Arc<DomainConfig>>,
    /// The definition of the running guest.
    pub live: Option<DomainConfig>,
    /// Where the running guest was put.
    pub plan: Option<Plan>,
    /// Why it is in its state, as last known; none when it does not run.
    pub reason: Option<StateReason>,
}

/// Which definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which {
    /// That of the running guest, else the stored one.
    #[default]
    Current,
    /// The stored one.
    Stored,
    /// That of the running guest.
    Live,
}

/// How a guest is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartOptions {
    /// Leave its CPUs stopped.
    pub paused: bool,
    /// Drop its managed save, if it has one, and boot it.
    pub force_boot: bool,
    /// The host shall not keep its managed save in memory.
    pub bypass_cache: bool,
}

impl StartOptions {
    /// The usual way.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`StartOptions::paused`].
    #[must_use]
    pub fn paused(mut self, paused: bool) -> Self {
        self.paused = paused;
        self
    }

    /// Sets [`StartOptions::force_boot`].
    #[must_use]
    pub fn force_boot(mut self, force: bool) -> Self {
        self.force_boot = force;
        self
    }

    /// Sets [`StartOptions::bypass_cache`].
    #[must_use]
    pub fn bypass_cache(mut self, bypass: bool) -> Self {
        self.bypass_cache = bypass;
        self
    }
}

impl Guest {
    pub(crate) fn new(connection: Connection, name: String, uuid: Uuid) -> Self {
        Self { connection, name, uuid }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its UUID.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    pub(crate) fn reference(&self) -> GuestRef {
        GuestRef::new(&self.name, self.uuid.to_string(), None)
    }

    pub(crate) async fn files(&self) -> Result<(Option<Definition>, Option<StatusRecord>)> {
        let (shared, name) = (self.connection.shared.clone(), self.name.clone());
        blocking(move || {
            let record = shared.records.get(&name)?.filter(|record| shared.is_alive(record));
            Ok((shared.definitions.get(&name)?, record))
        })
        .await
    }

    /// What is known of it. Asks no hypervisor and takes no locks.
    ///
    /// # Errors
    /// `NotFound` when it is neither defined nor running any more.
    pub async fn view(&self) -> Result<GuestView> {
        let (stored, record) = self.files().await?;
        if stored.is_none() && record.is_none() {
            return Err(Error::new(ErrorKind::NotFound, format!("the guest '{}' is gone", self.name)));
        }
        let mut entry = GuestEntry::transient(&self.name);
        if let Some(stored) = &stored {
            entry.persistent = true;
            entry.describe(&stored.config);
            let (definitions, name) = (self.connection.shared.definitions.clone(), self.name.clone());
            entry.autostart = blocking(move || definitions.autostart(&name)).await?;
        }
        let mut live = None;
        if let Some(record) = &record {
            entry.is_running(record, true);
            live = Some(record.live()?.config);
        }
        let reason = record.as_ref().and_then(|it| it.reason);
        Ok(GuestView { entry, stored: stored.map(|d| d.config), live, plan: record.and_then(|r| r.plan), reason })
    }

    /// What it is doing, as last known.
    ///
    /// # Errors
    /// Those of [`Guest::view`].
    pub async fn state(&self) -> Result<GuestState> {
        Ok(self.view().await?.entry.state)
    }

    /// A definition as XML, its secrets left out.
    ///
    /// # Errors
    /// `InvalidState` for the live definition of a guest that does not run; `NotFound` for the stored one of a transient guest.
    pub async fn xml(&self, which: Which) -> Result<String> {
        self.xml_with(which, FormatOptions::new()).await
    }

    /// A definition as XML with its secrets, such as passwords of displays: to change it and store it again.
    ///
    /// # Errors
    /// Those of [`Guest::xml`].
    pub async fn xml_with_secrets(&self, which: Which) -> Result<String> {
        self.xml_with(which, FormatOptions::new().secure()).await
    }

    async fn xml_with(&self, which: Which, format: FormatOptions) -> Result<String> {
        let (stored, record) = self.files().await?;
        let stored = || {
            stored.map(|d| d.config.to_xml_with(format)).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("the guest '{}' has no stored definition", self.name))
                    .hint("it is transient; store one with define")
            })
        };
        match (which, record) {
            (Which::Current | Which::Live, Some(record)) => Ok(record.live()?.config.to_xml_with(format)),
            (Which::Live, None) => Err(not_running(&self.name)),
            (Which::Current | Which::Stored, _) => stored(),
        }
    }

    /// Where the definition is stored.
    ///
    /// # Errors
    /// `NotFound` when none is.
    pub async fn definition_path(&self) -> Result<std::path::PathBuf> {
        let stored = self.files().await?.0;
        stored.map(|d| d.path).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the guest '{}' has no stored definition", self.name))
        })
    }

    /// Starts it: continues it from its managed save if it has one, else boots it.
    ///
    /// # Errors
    /// `InvalidState` when it runs; `Busy`; `NoResources` when it fits nowhere; else with the stage, the cause and the remedy, and
    /// nothing is left of the start.
    pub async fn start(&self, paused: bool) -> Result<()> {
        self.start_with(StartOptions::new().paused(paused)).await
    }

    /// Starts it in another way than the usual one.
    ///
    /// # Errors
    /// Those of [`Guest::start`].
    pub async fn start_with(&self, options: StartOptions) -> Result<()> {
        let stored = self.files().await?.0;
        let stored = stored.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidState,
                format!("the guest '{}' has no stored definition to start from", self.name),
            )
        })?;
        self.start_config(stored.config, options).await
    }

    pub(crate) async fn start_config(&self, config: Arc<DomainConfig>, options: StartOptions) -> Result<()> {
        let origin = Origin::Definition { config, options };
        self.ask(|reply| Command::Start { origin, reply }).await
    }

    /// Asks it to power off; returns when it was asked.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `Busy`.
    pub async fn shutdown(&self, how: Shutdown) -> Result<()> {
        if how == Shutdown::Agent {
            // The guest may keep silent, and no change shall wait for that.
            return self.domain().await?.shutdown(how).await;
        }
        self.simple("shutdown", move |it| async move { it.domain.shutdown(how).await }).await
    }

    /// Asks it to boot again; returns when it was asked.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `Busy`; `Unsupported`.
    pub async fn reboot(&self, how: Shutdown) -> Result<()> {
        if how == Shutdown::Agent {
            let driver = self.connection.driver().descriptor().name;
            let domain = self.domain().await?;
            return domain.reboot().ok_or_else(|| Error::unsupported(driver, "reboot"))?.reboot(how).await;
        }
        self.simple("reboot", move |it| async move {
            it.domain.reboot().ok_or_else(|| it.missing("reboot"))?.reboot(how).await
        })
        .await
    }

    /// Presses its reset button.
    ///
    /// # Errors
    /// As [`Guest::reboot`].
    pub async fn reset(&self) -> Result<()> {
        self.simple("reset", |it| async move { it.domain.reset().ok_or_else(|| it.missing("reset"))?.reset().await })
            .await
    }

    /// Stops its CPUs.
    ///
    /// # Errors
    /// As [`Guest::reboot`].
    pub async fn suspend(&self) -> Result<()> {
        let work = |it: Held| async move {
            it.domain.pause().ok_or_else(|| it.missing("suspend"))?.suspend().await?;
            Ok(Left::state(GuestState::Paused, StateReason::User))
        };
        self.change(Change::new("suspend", work)).await
    }

    /// Continues its CPUs.
    ///
    /// # Errors
    /// As [`Guest::reboot`].
    pub async fn resume(&self) -> Result<()> {
        let work = |it: Held| async move {
            it.domain.pause().ok_or_else(|| it.missing("resume"))?.resume().await?;
            Ok(Left::state(GuestState::Running, StateReason::Unpaused))
        };
        self.change(Change::new("resume", work)).await
    }

    /// Presses keys on its keyboard and lets them go.
    ///
    /// # Errors
    /// As [`Guest::reboot`]; `InvalidState` when it is paused.
    pub async fn send_keys(&self, keys: KeyPress) -> Result<()> {
        self.simple("send-key", move |it| async move {
            it.domain.keyboard().ok_or_else(|| it.missing("send-key"))?.send(&keys).await
        })
        .await
    }

    /// Sends it an interrupt that it cannot mask.
    ///
    /// # Errors
    /// As [`Guest::reboot`].
    pub async fn inject_nmi(&self) -> Result<()> {
        self.simple("inject-nmi", |it| async move {
            it.domain.nmi().ok_or_else(|| it.missing("inject-nmi"))?.inject().await
        })
        .await
    }

    /// Ends it, as pulling the plug does. Comes before whatever else is under way.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `Busy` when another process owns it.
    pub async fn destroy(&self, how: Destroy) -> Result<()> {
        self.connection.actor(&self.name).destroy(how).await
    }

    /// Removes its definition. A running guest goes on and becomes transient.
    ///
    /// # Errors
    /// `NotFound` when it has none; `InvalidState` when it has a managed save or snapshots, which would be lost.
    pub async fn undefine(&self) -> Result<()> {
        if self.has_managed_save().await? {
            let message = format!("the guest '{}' has a managed save, which would be lost", self.name);
            return Err(Error::new(ErrorKind::InvalidState, message)
                .hint("drop it with `undefine --managed-save` or managedsave-remove, or start the guest from it"));
        }
        if self.has_snapshots().await? {
            let message = format!("the guest '{}' has snapshots, which nobody would know any more", self.name);
            return Err(Error::new(ErrorKind::InvalidState, message).hint(
                "delete them with snapshot-delete, or forget them with `undefine --snapshots-metadata`: the images keep what they have",
            ));
        }
        let (shared, guest) = (self.connection.shared.clone(), self.reference());
        blocking(move || {
            shared.jobs.forget(&guest.name);
            shared.snapshots.forget(&guest.name)?;
            shared.definitions.remove(&guest.name, || shared.history.tell(guest.clone(), EventKind::Undefined))
        })
        .await
    }

    /// Whether it starts with the host.
    ///
    /// # Errors
    /// `NotFound` for a transient guest.
    pub async fn set_autostart(&self, on: bool) -> Result<()> {
        let (definitions, name) = (self.connection.shared.definitions.clone(), self.name.clone());
        blocking(move || definitions.set_autostart(&name, on)).await
    }

    /// What its vCPUs do, and where. Asks the hypervisor.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `Busy`; `Unsupported`.
    pub async fn vcpus(&self) -> Result<Vec<VcpuState>> {
        let domain = self.domain().await?;
        let driver = self.connection.driver().descriptor().name;
        domain.vcpu_info().ok_or_else(|| Error::unsupported(driver, "vCPU information"))?.vcpus().await
    }

    /// Takes a picture of a screen, counted from 0 over all video cards.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `NotFound` when it has no such screen; `Unsupported`.
    pub async fn screenshot(&self, screen: u32) -> Result<Screenshot> {
        let domain = self.domain().await?;
        let driver = self.connection.driver().descriptor().name;
        domain.screen().ok_or_else(|| Error::unsupported(driver, "screenshots"))?.shot(screen).await
    }

    /// Opens a console; the first serial port or console when none is named.
    ///
    /// # Errors
    /// `InvalidState` when it does not run; `NotFound` when it has no such console; `Unsupported`.
    pub async fn console(&self, device: Option<DeviceRef>) -> Result<ByteStream> {
        let domain = self.domain().await?;
        let driver = self.connection.driver().descriptor().name;
        let device = match device {
            Some(device) => device,
            None => {
                let live = self.view().await?.live.ok_or_else(|| not_running(&self.name))?;
                let kind = default_console(&live).ok_or_else(|| {
                    Error::new(
                        ErrorKind::NotFound,
                        format!("the guest '{}' has neither a console nor a serial port", self.name),
                    )
                    .hint("add <console type='pty'/> to its devices")
                })?;
                DeviceRef::new(kind, 0)
            }
        };
        domain.consoles().ok_or_else(|| Error::unsupported(driver, "consoles"))?.open(&device).await
    }

    /// The running guest itself, for questions that change nothing.
    pub(crate) async fn domain(&self) -> Result<Arc<dyn Domain>> {
        self.connection.actor(&self.name).look_within(self.connection.shared.options.wait_for_owner).await
    }

    /// Gives it up, so that another process can change it; it goes on running.
    ///
    /// # Errors
    /// None that a caller could act on.
    pub async fn release(&self) -> Result<()> {
        self.ask(|reply| Command::Release { reply }).await
    }

    pub(crate) async fn change(&self, what: Change) -> Result<()> {
        self.ask(|reply| Command::Do { what, reply }).await
    }

    /// A change by one call that leaves nothing but what the guest itself tells.
    async fn simple<F>(&self, name: &'static str, call: impl FnOnce(Held) -> F + Send + 'static) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.change(Change::new(name, move |held| async move { call(held).await.map(|()| Left::nothing()) })).await
    }

    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let patience = self.connection.shared.options.wait_for_owner;
        self.connection.actor(&self.name).ask(&self.name, patience, command).await
    }
}

/// What `console` attaches to when nothing is named, as virsh chooses: the first console, else the first serial port.
fn default_console(config: &DomainConfig) -> Option<&'static str> {
    let devices = &config.devices;
    if !devices.consoles.is_empty() {
        Some("console")
    } else if !devices.serials.is_empty() {
        Some("serial")
    } else {
        None
    }
}
