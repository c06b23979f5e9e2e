//! Devices of a guest, put in, taken out and changed.
//!
//! Each is an edit of the stored definition under the rules of a define: what would be refused there is refused here, with the place in
//! the device's own XML where there is one. What it does not do yet: change the devices of a guest that runs.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        DomainConfig, ParseOptions, Problems,
        device::{Device, Meant},
    },
};

use crate::{affect::Affect, guest::Guest};

impl Guest {
    /// Puts a device in. Says what of its description has no effect.
    ///
    /// # Errors
    /// `InvalidConfig` for XML that is none of a device, or a device that cannot be had; `AlreadyExists` for one whose place is taken;
    /// `InvalidState`; `Unsupported` for the live side.
    pub async fn attach_device(&self, xml: &str, affect: Affect) -> Result<Problems> {
        let (device, warnings) = read(xml)?;
        self.edit_devices("attach-device", affect, |config| {
            if device.key().is_some()
                && let Meant::One(_) | Meant::Several(_) = config.devices.meant(&device)
            {
                return Err(taken(self.name(), &device));
            }
            config.devices.add(device.clone()).map(drop).ok_or_else(|| taken(self.name(), &device))
        })
        .await?;
        Ok(warnings)
    }

    /// Takes a device out: the one that the description means.
    ///
    /// # Errors
    /// `NotFound` for a device that the guest does not have; `InvalidArgument` for a description that means several; else as
    /// [`Guest::attach_device`].
    pub async fn detach_device(&self, xml: &str, affect: Affect) -> Result<()> {
        let (device, _) = read(xml)?;
        self.edit_devices("detach-device", affect, |config| {
            let at = self.one(config, &device)?;
            config.devices.remove(device.element(), at);
            Ok(())
        })
        .await
    }

    /// Takes the device of that name out. In a stored definition devices have the names that users gave them (`ua-…`).
    ///
    /// # Errors
    /// As [`Guest::detach_device`].
    pub async fn detach_alias(&self, alias: &str, affect: Affect) -> Result<()> {
        self.edit_devices("detach-device-alias", affect, |config| {
            let Some((element, at)) = config.devices.named(alias) else {
                let message = format!("the guest '{}' has no device named '{alias}'", self.name());
                return Err(Error::new(ErrorKind::NotFound, message).hint(
                    "a stored definition keeps the names that begin with 'ua-'; see `polyvirt dumpxml --inactive`",
                ));
            };
            config.devices.remove(element, at);
            Ok(())
        })
        .await
    }

    /// Changes a device: the one that the description means becomes what it says.
    ///
    /// # Errors
    /// As [`Guest::detach_device`].
    pub async fn update_device(&self, xml: &str, affect: Affect) -> Result<Problems> {
        let (device, warnings) = read(xml)?;
        self.edit_devices("update-device", affect, |config| {
            if device.key().is_none() && config.devices.count(device.element()) != 1 {
                let message = format!("which <{}> is to be changed does not follow from its description", device.element());
                return Err(Error::new(ErrorKind::InvalidArgument, message)
                    .hint("disks are told apart by <target>, cards by <mac>, controllers by type and index; detach and attach others"));
            }
            let at = if device.key().is_some() { self.one(config, &device)? } else { 0 };
            let before = config.devices.pick(device.element(), at);
            // It stays where it is and is called what it is called, unless the description says otherwise.
            let device = device.clone().placed_as(before.as_ref());
            config.devices.replace(at, device);
            Ok(())
        })
        .await?;
        Ok(warnings)
    }

    /// The device that is meant.
    fn one(&self, config: &DomainConfig, device: &Device) -> Result<usize> {
        let element = device.element();
        match config.devices.meant(device) {
            Meant::One(at) => Ok(at),
            Meant::Nothing => {
                Err(Error::new(ErrorKind::NotFound, format!("the guest '{}' has no such <{element}>", self.name()))
                    .hint(format!("`polyvirt dumpxml --inactive {}` shows what it has", self.name())))
            }
            Meant::Several(all) => {
                let numbers: Vec<_> = all.iter().map(|at| format!("{element}[{}]", at + 1)).collect();
                let message = format!("{} of the guest '{}' are all as described", numbers.join(", "), self.name());
                Err(Error::new(ErrorKind::InvalidArgument, message).hint("say more of it, such as its address"))
            }
        }
    }

    async fn edit_devices(
        &self,
        operation: &'static str,
        affect: Affect,
        edit: impl FnOnce(&mut DomainConfig) -> Result<()>,
    ) -> Result<()> {
        let mut sides = self.sides(affect).await.map_err(|error| error.operation(operation))?;
        if sides.live.is_some() {
            let driver = self.connection.driver().descriptor().name;
            return Err(Error::unsupported(driver, "changing the devices of a running guest")
                .operation(operation)
                .hint("change the stored definition with --config; it applies at the next start"));
        }
        let Some(mut config) = sides.stored.take() else { return Ok(()) };
        edit(&mut config).map_err(|error| error.operation(operation))?;
        self.ready_to_store(&mut config).await?;
        self.store(config, false).await
    }
}

fn read(xml: &str) -> Result<(Device, Problems)> {
    Device::parse(xml, &ParseOptions::default()).map_err(Error::invalid_config)
}

fn taken(guest: &str, device: &Device) -> Error {
    let element = device.element();
    let message = match device.key() {
        Some(key) => format!("the guest '{guest}' has a <{element}> {key} already"),
        None => format!("the guest '{guest}' has a <{element}> already, and can have one"),
    };
    Error::new(ErrorKind::AlreadyExists, message).hint("change it with `polyvirt update-device`, or detach it first")
}
