//! Which model describes a processor, and what it has beyond.
//!
//! Every model that may be taken is tried. One made after the very processor wins over all others; then the one with the fewest
//! features to tell, where switching off costs more than adding ([`Price`]): programs may take for granted what a model has. Of
//! equals the one with fewer to switch off wins, then the newer. A host is described by what it has, so a model with a feature
//! that the host lacks is none for it.

use polyvirt_model::cpu::{CpuFeature, FeaturePolicy, ModelFallback};

use super::catalog::{Catalog, FeatureId, Features, Model};
use crate::{CpuDefinition, CpuError, Cpuid, Replies, Signature, Usable, definition::feature};

/// Processors on which microcode has switched transactional memory off while CPUID may still show it: family 6, model, and
/// the stepping from which on it works. Source: Intel errata HSD136, HSM142, HSE105.
const BROKEN_TSX: [(u32, u32); 4] = [(60, u32::MAX), (63, 4), (69, u32::MAX), (70, u32::MAX)];

/// For whom a processor is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// As the CPU of a host, by versions of models.
    Host,
    /// As the CPU of a guest, by names that do not change.
    Guest,
}

/// A processor, or what is left of one.
#[derive(Clone, Debug, Default)]
pub(super) struct Processor {
    pub(super) features: Features,
    pub(super) vendor: Option<String>,
    pub(super) signature: Option<Signature>,
}

/// Which models may be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub(super) role: Role,
    /// These; none: all.
    pub(super) among: Option<&'a Usable>,
    /// This, whatever it takes.
    pub(super) preferred: Option<&'a str>,
}

/// A processor as a model and the differences from it.
#[derive(Clone, Debug)]
pub(super) struct Description<'a> {
    pub(super) model: &'a Model,
    pub(super) more: Vec<FeatureId>,
    pub(super) less: Vec<FeatureId>,
}

/// Describes a processor by CPUID, by QEMU's replies, or by both: then CPUID says what it is, and QEMU which models there are.
pub(crate) fn decode(role: Role, cpuid: Option<&Cpuid>, replies: Option<&Replies>) -> Result<CpuDefinition, CpuError> {
    let catalog = Catalog::get();
    let processor = match (cpuid, replies) {
        (Some(cpuid), _) => of_cpuid(catalog, cpuid),
        (None, Some(replies)) => of_replies(catalog, replies)?,
        (None, None) => return Err(CpuError::Cpuid("give CPUID leaves, QEMU's replies, or both".to_owned())),
    };
    let among = replies.and_then(|replies| replies.models.as_ref());
    let chosen = describe(catalog, &processor, &Choice { role, among, preferred: None })?;
    Ok(chosen.definition(catalog, role, &processor))
}

fn named(name: &str) -> polyvirt_model::cpu::CpuModel {
    let mut model = polyvirt_model::cpu::CpuModel::default();
    model.name = Some(name.to_owned());
    model
}

pub(super) fn of_cpuid(catalog: &Catalog, cpuid: &Cpuid) -> Processor {
    let signature = cpuid.signature();
    let mut features = catalog.features_of(cpuid);
    let vendor = catalog.vendor_of(&cpuid.vendor()).map(str::to_owned);
    let broken = |(model, works): &(u32, u32)| *model == signature.model && signature.stepping < *works;
    if vendor.as_deref() == Some("Intel") && signature.family == 6 && BROKEN_TSX.iter().any(broken) {
        features.retain(|id| !matches!(catalog.name(*id), "hle" | "rtm"));
    }
    Processor { features, vendor, signature: Some(signature) }
}

fn of_replies(catalog: &Catalog, replies: &Replies) -> Result<Processor, CpuError> {
    if !replies.expanded {
        return Err(CpuError::Replies("QEMU was not asked for its host's CPU (query-cpu-model-expansion)".to_owned()));
    }
    Ok(Processor {
        // Other properties are no features of a processor.
        features: replies.enabled.iter().filter_map(|name| catalog.by_name.get(name).copied()).collect(),
        vendor: replies.vendor.as_deref().and_then(|string| catalog.vendor_of(string)).map(str::to_owned),
        signature: replies.signature,
    })
}

