//! Which snapshots there are.

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{
        FormatOptions,
        disk::DiskSnapshot,
        snapshot::{MemorySnapshot, SnapshotState},
    },
};
use serde::Serialize;

use crate::{
    guest::Guest,
    store::{Tree, blocking, text_of},
};

/// A snapshot, as a list tells of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SnapshotEntry {
    /// Its name.
    pub name: String,
    /// What was said of it.
    pub description: Option<String>,
    /// The one that it follows.
    pub parent: Option<String>,
    /// Those that follow it.
    pub children: Vec<String>,
    /// All that follow it, and those that follow them.
    pub descendants: usize,
    /// What the guest did.
    pub state: String,
    /// When it was taken, in seconds since 1970.
    pub created: i64,
    /// Whether the guest goes on from it.
    pub current: bool,
    /// Whether all of it is in the images that the guest had.
    pub internal: bool,
    /// Whether memory or disks have files of their own.
    pub external: bool,
}

/// The snapshots of a guest.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SnapshotList {
    /// By name.
    pub entries: Vec<SnapshotEntry>,
    /// What is wrong in the store, in words.
    pub problems: Vec<String>,
}

impl SnapshotList {
    /// The one of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SnapshotEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The one that the guest goes on from.
    #[must_use]
    pub fn current(&self) -> Option<&SnapshotEntry> {
        self.entries.iter().find(|entry| entry.current)
    }

    fn of(tree: &Tree) -> Self {
        let entries = tree.all().map(|(name, snapshot)| {
            let state = snapshot.head.state.unwrap_or(SnapshotState::Nostate);
            let kinds = snapshot.disks().iter().filter_map(|disk| disk.snapshot);
            let external = snapshot.memory() == Some(MemorySnapshot::External)
                || kinds.clone().any(|kind| kind == DiskSnapshot::External);
            let internal = snapshot.memory() == Some(MemorySnapshot::Internal)
                || kinds.clone().any(|kind| kind == DiskSnapshot::Internal);
            SnapshotEntry {
                name: name.to_owned(),
                description: snapshot.head.description.clone(),
                parent: tree.parent(name).map(str::to_owned),
                children: tree.children(name).map(str::to_owned).collect(),
                descendants: tree.descendants(name).len(),
                state: state.as_str().to_owned(),
                created: snapshot.head.creation_time.unwrap_or_default(),
                current: tree.current() == Some(name),
                internal: internal || !external,
                external,
            }
        });
        Self { entries: entries.collect(), problems: tree.problems.clone() }
    }
}

impl Guest {
    pub(crate) async fn snapshot_tree(&self) -> Result<Tree> {
        let (shared, name) = (self.connection.shared.clone(), self.name().to_owned());
        blocking(move || shared.snapshots.tree(&name)).await
    }

    /// Its snapshots. Asks no hypervisor and takes no locks.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn snapshots(&self) -> Result<SnapshotList> {
        Ok(SnapshotList::of(&self.snapshot_tree().await?))
    }

    /// A snapshot as XML; with the secrets of its guest if asked.
    ///
    /// # Errors
    /// `NotFound`; `InvalidConfig` for one that cannot be read.
    pub async fn snapshot_xml(&self, name: &str, secrets: bool) -> Result<String> {
        let tree = self.snapshot_tree().await?;
        let snapshot = tree.get(name)?;
        Ok(if secrets { text_of(snapshot) } else { snapshot.to_xml_with(FormatOptions::new().inactive()) })
    }

    /// Says from which snapshot it goes on: the next one will follow that one. Changes nothing else.
    ///
    /// # Errors
    /// `NotFound`; `Storage`.
    pub async fn set_current_snapshot(&self, name: &str) -> Result<()> {
        self.snapshot_tree().await?.get(name)?;
        let (shared, guest, name) = (self.connection.shared.clone(), self.name().to_owned(), name.to_owned());
        blocking(move || shared.snapshots.set_current(&guest, Some(&name))).await
    }

    /// Whether it has snapshots.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn has_snapshots(&self) -> Result<bool> {
        let (shared, name) = (self.connection.shared.clone(), self.name().to_owned());
        blocking(move || shared.snapshots.is_empty(&name).map(|empty| !empty)).await
    }

    /// Forgets all its snapshots. What the images have of them stays.
    ///
    /// # Errors
    /// `Busy` while something is done with one; `Storage`.
    pub async fn forget_snapshots(&self) -> Result<()> {
        let (shared, name) = (self.connection.shared.clone(), self.name().to_owned());
        blocking(move || {
            if shared.snapshots.pending(&name)?.is_some() {
                let message = format!("something with a snapshot of '{name}' is not finished");
                return Err(
                    Error::new(ErrorKind::Busy, message).hint("wait for it; the next start finishes what was cut off")
                );
            }
            shared.snapshots.forget(&name)
        })
        .await
    }
}
