//! Devices of a guest that runs: the definition that is to be is made as for one that is stored, and the driver makes the guest so.

use std::sync::Arc;

use polyvirt_core::{
    Detached, DeviceAttach, DeviceChange, Error, ErrorKind, EventKind, LiveConfig, LiveEffect, Result,
    model::{
        DomainConfig,
        device::{Device, Meant},
    },
    placement::Plan,
};

use super::{Which, insert, memory};
use crate::{
    actor::{Change, Held, Left, Slot},
    definition,
    guest::Guest,
    shared::Shared,
    start::{apply_effects, check_resource},
    store::blocking,
};

/// How long a guest is waited for that is asked for a device.
const UNPLUG: std::time::Duration = std::time::Duration::from_secs(10);

impl Guest {
    /// Puts a device into the running guest.
    pub(super) async fn plug_in(&self, device: Device) -> Result<()> {
        let shared = self.connection.shared.clone();
        let time = shared.options.start_timeout.saturating_add(memory::time(&device));
        let work = move |it: Held| async move {
            let attach = it.domain.attach().ok_or_else(|| it.missing("attaching devices to a running guest"))?;
            let (before, plan) = (it.record.live()?, it.record.plan.clone());
            let mut after = before.clone();
            insert(&before.config.name, &mut after.config, device)?;
            complete(&shared, &mut after).await?;
            attach.resolve(&before, &mut after).await?;
            let promised = match &plan {
                Some(plan) => memory::promise(&shared, (&before, &after), plan).await?,
                None => None,
            };
            let change = DeviceChange::new(before, after, promised.clone().or_else(|| plan.clone()));
            let effects = match brought_and_attached(&shared, attach, &change).await {
                Ok(effects) => effects,
                Err(error) => {
                    if let (Some(was), Some(promised)) = (&plan, &promised) {
                        memory::rebook(&shared, promised, was).await;
                    }
                    return Err(error);
                }
            };
            let (mut after, mut plan) = (change.after, change.plan);
            apply_effects(&mut after, &mut plan, &effects);
            let new = after.config.devices.new_since(&change.before.config.devices);
            let alias = new.last().and_then(Device::alias).unwrap_or_default();
            let edit = |config: &mut DomainConfig| {
                for device in new {
                    config.add_device(device);
                }
            };
            let left = Left::live(edit).event(EventKind::DeviceAdded { alias });
            Ok(match plan.filter(|_| promised.is_some()) {
                Some(plan) => left.plan(plan),
                None => left,
            })
        };
        self.change(Change::new("attach-device", work).within(time)).await
    }

    /// Takes a device out of the running guest.
    pub(super) async fn unplug(&self, which: Which) -> Result<Detached> {
        let (shared, told) = (self.connection.shared.clone(), Slot::default());
        let slot = told.clone();
        let work = move |it: Held| async move {
            let detach = it.domain.detach().ok_or_else(|| it.missing("detaching devices of a running guest"))?;
            let before = it.record.live()?;
            let mut after = before.clone();
            let (element, at) = which.find(&before.config)?;
            if element == "disk" {
                let target = before.config.devices.disks.get(at).and_then(|it| it.target.as_ref());
                it.record.no_block_job(Some(target.map_or("", |it| &it.dev)))?;
            }
            after.config.remove_device(element, at);
            needed(&shared, &after).await?;
            let change = DeviceChange::new(before, after, it.record.plan.clone());
            // The guest's definition follows from its word that the device is gone, whenever it comes.
            slot.put(detach.detach(&change, UNPLUG).await?);
            Ok(Left::nothing())
        };
        self.change(Change::new("detach-device", work).within(UNPLUG * 4)).await?;
        told.take()
    }

    /// Changes a device of the running guest.
    pub(super) async fn change_in_place(&self, device: Device, force: bool) -> Result<()> {
        let shared = self.connection.shared.clone();
        let work = move |it: Held| async move {
            let update = it.domain.update().ok_or_else(|| it.missing("changing devices of a running guest"))?;
            let attach = it.domain.attach().ok_or_else(|| it.missing("changing devices of a running guest"))?;
            let (before, plan) = (it.record.live()?, it.record.plan.clone());
            if device.element() == "disk" {
                it.record.no_block_job(device.key().as_deref())?;
            }
            let mut after = before.clone();
            super::replace(&before.config.name, &mut after.config, &device)?;
            keep_names(&before.config, &mut after.config);
            complete(&shared, &mut after).await?;
            attach.resolve(&before, &mut after).await?;
            bring(&shared, (&before, &after), plan.as_ref()).await?;
            let changed = after.config.devices.changed_since(&before.config.devices);
            let Some(alias) = changed.last().and_then(|(_, is)| is.alias()) else { return Ok(Left::nothing()) };
            let change = DeviceChange::new(before, after, plan);
            if let Err(error) = update.update(&change, force).await {
                shared.give_back((&change.after, &change.before), change.plan.as_ref()).await;
                return Err(error);
            }
            shared.give_back((&change.before, &change.after), change.plan.as_ref()).await;
            let edit = |config: &mut DomainConfig| {
                for (_, device) in changed {
                    if let Some((element, at)) = device.alias().and_then(|name| config.devices.named(&name)) {
                        // The guest may have used more or less of it meanwhile.
                        let now = config.devices.pick(element, at);
                        config.devices.replace(at, device.used_as(now.as_ref()));
                    }
                }
            };
            Ok(Left::live(edit).event(EventKind::DeviceUpdated { alias }))
        };
        self.change(Change::new("update-device", work).within(self.connection.shared.options.start_timeout)).await
    }
}

