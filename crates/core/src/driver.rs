//! What a driver author implements first: [`Driver`] and [`Launcher`].

use std::{any::Any, fmt::Debug, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use polyvirt_model::{DomainConfig, Problems};
use polyvirt_numa_placement::{HostTopology, Owner, PlacementProfile, Plan};
use serde::{Deserialize, Serialize};

use crate::{
    CancelToken, Deadline, Domain, DomainCapabilities, DomainEvents, DomainId, DriverDescriptor, DriverRecord,
    GuestRef, Journal, OfflineSnapshots, OutsideStatistics, ProcessIdentity, Result, Roots, SavedStream, SnapshotRef,
    StopReason,
};

/// A kind of guest that a hypervisor can run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GuestSupport {
    /// `hvm`, `exe`, `xen`, …
    pub os_type: String,
    /// Architecture, `x86_64`.
    pub arch: String,
    /// The program that runs it, if there is one.
    pub emulator: Option<PathBuf>,
    /// Words for `<domain type=…>` that work here, best first.
    pub domain_types: Vec<String>,
    /// Machine types, default first.
    pub machines: Vec<MachineSupport>,
    /// What its guests can have or do.
    pub features: Vec<GuestFeature>,
    /// What else is worth saying, for instance why a faster way is not taken.
    pub notes: Vec<String>,
}

impl GuestSupport {
    /// A kind of guest; the rest is filled by the driver.
    #[must_use]
    pub fn new(os_type: impl Into<String>, arch: impl Into<String>) -> Self {
        Self {
            os_type: os_type.into(),
            arch: arch.into(),
            emulator: None,
            domain_types: Vec::new(),
            machines: Vec::new(),
            features: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// Something that guests of a kind can have or do (manual: "Driver capabilities XML format", `<features>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GuestFeature {
    /// Its element, `acpi`.
    pub name: &'static str,
    /// Whether it is on if a definition says nothing, and whether one may change that; `None`: there is nothing to switch.
    pub switch: Option<(bool, bool)>,
}

/// A machine type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MachineSupport {
    /// Name, `pc-q35-7.2`.
    pub name: String,
    /// What the name is short for or known as, `q35`.
    pub alias: Option<String>,
    /// Largest number of vCPUs.
    pub max_vcpus: u32,
}

/// What a driver found out about the hypervisor for one definition. Its detail is the driver's own.
#[derive(Clone, Debug)]
pub struct GuestFacts {
    detail: Arc<dyn Any + Send + Sync>,
}

impl GuestFacts {
    /// Facts with the driver's own detail.
    #[must_use]
    pub fn new<T: Any + Send + Sync>(detail: T) -> Self {
        Self { detail: Arc::new(detail) }
    }

    /// The detail, if it is a `T`.
    #[must_use]
    pub fn detail<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.detail.downcast_ref()
    }
}

/// A hypervisor, opened.
///
/// Methods take `&self` and may run at the same time; the engine serialises what changes a guest.
#[async_trait]
pub trait Driver: Any + Send + Sync + Debug {
    /// The descriptor it was opened from.
    fn descriptor(&self) -> &'static DriverDescriptor;

    /// Guest types, architectures, emulators and maximum vCPUs: the `<guest>` part of the capabilities.
    ///
    /// *Behaviour*: looks at the host; never empty unless nothing can run, which is an error.
    async fn guests(&self) -> Result<Vec<GuestSupport>>;

    /// Probes what this definition needs to know: emulator, machine types.
    ///
    /// *Behaviour*: may run programs under a deadline of its own; cached.
    async fn facts(&self, config: &DomainConfig) -> Result<GuestFacts>;

    /// Fills the hypervisor's defaults and addresses in.
    ///
    /// *Behaviour*: pure over `(config, facts)` and idempotent: completing twice changes nothing.
    fn complete(&self, config: &mut DomainConfig, facts: &GuestFacts) -> Result<()>;

