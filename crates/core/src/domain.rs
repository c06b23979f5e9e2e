//! A guest that runs, and what can be done to it.
//!
//! [`Domain`] holds what every backend must do. All else is a capability trait of one to five methods behind an accessor.

use std::{any::Any, fmt::Debug, time::Duration};

use async_trait::async_trait;
use polyvirt_model::DomainConfig;
use polyvirt_numa_placement::{CpuSet, PlacementReport, PlanDelta, VcpuId};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    BalloonPolling, BlockInfo, BlockJobs, BlockResize, BlockThreshold, BlockThrottle, BlockWeights, CoreDump,
    DeviceAttach, DeviceDetach, DeviceRef, DeviceUpdate, DirtyRate, GuestAccounts, GuestAddresses, GuestClock,
    GuestFilesystems, GuestHostname, GuestInfo, GuestSshKeys, GuestVcpus, IoThreads, Keyboard, LifecycleActions,
    LiveSnapshots, MemoryLimits, MemoryTarget, Nmi, PowerManagement, RawAgent, Result, SaveState, SchedulerTuning,
    Screen, StateReason, Statistics, StopReason, VcpuCount, VcpuSelect,
};

/// The hypervisor's number of a running guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DomainId(pub u32);

impl std::fmt::Display for DomainId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Names a guest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuestRef {
    /// Its name.
    pub name: String,
    /// Its UUID, lower case with hyphens.
    pub uuid: String,
    /// Its number while it runs.
    pub id: Option<DomainId>,
}

impl GuestRef {
    /// Names the guest of a definition.
    #[must_use]
    pub fn of(config: &DomainConfig, id: Option<DomainId>) -> Self {
        Self { name: config.name.clone(), uuid: config.uuid.map(|u| u.to_string()).unwrap_or_default(), id }
    }

    /// Names a guest.
    #[must_use]
    pub fn new(name: impl Into<String>, uuid: impl Into<String>, id: Option<DomainId>) -> Self {
        Self { name: name.into(), uuid: uuid.into(), id }
    }
}

/// What a guest is doing; the words are those of `virsh domstate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GuestState {
    /// Its CPUs run.
    Running,
    /// Its CPUs are stopped and can be resumed.
    Paused,
    /// It sleeps (ACPI S3); it wakes by itself or when it is woken.
    PmSuspended,
    /// It is powering off.
    InShutdown,
    /// It panicked; what is left of it is still there.
    Crashed,
    /// It does not run.
    ShutOff(StopReason),
    /// It lives but its hypervisor does not answer: why.
    Unreachable(String),
}

impl GuestState {
    /// As `virsh domstate` prints it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::PmSuspended => "pmsuspended",
            Self::InShutdown => "in shutdown",
            Self::Crashed => "crashed",
            Self::ShutOff(_) => "shut off",
            Self::Unreachable(_) => "no state",
        }
    }

    /// Whether something of the guest is there to be destroyed.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !matches!(self, Self::ShutOff(_))
    }
}

/// How to ask a guest to power off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// As the hypervisor does it best.
    #[default]
    Default,
    /// The ACPI power button.
    Acpi,
    /// The agent in the guest.
    Agent,
}

/// How to end a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Destroy {
    /// How long the hypervisor may take to end by itself; zero kills at once.
    pub grace: Duration,
    /// Whether it is killed after that; else the call fails with `Timeout` and the guest goes on.
    pub force: bool,
}

impl Default for Destroy {
    fn default() -> Self {
        Self { grace: Duration::from_secs(5), force: true }
    }
}

impl Destroy {
    /// Ends it with that much grace.
    #[must_use]
    pub fn within(grace: Duration) -> Self {
        Self { grace, force: true }
    }

    /// Never kills.
    #[must_use]
    pub fn without_force(mut self) -> Self {
        self.force = false;
        self
    }
}

/// One guest that the hypervisor knows, from start to [`crate::Signal::Stopped`].
#[async_trait]
pub trait Domain: Any + Send + Sync + Debug {
    /// The hypervisor's number.
    fn id(&self) -> DomainId;

    /// What it is doing.
    ///
    /// *Behaviour*: asks the hypervisor; after `Stopped` the answer is `ShutOff`.
    async fn state(&self) -> Result<GuestState>;

