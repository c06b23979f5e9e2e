//! Snapshots in the images of simulated guests: tags that this process remembers.

use polyvirt_core::{
    Abandoned, Error, ErrorKind, GuestState, JobContext, JobStep, LiveSnapshots, OfflineSnapshots, Result, SnapshotRef,
    async_trait, model::DomainConfig,
};

use crate::{domain::MockDomain, driver::MockDriver, world::World};

type Tag = (String, String, String);

fn tags<'a>(guest: &'a str, snapshot: &'a SnapshotRef) -> impl Iterator<Item = Tag> + 'a {
    snapshot.disks.iter().map(move |disk| (guest.to_owned(), disk.clone(), snapshot.tag.clone()))
}

fn find(world: &World, guest: &str, snapshot: &SnapshotRef) -> Vec<String> {
    let known = world.snapshots();
    tags(guest, snapshot).filter(|tag| known.contains_key(tag)).map(|(_, disk, _)| disk).collect()
}

fn create(world: &World, guest: &str, snapshot: &SnapshotRef) -> Result<()> {
    if let Some(disk) = find(world, guest, snapshot).first() {
        let message = format!("the simulated disk '{disk}' has a snapshot '{}' already", snapshot.tag);
        return Err(Error::new(ErrorKind::AlreadyExists, message));
    }
    world.snapshots().extend(tags(guest, snapshot).map(|tag| (tag, snapshot.memory)));
    Ok(())
}

fn whole(world: &World, guest: &str, snapshot: &SnapshotRef) -> Result<()> {
    let found = find(world, guest, snapshot);
    match snapshot.disks.iter().find(|disk| !found.contains(disk)) {
        Some(disk) => {
            let message = format!("the simulated disk '{disk}' has no snapshot '{}'", snapshot.tag);
            Err(Error::new(ErrorKind::NotFound, message))
        }
        None => Ok(()),
    }
}

fn delete(world: &World, guest: &str, snapshot: &SnapshotRef) {
    let mut known = world.snapshots();
    tags(guest, snapshot).for_each(|tag| {
        known.remove(&tag);
    });
}

/// A guest that comes back to one with its memory.
pub(crate) fn load(world: &World, guest: &str, snapshot: &SnapshotRef) -> Result<()> {
    whole(world, guest, snapshot)?;
    let known = world.snapshots();
    if tags(guest, snapshot).all(|tag| known.get(&tag) == Some(&true)) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NotFound, format!("the simulated snapshot '{}' has no memory", snapshot.tag)))
}

#[async_trait]
impl LiveSnapshots for MockDomain {
    async fn find(&self, snapshot: &SnapshotRef) -> Result<Vec<String>> {
        self.alive()?;
        Ok(find(&self.world, &self.guest.name, snapshot))
    }

    async fn create(&self, job: &JobContext, snapshot: &SnapshotRef) -> Result<()> {
        self.alive()?;
        create(&self.world, &self.guest.name, snapshot)?;
        let told = job.reached(JobStep::Streaming).await.and_then(|()| job.cancel.check());
        if told.is_err() {
            delete(&self.world, &self.guest.name, snapshot);
        }
        told
    }

    async fn load(&self, job: &JobContext, snapshot: &SnapshotRef) -> Result<()> {
        self.alive()?;
        if self.guest.state() != GuestState::Paused {
            return Err(Error::new(ErrorKind::InvalidState, "a snapshot is loaded while the CPUs stand"));
        }
        job.cancel.check()?;
        load(&self.world, &self.guest.name, snapshot)
    }

    async fn delete(&self, _: &JobContext, snapshot: &SnapshotRef) -> Result<()> {
        self.alive()?;
        delete(&self.world, &self.guest.name, snapshot);
        Ok(())
    }

    async fn abandon(&self) -> Result<Abandoned> {
        // What a simulated guest does ends with the call.
        self.alive().map(|()| Abandoned::Nothing)
    }
}

#[async_trait]
impl OfflineSnapshots for MockDriver {
    async fn find(&self, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<Vec<String>> {
        Ok(find(&self.world, &config.name, snapshot))
    }

    async fn create(&self, job: &JobContext, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<()> {
        create(&self.world, &config.name, snapshot)?;
        let told = job.reached(JobStep::Streaming).await.and_then(|()| job.cancel.check());
        if told.is_err() {
            delete(&self.world, &config.name, snapshot);
        }
        told
    }

    async fn revert(&self, job: &JobContext, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<()> {
        whole(&self.world, &config.name, snapshot)?;
        job.cancel.check()?;
        job.reached(JobStep::Loaded).await
    }

    async fn delete(&self, _: &JobContext, config: &DomainConfig, snapshot: &SnapshotRef) -> Result<()> {
        delete(&self.world, &config.name, snapshot);
        Ok(())
    }
}
