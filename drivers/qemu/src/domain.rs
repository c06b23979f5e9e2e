//! A guest that runs.
//!
//! One task attends it: it turns QEMU's events and the end of the process into signals, cleans up, and says `Stopped` last.
//! Everything else asks QEMU over the monitor, with a deadline each, and holds no state that QEMU has.

mod agent;
mod attend;
mod block_jobs;
mod block_nodes;
mod cards;
mod console;
mod devices;
mod dump;
mod hands;
mod io_threads;
mod memory;
mod news;
mod pace;
mod placement;
mod power;
mod save;
mod snapshots;
pub(crate) mod statistics;
mod throttle;
mod update;
mod vcpus;

pub(crate) use vcpus::plug_at_start;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use polyvirt_core::{
    BalloonPolling, BlockInfo, BlockJobs, BlockResize, BlockThreshold, BlockThrottle, BlockWeights, Consoles, CoreDump,
    Destroy, DeviceAttach, DeviceDetach, DeviceUpdate, DirtyRate, Domain, DomainEvents, DomainId, Error, ErrorKind,
    GuestAccounts, GuestAddresses, GuestClock, GuestFilesystems, GuestHostname, GuestInfo, GuestSshKeys, GuestState,
    GuestVcpus, IoThreads, Keyboard, LifecycleActions, LiveConfig, LivePlacement, LiveSnapshots, MemoryLimits,
    MemoryTarget, Nmi, Pause, PowerManagement, RawAgent, Reboot, Reset, Result, SaveState, SchedulerTuning, Screen,
    Shutdown, StateReason, Statistics, StopReason, VcpuCount, VcpuInfo, VcpuSelect, async_trait,
};
use polyvirt_process::{Child, ExitStatus, ProcessId, Signal as ProcessSignal, Watched};
use polyvirt_qmp::{Command, Cpu, Events, IoThread, Monitor, QmpError, QueryStatus, Quit, RunState, SystemPowerdown};
use tokio::{
    sync::{Mutex, broadcast, watch},
    task::JoinHandle,
};

use crate::{companions::Recorded, failure::monitor_error, log::Log, pins::Threads, places::Places, plug::Builder};

pub(crate) use save::load;
pub(crate) use snapshots::Nodes;

/// How long QEMU may take for an answer that costs it nothing.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(30);

/// News of devices that are kept for whoever waits for them.
const NEWS: usize = 64;

/// A process of QEMU: our child, or one that a former process of ours started.
#[derive(Debug)]
pub(crate) enum Process {
    Ours(Child),
    Found(Watched),
}

impl Process {
    fn id(&self) -> ProcessId {
        match self {
            Self::Ours(child) => child.id(),
            Self::Found(watched) => watched.id(),
        }
    }

    async fn wait(&self) -> ExitStatus {
        let ended = match self {
            Self::Ours(child) => child.wait().await,
            Self::Found(watched) => watched.exited().await.map(|()| ExitStatus::Unknown),
        };
        ended.unwrap_or(ExitStatus::Unknown)
    }

    fn kill(&self) -> io::Result<bool> {
        match self {
            Self::Ours(child) => child.kill(ProcessSignal::SIGKILL),
            Self::Found(watched) => watched.kill(ProcessSignal::SIGKILL),
        }
    }
}

/// What a running guest is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) live: LiveConfig,
    pub(crate) monitor: Monitor,
    pub(crate) process: Process,
    pub(crate) places: Places,
    pub(crate) log: Log,
    /// What serves its devices.
    pub(crate) companions: Vec<Recorded>,
    pub(crate) signals: DomainEvents,
    /// Whether the first RESUME is the start's own and no news.
    pub(crate) expect_resume: bool,
    /// Whether it may be given a cgroup.
    pub(crate) cgroups: bool,
    /// Whether vCPUs may be taken out.
    pub(crate) unplugs: bool,
    /// What its command line follows from; `None` if the emulator is not there any more.
    pub(crate) builder: Option<Builder>,
}

/// What the handle and its attendant share.
#[derive(Debug)]
struct Shared {
    parts: Parts,
    /// The definition with the devices that it has now.
    live: watch::Sender<Arc<LiveConfig>>,
    /// What becomes of devices that were asked for.
    news: broadcast::Sender<devices::News>,
    /// Why it stopped, once it has.
    stopped: watch::Sender<Option<StopReason>>,
    destroyed: AtomicBool,
    /// Whose turn it is to speak to the guest's agent.
    agent: Mutex<()>,
    /// Whether the next power-off is half of a reboot.
    rebooting: AtomicBool,
}

impl Shared {
    /// The definition with the devices that it has now.
    fn live(&self) -> Arc<LiveConfig> {
        self.live.borrow().clone()
    }

