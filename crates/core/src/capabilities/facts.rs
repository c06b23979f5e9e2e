//! What a hypervisor is: version, accelerators, machine types, CPU models.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// What a hypervisor program is and has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HypervisorFacts {
    /// Major · 10⁶ + minor · 10³ + micro.
    pub version: u64,
    /// Architecture of its guests, `x86_64`.
    pub arch: String,
    /// By the accelerator's name: `kvm`, `hvf`, `tcg`.
    pub accelerators: BTreeMap<String, AcceleratorFacts>,
}

impl HypervisorFacts {
    /// A program of which no accelerator is known yet.
    #[must_use]
    pub fn new(version: u64, arch: impl Into<String>) -> Self {
        Self { version, arch: arch.into(), accelerators: BTreeMap::new() }
    }
}

/// What can be had under one accelerator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AcceleratorFacts {
    /// Machine types by name.
    pub machines: BTreeMap<String, MachineFacts>,
    /// Names of CPU models.
    pub cpus: BTreeSet<String>,
}

/// A machine type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MachineFacts {
    /// What the name is short for or known as, `q35`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Largest number of vCPUs.
    pub max_cpus: u32,
    /// The hypervisor's name of the CPU that a guest without wishes gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_cpu: Option<String>,
}
