//! Starting guests, finding them again, cleaning up after them.

use std::{path::PathBuf, time::Duration};

use polyvirt_core::{
    Access, Deadline, DriverRecord, Launcher, LiveConfig, Manifest, ProcessIdentity, ReapContext, Reaped, Reattached,
    Resource, Result, StartContext, StartRequest, Started, StopReason, async_trait,
    model::DomainConfig,
    placement::{Owner, Plan},
};
use polyvirt_process::{ProcessId, Signal, Watched, command_line};
use polyvirt_qmp::{Monitor, QmpError, QueryStatus, Quit, RunState};

use crate::{
    chains,
    command::{self, disk, firmware},
    config::CgroupUse,
    domain::{Parts, Process, QemuDomain},
    driver::Qemu,
    labels,
    log::Log,
    places::Places,
    plug::{self, Builder},
    ports, start,
    status::Record,
};

/// How long QEMU may take to answer when it is found again.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a QEMU that closed its monitor may take to be gone.
const ENDING: Duration = Duration::from_secs(1);

#[async_trait]
impl Launcher for Qemu {
    async fn resolve(&self, live: &mut LiveConfig) -> Result<()> {
        command::name_devices(&mut live.config)?;
        chains::resolve(&mut live.config).await?;
        disk::number_images(&mut live.config, 0);
        let guest = live.guest().uuid;
        ports::choose(&mut live.config, &self.config, &self.ports, guest)
    }

    fn manifest(&self, live: &LiveConfig, _: Option<&Plan>) -> Result<Manifest> {
        let places = self.places(&live.guest());
        let user = labels::user(&live.config, self.run_as.credentials.as_ref())?;
        let mut manifest = Manifest::new(resources(&live.config, &places));
        manifest.identity = user.map(|it| ProcessIdentity::new(it.uid, it.gid, it.groups));
        Ok(manifest)
    }

    async fn start(&self, cx: &StartContext, request: StartRequest) -> Result<Started> {
        let guest = request.live.guest().uuid;
        let started = start::start(self, cx, request).await;
        self.ports.release(&guest);
        started
    }

    async fn reattach(&self, cx: &StartContext, live: &LiveConfig, record: &DriverRecord) -> Result<Reattached> {
        let record = match Record::read(record) {
            Ok(record) => record,
            // Never touched: whoever wrote it knows better.
            Err(error) => return Ok(Reattached::Unreachable(error.to_string())),
        };
        let Some(watched) = find(&record).await? else {
            end_all(&record).await;
            return Ok(Reattached::Stopped(StopReason::Unknown));
        };
        if !record.answered {
            return Ok(Reattached::Unfinished);
        }
        let within = ANSWER.min(cx.deadline.left());
        let (monitor, events) = match Monitor::connect(&record.monitor, within).await {
            Ok(connected) => connected,
            Err(error) => return Ok(no_answer(&watched, &error).await),
        };
        match monitor.execute(&QueryStatus {}, within).await {
            // It powered off for a reboot that nobody finished.
            Ok(status) if status.status == RunState::Shutdown => {
                monitor.execute(&Quit {}, within).await.ok();
                watched.exited().await.ok();
                return Ok(Reattached::Stopped(StopReason::Shutdown));
            }
            Ok(_) => {}
            Err(error) => return Ok(no_answer(&watched, &error).await),
        }
        let places = self.places(&live.guest());
        let builder = self.binary(&live.config).await.ok().map(|it| self.builder(it, &places));
        if let Some(builder) = &builder {
            take_strangers_out(&monitor, builder, live, within).await;
        }
        let parts = Parts {
            live: live.clone(),
            monitor,
            process: Process::Found(watched),
            places,
            log: Log { path: record.log, begins: record.log_begins },
            companions: record.companions,
            signals: cx.events.clone(),
            expect_resume: false,
            cgroups: self.config.cgroups != CgroupUse::Never,
            unplugs: self.config.unplugs(&live.config),
            builder,
        };
        Ok(Reattached::Running(QemuDomain::attend(parts, events)))
    }

    async fn reap(&self, cx: &ReapContext, record: Option<&DriverRecord>) -> Result<Reaped> {
        self.ports.release(&cx.guest.uuid);
        let places = Places::of(&cx.guest, &cx.roots);
        let mut removed = Vec::new();
        // Without a record no process got through its gate. One that cannot be read leaves its guest alone.
        if let Some(record) = record.map(Record::read).transpose()? {
            if let Some(watched) = find(&record).await? {
                removed.push(kill(&watched, cx.deadline).await?);
            }
            end_all(&record).await;
        }
        if let Some(group) = places.cgroup() {
            group.kill_all(cx.deadline.left()).await.map_err(|error| {
                polyvirt_core::Error::new(polyvirt_core::ErrorKind::Hypervisor, error.to_string())
                    .hint("a process that ignores SIGKILL waits for the kernel, usually for storage")
            })?;
        }
        removed.extend(places.sweep(cx.deadline.left().min(Duration::from_secs(5))).await);
        Ok(Reaped::new(removed))
    }

