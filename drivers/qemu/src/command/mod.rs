//! The command line of a guest. Pure: values in, arguments out; one file per kind of device, in QEMU's own words.
//!
//! Objects, block nodes and devices are written as JSON (QEMU 6.2), so no value can break out of its place; what has no
//! JSON form goes through [`option::Opts`], which doubles commas.
//!
//! Invariant: the same input gives the same arguments. Ids are those that people know from libvirt (`virtio-disk0`,
//! `net0`, `charserial0`).

pub(crate) mod block;
mod bus;
mod chardev;
pub(crate) mod cpu;
mod hmat;
pub(crate) mod machine;
mod memory;
mod misc;
pub(crate) mod net;
mod option;

use std::path::{Path, PathBuf};

use polyvirt_core::{Error, ErrorKind, Result, model::DomainConfig, placement::Plan};
use polyvirt_qmp::Machine;

use self::option::Opts;
use crate::probe::Binary;

pub(crate) use chardev::{ConsoleTarget, backend_of, console_target};

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

/// Folders of one guest.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// Sockets; goes when the guest stops.
    pub(crate) run: PathBuf,
    /// Files that hold guest memory; goes when the guest stops.
    pub(crate) ram: PathBuf,
    /// Firmware variables of all guests; theirs stay with the definition.
    pub(crate) nvram: PathBuf,
}

/// All that a command line follows from.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) config: &'a DomainConfig,
    pub(crate) plan: Option<&'a Plan>,
    pub(crate) binary: &'a Binary,
    pub(crate) folders: &'a Folders,
    pub(crate) monitor: MonitorAt,
    pub(crate) sandbox: bool,
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
        self.machine().is_ok_and(|it| is_q35(&it.name))
    }
}

/// Whether a machine is of the Q35 family.
pub(crate) fn is_q35(machine: &str) -> bool {
    machine == "q35" || machine.starts_with("pc-q35")
}

/// Whether a machine is of the i440FX family, which QEMU takes for x86 if none is named.
pub(crate) fn is_i440fx(machine: &str) -> bool {
    matches!(machine, "" | "pc")
        || machine.starts_with("pc-i440fx")
        || machine.starts_with("pc-0.")
        || machine.starts_with("pc-1.")
}

/// The machine type a definition names.
pub(crate) fn machine_name(config: &DomainConfig) -> Option<&str> {
    config.os.as_ref()?.r#type.as_ref()?.machine.as_deref()
}

/// Arguments after the program's name.
#[derive(Debug, Default)]
struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push(name.to_owned());
        self.0.push(value.into());
    }
}

/// The arguments of a guest.
///
/// # Errors
/// `InvalidConfig` for what [`crate::check`] would have refused, or what only plan and definition together show.
pub(crate) fn build(input: &Input<'_>) -> Result<Vec<String>> {
    let mut args = Args::default();
    let config = input.config;
    args.add("-name", Opts::pair("guest", &config.name).switch("debug-threads", true).build());
    // Stopped until everything is in place.
    args.flag("-S");
    let memory = memory::memory(input)?;
    args.add("-machine", machine::machine(input, memory.default_backend.as_deref())?);
    args.add("-accel", machine::accelerator(config)?);
    cpu::model(&mut args, config);
    machine::firmware(&mut args, input);
    args.add("-m", memory.size);
    args.add("-overcommit", Opts::pair("mem-lock", option::on_off(memory::locked(config))).build());
    cpu::topology(&mut args, config);
    for object in memory.objects {
        args.add("-object", object);
    }
    for numa in memory.numa {
        args.add("-numa", numa);
    }
    misc::io_threads(&mut args, config);
    if let Some(uuid) = config.uuid {
        args.add("-uuid", uuid.to_string());
    }
    args.flag("-no-user-config");
    args.flag("-nodefaults");
    args.add("-display", "none");
    monitor(&mut args, &input.monitor);
    machine::clock(&mut args, config);
    machine::lifecycle(&mut args, config);
    machine::boot(&mut args, config);
    let mut order = machine::BootOrder::of(config);
    bus::controllers(&mut args, input)?;
    block::disks(&mut args, input, &mut order)?;
    net::interfaces(&mut args, input, &mut order)?;
    chardev::character_devices(&mut args, input)?;
    misc::devices(&mut args, input);
    if input.sandbox {
        let denied = ["obsolete", "elevateprivileges", "spawn", "resourcecontrol"];
        args.add("-sandbox", denied.iter().fold(Opts::new("on"), |opts, it| opts.with(it, "deny")).build());
    }
    args.add("-msg", "timestamp=on");
    extra(&mut args, config);
    Ok(args.0)
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

/// Variables of `<qemu:commandline>`.
pub(crate) fn extra_environment(config: &DomainConfig) -> Vec<(String, String)> {
    let variables = config.qemu_commandline.iter().flat_map(|line| &line.env);
    variables.map(|variable| (variable.name.clone(), variable.value.clone().unwrap_or_default())).collect()
}

/// The arguments as a shell would take them, for logs and for people. Option and value share a line.
pub(crate) fn shell(program: &Path, args: &[String]) -> String {
    let mut text = quote(&program.to_string_lossy());
    for arg in args {
        text.push_str(if arg.starts_with('-') { " \\\n" } else { " " });
        text.push_str(&quote(arg));
    }
    text
}

fn quote(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_./:=,+@%".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod numa_rules;
#[cfg(test)]
mod tests;
