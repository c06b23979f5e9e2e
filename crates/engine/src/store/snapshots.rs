//! Snapshots of guests: one XML file each, which of them is current, and what is being done to them.
//!
//! | file in `config/snapshots/GUEST/` | what |
//! |---|---|
//! | `NAME.xml` | the snapshot, with the definition that the guest had |
//! | `.current` | the name of the one that the guest goes on from |
//! | `.job` | what a process has begun and not finished, in JSON |
//!
//! Names of snapshots begin with no dot, so these never meet. Each file is whole or absent. A file that cannot be read is told and left
//! alone; a snapshot whose parent is missing, or that would be its own ancestor, is told and stands at the root.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use polyvirt_core::{
    Error, ErrorKind, Result, io_error,
    model::{
        FormatOptions, ParseOptions,
        snapshot::{DomainSnapshot, MomentParent, check_moment_name},
    },
};
use polyvirt_lease::{Durability, LockGuard, remove_durable, write_atomic};
use serde::{Deserialize, Serialize};

use super::{file_of, lock_directory, names_in};

/// The largest file that is read.
const SIZE_LIMIT: u64 = 16 << 20;
/// Most snapshots of one guest.
const COUNT_LIMIT: usize = 10_000;

/// What has been begun. Whoever finds it without its process finishes or undoes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "does")]
pub(crate) enum Pending {
    /// A snapshot is taken: without its file in the store, the images shall have nothing of it.
    Create {
        /// The snapshot as it will be stored.
        xml: String,
    },
    /// The guest comes back to a snapshot. Once it is off, its disks are brought back.
    Revert {
        /// Which.
        name: String,
    },
    /// Snapshots are deleted, in this order.
    Delete {
        /// Which.
        names: Vec<String>,
    },
}

/// The snapshots of one guest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    entries: BTreeMap<String, DomainSnapshot>,
    /// Those of which the parent does not count.
    detached: BTreeSet<String>,
    current: Option<String>,
    /// What is wrong, in words.
    pub(crate) problems: Vec<String>,
    broken: BTreeSet<String>,
}

impl Tree {
    fn new(
        entries: BTreeMap<String, DomainSnapshot>,
        broken: BTreeMap<String, String>,
        current: Option<String>,
    ) -> Self {
        let mut tree = Self {
            entries,
            detached: BTreeSet::new(),
            current: None,
            problems: broken.values().cloned().collect(),
            broken: broken.into_keys().collect(),
        };
        for name in tree.entries.keys().cloned().collect::<Vec<_>>() {
            let Some(parent) = tree.named_parent(&name).map(str::to_owned) else { continue };
            if !tree.entries.contains_key(&parent) {
                tree.problems.push(format!("the parent '{parent}' of the snapshot '{name}' is not there"));
                tree.detached.insert(name);
            } else if tree.is_own_ancestor(&name) {
                tree.problems
                    .push(format!("the snapshot '{name}' would be its own ancestor, by its parent '{parent}'"));
                tree.detached.insert(name);
            }
        }
        match current {
            Some(name) if tree.entries.contains_key(&name) => tree.current = Some(name),
            Some(name) => tree.problems.push(format!("the current snapshot '{name}' is not there")),
            None => {}
        }
        tree
    }

    fn named_parent(&self, name: &str) -> Option<&str> {
        self.entries.get(name)?.head.parent.as_ref().map(|parent| parent.name.as_str())
    }

    fn is_own_ancestor(&self, name: &str) -> bool {
        let mut at = name;
        // A walk that is longer than there are snapshots goes round in a loop further up.
        for _ in 0..self.entries.len() {
            match self.parent(at) {
                Some(parent) if parent == name => return true,
                Some(parent) => at = parent,
                None => return false,
            }
        }
        false
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &DomainSnapshot)> {
        self.entries.iter().map(|(name, snapshot)| (name.as_str(), snapshot))
    }

