//! Devices that come and go while the guest runs.
//!
//! What QEMU is told follows from two definitions ([`crate::plug`]). Here is who waits for whom: the attendant alone takes apart what
//! served a device that is gone, whoever asked for it and when; a detach waits for the attendant's word.

use std::{sync::Arc, time::Duration};

use polyvirt_core::{
    Detached, DeviceAttach, DeviceChange, DeviceDetach, DeviceRef, Error, ErrorKind, LiveConfig, LiveEffect, Result,
    async_trait,
    model::{
        DomainConfig,
        display::SoundModel,
        filesystem::{Filesystem, FilesystemDriverType},
        memory_device::MemoryModel,
    },
};
use polyvirt_qmp::{ErrorClass, QmpError, QueryChardev, SetAction};
use tokio::sync::broadcast::error::RecvError;

use super::{QemuDomain, Shared};
use crate::{
    chains,
    command::{self, ConsoleTarget, disk},
    failure::monitor_error,
    orders,
    plug::{self, Builder, Difference, Kind, Part, Trouble},
    runnable,
    taps::{self, Handed, Taps},
};

/// How long QEMU may take for one order.
const ORDER: Duration = Duration::from_secs(20);

/// What QEMU says of a device that was asked for before and has not gone yet.
const ASKED_BEFORE: &str = "already in the process of unplug";

/// What all watchdogs do; it can be told later too.
const WATCHDOG: &str = "-watchdog-action";

/// The fact of an error that names what QEMU did not let go of again.
const LEFT: &str = "left in the guest";

/// What the attendant tells of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It is gone, and what served it is.
    Gone(String),
    /// The guest keeps it.
    Kept(String),
}

#[async_trait]
impl DeviceAttach for QemuDomain {
    async fn resolve(&self, before: &LiveConfig, after: &mut LiveConfig) -> Result<()> {
        command::name_devices(&mut after.config)?;
        chains::resolve(&mut after.config).await?;
        disk::number_images(&mut after.config, disk::last_image(&before.config));
        Ok(())
    }

    async fn attach(&self, change: &DeviceChange) -> Result<Vec<LiveEffect>> {
        let (shared, builder) = (&self.shared, self.shared.builder()?);
        let (before, mut after) = (&change.before.config, change.after.config.clone());
        refuse(&after, before)?;
        runnable::check(&after, &builder.binary).map_err(Error::invalid_config)?;
        let taps = open_taps(before, &after).await?;
        let mut effects = taps.name_in(&mut after);
        let difference = builder.between(before, &after, change.plan.as_ref(), &taps::named(&taps))?;
        only_added(&difference)?;
        shared.put_in(&after, &difference, taps).await?;
        let new = after.devices.new_since(&before.devices);
        shared.live.send_modify(|live| {
            let config = &mut Arc::make_mut(live).config;
            for device in new {
                config.add_device(device);
            }
        });
        effects.extend(shared.terminals(&after, &difference).await);
        Ok(effects)
    }
}

#[async_trait]
impl DeviceDetach for QemuDomain {
    async fn detach(&self, change: &DeviceChange, within: Duration) -> Result<Detached> {
        let (shared, builder) = (&self.shared, self.shared.builder()?);
        let (before, after) = (&change.before.config, &change.after.config);
        let difference = builder.between(before, after, change.plan.as_ref(), &[])?;
        let mut waited: Vec<_> = devices(&difference.removed).map(|it| it.id.clone()).collect();
        if waited.is_empty() {
            return Err(fixed("this device is a part of the guest's machine"));
        }
        let mut news = shared.news.subscribe();
        for id in waited.clone() {
            match plug::ask_for(&shared.parts.monitor, &id).await {
                Ok(()) => {}
                Err(QmpError::Refused { class: ErrorClass::DeviceNotFound, .. }) => {
                    shared.device_gone(&id).await;
                    waited.retain(|it| *it != id);
                }
                Err(QmpError::Refused { description, .. }) if description.contains(ASKED_BEFORE) => {}
                Err(error) => return Err(cannot_go(&error, &id)),
            }
        }
        let gone = async {
            while !waited.is_empty() {
                match news.recv().await {
                    Ok(News::Gone(id)) => waited.retain(|it| *it != id),
                    Ok(News::Kept(id)) if waited.contains(&id) => return Err(kept(&id)),
                    Ok(News::Kept(_)) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(fixed("the guest ended meanwhile")),
                }
            }
            Ok(Detached::Gone)
        };
        tokio::time::timeout(within, gone).await.unwrap_or(Ok(Detached::Requested))
    }
}

