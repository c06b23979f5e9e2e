//! `<domainsnapshot>`: a guest at one moment (manual: "Snapshot XML format").
//!
//! [`DomainSnapshot::from_xml`] gives what was written. What follows depends on who wrote it: [`DomainSnapshot::request`] takes it as a wish for a
//! new snapshot and drops what only a hypervisor can know, [`DomainSnapshot::redefine`] as the description of one that exists.
//! [`DomainSnapshot::align`] says for every disk of a guest what the snapshot does with it. No image is touched here.
//!
//! Invariants: a name can be a file name; completing twice changes nothing; after `align` every disk of the guest is listed once, and
//! each new image has a place of its own.

mod align;
mod name;

use polyvirt_xml::{Element, FormatOptions, ParseOptions, Parsed, Positions, Problems, XmlTree, words};
use uuid::Uuid;

pub use align::Scope;
pub(crate) use name::names;
pub use name::{MomentNameError, check_moment_name};

use crate::codec::Uuids;
use crate::disk::DiskSnapshot;
use crate::domain::DomainConfig;
use crate::storage::{ImageFormat, MetadataCache, Source, SourceKind};

words! {
    /// What a guest did when its snapshot was taken.
    pub enum SnapshotState {
        Nostate = "nostate", Running = "running", Blocked = "blocked", Paused = "paused", Shutdown = "shutdown",
        Shutoff = "shutoff", Crashed = "crashed", Pmsuspended = "pmsuspended", DiskSnapshot = "disk-snapshot",
    }
}

impl SnapshotState {
    /// Whether the guest had no memory, or it is not part of the snapshot.
    #[must_use]
    pub fn is_without_memory(self) -> bool {
        matches!(self, Self::Shutoff | Self::DiskSnapshot)
    }
}

words! {
    /// Where the memory of a guest is kept.
    pub enum MemorySnapshot { No = "no", Internal = "internal", External = "external" }
}

/// `<domainsnapshot>` up to the definition of its guest.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SnapshotHead {
    /// Its name; absent: the time of its creation.
    #[xml(leaf)]
    pub name: Option<String>,
    /// A description for people.
    #[xml(leaf)]
    pub description: Option<String>,
    /// What the guest did.
    #[xml(leaf)]
    pub state: Option<SnapshotState>,
    /// The snapshot it follows.
    #[xml(child)]
    pub parent: Option<MomentParent>,
    /// When it was taken, in seconds since 1970.
    #[xml(leaf)]
    pub creation_time: Option<i64>,
    /// Where the guest's memory is. Since 1.0.1.
    #[xml(child)]
    pub memory: Option<SnapshotMemory>,
    /// What it does with single disks. Since 0.9.5.
    #[xml(child)]
    pub disks: Option<SnapshotDisks>,
}

/// `<parent>`: the snapshot or checkpoint before.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MomentParent {
    /// Its name.
    #[xml(leaf)]
    pub name: String,
}

/// `<memory>` of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SnapshotMemory {
    /// Where it is; absent: external if there is a file.
    #[xml(attr)]
    pub snapshot: Option<MemorySnapshot>,
    /// `external`: the file.
    #[xml(attr)]
    pub file: Option<String>,
}

/// `<disks>` of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SnapshotDisks {
    /// The disks.
    #[xml(child)]
    pub disk: Vec<SnapshotDisk>,
}

/// `<disk>` of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SnapshotDisk {
    /// The disk, by `<target dev>` or the file that it has.
    #[xml(attr)]
    pub name: String,
    /// What the snapshot does with it; absent: external if it says where, else what the definition of the disk says.
    #[xml(attr)]
    pub snapshot: Option<DiskSnapshot>,
    /// `external`: the kind of the new image; absent: a file. Since 1.2.2.
    #[xml(attr, name = "type")]
    pub kind: Option<SourceKind>,
    /// `external`: the format of the new image.
    #[xml(child)]
    pub driver: Option<SnapshotDriver>,
    /// `external`: where the new image is; absent: beside the old one.
    #[xml(child)]
    pub source: Option<Source>,
}

