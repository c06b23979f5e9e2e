//! Devices that change in their places: another medium in a drive, a cable put in or pulled out, another password of a display.

use std::{sync::Arc, time::Duration};

use polyvirt_core::{
    DeviceChange, DeviceUpdate, Error, ErrorKind, LiveEffect, Result, async_trait,
    model::{
        device::Device,
        disk::{Disk, DiskDevice},
        memory_device::{MemoryDevice, MemoryModel},
    },
};
use polyvirt_qmp::{Command, Empty, Monitor, QmpError};
use serde::Serialize;

use super::{QemuDomain, Shared, cards};
use crate::{
    command::disk,
    failure::monitor_error,
    orders,
    plug::{self, Difference, Kind, Part},
};

/// How long QEMU may take for one order.
const ORDER: Duration = Duration::from_secs(20);

/// How long a guest may take to open a drive that it has locked.
const EJECTED: Duration = Duration::from_secs(3);

/// How long to wait before looking again.
const MOMENT: Duration = Duration::from_millis(100);

/// What is to be done about one device.
enum Task<'a> {
    /// Put another medium in, or none.
    Medium(&'a Disk),
    /// Bring a card to another port, put a cable in or pull it out.
    Card(cards::Task<'a>),
    /// Ask the guest to use so many bytes of a memory device.
    Memory { device: &'a str, bytes: u64 },
    /// Say another password.
    Password(&'a polyvirt_core::model::display::Graphics),
}

#[async_trait]
impl DeviceUpdate for QemuDomain {
    async fn update(&self, change: &DeviceChange, force: bool) -> Result<Vec<LiveEffect>> {
        let shared = &self.shared;
        let (before, after) = (&change.before.config, &change.after.config);
        let changed = after.devices.changed_since(&before.devices);
        let difference = shared.builder()?.between(before, after, change.plan.as_ref(), &[])?;
        let tasks = changed.iter().map(|(was, is)| task(was, is)).collect::<Result<Vec<_>>>()?;
        for task in tasks {
            match task {
                Task::Medium(disk) => shared.change_medium(disk, &difference, force).await?,
                Task::Card(task) => cards::change(shared, &task).await?,
                Task::Memory { device, bytes } => {
                    let path = format!("/machine/peripheral/{device}");
                    let order = QomSet { path: &path, property: "requested-size", value: bytes };
                    let told = shared.parts.monitor.execute(&order, ORDER).await;
                    told.map_err(|error| monitor_error(&error).with("device", device))?;
                }
                Task::Password(display) => {
                    let settings = &shared.builder()?.settings;
                    orders::tell_password(&shared.parts.monitor, display, settings, ORDER)
                        .await
                        .map_err(|error| monitor_error(&error))?;
                }
            }
        }
        shared.live.send_modify(|live| {
            let devices = &mut Arc::make_mut(live).config.devices;
            for (_, is) in changed {
                if let Some((_, at)) = is.alias().and_then(|name| devices.named(&name)) {
                    devices.replace(at, is);
                }
            }
        });
        Ok(Vec::new())
    }
}

/// What has to be done to make one device the other.
fn task<'a>(was: &'a Device, is: &'a Device) -> Result<Task<'a>> {
    let (old, new) = (was.alone(), is.alone());
    if let (Some(old), Some(new)) = (old.disks.first(), new.disks.first()) {
        let mut same = old.clone();
        same.kind = new.kind;
        same.source.clone_from(&new.source);
        same.driver.clone_from(&new.driver);
        same.backing_store.clone_from(&new.backing_store);
        same.encryption.clone_from(&new.encryption);
        same.auth.clone_from(&new.auth);
        let removable = matches!(disk::device_kind(old), DiskDevice::Cdrom | DiskDevice::Floppy);
        return match (removable, same == *new) {
            (true, true) => Ok(Task::Medium(new)),
            (true, false) => Err(stays(is, "only the medium of a drive changes while the guest runs")),
            (false, _) => Err(stays(is, "a disk is not a drive with a medium; detach it and attach the other")),
        };
    }
    if let (Some(old), Some(new)) = (old.interfaces.first(), new.interfaces.first()) {
        let wrong = "of a network card <link>, the bridge and <port isolated=…> change while the guest runs; detach it and attach the other";
        return cards::task(old, new).map(Task::Card).ok_or_else(|| stays(is, wrong));
    }
    if let (Some(old), Some(new)) = (old.memories.first(), new.memories.first()) {
        let wrong =
            "of memory only <requested> of virtio-mem changes while the guest runs; detach it and attach the other";
        return requested(old, new).ok_or_else(|| stays(is, wrong));
    }
    if let (Some(old), Some(new)) = (old.graphics.first(), new.graphics.first()) {
        let mut same = old.clone();
        same.passwd.clone_from(&new.passwd);
        same.passwd_valid_to.clone_from(&new.passwd_valid_to);
        same.connected = new.connected;
        return if same == *new {
            Ok(Task::Password(new))
        } else {
            Err(stays(is, "of a display only its password changes while the guest runs"))
        };
    }
    Err(stays(is, "detach it and attach the other"))
}

/// What a guest is asked to use of a memory device.
fn requested<'a>(old: &MemoryDevice, new: &'a MemoryDevice) -> Option<Task<'a>> {
    let mut same = old.clone();
    let (target, is) = (same.target.as_mut()?, new.target.as_ref()?);
    (target.requested, target.current) = (is.requested, is.current);
    let device = &new.info.alias.as_ref().filter(|_| new.model == Some(MemoryModel::VirtioMem) && same == *new)?.name;
    Some(Task::Memory { device, bytes: is.requested.unwrap_or_default().bytes()? })
}

/// Sets a number of a device.
#[derive(Serialize)]
struct QomSet<'a> {
    path: &'a str,
    property: &'static str,
    value: u64,
}

