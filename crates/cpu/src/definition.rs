//! `<cpu>`, of hosts and of guests (manual: "Capabilities XML format", "CPU model and topology").

use polyvirt_model::cpu::{
    CpuCache, CpuCheck, CpuFeature, CpuMatch, CpuMode, CpuModel, CpuTopology, FeaturePolicy, MaxPhysAddr,
    ModelFallback, Numa,
};
use polyvirt_xml::{Element, FormatOptions, ParseOptions, XmlTree};

use crate::{CpuError, MAX_CPUS};

/// `<cpu>`: what a host has, or what a guest is to have.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[xml(root = "cpu")]
pub struct CpuDefinition {
    /// How a guest's CPU is described; absent: `custom`.
    #[xml(attr)]
    pub mode: Option<CpuMode>,
    /// How strictly the host must match; absent: `exact`.
    #[xml(attr, name = "match")]
    pub matching: Option<CpuMatch>,
    /// What is compared before the guest starts.
    #[xml(attr)]
    pub check: Option<CpuCheck>,
    /// Whether the guest can be migrated.
    #[xml(attr, onoff)]
    pub migratable: Option<bool>,
    /// Whether features that the model deprecates are switched off.
    #[xml(attr, name = "deprecated_features", onoff)]
    pub deprecated_features: Option<bool>,
    /// The architecture of a host.
    #[xml(leaf)]
    pub arch: Option<String>,
    /// The model.
    #[xml(child)]
    pub model: Option<CpuModel>,
    /// The vendor.
    #[xml(leaf)]
    pub vendor: Option<String>,
    /// The version of a host's microcode.
    #[xml(child)]
    pub microcode: Option<Microcode>,
    /// Which processor a host has.
    #[xml(child)]
    pub signature: Option<Signature>,
    /// A host's clock.
    #[xml(child)]
    pub counter: Vec<Counter>,
    /// Sockets, dies, clusters, cores, threads.
    #[xml(child)]
    pub topology: Option<CpuTopology>,
    /// Caches.
    #[xml(child)]
    pub cache: Option<CpuCache>,
    /// Physical address bits.
    #[xml(child)]
    pub maxphysaddr: Option<MaxPhysAddr>,
    /// Features that differ from the model's.
    #[xml(child)]
    pub feature: Vec<CpuFeature>,
    /// Pages that a host can use.
    #[xml(child)]
    pub pages: Vec<PageSize>,
    /// Cells of a guest.
    #[xml(child)]
    pub numa: Option<Numa>,
}

/// `<signature>`: family, model and stepping, as CPUID leaf 1 has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Element)]
pub struct Signature {
    /// The display family.
    #[xml(attr)]
    pub family: u32,
    /// The display model.
    #[xml(attr)]
    pub model: u32,
    /// The stepping.
    #[xml(attr)]
    pub stepping: u32,
}

/// `<microcode>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
pub struct Microcode {
    /// Its version.
    #[xml(attr)]
    pub version: u32,
}

/// `<counter>`: a clock that counts at a fixed frequency.
#[derive(Clone, Debug, Default, PartialEq, Element)]
pub struct Counter {
    /// Which one.
    #[xml(attr)]
    pub name: Option<String>,
    /// In Hz.
    #[xml(attr)]
    pub frequency: Option<u64>,
    /// Whether it can be scaled.
    #[xml(attr, yesno)]
    pub scaling: Option<bool>,
}

/// `<pages>`: a size of pages.
#[derive(Clone, Debug, Default, PartialEq, Element)]
pub struct PageSize {
    /// The unit of the size.
    #[xml(attr)]
    pub unit: Option<String>,
    /// The size.
    #[xml(attr)]
    pub size: Option<u64>,
}

/// A document that holds CPUs: a domain, capabilities, or a list under any name.
#[derive(Clone, Debug, Default, PartialEq, Element)]
struct Holder {
    #[xml(child)]
    cpu: Vec<CpuDefinition>,
    #[xml(child)]
    host: Option<HostOfHolder>,
}

/// `<host>` of capabilities.
#[derive(Clone, Debug, Default, PartialEq, Element)]
struct HostOfHolder {
    #[xml(child)]
    cpu: Vec<CpuDefinition>,
}

impl CpuDefinition {
    /// The CPUs of a document: `<cpu>` itself, or those in a domain, in capabilities, or under any other root, in their order.
    ///
    /// # Errors
    /// [`CpuError::Document`] with places; [`CpuError::NoCpu`]; [`CpuError::TooManyCpus`].
    pub fn read(text: &str) -> Result<Vec<Self>, CpuError> {
        let options = ParseOptions::default();
        let root = XmlTree::parse(text).map_err(|problem| CpuError::Document(problem.into()))?;
        let cpus = if root.name == "cpu" {
            vec![Self::from_xml(text, &options)?.config]
        } else {
            let mut holder: Holder = polyvirt_xml::parse(text, &root.name, &options)?.config;
            holder.cpu.extend(holder.host.into_iter().flat_map(|host| host.cpu));
            holder.cpu
        };
        match cpus.len() {
            0 => Err(CpuError::NoCpu),
            count if count > MAX_CPUS => Err(CpuError::TooManyCpus(count)),
            _ => Ok(cpus.into_iter().map(Self::normalized).collect()),
        }
    }

