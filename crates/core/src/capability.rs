//! The one list of capabilities: their ids, names, and where each is found.

use crate::{Domain, Driver};

macro_rules! capabilities {
    ($($(#[doc = $doc:literal])+ $id:ident = $name:literal: $holder:ident.$accessor:ident;)+) => {
        /// A capability of a driver or of its domains: a trait behind an accessor.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        #[non_exhaustive]
        pub enum CapabilityId {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $id,)+
        }

        impl CapabilityId {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$id,)+];

            /// The name in a word.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)+ }
            }

            /// Whether the accessor gives it. A descriptor declares the same; the testkit holds the two against each other.
            #[must_use]
            pub fn is_present(self, driver: &dyn Driver, domain: &dyn Domain) -> bool {
                match self { $(Self::$id => capabilities!(@$holder driver domain).$accessor().is_some(),)+ }
            }
        }
    };
    (@domain $driver:ident $domain:ident) => { $domain };
    (@driver $driver:ident $domain:ident) => { $driver };
}

capabilities! {
    /// [`crate::Pause`]
    Pause = "pause": domain.pause;
    /// [`crate::Reboot`]
    Reboot = "reboot": domain.reboot;
    /// [`crate::Reset`]
    Reset = "reset": domain.reset;
    /// [`crate::Consoles`]
    Consoles = "consoles": domain.consoles;
    /// [`crate::Screen`]
    Screen = "screen": domain.screen;
    /// [`crate::Keyboard`]
    Keyboard = "keyboard": domain.keyboard;
    /// [`crate::Nmi`]
    Nmi = "nmi": domain.nmi;
    /// [`crate::VcpuInfo`]
    VcpuInfo = "vcpu-info": domain.vcpu_info;
    /// [`crate::BalloonPolling`]
    BalloonPolling = "balloon-polling": domain.balloon_polling;
    /// [`crate::BlockInfo`]
    BlockInfo = "block-info": domain.block_info;
    /// [`crate::DirtyRate`]
    DirtyRate = "dirty-rate": domain.dirty_rate;
    /// [`crate::Statistics`]
    Statistics = "statistics": domain.statistics;
    /// [`crate::VcpuCount`]
    VcpuCount = "vcpu-count": domain.vcpu_count;
    /// [`crate::VcpuSelect`]
    VcpuSelect = "vcpu-select": domain.vcpu_select;
    /// [`crate::DeviceAttach`]
    DeviceAttach = "device-attach": domain.attach;
    /// [`crate::DeviceDetach`]
    DeviceDetach = "device-detach": domain.detach;
    /// [`crate::DeviceUpdate`]
    DeviceUpdate = "device-update": domain.update;
    /// [`crate::BlockResize`]
    BlockResize = "block-resize": domain.block_resize;
    /// [`crate::BlockThreshold`]
    BlockThreshold = "block-threshold": domain.block_threshold;
    /// [`crate::BlockJobs`]
    BlockJobs = "block-jobs": domain.block_jobs;
    /// [`crate::BlockThrottle`]
    BlockThrottle = "block-throttle": domain.block_throttle;
    /// [`crate::SchedulerTuning`]
    SchedulerTuning = "scheduler-tuning": domain.scheduler_tuning;
    /// [`crate::BlockWeights`]
    BlockWeights = "block-weights": domain.block_weights;
    /// [`crate::GuestAccounts`]
    GuestAccounts = "guest-accounts": domain.guest_accounts;
    /// [`crate::GuestAddresses`]
    GuestAddresses = "guest-addresses": domain.guest_addresses;
    /// [`crate::GuestClock`]
    GuestClock = "guest-clock": domain.guest_clock;
    /// [`crate::GuestFilesystems`]
    GuestFilesystems = "guest-filesystems": domain.guest_filesystems;
    /// [`crate::GuestHostname`]
    GuestHostname = "guest-hostname": domain.guest_hostname;
    /// [`crate::GuestInfo`]
    GuestInfo = "guest-info": domain.guest_info;
    /// [`crate::GuestSshKeys`]
    GuestSshKeys = "guest-ssh-keys": domain.guest_ssh_keys;
    /// [`crate::GuestVcpus`]
    GuestVcpus = "guest-vcpus": domain.guest_vcpus;
    /// [`crate::IoThreads`]
    IoThreads = "io-threads": domain.io_threads;
    /// [`crate::MemoryLimits`]
    MemoryLimits = "memory-limits": domain.memory_limits;
    /// [`crate::MemoryTarget`]
    MemoryTarget = "memory-target": domain.memory;
    /// [`crate::RawAgent`]
    RawAgent = "raw-agent": domain.raw_agent;
    /// [`crate::LivePlacement`]
    LivePlacement = "live-placement": domain.placement;
    /// [`crate::SaveState`]
    SaveState = "save-state": domain.save;
    /// [`crate::CoreDump`]
    CoreDump = "core-dump": domain.core_dump;
    /// [`crate::LiveSnapshots`]
    LiveSnapshots = "live-snapshots": domain.snapshots;
    /// [`crate::OfflineSnapshots`]
    OfflineSnapshots = "offline-snapshots": driver.offline_snapshots;
    /// [`crate::PowerManagement`]
    PowerManagement = "power-management": domain.power_management;
    /// [`crate::OutsideStatistics`]
    OutsideStatistics = "outside-statistics": driver.outside_statistics;
    /// [`crate::LifecycleActions`]
    LifecycleActions = "lifecycle-actions": domain.lifecycle_actions;
    /// [`crate::NativeExport`]
    NativeExport = "native-export": driver.native_export;
    /// [`crate::DomainCapabilities`]
    DomainCapabilities = "domain-capabilities": driver.domain_capabilities;
    /// [`crate::TopologySource`]
    TopologySource = "topology-source": driver.topology;
    /// A [`polyvirt_numa_placement::PlacementProfile`]: guests are placed by the engine.
    Placement = "placement": driver.placement;
}
