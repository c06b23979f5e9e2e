//! Beginning a block job.

use std::{
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use polyvirt_core::{
    Access, BlockJob, BlockJobEnd, BlockJobKind, CopyHow, DeviceChange, Error, ErrorKind, EventKind, JobStep, Resource,
    Result, io_error,
    model::{
        disk::Disk,
        storage::{BackingStore, Format, ImageFormat, Mirror, MirrorJob, SourceKind},
    },
};
use uuid::Uuid;

use super::{
    BlockJobRecord, CommitOptions, CopyOptions, PullOptions,
    chain::{self, Layer, path_of, target},
    settle,
};
use crate::{
    actor::{Held, Left},
    block::disk_of,
    shared::Shared,
    start::check_resource,
    store::blocking,
};

/// What is to be done.
pub(super) enum Wanted {
    Pull(PullOptions),
    Commit(CommitOptions),
    Copy(Box<CopyOptions>),
}

/// A job about to begin.
pub(super) struct Begin {
    pub(super) shared: Arc<Shared>,
    pub(super) held: Held,
    pub(super) wanted: Wanted,
    pub(super) disk: String,
}

/// What a job needs.
struct Plan {
    job: BlockJob,
    mirror: Option<Mirror>,
    /// Images that are written and were only read before.
    written: Vec<Resource>,
    /// The file to be made.
    create: Option<PathBuf>,
    delete: bool,
}

impl Plan {
    fn new(job: BlockJob) -> Self {
        Self { job, mirror: None, written: Vec::new(), create: None, delete: false }
    }
}

impl Begin {
    pub(super) async fn run(self) -> Result<Left> {
        let held = &self.held;
        let (Some(jobs), Some(attach)) = (held.domain.block_jobs(), held.domain.attach()) else {
            return Err(held.missing("block jobs"));
        };
        let before = held.record.live()?;
        let disk = disk_of(&held.record.guest.name, &before.config, &self.disk)?;
        held.record.no_block_job(Some(target(disk)))?;
        let at = before.config.devices.disks.iter().position(|it| target(it) == target(disk)).unwrap_or_default();
        let plan = self.plan(disk)?;
        let mut after = before.clone();
        after.config.devices.disks[at].mirror.clone_from(&plan.mirror);
        if let Some(path) = plan.create.clone() {
            blocking(move || must_be_free(&path)).await?;
        }
        attach.resolve(&before, &mut after).await?;
        let xml = after.config.devices.pick("disk", at).map(|it| it.to_xml()).unwrap_or_default();
        let mut entry = BlockJobRecord::new(plan.job.clone(), xml);
        (entry.created, entry.delete) = (plan.create.clone(), plan.delete);
        let change = DeviceChange::new(before, after, held.record.plan.clone());
        match self.steps(jobs, &change, &plan, &mut entry).await {
            Ok(()) => {
                let event = EventKind::BlockJob {
                    disk: entry.job.disk,
                    job: entry.job.kind.job(),
                    status: "started".to_owned(),
                };
                Ok(Left::nothing().event(event))
            }
            Err(error) => Err(self.undo(jobs, &change, &entry, error).await),
        }
    }

    async fn steps(
        &self,
        jobs: &dyn polyvirt_core::BlockJobs,
        change: &DeviceChange,
        plan: &Plan,
        entry: &mut BlockJobRecord,
    ) -> Result<()> {
        self.write(change, entry).await?;
        self.told(entry)?;
        if let Some(path) = plan.create.clone() {
            blocking(move || create(&path)).await?;
        }
        self.lend(change, plan).await?;
        entry.step = JobStep::Opened;
        self.write(change, entry).await?;
        self.told(entry)?;
        jobs.begin(change, &plan.job).await?;
        entry.step = JobStep::Streaming;
        self.write(change, entry).await?;
        self.told(entry)
    }

    /// Writes a step into the guest's record, with the definition that has the `<mirror>`.
    async fn write(&self, change: &DeviceChange, entry: &BlockJobRecord) -> Result<()> {
        let (live, entry) = (change.after.config.clone(), entry.clone());
        let written = self.held.lane.edit(move |record| {
            record.set_live(&live);
            record.put_block_job(entry);
            Ok(())
        });
        written.await.map(drop)
    }

    fn told(&self, entry: &BlockJobRecord) -> Result<()> {
        settle::tell(&self.shared, &self.held.record.guest, entry)
    }

    /// Makes usable for the guest what it has not used so before.
    async fn lend(&self, change: &DeviceChange, plan: &Plan) -> Result<()> {
        let mut brought = self.shared.brought((&change.before, &change.after), change.plan.as_ref())?;
        brought.resources.extend(plan.written.iter().cloned());
        let resources = brought.resources.clone();
        blocking(move || resources.iter().try_for_each(check_resource)).await?;
        match self.shared.services.labels() {
            Some(labels) => labels.apply(&self.shared.owner_ref(&change.after.guest())?, &brought).await,
            None => Ok(()),
        }
    }

    /// Leaves nothing of a job that did not begin.
    async fn undo(
        &self,
        jobs: &dyn polyvirt_core::BlockJobs,
        change: &DeviceChange,
        entry: &BlockJobRecord,
        error: Error,
    ) -> Error {
        let back = DeviceChange::new(change.after.clone(), change.before.clone(), change.plan.clone());
        let undone = async {
            if let Some(status) = jobs.status(&entry.job).await?
                && !matches!(status.state, polyvirt_core::BlockJobState::Over { .. })
            {
                jobs.end(&entry.job, BlockJobEnd::Stay).await?;
                settle::wait_over(jobs, &entry.job, None).await?;
            }
            jobs.clear(&back, &entry.job).await?;
            settle::remove_created(entry).await;
            self.shared.give_back((&change.after, &change.before), change.plan.as_ref()).await;
            let (live, id) = (change.before.config.clone(), entry.job.id.clone());
            let forgotten = self.held.lane.edit(move |record| {
                record.set_live(&live);
                record.block_jobs.retain(|it| it.job.id != id);
                Ok(())
            });
            forgotten.await.map(drop)
        };
        match undone.await {
            Ok(()) => error,
            Err(left) => error.with("not undone", left).hint("whoever attends the guest next undoes it"),
        }
    }

    fn plan(&self, disk: &Disk) -> Result<Plan> {
        let all = chain::layers(disk);
        if all.is_empty() {
            let message = format!("nothing is in the drive '{}'", target(disk));
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let transient = disk.transient.is_some() || disk.readonly;
        if transient {
            let message = format!("the disk '{}' is read-only or transient: its images stay as they are", target(disk));
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        match &self.wanted {
            Wanted::Pull(options) => pull(disk, &all, options),
            Wanted::Commit(options) => commit(disk, &all, options),
            Wanted::Copy(options) => copy(disk, &all, options),
        }
    }
}

fn identity(kind: BlockJobKind, disk: &Disk) -> String {
    let word = match kind {
        BlockJobKind::Pull => "pull",
        BlockJobKind::Copy => "copy",
        _ => "commit",
    };
    let target: String = target(disk).chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    let unique = Uuid::new_v4().simple().to_string();
    format!("{word}-{target}-{}", &unique[..12])
}

fn known_end(disk: &Disk) -> Result<()> {
    if chain::is_whole(disk) {
        return Ok(());
    }
    let message = format!("it is not known what all images of '{}' are: the chain leaves this host", target(disk));
    Err(Error::new(ErrorKind::Unsupported, message)
        .hint("name the image with --base, or write the whole <backingStore> into the definition"))
}

fn pull(disk: &Disk, all: &[Layer], options: &PullOptions) -> Result<Plan> {
    let top = &all[0];
    if all.len() < 2 {
        let message = format!("the disk '{}' is based on nothing that could be pulled", target(disk));
        return Err(Error::new(ErrorKind::InvalidState, message));
    }
    let base = options.base.as_deref().map(|word| chain::find(disk, word)).transpose()?;
    if base == Some(top.number) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "the base is the image that is pulled into; name one below",
        ));
    }
    if base.is_none() {
        known_end(disk)?;
    }
    let mut job = BlockJob::new(identity(BlockJobKind::Pull, disk), BlockJobKind::Pull, target(disk), top.number);
    (job.base, job.bandwidth) = (base, options.bandwidth);
    if options.relative {
        let base = base.and_then(|it| all.iter().find(|layer| layer.number == it));
        let Some(base) = base else {
            return Err(Error::new(ErrorKind::InvalidArgument, "--keep-relative needs a base"));
        };
        job.base_name = Some(relative(top, base)?);
    }
    Ok(Plan::new(job))
}

