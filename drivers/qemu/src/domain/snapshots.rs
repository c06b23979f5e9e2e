//! Snapshots in the images of a running guest, by QEMU's jobs.
//!
//! QEMU does such a job in the thread that answers its monitor: it is silent until all is done, and nobody can end it but with QEMU. So what
//! waits here has no deadline; whoever gives up destroys the guest, and the engine finds in its journal what the images may have.

use std::time::Duration;

use polyvirt_core::{
    Abandoned, Error, ErrorKind, JobContext, JobStep, LiveSnapshots, Result, SnapshotRef, async_trait,
    model::DomainConfig,
};
use polyvirt_qmp::{
    Command, Events, JobDismiss, JobInfo, Monitor, QmpError, QueryJobs, QueryNamedBlockNodes, SnapshotDelete,
    SnapshotLoad, SnapshotSave,
};

use super::{ANSWER, QemuDomain};
use crate::{
    command::firmware,
    failure::monitor_error,
    images::{Image, images, missing, taken},
    places::Places,
};

/// What our jobs are called: there is one at a time.
const JOB: &str = "polyvirt-snapshot";
/// How often QEMU is asked whether a job is over that an event did not tell of.
const TICK: Duration = Duration::from_millis(500);
/// How long a cancelled job may take to end before nobody waits any more.
const PATIENCE: Duration = Duration::from_secs(20);
/// The fact of an error that something may be left.
const UNDONE: &str = "not undone";
/// How long QEMU may be silent over a job: writing 1 TiB of memory at 100 MiB a second.
const SILENT: Duration = Duration::from_secs(3 * 3600);

/// The images of a snapshot, with QEMU to ask about them.
pub(crate) struct Nodes<'a> {
    monitor: &'a Monitor,
    tag: &'a str,
    images: Vec<Image>,
}

impl<'a> Nodes<'a> {
    /// Those of a running guest.
    pub(crate) fn of(
        monitor: &'a Monitor,
        config: &DomainConfig,
        places: &Places,
        snapshot: &'a SnapshotRef,
    ) -> Result<Self> {
        let images = images(config, snapshot, firmware::variables(config, &places.folders))?;
        Ok(Self { monitor, tag: &snapshot.tag, images })
    }

    fn names(&self) -> Vec<String> {
        self.images.iter().map(|image| image.node.clone()).collect()
    }

    /// Whose images have it.
    async fn find(&self) -> Result<Vec<String>> {
        let nodes = self.execute(&QueryNamedBlockNodes { flat: true }, ANSWER).await?;
        let mut found = Vec::new();
        for image in &self.images {
            let node = nodes.iter().find(|it| it.node_name == image.node).ok_or_else(|| {
                Error::new(ErrorKind::Internal, format!("QEMU has no node {} for '{}'", image.node, image.owner))
            })?;
            if node.image.snapshots.iter().any(|it| it.name == self.tag) {
                found.push(image.owner.clone());
            }
        }
        Ok(found)
    }

    /// A snapshot that is in all images.
    async fn is_whole(&self) -> Result<()> {
        let found = self.find().await?;
        match self.images.iter().find(|image| !found.contains(&image.owner)) {
            Some(image) => Err(missing(&image.owner, self.tag)),
            None => self.is_clear().await,
        }
    }

    /// QEMU takes a number before a name that looks like one, and would load another snapshot.
    async fn is_clear(&self) -> Result<()> {
        let nodes = self.execute(&QueryNamedBlockNodes { flat: true }, ANSWER).await?;
        let ours = |name: &str| self.images.iter().any(|image| image.node == name);
        let mut all = nodes.iter().filter(|node| ours(&node.node_name)).flat_map(|node| &node.image.snapshots);
        match all.find(|it| it.id == self.tag && it.name != self.tag) {
            Some(other) => {
                let message = format!(
                    "QEMU would take the snapshot '{}', whose number is {}, for '{}'",
                    other.name, other.id, self.tag
                );
                Err(Error::new(ErrorKind::Unsupported, message)
                    .hint("delete that one, or shut the guest off: then snapshots go by their own numbers"))
            }
            None => Ok(()),
        }
    }

    async fn execute<C: Command>(&self, command: &C, within: Duration) -> Result<C::Reply> {
        self.monitor.execute(command, within).await.map_err(|error| monitor_error(&error))
    }

    /// Has a job begun; its end is to be waited for.
    async fn begin<C: Command>(&self, command: &C) -> Result<Events> {
        let events = self.monitor.subscribe().map_err(|error| monitor_error(&error))?;
        self.execute(command, ANSWER).await?;
        Ok(events)
    }