/// A card that says nothing else is on the host what it is.
fn keep_names(before: &DomainConfig, after: &mut DomainConfig) {
    for (was, is) in after.devices.changed_since(&before.devices) {
        if let Some((_, at)) = is.alias().and_then(|name| after.devices.named(&name)) {
            after.devices.replace(at, is.running_as(Some(&was)));
        }
    }
}

/// Puts in what is new, with what it uses on the host; that is given back if it fails.
async fn brought_and_attached(
    shared: &Arc<Shared>,
    attach: &dyn DeviceAttach,
    change: &DeviceChange,
) -> Result<Vec<LiveEffect>> {
    bring(shared, (&change.before, &change.after), change.plan.as_ref()).await?;
    let attached = attach.attach(change).await;
    if attached.is_err() {
        shared.give_back((&change.after, &change.before), change.plan.as_ref()).await;
    }
    attached
}

/// Completes and checks a definition of a running guest as one that is about to be started.
async fn complete(shared: &Arc<Shared>, live: &mut LiveConfig) -> Result<()> {
    definition::complete(&mut live.config).map_err(Error::invalid_config)?;
    let facts = shared.driver.facts(&live.config).await?;
    shared.driver.complete(&mut live.config, &facts)?;
    shared.driver.check(&live.config, &facts).map_err(Error::invalid_config)?;
    shared.services.check(&live.config).map_err(Error::invalid_config)
}

/// Makes usable for the guest what it has not used before.
async fn bring(shared: &Arc<Shared>, of: (&LiveConfig, &LiveConfig), plan: Option<&Plan>) -> Result<()> {
    let brought = shared.brought(of, plan)?;
    let resources = brought.resources.clone();
    blocking(move || resources.iter().try_for_each(check_resource)).await?;
    if let Some(labels) = shared.services.labels() {
        labels.apply(&shared.owner_ref(&of.1.guest())?, &brought).await?;
    }
    Ok(())
}

/// Refuses to take out what other devices need: completion would put it in again.
async fn needed(shared: &Arc<Shared>, after: &LiveConfig) -> Result<()> {
    let mut again = after.clone();
    complete(shared, &mut again).await?;
    let (had, has) = (&after.config.devices, &again.config.devices);
    if has.controllers.len() > had.controllers.len() {
        return Err(Error::new(ErrorKind::InvalidState, "other devices of the guest need it")
            .hint("detach the devices on this controller first"));
    }
    Ok(())
}

impl Which {
    /// The device that is meant.
    pub(super) fn find(&self, config: &DomainConfig) -> Result<(&'static str, usize)> {
        match self {
            Self::Named(alias) => config.devices.named(alias).ok_or_else(|| {
                let message = format!("the guest '{}' has no device named '{alias}'", config.name);
                Error::new(ErrorKind::NotFound, message).hint(
                    "a stored definition keeps the names that begin with 'ua-'; see `polyvirt dumpxml`, with --inactive for the stored one",
                )
            }),
            Self::Described(device) => {
                let element = device.element();
                match config.devices.meant(device) {
                    Meant::One(at) => Ok((element, at)),
                    Meant::Nothing => {
                        Err(Error::new(ErrorKind::NotFound, format!("the guest '{}' has no such <{element}>", config.name))
                            .hint(format!("`polyvirt dumpxml {}` shows what it has", config.name)))
                    }
                    Meant::Several(all) => {
                        let numbers: Vec<_> = all.iter().map(|at| format!("{element}[{}]", at + 1)).collect();
                        let message = format!("{} of the guest '{}' are all as described", numbers.join(", "), config.name);
                        Err(Error::new(ErrorKind::InvalidArgument, message).hint("say more of it, such as its address"))
                    }
                }
            }
        }
    }
}