    async fn execute<C: Command>(&self, command: &C) -> Result<C::Reply> {
        self.execute_within(command, ANSWER).await
    }

    async fn execute_within<C: Command>(&self, command: &C, within: Duration) -> Result<C::Reply> {
        self.parts.monitor.execute(command, within).await.map_err(|error| match self.stopped.borrow().clone() {
            Some(reason) => not_running(&reason),
            None => monitor_error(&error),
        })
    }
}

fn not_running(reason: &StopReason) -> Error {
    Error::new(ErrorKind::InvalidState, format!("the guest does not run any more: {}", reason.name()))
        .hint("start it again")
}

/// The handle of a running guest. Dropping it ends the attendance; the guest runs on.
#[derive(Debug)]
pub(crate) struct QemuDomain {
    shared: Arc<Shared>,
    attendant: JoinHandle<()>,
}

impl QemuDomain {
    /// Begins to attend a guest.
    pub(crate) fn attend(parts: Parts, events: Events) -> Arc<dyn Domain> {
        let shared = Arc::new(Shared {
            live: watch::Sender::new(Arc::new(parts.live.clone())),
            news: broadcast::Sender::new(NEWS),
            parts,
            stopped: watch::Sender::new(None),
            destroyed: AtomicBool::new(false),
            agent: Mutex::default(),
            rebooting: AtomicBool::new(false),
        });
        let attendant = tokio::spawn(attend::attend(shared.clone(), events));
        Arc::new(Self { shared, attendant })
    }

    /// Waits until the attendant has seen the end.
    async fn gone(&self) -> bool {
        self.shared.stopped.subscribe().wait_for(Option::is_some).await.is_ok()
    }
}

impl Drop for QemuDomain {
    fn drop(&mut self) {
        self.attendant.abort();
    }
}

/// The threads that QEMU names.
pub(crate) fn threads_of(pid: u32, cpus: &[Cpu], io: &[IoThread]) -> Threads {
    let mut vcpus: Vec<(u32, u32)> = cpus.iter().map(|it| (it.cpu_index, it.thread_id)).collect();
    vcpus.sort_unstable();
    let number = |it: &IoThread| Some((it.id.strip_prefix("iothread")?.parse().ok()?, it.thread_id));
    Threads { pid, vcpus, io: io.iter().filter_map(number).collect() }
}

#[async_trait]
impl Domain for QemuDomain {
    fn id(&self) -> DomainId {
        self.shared.parts.live.id
    }

    async fn state(&self) -> Result<GuestState> {
        let over = || self.shared.stopped.borrow().clone().map(GuestState::ShutOff);
        if let Some(over) = over() {
            return Ok(over);
        }
        match self.shared.parts.monitor.execute(&QueryStatus {}, ANSWER).await {
            Ok(status) => Ok(state_of(&status.status)),
            Err(error) if error.is_closed() => {
                // Its end is being written down.
                tokio::time::timeout(ANSWER, self.gone()).await.ok();
                Ok(over().unwrap_or_else(|| GuestState::Unreachable(error.to_string())))
            }
            Err(error @ QmpError::Timeout { .. }) => Ok(GuestState::Unreachable(error.to_string())),
            Err(error) => Err(monitor_error(&error)),
        }
    }

    async fn reason(&self) -> Result<Option<StateReason>> {
        let status = self.shared.execute(&QueryStatus {}).await?;
        Ok(match status.status {
            RunState::IoError => Some(StateReason::IoError),
            RunState::Watchdog => Some(StateReason::Watchdog),
            RunState::GuestPanicked => Some(StateReason::Panicked),
            _ => None,
        })
    }

