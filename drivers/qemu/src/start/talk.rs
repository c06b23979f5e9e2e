//! What is said to QEMU before its guest runs, and what it answers.

use std::time::Duration;

use polyvirt_core::{
    DeviceRef, Error, ErrorKind, LiveEffect, Result, SavedStream,
    placement::{Plan, Weakening},
};
use polyvirt_process::ExitStatus;
use polyvirt_qmp::{Chardev, Cpu, Events, IoThread, Monitor, QmpError, QueryChardev, QueryCpusFast, QueryIoThreads};

use super::Attempt;
use crate::{
    command::{self, ConsoleTarget},
    domain::load,
    failure::{ended, monitor_error},
    pins::{self, Placer, Threads},
    places::Places,
};

/// What QEMU says of its vCPUs, character devices and I/O threads.
type Answers = (Vec<Cpu>, Vec<Chardev>, Vec<IoThread>);

impl Attempt<'_> {
    /// Connects to the socket, which has listened since before QEMU was run; so there is nothing to wait for but QEMU.
    pub(super) async fn handshake(&self) -> Result<(Monitor, Events)> {
        let Some(child) = &self.child else { return Err(Error::new(ErrorKind::Internal, "there is no child")) };
        let within = self.cx.deadline.left().min(self.driver.config.start_timeout());
        let greeted = async {
            tokio::select! {
                biased;
                connected = Monitor::connect(&self.places.monitor, within) => connected.map_err(|error| (error, None)),
                status = child.wait() => {
                    let closed = QmpError::Timeout { command: "greeting".into(), after: Duration::ZERO };
                    Err((closed, Some(status.unwrap_or(ExitStatus::Unknown))))
                }
            }
        };
        match self.cx.cancel.guard(greeted).await? {
            Ok(connected) => Ok(connected),
            Err((_, Some(status))) => Err(ended(status)),
            // It closes the monitor a moment before it is gone.
            Err((error, None)) if error.is_closed() => {
                match tokio::time::timeout(Duration::from_secs(1), child.wait()).await {
                    Ok(status) => Err(ended(status.unwrap_or(ExitStatus::Unknown))),
                    Err(_) => Err(monitor_error(&error)),
                }
            }
            Err((error, None)) => Err(monitor_error(&error)),
        }
    }

    pub(super) async fn execute<C: polyvirt_qmp::Command + Sync>(
        &self,
        monitor: &Monitor,
        command: &C,
    ) -> Result<C::Reply> {
        let within = self.cx.deadline.left().min(self.driver.config.start_timeout());
        self.cx.cancel.guard(monitor.execute(command, within)).await?.map_err(|error| monitor_error(&error))
    }

    /// vCPUs that can be unplugged are plugged in, and not of the command line.
    pub(super) async fn plug_vcpus(&self, monitor: &Monitor) -> Result<()> {
        let wanted = self.live().config.removable_vcpus();
        if wanted.is_empty() {
            return Ok(());
        }
        let within = self.cx.deadline.left().min(self.driver.config.start_timeout());
        self.cx.cancel.guard(crate::domain::plug_at_start(monitor, &wanted, within)).await?
    }

    /// Asks QEMU for its threads and terminals in one round.
    pub(super) async fn first_answers(&self, monitor: &Monitor) -> Result<Answers> {
        let has_io_threads = !self.live().config.io_thread_ids().is_empty();
        let io_threads =
            async { if has_io_threads { self.execute(monitor, &QueryIoThreads {}).await } else { Ok(Vec::new()) } };
        tokio::try_join!(self.execute(monitor, &QueryCpusFast {}), self.execute(monitor, &QueryChardev {}), io_threads)
    }

    /// Puts the threads in their places.
    pub(super) async fn place(&mut self, (cpus, chardevs, io): Answers) -> Result<()> {
        let pid = self.child.as_ref().map_or(0, |it| it.id().pid);
        let threads = crate::domain::threads_of(pid, &cpus, &io);
        self.terminals(&chardevs);
        // Before their places: with cgroups of version 2 the parts are the same.
        self.limit_threads(threads.clone()).await?;
        let Some(plan) = self.request.plan.clone() else { return Ok(()) };
        let (places, with_group) = (self.places.clone(), pins::confines(&plan));
        let weakened = tokio::task::spawn_blocking(move || place_threads(&places, with_group, &threads, &plan)).await;
        for it in weakened.map_err(|error| Error::new(ErrorKind::Internal, "placing threads failed").source(error))? {
            self.weakened(it.what, it.why);
        }
        Ok(())
    }

    /// Where the terminals of character devices are.
    fn terminals(&mut self, chardevs: &[Chardev]) {
        let config = &self.request.live.config;
        let find = |target: ConsoleTarget| {
            let id = target.chardev(config);
            chardevs.iter().find(|it| it.label == id)?.filename.strip_prefix("pty:").map(std::path::PathBuf::from)
        };
        let serials = (0..config.devices.serials.len()).map(|at| ("serial", at, Some(ConsoleTarget::Serial(at))));
        let consoles =
            (0..config.devices.consoles.len()).map(|at| ("console", at, command::console_target(config, at)));
        let found = serials.chain(consoles).filter_map(|(kind, at, target)| {
            Some(LiveEffect::CharacterDevice { device: DeviceRef::new(kind, at), path: find(target?)? })
        });
        let found: Vec<_> = found.collect();
        self.effects.extend(found);
    }

    /// Has QEMU read what the guest is restored from. If it cannot, it ends itself and its last words say why.
    pub(super) async fn load(&self, monitor: &Monitor, stream: &SavedStream) -> Result<()> {
        let Some(child) = &self.child else { return Err(Error::new(ErrorKind::Internal, "there is no child")) };
        let loaded = async {
            tokio::select! {
                biased;
                status = child.wait() => Err(ended(status.unwrap_or(ExitStatus::Unknown))),
                loaded = load(monitor, stream) => match loaded {
                    // It closes the monitor a moment before it is gone.
                    Err(error) if monitor.close_reason().is_some() => {
                        match tokio::time::timeout(Duration::from_secs(1), child.wait()).await {
                            Ok(status) => Err(ended(status.unwrap_or(ExitStatus::Unknown))),
                            Err(_) => Err(error),
                        }
                    }
                    loaded => loaded,
                },
            }
        };
        self.cx.cancel.guard(loaded).await?
    }
}

fn place_threads(places: &Places, with_group: bool, threads: &Threads, plan: &Plan) -> Vec<Weakening> {
    let group = if with_group { places.cgroup() } else { None };
    Placer { threads, group: group.as_ref() }.place(plan)
}