fn writable(layer: &Layer) -> Option<Resource> {
    path_of(&layer.source).map(|it| Resource::existing(it, "", Access::Write))
}

fn commit(disk: &Disk, all: &[Layer], options: &CommitOptions) -> Result<Plan> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidArgument, message);
    let place = |word: &str| {
        let number = chain::find(disk, word)?;
        Ok::<_, Error>(all.iter().position(|it| it.number == number).unwrap_or_default())
    };
    let top = options.top.as_deref().map(place).transpose()?.unwrap_or(0);
    let base = match (&options.base, options.shallow) {
        (Some(_), true) => return Err(wrong("a base and --shallow cannot be had together".to_owned())),
        (Some(word), false) => place(word)?,
        (None, true) => top + 1,
        (None, false) => {
            known_end(disk)?;
            all.len() - 1
        }
    };
    if base <= top || base >= all.len() {
        let message =
            format!("nothing is below the image [{}] of '{}' to commit it into", all[top].number, target(disk));
        return Err(wrong(message));
    }
    if top == 0 && !options.active {
        return Err(wrong(format!("the topmost image of '{}' is the one that the guest writes", target(disk)))
            .hint("commit it with --active or --pivot, or name another with --top"));
    }
    let kind = if top == 0 { BlockJobKind::ActiveCommit } else { BlockJobKind::Commit };
    let mut job = BlockJob::new(identity(kind, disk), kind, target(disk), all[top].number);
    (job.base, job.bandwidth) = (Some(all[base].number), options.bandwidth);
    let mut plan = Plan::new(job);
    plan.delete = options.delete;
    plan.written.extend(writable(&all[base]));
    if top > 0 {
        if options.relative {
            plan.job.base_name = Some(relative(&all[top - 1], &all[base])?);
        }
        // Its header says what it is based on.
        plan.written.extend(writable(&all[top - 1]));
    } else {
        let mut mirror = Mirror::default();
        mirror.job = Some(MirrorJob::ActiveCommit);
        mirror.kind = Some(all[base].kind);
        mirror.format = Some(format_of(all[base].format));
        mirror.source = Some(all[base].source.clone());
        plan.mirror = Some(mirror);
    }
    Ok(plan)
}

