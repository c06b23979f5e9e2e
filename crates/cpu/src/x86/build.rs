//! From the data files to the catalogue.
//!
//! The files are part of the program, and a test reads them; so a mistake in them is one of the program, and panics.

use std::collections::{BTreeMap, HashMap};

use super::{
    catalog::{Catalog, Feature, FeatureId, Features, Model, Processors},
    data::{Family, HandFacts, Name, NewerModel, QemuFacts, QemuModel, WordFacts},
};
use crate::cpuid::Word;

/// Capabilities of VMX. Models that guests know without a version are older than QEMU's knowledge of them and say nothing of them;
/// later versions promise them.
const NESTED: &str = "vmx-";

/// The catalogue of the project's data.
pub(super) fn catalog() -> Catalog {
    let (qemu, hand) = facts().expect("the data files are those that the tests have read");
    build(&qemu, &hand).expect("the data files are those that the tests have built")
}

pub(super) fn facts() -> Result<(QemuFacts, HandFacts), toml::de::Error> {
    let qemu = toml::from_str(include_str!("../../data/x86_64-qemu.toml"))?;
    let hand = toml::from_str(include_str!("../../data/x86_64.toml"))?;
    Ok((qemu, hand))
}

/// Makes a catalogue.
///
/// # Errors
/// What contradicts itself in the files.
pub(super) fn build(qemu: &QemuFacts, hand: &HandFacts) -> Result<Catalog, String> {
    let (features, by_name) = features(qemu.word.iter().chain(&hand.word), &hand.spelling)?;
    let mut catalog =
        Catalog { features, by_name, models: Vec::new(), vendors: hand.vendors.clone(), unmigratable: Features::new() };
    catalog.unmigratable = read(&catalog, &hand.unmigratable.join(" "))?;
    let versions = versions(qemu, &hand.model)?;
    for family in &hand.family {
        let mut models = family_models(&catalog, family, hand, &versions)?;
        if models.is_empty() {
            return Err(format!("there is no model of the family {}", family.name));
        }
        catalog.models.append(&mut models);
    }
    match versions.iter().find(|version| !catalog.models.iter().any(|model| model.name == version.name)) {
        Some(lost) => Err(format!("the model {} is of no family", lost.name)),
        None => Ok(catalog),
    }
}

type Named = (Vec<Feature>, HashMap<String, FeatureId>);

fn features<'a>(words: impl Iterator<Item = &'a WordFacts>, spelling: &[String]) -> Result<Named, String> {
    let mut spellings: BTreeMap<(Word, u8), Vec<&String>> = BTreeMap::new();
    for facts in words {
        for (bit, names) in &facts.bits {
            let bit: u8 = bit.parse().ok().filter(|bit| *bit < 32).ok_or_else(|| format!("there is no bit '{bit}'"))?;
            spellings.entry((facts.word(), bit)).or_default().extend(names);
        }
    }
    let mut features = Vec::new();
    let mut by_name = HashMap::new();
    for (((word, bit), names), number) in spellings.into_iter().zip(0_u16..) {
        let name = names.iter().find(|name| spelling.contains(name)).or(names.first()).ok_or("a bit without a name")?;
        features.push(Feature { name: (*name).clone(), word, bit });
        for name in names {
            match by_name.insert(name.clone(), FeatureId(number)) {
                Some(other) if other != FeatureId(number) => return Err(format!("'{name}' is the name of two bits")),
                _ => {}
            }
        }
    }
    Ok((features, by_name))
}

fn read(catalog: &Catalog, names: &str) -> Result<Features, String> {
    let features = names.split_whitespace().map(|name| catalog.feature(name).map_err(|e| e.to_string()));
    features.collect()
}

/// QEMU's versions and the newer ones.
fn versions(qemu: &QemuFacts, newer: &[NewerModel]) -> Result<Vec<QemuModel>, String> {
    let mut versions = qemu.model.clone();
    for new in newer {
        let like = versions.iter().find(|version| version.name == new.like);
        let mut model = like.cloned().ok_or_else(|| format!("{} is like {}, which is not", new.name, new.like))?;
        let drops: Vec<_> = new.drops.split_whitespace().collect();
        let kept = model.features.split_whitespace().filter(|name| !drops.contains(name));
        model.features = kept.chain(new.adds.split_whitespace()).collect::<Vec<_>>().join(" ");
        model.name.clone_from(&new.name);
        model.alias.clone_from(&new.alias);
        model.vendor = new.vendor.clone().unwrap_or(model.vendor);
        model.family = new.family.unwrap_or(model.family);
        model.model = new.model.unwrap_or(model.model);
        model.stepping = new.stepping.unwrap_or(model.stepping);
        versions.push(model);
    }
    Ok(versions)
}

/// The versions of a family for hosts, and the names without a version for guests.
fn family_models(
    catalog: &Catalog,
    family: &Family,
    hand: &HandFacts,
    versions: &[QemuModel],
) -> Result<Vec<Model>, String> {
    let processors: Vec<_> = family.signatures.iter().map(|text| processors(text)).collect::<Result<_, _>>()?;
    let numbered = |version| Some((number_of(&family.name, version)?, version));
    let mut of: Vec<_> = versions.iter().filter_map(numbered).collect();
    of.sort_by_key(|(number, _)| *number);
    let mut models = Vec::new();
    for (_, version) in of {
        let vendor = catalog.vendor_of(&version.vendor).filter(|_| !family.any_vendor).map(str::to_owned);
        let features = read(catalog, &version.features)?;
        let model = Model {
            name: version.name.clone(),
            vendor,
            processors: processors.clone(),
            features: &features - &read(catalog, &hand.of_no_model.join(" "))?,
            withdrawn: Features::new(),
            for_hosts: true,
            for_guests: false,
            offered: !family.unversioned,
        };
        let Some(alias) = &version.alias else {
            models.push(model);
            continue;
        };
        let own = hand.name.iter().find(|name| name.name == *alias);
        let known = Model {
            features: known_as(catalog, family, own, &features)?,
            withdrawn: read(catalog, &family.withdrawn)?,
            ..model
        };
        let for_guests = own.is_none_or(|own| own.guests);
        models.extend([
            known.clone(),
            Model { name: alias.clone(), for_hosts: false, for_guests, offered: true, ..known },
        ]);
    }
    Ok(models)
}

/// What a name without a version stands for, where QEMU's model has these features.
fn known_as(catalog: &Catalog, family: &Family, own: Option<&Name>, features: &Features) -> Result<Features, String> {
    let mut known = &(features - &read(catalog, &family.never)?) | &read(catalog, &family.always)?;
    if let Some(own) = own {
        known = &known - &read(catalog, &own.never)?;
    }
    known.retain(|id| !catalog.name(*id).starts_with(NESTED));
    Ok(known)
}

/// The number of a version of this family.
fn number_of(family: &str, version: &QemuModel) -> Option<u32> {
    version.name.strip_prefix(family)?.strip_prefix("-v")?.parse().ok()
}

/// `family/model` or `family/model/first-last`.
fn processors(text: &str) -> Result<Processors, String> {
    let wrong = || format!("'{text}' is no family/model/steppings");
    let number = |text: &str| text.parse().map_err(|_| wrong());
    let mut parts = text.split('/');
    let (Some(family), Some(model)) = (parts.next(), parts.next()) else { return Err(wrong()) };
    let steppings = match parts.next() {
        Some(steppings) => {
            let (first, last) = steppings.split_once('-').ok_or_else(wrong)?;
            number(first)?..=number(last)?
        }
        None => 0..=u32::MAX,
    };
    Ok(Processors { family: number(family)?, model: number(model)?, steppings })
}
