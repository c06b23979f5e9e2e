//! The host's CPU as a model with features, for guests of `host-model` and for those that want at least some model.

use polyvirt_core::model::{
    DomainConfig, DomainKind, XmlTree,
    cpu::{CpuFeature, CpuMatch, CpuMode, FeaturePolicy},
};
use serde_json::Value;

use crate::probe::Binary;

/// A model, and what the host has beyond it or lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostCpu {
    pub(crate) model: String,
    pub(crate) features: Vec<(String, bool)>,
}

/// What a host's CPU has and a guest does not get: managed by the guest's kernel, of the host alone, or in the way of a
/// migration.
const NOT_FOR_GUESTS: &[&str] = &["osxsave", "ospke", "cmt", "mbm_total", "mbm_local", "invtsc"];

impl HostCpu {
    /// Reads `<cpu>` of capabilities; `None` if it names no model.
    pub(crate) fn read(tree: &XmlTree) -> Option<Self> {
        let named = |name: &'static str| tree.children.iter().filter(move |it| it.local_name() == name);
        let model = named("model").next().map(|it| it.text.trim().to_owned()).filter(|it| !it.is_empty())?;
        let features = named("feature").filter_map(|it| it.attribute("name"));
        let features = features.filter(|it| !NOT_FOR_GUESTS.contains(it)).map(|it| (it.to_owned(), true)).collect();
        Some(Self { model, features })
    }

    /// What QEMU says of the host: a name of its own and all that differs from it, where it has such models (s390x).
    fn of_binary(binary: &Binary, without_deprecated: bool) -> Option<Self> {
        let asked = |it: &&(Value, Value)| it.0["type"] == "static" && it.0["model"]["name"] == "host";
        let (_, answer) = binary.best.expansions.iter().find(asked)?;
        let model = answer["model"]["name"].as_str()?.to_owned();
        let deprecated: Vec<&str> =
            answer["deprecated-props"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let props = answer["model"]["props"].as_object()?;
        let mut features: Vec<(String, bool)> = props
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_bool()?)))
            .filter(|(name, _)| !without_deprecated || !deprecated.contains(&name.as_str()))
            .collect();
        if without_deprecated {
            features.extend(deprecated.iter().map(|name| ((*name).to_owned(), false)));
        }
        Some(Self { model, features })
    }

    /// What this QEMU can give a guest on its host, in words of the models that everybody knows (x86).
    fn of_facts(binary: &Binary, virtualised: bool) -> Option<Self> {
        let abilities = binary.abilities(virtualised);
        let base =
            serde_json::json!({ "type": "static", "model": { "name": if virtualised { "host" } else { "max" } } });
        let processor = abilities.expansion(|asked| *asked == base)?.processor(&abilities.cpus);
        let cpu = polyvirt_cpu::decode("x86_64", polyvirt_cpu::Role::Guest, None, Some(&processor)).ok()?;
        let on = |it: &CpuFeature| !matches!(it.policy, Some(FeaturePolicy::Disable | FeaturePolicy::Forbid));
        let features = cpu.feature.iter().map(|it| (it.name.clone(), on(it)));
        let features = features.filter(|(name, _)| !NOT_FOR_GUESTS.contains(&name.as_str())).collect();
        Some(Self { model: cpu.model_name()?.to_owned(), features })
    }

    /// Whether it has a feature; `None` where nobody knows, or the feature is never a guest's.
    pub(super) fn has(&self, arch: &str, name: &str) -> Option<bool> {
        if NOT_FOR_GUESTS.contains(&name) {
            return None;
        }
        if let Some((_, on)) = self.features.iter().find(|(known, _)| known == name) {
            return Some(*on);
        }
        let mut cpu = polyvirt_cpu::CpuDefinition::default();
        cpu.model.get_or_insert_default().name = Some(self.model.clone());
        polyvirt_cpu::has_feature(arch, &cpu, name).ok()
    }

    /// The host's CPU for a guest with features that are optional; `None` for other guests, or if nobody knows it. What was told
    /// of the host counts before what QEMU can give: a feature beyond that is refused or warned of, and not lost unseen.
    pub(super) fn for_optional(config: &DomainConfig, binary: &Binary, given: Option<&HostCpu>) -> Option<Self> {
        let optional = |it: &CpuFeature| it.policy == Some(FeaturePolicy::Optional);
        let x86 = matches!(binary.arch.as_str(), "x86_64" | "i386");
        if !x86 || !config.cpu.as_ref()?.feature.iter().any(optional) {
            return None;
        }
        let virtualised = config.kind == DomainKind::Kvm;
        given.filter(|_| virtualised).cloned().or_else(|| Self::of_facts(binary, virtualised))
    }

    /// The host's CPU for a guest that is to have it by name; `None` for other guests, or if nobody knows it.
    pub(crate) fn wanted(config: &DomainConfig, binary: &Binary, given: Option<&HostCpu>) -> Option<Self> {
        let cpu = config.cpu.as_ref()?;
        let by_name = cpu.mode == Some(CpuMode::HostModel) || cpu.matching == Some(CpuMatch::Minimum);
        if !by_name {
            return None;
        }
        let virtualised = config.kind == DomainKind::Kvm;
        match binary.arch.as_str() {
            "s390x" if virtualised => Self::of_binary(binary, cpu.deprecated_features == Some(false)),
            // A minimum is the host's own model; else what QEMU can give says more than what the host has.
            "x86_64" | "i386" if cpu.mode == Some(CpuMode::HostModel) => {
                Self::of_facts(binary, virtualised).or_else(|| given.filter(|_| virtualised).cloned())
            }
            "x86_64" | "i386" => given.cloned(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_guests_do_not_get_is_left_out() {
        let text = "<cpu><arch>x86_64</arch><model>Haswell</model><feature name='vme'/><feature name='osxsave'/></cpu>";
        let tree = XmlTree::parse(text).unwrap();
        let expected = HostCpu { model: "Haswell".into(), features: vec![("vme".into(), true)] };
        assert_eq!(HostCpu::read(&tree), Some(expected));
        assert_eq!(HostCpu::read(&XmlTree::parse("<cpu><model/></cpu>").unwrap()), None);
    }

    #[test]
    fn a_host_has_what_its_model_has_and_what_it_adds_but_not_what_it_lacks() {
        let features = vec![("vme".into(), true), ("avx2".into(), false)];
        let host = HostCpu { model: "Haswell".into(), features };
        let has = |name| host.has("x86_64", name);
        assert_eq!(
            [has("vme"), has("avx2"), has("avx"), has("sse4a")],
            [Some(true), Some(false), Some(true), Some(false)]
        );
        assert_eq!([has("osxsave"), has("no-such")], [None, None]);
        assert_eq!(HostCpu { model: "unknown".into(), ..host.clone() }.has("x86_64", "avx"), None);
    }
}