    /// Refuses what the hypervisor cannot do.
    ///
    /// *Behaviour*: pure, reports every problem, changes nothing.
    fn check(&self, config: &DomainConfig, facts: &GuestFacts) -> Result<(), Problems>;

    /// Who keeps definitions and lifecycle, for the life of the connection.
    fn custody(&self) -> Custody<'_>;

    /// What the driver can express of a plan; `None`: the hypervisor places.
    fn placement(&self) -> Option<&PlacementProfile> {
        None
    }

    /// What guests can have here.
    fn domain_capabilities(&self) -> Option<&dyn DomainCapabilities> {
        None
    }

    /// The host as the hypervisor has it, where that is not the host that the kernel shows; `None`: it is.
    fn topology(&self) -> Option<&dyn TopologySource> {
        None
    }

    /// Numbers of guests that another process owns.
    fn outside_statistics(&self) -> Option<&dyn OutsideStatistics> {
        None
    }

    /// Snapshots of guests that do not run.
    fn offline_snapshots(&self) -> Option<&dyn OfflineSnapshots> {
        None
    }

    /// Definitions in the hypervisor's own language.
    fn native_export(&self) -> Option<&dyn NativeExport> {
        None
    }
}

/// Who keeps the definitions.
#[non_exhaustive]
pub enum Custody<'a> {
    /// We keep definitions and start guests.
    Ours(&'a dyn Launcher),
}

/// A host of which the kernel does not show the whole: a hypervisor below it has the memory, or it is simulated.
///
/// Guests are placed on it, and promises are kept apart from those on the kernel's host: its nodes are others, whatever their numbers.
#[async_trait]
pub trait TopologySource: Send + Sync {
    /// Its nodes, CPUs, distances and free memory.
    ///
    /// *Behaviour*: read anew with each call; what is free is free of guests that run, promised or not.
    async fn topology(&self) -> Result<HostTopology>;
}

/// Writes a definition in the hypervisor's own language.
#[async_trait]
pub trait NativeExport: Send + Sync {
    /// Formats it can write, `qemu-argv`; the first is the default.
    fn formats(&self) -> &'static [&'static str];

    /// What would be executed or loaded for this guest.
    ///
    /// *Behaviour*: pure; nothing is started or touched. An unknown format is `InvalidArgument`.
    async fn export(&self, format: &str, live: &LiveConfig, plan: Option<&Plan>) -> Result<String>;
}

/// The definition of a guest that runs or is about to: resolved, with runtime parts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LiveConfig {
    /// The definition.
    pub config: DomainConfig,
    /// Number of this run, unique on this host until it reboots.
    pub id: DomainId,
}

impl LiveConfig {
    /// A live definition.
    #[must_use]
    pub fn new(config: DomainConfig, id: DomainId) -> Self {
        Self { config, id }
    }

    /// Which guest it is.
    #[must_use]
    pub fn guest(&self) -> GuestRef {
        GuestRef::of(&self.config, Some(self.id))
    }
}

/// What a guest's process does with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Access {
    /// Reads it.
    Read,
    /// Reads and writes it.
    Write,
    /// Is it.
    Execute,
}

/// What a start touches on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Resource {
    /// Path on the host.
    pub path: PathBuf,
    /// Where the definition asks for it, `/domain/devices/disk[1]/source/@file`; empty if it does not.
    pub asked_at: String,
    /// What the guest's process does with it.
    pub access: Access,
    /// Whether it must be there before the start.
    pub must_exist: bool,
    /// Whether it may be given to the guest's user for as long as the guest runs.
    pub relabel: bool,
}

impl Resource {
    /// A file that must be there.
    #[must_use]
    pub fn existing(path: impl Into<PathBuf>, asked_at: impl Into<String>, access: Access) -> Self {
        Self { path: path.into(), asked_at: asked_at.into(), access, must_exist: true, relabel: true }
    }