    async fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.shared.rebooting.store(false, Ordering::SeqCst);
        if how == Shutdown::Agent {
            return self.agent_power("powerdown").await;
        }
        self.shared.execute(&SystemPowerdown {}).await.map(drop)
    }

    async fn destroy(&self, how: Destroy) -> Result<()> {
        let shared = &self.shared;
        if shared.stopped.borrow().is_some() {
            return Ok(());
        }
        shared.destroyed.store(true, Ordering::SeqCst);
        if !how.grace.is_zero() {
            // Asked to quit it flushes its disks.
            let asked = async {
                shared.parts.monitor.execute(&Quit {}, how.grace).await.ok();
                self.gone().await
            };
            if tokio::time::timeout(how.grace, asked).await.is_ok() {
                return Ok(());
            }
        }
        let pid = shared.parts.process.id().pid;
        shared.parts.process.kill().map_err(|error| {
            Error::new(ErrorKind::Denied, format!("cannot end process {pid}: {error}"))
                .hint("run as the user who started the guest")
        })?;
        tokio::time::timeout(KILLED, self.gone()).await.map(drop).map_err(|_| {
            Error::new(ErrorKind::Timeout, format!("process {pid} does not end within {KILLED:?} after SIGKILL"))
                .hint("it waits for the kernel, usually for storage; see its state in /proc")
        })
    }

    fn pause(&self) -> Option<&dyn Pause> {
        Some(self)
    }

    fn reboot(&self) -> Option<&dyn Reboot> {
        Some(self)
    }

    fn reset(&self) -> Option<&dyn Reset> {
        Some(self)
    }

    fn consoles(&self) -> Option<&dyn Consoles> {
        Some(self)
    }

    fn screen(&self) -> Option<&dyn Screen> {
        Some(self)
    }

    fn keyboard(&self) -> Option<&dyn Keyboard> {
        Some(self)
    }

    fn nmi(&self) -> Option<&dyn Nmi> {
        Some(self)
    }

    fn attach(&self) -> Option<&dyn DeviceAttach> {
        Some(self)
    }

    fn detach(&self) -> Option<&dyn DeviceDetach> {
        Some(self)
    }

    fn update(&self) -> Option<&dyn DeviceUpdate> {
        Some(self)
    }

    fn vcpu_info(&self) -> Option<&dyn VcpuInfo> {
        Some(self)
    }

    fn statistics(&self) -> Option<&dyn Statistics> {
        Some(self)
    }

    fn balloon_polling(&self) -> Option<&dyn BalloonPolling> {
        Some(self)
    }

    fn dirty_rate(&self) -> Option<&dyn DirtyRate> {
        Some(self)
    }

    fn block_info(&self) -> Option<&dyn BlockInfo> {
        Some(self)
    }

    fn block_resize(&self) -> Option<&dyn BlockResize> {
        Some(self)
    }

    fn block_threshold(&self) -> Option<&dyn BlockThreshold> {
        Some(self)
    }

    fn block_jobs(&self) -> Option<&dyn BlockJobs> {
        Some(self)
    }

    fn vcpu_count(&self) -> Option<&dyn VcpuCount> {
        Some(self)
    }

    fn vcpu_select(&self) -> Option<&dyn VcpuSelect> {
        Some(self)
    }

    fn memory(&self) -> Option<&dyn MemoryTarget> {
        Some(self)
    }

    fn memory_limits(&self) -> Option<&dyn MemoryLimits> {
        Some(self)
    }

    fn io_threads(&self) -> Option<&dyn IoThreads> {
        Some(self)
    }

    fn block_throttle(&self) -> Option<&dyn BlockThrottle> {
        Some(self)
    }

    fn scheduler_tuning(&self) -> Option<&dyn SchedulerTuning> {
        Some(self)
    }

    fn block_weights(&self) -> Option<&dyn BlockWeights> {
        Some(self)
    }

    fn guest_hostname(&self) -> Option<&dyn GuestHostname> {
        Some(self)
    }

    fn guest_addresses(&self) -> Option<&dyn GuestAddresses> {
        Some(self)
    }

    fn guest_filesystems(&self) -> Option<&dyn GuestFilesystems> {
        Some(self)
    }

    fn guest_clock(&self) -> Option<&dyn GuestClock> {
        Some(self)
    }

    fn guest_accounts(&self) -> Option<&dyn GuestAccounts> {
        Some(self)
    }

    fn guest_ssh_keys(&self) -> Option<&dyn GuestSshKeys> {
        Some(self)
    }

    fn guest_vcpus(&self) -> Option<&dyn GuestVcpus> {
        Some(self)
    }

    fn guest_info(&self) -> Option<&dyn GuestInfo> {
        Some(self)
    }

    fn raw_agent(&self) -> Option<&dyn RawAgent> {
        Some(self)
    }

    fn placement(&self) -> Option<&dyn LivePlacement> {
        Some(self)
    }

    fn save(&self) -> Option<&dyn SaveState> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn LiveSnapshots> {
        Some(self)
    }

    fn core_dump(&self) -> Option<&dyn CoreDump> {
        Some(self)
    }

    fn lifecycle_actions(&self) -> Option<&dyn LifecycleActions> {
        Some(self)
    }

    fn power_management(&self) -> Option<&dyn PowerManagement> {
        Some(self)
    }
}

fn state_of(state: &RunState) -> GuestState {
    match state {
        RunState::Running | RunState::FinishMigrate => GuestState::Running,
        RunState::Suspended => GuestState::PmSuspended,
        RunState::Shutdown => GuestState::InShutdown,
        RunState::GuestPanicked | RunState::InternalError => GuestState::Crashed,
        _ => GuestState::Paused,
    }
}
