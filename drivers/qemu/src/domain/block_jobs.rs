//! Block jobs: QEMU's `block-stream`, `block-commit` and `blockdev-mirror`.
//!
//! Nodes follow from the definition ([`crate::plug`]): a copy's are those of its `<mirror>`. QEMU keeps a job that is over (`auto-dismiss`
//! is off) until it is cleared here, so whoever attends the guest next finds it.

use std::{sync::Arc, time::Duration};

use polyvirt_core::{
    BlockJob, BlockJobEnd, BlockJobKind, BlockJobState, BlockJobStatus, BlockJobs, DeviceChange, Error, ErrorKind,
    LiveConfig, Result, async_trait,
    model::{
        disk::Disk,
        storage::{ImageFormat, Mirror},
    },
};
use polyvirt_qmp::{
    BlockCommit, BlockJobCancel, BlockJobSetSpeed, BlockResize, BlockStream, BlockdevCreate, BlockdevMirror,
    ErrorClass, JobCancel, JobComplete, JobDismiss, JobInfo, QmpError, QueryBlock, QueryJobs,
};
use serde_json::json;

use super::{ANSWER, QemuDomain, Shared, news::peripheral};
use crate::{
    command::Images,
    failure::monitor_error,
    plug::{self, Kind, Part},
};

/// How long QEMU may take to begin a job: it may open images and drain the guest's requests.
const BEGIN: Duration = Duration::from_secs(30);

/// How long the header of a new image may take to be written.
const CREATED: Duration = Duration::from_secs(60);

/// How often it is asked whether what takes a moment is over.
const MOMENT: Duration = Duration::from_millis(20);

/// The disk of a job.
fn disk_of<'a>(live: &'a LiveConfig, job: &BlockJob) -> Result<&'a Disk> {
    let named = |it: &&Disk| it.target.as_ref().is_some_and(|it| it.dev == job.disk);
    live.config
        .devices
        .disks
        .iter()
        .find(named)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("the guest has no disk '{}' any more", job.disk)))
}

/// The node of the image of that number.
fn node(images: &Images, number: u32) -> Result<&str> {
    let found = images.chain.iter().chain(&images.mirror).find(|it| it.number == number);
    found
        .map(|it| it.top.as_str())
        .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, format!("the disk has no image of number {number}")))
}

#[async_trait]
impl BlockJobs for QemuDomain {
    async fn begin(&self, change: &DeviceChange, job: &BlockJob) -> Result<()> {
        let (shared, builder) = (&self.shared, self.shared.builder()?);
        let disk = disk_of(&change.after, job)?;
        let images = builder.images(&change.after.config, disk);
        let images = images.ok_or_else(|| Error::new(ErrorKind::NotFound, "nothing is in the drive"))?;
        if images.filtered && job.kind.follows() {
            let message = "a disk with filters (copy_on_read, throttlefilters) cannot go over to another image while the guest runs";
            return Err(Error::new(ErrorKind::Unsupported, message)
                .hint("take them out of the definition, and start the guest again"));
        }
        let difference = builder.between(&change.before.config, &change.after.config, change.plan.as_ref(), &[])?;
        let added: Vec<Part> = difference.added;
        let begun = async {
            shared.open_copy(&added, disk, job, &images).await?;
            shared.tell(job, &images).await
        };
        if let Err(error) = begun.await {
            plug::take_out(&shared.parts.monitor, &there(shared, &added).await).await;
            return Err(error);
        }
        self.take(&change.after);
        Ok(())
    }

    async fn status(&self, job: &BlockJob) -> Result<Option<BlockJobStatus>> {
        let Some(found) = self.shared.job(&job.id).await? else { return Ok(None) };
        let state = match found.status.as_str() {
            "ready" => BlockJobState::Ready,
            "concluded" => {
                let pivoted = job.kind.follows() && self.shared.is_pivoted(job).await?;
                BlockJobState::Over { error: found.error, pivoted }
            }
            _ => BlockJobState::Running,
        };
        Ok(Some(BlockJobStatus::new(state, found.current_progress, found.total_progress)))
    }

    async fn end(&self, job: &BlockJob, how: BlockJobEnd) -> Result<()> {
        let Some(found) = self.shared.job(&job.id).await? else { return Ok(()) };
        if found.status == "concluded" {
            return Ok(());
        }
        let ready = found.status == "ready";
        let told = match how {
            BlockJobEnd::Pivot if !ready => {
                let message = format!("the job of disk '{}' is not in step with the guest yet", job.disk);
                return Err(Error::new(ErrorKind::InvalidState, message)
                    .hint("wait until it is; `polyvirt blockjob --info` shows how far it is"));
            }
            BlockJobEnd::Pivot => self.shared.execute_within(&JobComplete { id: &job.id }, BEGIN).await,
            // Unforced, it first writes what is left.
            _ if ready => self.shared.execute_within(&BlockJobCancel { device: &job.id, force: false }, BEGIN).await,
            _ => self.shared.execute_within(&JobCancel { id: &job.id }, BEGIN).await,
        };
        told.map(drop)
    }

