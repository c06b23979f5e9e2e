//! The features and models of x86.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::RangeInclusive,
    sync::OnceLock,
};

use super::build;
use crate::{
    CpuError, Signature,
    cpuid::{Cpuid, Word},
};

/// A feature: its place in the order in which features are told, which is that of their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FeatureId(pub(super) u16);

/// A set of features, in order.
pub(super) type Features = BTreeSet<FeatureId>;

/// What a feature is.
#[derive(Debug)]
pub(super) struct Feature {
    /// As domain XML spells it.
    pub(super) name: String,
    pub(super) word: Word,
    pub(super) bit: u8,
}

/// Processors of one family and model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Processors {
    pub(super) family: u32,
    pub(super) model: u32,
    pub(super) steppings: RangeInclusive<u32>,
}

impl Processors {
    pub(super) fn contain(&self, signature: Signature) -> bool {
        (self.family, self.model) == (signature.family, signature.model) && self.steppings.contains(&signature.stepping)
    }
}

/// A model.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) name: String,
    /// The vendor's name; none for models of no particular vendor.
    pub(super) vendor: Option<String>,
    pub(super) processors: Vec<Processors>,
    pub(super) features: Features,
    /// What is told whether the processor has it or not.
    pub(super) withdrawn: Features,
    /// Whether a host is described by it.
    pub(super) for_hosts: bool,
    /// Whether a guest is described by it.
    pub(super) for_guests: bool,
    /// Whether a guest's definition may name it where QEMU has it.
    pub(super) offered: bool,
}

impl Model {
    /// Whether it is made after this processor.
    pub(super) fn is_of(&self, signature: Option<Signature>) -> bool {
        signature.is_some_and(|signature| self.processors.iter().any(|processors| processors.contain(signature)))
    }
}

/// All that is known.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) features: Vec<Feature>,
    pub(super) by_name: HashMap<String, FeatureId>,
    /// From the oldest to the newest.
    pub(super) models: Vec<Model>,
    /// Name and string of leaf 0.
    pub(super) vendors: BTreeMap<String, String>,
    pub(super) unmigratable: Features,
}

impl Catalog {
    /// The project's data.
    pub(super) fn get() -> &'static Self {
        static CATALOG: OnceLock<Catalog> = OnceLock::new();
        CATALOG.get_or_init(build::catalog)
    }

    pub(super) fn name(&self, feature: FeatureId) -> &str {
        self.features.get(usize::from(feature.0)).map_or("", |feature| feature.name.as_str())
    }

    pub(super) fn names<'a>(&'a self, features: impl IntoIterator<Item = &'a FeatureId>) -> Vec<&'a str> {
        features.into_iter().map(|feature| self.name(*feature)).collect()
    }

    /// The feature of this name, in any of its spellings.
    pub(super) fn feature(&self, name: &str) -> Result<FeatureId, CpuError> {
        self.by_name.get(name).copied().ok_or_else(|| CpuError::UnknownFeature {
            name: name.to_owned(),
            nearest: polyvirt_xml::nearest(name, self.features.iter().map(|f| f.name.as_str())).map(str::to_owned),
        })
    }

    pub(super) fn model(&self, name: &str) -> Result<&Model, CpuError> {
        self.models.iter().find(|model| model.name == name).ok_or_else(|| CpuError::UnknownModel {
            name: name.to_owned(),
            nearest: polyvirt_xml::nearest(name, self.models.iter().map(|m| m.name.as_str())).map(str::to_owned),
        })
    }

    /// Refuses what is no name of a vendor.
    pub(super) fn check_vendor(&self, name: &str) -> Result<(), CpuError> {
        if self.vendors.contains_key(name) {
            return Ok(());
        }
        Err(CpuError::UnknownVendor(name.to_owned(), self.vendors.keys().cloned().collect()))
    }

    /// The vendor whose processors say this in leaf 0.
    pub(super) fn vendor_of(&self, string: &str) -> Option<&str> {
        self.vendors.iter().find(|(_, known)| *known == string).map(|(name, _)| name.as_str())
    }

    /// The features whose bits are set.
    pub(super) fn features_of(&self, cpuid: &Cpuid) -> Features {
        let mut words = BTreeMap::new();
        let set = self.features.iter().zip(0_u16..).filter(|(feature, _)| {
            let bits = *words.entry(feature.word).or_insert_with(|| cpuid.word(feature.word));
            bits >> feature.bit & 1 == 1
        });
        set.map(|(_, number)| FeatureId(number)).collect()
    }
}
