//! Finding guests. Takes no locks and asks no hypervisor.

use polyvirt_core::{Error, ErrorKind, GuestState, Result, StopReason};

use super::Connection;
use crate::{
    guest::{Guest, GuestEntry},
    shared::Shared,
    store::{Stored, blocking},
};

impl Connection {
    /// The guest of that name, defined or running.
    ///
    /// # Errors
    /// `NotFound`; `InvalidConfig` when its definition is broken.
    pub async fn lookup_by_name(&self, name: &str) -> Result<Guest> {
        let (definitions, records, wanted) =
            (self.shared.definitions.clone(), self.shared.records.clone(), name.to_owned());
        let found = blocking(move || {
            if let Some(record) = records.get(&wanted)? {
                return Ok(Some((record.guest.name, record.guest.uuid.parse().unwrap_or_default())));
            }
            Ok(definitions.get(&wanted)?.map(|d| (d.config.name.clone(), d.config.uuid.unwrap_or_default())))
        })
        .await?;
        let (name, uuid) = found.ok_or_else(|| self.no_guest(name))?;
        Ok(Guest::new(self.clone(), name, uuid))
    }

    /// The guest of that name, UUID or number, tried in this order: number of a running guest, UUID, name, as virsh does.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn lookup(&self, key: &str) -> Result<Guest> {
        let uuid = uuid::Uuid::try_parse(key).ok();
        let id = key.parse::<u32>().ok();
        if uuid.is_some() || id.is_some() {
            let found = self
                .list()
                .await?
                .into_iter()
                .find(|g| (id.is_some() && g.id.map(|i| i.0) == id) || (uuid.is_some() && g.uuid == uuid));
            if let Some(found) = found {
                return Ok(Guest::new(self.clone(), found.name, found.uuid.unwrap_or_default()));
            }
        }
        self.lookup_by_name(key).await
    }

    /// A guest by its name alone, for one whose definition is broken: it can be undefined, not started.
    #[must_use]
    pub fn broken(&self, name: &str) -> Guest {
        Guest::new(self.clone(), name.to_owned(), uuid::Uuid::nil())
    }

    fn no_guest(&self, key: &str) -> Error {
        Error::new(ErrorKind::NotFound, format!("there is no guest '{key}' in {}", self.shared.uri))
            .hint("`polyvirt list --all` shows them")
    }

    /// All guests, running or not, sorted by name. Takes no locks and asks no hypervisor.
    ///
    /// # Errors
    /// `Storage` or `Denied` when a directory cannot be read; a broken file is an entry with its problem.
    pub async fn list(&self) -> Result<Vec<GuestEntry>> {
        let stored = self.shared.definitions.all_at_once().await?;
        let shared = self.shared.clone();
        blocking(move || list(&shared, stored)).await
    }
}

fn list(shared: &Shared, stored: Vec<Stored>) -> Result<Vec<GuestEntry>> {
    let mut entries: Vec<GuestEntry> = stored.into_iter().map(defined_entry).collect();
    for name in shared.records.names()? {
        let at = entries.binary_search_by(|e| e.name.as_str().cmp(&name));
        match (shared.records.get(&name), at) {
            (Ok(Some(record)), at) => {
                let alive = shared.is_alive(&record);
                let at = match (at, alive) {
                    (Ok(at), _) => at,
                    (Err(_), false) => continue,
                    (Err(at), true) => {
                        entries.insert(at, GuestEntry::transient(&name));
                        at
                    }
                };
                entries[at].is_running(&record, alive);
            }
            (Ok(None), _) => {}
            (Err(error), Ok(at)) => entries[at].problem = Some(error.to_string()),
            (Err(error), Err(at)) => {
                let mut entry = GuestEntry::transient(&name);
                entry.problem = Some(error.to_string());
                entries.insert(at, entry);
            }
        }
    }
    Ok(entries)
}

fn defined_entry(stored: Stored) -> GuestEntry {
    let mut entry = GuestEntry::transient(&stored.name);
    entry.persistent = true;
    entry.autostart = stored.autostart;
    entry.state = GuestState::ShutOff(StopReason::Unknown);
    match stored.definition {
        Ok(definition) => entry.describe(&definition.config),
        Err(error) => entry.problem = Some(error.to_string()),
    }
    entry
}