fn format_of(kind: ImageFormat) -> Format {
    let mut format = Format::default();
    format.kind = Some(kind);
    format
}

fn copy(disk: &Disk, all: &[Layer], options: &CopyOptions) -> Result<Plan> {
    let wrong = |message: &str| Error::new(ErrorKind::InvalidArgument, message.to_owned());
    let top = &all[0];
    let kind = options.kind.unwrap_or(SourceKind::File);
    let format = options.format.unwrap_or(top.format);
    if options.granularity.is_some_and(|it| !it.is_power_of_two() || !(512..=64 << 20).contains(&it)) {
        return Err(wrong("a granularity is a power of two from 512 to 67108864 bytes"));
    }
    let path = path_of(&options.source);
    if matches!(kind, SourceKind::File | SourceKind::Block) && !path.is_some_and(|it| it.starts_with('/')) {
        return Err(wrong("the destination is an absolute path"));
    }
    if path.is_some() && all.iter().any(|it| it.path() == path) {
        return Err(wrong("the destination is one of the disk's own images"));
    }
    let has_backing = matches!(format, ImageFormat::Qcow2 | ImageFormat::Qed);
    if options.shallow && !has_backing {
        return Err(
            wrong("a shallow copy is a qcow2 image: others cannot be based on another").hint("use --format qcow2")
        );
    }
    let create = !options.reuse && kind == SourceKind::File;
    if !options.reuse && !create && format != ImageFormat::Raw {
        return Err(wrong("only a file can be made in this format")
            .hint("write the image there first, and use --reuse-external"));
    }
    if create && !matches!(format, ImageFormat::Raw | ImageFormat::Qcow2 | ImageFormat::Qed) {
        return Err(Error::new(ErrorKind::Unsupported, format!("images of format '{format}' are not made here"))
            .hint("make it with `qemu-img create`, and use --reuse-external"));
    }
    let mut mirror = Mirror::default();
    mirror.job = Some(MirrorJob::Copy);
    mirror.kind = Some(kind);
    mirror.format = Some(format_of(format));
    mirror.source = Some(options.source.clone());
    mirror.backing_store = match (options.reuse, options.shallow) {
        // What is below is shared, with its nodes.
        (false, true) => disk.backing_store.clone(),
        (true, true) => None,
        (_, false) => Some(Box::new(BackingStore::default())),
    };
    let mut job = BlockJob::new(identity(BlockJobKind::Copy, disk), BlockJobKind::Copy, target(disk), top.number);
    job.bandwidth = options.bandwidth;
    let mut how = CopyHow::default();
    (how.shallow, how.create, how.synchronous) = (options.shallow, create, options.synchronous);
    (how.granularity, how.buffer) = (options.granularity, options.buffer);
    job.copy = how;
    let mut plan = Plan::new(job);
    plan.mirror = Some(mirror);
    plan.create = path.filter(|_| create).map(PathBuf::from);
    Ok(plan)
}

