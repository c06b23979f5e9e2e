//! Another name for a guest that does not run.

use std::time::Duration;

use polyvirt_core::{Error, ErrorKind, EventKind, GuestRef, Result};

use crate::{guest::Guest, owner, store::blocking};

/// What the owner of a guest is busy with, as others are told.
const PURPOSE: &str = "rename";

impl Guest {
    /// Gives it another name; it keeps its UUID, its mark to start with the host, its snapshots, and everything else.
    ///
    /// # Errors
    /// `InvalidState` when it runs, is transient or has a managed save; `AlreadyExists` when the name is taken; `InvalidArgument` when it is
    /// no name; `Busy`.
    pub async fn rename(&self, name: &str) -> Result<Guest> {
        let shared = self.connection.shared.clone();
        if name == self.name() {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("the guest is called '{name}' already")));
        }
        if self.has_managed_save().await? {
            let message = format!("the guest '{}' has a managed save, which belongs to its name", self.name());
            let error = Error::new(ErrorKind::InvalidState, message);
            return Err(error.hint("start it, or drop the managed save with managedsave-remove"));
        }
        let wait = shared.options.wait_for_owner;
        // Nobody starts it under either name meanwhile.
        self.release().await?;
        let _old = owner::own(&shared.records, self.name(), PURPOSE, wait).await?;
        let _new = owner::own(&shared.records, name, PURPOSE, Duration::ZERO)
            .await
            .map_err(|error| if error.kind() == ErrorKind::Busy { taken(name) } else { error })?;
        let (old, new) = (self.name().to_owned(), name.to_owned());
        let renamed = GuestRef::new(name, self.uuid().to_string(), None);
        blocking(move || {
            for (name, error) in [(&old, running(&old)), (&new, taken(&new))] {
                if shared.records.get(name)?.is_some_and(|record| shared.is_alive(&record)) {
                    return Err(error);
                }
            }
            let event = EventKind::Renamed { from: old.clone() };
            shared.snapshots.rename(&old, &new)?;
            let done = shared.definitions.rename(&old, &new, || shared.history.tell(renamed, event));
            if let Err(error) = done {
                return Err(match shared.snapshots.rename(&new, &old) {
                    Ok(()) => error,
                    Err(left) => error.with("snapshots", format!("not moved back: {left}")),
                });
            }
            shared.jobs.forget(&old);
            Ok(())
        })
        .await?;
        Ok(Guest::new(self.connection.clone(), name.to_owned(), self.uuid()))
    }
}

fn running(name: &str) -> Error {
    Error::new(ErrorKind::InvalidState, format!("the guest '{name}' is running")).hint("shut it down first")
}

fn taken(name: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("there is a guest '{name}' already")).hint("take another name")
}
