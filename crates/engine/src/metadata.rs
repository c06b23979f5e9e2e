//! What is written about a guest and changes nothing of it: title, description, what applications keep with it. And what happens
//! when it stops.

use polyvirt_core::{
    Error, ErrorKind, EventKind, Result,
    model::{DomainConfig, LifecycleAction, XmlTree},
};

use crate::{actor::Held, affect::Affect, guest::Guest};

/// The longest text that is kept with a guest, in bytes.
const LONGEST: usize = 1 << 20;

/// What stops a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifecycleEvent {
    /// It powers off.
    Poweroff,
    /// It reboots.
    Reboot,
    /// It panics, or its hypervisor dies.
    Crash,
}

impl Guest {
    /// Sets its title, one line; `None` removes it.
    ///
    /// # Errors
    /// `InvalidConfig` for more than a line; `InvalidState`; `Busy`.
    pub async fn set_title(&self, title: Option<String>, affect: Affect) -> Result<()> {
        if title.as_ref().is_some_and(|it| it.contains('\n')) {
            let error = Error::new(ErrorKind::InvalidArgument, "a title is one line");
            return Err(error.hint("use the description for more"));
        }
        self.describe("title", affect, bounded(title)?, |config, title| config.title = title).await
    }

    /// Sets its description; `None` removes it.
    ///
    /// # Errors
    /// `InvalidState`; `Busy`.
    pub async fn set_description(&self, description: Option<String>, affect: Affect) -> Result<()> {
        self.describe("description", affect, bounded(description)?, |config, text| config.description = text).await
    }

    /// Puts what an application keeps with the guest in place of what it kept; `None` removes it. The element is written with this
    /// prefix in the definition, and read without.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no XML, no prefix or no namespace; `NotFound` when there is nothing to remove; `InvalidState`; `Busy`.
    pub async fn set_metadata(&self, namespace: &str, prefix: &str, xml: Option<&str>, affect: Affect) -> Result<()> {
        if namespace.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "the namespace of metadata is not empty"));
        }
        let element = match xml {
            Some(xml) => Some(element(xml, prefix)?),
            None => None,
        };
        let (namespace, prefix) = (namespace.to_owned(), prefix.to_owned());
        let event = EventKind::MetadataChanged { part: namespace.clone() };
        let edit = move |config: &mut DomainConfig| {
            let there = config.set_metadata_element(&namespace, &prefix, element.clone());
            if element.is_none() && !there {
                return Err(no_metadata(&namespace));
            }
            Ok(())
        };
        self.change_sides("metadata", affect, edit, |_, _| async { Ok(()) }, event).await
    }

    /// Changes what happens when it stops.
    ///
    /// # Errors
    /// `InvalidConfig` for actions that do not go together; `InvalidState`; `Unsupported`; `Busy`.
    pub async fn set_lifecycle_action(
        &self,
        event: LifecycleEvent,
        action: LifecycleAction,
        affect: Affect,
    ) -> Result<()> {
        let driver = self.connection.driver();
        let edit = move |config: &mut DomainConfig| {
            let now = match event {
                LifecycleEvent::Poweroff => &mut config.on_poweroff,
                LifecycleEvent::Reboot => &mut config.on_reboot,
                LifecycleEvent::Crash => &mut config.on_crash,
            };
            *now = Some(action);
            Ok(())
        };
        // What runs goes through the check of what is stored: not all actions go together.
        if let Some(record) = &self.sides(affect).await?.live {
            let mut config = record.live()?.config;
            edit(&mut config)?;
            let facts = driver.facts(&config).await?;
            driver.check(&config, &facts).map_err(Error::invalid_config)?;
        }
        let live = |it: Held, config: DomainConfig| async move {
            it.domain.lifecycle_actions().ok_or_else(|| it.missing("set-lifecycle-action"))?.set(&config).await
        };
        self.tune("set-lifecycle-action", affect, edit, live).await
    }

    async fn describe(
        &self,
        part: &'static str,
        affect: Affect,
        text: Option<String>,
        put: fn(&mut DomainConfig, Option<String>),
    ) -> Result<()> {
        let edit = move |config: &mut DomainConfig| {
            put(config, text.clone());
            Ok(())
        };
        let event = EventKind::MetadataChanged { part: part.to_owned() };
        self.change_sides("desc", affect, edit, |_, _| async { Ok(()) }, event).await
    }
}

fn bounded(text: Option<String>) -> Result<Option<String>> {
    match text {
        Some(text) if text.len() > LONGEST => {
            Err(Error::new(ErrorKind::InvalidArgument, format!("{} bytes are too many, {LONGEST} at most", text.len())))
        }
        // XML has no way to write them.
        Some(text) if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) => {
            Err(Error::new(ErrorKind::InvalidArgument, "a control character cannot be kept in a definition"))
        }
        text => Ok(text.filter(|it| !it.is_empty())),
    }
}

fn element(xml: &str, prefix: &str) -> Result<XmlTree> {
    bounded(Some(xml.to_owned()))?;
    let mut chars = prefix.chars();
    let is_name = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !is_name {
        let message = format!("'{prefix}' cannot be the prefix of elements");
        return Err(
            Error::new(ErrorKind::InvalidArgument, message).hint("take a letter, then letters, digits, - and _")
        );
    }
    XmlTree::parse(xml).map_err(|problem| {
        Error::new(ErrorKind::InvalidArgument, format!("the metadata is no XML: {problem}")).hint("give one element")
    })
}

/// The error that no application with this namespace keeps anything with the guest.
#[must_use]
pub fn no_metadata(namespace: &str) -> Error {
    let shown: String = namespace.chars().take(200).collect();
    Error::new(ErrorKind::NotFound, format!("the guest has no metadata of the namespace '{shown}'"))
        .hint("`polyvirt dumpxml` shows all under <metadata>")
}