impl Command for QomSet<'_> {
    const NAME: &'static str = "qom-set";
    type Reply = Empty;
}

fn stays(device: &Device, why: &str) -> Error {
    let message = format!("this <{}> cannot be changed so while the guest runs: {why}", device.element());
    Error::new(ErrorKind::Unsupported, message)
        .hint("change the stored definition with --config; it applies at the next start")
}

macro_rules! trays {
    ($($(#[doc = $doc:literal])+ $name:ident = $wire:literal { $($field:ident: $type:ty)? };)*) => {$(
        $(#[doc = $doc])+
        #[derive(Serialize)]
        struct $name<'a> {
            id: &'a str,
            $(#[serde(rename = "node-name")] $field: $type,)?
        }

        impl Command for $name<'_> {
            const NAME: &'static str = $wire;
            type Reply = Empty;
        }
    )*};
}

trays! {
    /// Takes the medium out of an open tray.
    RemoveMedium = "blockdev-remove-medium" {};
    /// Puts one into an open tray.
    InsertMedium = "blockdev-insert-medium" { node: &'a str };
    /// Closes the tray.
    CloseTray = "blockdev-close-tray" {};
}

/// Opens the tray; a guest that locked it is asked first, unless it is forced.
#[derive(Serialize)]
struct OpenTray<'a> {
    id: &'a str,
    force: bool,
}

impl Command for OpenTray<'_> {
    const NAME: &'static str = "blockdev-open-tray";
    type Reply = Empty;
}

impl Shared {
    /// Puts another medium into a drive, or none; what was in it comes back if that fails.
    async fn change_medium(&self, disk: &Disk, difference: &Difference, force: bool) -> Result<()> {
        let monitor = &self.parts.monitor;
        let id = disk.info.alias.as_ref().map_or("", |it| it.name.as_str());
        let drive = difference.changed.iter().find(|(was, _)| was.kind == Kind::Device && was.id == id);
        let node = |part: &Part| part.value["drive"].as_str().map(str::to_owned);
        let (old, new) = drive.map_or((None, None), |(was, is)| (node(was), node(is)));
        plug::put_in(monitor, &difference.added).await.map_err(|trouble| {
            monitor_error(&trouble.error).with("image", &trouble.part).hint("nothing was changed; look at the image")
        })?;
        if let Err(error) = swap(monitor, id, old.as_deref(), new.as_deref(), force).await {
            plug::take_out(monitor, &difference.added).await;
            let told = monitor_error(&error).with("device", id);
            return Err(match error {
                QmpError::Refused { description, .. } if is_locked(&description) => told.hint(
                    "the guest has locked the drive and was asked to open it: unmount the medium there and try again, or use --force",
                ),
                _ => told,
            });
        }
        plug::take_out(monitor, &difference.removed).await;
        Ok(())
    }
}

/// Whether the guest keeps the tray shut: QEMU says so to whoever opens it, or to who then takes the medium out.
fn is_locked(description: &str) -> bool {
    description.contains("is locked") || description.contains("is not open")
}

/// Takes the medium out as soon as the guest has opened the tray, if it does.
async fn remove_medium(monitor: &Monitor, id: &str) -> std::result::Result<(), QmpError> {
    let deadline = tokio::time::Instant::now() + EJECTED;
    loop {
        match monitor.execute(&RemoveMedium { id }, ORDER).await {
            Err(QmpError::Refused { description, .. })
                if is_locked(&description) && tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(MOMENT).await;
            }
            done => return done.map(drop),
        }
    }
}

async fn swap(
    monitor: &Monitor,
    id: &str,
    old: Option<&str>,
    new: Option<&str>,
    force: bool,
) -> std::result::Result<(), QmpError> {
    monitor.execute(&OpenTray { id, force }, ORDER).await?;
    let swapped = async {
        if old.is_some() {
            remove_medium(monitor, id).await?;
        }
        if let Some(node) = new {
            monitor.execute(&InsertMedium { id, node }, ORDER).await?;
        }
        Ok(())
    };
    let swapped = swapped.await;
    if swapped.is_err()
        && let Some(node) = old
    {
        // It may be there still; then QEMU says so.
        monitor.execute(&InsertMedium { id, node }, ORDER).await.ok();
    }
    monitor.execute(&CloseTray { id }, ORDER).await?;
    swapped
}
