//! The command line of a guest. Pure: values in, arguments out; one file per kind of device, in QEMU's own words.
//!
//! Objects, block nodes and devices are written as JSON (QEMU 6.2), so no value can break out of its place; what has no
//! JSON form goes through [`option::Opts`], which doubles commas.
//!
//! Names of devices are given first ([`alias`]), and everything else refers to them. A command line is made to be shown or to
//! be run ([`Purpose`]): what whoever starts a guest opens, listens on or decrypts for it is a placeholder when shown.
//!
//! Invariant: the same input gives the same arguments. Ids are those that people know from libvirt (`virtio-disk0`,
//! `net0`, `charserial0`).

mod alias;
mod args;
mod backend;
pub(crate) mod boot;
mod chardev;
mod clock;
mod controller;
pub(crate) mod cpu;
pub(crate) mod filesystem;
pub(crate) mod firmware;
pub(crate) mod graphics;
mod hmat;
mod host_cpu;
mod hostdev;
mod hyperv;
mod input;
mod machine;
mod memory;
mod memory_device;
mod misc;
pub(crate) mod net;
mod option;
mod overrides;
mod pci;
mod place;
mod security;
mod serial;
mod sound;
mod spice;
pub(crate) mod storage;
mod sysinfo;
pub(crate) mod tpm;
mod usb;
mod video;

use std::path::PathBuf;

use polyvirt_core::{
    Error, ErrorKind, Result,
    model::{DomainConfig, clock::ClockOffset, display::GraphicsKind},
    placement::Plan,
};
use polyvirt_qmp::Machine;

use self::{
    args::{Args, has_nul},
    option::{Members, Opts},
};
use crate::{config::Config, machine::Family, probe::Binary};

pub(crate) use args::shell;
pub(crate) use chardev::{ConsoleTarget, backend_of, console_target};
pub(crate) use clock::date;
pub(crate) use host_cpu::HostCpu;
use hostdev::host_address;
pub(crate) use storage::{Images, disk};

/// What command lines are written as for people.
pub(crate) const FORMATS: &[&str] = &["qemu-argv"];

/// Stands for a descriptor that nobody opened, in command lines that are shown and not run.
pub(crate) const SHOWN_DESCRIPTOR: i32 = 3;

/// Where the monitor listens.
#[derive(Clone, Debug)]
pub(crate) enum MonitorAt {
    /// A listening socket that QEMU inherits under this number.
    Descriptor(i32),
    /// A path, for command lines that are shown and not run.
    Path(PathBuf),
}

/// What a command line is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be looked at: sockets, files and devices that would be opened for QEMU are descriptors that nobody opened, secrets
    /// have no value.
    Shown,
    /// To be executed: nothing is opened for QEMU but its monitor and its taps, and it opens the rest itself.
    Run,
}

/// Folders of one guest.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// Sockets; goes when the guest stops.
    pub(crate) run: PathBuf,
    /// Files that hold guest memory; goes when the guest stops.
    pub(crate) ram: PathBuf,
    /// Firmware variables of all guests; theirs stay with the definition.
    pub(crate) nvram: PathBuf,
    /// What the guest's TPM keeps; stays with the definition.
    pub(crate) tpm: PathBuf,
}

/// The tap of a network card, whose descriptors QEMU knows by these words: numbers of those that it inherits, names of those that it
/// is handed while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HandedTap {
    /// The card's place in the definition, from 0.
    pub(crate) card: usize,
    /// One a queue.
    pub(crate) queues: Vec<String>,
    /// One a queue, if the kernel serves it; else none.
    pub(crate) vhost: Vec<String>,
}

/// Finds the device node of a SCSI unit, `host:bus:target:unit`.
pub(crate) type FindScsi = fn(&str) -> Option<String>;

/// All that a command line follows from.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) config: &'a DomainConfig,
    pub(crate) plan: Option<&'a Plan>,
    pub(crate) binary: &'a Binary,
    pub(crate) folders: &'a Folders,
    pub(crate) monitor: MonitorAt,
    pub(crate) sandbox: bool,
    pub(crate) settings: &'a Config,
    pub(crate) purpose: Purpose,
    /// Where the guest comes from in a migration.
    pub(crate) incoming: Option<&'a str>,
    /// Taps that were opened for QEMU.
    pub(crate) taps: &'a [HandedTap],
    /// Seconds since 1970, for clocks that run ahead of the host's.
    pub(crate) now: u64,
    pub(crate) generic_scsi: FindScsi,
    /// The host's CPU, where somebody described it.
    pub(crate) host_cpu: Option<&'a HostCpu>,
}

