//! What a snapshot does with each disk of its guest.

use std::collections::HashMap;

use polyvirt_xml::{Positions, Problems};

use super::{DomainSnapshot, MemorySnapshot, SnapshotDisk, SnapshotDisks, SnapshotMemory};
use crate::disk::{Disk, DiskDevice, DiskSnapshot};
use crate::domain::DomainConfig;
use crate::storage::{ImageFormat, Source, SourceKind};

type Report<'a> = &'a mut dyn FnMut(&str, String);

/// What a snapshot is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// A guest that is shut off.
    Stopped,
    /// A running guest with its memory.
    System,
    /// The disks of a guest, its memory left out.
    Disks,
}

/// The path of a disk of the document.
pub(super) fn path(at: usize, count: usize) -> String {
    let index = if count == 1 { String::new() } else { format!("[{}]", at + 1) };
    format!("/domainsnapshot/disks/disk{index}")
}

/// Rules of `<memory>`.
pub(super) fn memory(memory: Option<&mut SnapshotMemory>, error: Report<'_>) {
    const PATH: &str = "/domainsnapshot/memory";
    let Some(memory) = memory else { return };
    if memory.snapshot.is_none() && memory.file.is_some() {
        memory.snapshot = Some(MemorySnapshot::External);
    }
    match (memory.snapshot, &memory.file) {
        (Some(MemorySnapshot::External), None) => {
            error(PATH, "memory that is kept outside the disks needs file='…'".to_owned());
        }
        (Some(MemorySnapshot::External), Some(file)) if !file.starts_with('/') => {
            error(&format!("{PATH}/@file"), format!("'{file}' is no absolute path"));
        }
        (Some(kind), Some(file)) if kind != MemorySnapshot::External => {
            error(&format!("{PATH}/@file"), format!("file '{file}' is for snapshot='external', not '{kind}'"));
        }
        _ => {}
    }
}

/// What the words of one disk say without its guest.
pub(super) fn written(path: &str, disk: &mut SnapshotDisk, error: Report<'_>) {
    if disk.name.is_empty() {
        error(&format!("{path}/@name"), "a disk has a name, like 'vda'".to_owned());
    }
    // An element that says nothing is none.
    disk.driver = disk.driver.take().filter(|driver| driver.kind.is_some() || driver.metadata_cache.is_some());
    disk.source = disk.source.take().filter(|source| *source != Source::default());
    let placed = disk.source.is_some() || disk.driver.as_ref().is_some_and(|driver| driver.kind.is_some());
    if disk.snapshot.is_none() && placed {
        disk.snapshot = Some(DiskSnapshot::External);
    }
    if disk.snapshot != Some(DiskSnapshot::External) {
        let what = disk.snapshot.map_or_else(|| "no".to_owned(), |kind| kind.to_string());
        if placed {
            let message = format!("a new image is for snapshot='external', not '{what}'");
            error(&format!("{path}/{}", if disk.source.is_some() { "source" } else { "driver" }), message);
        }
        disk.kind = None;
        return;
    }
    let kind = *disk.kind.get_or_insert(SourceKind::File);
    let source = disk.source.as_mut();
    match kind {
        SourceKind::File => place(path, "file", source.and_then(|source| source.file.as_deref()), error),
        SourceKind::Block => match source.and_then(|source| source.dev.as_deref()) {
            None => error(path, "type='block' needs <source dev='…'/>".to_owned()),
            device => place(path, "dev", device, error),
        },
        SourceKind::Network => match source {
            Some(source) if source.protocol.is_some() => {
                // Labels of files are nothing to a server.
                source.seclabel.clear();
            }
            _ => error(path, "type='network' needs <source protocol='…'/>".to_owned()),
        },
        other => error(
            &format!("{path}/@type"),
            format!("a new image cannot be of type '{other}'; 'file', 'block' and 'network' are possible"),
        ),
    }
}

fn place(path: &str, attribute: &str, value: Option<&str>, error: Report<'_>) {
    if let Some(value) = value.filter(|value| !value.starts_with('/')) {
        error(&format!("{path}/source/@{attribute}"), format!("'{value}' is no absolute path"));
    }
}

impl DomainSnapshot {
    /// Says for every disk of `domain` what the snapshot does with it, and where new images are made: files that nobody named stand
    /// beside the old ones, with the snapshot's name instead of what follows the last dot.
    ///
    /// `by_default` is for disks of which neither this nor the guest's definition says anything.
    ///
    /// # Errors
    /// Every broken rule, at its place in `positions`. The snapshot is then partly completed and of no use.
    pub fn align(
        &mut self,
        domain: &DomainConfig,
        scope: Scope,
        by_default: DiskSnapshot,
        positions: &Positions,
    ) -> Result<(), Problems> {
        let mut rules = Rules { positions, problems: Problems::new(), places: HashMap::new() };
        rules.memory(self, scope);
        let memory = self.memory();
        let name = self.head.name.clone().unwrap_or_default();
        let asked = self.head.disks.take().unwrap_or_default().disk;
        let count = asked.len();
        let mut of_guest: HashMap<&str, (String, SnapshotDisk)> = HashMap::new();
        for (at, mut disk) in asked.into_iter().enumerate() {
            let path = path(at, count);
            match domain.disk_called(&disk.name) {
                Ok(found) if of_guest.contains_key(found) => {
                    rules.error(&format!("{path}/@name"), format!("disk '{found}' is given twice"));
                }
                Ok(found) => {
                    found.clone_into(&mut disk.name);
                    of_guest.insert(found, (path, disk));
                }
                Err(why) => rules.error(&format!("{path}/@name"), why),
            }
        }
        let mut disks = Vec::new();
        for disk in domain.devices.disks.iter() {
            let Some(dev) = disk.target.as_ref().map(|target| target.dev.as_str()) else { continue };
            let (path, mut aligned) = of_guest.remove(dev).unwrap_or_else(|| {
                let nothing = SnapshotDisk { name: dev.to_owned(), ..SnapshotDisk::default() };
                ("/domainsnapshot".to_owned(), nothing)
            });
            rules.disk(&path, &mut aligned, disk, memory, by_default);
            rules.image(&path, &mut aligned, disk, &name);
            disks.push(aligned);
        }
        let taken = |disk: &SnapshotDisk| disk.snapshot.is_some_and(|kind| kind != DiskSnapshot::No);
        if rules.problems.is_empty() && memory != Some(MemorySnapshot::External) && !disks.iter().any(taken) {
            rules.error("/domainsnapshot", "no disk takes part, so there is nothing to come back to".to_owned());
        }
        self.head.disks = Some(SnapshotDisks { disk: disks });
        rules.problems.into_result(()).map(drop)
    }
}

