//! CPU features and models as the project's own facts, and what follows from them.
//!
//! A guest's CPU is a model and differences from it (`<cpu>` of domain XML). This crate knows the models, which bits of CPUID
//! features are, and answers: does a host have what a guest is to have ([`compare`]), what do hosts have in common ([`baseline`]), what does a
//! definition come to on a host ([`update`], [`guest`]), which model is this processor ([`decode`]).
//!
//! It asks no processor, no QEMU and no file: everything is a function of its arguments. `data/` has the facts with their
//! sources; `cargo xtask cpu-facts` writes the part that QEMU knows.
//!
//! # Invariants
//!
//! 1. A feature is one bit, and has one name that is printed; other spellings are read.
//! 2. Features are told in the order of their bits, so an answer does not depend on the order of a question.
//! 3. What [`decode`] describes for a host is exactly what the host has: a model with more is never taken.

mod cpuid;
mod definition;
mod error;
mod ppc64;
mod qmp;
mod x86;

pub use cpuid::{Cpuid, MAX_LEAVES, Register, Word};
pub use definition::{Counter, CpuDefinition, Microcode, PageSize, Signature};
pub use error::CpuError;
pub use qmp::{Replies, Usable};
pub use x86::Role;

/// The most CPUs of one question.
pub const MAX_CPUS: usize = 4096;

/// Architectures whose models are known.
pub const ARCHITECTURES: [&str; 4] = ["i686", "x86_64", "ppc64", "ppc64le"];

/// How a host relates to what a guest wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is that.
    Identical,
    /// It is that and more.
    Superset,
    /// It is not: why.
    Incompatible(String),
}

impl Comparison {
    fn incompatible(why: String) -> Self {
        Self::Incompatible(why)
    }

    /// `identical`, `superset` or `incompatible`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Superset => "superset",
            Self::Incompatible(_) => "incompatible",
        }
    }
}

/// What a baseline is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BaselineOptions {
    /// Tell every feature, also those of the model.
    pub expand: bool,
    /// Leave out what a guest that migrates cannot have.
    pub migratable: bool,
}

/// Which rules hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    X86,
    Ppc64,
}

fn is_x86(arch: &str) -> bool {
    matches!(arch, "i686" | "x86_64")
}

fn is_ppc64(arch: &str) -> bool {
    matches!(arch, "ppc64" | "ppc64le")
}

fn family(arch: &str) -> Result<Family, CpuError> {
    match arch {
        arch if is_x86(arch) => Ok(Family::X86),
        arch if is_ppc64(arch) => Ok(Family::Ppc64),
        other => Err(CpuError::Architecture(other.to_owned())),
    }
}

/// Compares a host with what a guest wants.
///
/// # Errors
/// [`CpuError`]: the architecture, a model, feature or vendor is not known, or the host's CPU is no host's.
pub fn compare(arch: &str, host: &CpuDefinition, cpu: &CpuDefinition) -> Result<Comparison, CpuError> {
    let family = family(arch)?;
    check_host(host)?;
    match family {
        Family::X86 => x86::compare(host, cpu),
        Family::Ppc64 => ppc64::compare(host, cpu),
    }
}

/// The CPU that a guest can have on each of these hosts.
///
/// # Errors
/// [`CpuError`]: what is not known, or the hosts have nothing in common.
pub fn baseline(arch: &str, cpus: &[CpuDefinition], options: BaselineOptions) -> Result<CpuDefinition, CpuError> {
    let wanted = family(arch)?;
    for is in cpus.iter().filter_map(|cpu| cpu.arch.as_ref()) {
        if family(is).ok() != Some(wanted) {
            return Err(CpuError::OtherArchitecture { is: is.clone(), wanted: arch.to_owned() });
        }
    }
    match wanted {
        Family::X86 => x86::baseline(cpus, options),
        Family::Ppc64 => ppc64::baseline(cpus, options),
    }
}

/// What a guest's definition comes to on a host: parts that depend on the host are filled in.
///
/// # Errors
/// [`CpuError`]: what is not known, or the host has less than the minimum.
pub fn update(arch: &str, host: &CpuDefinition, cpu: &CpuDefinition) -> Result<CpuDefinition, CpuError> {
    let family = family(arch)?;
    check_host(host)?;
    match family {
        Family::X86 => x86::update(host, cpu),
        Family::Ppc64 => Ok(ppc64::update(cpu)),
    }
}

