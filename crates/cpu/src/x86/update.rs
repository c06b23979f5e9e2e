//! What a definition comes to on a host: parts that depend on it are filled in, and models that may not be taken replaced.

use std::collections::BTreeMap;

use polyvirt_model::cpu::{CpuFeature, CpuMatch, CpuMode, FeaturePolicy, ModelFallback};

use super::{
    catalog::{Catalog, FeatureId},
    compare::{Definition, compare, written},
    decode::{Choice, Processor, Role, describe},
};
use crate::{Comparison, CpuDefinition, CpuError, Signature, Usable, definition::feature};

/// Fills in what depends on the host.
pub(crate) fn update(host: &CpuDefinition, cpu: &CpuDefinition) -> Result<CpuDefinition, CpuError> {
    let catalog = Catalog::get();
    let mut updated = cpu.clone();
    updated.arch = None;
    match (cpu.described(), cpu.matching) {
        (CpuMode::HostPassthrough | CpuMode::Maximum, _) => return Ok(updated),
        (CpuMode::HostModel, _) => {
            let migratable = |id: &FeatureId| !catalog.unmigratable.contains(id);
            take_host(catalog, host, &mut updated, migratable)?;
            updated.vendor.clone_from(&host.vendor);
        }
        (_, Some(CpuMatch::Minimum)) => {
            if let Comparison::Incompatible(why) = compare(host, cpu)? {
                return Err(CpuError::Incompatible(why));
            }
            take_host(catalog, host, &mut updated, |_| true)?;
        }
        _ => {
            let fallback = cpu.fallback();
            updated.set_custom(&Definition::read(catalog, cpu)?.model.name, fallback);
        }
    }
    decide_optional(catalog, host, &mut updated)?;
    Ok(updated)
}

/// Makes `cpu` the host's, with the features of its own on top.
fn take_host(
    catalog: &Catalog,
    host: &CpuDefinition,
    cpu: &mut CpuDefinition,
    keep: impl Fn(&FeatureId) -> bool,
) -> Result<(), CpuError> {
    let has = Definition::read(catalog, host)?;
    let own: BTreeMap<_, _> = written(catalog, cpu)?.into_iter().collect();
    let fallback = cpu.fallback();
    cpu.set_custom(&has.model.name, fallback);
    let of_host = has.written.iter().filter(|(id, _)| keep(id));
    let mut features: Vec<_> = of_host.map(|(id, policy)| (*id, *own.get(id).unwrap_or(policy))).collect();
    let known = has.features();
    for (id, policy) in own {
        // What the host has anyway need not be told.
        let is_had = policy == FeaturePolicy::Require && known.contains(&id);
        if !is_had && !features.iter().any(|(told, _)| *told == id) {
            features.push((id, policy));
        }
    }
    cpu.feature = features.into_iter().map(|(id, policy)| feature(catalog.name(id), Some(policy))).collect();
    Ok(())
}

/// What is optional is had if the host has it.
fn decide_optional(catalog: &Catalog, host: &CpuDefinition, cpu: &mut CpuDefinition) -> Result<(), CpuError> {
    let optional = |feature: &CpuFeature| feature.policy == Some(FeaturePolicy::Optional);
    let has = match cpu.feature.iter().any(optional) {
        true => Definition::read(catalog, host)?.features(),
        false => return Ok(()),
    };
    for feature in cpu.feature.iter_mut().filter(|feature| optional(feature)) {
        let there = has.contains(&catalog.feature(&feature.name)?);
        feature.policy = Some(if there { FeaturePolicy::Require } else { FeaturePolicy::Disable });
    }
    Ok(())
}

/// The CPU that a guest gets on a host that can be it, described by a model of the list.
pub(crate) fn guest(
    host: &CpuDefinition,
    cpu: &CpuDefinition,
    models: Option<&Usable>,
) -> Result<CpuDefinition, CpuError> {
    let updated = update(host, cpu)?;
    let catalog = Catalog::get();
    match (models, updated.model_name()) {
        (Some(models), Some(name)) if updated.described() == CpuMode::Custom && !models.contains_key(name) => {
            translate(catalog, &updated, models)
        }
        _ => Ok(updated),
    }
}

/// The same CPU by another model.
fn translate(catalog: &Catalog, cpu: &CpuDefinition, models: &Usable) -> Result<CpuDefinition, CpuError> {
    let definition = Definition::read(catalog, cpu)?;
    if cpu.forbids_fallback() {
        return Err(CpuError::Fallback(definition.model.name.clone()));
    }
    let required = definition.written.iter().filter(|(_, policy)| *policy == FeaturePolicy::Require);
    let processor = Processor {
        features: definition.model.features.iter().chain(required.map(|(id, _)| id)).copied().collect(),
        vendor: definition.model.vendor.clone(),
        signature: definition.model.processors.first().map(|processors| Signature {
            family: processors.family,
            model: processors.model,
            stepping: *processors.steppings.start(),
        }),
    };
    let choice = Choice { role: Role::Guest, among: Some(models), preferred: None };
    let chosen = describe(catalog, &processor, &choice)?;
    let mut translated = cpu.clone();
    translated.set_custom(&chosen.model.name, ModelFallback::Allow);
    let mut features = chosen.guest_features(catalog);
    for own in &cpu.feature {
        match features.iter_mut().find(|feature| feature.name == own.name) {
            Some(feature) => feature.policy = own.policy,
            None => features.push(own.clone()),
        }
    }
    translated.feature = features;
    Ok(translated)
}