impl Shared {
    /// What the command line of this guest follows from.
    pub(super) fn builder(&self) -> Result<&Builder> {
        self.parts.builder.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the emulator that this guest was started with is not there any more")
                .hint("install it again under the same path, or restart the guest")
        })
    }

    /// Hands taps over and puts parts in that use them; all or nothing.
    async fn put_in(&self, after: &DomainConfig, difference: &Difference, taps: Taps) -> Result<()> {
        let (monitor, made) = (&self.parts.monitor, taps.made());
        let handed = Handed::over(monitor, taps).await.map_err(|error| monitor_error(&error))?;
        let done = self.put_in_parts(after, difference).await;
        if let Err(error) = &done {
            handed.take_back(monitor).await;
            if error.fact(LEFT).is_none() {
                taps::remove(made).await;
            }
        }
        done
    }

    async fn put_in_parts(&self, after: &DomainConfig, difference: &Difference) -> Result<()> {
        let monitor = &self.parts.monitor;
        plug::put_in(monitor, &difference.added).await.map_err(|trouble| not_in(&trouble))?;
        let told = async {
            if let Some((_, action)) = difference.fixed.iter().find(|(option, _)| option == WATCHDOG) {
                self.execute(&SetAction { watchdog: Some(action), ..SetAction::default() }).await?;
            }
            orders::of_devices(monitor, after, |name| has(&difference.added, name), || ORDER).await
        };
        if let Err(error) = told.await {
            plug::take_out(monitor, &difference.added).await;
            return Err(error);
        }
        Ok(())
    }

    /// Takes apart what served a device that is gone, and says so.
    pub(super) async fn device_gone(&self, id: &str) {
        let live = self.live();
        if let Some((element, at)) = live.config.devices.named(id) {
            let mut after = live.config.clone();
            after.remove_device(element, at);
            let difference = self.builder().and_then(|it| it.between(&live.config, &after, None, &[]));
            match difference {
                Ok(difference) => {
                    let mut served: Vec<Part> =
                        difference.removed.into_iter().filter(|it| it.kind != Kind::Device).collect();
                    plug::with_threads(&mut served);
                    plug::take_out(&self.parts.monitor, &served).await;
                }
                Err(error) => tracing::warn!(device = id, %error, "what served a device that is gone stays"),
            }
            self.live.send_modify(|live| {
                let config = &mut Arc::make_mut(live).config;
                if let Some((element, at)) = config.devices.named(id) {
                    config.remove_device(element, at);
                }
            });
        }
        // Nobody may wait.
        self.news.send(News::Gone(id.to_owned())).ok();
    }

    /// Looks for devices that went while nobody attended the guest; names them.
    pub(super) async fn devices_missing(&self) -> Result<Vec<String>> {
        let live = self.live();
        let all = self.builder()?.parts(&live.config)?;
        let there = plug::devices(&self.parts.monitor, ORDER).await.map_err(|error| monitor_error(&error))?;
        let named = |it: &&Part| live.config.devices.named(&it.id).is_some();
        let missing = devices(&all).filter(named).filter(|it| !there.contains(&it.id));
        Ok(missing.map(|it| it.id.clone()).collect())
    }

    /// The pseudo-terminals of character devices that came.
    async fn terminals(&self, after: &DomainConfig, difference: &Difference) -> Vec<LiveEffect> {
        if !difference.added.iter().any(|it| it.kind == Kind::Chardev) {
            return Vec::new();
        }
        let Ok(chardevs) = self.execute(&QueryChardev {}).await else { return Vec::new() };
        let path = |id: &str| {
            chardevs.iter().find(|it| it.label == id)?.filename.strip_prefix("pty:").map(std::path::PathBuf::from)
        };
        let devices = &after.devices;
        let own =
            |it: &polyvirt_core::model::address::DeviceInfo| it.alias.as_ref().map(|it| format!("char{}", it.name));
        let serials =
            (0..devices.serials.len()).map(|at| ("serial", at, Some(ConsoleTarget::Serial(at).chardev(after))));
        let consoles = (0..devices.consoles.len())
            .map(|at| ("console", at, command::console_target(after, at).map(|it| it.chardev(after))));
        let channels = devices.channels.iter().enumerate().map(|(at, it)| ("channel", at, own(&it.info)));
        let found = serials.chain(consoles).chain(channels).filter_map(|(kind, at, id)| {
            let id = id.filter(|it| has(&difference.added, it))?;
            Some(LiveEffect::CharacterDevice { device: DeviceRef::new(kind, at), path: path(&id)? })
        });
        found.collect()
    }
}

/// Opens the taps of the cards that are new. A thread whose result nobody wants any more closes them again.
async fn open_taps(before: &DomainConfig, after: &DomainConfig) -> Result<Taps> {
    let old: Vec<_> = before.devices.interfaces.iter().filter_map(|it| it.info.alias.clone()).collect();
    let after = after.clone();
    let open = move || taps::open(&after, |card| !card.info.alias.as_ref().is_some_and(|name| old.contains(name)));
    let opened = tokio::task::spawn_blocking(open).await;
    opened.map_err(|error| Error::new(ErrorKind::Internal, "opening taps failed").source(error))?
}

