//! QEMU and KVM.
//!
//! Guests are processes of QEMU (6.2 or newer), started behind a gate and spoken to over QMP. The driver
//! - probes each QEMU binary once and remembers the answer, and takes KVM for usable only where a guest of its own ran on it;
//! - completes and checks definitions, purely;
//! - builds the command line, purely, with the memory policies of the plan;
//! - starts, attends, finds again and cleans up.
//!
//! It decides no placement, keeps no definitions, resolves no volumes and networks, and labels no files.
//!
//! ```text
//! facts ─> complete ─> check          Launcher::start ─> command line ─> process ─> monitor ─> pins ─> run
//!   │                                        │                                            │
//! probe (QMP, cached), kvm (probe guest)     └── journal: pid, monitor          QemuDomain ── attendant ─> signals
//! ```
//!
//! Invariants:
//! 1. A definition of type `kvm` never runs without KVM.
//! 2. What was started is in the record before it runs; an error or cancel at any stage leaves nothing.
//! 3. Every wait for QEMU has a deadline; a stuck QEMU costs its own callers theirs and nobody else anything.
//! 4. `Stopped` is the last signal, and when it is sent sockets and cgroups are gone.
#![doc = include_str!("docs.md")]

mod capabilities;
mod check;
mod command;
mod companions;
mod complete;
mod config;
mod domain;
mod driver;
mod failure;
mod kvm;
mod labels;
mod launcher;
mod log;
mod machine;
mod offline;
mod orders;
mod pins;
mod places;
mod ports;
mod probe;
mod program;
mod resources;
mod runnable;
mod scsi;
mod start;
mod status;
#[cfg(test)]
mod testing;

use polyvirt_core::{AttendedAction, CapabilityId, DriverDescriptor};

const NAME: &str = "qemu";

/// The driver, as programs and the registry know it.
pub static DESCRIPTOR: DriverDescriptor = DriverDescriptor {
    name: NAME,
    summary: "guests as QEMU processes, with KVM or emulated",
    version: env!("CARGO_PKG_VERSION"),
    schemes: &["qemu"],
    capabilities: &[
        CapabilityId::Pause,
        CapabilityId::Reboot,
        CapabilityId::Reset,
        CapabilityId::Consoles,
        CapabilityId::VcpuInfo,
        CapabilityId::LivePlacement,
        CapabilityId::NativeExport,
        CapabilityId::DomainCapabilities,
        CapabilityId::Placement,
    ],
    honours: HONOURS,
    needs_attendant: &[AttendedAction::RestartOnPoweroff, AttendedAction::DestroyOnReboot, AttendedAction::OnCrash],
    settings: config::DOCS,
    offline: Some(offline::open),
    probe: driver::probe,
    open: driver::open,
};

polyvirt_core::register_driver!(DESCRIPTOR);