    /// Why it does that, as far as the hypervisor tells.
    ///
    /// *Behaviour*: asks the hypervisor; `None`: it does not tell, and whoever did it to the guest knows better.
    async fn reason(&self) -> Result<Option<StateReason>> {
        Ok(None)
    }

    /// Asks the guest to power off.
    ///
    /// *Behaviour*: returns when it was asked; that it did comes as [`crate::Signal::Stopped`]. A paused or deaf guest may never do it.
    async fn shutdown(&self, how: Shutdown) -> Result<()>;

    /// Ends it.
    ///
    /// *Behaviour*: idempotent; when it returns `Ok` nothing of the guest runs any more and `Stopped` was sent. Without force it may fail
    /// with `Timeout`, and the guest goes on.
    async fn destroy(&self, how: Destroy) -> Result<()>;

    /// Stop and continue the CPUs.
    fn pause(&self) -> Option<&dyn Pause> {
        None
    }
    /// A reboot that the guest takes part in.
    fn reboot(&self) -> Option<&dyn Reboot> {
        None
    }
    /// The reset button.
    fn reset(&self) -> Option<&dyn Reset> {
        None
    }
    /// Consoles and serial ports.
    fn consoles(&self) -> Option<&dyn Consoles> {
        None
    }
    /// Pictures of the screens.
    fn screen(&self) -> Option<&dyn Screen> {
        None
    }
    /// Typing.
    fn keyboard(&self) -> Option<&dyn Keyboard> {
        None
    }
    /// The interrupt that nobody can mask.
    fn nmi(&self) -> Option<&dyn Nmi> {
        None
    }
    /// Putting devices in.
    fn attach(&self) -> Option<&dyn DeviceAttach> {
        None
    }
    /// Taking devices out.
    fn detach(&self) -> Option<&dyn DeviceDetach> {
        None
    }
    /// Changing devices in their places.
    fn update(&self) -> Option<&dyn DeviceUpdate> {
        None
    }
    /// What vCPUs do, and where.
    fn vcpu_info(&self) -> Option<&dyn VcpuInfo> {
        None
    }
    /// Numbers of what it used and moved.
    fn statistics(&self) -> Option<&dyn Statistics> {
        None
    }
    /// How often it is asked for its memory statistics.
    fn balloon_polling(&self) -> Option<&dyn BalloonPolling> {
        None
    }
    /// Measuring how fast it writes its memory.
    fn dirty_rate(&self) -> Option<&dyn DirtyRate> {
        None
    }
    /// Sizes and errors of its disks.
    fn block_info(&self) -> Option<&dyn BlockInfo> {
        None
    }
    /// Changing the size of its disks.
    fn block_resize(&self) -> Option<&dyn BlockResize> {
        None
    }
    /// Marks on its images.
    fn block_threshold(&self) -> Option<&dyn BlockThreshold> {
        None
    }
    /// Moving its disks' data between images.
    fn block_jobs(&self) -> Option<&dyn BlockJobs> {
        None
    }
    /// Changing the number of vCPUs.
    fn vcpu_count(&self) -> Option<&dyn VcpuCount> {
        None
    }
    /// Plugging single vCPUs.
    fn vcpu_select(&self) -> Option<&dyn VcpuSelect> {
        None
    }
    /// The balloon.
    fn memory(&self) -> Option<&dyn MemoryTarget> {
        None
    }
    /// Limits of the process's memory.
    fn memory_limits(&self) -> Option<&dyn MemoryLimits> {
        None
    }
    /// I/O threads.
    fn io_threads(&self) -> Option<&dyn IoThreads> {
        None
    }
    /// Limits of disks.
    fn block_throttle(&self) -> Option<&dyn BlockThrottle> {
        None
    }
    /// Limits of its CPU time.
    fn scheduler_tuning(&self) -> Option<&dyn SchedulerTuning> {
        None
    }
    /// Weights and limits at the host's block devices.
    fn block_weights(&self) -> Option<&dyn BlockWeights> {
        None
    }
    /// The name that it has for itself.
    fn guest_hostname(&self) -> Option<&dyn GuestHostname> {
        None
    }
    /// Its cards and addresses, as it has them.
    fn guest_addresses(&self) -> Option<&dyn GuestAddresses> {
        None
    }
    /// Its file systems.
    fn guest_filesystems(&self) -> Option<&dyn GuestFilesystems> {
        None
    }
    /// Its clock.
    fn guest_clock(&self) -> Option<&dyn GuestClock> {
        None
    }
    /// Its users.
    fn guest_accounts(&self) -> Option<&dyn GuestAccounts> {
        None
    }
    /// Keys with which its users may log in.
    fn guest_ssh_keys(&self) -> Option<&dyn GuestSshKeys> {
        None
    }
    /// Its vCPUs, as it has them.
    fn guest_vcpus(&self) -> Option<&dyn GuestVcpus> {
        None
    }
    /// What it tells of its system.
    fn guest_info(&self) -> Option<&dyn GuestInfo> {
        None
    }
    /// Its agent's own language.
    fn raw_agent(&self) -> Option<&dyn RawAgent> {
        None
    }
    /// Changing and reading back the placement.
    fn placement(&self) -> Option<&dyn LivePlacement> {
        None
    }
    /// Writing its state into a file, to continue from it later.
    fn save(&self) -> Option<&dyn SaveState> {
        None
    }
    /// Writing its memory into a file, for debuggers.
    fn core_dump(&self) -> Option<&dyn CoreDump> {
        None
    }
    /// What happens when it stops.
    fn lifecycle_actions(&self) -> Option<&dyn LifecycleActions> {
        None
    }
    /// Snapshots in its images.
    fn snapshots(&self) -> Option<&dyn LiveSnapshots> {
        None
    }
    /// Waking it.
    fn power_management(&self) -> Option<&dyn PowerManagement> {
        None
    }
}