    /// A file or socket that the start makes.
    #[must_use]
    pub fn created(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), asked_at: String::new(), access: Access::Write, must_exist: false, relabel: false }
    }

    /// A resource that belongs to whom it belongs (`relabel='no'`).
    #[must_use]
    pub fn as_it_is(mut self) -> Self {
        self.relabel = false;
        self
    }
}

/// Everything a start touches; checks (and later claims, locks and labels) are derived from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Manifest {
    /// In the order of the definition.
    pub resources: Vec<Resource>,
    /// Who the guest's process is; `None`: as who starts it.
    pub identity: Option<ProcessIdentity>,
}

impl Manifest {
    /// A manifest of these resources.
    #[must_use]
    pub fn new(resources: Vec<Resource>) -> Self {
        Self { resources, identity: None }
    }
}

/// What comes with every start and reattach.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StartContext {
    /// `journal.record(stage, record).await` is durable when it returns.
    pub journal: Journal,
    /// Where the guest's signals go, from the first on.
    pub events: DomainEvents,
    /// Looked at at every wait; then undo and return `Cancelled`.
    pub cancel: CancelToken,
    /// By when the call must be done.
    pub deadline: Deadline,
}

impl StartContext {
    /// A context.
    #[must_use]
    pub fn new(journal: Journal, events: DomainEvents, cancel: CancelToken, deadline: Deadline) -> Self {
        Self { journal, events, cancel, deadline }
    }
}

/// What to start, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StartRequest {
    /// The definition.
    pub live: LiveConfig,
    /// Where it goes; `None` when nothing is placed.
    pub plan: Option<Plan>,
    /// How.
    pub how: StartHow,
}

impl StartRequest {
    /// A request.
    #[must_use]
    pub fn new(live: LiveConfig, plan: Option<Plan>, how: StartHow) -> Self {
        Self { live, plan, how }
    }
}

/// How a guest comes to run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartHow {
    /// From power-off.
    Boot {
        /// Leave the CPUs stopped.
        paused: bool,
    },
    /// Again after it stopped, with the same plan, because a lifecycle action says so.
    Relaunch(StopReason),
    /// From what [`crate::SaveState::save`] wrote. Asked only of those who declare that capability.
    ///
    /// *Behaviour*: the CPUs stay stopped. A stream that is broken or of another guest ends the start as any other error does; it is
    /// read and never written.
    Restore(SavedStream),
    /// From a snapshot with memory, in the images of its disks. Asked only of those who declare `LiveSnapshots`.
    ///
    /// *Behaviour*: the CPUs stay stopped. An error at [`crate::Stage::Run`] may leave disks that were brought back in part.
    Revert(SnapshotRef),
}

impl StartHow {
    /// How much longer than a boot it may take: something as large as the guest's memory is read.
    #[must_use]
    pub fn patience(&self, config: &DomainConfig) -> Duration {
        match self {
            Self::Restore(stream) => stream.patience(),
            Self::Revert(_) => crate::save::reading(config.memory_total().0.saturating_mul(1024)),
            _ => Duration::ZERO,
        }
    }
}

/// What became known by starting and belongs into the live definition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiveEffect {
    /// The pty or other path that a character device got.
    CharacterDevice {
        /// Which one.
        device: DeviceRef,
        /// Its path on the host.
        path: PathBuf,
    },
    /// The name that a network card's device on the host got.
    NetworkDevice {
        /// Which card.
        device: DeviceRef,
        /// The device's name, `vnet0`.
        name: String,
    },
    /// Something of the plan could not be applied here; stands in the plan from now on.
    Weakened {
        /// What was planned.
        what: String,
        /// Why it could not be had.
        why: String,
    },
}

/// A device of a definition, by its list and its place in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeviceRef {
    /// Element name, `serial`.
    pub kind: String,
    /// Place in the list of that element, from 0.
    pub index: usize,
}

