//! Definitions as sets of features: whether a host has what a guest is to have, and what hosts have in common.

use std::collections::BTreeMap;

use polyvirt_model::cpu::{CpuMatch, CpuMode, FeaturePolicy, ModelFallback};

use super::{
    catalog::{Catalog, FeatureId, Features, Model},
    decode::{Choice, Processor, Role, describe},
};
use crate::{BaselineOptions, Comparison, CpuDefinition, CpuError, definition::feature, same_vendor};

/// A definition, looked up.
pub(super) struct Definition<'a> {
    pub(super) model: &'a Model,
    /// What the model stands for. A host has a withdrawn feature only if it says so; a guest that says nothing is one of old.
    base: Features,
    /// In the order of the definition.
    pub(super) written: Vec<(FeatureId, FeaturePolicy)>,
}

impl<'a> Definition<'a> {
    pub(super) fn read(catalog: &'a Catalog, cpu: &CpuDefinition) -> Result<Self, CpuError> {
        let model = catalog.model(cpu.model_name().ok_or(CpuError::NoModel)?)?;
        if let Some(vendor) = &cpu.vendor {
            catalog.check_vendor(vendor)?;
        }
        let base = if cpu.is_host() { &model.features - &model.withdrawn } else { model.features.clone() };
        Ok(Self { model, base, written: written(catalog, cpu)? })
    }

    /// Features that the definition gives this policy.
    fn with(&self, policy: FeaturePolicy) -> Features {
        self.written.iter().filter(|(_, written)| *written == policy).map(|(id, _)| *id).collect()
    }

    /// What a CPU of this definition has: the model's features and those required, less those that are switched off.
    pub(super) fn features(&self) -> Features {
        let on = &(&self.base | &self.with(FeaturePolicy::Require)) | &self.with(FeaturePolicy::Force);
        &(&on - &self.with(FeaturePolicy::Disable)) - &self.with(FeaturePolicy::Forbid)
    }
}

/// The features that are written, each once.
pub(super) fn written(catalog: &Catalog, cpu: &CpuDefinition) -> Result<Vec<(FeatureId, FeaturePolicy)>, CpuError> {
    let mut seen = BTreeMap::new();
    let mut written = Vec::new();
    for feature in &cpu.feature {
        let id = catalog.feature(&feature.name)?;
        if seen.insert(id, ()).is_some() {
            return Err(CpuError::FeatureTwice(feature.name.clone()));
        }
        written.push((id, feature.policy.unwrap_or(FeaturePolicy::Require)));
    }
    Ok(written)
}

/// Whether a host is what a guest wants.
pub(crate) fn compare(host: &CpuDefinition, cpu: &CpuDefinition) -> Result<Comparison, CpuError> {
    let catalog = Catalog::get();
    if !matches!(cpu.described(), CpuMode::Custom) {
        return Ok(Comparison::Identical);
    }
    if cpu.arch.as_ref().is_some_and(|arch| !crate::is_x86(arch)) {
        return Ok(Comparison::incompatible(format!("it is one of {}", cpu.arch.as_deref().unwrap_or_default())));
    }
    let (wanted, has) = (Definition::read(catalog, cpu)?, Definition::read(catalog, host)?);
    if let Some(vendor) = cpu.vendor.as_ref().filter(|vendor| host.vendor.as_ref() != Some(vendor)) {
        let host = host.vendor.as_deref().unwrap_or("no known vendor");
        return Ok(Comparison::incompatible(format!("its vendor is {vendor}, and the host's is {host}")));
    }
    Ok(compare_features(catalog, &has.features(), &wanted, cpu.matching))
}

fn compare_features(
    catalog: &Catalog,
    has: &Features,
    wanted: &Definition<'_>,
    matching: Option<CpuMatch>,
) -> Comparison {
    use FeaturePolicy::{Disable, Forbid, Force, Optional, Require};
    let names = |features: Features| catalog.names(&features).join(", ");
    let forbidden = &wanted.with(Forbid) & has;
    if !forbidden.is_empty() {
        return Comparison::incompatible(format!("the host has what it forbids: {}", names(forbidden)));
    }
    let waived = &(&wanted.with(Force) | &wanted.with(Optional)) | &(&wanted.with(Disable) | &wanted.with(Forbid));
    let required = &(&wanted.base - &waived) | &wanted.with(Require);
    let missing = &required - has;
    if !missing.is_empty() {
        return Comparison::incompatible(format!("the host lacks {}", names(missing)));
    }
    let extra = &(has - &required) - &waived;
    match (extra.is_empty(), matching) {
        (true, _) => Comparison::Identical,
        (false, Some(CpuMatch::Strict)) => {
            Comparison::incompatible(format!("it is to match strictly, and the host has more: {}", names(extra)))
        }
        (false, _) => Comparison::Superset,
    }
}

/// Whether a CPU has a feature.
pub(crate) fn has_feature(cpu: &CpuDefinition, name: &str) -> Result<bool, CpuError> {
    let catalog = Catalog::get();
    let id = catalog.feature(name)?;
    Ok(Definition::read(catalog, cpu)?.features().contains(&id))
}

/// The CPU that all of these have.
pub(crate) fn baseline(cpus: &[CpuDefinition], options: BaselineOptions) -> Result<CpuDefinition, CpuError> {
    let catalog = Catalog::get();
    let read: Vec<_> = cpus.iter().map(|cpu| Definition::read(catalog, cpu)).collect::<Result<_, _>>()?;
    let first = read.first().ok_or(CpuError::NoCpu)?;
    let mut common = first.features();
    for other in &read {
        common = &common & &other.features();
    }
    if options.migratable {
        common = &common - &catalog.unmigratable;
    }
    let vendor_of = |(cpu, read): (&CpuDefinition, &Definition<'_>)| cpu.vendor.clone().or(read.model.vendor.clone());
    let vendor = same_vendor(cpus.iter().zip(&read).map(vendor_of))?;
    let processor = Processor { features: common.clone(), vendor, signature: None };
    let same_model = read.iter().all(|other| other.model.name == first.model.name);
    let preferred = same_model.then_some(first.model.name.as_str());
    let chosen = describe(catalog, &processor, &Choice { role: Role::Guest, among: None, preferred })?;
    let fallback = if cpus.len() == 1 { ModelFallback::Forbid } else { ModelFallback::Allow };
    let told = cpus.iter().all(|cpu| cpu.vendor.is_some());
    let mut cpu = CpuDefinition { vendor: processor.vendor.filter(|_| told), ..CpuDefinition::default() };
    cpu.set_custom(&chosen.model.name, fallback);
    cpu.feature = if options.expand {
        let mut names = catalog.names(&common);
        names.sort_unstable();
        names.into_iter().map(|name| feature(name, Some(FeaturePolicy::Require))).collect()
    } else {
        chosen.guest_features(catalog)
    };
    Ok(cpu)
}