struct Rules<'a> {
    positions: &'a Positions,
    problems: Problems,
    /// New images, and the disks that have them.
    places: HashMap<String, String>,
}

impl Rules<'_> {
    fn error(&mut self, path: &str, message: String) {
        self.problems.push(self.positions.error(path, message));
    }

    fn memory(&mut self, snapshot: &mut DomainSnapshot, scope: Scope) {
        let memory = snapshot.head.memory.get_or_insert_default();
        let usual = if scope == Scope::System { MemorySnapshot::Internal } else { MemorySnapshot::No };
        let kind = *memory.snapshot.get_or_insert(usual);
        let message = match scope {
            Scope::Stopped if kind != MemorySnapshot::No => {
                "a guest that is shut off has no memory, leave <memory> out"
            }
            Scope::Disks if kind != MemorySnapshot::No => "a snapshot of disks alone has no memory, leave <memory> out",
            Scope::System if kind == MemorySnapshot::No => {
                "a snapshot of a running guest without its memory is one of its disks alone: --disk-only"
            }
            _ => return,
        };
        self.error("/domainsnapshot/memory", message.to_owned());
    }

    /// What happens to it.
    fn disk(
        &mut self,
        path: &str,
        aligned: &mut SnapshotDisk,
        disk: &Disk,
        memory: Option<MemorySnapshot>,
        by_default: DiskSnapshot,
    ) {
        let usual = if disk.is_empty() || is_read_only(disk) {
            DiskSnapshot::No
        } else {
            disk.snapshot.unwrap_or(match memory {
                Some(MemorySnapshot::Internal) => DiskSnapshot::Internal,
                Some(MemorySnapshot::External) => DiskSnapshot::External,
                _ => by_default,
            })
        };
        let kind = *aligned.snapshot.get_or_insert(usual);
        if kind != DiskSnapshot::No && disk.is_empty() {
            self.error(path, format!("disk '{}' has no medium, only snapshot='no' is possible", aligned.name));
        }
        let fits = match memory {
            Some(MemorySnapshot::Internal) => matches!(kind, DiskSnapshot::Internal | DiskSnapshot::No),
            Some(MemorySnapshot::External) => kind != DiskSnapshot::Internal,
            _ => true,
        };
        if !fits {
            let message = format!(
                "disk '{}' has snapshot='{kind}', but memory is kept {}: use the same for both, or snapshot='no'",
                aligned.name,
                memory.map(|kind| kind.to_string()).unwrap_or_default()
            );
            self.error(path, message);
        }
    }

    /// Where the new image is.
    fn image(&mut self, path: &str, aligned: &mut SnapshotDisk, disk: &Disk, name: &str) {
        if aligned.snapshot != Some(DiskSnapshot::External) {
            return;
        }
        let kind = *aligned.kind.get_or_insert(SourceKind::File);
        aligned.driver.get_or_insert_default().kind.get_or_insert(ImageFormat::Qcow2);
        if kind == SourceKind::File && aligned.source.as_ref().is_none_or(|source| source.file.is_none()) {
            let Some(file) = disk.image_file() else {
                let message = format!(
                    "no file name follows from what disk '{}' is: name one with <source file='…'/>",
                    aligned.name
                );
                self.error(path, message);
                return;
            };
            aligned.source.get_or_insert_default().file = Some(beside(file, name));
        }
        let source = aligned.source.as_ref();
        let Some(place) = source.and_then(|source| source.file.as_ref().or(source.dev.as_ref())) else { return };
        if disk.image_file() == Some(place.as_str()) {
            self.error(path, format!("'{place}' is the image that disk '{}' has now, name a new one", aligned.name));
        }
        if let Some(other) = self.places.insert(place.clone(), aligned.name.clone()) {
            let message = format!("disks '{other}' and '{}' would both get '{place}', name one for each", aligned.name);
            self.error(path, message);
        }
    }
}

/// The name of a file with the snapshot's instead of what follows the last dot.
fn beside(file: &str, name: &str) -> String {
    let (directory, base) = file.rsplit_once('/').map_or(("", file), |(directory, base)| (directory, base));
    let stem = base.rsplit_once('.').map_or(base, |(stem, _)| stem);
    let slash = if file.contains('/') { "/" } else { "" };
    format!("{directory}{slash}{stem}.{name}")
}

fn is_read_only(disk: &Disk) -> bool {
    disk.readonly || disk.device == Some(DiskDevice::Cdrom)
}