impl DeviceRef {
    /// A device.
    #[must_use]
    pub fn new(kind: impl Into<String>, index: usize) -> Self {
        Self { kind: kind.into(), index }
    }
}

/// A guest that was started.
#[derive(Debug)]
#[non_exhaustive]
pub struct Started {
    /// Its handle.
    pub domain: Arc<dyn Domain>,
    /// What the start made known.
    pub effects: Vec<LiveEffect>,
}

impl Started {
    /// A started guest.
    #[must_use]
    pub fn new(domain: Arc<dyn Domain>, effects: Vec<LiveEffect>) -> Self {
        Self { domain, effects }
    }
}

/// What comes with a clean-up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReapContext {
    /// Which guest.
    pub guest: GuestRef,
    /// Where state is kept.
    pub roots: Roots,
    /// By when it must be done.
    pub deadline: Deadline,
}

impl ReapContext {
    /// A context.
    #[must_use]
    pub fn new(guest: GuestRef, roots: Roots, deadline: Deadline) -> Self {
        Self { guest, roots, deadline }
    }
}

/// What looking for a guest gave.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reattached {
    /// It runs.
    Running(Arc<dyn Domain>),
    /// It does not run any more.
    Stopped(StopReason),
    /// Its start never finished: the engine calls [`Launcher::reap`].
    Unfinished,
    /// It is alive but does not answer: keep its record and lease, try again later. Says why.
    Unreachable(String),
}

/// What a clean-up did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reaped {
    /// What was found and removed, in words.
    pub removed: Vec<String>,
}

impl Reaped {
    /// A list of what was removed.
    #[must_use]
    pub fn new(removed: Vec<String>) -> Self {
        Self { removed }
    }
}

/// Starts guests whose definitions are ours.
#[async_trait]
pub trait Launcher: Send + Sync {
    /// Writes into the live definition what is decided anew for each run: names of devices, free ports.
    ///
    /// *Behaviour*: changes nothing but `live`, and touches nothing that would have to be undone. The guest is started with what
    /// it wrote. A driver that decides nothing of the kind keeps this default.
    ///
    /// # Errors
    /// `NoResources` when there is none free of what the guest needs.
    async fn resolve(&self, live: &mut LiveConfig) -> Result<()> {
        let _ = live;
        Ok(())
    }

    /// Everything the start will touch.
    ///
    /// *Behaviour*: pure; the same input gives the same manifest.
    fn manifest(&self, live: &LiveConfig, plan: Option<&Plan>) -> Result<Manifest>;

    /// Starts.
    ///
    /// *Behaviour*: goes through the stages from [`crate::Stage::Spawn`] to [`crate::Stage::Run`] in order and reports each to the journal;
    /// pushes a record before anything irreversible; on any error and on `Cancelled` nothing of the guest is left. Being dropped
    /// undoes nothing: then [`Launcher::reap`] does.
    async fn start(&self, cx: &StartContext, request: StartRequest) -> Result<Started>;

    /// Finds a guest that should be running.
    ///
    /// *Behaviour*: never kills. A record of a newer version is `Unreachable`.
    async fn reattach(&self, cx: &StartContext, live: &LiveConfig, record: &DriverRecord) -> Result<Reattached>;

    /// Removes whatever an unfinished start or a dead guest may have left: processes, sockets, cgroups.
    ///
    /// *Behaviour*: idempotent; nothing to do is no error. `record` is absent when the start did not get as far as `pid`.
    async fn reap(&self, cx: &ReapContext, record: Option<&DriverRecord>) -> Result<Reaped>;

    /// Who holds the guest's resources: its process, a Xen domain. The lease in the ledger is handed to it, and it tells a list
    /// whether the guest is still there.
    ///
    /// *Behaviour*: reads the record alone; `None` if nothing was started yet.
    fn owner(&self, record: &DriverRecord) -> Option<Owner>;
}
