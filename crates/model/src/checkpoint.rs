//! `<domaincheckpoint>`: a moment since which a guest's disks remember what changed (manual: "Checkpoint XML format").
//!
//! Read like a snapshot: [`DomainCheckpoint::request`] takes what was written as a wish, [`DomainCheckpoint::redefine`] as the description of one that
//! exists, [`DomainCheckpoint::align`] says for every disk of a guest whether it takes part. No bitmap is touched here.
//!
//! Invariants: a name can be a file name; completing twice changes nothing.

use std::collections::HashMap;

use polyvirt_xml::{Element, Positions, Problems, words};

use crate::disk::Disk;
use crate::domain::DomainConfig;
use crate::snapshot::{MomentParent, names};
use crate::storage::ImageFormat;

words! {
    /// How a disk remembers what changed.
    pub enum DiskCheckpoint { No = "no", Bitmap = "bitmap" }
}

/// `<domaincheckpoint>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[xml(root = "domaincheckpoint")]
#[non_exhaustive]
pub struct DomainCheckpoint {
    /// Its name; absent: the time of its creation.
    #[xml(leaf)]
    pub name: Option<String>,
    /// A description for people.
    #[xml(leaf)]
    pub description: Option<String>,
    /// The checkpoint it follows.
    #[xml(child)]
    pub parent: Option<MomentParent>,
    /// When it was made, in seconds since 1970.
    #[xml(leaf)]
    pub creation_time: Option<i64>,
    /// Which disks take part; absent: all that can.
    #[xml(child)]
    pub disks: Option<CheckpointDisks>,
    /// The guest, as its next start would have been.
    #[xml(child)]
    pub domain: Option<Box<DomainConfig>>,
}

/// `<disks>` of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CheckpointDisks {
    /// The disks.
    #[xml(child)]
    pub disk: Vec<CheckpointDisk>,
}

/// `<disk>` of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CheckpointDisk {
    /// The disk, by `<target dev>` or the file that it has.
    #[xml(attr)]
    pub name: String,
    /// How it remembers what changed; absent: by a bitmap if it can.
    #[xml(attr)]
    pub checkpoint: Option<DiskCheckpoint>,
    /// The name of the bitmap; absent: the checkpoint's.
    #[xml(attr)]
    pub bitmap: Option<String>,
    /// How many bytes changed since; an answer, never a wish.
    #[xml(attr)]
    pub size: Option<u64>,
}

impl DomainCheckpoint {
    /// Takes what was written as the wish for a new checkpoint: what only the hypervisor can say is dropped, and a missing name is the
    /// `created` time.
    ///
    /// # Errors
    /// Every broken rule, at its place in `positions`.
    pub fn request(&mut self, created: Option<i64>, positions: &Positions) -> Result<(), Problems> {
        self.parent = None;
        self.domain = None;
        self.creation_time = created;
        if self.name.is_none() {
            self.name = created.map(|time| time.to_string());
        }
        self.rules(positions)
    }

    /// Takes what was written as the description of a checkpoint that exists.
    ///
    /// # Errors
    /// Every broken rule, and what is missing, at its place in `positions`.
    pub fn redefine(&mut self, positions: &Positions) -> Result<(), Problems> {
        let mut problems = Problems::new();
        if self.creation_time.is_none() {
            let message = "a checkpoint that is defined again needs its <creationTime>";
            problems.push(positions.error("/domaincheckpoint", message));
        }
        problems.append(self.rules(positions).err().unwrap_or_default());
        problems.into_result(()).map(drop)
    }

    /// Says for every disk of `domain` whether it takes part.
    ///
    /// # Errors
    /// Every broken rule, at its place in `positions`. The checkpoint is then partly completed and of no use.
    pub fn align(&mut self, domain: &DomainConfig, positions: &Positions) -> Result<(), Problems> {
        let mut problems = Problems::new();
        let all = self.disks.is_none();
        let asked = self.disks.take().unwrap_or_default().disk;
        let count = asked.len();
        let mut of_guest: HashMap<&str, (String, CheckpointDisk)> = HashMap::new();
        for (at, mut disk) in asked.into_iter().enumerate() {
            let path = path(at, count);
            let mut refuse = |message: String| problems.push(positions.error(&format!("{path}/@name"), message));
            match domain.disk_called(&disk.name) {
                Ok(found) if of_guest.contains_key(found) => refuse(format!("disk '{found}' is given twice")),
                Ok(found) => {
                    found.clone_into(&mut disk.name);
                    of_guest.insert(found, (path, disk));
                }
                Err(why) => refuse(why),
            }
        }
        let mut disks = Vec::new();
        for disk in &domain.devices.disks {
            let Some(dev) = disk.target.as_ref().map(|target| target.dev.as_str()) else { continue };
            let aligned = match of_guest.remove(dev) {
                Some((path, mut aligned)) => {
                    let kind = *aligned.checkpoint.get_or_insert(DiskCheckpoint::Bitmap);
                    if let Some(why) = unfit(disk).filter(|_| kind == DiskCheckpoint::Bitmap) {
                        problems.push(positions.error(&path, format!("disk '{dev}' {why}")));
                    }
                    aligned
                }
                None => {
                    let takes_part = all && unfit(disk).is_none();
                    let kind = if takes_part { DiskCheckpoint::Bitmap } else { DiskCheckpoint::No };
                    CheckpointDisk::new(dev).with_checkpoint(kind)
                }
            };
            disks.push(aligned);
        }
        let none = !disks.iter().any(|disk| disk.checkpoint == Some(DiskCheckpoint::Bitmap));
        if problems.is_empty() && none {
            let message = "no disk takes part: one with a qcow2 image and checkpoint='bitmap' is needed";
            problems.push(positions.error("/domaincheckpoint", message));
        }
        self.disks = Some(CheckpointDisks { disk: disks });
        self.name_bitmaps();
        problems.into_result(()).map(drop)
    }

