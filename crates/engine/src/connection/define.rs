//! Storing definitions, and starting guests without one.

use std::{path::Path, sync::Arc};

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{DomainConfig, Guest as NewOrExisting, ParseOptions, Problems},
};

use super::Connection;
use crate::{
    definition::{self, ReadDefinition},
    guest::{Guest, StartOptions},
};

/// A definition that was read and completed, with what is worth knowing about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Prepared {
    /// As it would be stored.
    pub config: DomainConfig,
    /// What was dropped, guessed or is not honoured by this driver.
    pub warnings: Problems,
    /// Whether the text had a UUID; else one was drawn, and the guest of that name keeps its own if it is there.
    pub uuid_given: bool,
}

/// A definition that was stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Defined {
    /// The guest.
    pub guest: Guest,
    /// What was dropped, guessed or is not honoured by this driver.
    pub warnings: Problems,
    /// False for the first definition of this guest.
    pub updated: bool,
}

impl Connection {
    /// Reads and completes a definition without storing or starting anything.
    ///
    /// # Errors
    /// `InvalidConfig` with all problems and their places.
    pub async fn prepare(&self, xml: &str) -> Result<Prepared> {
        let read = definition::read_definition(xml, NewOrExisting::Existing, &ParseOptions::default())
            .map_err(Error::invalid_config)?;
        let ReadDefinition { mut config, mut warnings, positions, uuid_given } = read;
        config.make_stored();
        crate::store::file_of(Path::new("/"), &config.name, "xml")?;
        let facts = self.shared.driver.facts(&config).await?;
        let located = |problems| Error::invalid_config(definition::locate(problems, &positions));
        self.shared
            .driver
            .complete(&mut config, &facts)
            .map_err(|error| error.problems().cloned().map(located).unwrap_or(error))?;
        self.shared.driver.check(&config, &facts).map_err(located)?;
        let descriptor = self.shared.driver.descriptor();
        positions.visit(&mut |path| {
            let honoured = descriptor.honours_path(path);
            if !honoured {
                let message = format!("is kept, but the {} driver does nothing with it", descriptor.name);
                warnings.push(positions.warning(path, message));
            }
            honoured
        });
        Ok(Prepared { config, warnings, uuid_given })
    }

    /// Stores a definition: a new guest, or a new definition of one that has this name and UUID.
    ///
    /// # Errors
    /// Those of [`Connection::prepare`]; `AlreadyExists` when the name or the UUID belongs to another guest; `Storage`, and then the
    /// definition that was there still is.
    pub async fn define(&self, xml: &str) -> Result<Defined> {
        let prepared = self.prepare(xml).await?;
        self.store(prepared).await
    }

    /// Stores what [`Connection::prepare`] made, as [`Connection::define`] does.
    ///
    /// # Errors
    /// `AlreadyExists` and `Storage` as there.
    pub async fn store(&self, mut prepared: Prepared) -> Result<Defined> {
        if !prepared.uuid_given {
            // A definition without a UUID means the guest of that name, if there is one, defined or running.
            match self.lookup_by_name(&prepared.config.name).await {
                Ok(known) => prepared.config.uuid = Some(known.uuid()),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidConfig) => {}
                Err(error) => return Err(error),
            }
        }
        let guest = self.guest(&prepared.config);
        let updated = self.shared.clone().store(prepared.config).await?;
        Ok(Defined { guest, warnings: prepared.warnings, updated })
    }

    /// Starts a transient guest: one without a stored definition, gone when it stops.
    ///
    /// # Errors
    /// Those of [`Connection::prepare`] and of a start; `AlreadyExists` when the name or UUID is taken.
    pub async fn create(&self, xml: &str, paused: bool) -> Result<Defined> {
        let prepared = self.prepare(xml).await?;
        let clash = self
            .list()
            .await?
            .into_iter()
            .find(|g| g.name == prepared.config.name || (g.uuid.is_some() && g.uuid == prepared.config.uuid));
        if let Some(other) = clash {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("the guest '{}' has this name or UUID already", other.name),
            )
            .hint(format!(
                "start that one with `polyvirt start {}`, or take another name and leave <uuid> out",
                other.name
            )));
        }
        let guest = self.guest(&prepared.config);
        guest.start_config(Arc::new(prepared.config), StartOptions::new().paused(paused)).await?;
        Ok(Defined { guest, warnings: prepared.warnings, updated: false })
    }

    fn guest(&self, config: &DomainConfig) -> Guest {
        Guest::new(self.clone(), config.name.clone(), config.uuid.unwrap_or_default())
    }
}
