//! Coming over from libvirt: a directory of its definitions becomes guests here.
//!
//! ```text
//! Directory::read ─> plan: read, complete, compare, look for clashes ─> Import ─> Import::apply: define, mark
//! ```
//!
//! [`plan`] changes nothing anywhere, and nothing of libvirt's is ever changed. One file that is wrong stops no other. What it does not
//! do: images stay where they are, and saved states, snapshots, networks and secrets stay libvirt's; what of them belongs to a guest
//! is told with it.
//!
//! ```no_run
//! use polyvirt::import::{self, Directory, Options};
//!
//! # async fn run() -> polyvirt::Result<()> {
//! let connection = polyvirt::open("qemu:///system").await?;
//! let directory = Directory::read("/etc/libvirt/qemu".as_ref()).await?;
//! let mut import = import::plan(&connection, directory, Options::default(), &|_| {}).await?;
//! import.apply(&connection, &|_| {}).await;
//! for guest in import.refused() {
//!     eprintln!("{}: {:?}", guest.file.display(), guest.step);
//! }
//! # Ok(()) }
//! ```
//!
//! Invariant: what [`Import::apply`] stores is what was compared.

mod compare;
mod directory;

use std::{collections::HashMap, path::PathBuf};

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{Change, DomainConfig, ParseOptions, XmlTree, diff},
};
use polyvirt_engine::{Connection, GuestEntry, Prepared};
use uuid::Uuid;

pub use self::{
    compare::Differences,
    directory::{DefinitionFile, Directory, NotTaken},
};

/// How guests are taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Replace definitions of the same guests that are here already and differ.
    pub replace: bool,
}

impl Options {
    /// Sets [`Options::replace`].
    #[must_use]
    pub fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }
}

/// What is done with a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// It becomes a guest.
    Define,
    /// It takes the place of the definition that is here.
    Replace,
    /// It is here already.
    Keep,
}

/// A file and what becomes of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// The file.
    pub file: PathBuf,
    /// The guest's name, if the file says one that can be read.
    pub name: Option<String>,
    /// Its UUID, likewise.
    pub uuid: Option<Uuid>,
    /// Whether libvirt starts it with the host.
    pub autostart: bool,
    /// What is done, or why nothing can be.
    pub step: Result<Step>,
    /// What would be stored, beside what the file says.
    pub differences: Differences,
    /// What would be stored, beside the definition of this guest that is here.
    pub replaced: Vec<Change>,
    /// What else is worth knowing: what stays with libvirt, and what both would do.
    pub notes: Vec<String>,
    prepared: Option<Prepared>,
}

impl Candidate {
    fn new(file: &DefinitionFile) -> Self {
        Self {
            file: file.path.clone(),
            name: None,
            uuid: None,
            autostart: file.autostart,
            step: Ok(Step::Keep),
            differences: Differences::default(),
            replaced: Vec::new(),
            notes: Vec::new(),
            prepared: None,
        }
    }

    fn refuse(&mut self, error: Error) {
        self.step = Err(error);
        self.prepared = None;
    }

    /// Whether libvirt itself would read this file: it has the name of its guest.
    fn has_its_guests_name(&self) -> bool {
        self.name.as_deref().is_some_and(|name| self.file.file_stem().is_some_and(|stem| stem == name))
    }
}

/// A directory and what becomes of each file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Import {
    /// The directory.
    pub directory: PathBuf,
    /// Its definitions, sorted by file name.
    pub guests: Vec<Candidate>,
    /// What is no definition of a guest.
    pub not_taken: Vec<NotTaken>,
}

/// Told after each file how many are done.
pub type Observer<'a> = dyn Fn(usize) + Send + Sync + 'a;

/// Finds out what becomes of every file. Changes nothing.
///
/// # Errors
/// `Storage` or `Denied` when the guests of the connection cannot be listed. What is wrong with a file stands in its [`Candidate`].
pub async fn plan(
    connection: &Connection,
    directory: Directory,
    options: Options,
    observer: &Observer<'_>,
) -> Result<Import> {
    let known = connection.list().await?;
    let mut import = Import { directory: directory.path.clone(), guests: Vec::new(), not_taken: Vec::new() };
    for (at, file) in directory.definitions.iter().enumerate() {
        let judge = Judge { connection, directory: &directory, known: &known, options };
        match judge.file(file).await {
            Ok(candidate) => import.guests.push(candidate),
            Err(other) => import.not_taken.push(other),
        }
        observer(at + 1);
    }
    import.not_taken.extend(directory.not_taken);
    import.not_taken.sort_by(|a, b| a.path.cmp(&b.path));
    refuse_clashes(&mut import.guests);
    Ok(import)
}

struct Judge<'a> {
    connection: &'a Connection,
    directory: &'a Directory,
    known: &'a [GuestEntry],
    options: Options,
}