/// The best description.
pub(super) fn describe<'a>(
    catalog: &'a Catalog,
    processor: &Processor,
    choice: &Choice<'_>,
) -> Result<Description<'a>, CpuError> {
    let mut best: Option<Description<'a>> = None;
    // From the newest on: an equal one found later does not win.
    for model in catalog.models.iter().rev() {
        let Some(candidate) = describe_by(catalog, processor, model, choice) else { continue };
        if choice.preferred == Some(model.name.as_str()) {
            return Ok(candidate);
        }
        if best.as_ref().is_none_or(|best| candidate.is_better_than(best, processor)) {
            best = Some(candidate);
        }
    }
    best.ok_or_else(|| CpuError::Indescribable { vendor: processor.vendor.clone() })
}

/// The description by one model, if it may be taken.
fn describe_by<'a>(
    catalog: &Catalog,
    processor: &Processor,
    model: &'a Model,
    choice: &Choice<'_>,
) -> Option<Description<'a>> {
    let fits_role = match choice.role {
        Role::Host => model.for_hosts,
        Role::Guest => model.for_guests,
    };
    let other_vendor = matches!((&model.vendor, &processor.vendor), (Some(a), Some(b)) if a != b);
    let listed = choice.among.map(|among| among.get(&model.name));
    if !fits_role && choice.preferred != Some(model.name.as_str()) || other_vendor || listed == Some(None) {
        return None;
    }
    let told = &model.features - &model.withdrawn;
    let more = (&processor.features - &told).into_iter().collect();
    if choice.role == Role::Host {
        return told.is_subset(&processor.features).then_some(Description { model, more, less: Vec::new() });
    }
    let blocked = listed.flatten().into_iter().flatten().filter_map(|name| catalog.by_name.get(name).copied());
    let off: Features = (&told - &processor.features).into_iter().chain(blocked).collect();
    // What is told whether the processor has it or not comes last.
    let withdrawn = &(&model.withdrawn - &processor.features) - &off;
    let less = off.into_iter().chain(withdrawn).collect();
    Some(Description { model, more, less })
}

/// What a feature costs that a description switches off; one that it adds costs 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Price {
    /// Of one processor, which says what it is: whatever it is called here, all that counts is how much there is to tell. What
    /// is switched off is told twice: the model promises it, the description takes it back.
    Told,
    /// Of what several processors have in common: nothing but the model says what it is, and each feature that a newer model
    /// promises and the guest does not find is worse than the one before. An older model with more to add is then safer.
    Promised,
}

impl Price {
    fn of(processor: &Processor) -> Self {
        if processor.signature.is_some() { Self::Told } else { Self::Promised }
    }

    fn cost(self, more: usize, off: usize) -> usize {
        match self {
            Self::Told => more + 2 * off,
            Self::Promised => more + off * (off + 2),
        }
    }
}

impl Description<'_> {
    fn is_better_than(&self, other: &Self, processor: &Processor) -> bool {
        let price = Price::of(processor);
        let cost = |it: &Self| (price.cost(it.more.len(), it.less.len()), it.less.len());
        match (self.model.is_of(processor.signature), other.model.is_of(processor.signature)) {
            (true, false) => true,
            (false, true) => false,
            _ => cost(self) < cost(other),
        }
    }

    /// `<cpu>` of the processor that this describes.
    pub(super) fn definition(&self, catalog: &Catalog, role: Role, processor: &Processor) -> CpuDefinition {
        let mut cpu = CpuDefinition { vendor: processor.vendor.clone(), ..CpuDefinition::default() };
        match role {
            Role::Guest => {
                cpu.set_custom(&self.model.name, ModelFallback::Forbid);
                cpu.feature = self.guest_features(catalog);
            }
            Role::Host => {
                cpu.arch = Some("x86_64".to_owned());
                cpu.model = Some(named(&self.model.name));
                cpu.signature = processor.signature;
                cpu.feature = self.more.iter().map(|id| feature(catalog.name(*id), None)).collect();
            }
        }
        cpu
    }

    /// What a guest with this model must be told.
    pub(super) fn guest_features(&self, catalog: &Catalog) -> Vec<CpuFeature> {
        let with = |policy| move |id: &FeatureId| feature(catalog.name(*id), Some(policy));
        let more = self.more.iter().filter(|id| !self.less.contains(id)).map(with(FeaturePolicy::Require));
        more.chain(self.less.iter().map(with(FeaturePolicy::Disable))).collect()
    }
}
