//! Definitions: one XML file a guest, and its autostart mark.

use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use polyvirt_core::{
    Error, ErrorKind, Result, io_error,
    model::{DomainConfig, FormatOptions, ParseOptions},
};
use polyvirt_lease::{Durability, LockGuard, write_atomic};

use super::{blocking, file_of, lock_directory, make_directory, names_in};

/// Holds the old and the new name while a definition is renamed.
const RENAMING: &str = ".renaming";

/// The largest definition that is read.
const SIZE_LIMIT: u64 = 16 << 20;

/// A definition as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) config: Arc<DomainConfig>,
    pub(crate) path: PathBuf,
}

/// A file of the store: a definition, or why it is none.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) definition: Result<Definition>,
    pub(crate) autostart: bool,
}

/// When a file has these it has not changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &std::fs::Metadata) -> Self {
        Self {
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A file as it was read.
type Known = (Stamp, Arc<DomainConfig>);

/// The directory of definitions. Clones share what was read.
#[derive(Clone)]
pub(crate) struct Definitions {
    dir: PathBuf,
    read: Arc<Mutex<HashMap<String, Known>>>,
}

impl Definitions {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), read: Arc::default() }
    }

    fn marks(&self) -> PathBuf {
        self.dir.join("autostart")
    }

    /// Only one process at a time changes definitions. What one that died left half renamed is brought to its end.
    fn lock(&self) -> Result<LockGuard> {
        let guard = lock_directory(&self.dir, ".lock")?;
        self.finish_rename()?;
        Ok(guard)
    }

    /// The definition of that name, or `None`.
    ///
    /// # Errors
    /// `InvalidConfig` when the file is no definition; the file is left as it is.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Definition>> {
        let path = file_of(&self.dir, name, "xml")?;
        let meta = match std::fs::metadata(&path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error("read the definition", &path, e)),
        };
        // A pipe or a device would keep the reader for ever.
        if !meta.is_file() {
            let message = format!("{} is no regular file", path.display());
            return Err(
                Error::new(ErrorKind::InvalidConfig, message).hint("remove it from the directory of definitions")
            );
        }
        let stamp = Stamp::of(&meta);
        if let Some((known, config)) = self.read.lock().unwrap_or_else(PoisonError::into_inner).get(name)
            && *known == stamp
        {
            return Ok(Some(Definition { config: config.clone(), path }));
        }
        let config = match read_definition(&path, name, meta.len()) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => Arc::new(other?),
        };
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), (stamp, config.clone()));
        Ok(Some(Definition { config, path }))
    }

    /// Every definition, sorted by name, broken ones with what is wrong with them.
    pub(crate) fn all(&self) -> Result<Vec<Stored>> {
        Ok(self.read_these(&names_in(&self.dir, "xml")?, &names_in(&self.marks(), "xml")?))
    }

    /// As [`Definitions::all`], with several of the runtime's blocking threads.
    pub(crate) async fn all_at_once(&self) -> Result<Vec<Stored>> {
        let definitions = self.clone();
        let (names, marks) =
            blocking(move || Ok((names_in(&definitions.dir, "xml")?, names_in(&definitions.marks(), "xml")?))).await?;
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let marks = Arc::new(marks);
        let parts: Vec<_> = names
            .chunks(names.len().div_ceil(workers).max(64))
            .map(|part| {
                let (definitions, part, marks) = (self.clone(), part.to_vec(), marks.clone());
                tokio::spawn(blocking(move || Ok(definitions.read_these(&part, &marks))))
            })
            .collect();
        let mut stored = Vec::with_capacity(names.len());
        for part in parts {
            stored.extend(part.await.map_err(|e| {
                Error::new(ErrorKind::Internal, "reading definitions ended without an answer").source(e)
            })??);
        }
        Ok(stored)
    }

    /// One that vanished between listing and reading is left out.
    fn read_these(&self, names: &[String], marks: &[String]) -> Vec<Stored> {
        let read = |name: &String| {
            let definition = self.get(name).transpose()?;
            Some(Stored { autostart: marks.binary_search(name).is_ok(), name: name.clone(), definition })
        };
        names.iter().filter_map(read).collect()
    }

    /// Whether the guest starts with the host.
    pub(crate) fn autostart(&self, name: &str) -> Result<bool> {
        Ok(file_of(&self.marks(), name, "xml")?.symlink_metadata().is_ok())
    }

    /// Stores a definition if `may` agrees; `then` is told whether it replaced one. Both are called under the lock.
    ///
    /// # Errors
    /// `AlreadyExists` when the name has another UUID or the UUID another name; `Storage` when it cannot be written, and then
    /// the definition that was there still is.
    pub(crate) fn put(
        &self,
        config: &DomainConfig,
        may: impl FnOnce() -> Result<()>,
        then: impl FnOnce(bool),
    ) -> Result<bool> {
        let path = file_of(&self.dir, &config.name, "xml")?;
        let _lock = self.lock()?;
        let existed = self.check_identity(config)?;
        may()?;
        // Without its secrets the guest would start another time with, say, a display that asks for no password.
        let text = config.to_xml_with(FormatOptions::new().secure());
        write_atomic(&path, text.as_bytes(), 0o600, Durability::Durable)
            .map_err(|e| io_error("store the definition", &path, e))?;
        then(existed);
        Ok(existed)
    }

    /// Refuses a guest of which the name was defined with another UUID meanwhile. Once the guest has a record, [`Definitions::put`]
    /// refuses the other.
    pub(crate) fn check_name(&self, config: &DomainConfig) -> Result<()> {
        let _lock = self.lock()?;
        match self.get(&config.name)?.and_then(|stored| stored.config.uuid).filter(|uuid| Some(*uuid) != config.uuid) {
            Some(uuid) => Err(name_taken(&config.name, uuid)),
            None => Ok(()),
        }
    }

    /// A name belongs to one UUID and a UUID to one name.
    fn check_identity(&self, config: &DomainConfig) -> Result<bool> {
        let mut existed = false;
        for stored in self.all()? {
            let uuid = stored.definition.ok().and_then(|d| d.config.uuid);
            let same_name = stored.name == config.name;
            existed |= same_name;
            let same_uuid = uuid.is_some() && uuid == config.uuid;
            if let Some(uuid) = uuid.filter(|_| same_name && !same_uuid) {
                return Err(name_taken(&stored.name, uuid));
            }
            if same_uuid && !same_name {
                let message =
                    format!("the UUID {} belongs to the guest '{}' already", uuid.unwrap_or_default(), stored.name);
                return Err(Error::new(ErrorKind::AlreadyExists, message)
                    .hint("leave <uuid> out to have a new one drawn, or undefine that guest first"));
            }
        }
        Ok(existed)
    }

    /// Removes a definition and its mark; `then` is told, still under the lock.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(crate) fn remove(&self, name: &str, then: impl FnOnce()) -> Result<()> {
        let path = file_of(&self.dir, name, "xml")?;
        let mark = file_of(&self.marks(), name, "xml")?;
        let _lock = self.lock()?;
        match std::fs::remove_file(&mark) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_error("remove the autostart mark", &mark, e));
            }
            _ => {}
        }
        std::fs::remove_file(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("no guest '{name}' is defined")),
            _ => io_error("remove the definition", &path, e),
        })?;
        self.read.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        sync_directory(&self.dir)?;
        then();
        Ok(())
    }

    /// Stores a definition under another name in place of the one it had; its mark follows. `then` is told, still under the lock.
    ///
    /// # Errors
    /// `NotFound` when there is none of the old name; `AlreadyExists` when there is one of the new; `Storage`, and then the definition is
    /// still under its old name.
    pub(crate) fn rename(&self, old: &str, new: &str, then: impl FnOnce()) -> Result<()> {
        let to = file_of(&self.dir, new, "xml")?;
        let _lock = self.lock()?;
        let Some(stored) = self.get(old)? else {
            let message = format!("the guest '{old}' has no stored definition");
            return Err(Error::new(ErrorKind::InvalidState, message).hint("a transient guest keeps its name"));
        };
        if to.symlink_metadata().is_ok() {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("there is a guest '{new}' already"))
                .hint("take another name"));
        }
        let mut config = (*stored.config).clone();
        new.clone_into(&mut config.name);
        let text = config.to_xml_with(FormatOptions::new().secure());
        let note = self.dir.join(RENAMING);
        let step = |path: &Path, text: &str| {
            write_atomic(path, text.as_bytes(), 0o600, Durability::Durable)
                .map_err(|e| io_error("store the definition", path, e))
        };
        step(&note, &format!("{old}\n{new}"))?;
        if let Err(error) = step(&to, &text) {
            // Nothing was done yet.
            std::fs::remove_file(&note).ok();
            return Err(error);
        }
        self.finish_rename()?;
        then();
        Ok(())
    }

    /// Brings to its end what a rename began: once the definition is there under its new name, the old one goes.
    fn finish_rename(&self) -> Result<()> {
        let note = self.dir.join(RENAMING);
        let text = match std::fs::read_to_string(&note) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(io_error("read", &note, e)),
        };
        if let Some((old, new)) = text.split_once('\n')
            && file_of(&self.dir, new, "xml")?.exists()
        {
            let from = file_of(&self.dir, old, "xml")?;
            if self.autostart(old)? {
                mark(&self.marks(), new, true)?;
                mark(&self.marks(), old, false)?;
            }
            match std::fs::remove_file(&from) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io_error("remove the definition", &from, e));
                }
                _ => {}
            }
            self.read.lock().unwrap_or_else(PoisonError::into_inner).remove(old);
        }
        std::fs::remove_file(&note).map_err(|e| io_error("remove", &note, e))?;
        sync_directory(&self.dir)
    }

    /// Sets or removes the mark.
    ///
    /// # Errors
    /// `NotFound` when there is no definition of that name.
    pub(crate) fn set_autostart(&self, name: &str, on: bool) -> Result<()> {
        let path = file_of(&self.dir, name, "xml")?;
        let _lock = self.lock()?;
        if !path.exists() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("no guest '{name}' is defined, so it cannot start with the host"),
            )
            .hint("define it first: a guest made with create has no definition"));
        }
        mark(&self.marks(), name, on)
    }
}