    /// Prints it, ending with a newline.
    #[must_use]
    pub fn to_xml(&self) -> String {
        self.to_xml_with(FormatOptions::new())
    }

    /// The model's name.
    #[must_use]
    pub fn model_name(&self) -> Option<&str> {
        self.model.as_ref().and_then(|model| model.name.as_deref()).filter(|name| !name.is_empty())
    }

    /// Whether it describes a host: it says an architecture and nothing that only guests say.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.arch.is_some() && self.mode.is_none() && self.matching.is_none()
    }

    /// How the CPU is described; a host's is described by its model.
    pub(crate) fn described(&self) -> CpuMode {
        self.mode.unwrap_or(CpuMode::Custom)
    }

    pub(crate) fn forbids_fallback(&self) -> bool {
        self.model.as_ref().is_some_and(|model| model.fallback == Some(ModelFallback::Forbid))
    }

    pub(crate) fn fallback(&self) -> ModelFallback {
        if self.forbids_fallback() { ModelFallback::Forbid } else { ModelFallback::Allow }
    }

    /// Sets what the guest gets: this model, with features of these policies.
    pub(crate) fn set_custom(&mut self, model: &str, fallback: ModelFallback) {
        self.mode = Some(CpuMode::Custom);
        self.matching = Some(CpuMatch::Exact);
        let mut kept = self.model.take().unwrap_or_default();
        kept.name = Some(model.to_owned());
        kept.fallback = Some(fallback);
        self.model = Some(kept);
    }

    /// Names whitespace-free, and what a topology means when it does not say it.
    fn normalized(mut self) -> Self {
        if let Some(topology) = &mut self.topology {
            topology.dies.get_or_insert(1);
            topology.clusters.get_or_insert(1);
        }
        for text in [&mut self.arch, &mut self.vendor].into_iter().flatten() {
            *text = text.trim().to_owned();
        }
        if let Some(name) = self.model.as_mut().and_then(|model| model.name.as_mut()) {
            *name = name.trim().to_owned();
        }
        self
    }
}

/// `<feature>` of a guest.
pub(crate) fn feature(name: &str, policy: Option<FeaturePolicy>) -> CpuFeature {
    let mut feature = CpuFeature::default();
    feature.policy = policy;
    feature.name = name.to_owned();
    feature
}

#[cfg(test)]
mod tests {
    use super::CpuDefinition;
    use crate::{CpuError, MAX_CPUS};

    #[test]
    fn cpus_are_found_under_any_root() {
        let models = |text: &str| {
            let cpus = CpuDefinition::read(text).unwrap();
            cpus.iter().map(|cpu| cpu.model_name().unwrap_or("").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(models("<cpu><model> a </model></cpu>"), ["a"]);
        assert_eq!(models("<list><cpu><model>a</model></cpu><x/><cpu><model>b</model></cpu></list>"), ["a", "b"]);
        assert_eq!(models("<domain type='kvm'><name>g</name><cpu><model>a</model></cpu></domain>"), ["a"]);
        assert_eq!(models("<capabilities><host><cpu><model>a</model></cpu></host></capabilities>"), ["a"]);
    }

    #[test]
    fn a_definition_is_printed_as_it_was_read() {
        let text = "<cpu mode='custom' match='exact' check='partial'>
  <model fallback='forbid' vendor_id='GenuineIntel'>Penryn</model>
  <vendor>Intel</vendor>
  <topology sockets='1' dies='1' clusters='1' cores='2' threads='1'/>
  <cache mode='passthrough'/>
  <feature policy='require' name='vmx'/>
</cpu>
";
        assert_eq!(CpuDefinition::read(text).unwrap()[0].to_xml(), text);
        let host = "<cpu>
  <arch>x86_64</arch>
  <model>Penryn</model>
  <signature family='6' model='23' stepping='6'/>
  <counter name='tsc' frequency='2000000000' scaling='no'/>
  <feature name='vmx'/>
  <pages unit='KiB' size='4'/>
</cpu>
";
        assert_eq!(CpuDefinition::read(host).unwrap()[0].to_xml(), host);
        let plain = CpuDefinition::read("<cpu><topology sockets='1' cores='2' threads='1'/></cpu>").unwrap();
        assert!(plain[0].to_xml().contains("dies='1' clusters='1'"));
    }

    #[test]
    fn what_holds_no_cpu_is_refused() {
        assert!(matches!(CpuDefinition::read("<list/>"), Err(CpuError::NoCpu)));
        assert!(matches!(CpuDefinition::read("<cpu match='mostly'/>"), Err(CpuError::Document(_))));
        assert!(matches!(CpuDefinition::read("<cpu"), Err(CpuError::Document(_))));
        let many = format!("<list>{}</list>", "<cpu/>".repeat(MAX_CPUS + 1));
        assert!(matches!(CpuDefinition::read(&many), Err(CpuError::TooManyCpus(4097))));
    }
}
