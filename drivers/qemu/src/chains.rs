//! Chains of images of a guest that is about to run: every image is known before QEMU is told of any.

use std::time::Duration;

use polyvirt_core::{
    Access, Error, ErrorKind, Resource, Result,
    model::{
        DomainConfig,
        disk::Disk,
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
    let is_new = |disk: &Disk| disk.source.as_ref().is_some_and(|it| it.index.is_none());
    let new: Vec<_> = config.devices.disks.iter().enumerate().filter(|(_, disk)| is_new(disk)).collect();
    let mut new: Vec<(usize, Disk)> = new.into_iter().map(|(at, disk)| (at, disk.clone())).collect();
    if new.is_empty() {
        return Ok(());
    }
    let looked = tokio::task::spawn_blocking(move || {
        for (at, disk) in &mut new {
            let asked_at = format!("/domain/devices/disk[{}]", *at + 1);
            polyvirt_images::complete(disk).map_err(|error| error.with("asked for at", asked_at))?;
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