impl Input<'_> {
    /// The machine type, which completion wrote.
    ///
    /// # Errors
    /// `InvalidConfig` if the binary does not know it.
    fn machine(&self) -> Result<&Machine> {
        let name = machine_name(self.config).unwrap_or_default();
        self.binary.machine(name).ok_or_else(|| {
            let problem = format!("machine type '{name}' is unknown to {}", self.binary.path.display());
            Error::new(ErrorKind::InvalidConfig, problem).with("path", "/domain/os/type/@machine")
        })
    }

    fn is_q35(&self) -> bool {
        Family::of_config(self.config) == Family::Q35
    }

    fn is_x86(&self) -> bool {
        matches!(self.binary.arch.as_str(), "x86_64" | "i386")
    }

    /// Whether the board is `virt`, the one for guests of Arm, RISC-V and LoongArch.
    fn is_virt(&self) -> bool {
        let name = machine_name(self.config).unwrap_or_default();
        name == "virt" || name.starts_with("virt-")
    }

    /// How folders and sockets of a guest are named that has no number yet.
    fn short_name(&self) -> String {
        format!("-1-{}", self.config.name.replace('/', "_").chars().take(20).collect::<String>())
    }

    /// The socket of passt for a network card.
    fn passt(&self, alias: &str) -> String {
        let name = format!("{}-{alias}.socket", self.short_name());
        self.settings.passt_state_dir.join(name).to_string_lossy().into_owned()
    }
}

/// The machine type a definition names.
pub(crate) fn machine_name(config: &DomainConfig) -> Option<&str> {
    config.os.as_ref()?.r#type.as_ref()?.machine.as_deref()
}

/// The arguments of a guest.
///
/// # Errors
/// `InvalidConfig` for what [`crate::check`] would have refused, or what only plan and definition together show;
/// `Unsupported` for what is to run and needs something that is not kept here.
pub(crate) fn build(input: &Input<'_>) -> Result<Vec<String>> {
    let mut named = input.config.clone();
    name_devices(&mut named)?;
    let input = &Input { config: &named, monitor: input.monitor.clone(), ..*input };
    let mut args = Args::default();
    begin(&mut args, input)?;
    devices(&mut args, input)?;
    end(&mut args, input)?;
    match args.all.iter().find(|it| has_nul(it)) {
        None => Ok(args.all),
        Some(argument) => {
            let shown: String = argument.chars().take(80).collect();
            let problem = format!("a NUL cannot be part of an argument, and one is in {shown:?}");
            Err(Error::new(ErrorKind::InvalidConfig, problem).with("path", "/domain"))
        }
    }
}

/// Gives every device what a running guest knows it by: its name, and its port if it is on USB. What has them keeps them.
///
/// # Errors
/// `InvalidConfig` when a device finds no port.
pub(crate) fn name_devices(config: &mut DomainConfig) -> Result<()> {
    usb::assign(config)?;
    alias::assign(config, Family::of_config(config) == Family::Q35);
    Ok(())
}

/// The board, its CPUs and memory, and how QEMU is spoken to.
fn begin(args: &mut Args, input: &Input<'_>) -> Result<()> {
    let config = input.config;
    args.add("-name", Opts::pair("guest", &config.name).switch("debug-threads", true).build());
    // Stopped until everything is in place.
    args.flag("-S");
    let memory = memory::memory(input)?;
    master_key(args, input);
    machine::machine(args, input, memory.default_backend.as_deref())?;
    cpu::model(args, input)?;
    firmware::firmware(args, input)?;
    args.add("-m", memory.size);
    args.add("-overcommit", Opts::pair("mem-lock", option::on_off(memory::locked(config))).build());
    cpu::topology(args, input);
    for object in memory.objects {
        args.add("-object", object);
    }
    for numa in memory.numa {
        args.add("-numa", numa);
    }
    misc::io_threads(args, input);
    storage::groups(args, input);
    if let Some(uuid) = config.uuid {
        args.add("-uuid", config.hwuuid.unwrap_or(uuid).to_string());
    }
    sysinfo::sysinfo(args, input);
    args.flag("-no-user-config");
    args.flag("-nodefaults");
    monitor(args, &input.monitor);
    boot::firmware_memory(args, config);
    clock::clock(args, input);
    // What happens then is said over the monitor, before the guest runs.
    args.flag("-no-shutdown");
    boot::sleep(args, input);
    boot::boot(args, config);
    Ok(())
}

