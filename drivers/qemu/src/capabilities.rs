//! What a QEMU binary can do, told to users: facts about the program, kinds of guests, and what one kind of guest can have.
//!
//! Pure: values made of a probed or recorded [`Binary`]. Nothing is guessed of the host, which may lack what the binary can use.

mod cpu;
mod devices;
mod domain;
mod features;
mod models;

use polyvirt_core::{AcceleratorFacts, GuestFeature, HypervisorFacts, MachineFacts};

use crate::probe::{Abilities, Accelerator, Binary};

pub(crate) use domain::{Around, domain};

use domain::Kind;

/// The architecture of a binary's guests, in libvirt's words.
pub(crate) fn arch(binary: &Binary) -> &str {
    match binary.arch.as_str() {
        "i386" => "i686",
        "arm" => "armv7l",
        other => other,
    }
}

/// Machine type of the binary itself, which is no machine.
const NO_MACHINE: &str = "none";

/// What the program is and has.
pub(crate) fn facts(binary: &Binary) -> HypervisorFacts {
    let version = &binary.version;
    let version =
        u64::from(version.major()) * 1_000_000 + u64::from(version.minor()) * 1_000 + u64::from(version.micro());
    let mut facts = HypervisorFacts::new(version, arch(binary));
    for abilities in [Some(&binary.best), binary.emulation.as_ref()].into_iter().flatten() {
        facts.accelerators.insert(accelerator(abilities.accelerator).to_owned(), under(abilities, arch(binary)));
    }
    facts
}

fn accelerator(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Hvf => "hvf",
        Accelerator::Tcg => "tcg",
    }
}

fn under(abilities: &Abilities, arch: &str) -> AcceleratorFacts {
    let machines = abilities.machines.iter().filter(|it| it.name != NO_MACHINE).map(|it| {
        let known =
            MachineFacts { alias: it.alias.clone(), max_cpus: it.cpu_max, default_cpu: it.default_cpu_type.clone() };
        (it.name.clone(), known)
    });
    AcceleratorFacts {
        machines: machines.collect(),
        cpus: abilities.cpus.iter().map(|it| models::spelled(arch, &it.name).to_owned()).collect(),
    }
}

/// Words for `<domain type=…>`, best first.
pub(crate) fn domain_types(binary: &Binary) -> Vec<String> {
    let best = match binary.best.accelerator {
        Accelerator::Kvm => Some("kvm"),
        Accelerator::Hvf => Some("hvf"),
        Accelerator::Tcg => None,
    };
    best.into_iter().chain(["qemu"]).map(str::to_owned).collect()
}

/// What guests of an architecture can have or do. Which of them have ACPI is a matter of their boards.
pub(crate) fn guest_features(arch: &str) -> Vec<GuestFeature> {
    let plain = |name| GuestFeature { name, switch: None };
    let switched = |name, default, toggle| GuestFeature { name, switch: Some((default, toggle)) };
    let x86 = matches!(arch, "x86_64" | "i686");
    let mut features = Vec::new();
    if arch == "i686" {
        features.extend([plain("pae"), plain("nonpae")]);
    }
    if x86 || arch == "aarch64" {
        features.push(switched("acpi", true, true));
    }
    if x86 {
        features.push(switched("apic", true, false));
    }
    features.extend([
        plain("cpuselection"),
        plain("deviceboot"),
        switched("disksnapshot", true, false),
        plain("externalSnapshot"),
    ]);
    features
}

#[cfg(test)]
mod tests;
