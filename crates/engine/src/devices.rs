//! Devices of a guest, put in, taken out and changed.
//!
//! Each is an edit of a definition, the stored one or that of the running guest or both, under the rules of a define: what would be
//! refused there is refused here, with the place in the device's own XML where there is one. Both sides are checked before either is
//! changed; what runs is changed first.

mod live;
pub(crate) mod memory;

use polyvirt_core::{
    Detached, Error, ErrorKind, Result,
    model::{
        DomainConfig, ParseOptions, Problems,
        device::{Device, Meant},
    },
};

use crate::{affect::Affect, guest::Guest};

/// Which device is meant.
#[derive(Clone)]
enum Which {
    /// The one of that name.
    Named(String),
    /// The one that is as described.
    Described(Box<Device>),
}

impl Guest {
    /// Puts a device in. Says what of its description has no effect.
    ///
    /// # Errors
    /// `InvalidConfig` for XML that is none of a device, or a device that cannot be had; `AlreadyExists` for one whose place is taken;
    /// `Unsupported` for one that a running guest cannot get, or not from this driver; `Denied` and `NotFound` for what it uses on the
    /// host; `InvalidState`; `Busy`. Nothing of it stays then.
    pub async fn attach_device(&self, xml: &str, affect: Affect) -> Result<Problems> {
        const NAME: &str = "attach-device";
        let (mut device, warnings) = read(xml)?;
        let mut sides = self.sides(affect).await.map_err(named(NAME))?;
        if let Some(stored) = &mut sides.stored {
            let at = stored.devices.count(device.element());
            insert(self.name(), stored, device.clone()).map_err(named(NAME))?;
            self.ready_to_store(stored).await.map_err(named(NAME))?;
            let stored = stored.devices.pick(device.element(), at);
            device = device.known_as(stored.as_ref());
        }
        let live_too = sides.live.is_some();
        if live_too {
            self.plug_in(device).await.map_err(named(NAME))?;
        }
        if let Some(stored) = sides.stored {
            self.store(stored, live_too).await?;
        }
        Ok(warnings)
    }

    /// Takes a device out: the one that the description means. A running guest that is asked for it may take its time: then it is
    /// [`Detached::Requested`], and an event tells when it is gone. In a stored definition it is gone at once.
    ///
    /// # Errors
    /// `NotFound` for a device that the guest does not have; `InvalidArgument` for a description that means several; `InvalidState`
    /// for one that the guest keeps or others need; else as [`Guest::attach_device`].
    pub async fn detach_device(&self, xml: &str, affect: Affect) -> Result<Detached> {
        let (device, _) = read(xml)?;
        self.take_out("detach-device", Which::Described(Box::new(device)), affect).await
    }

    /// Takes the device of that name out. In a stored definition devices have the names that users gave them (`ua-…`).
    ///
    /// # Errors
    /// As [`Guest::detach_device`].
    pub async fn detach_alias(&self, alias: &str, affect: Affect) -> Result<Detached> {
        self.take_out("detach-device-alias", Which::Named(alias.to_owned()), affect).await
    }

    /// Changes a device: the one that the description means becomes what it says. With `force`, a drive that the running guest has
    /// locked is opened all the same.
    ///
    /// # Errors
    /// As [`Guest::detach_device`]; `Unsupported` for what cannot be changed while the guest runs.
    pub async fn update_device(&self, xml: &str, affect: Affect, force: bool) -> Result<Problems> {
        const NAME: &str = "update-device";
        let (device, warnings) = read(xml)?;
        let mut sides = self.sides(affect).await.map_err(named(NAME))?;
        if let Some(stored) = &mut sides.stored {
            replace(self.name(), stored, &device).map_err(named(NAME))?;
            self.ready_to_store(stored).await.map_err(named(NAME))?;
        }
        let live_too = sides.live.is_some();
        if live_too {
            self.change_in_place(device, force).await.map_err(named(NAME))?;
        }
        if let Some(stored) = sides.stored {
            self.store(stored, live_too).await?;
        }
        Ok(warnings)
    }

    async fn take_out(&self, operation: &'static str, which: Which, affect: Affect) -> Result<Detached> {
        let mut sides = self.sides(affect).await.map_err(named(operation))?;
        if let Some(stored) = &mut sides.stored {
            let (element, at) = which.find(stored).map_err(named(operation))?;
            stored.remove_device(element, at);
            self.ready_to_store(stored).await.map_err(named(operation))?;
        }
        let live_too = sides.live.is_some();
        let done = if live_too { self.unplug(which).await.map_err(named(operation))? } else { Detached::Gone };
        if let Some(stored) = sides.stored {
            self.store(stored, live_too).await?;
        }
        Ok(done)
    }
}

fn named(operation: &'static str) -> impl Fn(Error) -> Error {
    move |error| error.operation(operation)
}

fn read(xml: &str) -> Result<(Device, Problems)> {
    Device::parse(xml, &ParseOptions::default()).map_err(Error::invalid_config)
}

/// Adds a device whose place is free.
fn insert(guest: &str, config: &mut DomainConfig, device: Device) -> Result<()> {
    if device.key().is_some()
        && let Meant::One(_) | Meant::Several(_) = config.devices.meant(&device)
    {
        return Err(taken(guest, &device));
    }
    let refusal = taken(guest, &device);
    config.add_device(device).map(drop).ok_or(refusal)
}

/// Puts a device in the place of the one that it means.
fn replace(guest: &str, config: &mut DomainConfig, device: &Device) -> Result<()> {
    // One with a name of the guest's is that one.
    let named =
        device.alias().and_then(|name| config.devices.named(&name)).filter(|(element, _)| *element == device.element());
    if named.is_none() && device.key().is_none() && config.devices.count(device.element()) != 1 {
        let message = format!(
            "which <{}> of the guest '{guest}' is to be changed does not follow from its description",
            device.element()
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message).hint(
            "disks are told apart by <target>, cards by <mac>, controllers by type and index; detach and attach others",
        ));
    }
    let at = if let Some((_, at)) = named {
        at
    } else if device.key().is_some() {
        Which::Described(Box::new(device.clone())).find(config)?.1
    } else {
        0
    };
    let before = config.devices.pick(device.element(), at);
    // It stays where it is and is called what it is called, unless the description says otherwise.
    config.devices.replace(at, device.clone().placed_as(before.as_ref()).known_as(before.as_ref()));
    Ok(())
}

fn taken(guest: &str, device: &Device) -> Error {
    let element = device.element();
    let message = match device.key() {
        Some(key) => format!("the guest '{guest}' has a <{element}> {key} already"),
        None => format!("the guest '{guest}' has a <{element}> already, and can have one"),
    };
    Error::new(ErrorKind::AlreadyExists, message).hint("change it with `polyvirt update-device`, or detach it first")
}
