//! What a process had begun with snapshots and is gone.

use std::sync::Arc;

use polyvirt_core::{
    Abandoned, Domain, Error, ErrorKind, Result,
    model::{ParseOptions, snapshot::DomainSnapshot},
};

use super::{
    Images, definition,
    delete::{delete_one, from_images},
    note_revert, reference,
};
use crate::{
    images::stored_form,
    job::Unwatched,
    shared::Shared,
    store::{Pending, blocking},
};

/// Of a guest that does not run, which the caller owns: what was half taken is deleted, what was half reverted or deleted is finished.
///
/// # Errors
/// Those of the images; then it is tried again before the next start or snapshot.
pub(crate) async fn settle_at_rest(shared: Arc<Shared>, guest: String) -> Result<()> {
    let settled = at_rest(&shared, &guest).await;
    settled.map_err(|error| {
        let file = shared.roots.config.join("snapshots").join(&guest).join(".job");
        error
            .with("unfinished", format!("something with a snapshot of '{guest}', see {}", file.display()))
            .hint("it is tried again each time; what cannot be mended is given up by removing that file")
    })
}

async fn at_rest(shared: &Arc<Shared>, guest: &str) -> Result<()> {
    let Some(pending) = pending(shared, guest).await? else { return Ok(()) };
    let job = Unwatched::context();
    match pending {
        Pending::Create { xml } => {
            let snapshot = read(&xml)?;
            if !is_kept(shared, guest, &snapshot).await? {
                from_images(shared, &job, &snapshot, None).await?;
                tracing::warn!(guest, "a snapshot that nobody finished is removed");
            }
            finish(shared, guest).await
        }
        Pending::Revert { name } => {
            let (store, of, wanted) = (shared.clone(), guest.to_owned(), name.clone());
            let snapshot = blocking(move || Ok(store.snapshots.tree(&of)?.get(&wanted)?.clone())).await?;
            let lacks =
                || Error::new(ErrorKind::Unsupported, "this driver reaches no images of guests that do not run");
            let rest = shared.driver.offline_snapshots().ok_or_else(lacks)?;
            rest.revert(&job, definition(&snapshot)?, &reference(&snapshot)?).await?;
            tracing::warn!(
                guest,
                snapshot = name,
                "a revert that nobody finished is finished: the disks are as of the snapshot"
            );
            note_revert(shared.clone(), guest.to_owned(), name).await
        }
        Pending::Delete { names } => {
            for name in &names {
                delete_one(shared, &job, guest, name, None).await?;
            }
            finish(shared, guest).await
        }
    }
}

/// Of a running guest, which the caller owns; not of one that may have been loaded. Says whether what was begun is finished.
///
/// # Errors
/// Those of the images.
pub(crate) async fn settle_live(shared: Arc<Shared>, guest: String, domain: Arc<dyn Domain>) -> Result<bool> {
    let Some(pending) = pending(&shared, &guest).await? else { return Ok(false) };
    let driver = shared.driver.descriptor().name;
    let live = domain.snapshots().ok_or_else(|| Error::unsupported(driver, "snapshots"))?;
    let became = live.abandon().await?;
    let job = Unwatched::context();
    let (store, of) = (shared.clone(), guest.clone());
    let now = blocking(move || store.records.get(&of)).await?.map(|record| record.live()).transpose()?;
    let Some(now) = now.map(|live| stored_form(live.config)) else { return Ok(false) };
    let images = Some((Images::Live(live), &now));
    let done = match pending {
        Pending::Create { xml } => {
            let snapshot = read(&xml)?;
            let kept = is_kept(&shared, &guest, &snapshot).await?;
            if !kept {
                from_images(&shared, &job, &snapshot, images).await?;
                tracing::warn!(guest, "a snapshot that nobody finished is removed");
            }
            kept
        }
        Pending::Delete { names } => {
            for name in &names {
                delete_one(&shared, &job, &guest, name, images).await?;
            }
            true
        }
        // It was not loaded, or all was done but this.
        Pending::Revert { .. } if became == Abandoned::Nothing => false,
        Pending::Revert { name } => {
            let message = format!("the guest may have part of the snapshot '{name}'");
            return Err(Error::new(ErrorKind::InvalidState, message).hint("destroy it and revert again"));
        }
    };
    finish(&shared, &guest).await?;
    Ok(done)
}

fn read(xml: &str) -> Result<DomainSnapshot> {
    Ok(DomainSnapshot::from_xml(xml, &ParseOptions::default()).map_err(Error::invalid_config)?.config)
}

async fn pending(shared: &Arc<Shared>, guest: &str) -> Result<Option<Pending>> {
    let (shared, guest) = (shared.clone(), guest.to_owned());
    blocking(move || shared.snapshots.pending(&guest)).await
}

async fn finish(shared: &Arc<Shared>, guest: &str) -> Result<()> {
    let (shared, guest) = (shared.clone(), guest.to_owned());
    blocking(move || shared.snapshots.finish(&guest)).await
}

/// Whether the store has it: the name was free when it was begun.
async fn is_kept(shared: &Arc<Shared>, guest: &str, snapshot: &DomainSnapshot) -> Result<bool> {
    let (shared, guest) = (shared.clone(), guest.to_owned());
    let name = snapshot.head.name.clone().unwrap_or_default();
    blocking(move || Ok(shared.snapshots.tree(&guest)?.has(&name))).await
}