    fn owner(&self, record: &DriverRecord) -> Option<Owner> {
        Record::read(record).ok().map(|it| it.owner)
    }
}

/// Takes out what was put in by a process that died before it was written down: nobody else changes the guest now.
async fn take_strangers_out(monitor: &Monitor, builder: &Builder, live: &LiveConfig, within: Duration) {
    let found = match builder.parts(&live.config) {
        Ok(parts) => plug::strangers(monitor, &parts, within).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match found {
        Ok(found) if found.is_empty() => {}
        Ok(found) => tracing::warn!(guest = live.config.name, ?found, "devices that were half put in are taken out"),
        // Looked for again by whoever attends it next.
        Err(error) => tracing::debug!(guest = live.config.name, error, "what was half put in is not looked for"),
    }
}

/// What a QEMU is that does not answer: one that is ending closes its monitor a moment before it is gone.
async fn no_answer(watched: &Watched, error: &QmpError) -> Reattached {
    if !matches!(error, QmpError::Timeout { .. }) && tokio::time::timeout(ENDING, watched.exited()).await.is_ok() {
        return Reattached::Stopped(StopReason::Unknown);
    }
    Reattached::Unreachable(format!("process {}: {error}", watched.id().pid))
}

/// The recorded process, if it still runs and is what the record says.
async fn find(record: &Record) -> Result<Option<Watched>> {
    // Of another boot: the numbers mean nothing any more.
    if !record.owner.is_alive() {
        return Ok(None);
    }
    let lost = |error: std::io::Error| {
        polyvirt_core::Error::new(
            polyvirt_core::ErrorKind::Internal,
            format!("cannot watch process {}", record.process.pid),
        )
        .source(error)
    };
    let Some(watched) = Watched::open(record.process).map_err(lost)? else { return Ok(None) };
    // A child that has not yet executed shows its parent's arguments; pid and start time are enough then.
    if record.answered && !carries(record.process, &record.uuid).await {
        return Ok(None);
    }
    Ok(Some(watched))
}

/// Ends what served a guest that is gone.
async fn end_all(record: &Record) {
    for it in &record.companions {
        it.end().await;
    }
}

async fn carries(process: ProcessId, uuid: &str) -> bool {
    command_line(process.pid).await.is_ok_and(|args| args.iter().any(|it| it == uuid))
}

async fn kill(watched: &Watched, deadline: Deadline) -> Result<String> {
    let pid = watched.id().pid;
    let failed = |error: std::io::Error| {
        polyvirt_core::Error::new(polyvirt_core::ErrorKind::Denied, format!("cannot end process {pid}: {error}"))
            .hint("run as root, or as the user who started the guest")
    };
    watched.kill(Signal::SIGKILL).map_err(failed)?;
    deadline.wait(&format!("the end of process {pid}"), watched.exited()).await?.map_err(failed)?;
    Ok(format!("process {pid}"))
}

/// Everything that a start touches.
fn resources(config: &DomainConfig, places: &Places) -> Vec<Resource> {
    let mut found = Vec::new();
    if let Some(emulator) = &config.devices.emulator {
        found.push(Resource::existing(emulator, "/domain/devices/emulator", Access::Execute));
    }
    if let Some(os) = &config.os {
        let named = [(&os.kernel, "/domain/os/kernel"), (&os.initrd, "/domain/os/initrd"), (&os.dtb, "/domain/os/dtb")];
        found.extend(named.iter().filter_map(|(path, at)| Some(Resource::existing(path.as_ref()?, *at, Access::Read))));
        if let Some(loader) = &os.loader
            && let Some(path) = &loader.path
        {
            let access = if loader.readonly == Some(false) { Access::Write } else { Access::Read };
            found.push(Resource::existing(path, "/domain/os/loader", access));
        }
        if let Some(template) = os.nvram.as_ref().and_then(|it| it.template.as_ref()) {
            found.push(Resource::existing(template, "/domain/os/nvram/@template", Access::Read).as_it_is());
        }
    }
    found.extend(firmware::variables(config, &places.folders).map(Resource::created));
    for (at, disk) in config.devices.disks.iter().enumerate() {
        found.extend(chains::resources(at, disk));
    }
    for (at, memory) in config.devices.memories.iter().enumerate() {
        let Some(path) = memory.source.as_ref().and_then(|it| it.path.as_deref()) else { continue };
        let asked_at = format!("/domain/devices/memory[{}]/source/path", at + 1);
        let readonly = memory.target.as_ref().is_some_and(|it| it.readonly);
        found.push(Resource::existing(path, asked_at, if readonly { Access::Read } else { Access::Write }));
    }
    if !labels::relabels(config) {
        found.iter_mut().for_each(|it| it.relabel = false);
    }
    found.extend([&places.folders.run, &places.monitor, &places.log].map(PathBuf::from).map(Resource::created));
    found
}