    async fn limit(&self, job: &BlockJob, bandwidth: u64) -> Result<()> {
        self.shared.execute(&BlockJobSetSpeed { device: &job.id, speed: bandwidth }).await.map(drop)
    }

    async fn clear(&self, change: &DeviceChange, job: &BlockJob) -> Result<()> {
        let shared = &self.shared;
        if let Some(found) = shared.job(&job.id).await? {
            if found.status != "concluded" {
                let message = format!("the job {} is {}, not over", job.id, found.status);
                return Err(Error::new(ErrorKind::Busy, message));
            }
            shared.execute(&JobDismiss { id: &job.id }).await?;
        }
        shared.forget_creation(job).await?;
        let between =
            shared.builder()?.between(&change.before.config, &change.after.config, change.plan.as_ref(), &[])?;
        let gone = there(shared, &between.removed).await;
        let left = plug::take_out(&shared.parts.monitor, &gone).await;
        if !left.is_empty() {
            tracing::warn!(
                guest = change.after.config.name,
                ?left,
                "QEMU keeps images open that the guest does not use any more"
            );
        }
        self.take(&change.after);
        Ok(())
    }
}

/// Those of the block nodes that QEMU has.
async fn there(shared: &Shared, parts: &[Part]) -> Vec<Part> {
    let Ok(Some(nodes)) = plug::nodes(&shared.parts.monitor, ANSWER).await else { return parts.to_vec() };
    parts.iter().filter(|it| it.kind != Kind::Node || nodes.contains(&it.id)).cloned().collect()
}

impl QemuDomain {
    /// From now on the guest's disks are these.
    fn take(&self, after: &LiveConfig) {
        self.shared.live.send_modify(|live| {
            Arc::make_mut(live).config.devices.disks.clone_from(&after.config.devices.disks);
        });
    }
}

impl Shared {
    async fn job(&self, id: &str) -> Result<Option<JobInfo>> {
        Ok(self.execute(&QueryJobs {}).await?.into_iter().find(|it| it.id == id))
    }

    /// Whether the guest's device is on the other image of the job.
    async fn is_pivoted(&self, job: &BlockJob) -> Result<bool> {
        let live = self.live();
        let disk = disk_of(&live, job)?;
        let images = self.images(disk)?;
        let other = match job.kind {
            BlockJobKind::Copy => images.mirror.as_ref().map(|it| it.top.as_str()),
            _ => job.base.and_then(|it| node(&images, it).ok()),
        };
        let alias = disk.info.alias.as_ref().map(|it| it.name.as_str());
        let devices = self.execute(&QueryBlock {}).await?;
        let device = devices.iter().find(|it| {
            let id = it.qdev.as_deref().map(|it| peripheral(it).unwrap_or_else(|| it.to_owned()));
            id.as_deref() == alias
        });
        let on = device.and_then(|it| it.inserted.as_ref()).and_then(|it| it.node_name.as_deref());
        Ok(other.is_some() && on == other)
    }

    /// Opens the images of a copy; writes the header of a new one.
    async fn open_copy(&self, added: &[Part], disk: &Disk, job: &BlockJob, images: &Images) -> Result<()> {
        let (Some(mirror), Some(new)) = (&disk.mirror, &images.mirror) else { return Ok(()) };
        if !job.copy.create {
            return self.open(added).await;
        }
        // The format cannot be opened before its header is there.
        let (format, rest): (Vec<Part>, Vec<Part>) =
            added.iter().cloned().partition(|it| it.id == new.top && it.id != new.storage);
        self.open(&rest).await?;
        self.create(mirror, disk, job, &new.storage).await?;
        self.open(&format).await
    }

    async fn open(&self, parts: &[Part]) -> Result<()> {
        plug::put_in(&self.parts.monitor, parts).await.map_err(|trouble| {
            monitor_error(&trouble.error).with("image", &trouble.part).hint("nothing was changed; look at the image")
        })
    }