/// `<driver>` of a disk of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SnapshotDriver {
    /// The format of the new image; absent: qcow2.
    #[xml(attr, name = "type")]
    pub kind: Option<ImageFormat>,
    /// The cache for the image's metadata.
    #[xml(child, name = "metadata_cache")]
    pub metadata_cache: Option<MetadataCache>,
}

/// The document where the definition of the guest is in it.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[xml(root = "domainsnapshot")]
struct WithDefinition {
    /// The snapshot.
    #[xml(group)]
    head: SnapshotHead,
    /// The guest, as its next start would have been.
    #[xml(child)]
    domain: Option<Box<DomainConfig>>,
    /// The guest that was stored meanwhile, if it was another one.
    #[xml(child)]
    inactive_domain: Option<Box<DomainConfig>>,
    /// What a hypervisor keeps with its memory.
    #[xml(tree)]
    cookie: Option<XmlTree>,
    /// Whether it is the current one.
    #[xml(leaf)]
    active: Option<i32>,
}

/// The document of the first releases: it names its guest alone.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[xml(root = "domainsnapshot")]
struct WithUuid {
    /// The snapshot.
    #[xml(group)]
    head: SnapshotHead,
    /// The guest.
    #[xml(child)]
    domain: Option<GuestId>,
    /// What a hypervisor keeps with its memory.
    #[xml(tree)]
    cookie: Option<XmlTree>,
    /// Whether it is the current one.
    #[xml(leaf)]
    active: Option<i32>,
}

/// `<domain>` that only names a guest.
#[derive(Clone, Debug, Default, PartialEq, Element)]
struct GuestId {
    /// Its identity.
    #[xml(leaf, codec = Uuids)]
    uuid: Option<Uuid>,
}

/// What of `<domain>` tells the two documents apart.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[xml(root = "domainsnapshot")]
struct Probe {
    /// The guest.
    #[xml(tree)]
    domain: Option<XmlTree>,
}

/// Whose snapshot it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SnapshotGuest {
    /// Its identity alone, as the first releases had it: a revert cannot know whether it is the same machine.
    Id(Uuid),
    /// As its next start would have been.
    Definition(Box<DomainConfig>),
}

/// `<domainsnapshot>`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct DomainSnapshot {
    /// What it is called, when it was taken, what it did with memory and disks.
    pub head: SnapshotHead,
    /// Whose it is.
    pub guest: Option<SnapshotGuest>,
    /// The guest that was stored meanwhile, if it was another one than the running one.
    pub inactive: Option<Box<DomainConfig>>,
    /// What a hypervisor keeps with its memory.
    pub cookie: Option<XmlTree>,
    /// Whether it is the current one; the store's own.
    pub active: Option<bool>,
}

impl DomainSnapshot {
    /// Reads a snapshot. Nothing is completed.
    ///
    /// # Errors
    /// All problems of the document, if one of them is an error.
    pub fn from_xml(text: &str, options: &ParseOptions) -> Result<Parsed<Self>, Problems> {
        let mut probe_options = options.clone();
        probe_options.unknown = polyvirt_xml::Unknown::Drop;
        let defined = Probe::from_xml(text, &probe_options)
            .is_ok_and(|probe| probe.config.domain.is_some_and(|domain| domain.attribute("type").is_some()));
        if defined {
            let parsed = WithDefinition::from_xml(text, options)?;
            return Ok(parsed.map(|read| Self {
                head: read.head,
                guest: read.domain.map(SnapshotGuest::Definition),
                inactive: read.inactive_domain,
                cookie: read.cookie,
                active: read.active.map(|active| active != 0),
            }));
        }
        let parsed = WithUuid::from_xml(text, options)?;
        Ok(parsed.map(|read| Self {
            head: read.head,
            guest: read.domain.and_then(|domain| domain.uuid).map(SnapshotGuest::Id),
            inactive: None,
            cookie: read.cookie,
            active: read.active.map(|active| active != 0),
        }))
    }