    fn rules(&mut self, positions: &Positions) -> Result<(), Problems> {
        let mut problems = Problems::new();
        let mut error = |path: &str, message: String| problems.push(positions.error(path, message));
        names("domaincheckpoint", self.name.as_deref(), self.parent.as_ref(), &mut error);
        let disks = self.disks.iter_mut().flat_map(|disks| &mut disks.disk);
        let mut disks: Vec<_> = disks.collect();
        let count = disks.len();
        for (at, disk) in disks.iter_mut().enumerate() {
            disk.size = None;
            let path = path(at, count);
            if disk.name.is_empty() {
                error(&format!("{path}/@name"), "a disk has a name, like 'vda'".to_owned());
            }
            if let Some(bitmap) = &disk.bitmap {
                if disk.checkpoint == Some(DiskCheckpoint::No) {
                    error(&format!("{path}/@bitmap"), format!("bitmap '{bitmap}' needs checkpoint='bitmap'"));
                }
                disk.checkpoint.get_or_insert(DiskCheckpoint::Bitmap);
            }
        }
        self.name_bitmaps();
        problems.into_result(()).map(drop)
    }

    fn name_bitmaps(&mut self) {
        let Some(name) = &self.name else { return };
        for disk in self.disks.iter_mut().flat_map(|disks| &mut disks.disk) {
            if disk.checkpoint == Some(DiskCheckpoint::Bitmap) {
                disk.bitmap.get_or_insert_with(|| name.clone());
            }
        }
    }
}

/// The path of a disk of the document.
fn path(at: usize, count: usize) -> String {
    let index = if count == 1 { String::new() } else { format!("[{}]", at + 1) };
    format!("/domaincheckpoint/disks/disk{index}")
}

/// Why a disk can have no bitmap that outlives its guest.
fn unfit(disk: &Disk) -> Option<&'static str> {
    if disk.is_empty() {
        Some("has no medium")
    } else if disk.readonly {
        Some("is never written to")
    } else if disk.driver.as_ref().and_then(|driver| driver.kind) != Some(ImageFormat::Qcow2) {
        Some("has no qcow2 image, which alone can hold a bitmap")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use polyvirt_xml::{FormatOptions, ParseOptions};

    use super::*;

    const DOMAIN: &str = "<domain type='kvm'><name>a</name><devices>
        <disk type='file'><driver type='qcow2'/><source file='/i/a.qcow2'/><target dev='vda'/></disk>
        <disk type='file'><driver type='raw'/><source file='/i/b.raw'/><target dev='vdb'/></disk>
        <disk type='file' device='cdrom'><target dev='sda'/></disk></devices></domain>";

    fn requested(text: &str) -> Result<String, String> {
        let domain = DomainConfig::parse(DOMAIN, &ParseOptions::default()).unwrap().config;
        let parsed = DomainCheckpoint::from_xml(text, &ParseOptions::default()).map_err(|e| e.to_string())?;
        let mut checkpoint = parsed.config;
        checkpoint.request(Some(7), &parsed.positions).map_err(|e| e.to_string())?;
        checkpoint.align(&domain, &parsed.positions).map_err(|e| e.to_string())?;
        let once = checkpoint.to_xml_with(FormatOptions::new());
        checkpoint.align(&domain, &parsed.positions).unwrap();
        assert_eq!(checkpoint.to_xml_with(FormatOptions::new()), once);
        Ok(once)
    }

    #[test]
    fn disks_that_can_take_part_and_bitmaps_have_the_checkpoints_name() {
        let expected = "<domaincheckpoint>
  <name>7</name>
  <creationTime>7</creationTime>
  <disks>
    <disk name='vda' checkpoint='bitmap' bitmap='7'/>
    <disk name='vdb' checkpoint='no'/>
    <disk name='sda' checkpoint='no'/>
  </disks>
</domaincheckpoint>
";
        assert_eq!(requested("<domaincheckpoint/>").unwrap(), expected);
        let named = "<domaincheckpoint><disks><disk name='/i/a.qcow2' bitmap='b' size='9'/></disks></domaincheckpoint>";
        let xml = requested(named).unwrap();
        assert!(xml.contains("<disk name='vda' checkpoint='bitmap' bitmap='b'/>"), "{xml}");
    }

    #[test]
    fn broken_rules_are_told_at_their_places() {
        let disks = |disk: &str| format!("<domaincheckpoint><disks>{disk}</disks></domaincheckpoint>");
        for (text, path, part) in [
            ("<domaincheckpoint><name>../escape</name></domaincheckpoint>".into(), "/domaincheckpoint/name", "path"),
            (disks("<disk name='vdz'/>"), "/domaincheckpoint/disks/disk/@name", "no disk 'vdz'"),
            (disks("<disk name='vdb'/>"), "/domaincheckpoint/disks/disk", "qcow2"),
            (disks("<disk name='sda'/>"), "/domaincheckpoint/disks/disk", "medium"),
            (disks("<disk name='vda'/><disk name='vda'/>"), "/domaincheckpoint/disks/disk[2]/@name", "twice"),
            (
                disks("<disk name='vda' checkpoint='no' bitmap='b'/>"),
                "/domaincheckpoint/disks/disk/@bitmap",
                "checkpoint='bitmap'",
            ),
            (disks("<disk name='vda' checkpoint='no'/>"), "/domaincheckpoint", "no disk takes part"),
        ] {
            let problems = requested(&text).unwrap_err();
            assert!(problems.starts_with(path) && problems.contains(part), "{text}: {problems}");
        }
    }
}
