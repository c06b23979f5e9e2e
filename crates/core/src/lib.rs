//! What a hypervisor driver implements, and what the engine and its clients share with it.
//!
//! A driver crate needs this crate alone: it re-exports the [`model`], the [`placement`] types, [`macro@async_trait`] and
//! [`register_driver!`]. Services of the host that guests use register with [`register_service!`]. It holds traits and values; it starts nothing, stores nothing and never looks at the host.
//!
//! Rules of the family:
//! - No method that a backend may be unable to honour sits on [`Driver`] or [`Domain`]: it is a capability behind an accessor.
//! - Sinks for signals and the journal are handed *in* with the call.
//! - Dropping a future undoes nothing; [`Launcher::reap`] is the one clean-up path.

mod agent;
mod block;
mod cancel;
mod capabilities;
mod capability;
mod descriptor;
mod devices;
mod domain;
mod driver;
mod dump;
mod error;
mod event;
mod io_threads;
mod job;
mod journal;
mod keyboard;
mod lifecycle;
mod memory;
mod notice;
mod offline;
mod power;
mod reason;
mod registry;
mod roots;
mod save;
mod scheduler;
mod screen;
mod services;
mod settings;
mod snapshot;
mod statistics;
mod throttle;
mod uri;
mod vcpus;

pub use agent::{
    GuestAccounts, GuestAddresses, GuestClock, GuestDisk, GuestFilesystem, GuestFilesystems, GuestHostname, GuestInfo,
    GuestInfoKind, GuestInfoRecord, GuestInterface, GuestSshKeys, GuestVcpu, GuestVcpus, RawAgent, SecretText,
    SshKeysHow,
};
pub use async_trait::async_trait;
pub use block::{
    BlockJob, BlockJobEnd, BlockJobKind, BlockJobState, BlockJobStatus, BlockJobs, BlockResize, BlockThreshold, CopyHow,
};
pub use cancel::{CancelSource, CancelToken, Deadline};
pub use capabilities::{
    AcceleratorFacts, Choice, CpuModes, CustomModel, DomainCapabilities, DomainCaps, DomainCapsQuery, Facility, Fact,
    HostModel, HypervisorFacts, MachineFacts, NamedFeature, OsCaps,
};
pub use capability::CapabilityId;
pub use descriptor::{
    AttendedAction, BoxFuture, DriverDescriptor, Identity, OpenContext, Opened, ProbeContext, ProbeResult,
    Registration, SettingDoc,
};
pub use devices::{Detached, DeviceAttach, DeviceChange, DeviceDetach, DeviceUpdate};
pub use domain::{
    ByteIo, ByteStream, Consoles, Destroy, Domain, DomainId, GuestRef, GuestState, LivePlacement, Pause, Reboot, Reset,
    Shutdown, VcpuInfo, VcpuState,
};
pub use driver::{
    Access, Custody, DeviceRef, Driver, GuestFacts, GuestFeature, GuestSupport, Launcher, LiveConfig, LiveEffect,
    MachineSupport, Manifest, NativeExport, ReapContext, Reaped, Reattached, Resource, StartContext, StartHow,
    StartRequest, Started, TopologySource,
};
pub use dump::{CoreDump, DumpFormat};
pub use error::{Error, ErrorKind, Result, io_error};
pub use event::{DomainEvents, Event, EventKind, Signal, StopReason};
#[doc(hidden)]
pub use inventory as __inventory;
pub use io_threads::{IoThreadParams, IoThreadState, IoThreads};
pub use job::{JobContext, JobKind, JobProgress, JobSink, JobStep};
pub use journal::{DriverRecord, Journal, JournalSink, Stage};
pub use keyboard::{CodeSet, Key, KeyPress, Keyboard};
pub use lifecycle::LifecycleActions;
pub use memory::{MemoryLimitParams, MemoryLimits, MemoryTarget};
pub use notice::{Notice, Noticed};
pub use offline::{ExportOptions, LockedMemory, OfflineContext, OfflineDriver, OpenOffline, Recording, Resources};
pub use polyvirt_model as model;
pub use polyvirt_numa_placement as placement;
pub use power::{PowerManagement, SleepTarget};
pub use reason::StateReason;
pub use registry::Registry;
pub use roots::Roots;
pub use save::{SaveState, SavedStream};
pub use scheduler::{BlockWeights, CpuBandwidth, SchedulerParams, SchedulerTuning};
pub use screen::{ImageFormat, Nmi, Screen, Screenshot};
pub use services::{
    Labels, OwnerRef, ProcessIdentity, Service, ServiceContext, ServiceDescriptor, ServiceRegistration,
};
pub use settings::Settings;
pub use snapshot::{Abandoned, LiveSnapshots, OfflineSnapshots, SnapshotRef};
pub use statistics::{
    BalloonNumbers, BalloonPolling, BlockInfo, BlockNumbers, BlockSizes, CpuTimes, DirtyRate, DirtyRateMode,
    DirtyRateNumbers, DirtyRateOptions, DirtyRateStatus, DiskError, InterfaceNumbers, IoNumbers, IoThreadNumbers,
    OutsideStatistics, StatValue, Statistics, StatsGroup, StatsGroups, StatsRecord, StatsRequest, Traffic, VcpuNumbers,
    VcpuTimes,
};
pub use throttle::BlockThrottle;
pub use uri::{ConnectUri, URI_LIMIT, UriError};
pub use vcpus::{OpContext, VcpuChange, VcpuCount, VcpuSelect, VcpusNow};