    /// Whether the name is taken.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name) || self.broken.contains(name)
    }

    /// The one of this name.
    ///
    /// # Errors
    /// `NotFound`; `InvalidConfig` for one whose file cannot be read.
    pub(crate) fn get(&self, name: &str) -> Result<&DomainSnapshot> {
        self.entries.get(name).ok_or_else(|| {
            let why = self.problems.iter().find(|_| self.broken.contains(name));
            match why {
                Some(_) => {
                    Error::new(ErrorKind::InvalidConfig, format!("the file of the snapshot '{name}' cannot be read"))
                        .hint("snapshot-list says why; correct the file")
                }
                None => Error::new(ErrorKind::NotFound, format!("there is no snapshot '{name}'"))
                    .hint("snapshot-list names those that are there"),
            }
        })
    }

    /// The one that the guest goes on from.
    pub(crate) fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// The one that it follows.
    pub(crate) fn parent(&self, name: &str) -> Option<&str> {
        self.named_parent(name).filter(|_| !self.detached.contains(name))
    }

    /// Those that follow it.
    pub(crate) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.entries.keys().map(String::as_str).filter(move |child| self.parent(child) == Some(name))
    }

    /// All that follow it, each after what it follows.
    pub(crate) fn descendants(&self, name: &str) -> Vec<String> {
        let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for child in self.entries.keys() {
            if let Some(parent) = self.parent(child) {
                children.entry(parent).or_default().push(child);
            }
        }
        let mut found = Vec::new();
        let mut waiting = vec![name];
        while let Some(at) = waiting.pop() {
            let below = children.get(at).map_or(&[][..], Vec::as_slice);
            found.extend(below.iter().map(|&child| child.to_owned()));
            waiting.extend(below.iter().rev());
        }
        found
    }
}

/// The directory of all guests' snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots {
    dir: PathBuf,
}

impl Snapshots {
    pub(crate) fn new(config: &Path) -> Self {
        Self { dir: config.join("snapshots") }
    }

    fn folder(&self, guest: &str) -> Result<PathBuf> {
        // The rules of files' names hold for directories.
        file_of(&self.dir, guest, "xml").map(|_| self.dir.join(guest))
    }

    fn lock(&self, guest: &str) -> Result<LockGuard> {
        lock_directory(&self.folder(guest)?, ".lock")
    }