/// Stop and continue the CPUs.
#[async_trait]
pub trait Pause: Send + Sync {
    /// Stops them.
    ///
    /// *Behaviour*: idempotent; afterwards the state is `Paused`.
    async fn suspend(&self) -> Result<()>;
    /// Continues them.
    ///
    /// *Behaviour*: idempotent; afterwards the state is `Running`.
    async fn resume(&self) -> Result<()>;
}

/// A reboot that the guest takes part in.
#[async_trait]
pub trait Reboot: Send + Sync {
    /// Asks the guest to shut down and boot again, in this way.
    ///
    /// *Behaviour*: returns when it was asked; [`crate::Signal::Reset`] follows when the guest does it. The agent's way without an agent is
    /// `Unsupported` or `InvalidState`, and nothing is changed.
    async fn reboot(&self, how: Shutdown) -> Result<()>;
}

/// The reset button.
#[async_trait]
pub trait Reset: Send + Sync {
    /// Presses it.
    ///
    /// *Behaviour*: the guest is not asked; a [`crate::Signal::Reset`] follows.
    async fn reset(&self) -> Result<()>;
}

/// A stream of bytes both ways.
pub trait ByteIo: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteIo for T {}
/// A boxed [`ByteIo`].
pub type ByteStream = Box<dyn ByteIo>;

/// Consoles and serial ports.
#[async_trait]
pub trait Consoles: Send + Sync {
    /// Opens one.
    ///
    /// *Behaviour*: bytes flow both ways until either side ends. No such device is `NotFound`.
    async fn open(&self, console: &DeviceRef) -> Result<ByteStream>;
}

/// What a vCPU does, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VcpuState {
    /// Which.
    pub vcpu: VcpuId,
    /// Host CPU it last ran on.
    pub cpu: Option<u32>,
    /// CPU time it used.
    pub time: Duration,
    /// Thread on the host.
    pub thread: Option<i32>,
    /// Host CPUs it may run on, as the kernel has it.
    pub affinity: Option<CpuSet>,
}

impl VcpuState {
    /// A vCPU of which nothing is known yet.
    #[must_use]
    pub fn new(vcpu: VcpuId) -> Self {
        Self { vcpu, cpu: None, time: Duration::ZERO, thread: None, affinity: None }
    }
}

/// What vCPUs do, and where.
#[async_trait]
pub trait VcpuInfo: Send + Sync {
    /// All online vCPUs, ascending.
    async fn vcpus(&self) -> Result<Vec<VcpuState>>;
}

/// Changing and reading back the placement. Pins and numatune are edits of the plan: the engine makes the delta, the driver applies it.
#[async_trait]
pub trait LivePlacement: Send + Sync {
    /// Applies the steps of a delta.
    ///
    /// *Behaviour*: a step that cannot be applied stands in the report; steps before it stay applied.
    async fn apply(&self, delta: &PlanDelta) -> Result<PlacementReport>;
    /// Where pages and threads really are.
    async fn observe(&self) -> Result<PlacementReport>;
}