    /// Writes the header of a new image, as large as the disk.
    async fn create(&self, mirror: &Mirror, disk: &Disk, job: &BlockJob, storage: &str) -> Result<()> {
        let size = self.virtual_size(disk).await?;
        let format = mirror.format.as_ref().and_then(|it| it.kind).unwrap_or(ImageFormat::Raw);
        if format == ImageFormat::Raw {
            // It has no header; it is as long as the disk.
            return self.execute_within(&BlockResize { node_name: storage, size }, CREATED).await.map(drop);
        }
        let mut options = json!({ "driver": format.as_str(), "file": storage, "size": size });
        let below = mirror.backing_store.as_ref().filter(|it| it.source.is_some());
        if let Some(below) = below {
            let source = below.source.as_ref();
            let name = source.and_then(|it| it.file.as_ref().or(it.dev.as_ref())).ok_or_else(|| {
                Error::new(
                    ErrorKind::Unsupported,
                    "an image on a server cannot be written into the header of a new one",
                )
                .hint("make the image first, and use --reuse-external")
            })?;
            let format = below.format.as_ref().and_then(|it| it.kind).unwrap_or(ImageFormat::Raw);
            options["backing-file"] = json!(name);
            options["backing-fmt"] = json!(format.as_str());
        }
        let id = creation(job);
        self.execute(&BlockdevCreate { job_id: &id, options: &options }).await?;
        let created = async {
            loop {
                match self.job(&id).await? {
                    Some(found) if found.status == "concluded" => return Ok(found.error),
                    Some(_) => tokio::time::sleep(MOMENT).await,
                    None => return Ok(None),
                }
            }
        };
        let late = |_| Error::new(ErrorKind::Timeout, format!("the new image is not there within {CREATED:?}"));
        let done: Result<Option<String>> = tokio::time::timeout(CREATED, created).await.map_err(late)?;
        let failed = done?;
        self.forget_creation(job).await?;
        failed.map_or(Ok(()), |why| {
            Err(Error::new(ErrorKind::Hypervisor, format!("QEMU cannot make the new image: {why}")))
        })
    }

    /// Forgets the job that wrote a new image's header.
    async fn forget_creation(&self, job: &BlockJob) -> Result<()> {
        let id = creation(job);
        if !job.copy.create || self.job(&id).await?.is_none() {
            return Ok(());
        }
        match self.parts.monitor.execute(&JobDismiss { id: &id }, ANSWER).await {
            Ok(_) | Err(QmpError::Refused { class: ErrorClass::DeviceNotFound, .. }) => Ok(()),
            Err(error) => Err(monitor_error(&error)),
        }
    }

    async fn virtual_size(&self, disk: &Disk) -> Result<u64> {
        let alias = disk.info.alias.as_ref().map(|it| it.name.as_str());
        let devices = self.execute(&QueryBlock {}).await?;
        let device = devices.iter().find(|it| {
            let id = it.qdev.as_deref().map(|it| peripheral(it).unwrap_or_else(|| it.to_owned()));
            id.as_deref() == alias
        });
        let image = device.and_then(|it| it.inserted.as_ref()).and_then(|it| it.image.as_ref());
        image.map(|it| it.virtual_size).ok_or_else(|| Error::new(ErrorKind::NotFound, "nothing is in the drive"))
    }

    /// Tells QEMU of the job.
    async fn tell(&self, job: &BlockJob, images: &Images) -> Result<()> {
        let top = images.chain.first().map(|it| it.top.as_str()).unwrap_or_default();
        let base = job.base.map(|it| node(images, it)).transpose()?;
        let backing_file = job.base_name.as_deref();
        let masked = self.builder()?.binary.has_path("block-commit/backing-mask-protocol").then_some(true);
        let told = match job.kind {
            BlockJobKind::Pull => {
                let order = BlockStream {
                    job_id: &job.id,
                    device: node(images, job.top)?,
                    base_node: base,
                    backing_file,
                    backing_mask_protocol: masked,
                    speed: job.bandwidth,
                    auto_dismiss: false,
                };
                self.execute_within(&order, BEGIN).await
            }
            BlockJobKind::Commit | BlockJobKind::ActiveCommit => {
                let order = BlockCommit {
                    job_id: &job.id,
                    device: top,
                    top_node: node(images, job.top)?,
                    base_node: base.ok_or_else(|| Error::new(ErrorKind::Internal, "a commit into nothing"))?,
                    backing_file,
                    backing_mask_protocol: masked,
                    speed: job.bandwidth,
                    auto_dismiss: false,
                };
                self.execute_within(&order, BEGIN).await
            }
            _ => {
                let target =
                    images.mirror.as_ref().ok_or_else(|| Error::new(ErrorKind::Internal, "a copy to nowhere"))?;
                let order = BlockdevMirror {
                    job_id: &job.id,
                    device: top,
                    target: &target.top,
                    sync: if job.copy.shallow { "top" } else { "full" },
                    speed: job.bandwidth,
                    granularity: job.copy.granularity,
                    buf_size: job.copy.buffer,
                    copy_mode: if job.copy.synchronous { "write-blocking" } else { "background" },
                    auto_dismiss: false,
                };
                self.execute_within(&order, BEGIN).await
            }
        };
        told.map(drop)
    }
}

fn creation(job: &BlockJob) -> String {
    format!("create-{}", job.id)
}