/// What can be put into a machine that runs, by its element.
const PLUGGABLE: &[&str] = &[
    "disk",
    "controller",
    "interface",
    "memory",
    "smartcard",
    "serial",
    "console",
    "channel",
    "input",
    "sound",
    "hostdev",
    "redirdev",
    "hub",
    "watchdog",
    "rng",
    "shmem",
    "crypto",
    "vsock",
];

/// What is wired in, and what needs more of us than QEMU can be told.
fn refuse(after: &DomainConfig, before: &DomainConfig) -> Result<()> {
    for device in &after.devices.new_since(&before.devices) {
        let devices = device.alone();
        let virtiofs =
            |it: &Filesystem| it.driver.as_ref().and_then(|it| it.kind) == Some(FilesystemDriverType::Virtiofs);
        let why = if devices.filesystems.iter().any(virtiofs) {
            "its server is started before the guest"
        } else if !devices.filesystems.is_empty() {
            "QEMU opens folders for 9p at its own start alone"
        } else if devices.memories.iter().any(|it| it.model == Some(MemoryModel::SgxEpc)) {
            "the machine's processor has it"
        } else if !devices.memories.is_empty() && after.max_memory.is_none() {
            "a guest that runs without <maxMemory slots='…'> has no room for more memory"
        } else if !PLUGGABLE.contains(&device.element())
            || devices.sounds.iter().any(|it| it.model != Some(SoundModel::Usb))
        {
            "it is wired in"
        } else {
            continue;
        };
        let message = format!("this <{}> can only be had from the guest's start on: {why}", device.element());
        return Err(Error::new(ErrorKind::Unsupported, message)
            .hint("attach it to the stored definition with --config, and start the guest again"));
    }
    Ok(())
}

fn fixed(why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the device stays: {why}"))
        .hint("change the stored definition with --config; it applies at the next start")
}

/// Attaching adds; it does not touch what is there.
fn only_added(difference: &Difference) -> Result<()> {
    let Some((option, value)) = difference.fixed.iter().find(|(option, _)| option != WATCHDOG) else {
        if devices(&difference.added).next().is_some() {
            return Ok(());
        }
        return Err(Error::new(ErrorKind::Unsupported, "QEMU gets no device for this while the guest runs")
            .hint("attach it to the stored definition with --config, and start the guest again"));
    };
    let shown: String = value.chars().take(120).collect();
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("this device can only be had from the guest's start on: QEMU knows it as '{option} {shown}'"),
    )
    .hint("attach it to the stored definition with --config, and start the guest again"))
}

fn not_in(trouble: &Trouble) -> Error {
    let error = monitor_error(&trouble.error).with("device", &trouble.part);
    let error = match (&trouble.error, trouble.left.is_empty()) {
        (_, false) => error.with(LEFT, trouble.left.join(", ")),
        _ => error,
    };
    let QmpError::Refused { description, .. } = &trouble.error else { return error };
    if description.contains("expects a pluggable device type") {
        return error.hint(
            "it is had from the start on: attach it to the stored definition with --config, and start the guest again",
        );
    }
    if description.contains("does not support hotplugging") || description.contains("no slot/function available") {
        return error.hint(
            "use a bus that devices can be plugged into while the guest runs: virtio on PCI, SCSI or USB; on q35 the definition needs a free \
             <controller type='pci' model='pcie-root-port'/>, on pc <features><acpi/></features>",
        );
    }
    error
}

fn cannot_go(error: &QmpError, id: &str) -> Error {
    let told = monitor_error(error).with("device", id);
    match error {
        QmpError::Refused { description, .. } if description.contains("does not support hotplugging") => {
            told.hint("take it out of the stored definition with --config, and start the guest again")
        }
        QmpError::Refused { description, .. } if description.contains("memory devices cannot be unplugged") => {
            told.hint("have the guest give its memory back: `polyvirt update-memory-device --requested-size 0`")
        }
        _ => told,
    }
}

fn kept(id: &str) -> Error {
    Error::new(ErrorKind::InvalidState, format!("the guest keeps the device '{id}'"))
        .hint("it is in use there: unmount or unbind it in the guest, then detach again")
}

/// What of it the guest sees.
fn devices(parts: &[Part]) -> impl Iterator<Item = &Part> {
    parts.iter().filter(|it| it.kind == Kind::Device)
}

/// Whether a part of this name is among them.
fn has(parts: &[Part], id: &str) -> bool {
    parts.iter().any(|it| it.id == id)
}
