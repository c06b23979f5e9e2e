//! Chains of images of a guest that is about to run: every image is known before QEMU is told of any.

use std::time::Duration;

use polyvirt_core::{
    Access, Error, ErrorKind, Resource, Result,
    model::{
        DomainConfig,
        disk::{Disk, DiskDriver},
        storage::{Source, SourceKind},
    },
};

use crate::{command::disk, labels};

/// How long the storage may take to show the headers of all images.
const LOOK: Duration = Duration::from_secs(30);

/// Writes into the disks what their images are based on. Those that are in use already are as they are.
///
/// # Errors
/// Those of [`polyvirt_images::complete`], with the disk; `Timeout` for storage that does not answer.
pub(crate) async fn resolve(config: &mut DomainConfig) -> Result<()> {
    let is_new = |disk: &Disk| disk.source.as_ref().is_some_and(|it| it.index.is_none()) || of_mirror(disk).is_some();
    let new: Vec<_> = config.devices.disks.iter().enumerate().filter(|(_, disk)| is_new(disk)).collect();
    let mut new: Vec<(usize, Disk)> = new.into_iter().map(|(at, disk)| (at, disk.clone())).collect();
    if new.is_empty() {
        return Ok(());
    }
    let looked = tokio::task::spawn_blocking(move || {
        for (at, disk) in &mut new {
            let asked_at = format!("/domain/devices/disk[{}]", *at + 1);
            let failed = |error: Error| error.with("asked for at", &asked_at);
            if disk.source.as_ref().is_some_and(|it| it.index.is_none()) {
                polyvirt_images::complete(disk).map_err(failed)?;
            }
            if let (Some(mut alone), Some(mirror)) = (of_mirror(disk), &mut disk.mirror) {
                polyvirt_images::complete(&mut alone).map_err(failed)?;
                (mirror.source, mirror.backing_store) = (alone.source, alone.backing_store);
            }
        }
        Ok(new)
    });
    let looked = tokio::time::timeout(LOOK, looked).await.map_err(|_| {
        Error::new(ErrorKind::Timeout, format!("the headers of the guest's images could not be read within {LOOK:?}"))
            .hint("see the storage that they are on")
    })?;
    for (at, disk) in looked.map_err(|error| Error::new(ErrorKind::Internal, "looking failed").source(error))?? {
        config.devices.disks[at] = disk;
    }
    Ok(())
}

/// What the other image of a block job is based on, as a disk of its own; `None` if the definition says it, or it is in use already.
fn of_mirror(disk: &Disk) -> Option<Disk> {
    let mirror = disk.mirror.as_ref()?;
    let source = mirror.source.as_ref().filter(|it| it.index.is_none() && mirror.backing_store.is_none())?;
    let mut alone = Disk::default();
    alone.kind = mirror.kind;
    alone.source = Some(source.clone());
    let mut driver = DiskDriver::default();
    driver.kind = mirror.format.as_ref().and_then(|it| it.kind);
    alone.driver = Some(driver);
    Some(alone)
}

/// The files of a disk's images: of those that others are based on nothing is written.
pub(crate) fn resources(at: usize, disk: &Disk) -> Vec<Resource> {
    let mut found = Vec::new();
    let mut here = format!("/domain/devices/disk[{}]", at + 1);
    let access = if disk::is_readonly(disk) { Access::Read } else { Access::Write };
    if let Some(source) = &disk.source {
        add(&mut found, disk.kind, source, &here, access);
    }
    let mut next = disk.backing_store.as_deref();
    while let Some(store) = next {
        here.push_str("/backingStore");
        if let Some(source) = &store.source {
            add(&mut found, store.kind, source, &here, Access::Read);
        }
        next = store.backing_store.as_deref();
    }
    let Some(mirror) = &disk.mirror else { return found };
    let mut here = format!("/domain/devices/disk[{}]/mirror", at + 1);
    if let Some(source) = &mirror.source {
        add(&mut found, mirror.kind, source, &here, Access::Write);
    }
    let mut next = mirror.backing_store.as_deref();
    while let Some(store) = next {
        here.push_str("/backingStore");
        if let Some(source) = &store.source {
            add(&mut found, store.kind, source, &here, Access::Read);
        }
        next = store.backing_store.as_deref();
    }
    found
}

fn add(found: &mut Vec<Resource>, kind: Option<SourceKind>, source: &Source, here: &str, access: Access) {
    let (path, attribute) = match kind.unwrap_or(SourceKind::File) {
        SourceKind::Block => (&source.dev, "dev"),
        _ => (&source.file, "file"),
    };
    let path = path.as_ref().or(source.dev.as_ref()).filter(|it| !it.is_empty());
    if let Some(path) = path {
        let resource = Resource::existing(path, format!("{here}/source/@{attribute}"), access);
        found.push(if labels::relabels_source(&source.seclabel) { resource } else { resource.as_it_is() });
    }
    if let Some(store) = &source.data_store
        && let Some(data) = &store.source
    {
        add(found, store.kind, data, &format!("{here}/source/dataStore"), access);
    }
}