    /// The snapshots of a guest.
    ///
    /// # Errors
    /// `Storage`; `NoResources` for more than a guest may have.
    pub(crate) fn tree(&self, guest: &str) -> Result<Tree> {
        let folder = self.folder(guest)?;
        let names = names_in(&folder, "xml")?;
        if names.len() > COUNT_LIMIT {
            let message =
                format!("{} holds {} snapshots, at most {COUNT_LIMIT} are read", folder.display(), names.len());
            return Err(Error::new(ErrorKind::NoResources, message).hint("move those that nobody needs elsewhere"));
        }
        let (mut entries, mut broken) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            let path = folder.join(format!("{name}.xml"));
            match read(&path, &name) {
                Ok(Some(snapshot)) => drop(entries.insert(name, snapshot)),
                Ok(None) => {}
                Err(error) => {
                    let told = format!("{} is no snapshot: {error}", path.display());
                    broken.insert(name, told);
                }
            }
        }
        let current = small(&folder.join(".current"))?.map(|text| text.trim().to_owned());
        Ok(Tree::new(entries, broken, current.filter(|name| !name.is_empty())))
    }

    /// Whether a guest has any, readable or not.
    pub(crate) fn is_empty(&self, guest: &str) -> Result<bool> {
        Ok(names_in(&self.folder(guest)?, "xml")?.is_empty())
    }

    /// Stores a snapshot, and makes it the current one if `current`.
    ///
    /// # Errors
    /// `AlreadyExists`, unless `replace`; `Storage`.
    pub(crate) fn put(&self, guest: &str, snapshot: &DomainSnapshot, current: bool, replace: bool) -> Result<()> {
        let _lock = self.lock(guest)?;
        let name = snapshot.head.name.clone().unwrap_or_default();
        let path = self.file(guest, &name)?;
        if !replace && path.symlink_metadata().is_ok() {
            return Err(taken(&name));
        }
        write(&path, &text_of(snapshot))?;
        if current { self.write_current(guest, Some(&name)) } else { Ok(()) }
    }

    /// Says from which one the guest goes on.
    ///
    /// # Errors
    /// `Storage`.
    pub(crate) fn set_current(&self, guest: &str, name: Option<&str>) -> Result<()> {
        let _lock = self.lock(guest)?;
        self.write_current(guest, name)
    }

    /// Removes one; those that follow it follow what it followed, and so does the guest. No more to do is no error.
    ///
    /// # Errors
    /// `Storage`.
    pub(crate) fn remove(&self, guest: &str, name: &str) -> Result<()> {
        let _lock = self.lock(guest)?;
        let tree = self.tree(guest)?;
        let parent = tree.parent(name).map(str::to_owned);
        for child in tree.children(name) {
            let mut moved = tree.get(child)?.clone();
            moved.head.parent = parent.as_deref().map(MomentParent::new);
            write(&self.file(guest, child)?, &text_of(&moved))?;
        }
        if tree.current() == Some(name) {
            self.write_current(guest, parent.as_deref())?;
        }
        let path = self.file(guest, name)?;
        remove_durable(&path, Durability::Durable).map_err(|e| io_error("remove the snapshot", &path, e))
    }

    /// Removes all that is known of a guest's snapshots.
    ///
    /// # Errors
    /// `Storage`.
    pub(crate) fn forget(&self, guest: &str) -> Result<()> {
        let folder = self.folder(guest)?;
        if !folder.exists() {
            return Ok(());
        }
        let _lock = self.lock(guest)?;
        match std::fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove the snapshots", &folder, e)),
            _ => Ok(()),
        }
    }

    /// A guest has another name. None to move is no error.
    ///
    /// # Errors
    /// `Busy` while something is not finished; `AlreadyExists` for what is left of another guest of that name; `Storage`.
    pub(crate) fn rename(&self, old: &str, new: &str) -> Result<()> {
        let (from, to) = (self.folder(old)?, self.folder(new)?);
        if !from.exists() {
            return Ok(());
        }
        let _lock = self.lock(old)?;
        if self.pending(old)?.is_some() {
            let message = format!("something with a snapshot of '{old}' is not finished");
            return Err(Error::new(ErrorKind::Busy, message).hint("the next start of the guest finishes it"));
        }
        match std::fs::rename(&from, &to) {
            Err(e) if e.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
                let message = format!("there are snapshots of a former guest '{new}' in {}", to.display());
                Err(Error::new(ErrorKind::AlreadyExists, message).hint("move them elsewhere"))
            }
            Err(e) => Err(io_error("move the snapshots to", &to, e)),
            Ok(()) => Ok(()),
        }
    }

    /// What has been begun and not finished.
    ///
    /// # Errors
    /// `Storage`; `InvalidConfig` for what another version wrote.
    pub(crate) fn pending(&self, guest: &str) -> Result<Option<Pending>> {
        let path = self.folder(guest)?.join(".job");
        let Some(text) = small(&path)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Error::new(ErrorKind::InvalidConfig, format!("{} cannot be understood: {e}", path.display()))
                .hint("a newer version may have written it; finish the work with that one")
        })
    }

    /// Writes down what is begun, durably.
    ///
    /// # Errors
    /// `Storage`.
    pub(crate) fn begin(&self, guest: &str, pending: &Pending) -> Result<()> {
        let _lock = self.lock(guest)?;
        let text = serde_json::to_string(pending)
            .map_err(|e| Error::new(ErrorKind::Internal, "a job that is no JSON").source(e))?;
        write(&self.folder(guest)?.join(".job"), &text)
    }

    /// It is finished, or undone.
    ///
    /// # Errors
    /// `Storage`.
    pub(crate) fn finish(&self, guest: &str) -> Result<()> {
        let path = self.folder(guest)?.join(".job");
        remove_durable(&path, Durability::Durable).map_err(|e| io_error("remove", &path, e))
    }

    fn file(&self, guest: &str, name: &str) -> Result<PathBuf> {
        check_moment_name(name).map_err(|e| Error::new(ErrorKind::InvalidArgument, e.to_string()))?;
        file_of(&self.folder(guest)?, name, "xml")
    }

    fn write_current(&self, guest: &str, name: Option<&str>) -> Result<()> {
        let path = self.folder(guest)?.join(".current");
        match name {
            Some(name) => write(&path, name),
            None => remove_durable(&path, Durability::Durable).map_err(|e| io_error("remove", &path, e)),
        }
    }
}

/// A name that is another's.
pub(crate) fn taken(name: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("there is a snapshot '{name}' already"))
        .hint("take another name, or delete that one first")
}

/// A snapshot as it is stored: with the secrets of its guest.
pub(crate) fn text_of(snapshot: &DomainSnapshot) -> String {
    snapshot.to_xml_with(FormatOptions::new().secure().inactive())
}

fn write(path: &Path, text: &str) -> Result<()> {
    write_atomic(path, text.as_bytes(), 0o600, Durability::Durable).map_err(|e| io_error("write", path, e))
}

/// A file of bounded size, as text; `None` if it is not there.
fn small(path: &Path) -> Result<Option<String>> {
    use std::io::Read as _;
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("read", path, e)),
    };
    // A pipe or a device would keep the reader for ever.
    if !meta.is_file() || meta.len() > SIZE_LIMIT {
        let message = format!("{} is no regular file of at most {SIZE_LIMIT} bytes", path.display());
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(SIZE_LIMIT).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            Err(Error::new(ErrorKind::InvalidConfig, format!("{} is not UTF-8 text", path.display())))
        }
        Err(e) => Err(io_error("read", path, e)),
    }
}