/// What a header says to name an image relative to its own place.
fn relative(from: &Layer, to: &Layer) -> Result<String> {
    let unknown = || Error::new(ErrorKind::InvalidArgument, "only files can be named relative to each other");
    let (from, to) = (from.path().ok_or_else(unknown)?, to.path().ok_or_else(unknown)?);
    let plain = |path: &str| Path::new(path).components().all(|it| !matches!(it, Component::ParentDir));
    if !plain(from) || !plain(to) {
        return Err(unknown());
    }
    let (from, to) = (Path::new(from).parent().unwrap_or(Path::new("/")), Path::new(to));
    let common = from.components().zip(to.components()).take_while(|(one, other)| one == other).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    let name: PathBuf = up.chain(to.components().skip(common)).collect();
    name.to_str().map(str::to_owned).ok_or_else(unknown)
}

fn must_be_free(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Err(Error::new(ErrorKind::AlreadyExists, format!("{} is there already", path.display()))
            .hint("take another name, or use --reuse-external for an image that is as large as the disk")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("look at", path, error)),
    }
}

/// Makes an empty file that nobody had.
fn create(path: &Path) -> Result<()> {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| io_error("make", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_relative_to_each_other() {
        let layer = |path: &str| {
            let mut source = polyvirt_core::model::storage::Source::default();
            source.file = Some(path.to_owned());
            Layer { number: 1, kind: SourceKind::File, format: ImageFormat::Raw, source }
        };
        let named = |from: &str, to: &str| relative(&layer(from), &layer(to)).ok();
        assert_eq!(named("/a/b/top", "/a/b/base").as_deref(), Some("base"));
        assert_eq!(named("/a/b/top", "/a/c/base").as_deref(), Some("../c/base"));
        assert_eq!(named("/top", "/a/base").as_deref(), Some("a/base"));
        assert_eq!(named("/a/../top", "/a/base"), None);
    }
}
