//! Arguments under construction, and how people see them.

use std::path::Path;

use polyvirt_core::model::address::{Address, DeviceInfo};

use super::{
    Input, SHOWN_DESCRIPTOR, alias,
    option::{Members, Opts},
    overrides, place,
};

/// Arguments after the program's name.
#[derive(Debug, Default)]
pub(super) struct Args {
    pub(super) all: Vec<String>,
    /// Sets of descriptors handed over so far.
    sets: usize,
    /// What floppies said of the boot order, and their drives, which come after the controller that has to know it.
    pub(super) floppy_boot: Vec<(&'static str, u32)>,
    pub(super) floppies: Vec<Members>,
    reservations: bool,
}

impl Args {
    pub(super) fn flag(&mut self, name: &str) {
        self.all.push(name.to_owned());
    }

    pub(super) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.all.push(name.to_owned());
        self.all.push(value.into());
    }

    /// Adds a device with its place, changed as the definition overrides it.
    pub(super) fn device(&mut self, input: &Input<'_>, info: &DeviceInfo, members: Members) {
        if let Some(Address::Pci(at)) = &info.address
            && let Some(zpci) = &at.zpci
        {
            let target = alias::of(info);
            let uid = zpci.uid.unwrap_or(0);
            let members = Members::new("driver", "zpci")
                .with("uid", uid)
                .with("fid", zpci.fid.unwrap_or(0))
                .with("target", target)
                .with("id", format!("zpci{uid}"));
            self.add("-device", members.build());
        }
        self.plain_device(input, info, members);
    }

    /// Adds a device of which s390x' PCI is told nothing.
    pub(super) fn plain_device(&mut self, input: &Input<'_>, info: &DeviceInfo, members: Members) {
        let members = overrides::apply(place::at(members, info, input), input.config);
        self.add("-device", members.build());
    }

    /// Hands a descriptor over that would be opened for QEMU; returns the path by which options name it.
    pub(super) fn descriptors(&mut self, what: &str) -> String {
        let set = self.sets;
        self.sets += 1;
        let opts = Opts::pair("set", set).with("fd", SHOWN_DESCRIPTOR).with("opaque", what);
        self.add("-add-fd", opts.build());
        format!("/dev/fdset/{set}")
    }

    /// The process that makes persistent reservations, once for all disks.
    pub(super) fn reservations(&mut self, socket: &Path) {
        if !std::mem::replace(&mut self.reservations, true) {
            let object = Members::new("qom-type", "pr-manager-helper")
                .with("id", "pr-helper0")
                .with("path", socket.to_string_lossy());
            self.add("-object", object.build());
        }
    }
}

/// Whether an argument has a NUL, by itself or, in JSON, as QEMU would read it.
pub(super) fn has_nul(argument: &str) -> bool {
    fn within(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => text.contains('\0'),
            serde_json::Value::Array(items) => items.iter().any(within),
            serde_json::Value::Object(members) => members.iter().any(|(name, it)| name.contains('\0') || within(it)),
            _ => false,
        }
    }
    let json = || argument.starts_with('{') && argument.contains("\\u0000");
    argument.contains('\0') || json() && serde_json::from_str(argument).is_ok_and(|it| within(&it))
}

/// The arguments as a shell would take them, for logs and for people. Option and value share a line.
pub(crate) fn shell(program: &Path, args: &[String]) -> String {
    let program = program.to_string_lossy();
    // A first word with a `=` that is not quoted would be a variable of the environment.
    let mut text = if program.contains('=') { quoted(&program) } else { quote(&program) };
    for arg in args {
        text.push_str(if arg.starts_with('-') { " \\\n" } else { " " });
        text.push_str(&quote(arg));
    }
    text
}

fn quote(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_./:=,+@%".contains(it);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { quoted(word) }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