/// Sets or removes the mark of a guest that starts with the host.
fn mark(marks: &Path, name: &str, on: bool) -> Result<()> {
    let mark = file_of(marks, name, "xml")?;
    make_directory(marks)?;
    let done =
        if on { std::os::unix::fs::symlink(format!("../{name}.xml"), &mark) } else { std::fs::remove_file(&mark) };
    match done {
        Err(e) if on && e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if !on && e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(io_error("change the autostart mark", &mark, e)),
        Ok(()) => sync_directory(marks),
    }
}

fn name_taken(name: &str, uuid: uuid::Uuid) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("the guest '{name}' exists already with UUID {uuid}"))
        .hint(format!("take another name, or write <uuid>{uuid}</uuid> to change that guest"))
}

fn read_definition(path: &Path, name: &str, size: u64) -> Result<DomainConfig> {
    if size > SIZE_LIMIT {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            format!("{} has {size} bytes, at most {SIZE_LIMIT} are read", path.display()),
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|e| io_error("read the definition", path, e))?;
    let parsed = DomainConfig::parse(&text, &ParseOptions::default())
        .map_err(|p| Error::invalid_config(p).with("file", path.display()))?;
    if parsed.config.name != name {
        let message = format!(
            "{} holds the definition of '{}'; the name of a file is the name of its guest",
            path.display(),
            parsed.config.name
        );
        return Err(Error::new(ErrorKind::InvalidConfig, message)
            .hint("rename the file, or define the guest from it elsewhere"));
    }
    Ok(parsed.config)
}

