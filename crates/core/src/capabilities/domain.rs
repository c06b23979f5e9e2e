//! What guests of one kind can have: one emulator, architecture, machine type and way to run.
//!
//! The names are those of libvirt's domain capabilities document (manual: "Domain capabilities XML format"), in its order.

use std::path::PathBuf;

use async_trait::async_trait;
use serde::Serialize;

use crate::Result;

/// Tells what guests can have with the hypervisor of this host.
#[async_trait]
pub trait DomainCapabilities: Send + Sync {
    /// What guests of one kind can have.
    ///
    /// *Behaviour*: may run programs under a deadline of its own, and remembers what they said; changes nothing. Asked twice, it answers
    /// the same. What the hypervisor does not have, a machine type or a way to run, is `InvalidArgument`; a way to run that this host does
    /// not give is `Unsupported`, with a remedy.
    async fn capabilities(&self, query: &DomainCapsQuery) -> Result<DomainCaps>;
}

/// Which guests are asked about. What is `None` is the hypervisor's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DomainCapsQuery {
    /// The program that runs them.
    pub emulator: Option<PathBuf>,
    /// Their architecture, in libvirt's words.
    pub arch: Option<String>,
    /// Their machine type or its alias.
    pub machine: Option<String>,
    /// A word for `<domain type=…>`.
    pub virttype: Option<String>,
}

/// What guests of one kind can have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DomainCaps {
    /// The program that runs them, if there is one.
    pub emulator: Option<PathBuf>,
    /// The word for `<domain type=…>`.
    pub virttype: String,
    /// The machine type, with its version.
    pub machine: Option<String>,
    /// Their architecture.
    pub arch: String,
    /// Largest number of vCPUs; `None` if it is not known.
    pub max_vcpus: Option<u32>,
    /// Whether disks can have threads of their own.
    pub iothreads: bool,
    /// How they boot.
    pub os: OsCaps,
    /// What CPUs they can have.
    pub cpu: CpuModes,
    /// Where their memory can come from.
    pub memory_backing: Facility,
    /// Devices.
    pub devices: Vec<Facility>,
    /// Everything else.
    pub features: Vec<Facility>,
}

impl DomainCaps {
    /// Guests that can have nothing yet.
    #[must_use]
    pub fn new(virttype: impl Into<String>, arch: impl Into<String>) -> Self {
        Self {
            emulator: None,
            virttype: virttype.into(),
            machine: None,
            arch: arch.into(),
            max_vcpus: None,
            iothreads: false,
            os: OsCaps::default(),
            cpu: CpuModes::default(),
            memory_backing: Facility::new("memoryBacking", false),
            devices: Vec::new(),
            features: Vec::new(),
        }
    }
}

/// How guests boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OsCaps {
    /// Words for `<os firmware=…>` that are sure to find one.
    pub firmware: Vec<String>,
    /// Firmware images of this host that fit.
    pub images: Vec<String>,
    /// What can be said of `<loader>`.
    pub loader: Vec<Choice>,
}

/// A device or feature, and what can be chosen of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facility {
    /// Its element.
    pub name: &'static str,
    /// Whether guests can have it.
    pub supported: bool,
    /// What can be chosen; empty if it is not supported.
    pub choices: Vec<Choice>,
    /// What is known of the host's.
    pub facts: Vec<Fact>,
}

impl Facility {
    /// One without choices.
    #[must_use]
    pub fn new(name: &'static str, supported: bool) -> Self {
        Self { name, supported, choices: Vec::new(), facts: Vec::new() }
    }

    /// One with choices; if it is not supported it has none.
    #[must_use]
    pub fn with(name: &'static str, supported: bool, choices: Vec<Choice>) -> Self {
        Self { choices: if supported { choices } else { Vec::new() }, ..Self::new(name, supported) }
    }
}

/// An attribute of a definition and the words that it can have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// The attribute.
    pub name: &'static str,
    /// The words.
    pub values: Vec<String>,
}

impl Choice {
    /// An attribute and its words.
    pub fn new<T: Into<String>>(name: &'static str, values: impl IntoIterator<Item = T>) -> Self {
        Self { name, values: values.into_iter().map(Into::into).collect() }
    }
}

/// A fact about the host: a name with a text, or with attributes, or with facts below it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Its element.
    pub name: &'static str,
    /// Its text.
    pub text: Option<String>,
    /// Its attributes.
    pub attributes: Vec<(&'static str, String)>,
    /// Facts below it.
    pub facts: Vec<Self>,
}

impl Fact {
    /// A name with a text.
    #[must_use]
    pub fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, text: Some(text.into()), ..Self::default() }
    }
}

/// What CPUs guests can have, by mode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CpuModes {
    /// `host-passthrough`: words for `migratable`.
    pub host_passthrough: Option<Vec<&'static str>>,
    /// `maximum`: words for `migratable`.
    pub maximum: Option<Vec<&'static str>>,
    /// `host-model`: what it stands for.
    pub host_model: Option<HostModel>,
    /// `custom`: the models; `None` if there is no such choice.
    pub custom: Option<Vec<CustomModel>>,
}

/// What `host-model` stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostModel {
    /// Name of the model.
    pub model: String,
    /// Whether another may take its place where it is not known.
    pub fallback: bool,
    /// Vendor of the host's CPU.
    pub vendor: Option<String>,
    /// Features by which it differs from the model.
    pub features: Vec<NamedFeature>,
}

/// A feature that a CPU has or lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamedFeature {
    /// Its name in a definition.
    pub name: String,
    /// Whether the CPU has it.
    pub required: bool,
}

/// A CPU model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CustomModel {
    /// Its name in a definition.
    pub name: String,
    /// Whether this host can run it; `None`: the hypervisor does not tell.
    pub usable: Option<bool>,
    /// Whether it will go away.
    pub deprecated: bool,
    /// Who makes such CPUs.
    pub vendor: Option<String>,
    /// The versioned model that it stands for.
    pub canonical: Option<String>,
    /// What this host lacks to run it.
    pub blockers: Vec<String>,
}
