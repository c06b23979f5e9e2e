//! CPU modes: what each stands for with one binary and one way to run.
//!
//! What `host-model` stands for is known where the binary itself names a model (s390x), where the host's `<cpu>` does and no
//! features are told apart (POWER), and on x86 from the nearest model to what the binary says that the host's CPU has.

use std::collections::BTreeSet;

use polyvirt_core::{CpuModes, CustomModel, HostModel, NamedFeature, model::cpu::FeaturePolicy};
use polyvirt_cpu::Role;
use polyvirt_qmp::CpuDefinition;
use serde_json::json;

use super::{Kind, models};
use crate::command::HostCpu;

/// All modes.
pub(super) fn modes(kind: &Kind<'_>, host_cpu: Option<&HostCpu>) -> CpuModes {
    let custom: Vec<_> = custom(kind);
    CpuModes {
        host_passthrough: kind.virtualised().then(|| migratable(kind)),
        maximum: has_maximum(kind).then(|| vec!["on", "off"]),
        host_model: host_model(kind, host_cpu),
        custom: (!custom.is_empty()).then_some(custom),
    }
}

/// Whether features that cannot migrate can be left out or kept is a property of x86 CPUs alone.
fn migratable(kind: &Kind<'_>) -> Vec<&'static str> {
    if kind.binary.has_property("max-x86_64-cpu", "migratable") { vec!["on", "off"] } else { vec!["off"] }
}

fn has_maximum(kind: &Kind<'_>) -> bool {
    let binary = kind.binary;
    let all = [Some(&binary.best), binary.emulation.as_ref()];
    binary.types.iter().any(|it| it.starts_with("max-") && it.ends_with("-cpu"))
        || all.into_iter().flatten().flat_map(|it| &it.cpus).any(|it| it.name == "max")
}

fn custom(kind: &Kind<'_>) -> Vec<CustomModel> {
    let cpus = kind.abilities.iter().flat_map(|it| &it.cpus);
    let mut models: Vec<_> = cpus.filter_map(|it| model(kind.arch, it)).collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models
}

fn model(arch: &str, cpu: &CpuDefinition) -> Option<CustomModel> {
    let known = models::known(arch, &cpu.name)?;
    let lacking = cpu.unavailable_features.as_ref();
    let canonical = cpu.alias_of.as_deref().and_then(|it| models::known(arch, it));
    let blockers: BTreeSet<_> =
        lacking.into_iter().flatten().map(|it| polyvirt_cpu::feature_of_qemu(arch, it).to_owned()).collect();
    Some(CustomModel {
        name: known.name.to_owned(),
        usable: lacking.map(Vec::is_empty),
        deprecated: cpu.deprecated,
        vendor: known.vendor.map(str::to_owned),
        canonical: canonical.map(|it| it.name.to_owned()),
        blockers: blockers.into_iter().collect(),
    })
}

fn host_model(kind: &Kind<'_>, host_cpu: Option<&HostCpu>) -> Option<HostModel> {
    match kind.arch {
        "s390x" => of_expansion(kind),
        "x86_64" | "i686" => nearest(kind),
        "ppc64" | "ppc64le" if kind.virtualised() => {
            let known = models::known(kind.arch, &host_cpu?.model)?;
            Some(HostModel { model: known.name.to_owned(), fallback: true, ..HostModel::default() })
        }
        _ => None,
    }
}

/// The named model that is nearest to the host's CPU; `None` if no model describes it. Features with which a guest cannot
/// migrate belong to it: who asks for the host's model wants all of it.
fn nearest(kind: &Kind<'_>) -> Option<HostModel> {
    let model = if kind.virtualised() { "host" } else { "max" };
    let whole = json!({ "type": "static", "model": { "name": model, "props": { "migratable": false } } });
    let abilities = kind.abilities?;
    // The second session is not asked again for what is emulated.
    let expansion = abilities.expansion(|it| *it == whole).or_else(|| kind.binary.best.expansion(|it| *it == whole))?;
    let processor = expansion.processor(&abilities.cpus);
    let cpu = polyvirt_cpu::decode(kind.arch, Role::Guest, None, Some(&processor)).ok()?;
    let features = cpu.feature.iter().map(|it| {
        let required = it.policy != Some(FeaturePolicy::Disable);
        NamedFeature { name: it.name.clone(), required }
    });
    Some(HostModel {
        model: cpu.model.as_ref()?.name.clone()?,
        fallback: false,
        vendor: cpu.vendor.clone(),
        features: features.collect(),
    })
}

/// What the binary says that the host's CPU is.
fn of_expansion(kind: &Kind<'_>) -> Option<HostModel> {
    let model = if kind.virtualised() { "host" } else { "max" };
    let wanted = json!({ "type": "static", "model": { "name": model } });
    let expansion = kind.abilities?.expansion(|it| *it == wanted)?;
    let features = expansion.properties.iter().filter_map(|(name, value)| {
        let required = value.as_bool()?;
        Some(NamedFeature { name: polyvirt_cpu::feature_of_qemu(kind.arch, name).to_owned(), required })
    });
    Some(HostModel { model: expansion.model, features: features.collect(), ..HostModel::default() })
}