    /// Prints the document, ending with a newline.
    #[must_use]
    pub fn to_xml_with(&self, options: FormatOptions) -> String {
        let (head, cookie) = (self.head.clone(), self.cookie.clone());
        let active = self.active.map(i32::from);
        match &self.guest {
            Some(SnapshotGuest::Id(uuid)) => {
                let domain = Some(GuestId { uuid: Some(*uuid) });
                WithUuid { head, domain, cookie, active }.to_xml_with(options)
            }
            guest => {
                let domain = match guest {
                    Some(SnapshotGuest::Definition(domain)) => Some(domain.clone()),
                    _ => None,
                };
                let inactive_domain = self.inactive.clone();
                WithDefinition { head, domain, inactive_domain, cookie, active }.to_xml_with(options)
            }
        }
    }

    /// The definition of its guest, if it is known.
    #[must_use]
    pub fn definition(&self) -> Option<&DomainConfig> {
        match &self.guest {
            Some(SnapshotGuest::Definition(domain)) => Some(domain),
            _ => None,
        }
    }

    /// What it does with memory; `None` if nobody said.
    #[must_use]
    pub fn memory(&self) -> Option<MemorySnapshot> {
        self.head.memory.as_ref().and_then(|memory| memory.snapshot)
    }

    /// Its disks.
    #[must_use]
    pub fn disks(&self) -> &[SnapshotDisk] {
        self.head.disks.as_ref().map_or(&[], |disks| &disks.disk)
    }

    /// Takes what was written as the wish for a new snapshot: what only the hypervisor can say is dropped, and a missing name is the `created`
    /// time.
    ///
    /// # Errors
    /// Every broken rule, at its place in `positions`.
    pub fn request(&mut self, created: Option<i64>, positions: &Positions) -> Result<(), Problems> {
        self.head.state = None;
        self.head.parent = None;
        (self.guest, self.inactive, self.cookie, self.active) = (None, None, None, None);
        self.head.creation_time = created;
        if self.head.name.is_none() {
            self.head.name = created.map(|time| time.to_string());
        }
        self.rules(positions)
    }

    /// Takes what was written as the description of a snapshot that exists.
    ///
    /// # Errors
    /// Every broken rule, and what is missing, at its place in `positions`.
    pub fn redefine(&mut self, positions: &Positions) -> Result<(), Problems> {
        let mut problems = Problems::new();
        let mut missing = |absent: bool, element: &str| {
            if absent {
                let message = format!("a snapshot that is defined again needs its <{element}>");
                problems.push(positions.error("/domainsnapshot", message));
            }
        };
        missing(self.head.name.is_none(), "name");
        missing(self.head.creation_time.is_none(), "creationTime");
        missing(self.head.state.is_none(), "state");
        let without = self.head.state.is_some_and(SnapshotState::is_without_memory);
        let memory = self.head.memory.get_or_insert_default();
        if memory.snapshot.is_none() && memory.file.is_none() {
            memory.snapshot = Some(if without { MemorySnapshot::No } else { MemorySnapshot::Internal });
        }
        if without && (memory.file.is_some() || memory.snapshot.is_some_and(|kind| kind != MemorySnapshot::No)) {
            let message =
                "a snapshot of a guest that was shut off, or of its disks alone, has no memory: snapshot='no'";
            problems.push(positions.error("/domainsnapshot/memory", message));
        }
        problems.append(self.rules(positions).err().unwrap_or_default());
        problems.into_result(()).map(drop)
    }

    /// What holds for any snapshot, and what follows from its own words.
    fn rules(&mut self, positions: &Positions) -> Result<(), Problems> {
        let mut problems = Problems::new();
        let mut error = |path: &str, message: String| problems.push(positions.error(path, message));
        names("domainsnapshot", self.head.name.as_deref(), self.head.parent.as_ref(), &mut error);
        align::memory(self.head.memory.as_mut(), &mut error);
        self.head.memory = self.head.memory.take().filter(|memory| memory.snapshot.is_some());
        let disks = self.head.disks.iter_mut().flat_map(|disks| &mut disks.disk);
        let mut disks: Vec<_> = disks.collect();
        let count = disks.len();
        for (at, disk) in disks.iter_mut().enumerate() {
            align::written(&align::path(at, count), disk, &mut error);
        }
        problems.into_result(()).map(drop)
    }
}

#[cfg(test)]
mod tests;
