//! The model `dac`: owners and modes of files.

use std::{os::unix::fs::MetadataExt, path::Path};

use nix::unistd::{Uid, User, getegid, geteuid, getgroups};
use polyvirt_core::{
    Access, Error, ErrorKind, Labels, Manifest, OwnerRef, ProcessIdentity, Resource, Result, ServiceContext,
    async_trait, io_error,
};
use polyvirt_lease::boot_id;

use crate::{
    access::{Kind, READ, SEARCH, Step, WRITE, Way, walk},
    lent::{Holder, Ids, Lent, Records},
};

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Dac {
    records: Records,
    /// Whether files can be given away and processes be others than we.
    privileged: bool,
}

impl Dac {
    pub(crate) fn new(cx: &ServiceContext) -> Self {
        let privileged = cx.identity.privileged && geteuid().is_root();
        Self { records: Records::new(&cx.roots.labels), privileged }
    }
}

#[async_trait]
impl Labels for Dac {
    fn models(&self) -> &'static [&'static str] {
        if self.privileged { &["dac"] } else { &[] }
    }

    async fn apply(&self, owner: &OwnerRef, items: &Manifest) -> Result<()> {
        let (dac, owner, items) = (self.clone(), owner.clone(), items.clone());
        blocking(move || dac.apply_now(&owner, &items)).await
    }

    async fn restore(&self, owner: &OwnerRef) -> Result<()> {
        let (dac, owner) = (self.clone(), owner.clone());
        blocking(move || dac.give_back(|_, holder, boot| holder.owner == owner || holder.is_gone(boot))).await
    }

    async fn release(&self, owner: &OwnerRef, items: &Manifest) -> Result<()> {
        let (dac, owner, items) = (self.clone(), owner.clone(), items.clone());
        blocking(move || {
            let files: Vec<_> = items.resources.iter().filter_map(|it| std::fs::metadata(&it.path).ok()).collect();
            let among = |lent: &Lent| files.iter().any(|it| (it.dev(), it.ino()) == (lent.device, lent.inode));
            dac.give_back(|lent, holder, _| holder.owner == owner && among(lent))
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(ErrorKind::Internal, "looking at rights failed").source(error))?
}

impl Dac {
    fn apply_now(&self, owner: &OwnerRef, items: &Manifest) -> Result<()> {
        let who = match &items.identity {
            Some(identity) => identity.clone(),
            None => ourselves()?,
        };
        let mut files = Vec::new();
        for item in items.resources.iter().filter(|it| it.must_exist) {
            let way = walk(&item.path).map_err(|error| at(io_error("use", &item.path, error), item))?;
            if let Some(step) = way.directories.iter().find(|it| !it.allows(&who, SEARCH)) {
                return Err(cannot_pass(step, &who, item));
            }
            if item.access != Access::Execute {
                files.push((item, way));
            }
        }
        if items.identity.is_none() {
            // Nobody but root can give a file away.
            return files.iter().try_for_each(|(item, way)| usable(&way.end, &who, item));
        }
        let _guard = self.records.lock()?;
        self.forget(|_, holder, boot| holder.is_gone(boot))?;
        let holder = Holder::new(owner, &boot()?);
        // A guest that runs has some of them already, and keeps those.
        let had = |lent: &Lent| lent.holders.contains(&holder);
        let had: Vec<_> = self.records.all()?.iter().filter(|it| had(it)).map(|it| (it.device, it.inode)).collect();
        let lent = files.iter().enumerate().try_for_each(|(at, (item, way))| {
            let same = |(_, other): &(_, Way)| (other.device, other.inode) == (way.device, way.inode);
            if !files[..at].iter().any(same) {
                return self.lend(&holder, &who, item, way);
            }
            // An image that several disks are based on: it may have been lent a moment ago.
            let way = walk(&item.path).map_err(|error| self::at(io_error("use", &item.path, error), item))?;
            self.lend(&holder, &who, item, &way)
        });
        let new = |lent: &Lent| !had.contains(&(lent.device, lent.inode));
        if lent.is_err()
            && let Err(error) = self.forget(|lent, it, _| *it == holder && new(lent))
        {
            tracing::warn!(%error, "a lent file was not given back");
        }
        lent
    }

    /// Makes one file usable.
    fn lend(&self, holder: &Holder, who: &ProcessIdentity, item: &Resource, way: &Way) -> Result<()> {
        let end = &way.end;
        if let Some(mut lent) = self.records.get(way.device, way.inode)? {
            if !end.allows(who, wanted(item)) {
                let others: Vec<_> = lent.holders.iter().map(|it| it.owner.guest.name.as_str()).collect();
                let message = format!(
                    "{} is lent to {} as long as '{}' runs, and {} cannot use it",
                    end.path.display(),
                    name(lent.given.uid),
                    others.join("', '"),
                    name(who.uid)
                );
                return Err(at(Error::new(ErrorKind::Busy, message), item)
                    .hint("let both guests run as the same user, or give each a copy"));
            }
            if !lent.holders.contains(holder) {
                lent.holders.push(holder.clone());
                self.records.put(&lent)?;
            }
            return Ok(());
        }
        if end.allows(who, wanted(item)) {
            return Ok(());
        }
        let (was, given) = (Ids { uid: end.uid, gid: end.gid }, Ids { uid: who.uid, gid: who.gid });
        let as_given = Step { uid: given.uid, gid: given.gid, ..end.clone() };
        if !item.relabel || way.kind == Kind::Other || !as_given.allows(who, wanted(item)) {
            return usable(end, who, item);
        }
        let lent = Lent::new(&end.path, (way.device, way.inode), was, given, holder.clone());
        self.records.put(&lent)?;
        lent.give().map_err(|error| {
            if let Err(error) = self.records.remove(&lent) {
                tracing::warn!(%error, "a record of a file that was not lent stays");
            }
            let message = format!("cannot give {} to {}: {error}", end.path.display(), name(given.uid));
            let hint = format!(
                "the file system does not let root do it (a network file system?): `chown {}:{} {}` on its server, or set 'user' in the driver's settings",
                given.uid,
                given.gid,
                end.path.display()
            );
            at(Error::new(ErrorKind::Denied, message), item).hint(hint).source(error)
        })
    }

    /// Takes files back that only such holders had, under the lock.
    fn give_back(&self, whose: impl Fn(&Lent, &Holder, &str) -> bool) -> Result<()> {
        if self.records.all()?.is_empty() {
            return Ok(());
        }
        let _guard = self.records.lock()?;
        self.forget(whose)
    }

    fn forget(&self, whose: impl Fn(&Lent, &Holder, &str) -> bool) -> Result<()> {
        let boot = boot()?;
        for mut lent in self.records.all()? {
            let had = lent.holders.len();
            let as_it_was = lent.clone();
            lent.holders.retain(|it| !whose(&as_it_was, it, &boot));
            if lent.holders.is_empty() {
                let back = lent.take_back().map_err(|error| io_error("give back", &lent.path, error))?;
                if !back {
                    tracing::info!(path = %lent.path.display(), "was changed or removed while it was lent, and is left so");
                }
                self.records.remove(&lent)?;
            } else if lent.holders.len() < had {
                self.records.put(&lent)?;
            }
        }
        Ok(())
    }
}

fn boot() -> Result<String> {
    boot_id().map_err(|error| Error::new(ErrorKind::Internal, "cannot tell this boot from others").source(error))
}

fn ourselves() -> Result<ProcessIdentity> {
    let groups =
        getgroups().map_err(|error| Error::new(ErrorKind::Internal, "cannot list our groups").source(error))?;
    Ok(ProcessIdentity::new(geteuid().as_raw(), getegid().as_raw(), groups.into_iter().map(|it| it.as_raw()).collect()))
}

fn wanted(item: &Resource) -> u32 {
    match item.access {
        Access::Write => READ | WRITE,
        _ => READ,
    }
}

/// A user as people know it.
fn name(uid: u32) -> String {
    let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    known.map_or_else(|| format!("uid {uid}"), |it| format!("{} (uid {uid})", it.name))
}

fn at(error: Error, item: &Resource) -> Error {
    if item.asked_at.is_empty() { error } else { error.with("asked for at", &item.asked_at) }
}

fn cannot_pass(step: &Step, who: &ProcessIdentity, item: &Resource) -> Error {
    let (path, user) = (step.path.display(), name(who.uid));
    let message = format!("{user} cannot use {}: it may not pass {path} ({})", item.path.display(), step.describe());
    at(Error::new(ErrorKind::Denied, message), item).hint(format!(
        "let it pass with `{}`, move the file to a directory that others may pass, or let guests run as another user ('user' in the driver's settings)",
        allow(&step.path, who, "x")
    ))
}

/// Refuses a file that the process may not use.
fn usable(end: &Step, who: &ProcessIdentity, item: &Resource) -> Result<()> {
    if end.allows(who, wanted(item)) {
        return Ok(());
    }
    let (verb, letters) = if item.access == Access::Write { ("read and write", "rw") } else { ("read", "r") };
    let message = format!("{} may not {verb} {} ({})", name(who.uid), end.path.display(), end.describe());
    let hint = format!("allow it with `{}`", allow(&end.path, who, letters));
    Err(at(Error::new(ErrorKind::Denied, message), item).hint(hint))
}

fn allow(path: &Path, who: &ProcessIdentity, letters: &str) -> String {
    format!("setfacl -m u:{}:{letters} {}", who.uid, path.display())
}

#[cfg(test)]
mod tests;