fn sync_directory(dir: &Path) -> Result<()> {
    std::fs::File::open(dir).and_then(|d| d.sync_all()).map_err(|e| io_error("sync the directory", dir, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Definitions) {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Definitions::new(dir.path());
        let xml = "<domain type='test'><name>old</name><uuid>11111111-1111-4111-8111-111111111111</uuid><memory>1</memory></domain>";
        let config = DomainConfig::parse(xml, &ParseOptions::default()).expect("a definition").config;
        store.put(&config, || Ok(()), drop).expect("stored");
        store.set_autostart("old", true).expect("marked");
        (dir, store)
    }

    fn renamed(store: &Definitions) {
        assert!(store.get("old").expect("read").is_none() && !store.autostart("old").expect("read"));
        let uuid = store.get("new").expect("read").and_then(|it| it.config.uuid).map(|it| it.to_string());
        assert_eq!(uuid.as_deref(), Some("11111111-1111-4111-8111-111111111111"));
        assert!(store.autostart("new").expect("read"));
        assert!(!store.dir.join(RENAMING).exists());
    }

    #[test]
    fn a_rename_takes_the_mark_along() {
        let (_dir, store) = store();
        store.rename("old", "new", || {}).expect("renamed");
        renamed(&store);
        assert_eq!(store.rename("old", "other", || {}).expect_err("gone").kind(), ErrorKind::InvalidState);
    }

    #[test]
    fn a_rename_that_was_cut_is_brought_to_its_end() {
        let (dir, store) = store();
        // As it is after the second of its steps.
        std::fs::write(dir.path().join(RENAMING), "old\nnew").expect("written");
        let text = std::fs::read_to_string(dir.path().join("old.xml")).expect("read").replace("<name>old", "<name>new");
        std::fs::write(dir.path().join("new.xml"), text).expect("written");
        store.set_autostart("new", true).expect("whoever changes something next");
        renamed(&store);
    }

    #[test]
    fn a_rename_that_was_cut_at_once_changed_nothing() {
        let (dir, store) = store();
        std::fs::write(dir.path().join(RENAMING), "old\nnew").expect("written");
        store.set_autostart("old", true).expect("whoever changes something next");
        assert!(store.get("old").expect("read").is_some() && store.get("new").expect("read").is_none());
        assert!(!dir.path().join(RENAMING).exists());
    }
}
