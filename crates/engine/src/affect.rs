//! Which side of a guest a change is for: what runs, what is stored, or both.

use polyvirt_core::{Error, ErrorKind, Result, model::DomainConfig};

use crate::{actor::not_running, definition, guest::Guest, store::StatusRecord};

/// How often an edit is made anew because somebody else's came in between.
const TRIES: u32 = 20;

/// Which side of a guest a change is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Affect {
    /// The running guest if it runs, else the stored definition.
    #[default]
    Current,
    /// The running guest.
    Live,
    /// The stored definition.
    Config,
    /// Both.
    Both,
}

/// What there is of the sides that a change is for.
pub(crate) struct Sides {
    /// The running guest, if the change is for it.
    pub(crate) live: Option<StatusRecord>,
    /// The stored definition, if the change is for it.
    pub(crate) stored: Option<DomainConfig>,
}

impl Guest {
    /// Finds the sides that a change is for.
    ///
    /// # Errors
    /// `InvalidState` for the live side of a guest that does not run, and for the stored side of a transient one.
    pub(crate) async fn sides(&self, affect: Affect) -> Result<Sides> {
        let (stored, record) = self.files().await?;
        let (live_too, stored_too) = match (affect, record.is_some()) {
            (Affect::Live | Affect::Both, false) => return Err(not_running(self.name())),
            (Affect::Current | Affect::Live, true) => (true, false),
            (Affect::Current, false) | (Affect::Config, _) => (false, true),
            (Affect::Both, true) => (true, true),
        };
        if stored_too && stored.is_none() {
            let message = format!("the guest '{}' is transient: it has no stored definition", self.name());
            let error = Error::new(ErrorKind::InvalidState, message);
            return Err(if record.is_some() {
                error.hint("change the running guest alone, with --live")
            } else {
                error
            });
        }
        Ok(Sides {
            live: record.filter(|_| live_too),
            stored: stored.filter(|_| stored_too).map(|it| (*it.config).clone()),
        })
    }

    /// Completes a stored definition that was changed, and refuses it as a define would; nothing is stored yet.
    ///
    /// # Errors
    /// `InvalidConfig`, `Unsupported`.
    pub(crate) async fn ready_to_store(&self, config: &mut DomainConfig) -> Result<()> {
        definition::complete(config).map_err(Error::invalid_config)?;
        let driver = self.connection.driver();
        let facts = driver.facts(config).await?;
        driver.complete(config, &facts)?;
        driver.check(config, &facts).map_err(Error::invalid_config)
    }

    /// Edits the stored definition, as it is by now, after the running guest was changed, if that was asked for.
    ///
    /// # Errors
    /// Those of the edit; `Busy` if others change it again and again; `Storage`; with the fact `live` if the running guest is changed already.
    pub(crate) async fn store_edit(
        &self,
        edit: impl Fn(&mut DomainConfig) -> Result<()>,
        live_too: bool,
    ) -> Result<()> {
        let stored = async {
            for _ in 0..TRIES {
                let before = self.files().await?.0.ok_or_else(|| {
                    Error::new(ErrorKind::NotFound, format!("the guest '{}' is not defined any more", self.name()))
                })?;
                let mut config = (*before.config).clone();
                edit(&mut config)?;
                self.ready_to_store(&mut config).await?;
                if self.connection.shared.clone().replace(before.config, config).await? {
                    return Ok(());
                }
            }
            Err(Error::new(ErrorKind::Busy, "others change the stored definition again and again"))
        };
        stored.await.map_err(|e| if live_too { e.with("live", "done, not stored") } else { e })
    }

    /// Stores a definition that [`Guest::ready_to_store`] let through, after the running guest was changed, if that was asked for.
    ///
    /// # Errors
    /// `Storage`, with the fact `live` if the running guest is changed already.
    pub(crate) async fn store(&self, config: DomainConfig, live_too: bool) -> Result<()> {
        let stored = self.connection.shared.clone().store(config).await.map(drop);
        stored.map_err(|e| if live_too { e.with("live", "done, not stored") } else { e })
    }
}
