//! Block jobs, sizes and marks of simulated disks: a job that follows the guest is in step at once, any other is over at once.

use std::collections::HashMap;

use polyvirt_core::{
    BlockJob, BlockJobEnd, BlockJobState, BlockJobStatus, BlockJobs, BlockResize, BlockThreshold, DeviceChange, Error,
    ErrorKind, Result, Signal, async_trait,
    model::{
        DomainConfig,
        disk::Disk,
        storage::{BackingStore, MirrorJob, Source},
    },
};

use crate::{domain::MockDomain, statistics::DISK};

/// What simulated disks came to.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    jobs: HashMap<String, BlockJobState>,
    sizes: HashMap<String, u64>,
}

impl Blocks {
    /// How large a disk is.
    pub(crate) fn size(&self, disk: &Disk) -> u64 {
        self.sizes.get(target(disk)).copied().unwrap_or(DISK)
    }
}

fn target(disk: &Disk) -> &str {
    disk.target.as_ref().map_or("", |it| &it.dev)
}

/// Gives every image a number that no other has.
pub(crate) fn number_images(config: &mut DomainConfig) {
    let mut last = 0;
    for disk in &mut config.devices.disks {
        images(disk, &mut |source| last = last.max(source.index.unwrap_or(0)));
    }
    for disk in &mut config.devices.disks {
        images(disk, &mut |source| {
            if source.index.is_none() {
                last += 1;
                source.index = Some(last);
            }
        });
    }
}

fn images(disk: &mut Disk, visit: &mut dyn FnMut(&mut Source)) {
    let mut below = |mut next: Option<&mut BackingStore>| {
        while let Some(store) = next {
            store.source.iter_mut().for_each(&mut *visit);
            next = store.backing_store.as_deref_mut();
        }
    };
    below(disk.backing_store.as_deref_mut());
    if let Some(mirror) = disk.mirror.as_mut().filter(|it| it.job != Some(MirrorJob::ActiveCommit)) {
        below(mirror.backing_store.as_deref_mut());
        mirror.source.iter_mut().for_each(&mut *visit);
    }
    disk.source.iter_mut().for_each(visit);
}

#[async_trait]
impl BlockResize for MockDomain {
    async fn resize(&self, disk: &Disk, bytes: u64) -> Result<()> {
        self.alive()?;
        if disk.source.is_none() {
            return Err(Error::new(ErrorKind::NotFound, "nothing is in the drive"));
        }
        self.guest.blocks().sizes.insert(target(disk).to_owned(), bytes);
        Ok(())
    }
}

#[async_trait]
impl BlockThreshold for MockDomain {
    async fn set_threshold(&self, disk: &Disk, image: u32, _: u64) -> Result<()> {
        self.alive()?;
        let mut known = false;
        images(&mut disk.clone(), &mut |source| known |= source.index == Some(image));
        if known { Ok(()) } else { Err(Error::new(ErrorKind::NotFound, format!("the disk has no image {image}"))) }
    }
}

#[async_trait]
impl BlockJobs for MockDomain {
    async fn begin(&self, _: &DeviceChange, job: &BlockJob) -> Result<()> {
        self.alive()?;
        let state = match job.kind.follows() {
            true => BlockJobState::Ready,
            false => BlockJobState::Over { error: None, pivoted: false },
        };
        self.guest.blocks().jobs.insert(job.id.clone(), state);
        self.guest.tell(Signal::BlockJob(job.id.clone())).await;
        Ok(())
    }

    async fn status(&self, job: &BlockJob) -> Result<Option<BlockJobStatus>> {
        self.alive()?;
        let state = self.guest.blocks().jobs.get(&job.id).cloned();
        Ok(state.map(|state| BlockJobStatus::new(state, DISK, DISK)))
    }

    async fn end(&self, job: &BlockJob, how: BlockJobEnd) -> Result<()> {
        self.alive()?;
        let over = BlockJobState::Over { error: None, pivoted: how == BlockJobEnd::Pivot };
        if let Some(state) = self.guest.blocks().jobs.get_mut(&job.id)
            && !matches!(state, BlockJobState::Over { .. })
        {
            *state = over;
        }
        self.guest.tell(Signal::BlockJob(job.id.clone())).await;
        Ok(())
    }

    async fn limit(&self, _: &BlockJob, _: u64) -> Result<()> {
        self.alive()
    }

    async fn clear(&self, _: &DeviceChange, job: &BlockJob) -> Result<()> {
        self.alive()?;
        self.guest.blocks().jobs.remove(&job.id);
        Ok(())
    }
}
