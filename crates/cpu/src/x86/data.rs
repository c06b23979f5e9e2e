//! The data files of x86, as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cpuid::{Register, Word};

/// `x86_64-qemu.toml`: what a QEMU answered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QemuFacts {
    pub(super) word: Vec<WordFacts>,
    pub(super) model: Vec<QemuModel>,
}

/// `x86_64.toml`: what is written by hand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HandFacts {
    pub(super) spelling: Vec<String>,
    pub(super) unmigratable: Vec<String>,
    pub(super) of_no_model: Vec<String>,
    pub(super) vendors: BTreeMap<String, String>,
    pub(super) word: Vec<WordFacts>,
    pub(super) family: Vec<Family>,
    pub(super) name: Vec<Name>,
    pub(super) model: Vec<NewerModel>,
}

/// The names of the bits of one word.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WordFacts {
    leaf: Option<u32>,
    #[serde(default)]
    subleaf: u32,
    msr: Option<u32>,
    register: Register,
    /// By number of the bit.
    pub(super) bits: BTreeMap<String, Vec<String>>,
}

impl WordFacts {
    pub(super) fn word(&self) -> Word {
        match (self.leaf, self.msr) {
            (_, Some(index)) => Word::Msr { index, register: self.register },
            (leaf, None) => {
                Word::Cpuid { leaf: leaf.unwrap_or_default(), subleaf: self.subleaf, register: self.register }
            }
        }
    }
}

/// A version of a model in QEMU.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QemuModel {
    pub(super) name: String,
    /// The name without a version that stands for it.
    pub(super) alias: Option<String>,
    pub(super) vendor: String,
    /// What a guest with this model sees.
    pub(super) family: u32,
    pub(super) model: u32,
    pub(super) stepping: u32,
    /// Separated by white space.
    pub(super) features: String,
}

/// A version of a newer QEMU.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewerModel {
    pub(super) name: String,
    pub(super) alias: Option<String>,
    /// What it is made from.
    pub(super) like: String,
    #[serde(default)]
    pub(super) adds: String,
    #[serde(default)]
    pub(super) drops: String,
    pub(super) vendor: Option<String>,
    pub(super) family: Option<u32>,
    pub(super) model: Option<u32>,
    pub(super) stepping: Option<u32>,
}

/// Models of one kind of processor.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Family {
    pub(super) name: String,
    #[serde(default)]
    pub(super) signatures: Vec<String>,
    #[serde(default)]
    pub(super) never: String,
    #[serde(default)]
    pub(super) always: String,
    #[serde(default)]
    pub(super) withdrawn: String,
    #[serde(default)]
    pub(super) any_vendor: bool,
    #[serde(default)]
    pub(super) unversioned: bool,
}

/// What one name without a version has of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Name {
    pub(super) name: String,
    #[serde(default)]
    pub(super) never: String,
    #[serde(default = "yes")]
    pub(super) guests: bool,
}

fn yes() -> bool {
    true
}
