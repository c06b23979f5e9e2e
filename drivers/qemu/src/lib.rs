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

mod check;
mod command;
mod complete;
mod config;
mod domain;
mod driver;
mod failure;
mod kvm;
mod launcher;
mod log;
mod machine;
mod offline;
mod pins;
mod places;
mod probe;
mod program;
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
    "/domain/title",
    "/domain/description",
    "/domain/metadata/**",
    "/domain/memory/**",
    "/domain/currentMemory/**",
    "/domain/memoryBacking/**",
    "/domain/vcpu/**",
    "/domain/iothreads",
    "/domain/iothreadids/iothread/@id",
    "/domain/cputune/vcpupin/**",
    "/domain/cputune/emulatorpin/**",
    "/domain/cputune/iothreadpin/**",
    "/domain/numatune/**",
    "/domain/os/type/**",
    "/domain/os/loader/**",
    "/domain/os/nvram/**",
    "/domain/os/kernel",
    "/domain/os/initrd",
    "/domain/os/cmdline",
    "/domain/os/dtb",
    "/domain/os/boot/**",
    "/domain/os/bootmenu/**",
    "/domain/os/bios/@rebootTimeout",
    "/domain/features/acpi",
    "/domain/features/apic",
    "/domain/features/pae",
    "/domain/features/smm/@state",
    "/domain/features/vmport/**",
    "/domain/features/pmu/**",
    "/domain/features/kvm/hidden/**",
    "/domain/cpu/@mode",
    "/domain/cpu/@match",
    "/domain/cpu/@check",
    "/domain/cpu/@migratable",
    "/domain/cpu/model/**",
    "/domain/cpu/topology/**",
    "/domain/cpu/feature/**",
    "/domain/cpu/numa/cell/@id",
    "/domain/cpu/numa/cell/@cpus",
    "/domain/cpu/numa/cell/@memory",
    "/domain/cpu/numa/cell/@unit",
    "/domain/cpu/numa/cell/@memAccess",
    "/domain/cpu/numa/cell/@discard",
    "/domain/cpu/numa/cell/distances/**",
    "/domain/cpu/numa/cell/cache/**",
    "/domain/cpu/numa/interconnects/**",
    "/domain/clock/@offset",
    "/domain/clock/@start",
    "/domain/clock/timer/@name",
    "/domain/clock/timer/@present",
    "/domain/clock/timer/@tickpolicy",
    "/domain/on_poweroff",
    "/domain/on_reboot",
    "/domain/on_crash",
    "/domain/devices/emulator",
    "/domain/devices/disk/@type",
    "/domain/devices/disk/@device",
    "/domain/devices/disk/driver/@name",
    "/domain/devices/disk/driver/@type",
    "/domain/devices/disk/driver/@cache",
    "/domain/devices/disk/driver/@io",
    "/domain/devices/disk/driver/@discard",
    "/domain/devices/disk/driver/@detect_zeroes",
    "/domain/devices/disk/driver/@iothread",
    "/domain/devices/disk/driver/@queues",
    "/domain/devices/disk/driver/@queue_size",
    "/domain/devices/disk/source/@file",
    "/domain/devices/disk/source/@dev",
    "/domain/devices/disk/target/@dev",
    "/domain/devices/disk/target/@bus",
    "/domain/devices/disk/readonly",
    "/domain/devices/disk/shareable",
    "/domain/devices/disk/serial",
    "/domain/devices/disk/blockio/@logical_block_size",
    "/domain/devices/disk/blockio/@physical_block_size",
    "/domain/devices/disk/boot/@order",
    "/domain/devices/disk/alias/**",
    "/domain/devices/disk/address/**",
    "/domain/devices/controller/@type",
    "/domain/devices/controller/@index",
    "/domain/devices/controller/@model",
    "/domain/devices/controller/@ports",
    "/domain/devices/controller/driver/@queues",
    "/domain/devices/controller/driver/@iothread",
    "/domain/devices/controller/model/**",
    "/domain/devices/controller/target/@chassis",
    "/domain/devices/controller/target/@chassisNr",
    "/domain/devices/controller/target/@port",
    "/domain/devices/controller/alias/**",
    "/domain/devices/controller/address/**",
    "/domain/devices/interface/@type",
    "/domain/devices/interface/mac/@address",
    "/domain/devices/interface/target/**",
    "/domain/devices/interface/model/**",
    "/domain/devices/interface/driver/@rx_queue_size",
    "/domain/devices/interface/driver/@tx_queue_size",
    "/domain/devices/interface/mtu/**",
    "/domain/devices/interface/boot/@order",
    "/domain/devices/interface/alias/**",
    "/domain/devices/interface/address/**",
    "/domain/devices/serial/**",
    "/domain/devices/console/**",
    "/domain/devices/channel/@type",
    "/domain/devices/channel/source/**",
    "/domain/devices/channel/target/@type",
    "/domain/devices/channel/target/@name",
    "/domain/devices/channel/alias/**",
    "/domain/devices/channel/address/**",
    "/domain/devices/memballoon/@model",
    "/domain/devices/memballoon/@autodeflate",
    "/domain/devices/memballoon/@freePageReporting",
    "/domain/devices/memballoon/alias/**",
    "/domain/devices/memballoon/address/**",
    "/domain/devices/rng/@model",
    "/domain/devices/rng/rate/**",
    "/domain/devices/rng/backend/**",
    "/domain/devices/rng/alias/**",
    "/domain/devices/rng/address/**",
    "/domain/devices/panic/@model",
    "/domain/qemu:commandline/**",
];
