//! A hypervisor in memory: complete for the conformance suite, with injectable faults.
//!
//! Guests live in this process (module `world`): they outlive connections and end with the program. Definitions are kept like any
//! other driver's. What it does not do: nothing of the host is touched, no guest code runs.
//!
//! URIs: `mock:///default`, `mock:///session`, `mock:///embed?root=DIR`.

mod block_jobs;
mod config;
mod devices;
mod domain;
mod driver;
mod host;
mod io_threads;
mod launcher;
mod memory;
mod save;
mod snapshots;
mod statistics;
mod vcpus;
mod world;

use polyvirt_core::{AttendedAction, CapabilityId, DriverDescriptor, ProbeResult, register_driver};

/// What this crate registers.
pub static DESCRIPTOR: DriverDescriptor = DriverDescriptor {
    name: "mock",
    summary: "guests simulated in memory",
    version: env!("CARGO_PKG_VERSION"),
    schemes: &["mock"],
    // All but hands and eyes, for there is no machine to look at, and what guests can have: there is no hypervisor that could tell.
    // A host of its own it has if the settings say so.
    capabilities: &[
        CapabilityId::Pause,
        CapabilityId::Reboot,
        CapabilityId::Reset,
        CapabilityId::Consoles,
        CapabilityId::DeviceAttach,
        CapabilityId::DeviceDetach,
        CapabilityId::DeviceUpdate,
        CapabilityId::VcpuInfo,
        CapabilityId::BalloonPolling,
        CapabilityId::BlockInfo,
        CapabilityId::BlockResize,
        CapabilityId::BlockThreshold,
        CapabilityId::BlockJobs,
        CapabilityId::BlockThrottle,
        CapabilityId::BlockWeights,
        CapabilityId::DirtyRate,
        CapabilityId::IoThreads,
        CapabilityId::MemoryLimits,
        CapabilityId::MemoryTarget,
        CapabilityId::OutsideStatistics,
        CapabilityId::SchedulerTuning,
        CapabilityId::Statistics,
        CapabilityId::VcpuCount,
        CapabilityId::VcpuSelect,
        CapabilityId::LivePlacement,
        CapabilityId::SaveState,
        CapabilityId::CoreDump,
        CapabilityId::LiveSnapshots,
        CapabilityId::OfflineSnapshots,
        CapabilityId::PowerManagement,
        CapabilityId::LifecycleActions,
        CapabilityId::NativeExport,
        CapabilityId::Placement,
    ],
    honours: &["/domain/**"],
    needs_attendant: &[AttendedAction::RestartOnPoweroff, AttendedAction::OnCrash],
    settings: config::SETTINGS,
    offline: None,
    probe: |_| ProbeResult::Usable("guests are simulated in memory".to_owned()),
    open: |cx| Box::pin(async move { driver::MockDriver::open(&cx) }),
};

register_driver!(DESCRIPTOR);
