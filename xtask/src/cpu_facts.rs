//! `cargo xtask cpu-facts`: asks QEMU what its CPU models are, and writes `crates/cpu/data/x86_64-qemu.toml`.
//!
//! Two questions. Which bit a feature's name stands for: a CPU that has this feature alone is made, and its `feature-words` and
//! `filtered-features` are read. Which features a model has: `query-cpu-model-expansion`. An accelerator changes models by
//! defaults of its own, so both are asked: TCG for all but `vme`, which it switches off everywhere, KVM for that.
//!
//! Features that live in model-specific registers have names and no word here; the handwritten file beside has their bits.

mod qemu;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
};

use serde_json::Value;

use self::qemu::{Accelerator, Qemu, Word, feature_words};
use crate::checkout::Checkout;

/// Where the answer goes.
const FILE: &str = "crates/cpu/data/x86_64-qemu.toml";

/// What TCG's defaults switch off, whatever the model says (QEMU's manual: "Recommendations for KVM CPU model configuration"
/// lists no such features; seen by comparing both accelerators).
const OFF_UNDER_TCG: &[&str] = &["vme"];

/// Capabilities of VMX, which QEMU shows of a model only while VMX itself is on.
const NESTED: &str = "vmx-";

/// Models that stand for the host or for nothing.
const NO_MODELS: &[&str] = &["base", "host", "max"];

/// CPUID leaves of the hypervisor itself (Intel SDM vol. 2, CPUID: 40000000H to 4FFFFFFFH are not the processor's).
const HYPERVISOR: std::ops::RangeInclusive<u32> = 0x4000_0000..=0x4fff_ffff;

/// The spellings of each bit.
type Bits = BTreeMap<(Word, u8), Vec<String>>;

/// `cargo xtask cpu-facts`.
pub(crate) fn run(checkout: &Checkout) -> Result<bool, String> {
    let mut tcg = Qemu::start(Accelerator::Tcg)?;
    let mut kvm = Qemu::start(Accelerator::Kvm)?;
    let names = switches(&tcg.expand("base")?);
    eprintln!("asking for the bits of {} names", names.len());
    let bits = bits(&names)?;
    let models = tcg.models()?;
    let base = enabled(&tcg.expand("base")?);
    let mut text = header(tcg.version());
    write_bits(&mut text, &bits);
    let preferred = preferred(&bits);
    for model in models.iter().filter(|model| model.alias_of.is_none() && !NO_MODELS.contains(&model.name.as_str())) {
        let mut properties = tcg.expand(&model.name)?;
        let under_kvm = kvm.expand(&model.name)?;
        let nested = enabled(&tcg.expand_with(&model.name, "vmx")?);
        for name in OFF_UNDER_TCG {
            properties[*name] = under_kvm[*name].clone();
        }
        let features: BTreeSet<String> = enabled(&properties)
            .union(&nested.into_iter().filter(|name| name.starts_with(NESTED)).collect())
            .filter(|name| !base.contains(*name))
            .filter_map(|name| match preferred.get(name) {
                Some(preferred) => preferred.clone(),
                None => (!name.contains('_')).then(|| name.clone()),
            })
            .filter(|name| name != "hypervisor")
            .collect();
        let aliases: Vec<_> =
            models.iter().filter(|m| m.alias_of.as_ref() == Some(&model.name)).map(|m| m.name.as_str()).collect();
        write_model(&mut text, &model.name, &aliases, &properties, &features)?;
    }
    let path = checkout.root.join(FILE);
    fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    eprintln!("wrote {FILE}");
    Ok(true)
}

fn header(version: &str) -> String {
    format!(
        "# CPU features and models as QEMU {version} defines them.\n\
         # Written by `cargo xtask cpu-facts`: do not edit. Source: QMP query-cpu-definitions, query-cpu-model-expansion, and\n\
         # feature-words of CPUs with one feature each.\n"
    )
}

fn switches(properties: &Value) -> Vec<String> {
    let of = properties.as_object().into_iter().flatten();
    of.filter(|(_, value)| value.is_boolean()).map(|(name, _)| name.clone()).collect()
}

fn enabled(properties: &Value) -> BTreeSet<String> {
    let of = properties.as_object().into_iter().flatten();
    of.filter(|(_, value)| **value == Value::Bool(true)).map(|(name, _)| name.clone()).collect()
}

fn bits(names: &[String]) -> Result<Bits, String> {
    let none = feature_words("base")?;
    if none.is_empty() {
        return Err("QEMU makes no CPU of the model 'base', or shows no feature-words of it".to_owned());
    }
    let mut bits = Bits::new();
    for name in names {
        let found: Vec<_> = feature_words(&format!("base,{name}=on"))?
            .into_iter()
            .flat_map(|(word, value)| {
                let new = value & !none.get(&word).copied().unwrap_or(0);
                (0..32).filter(move |bit| new >> bit & 1 == 1).map(move |bit| (word, bit))
            })
            // xsave brings the states that it saves (leaf 0xd) along.
            .filter(|(word, _)| word.leaf != 0xd || word.subleaf != 0)
            .filter(|(word, _)| !HYPERVISOR.contains(&word.leaf))
            .collect();
        match found.as_slice() {
            [] => {}
            [bit] => bits.entry(*bit).or_default().push(name.clone()),
            several => return Err(format!("'{name}' changes {} bits: {several:?}", several.len())),
        }
    }
    for names in bits.values_mut() {
        names.sort_by_key(|name| (name.contains('_'), name.clone()));
    }
    Ok(bits)
}

/// The first spelling of each name; nothing for names of what is no CPU feature.
fn preferred(bits: &Bits) -> BTreeMap<String, Option<String>> {
    let spellings = bits.values().flat_map(|names| names.iter().map(|name| (name.clone(), names.first().cloned())));
    spellings.collect()
}

fn write_bits(text: &mut String, bits: &Bits) {
    let mut last = None;
    for ((word, bit), names) in bits {
        if last != Some(*word) {
            let _ = write!(text, "\n[[word]]\nleaf = {:#x}\n", word.leaf);
            let _ = write!(text, "subleaf = {:#x}\nregister = \"{}\"\n", word.subleaf, word.register);
            text.push_str("[word.bits]\n");
            last = Some(*word);
        }
        let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let _ = writeln!(text, "{bit} = [{}]", quoted.join(", "));
    }
}

fn write_model(
    text: &mut String,
    name: &str,
    aliases: &[&str],
    properties: &Value,
    features: &BTreeSet<String>,
) -> Result<(), String> {
    let number = |key: &str| properties[key].as_u64().ok_or_else(|| format!("{name} has no {key}"));
    let vendor = properties["vendor"].as_str().ok_or_else(|| format!("{name} has no vendor"))?;
    let _ = write!(text, "\n[[model]]\nname = \"{name}\"\n");
    if let [alias] = aliases {
        let _ = writeln!(text, "alias = \"{alias}\"");
    }
    let (family, model, stepping) = (number("family")?, number("model")?, number("stepping")?);
    let _ = writeln!(text, "vendor = \"{vendor}\"\nfamily = {family}\nmodel = {model}\nstepping = {stepping}");
    text.push_str("features = \"\"\"");
    let mut column = usize::MAX;
    for feature in features {
        if column.saturating_add(feature.len()) > 130 {
            text.push_str("\n ");
            column = 1;
        }
        let _ = write!(text, " {feature}");
        column += 1 + feature.len();
    }
    text.push_str("\n\"\"\"\n");
    Ok(())
}