    /// Waits for the end of a job. May be dropped, and called again.
    async fn end(&self, events: &mut Events) -> Result<()> {
        let info = over(self.monitor, events).await.map_err(|error| monitor_error(&error))?;
        let info = info.ok_or_else(|| Error::new(ErrorKind::Hypervisor, "QEMU forgot how its job ended"))?;
        self.execute(&JobDismiss { id: JOB }, ANSWER).await?;
        match info.error {
            Some(why) => {
                let why: String = why.chars().take(400).collect();
                Err(Error::new(ErrorKind::Hypervisor, why))
            }
            None => Ok(()),
        }
    }

    /// Has a job done, and waits for its end.
    async fn job<C: Command>(&self, command: &C) -> Result<()> {
        let mut events = self.begin(command).await?;
        self.end(&mut events).await
    }

    /// Takes the snapshot.
    async fn save(&self, job: &JobContext) -> Result<()> {
        let devices = self.names();
        let save = SnapshotSave { job_id: JOB, tag: self.tag, vmstate: &devices[0], devices: &devices };
        let mut events = self.begin(&save).await?;
        let told = job.reached(JobStep::Streaming).await;
        let ended = match job.cancel.guard(self.end(&mut events)).await {
            Ok(ended) => ended,
            Err(cancelled) => match tokio::time::timeout(PATIENCE, self.end(&mut events)).await {
                Ok(ended) => ended.and(Err(cancelled)),
                Err(_) => Err(cancelled.with(UNDONE, "QEMU is silent, and may still take it")),
            },
        };
        told.and(ended)?;
        job.cancel.check()
    }

    /// Has QEMU load the snapshot; the CPUs stand.
    pub(crate) async fn load(&self) -> Result<()> {
        self.is_whole().await?;
        let devices = self.names();
        let load = SnapshotLoad { job_id: JOB, tag: self.tag, vmstate: &devices[0], devices: &devices };
        self.job(&load).await.map_err(|error| error.with("guest", "it may have part of the snapshot, and cannot go on"))
    }

    async fn delete(&self) -> Result<()> {
        let devices = self.names();
        self.job(&SnapshotDelete { job_id: JOB, tag: self.tag, devices: &devices }).await
    }
}

/// Waits until our job is over; `None` if there is none.
async fn over(monitor: &Monitor, events: &mut Events) -> std::result::Result<Option<JobInfo>, QmpError> {
    loop {
        let job = monitor.execute(&QueryJobs {}, SILENT).await?.into_iter().find(|it| it.id == JOB);
        match job {
            Some(job) if job.status != "concluded" => {}
            job => return Ok(job),
        }
        let concluded = async {
            while let Ok(event) = events.next().await {
                if event.name == "JOB_STATUS_CHANGE" && event.data["id"] == JOB && event.data["status"] == "concluded" {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::time::timeout(TICK, concluded).await.ok();
    }
}

impl QemuDomain {
    fn nodes<'a>(&'a self, config: &DomainConfig, snapshot: &'a SnapshotRef) -> Result<Nodes<'a>> {
        Nodes::of(&self.shared.parts.monitor, config, &self.shared.parts.places, snapshot)
    }
}

#[async_trait]
impl LiveSnapshots for QemuDomain {
    async fn find(&self, snapshot: &SnapshotRef) -> Result<Vec<String>> {
        self.nodes(&self.shared.live().config, snapshot)?.find().await
    }

    async fn create(&self, job: &JobContext, snapshot: &SnapshotRef) -> Result<()> {
        let nodes = self.nodes(&self.shared.live().config, snapshot)?;
        if let Some(owner) = nodes.find().await?.first() {
            return Err(taken(owner, &snapshot.tag));
        }
        job.cancel.check()?;
        let Err(error) = nodes.save(job).await else { return Ok(()) };
        if error.fact(UNDONE).is_some() {
            return Err(error);
        }
        // All or none.
        match nodes.delete().await {
            Ok(()) => Err(error),
            Err(left) => Err(error.with(UNDONE, left)),
        }
    }

    async fn load(&self, job: &JobContext, snapshot: &SnapshotRef) -> Result<()> {
        let nodes = self.nodes(&self.shared.live().config, snapshot)?;
        job.cancel.check()?;
        nodes.load().await
    }

    async fn delete(&self, _: &JobContext, snapshot: &SnapshotRef) -> Result<()> {
        self.nodes(&self.shared.live().config, snapshot)?.delete().await
    }

    async fn abandon(&self) -> Result<Abandoned> {
        let monitor = &self.shared.parts.monitor;
        let failed = |error: QmpError| monitor_error(&error);
        let mut events = monitor.subscribe().map_err(failed)?;
        let Some(job) = over(monitor, &mut events).await.map_err(failed)? else { return Ok(Abandoned::Nothing) };
        self.shared.execute(&JobDismiss { id: JOB }).await?;
        Ok(job.error.map_or(Abandoned::Done, Abandoned::Failed))
    }
}