impl Judge<'_> {
    /// What becomes of a file; `Err` if it holds no guest.
    async fn file(&self, file: &DefinitionFile) -> Result<Candidate, NotTaken> {
        let mut candidate = Candidate::new(file);
        let text = match file.text().await {
            Ok(text) => text,
            Err(error) => {
                candidate.refuse(error);
                return Ok(candidate);
            }
        };
        let mut before = match DomainConfig::parse(&text, &ParseOptions::default()) {
            Ok(parsed) => parsed.config,
            Err(problems) => {
                if let Some(root) = other_root(&text) {
                    return Err(NotTaken::new(&file.path, format!("holds <{root}>, no guest")));
                }
                candidate
                    .refuse(Error::invalid_config(problems).hint("correct the file, or leave the guest with libvirt"));
                return Ok(candidate);
            }
        };
        before.make_stored();
        candidate.name = Some(before.name.clone());
        candidate.uuid = before.uuid;
        candidate.notes = self.directory.left_behind(&before.name).await;
        if candidate.autostart {
            let disable = format!("`virsh autostart --disable {}` ends that", before.name);
            candidate.notes.push(format!("libvirt starts it with the host, too; {disable}"));
        }
        match self.connection.prepare(&text).await {
            Ok(prepared) => self.compare(&mut candidate, before, prepared).await,
            Err(error) => candidate.refuse(error),
        }
        Ok(candidate)
    }

    async fn compare(&self, candidate: &mut Candidate, before: DomainConfig, mut prepared: Prepared) {
        let namesake = self.known.iter().find(|entry| entry.name == before.name);
        if let (false, Some(uuid)) = (prepared.uuid_given, namesake.and_then(|entry| entry.uuid)) {
            prepared.config.uuid = Some(uuid);
        }
        let uuid = prepared.config.uuid;
        candidate.uuid = uuid;
        let changes = diff(&before, &prepared.config);
        let warnings = std::mem::take(&mut prepared.warnings);
        candidate.differences = Differences::of(changes, warnings, prepared.uuid_given);
        candidate.step = match self.known.iter().find(|entry| entry.uuid == uuid && entry.name != before.name) {
            Some(other) => Err(taken(format!("the UUID {} belongs to the guest '{}' here", shown(uuid), other.name))),
            None => match namesake {
                Some(entry) if entry.uuid.is_some() && entry.uuid != uuid => {
                    Err(taken(format!("the name belongs to the guest with UUID {} here", shown(entry.uuid))))
                }
                Some(entry) if entry.persistent => self.again(candidate, &prepared.config).await,
                _ => Ok(Step::Define),
            },
        };
        candidate.prepared = candidate.step.is_ok().then_some(prepared);
    }

    /// What becomes of a guest that is defined here.
    async fn again(&self, candidate: &mut Candidate, config: &DomainConfig) -> Result<Step> {
        let stored = match self.connection.lookup_by_name(&config.name).await {
            Ok(guest) => guest.view().await?.stored,
            // A broken definition differs from any.
            Err(_) => None,
        };
        if let Some(stored) = &stored {
            candidate.replaced = diff(stored, config);
            if candidate.replaced.is_empty() {
                return Ok(Step::Keep);
            }
        }
        if self.options.replace {
            return Ok(Step::Replace);
        }
        let message = format!("the guest '{}' is defined here, and differently", config.name);
        Err(Error::new(ErrorKind::AlreadyExists, message).hint("--replace takes this definition instead of that one"))
    }
}

fn shown(uuid: Option<Uuid>) -> String {
    uuid.unwrap_or_default().to_string()
}

fn taken(message: String) -> Error {
    Error::new(ErrorKind::AlreadyExists, message)
        .hint("undefine that guest here first, or give this one another identity")
}

/// The root element of a document that holds something else than a guest.
fn other_root(text: &str) -> Option<String> {
    let root = XmlTree::parse(text).ok()?.name;
    (root != DomainConfig::ROOT).then_some(root)
}

/// Of several files with one name or one UUID libvirt reads the one that is called after its guest; if that does not tell, none is
/// taken: which of them is meant only a person can say.
fn refuse_clashes(guests: &mut [Candidate]) {
    let mut groups: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, guest) in guests.iter().enumerate() {
        let keys = guest.name.iter().map(|name| format!("name '{name}'"));
        for key in keys.chain(guest.uuid.iter().map(|uuid| format!("UUID {uuid}"))) {
            groups.entry(key).or_default().push(at);
        }
    }
    let mut groups: Vec<_> = groups.into_iter().filter(|(_, members)| members.len() > 1).collect();
    groups.sort();
    for (key, members) in groups {
        let called: Vec<usize> = members.iter().copied().filter(|at| guests[*at].has_its_guests_name()).collect();
        let winner = if let [one] = called[..] { Some(one) } else { None };
        for at in &members {
            if Some(*at) == winner || guests[*at].step.is_err() {
                continue;
            }
            let other = winner.or_else(|| members.iter().copied().find(|other| other != at)).unwrap_or(*at);
            let other = guests[other].file.display();
            let error = Error::new(ErrorKind::AlreadyExists, format!("has the {key} of {other} too"))
                .hint("remove the file that is out of date, or give it another name and UUID");
            guests[*at].refuse(error);
        }
    }
}

impl Import {
    /// Defines what the plan says and marks what starts with the host. What fails meanwhile becomes a refusal of its guest; nothing
    /// else is stopped by it.
    pub async fn apply(&mut self, connection: &Connection, observer: &Observer<'_>) {
        for (at, candidate) in self.guests.iter_mut().enumerate() {
            if let Err(error) = carry_out(candidate, connection).await {
                candidate.refuse(error);
            }
            observer(at + 1);
        }
    }

    /// Definitions that were refused.
    pub fn refused(&self) -> impl Iterator<Item = &Candidate> {
        self.guests.iter().filter(|candidate| candidate.step.is_err())
    }
}

async fn carry_out(candidate: &mut Candidate, connection: &Connection) -> Result<()> {
    let (Ok(step), Some(prepared)) = (&candidate.step, candidate.prepared.take()) else { return Ok(()) };
    let name = prepared.config.name.clone();
    if *step != Step::Keep {
        connection.store(prepared).await?;
    }
    if candidate.autostart {
        connection.lookup_by_name(&name).await?.set_autostart(true).await?;
    }
    Ok(())
}

/// Work on files, away from the runtime's own threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::new(ErrorKind::Internal, "work on files ended without an answer").source(error)),
    }
}
