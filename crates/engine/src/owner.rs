//! One owner process at a time for each guest.

use std::time::Duration;

use polyvirt_core::{Error, ErrorKind, Result};
use polyvirt_lease::{Held, Liveness, OwnerLock, OwnerLockError, OwnerNote};
use tokio::time::Instant;

use crate::store::{Records, blocking, lock_error, make_directory};

/// First pause between two tries; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(25);
/// How long a child may take from its fork to the closing of what it inherited.
const CHILD: Duration = Duration::from_secs(2);

/// Becomes the owner of a guest, waiting up to `wait` for another owner.
///
/// # Errors
/// `Busy` naming the owner and what to do.
pub(crate) async fn own(records: &Records, name: &str, purpose: &str, wait: Duration) -> Result<OwnerLock> {
    let until = Instant::now() + wait;
    let mut pause = FIRST_PAUSE;
    loop {
        match try_own(records, name, purpose).await? {
            Ok(lock) => return Ok(lock),
            Err(held) if Instant::now() >= until => return Err(busy(name, &held)),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Becomes the owner of a guest if nobody is.
async fn try_own(records: &Records, name: &str, purpose: &str) -> Result<std::result::Result<OwnerLock, Held>> {
    let path = records.owner_file(name)?;
    let purpose = purpose.to_owned();
    blocking(move || {
        let note = OwnerNote::this_process(purpose)
            .map_err(|e| Error::new(ErrorKind::Internal, "cannot tell who we are").source(e))?;
        if let Some(dir) = path.parent() {
            make_directory(dir)?;
        }
        match OwnerLock::acquire(&path, &note) {
            Ok(lock) => Ok(Ok(lock)),
            Err(OwnerLockError::Held(held)) => Ok(Err(held)),
            Err(OwnerLockError::Lock(e)) => Err(lock_error(&path, e)),
            Err(e) => {
                Err(Error::new(ErrorKind::Storage, format!("cannot become the owner of the guest: {e}")).source(e))
            }
        }
    })
    .await
}

/// Becomes the owner of a guest if its owner is gone.
///
/// One that was killed just after a fork is outlived for a moment by the copy of its lock in the child, which closes it at once.
pub(crate) async fn succeed(records: &Records, name: &str, purpose: &str) -> Result<Option<OwnerLock>> {
    match try_own(records, name, purpose).await? {
        Ok(lock) => Ok(Some(lock)),
        Err(Held { note: Some(note), .. }) if note.owner.liveness() == Liveness::Dead => {
            match own(records, name, purpose, CHILD).await {
                Err(error) if error.kind() == ErrorKind::Busy => Ok(None),
                owned => owned.map(Some),
            }
        }
        Err(_) => Ok(None),
    }
}

fn busy(name: &str, held: &Held) -> Error {
    let Some(note) = &held.note else {
        return Error::new(ErrorKind::Busy, format!("another process owns the guest '{name}'"))
            .hint("try again in a moment");
    };
    let age = std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_secs()).saturating_sub(note.since);
    Error::new(ErrorKind::Busy, format!("the guest '{name}' belongs to {note} since {age} s"))
        .with("owner", &note.owner)
        .hint("use that program, wait until it is done, or end it: the guest itself goes on, and another process can take over at once")
}
