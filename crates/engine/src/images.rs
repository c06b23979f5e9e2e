//! Saved guests: what is in their files, changing it, and continuing from them.

use std::path::{Path, PathBuf};

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{DomainConfig, FormatOptions, abi_changes},
};

use crate::{
    actor::{Command, Origin},
    connection::Connection,
    guest::Guest,
    save::RunState,
    saved::{self, Image},
    store::blocking,
};

/// Changes of a guest that a message names.
const NAMED: usize = 5;

/// What is known of a saved guest.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SavedImage {
    /// Its definition.
    pub config: DomainConfig,
    /// What its CPUs will do when it is restored.
    pub state: RunState,
    /// The file.
    pub path: PathBuf,
}

impl SavedImage {
    /// Its definition as XML, without secrets.
    #[must_use]
    pub fn xml(&self) -> String {
        self.config.to_xml()
    }

    /// Its definition as XML, with its secrets.
    #[must_use]
    pub fn xml_with_secrets(&self) -> String {
        self.config.to_xml_with(FormatOptions::new().secure())
    }
}

/// How a guest is restored.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// The host shall not keep the file in memory.
    pub bypass_cache: bool,
    /// The definition to be used: the guest must not see a difference.
    pub xml: Option<String>,
    /// What its CPUs shall do; none: what the file says.
    pub state: Option<RunState>,
}

impl RestoreOptions {
    /// Nothing special.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`RestoreOptions::bypass_cache`].
    #[must_use]
    pub fn bypass_cache(mut self, bypass: bool) -> Self {
        self.bypass_cache = bypass;
        self
    }

    /// Sets [`RestoreOptions::xml`].
    #[must_use]
    pub fn xml(mut self, xml: Option<String>) -> Self {
        self.xml = xml;
        self
    }

    /// Sets [`RestoreOptions::state`].
    #[must_use]
    pub fn state(mut self, state: Option<RunState>) -> Self {
        self.state = state;
        self
    }
}

impl Connection {
    /// What is in the file of a saved guest.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` for a file that is none, or not whole; `InvalidConfig`.
    pub async fn saved_image(&self, file: &Path) -> Result<SavedImage> {
        let image = open(file).await?;
        described(&image)
    }

    /// Replaces the definition in the file of a saved guest, and what its CPUs will do.
    ///
    /// # Errors
    /// As [`Connection::saved_image`]; `InvalidConfig` naming what the guest would see; `Busy`.
    pub async fn redefine_saved_image(&self, file: &Path, xml: Option<&str>, state: Option<RunState>) -> Result<()> {
        let after = match xml {
            Some(xml) => Some(self.prepare(xml).await?.config),
            None => None,
        };
        let path = file.to_owned();
        blocking(move || {
            Image::edit(&path, |image, head| {
                if let Some(after) = &after {
                    check_abi(&image.config()?, after)?;
                    head.xml = after.to_xml_with(FormatOptions::new().secure());
                }
                if let Some(state) = state {
                    head.running = state == RunState::Running;
                }
                Ok(())
            })
        })
        .await
    }

    /// Continues a guest from the file that [`Guest::save`] made, which stays. It must not be continued twice: what the guest wrote on its
    /// disks since would be lost on it.
    ///
    /// # Errors
    /// As [`Connection::saved_image`] and of a start; `AlreadyExists` when its name or UUID is another's; `InvalidState` when it runs. The
    /// file is as it was, and nothing else is left.
    pub async fn restore(&self, file: &Path, options: RestoreOptions) -> Result<Guest> {
        let image = open(file).await?;
        let driver = self.driver().descriptor().name;
        if image.head.driver != driver {
            let message =
                format!("{} is of the {} driver, this connection's is {driver}", file.display(), image.head.driver);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let saved = image.config()?;
        let config = match &options.xml {
            Some(xml) => {
                let after = self.prepare(xml).await?.config;
                check_abi(&saved, &after)?;
                after
            }
            None => saved,
        };
        for other in self.list().await? {
            let (named, known) = (other.name == config.name, other.uuid.is_some() && other.uuid == config.uuid);
            if named != known {
                let message = format!("the guest '{}' has this name or UUID already", other.name);
                return Err(Error::new(ErrorKind::AlreadyExists, message)
                    .hint("undefine it, or restore with --xml and another name"));
            }
        }
        let guest = Guest::new(self.clone(), config.name.clone(), config.uuid.unwrap_or_default());
        let running = options.state.map_or(image.head.running, |it| it == RunState::Running);
        let bypass_cache = options.bypass_cache;
        let origin = Origin::Image { config: Box::new(config), image: Box::new(image), running, bypass_cache };
        guest.ask(|reply| Command::Start { origin, reply }).await?;
        Ok(guest)
    }
}

impl Guest {
    /// Whether the next start continues it from where a managed save left it.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn has_managed_save(&self) -> Result<bool> {
        let path = self.managed_path()?;
        blocking(move || Ok(path.exists())).await
    }

    /// What its managed save is.
    ///
    /// # Errors
    /// `NotFound` when there is none; as [`Connection::saved_image`].
    pub async fn managed_image(&self) -> Result<SavedImage> {
        let image = self.open_managed().await?;
        described(&image)
    }

    /// Replaces the definition in its managed save, as [`Connection::redefine_saved_image`].
    ///
    /// # Errors
    /// As there; `NotFound` when there is none.
    pub async fn redefine_managed_save(&self, xml: Option<&str>, state: Option<RunState>) -> Result<()> {
        let path = self.open_managed().await?.path;
        self.connection.redefine_saved_image(&path, xml, state).await
    }

    /// Drops its managed save: the next start boots it.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn remove_managed_save(&self) -> Result<()> {
        if !self.has_managed_save().await? {
            return Err(self.no_managed_save());
        }
        let (roots, name) = (self.connection.shared.roots.clone(), self.name().to_owned());
        blocking(move || saved::managed(&roots, &name, true).map(drop)).await
    }

    async fn open_managed(&self) -> Result<Image> {
        let path = self.managed_path()?;
        open(&path).await.map_err(|e| if e.kind() == ErrorKind::NotFound { self.no_managed_save() } else { e })
    }

    fn no_managed_save(&self) -> Error {
        Error::new(ErrorKind::NotFound, format!("the guest '{}' has no managed save", self.name()))
    }
}

async fn open(file: &Path) -> Result<Image> {
    let path = std::path::absolute(file).map_err(|e| polyvirt_core::io_error("use", file, e))?;
    blocking(move || Image::open(&path)).await
}

fn described(image: &Image) -> Result<SavedImage> {
    let state = if image.head.running { RunState::Running } else { RunState::Paused };
    Ok(SavedImage { config: image.config()?, state, path: image.path.clone() })
}

/// A running guest's definition as it is kept: without what belongs to this run.
pub(crate) fn stored_form(mut live: DomainConfig) -> DomainConfig {
    live.make_stored();
    live
}

/// Refuses a definition of which the guest would see that it is another.
///
/// # Errors
/// `InvalidConfig` naming the first changes.
pub(crate) fn check_abi(before: &DomainConfig, after: &DomainConfig) -> Result<()> {
    let changes = abi_changes(before, after);
    let Some(first) = changes.first() else { return Ok(()) };
    let named: Vec<_> = changes.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if changes.len() > NAMED { format!(" and {} more", changes.len() - NAMED) } else { String::new() };
    let message = format!("the guest would see another machine: {}{more}", named.join("; "));
    Err(Error::new(ErrorKind::InvalidConfig, message)
        .with("path", &first.path)
        .hint("begin with what save-image-dumpxml shows, and change what the host does for the guest alone"))
}