fn devices(args: &mut Args, input: &Input<'_>) -> Result<()> {
    let mut order = boot::BootOrder::of(input.config);
    let mut nodes = storage::Counter::default();
    misc::iommus(args, input);
    controller::controllers(args, input)?;
    memory_device::devices(args, input)?;
    misc::hubs(args, input);
    storage::disks(args, input, &mut order, &mut nodes)?;
    controller::floppies(args, input);
    filesystem::filesystems(args, input);
    net::interfaces(args, input, &mut order)?;
    serial::devices(args, input)?;
    tpm::tpms(args, input);
    input::inputs(args, input);
    sound::backends(args, input);
    graphics::displays(args, input)?;
    video::videos(args, input);
    sound::cards(args, input);
    misc::watchdogs(args, input);
    serial::redirected(args, input)?;
    hostdev::hostdevs(args, input, &mut order, &mut nodes)?;
    misc::balloon(args, input);
    misc::rngs(args, input)?;
    misc::others(args, input);
    misc::panics(args, input);
    misc::shmems(args, input)?;
    security::launch_security(args, input)
}

fn end(args: &mut Args, input: &Input<'_>) -> Result<()> {
    if let Some(from) = input.incoming {
        // A descriptor is the number that whoever starts the guest has it under.
        args.add("-incoming", from);
    }
    let teardown = input.config.features.as_ref().and_then(|it| it.async_teardown.as_ref());
    if let Some(enabled) = teardown.and_then(|it| it.enabled) {
        args.add("-run-with", Opts::pair("async-teardown", option::on_off(enabled)).build());
    }
    if input.sandbox {
        let denied = ["obsolete", "elevateprivileges", "spawn", "resourcecontrol"];
        args.add("-sandbox", denied.iter().fold(Opts::new("on"), |opts, it| opts.with(it, "deny")).build());
    }
    if let Some(behavior) = input.config.qemu_deprecation.as_ref().and_then(|it| it.behavior) {
        args.add("-compat", overrides::deprecation(behavior));
    }
    args.add("-msg", "timestamp=on");
    extra(args, input.config);
    Ok(())
}

/// The key that secrets are encrypted with on their way to QEMU. What runs has none yet.
fn master_key(args: &mut Args, input: &Input<'_>) {
    if input.purpose == Purpose::Shown {
        let object = Members::new("qom-type", "secret")
            .with("id", "masterKey0")
            .with("format", "raw")
            .with("file", input.folders.run.join("master-key.aes").to_string_lossy());
        args.add("-object", object.build());
    }
}

fn monitor(args: &mut Args, at: &MonitorAt) {
    let chardev = Opts::new("socket").with("id", "charmonitor");
    let chardev = match at {
        MonitorAt::Descriptor(number) => chardev.with("fd", number),
        MonitorAt::Path(path) => chardev.with("path", path.display()),
    };
    args.add("-chardev", chardev.switch("server", true).switch("wait", false).build());
    args.add("-mon", "chardev=charmonitor,id=monitor,mode=control");
}

/// `<qemu:commandline>`: arguments that the user answers for, last, so that they can overrule.
fn extra(args: &mut Args, config: &DomainConfig) {
    for arg in config.qemu_commandline.iter().flat_map(|line| &line.arg) {
        args.flag(&arg.value);
    }
}

/// Where SASL finds its configuration, the time zone of the guest's clock, and the variables of `<qemu:commandline>`.
pub(crate) fn extra_environment(config: &DomainConfig, settings: &Config) -> Vec<(String, String)> {
    // There is one variable for all displays: the last that logs in with SASL decides.
    let mut sasl = config.devices.graphics.iter().filter_map(|display| match display.kind {
        Some(GraphicsKind::Vnc) if settings.vnc_sasl => settings.vnc_sasl_dir.as_ref(),
        Some(GraphicsKind::Spice) if settings.spice_sasl => settings.spice_sasl_dir.as_ref(),
        _ => None,
    });
    let sasl = sasl.next_back().map(|folder| ("SASL_CONF_PATH".to_owned(), folder.to_string_lossy().into_owned()));
    let zone = config.clock.as_ref().filter(|it| it.offset == Some(ClockOffset::Timezone));
    let zone = zone.and_then(|it| it.timezone.clone()).map(|it| ("TZ".to_owned(), it));
    let variables = config.qemu_commandline.iter().flat_map(|line| &line.env);
    let variables = variables.map(|it| (it.name.clone(), it.value.clone().unwrap_or_default()));
    sasl.into_iter().chain(zone).chain(variables).collect()
}

#[cfg(test)]
mod numa_rules;
#[cfg(test)]
mod tests;