fn read(path: &Path, name: &str) -> Result<Option<DomainSnapshot>> {
    let Some(text) = small(path)? else { return Ok(None) };
    let snapshot = DomainSnapshot::from_xml(&text, &ParseOptions::default()).map_err(Error::invalid_config)?.config;
    if snapshot.head.name.as_deref() != Some(name) {
        let found = snapshot.head.name.unwrap_or_default();
        let message = format!("it holds the snapshot '{found}'; the name of a file is the name of its snapshot");
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    Ok(Some(snapshot))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, parent: Option<&str>) -> DomainSnapshot {
        let parent = parent.map_or_else(String::new, |it| format!("<parent><name>{it}</name></parent>"));
        let text = format!(
            "<domainsnapshot><name>{name}</name><state>shutoff</state>{parent}<creationTime>1</creationTime></domainsnapshot>"
        );
        DomainSnapshot::from_xml(&text, &ParseOptions::default()).unwrap().config
    }

    fn store() -> (tempfile::TempDir, Snapshots) {
        let directory = tempfile::tempdir().unwrap();
        let store = Snapshots::new(directory.path());
        (directory, store)
    }

    #[test]
    fn what_follows_a_snapshot_that_goes_follows_its_parent() {
        let (_directory, store) = store();
        for (name, parent) in [("a", None), ("b", Some("a")), ("c", Some("b")), ("d", Some("b"))] {
            store.put("web", &snapshot(name, parent), name == "b", false).unwrap();
        }
        assert_eq!(store.tree("web").unwrap().descendants("a"), ["b", "c", "d"]);
        assert_eq!(store.put("web", &snapshot("a", None), false, false).unwrap_err().kind(), ErrorKind::AlreadyExists);
        for _ in 0..2 {
            store.remove("web", "b").unwrap();
        }
        let tree = store.tree("web").unwrap();
        assert_eq!((tree.parent("c"), tree.parent("d"), tree.current()), (Some("a"), Some("a"), Some("a")));
        assert!(tree.problems.is_empty(), "{:?}", tree.problems);
        store.forget("web").unwrap();
        assert!(store.is_empty("web").unwrap() && store.tree("web").unwrap().all().next().is_none());
    }

    #[test]
    fn hostile_and_broken_files_are_told_and_stay() {
        let (directory, store) = store();
        for (name, parent) in
            [("a", Some("c")), ("b", Some("a")), ("c", Some("b")), ("d", Some("b")), ("e", Some("gone"))]
        {
            store.put("web", &snapshot(name, parent), false, false).unwrap();
        }
        store.put("web", &snapshot("self", Some("self")), false, false).unwrap();
        store.set_current("web", Some("nobody")).unwrap();
        let folder = directory.path().join("snapshots/web");
        std::fs::write(folder.join("broken.xml"), "<domainsnapshot>").unwrap();
        std::fs::write(folder.join("other.xml"), text_of(&snapshot("a", None))).unwrap();
        let tree = store.tree("web").unwrap();
        assert_eq!(tree.all().count(), 6);
        let told = tree.problems.join("\n");
        for part in
            ["own ancestor", "'gone'", "broken.xml", "holds the snapshot 'a'", "'nobody' is not there", "'self'"]
        {
            assert!(told.contains(part), "{part} not in {told}");
        }
        // One link of the loop is cut, so there is an end and nothing is missing.
        let roots: Vec<_> = tree.all().filter(|(name, _)| tree.parent(name).is_none()).map(|it| it.0).collect();
        assert_eq!(roots, ["a", "e", "self"]);
        assert_eq!(tree.descendants("a"), ["b", "c", "d"]);
        assert_eq!(tree.get("broken").unwrap_err().kind(), ErrorKind::InvalidConfig);
        assert!(tree.has("broken") && folder.join("broken.xml").exists());
        store.remove("web", "b").unwrap();
        assert!(folder.join("broken.xml").exists() && folder.join("other.xml").exists());
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        let (_directory, store) = store();
        for name in ["../x", "a/b", "..", ".current", ""] {
            let error = store.put("web", &snapshot("a", None), false, false).and_then(|()| store.remove("web", name));
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidArgument, "{name}");
            store.remove("web", "a").unwrap();
        }
        assert!(store.tree("../web").is_err());
    }

    #[test]
    fn what_is_begun_is_found_until_it_is_finished() {
        let (directory, store) = store();
        assert_eq!(store.pending("web").unwrap(), None);
        let pending = Pending::Delete { names: vec!["a".into()] };
        store.begin("web", &pending).unwrap();
        assert_eq!(store.pending("web").unwrap(), Some(pending));
        for _ in 0..2 {
            store.finish("web").unwrap();
        }
        assert_eq!(store.pending("web").unwrap(), None);
        std::fs::write(directory.path().join("snapshots/web/.job"), r#"{"does":"teleport"}"#).unwrap();
        assert_eq!(store.pending("web").unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
}