/// What of a definition has an effect here. What stands nowhere is warned about by the engine.
const HONOURS: &[&str] = &[
    "/domain/@type",
    "/domain/name",
    "/domain/uuid",
    "/domain/hwuuid",
    "/domain/genid",
    "/domain/title",
    "/domain/description",
    "/domain/metadata/**",
    "/domain/maxMemory/**",
    "/domain/memory/**",
    "/domain/currentMemory/**",
    "/domain/memoryBacking/**",
    "/domain/vcpu/**",
    "/domain/vcpus/vcpu/@id",
    "/domain/vcpus/vcpu/@enabled",
    "/domain/iothreads",
    "/domain/iothreadids/**",
    "/domain/defaultiothread/**",
    "/domain/cputune/vcpupin/**",
    "/domain/cputune/emulatorpin/**",
    "/domain/cputune/iothreadpin/**",
    "/domain/numatune/**",
    "/domain/seclabel/@type",
    "/domain/seclabel/@model",
    "/domain/seclabel/@relabel",
    "/domain/seclabel/label",
    "/domain/throttlegroups/**",
    "/domain/sysinfo/**",
    "/domain/os/@firmware",
    "/domain/os/firmware/**",
    "/domain/os/type/**",
    "/domain/os/loader/**",
    "/domain/os/nvram/**",
    "/domain/os/kernel",
    "/domain/os/initrd",
    "/domain/os/cmdline",
    "/domain/os/shim",
    "/domain/os/dtb",
    "/domain/os/acpi/**",
    "/domain/os/boot/**",
    "/domain/os/bootmenu/**",
    "/domain/os/bios/**",
    "/domain/os/smbios/**",
    "/domain/features/acpi",
    "/domain/features/apic/**",
    "/domain/features/pae",
    "/domain/features/hyperv/**",
    "/domain/features/kvm/**",
    "/domain/features/pvspinlock/**",
    "/domain/features/pmu/**",
    "/domain/features/vmport/**",
    "/domain/features/gic/**",
    "/domain/features/smm/**",
    "/domain/features/ioapic/**",
    "/domain/features/hpt/**",
    "/domain/features/vmcoreinfo/**",
    "/domain/features/htm/**",
    "/domain/features/nested-hv/**",
    "/domain/features/ccf-assist/**",
    "/domain/features/cfpc/**",
    "/domain/features/sbbc/**",
    "/domain/features/ibs/**",
    "/domain/features/tcg/**",
    "/domain/features/async-teardown/**",
    "/domain/features/ras/**",
    "/domain/features/ps2/**",
    "/domain/features/aia/**",
    "/domain/cpu/@mode",
    "/domain/cpu/@match",
    "/domain/cpu/@check",
    "/domain/cpu/@migratable",
    "/domain/cpu/model/**",
    "/domain/cpu/topology/**",
    "/domain/cpu/cache/**",
    "/domain/cpu/maxphysaddr/**",
    "/domain/cpu/feature/**",
    "/domain/cpu/numa/**",
    "/domain/clock/@offset",
    "/domain/clock/@start",
    "/domain/clock/@adjustment",
    "/domain/clock/@timezone",
    "/domain/clock/timer/@name",
    "/domain/clock/timer/@present",
    "/domain/clock/timer/@tickpolicy",
    "/domain/clock/timer/@track",
    "/domain/clock/timer/@frequency",
    "/domain/on_poweroff",
    "/domain/on_reboot",
    "/domain/on_crash",
    "/domain/pm/**",
    "/domain/devices/emulator",
    "/domain/devices/disk/@type",
    "/domain/devices/disk/@device",
    "/domain/devices/disk/@model",
    "/domain/devices/disk/driver/@name",
    "/domain/devices/disk/driver/@type",
    "/domain/devices/disk/driver/@cache",
    "/domain/devices/disk/driver/@error_policy",
    "/domain/devices/disk/driver/@rerror_policy",
    "/domain/devices/disk/driver/@io",
    "/domain/devices/disk/driver/@ioeventfd",
    "/domain/devices/disk/driver/@event_idx",
    "/domain/devices/disk/driver/@copy_on_read",
    "/domain/devices/disk/driver/@discard",
    "/domain/devices/disk/driver/@discard_no_unref",
    "/domain/devices/disk/driver/@detect_zeroes",
    "/domain/devices/disk/driver/@iothread",
    "/domain/devices/disk/driver/@queues",
    "/domain/devices/disk/driver/@queue_size",
    "/domain/devices/disk/driver/@iommu",
    "/domain/devices/disk/driver/@ats",
    "/domain/devices/disk/driver/@packed",
    "/domain/devices/disk/driver/@page_per_vq",
    "/domain/devices/disk/driver/metadata_cache/**",
    "/domain/devices/disk/driver/iothreads/**",
    "/domain/devices/disk/source/**",
    "/domain/devices/disk/backingStore/**",
    "/domain/devices/disk/geometry/**",
    "/domain/devices/disk/blockio/**",
    "/domain/devices/disk/target/@dev",
    "/domain/devices/disk/target/@bus",
    "/domain/devices/disk/target/@removable",
    "/domain/devices/disk/target/@rotation_rate",
    "/domain/devices/disk/target/@dpofua",
    "/domain/devices/disk/throttlefilters/**",
    "/domain/devices/disk/readonly",
    "/domain/devices/disk/shareable",
    "/domain/devices/disk/serial",
    "/domain/devices/disk/wwn",
    "/domain/devices/disk/vendor",
    "/domain/devices/disk/product",
    "/domain/devices/disk/boot/**",
    "/domain/devices/disk/alias/**",
    "/domain/devices/disk/address/**",
    "/domain/devices/controller/**",
    "/domain/devices/filesystem/@type",
    "/domain/devices/filesystem/@accessmode",
    "/domain/devices/filesystem/@model",
    "/domain/devices/filesystem/@multidevs",
    "/domain/devices/filesystem/@fmode",
    "/domain/devices/filesystem/@dmode",
    "/domain/devices/filesystem/driver/**",
    "/domain/devices/filesystem/binary/**",
    "/domain/devices/filesystem/source/@dir",
    "/domain/devices/filesystem/source/@socket",
    "/domain/devices/filesystem/target/**",
    "/domain/devices/filesystem/readonly",
    "/domain/devices/filesystem/alias/**",
    "/domain/devices/filesystem/address/**",
    "/domain/devices/interface/@type",
    "/domain/devices/interface/mac/@address",
    "/domain/devices/interface/source/@path",
    "/domain/devices/interface/source/@mode",
    "/domain/devices/interface/source/@type",
    "/domain/devices/interface/source/@address",
    "/domain/devices/interface/source/@port",
    "/domain/devices/interface/source/local/**",
    "/domain/devices/interface/source/reconnect/**",
    "/domain/devices/interface/ip/**",
    "/domain/devices/interface/target/**",
    "/domain/devices/interface/model/**",
    "/domain/devices/interface/driver/**",
    "/domain/devices/interface/mtu/**",
    "/domain/devices/interface/boot/**",
    "/domain/devices/interface/rom/**",
    "/domain/devices/interface/alias/**",
    "/domain/devices/interface/address/**",
    "/domain/devices/smartcard/**",
    "/domain/devices/serial/**",
    "/domain/devices/parallel/**",
    "/domain/devices/console/**",
    "/domain/devices/channel/@type",
    "/domain/devices/channel/source/**",
    "/domain/devices/channel/protocol/**",
    "/domain/devices/channel/log/**",
    "/domain/devices/channel/target/@type",
    "/domain/devices/channel/target/@name",
    "/domain/devices/channel/target/@address",
    "/domain/devices/channel/target/@port",
    "/domain/devices/channel/alias/**",
    "/domain/devices/channel/address/**",
    "/domain/devices/input/**",
    "/domain/devices/tpm/@model",
    "/domain/devices/tpm/backend/@type",
    "/domain/devices/tpm/backend/@version",
    "/domain/devices/tpm/backend/@debug",
    "/domain/devices/tpm/backend/device/**",
    "/domain/devices/tpm/backend/source/**",
    "/domain/devices/tpm/alias/**",
    "/domain/devices/tpm/address/**",
    "/domain/devices/graphics/@type",
    "/domain/devices/graphics/@port",
    "/domain/devices/graphics/@tlsPort",
    "/domain/devices/graphics/@autoport",
    "/domain/devices/graphics/@websocket",
    "/domain/devices/graphics/@listen",
    "/domain/devices/graphics/@socket",
    "/domain/devices/graphics/@keymap",
    "/domain/devices/graphics/@passwd",
    "/domain/devices/graphics/@passwdValidTo",
    "/domain/devices/graphics/@connected",
    "/domain/devices/graphics/@sharePolicy",
    "/domain/devices/graphics/@powerControl",
    "/domain/devices/graphics/@defaultMode",
    "/domain/devices/graphics/@p2p",
    "/domain/devices/graphics/@address",
    "/domain/devices/graphics/listen/**",
    "/domain/devices/graphics/audio/**",
    "/domain/devices/graphics/channel/**",
    "/domain/devices/graphics/image/**",
    "/domain/devices/graphics/jpeg/**",
    "/domain/devices/graphics/zlib/**",
    "/domain/devices/graphics/playback/**",
    "/domain/devices/graphics/streaming/**",
    "/domain/devices/graphics/mouse/**",
    "/domain/devices/graphics/clipboard/**",
    "/domain/devices/graphics/filetransfer/**",
    "/domain/devices/graphics/gl/**",
    "/domain/devices/sound/**",
    "/domain/devices/audio/**",
    "/domain/devices/video/**",
    "/domain/devices/redirdev/**",
    "/domain/devices/redirfilter/**",
    "/domain/devices/hub/**",
    "/domain/devices/watchdog/@model",
    "/domain/devices/watchdog/@action",
    "/domain/devices/watchdog/alias/**",
    "/domain/devices/watchdog/address/**",
    "/domain/devices/memballoon/@model",
    "/domain/devices/memballoon/@autodeflate",
    "/domain/devices/memballoon/@freePageReporting",
    "/domain/devices/memballoon/driver/**",
    "/domain/devices/memballoon/alias/**",
    "/domain/devices/memballoon/address/**",
    "/domain/devices/rng/**",
    "/domain/devices/nvram/**",
    "/domain/devices/panic/**",
    "/domain/devices/shmem/**",
    "/domain/devices/memory/**",
    "/domain/devices/iommu/**",
    "/domain/devices/vsock/**",
    "/domain/devices/crypto/**",
    "/domain/devices/pstore/**",
    "/domain/keywrap/**",
    "/domain/launchSecurity/**",
    "/domain/qemu:commandline/**",
    "/domain/qemu:override/**",
    "/domain/qemu:deprecation/**",
];