/// The CPU that a guest gets on a host, by models of the list alone if there is one.
///
/// # Errors
/// [`CpuError`]: what is not known, the host cannot be that CPU, or no model of the list can stand for it.
pub fn guest(
    arch: &str,
    host: &CpuDefinition,
    cpu: &CpuDefinition,
    models: Option<&Usable>,
) -> Result<CpuDefinition, CpuError> {
    if let Comparison::Incompatible(why) = compare(arch, host, cpu)? {
        return Err(CpuError::Incompatible(why));
    }
    match family(arch)? {
        Family::X86 => x86::guest(host, cpu, models),
        Family::Ppc64 => ppc64::guest(cpu, models),
    }
}

/// Whether a CPU has a feature.
///
/// # Errors
/// [`CpuError`]: what is not known; on POWER no feature is.
pub fn has_feature(arch: &str, cpu: &CpuDefinition, feature: &str) -> Result<bool, CpuError> {
    match family(arch)? {
        Family::X86 => x86::has_feature(cpu, feature),
        Family::Ppc64 => Err(CpuError::UnknownFeature { name: feature.to_owned(), nearest: None }),
    }
}

/// Describes a processor, by CPUID, by what QEMU says of it, or by both: then CPUID says what it is and QEMU which models there are.
///
/// # Errors
/// [`CpuError`]: no model describes it, or there is nothing to describe. Only x86 has CPUID.
pub fn decode(
    arch: &str,
    role: Role,
    cpuid: Option<&Cpuid>,
    replies: Option<&Replies>,
) -> Result<CpuDefinition, CpuError> {
    check_cpuid(arch)?;
    x86::decode(role, cpuid, replies)
}

/// Refuses architectures whose processors have no CPUID.
///
/// # Errors
/// [`CpuError::Architecture`], [`CpuError::Cpuid`].
pub fn check_cpuid(arch: &str) -> Result<(), CpuError> {
    match family(arch)? {
        Family::X86 => Ok(()),
        Family::Ppc64 => Err(CpuError::Cpuid(format!("there are no CPUID leaves of {arch}; x86_64 has them"))),
    }
}

/// A model that definitions of guests may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownModel {
    /// Its name in a definition.
    pub name: &'static str,
    /// Who makes such processors, if that is one company.
    pub vendor: Option<&'static str>,
}

/// What definitions call a model of QEMU's; `None` if they cannot name it, or no model of the architecture is known here.
#[must_use]
pub fn model_of_qemu(arch: &str, name: &str) -> Option<KnownModel> {
    match family(arch).ok()? {
        Family::X86 => x86::model_of_qemu(name),
        Family::Ppc64 => ppc64::model_of_qemu(name),
    }
}

/// Features that a model's name once stood for and QEMU's model has lost: told whether they are there or not. A guest that names the
/// model and not them is to go without, whatever the QEMU.
#[must_use]
pub fn withdrawn(arch: &str, model: &str) -> Vec<&'static str> {
    match family(arch) {
        Ok(Family::X86) => x86::withdrawn(model),
        _ => Vec::new(),
    }
}

/// What definitions call a feature of QEMU's; one that is not known here has QEMU's name.
#[must_use]
pub fn feature_of_qemu<'a>(arch: &str, name: &'a str) -> &'a str {
    match family(arch) {
        Ok(Family::X86) => x86::feature_of_qemu(name).unwrap_or(name),
        _ => name,
    }
}

/// A host's CPU is its own: it cannot be described by the host's.
fn check_host(host: &CpuDefinition) -> Result<(), CpuError> {
    match host.mode {
        Some(mode) if mode != polyvirt_model::cpu::CpuMode::Custom => Err(CpuError::HostMode(mode.as_str())),
        _ => Ok(()),
    }
}

/// The vendor of all; none that does not say one stands in the way.
fn same_vendor(vendors: impl Iterator<Item = Option<String>>) -> Result<Option<String>, CpuError> {
    let mut same: Option<String> = None;
    for vendor in vendors.flatten() {
        match &same {
            Some(same) if *same != vendor => return Err(CpuError::Vendors(same.clone(), vendor)),
            _ => same = Some(vendor),
        }
    }
    Ok(same)
}
