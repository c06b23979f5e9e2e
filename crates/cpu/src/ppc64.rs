//! 64-bit POWER. A processor is its version register (PVR); there are no features beside.

use polyvirt_model::cpu::{CpuMatch, CpuMode, ModelFallback};

use crate::{BaselineOptions, Comparison, CpuDefinition, CpuError, KnownModel, Usable, same_vendor};

/// Models and their vendor, from the oldest to the newest. Source: QEMU's `-cpu help` for ppc64, and the POWER processors' user manuals.
const MODELS: [(&str, &str); 8] = [
    ("POWER6", "IBM"),
    ("POWER7", "IBM"),
    ("POWER8", "IBM"),
    ("POWER9", "IBM"),
    ("POWER10", "IBM"),
    ("POWER11", "IBM"),
    ("POWERPC_e5500", "Freescale"),
    ("POWERPC_e6500", "Freescale"),
];

/// Names that definitions of old have, and the models they stand for now.
const FORMER: [(&str, &str); 4] =
    [("POWER7_v2.1", "POWER7"), ("POWER7_v2.3", "POWER7"), ("POWER7+_v2.1", "POWER7"), ("POWER8_v1.0", "POWER8")];

/// Modes in which a processor is as an older one, and from which model on there is each (QEMU's manual: pSeries, `max-cpu-compat`).
const COMPAT: [(&str, &str); 6] = [
    ("power6", "POWER6"),
    ("power7", "POWER7"),
    ("power8", "POWER8"),
    ("power9", "POWER9"),
    ("power10", "POWER10"),
    ("power11", "POWER11"),
];

/// What a name stands for now.
fn now(name: &str) -> &str {
    FORMER.iter().find(|(former, _)| *former == name).map_or(name, |(_, now)| now)
}

/// The model that definitions name like this one of QEMU's, which writes it in small letters.
pub(crate) fn model_of_qemu(name: &str) -> Option<KnownModel> {
    let (name, vendor) = MODELS.iter().find(|(model, _)| model.eq_ignore_ascii_case(name))?;
    Some(KnownModel { name, vendor: Some(vendor) })
}

fn index(name: &str) -> Result<usize, CpuError> {
    let name = now(name);
    MODELS.iter().position(|(model, _)| *model == name).ok_or_else(|| CpuError::UnknownModel {
        name: name.to_owned(),
        nearest: polyvirt_xml::nearest(name, MODELS.iter().map(|(model, _)| *model)).map(str::to_owned),
    })
}

fn model_of(cpu: &CpuDefinition) -> Result<usize, CpuError> {
    index(cpu.model_name().ok_or(CpuError::NoModel)?)
}

/// Whether a host is what a guest wants.
pub(crate) fn compare(host: &CpuDefinition, cpu: &CpuDefinition) -> Result<Comparison, CpuError> {
    if let Some(arch) = cpu.arch.as_ref().filter(|arch| !crate::is_ppc64(arch)) {
        return Ok(Comparison::incompatible(format!("it is one of {arch}")));
    }
    if let Some(vendor) = cpu.vendor.as_ref().filter(|vendor| host.vendor.as_ref() != Some(vendor)) {
        let host = host.vendor.as_deref().unwrap_or("no known vendor");
        return Ok(Comparison::incompatible(format!("its vendor is {vendor}, and the host's is {host}")));
    }
    let has = model_of(host)?;
    let wanted = match (cpu.described(), cpu.model_name()) {
        (CpuMode::HostModel, Some(mode)) => return compare_mode(has, mode),
        (CpuMode::Custom, _) => model_of(cpu)?,
        _ => return Ok(Comparison::Identical),
    };
    if has == wanted {
        return Ok(Comparison::Identical);
    }
    let (has, wanted) = (name(has), name(wanted));
    Ok(Comparison::incompatible(format!("it is a {wanted}, and the host a {has}")))
}

fn name(index: usize) -> &'static str {
    MODELS.get(index).map_or("", |(model, _)| model)
}

fn compare_mode(has: usize, mode: &str) -> Result<Comparison, CpuError> {
    let known = COMPAT.iter().find(|(known, _)| *known == mode);
    let (_, model) = known.ok_or_else(|| CpuError::UnknownModel {
        name: mode.to_owned(),
        nearest: polyvirt_xml::nearest(mode, COMPAT.iter().map(|(mode, _)| *mode)).map(str::to_owned),
    })?;
    if has >= index(model)? {
        return Ok(Comparison::Identical);
    }
    Ok(Comparison::incompatible(format!("a {} has no mode {mode}", name(has))))
}

/// Fills in what depends on the host: here, nothing does.
pub(crate) fn update(cpu: &CpuDefinition) -> CpuDefinition {
    let mut updated = cpu.clone();
    updated.arch = None;
    if let (CpuMode::Custom, Some(name)) = (cpu.described(), cpu.model_name()) {
        updated.set_custom(name, cpu.fallback());
    } else if let Some(model) = &mut updated.model {
        model.fallback.get_or_insert(ModelFallback::Allow);
    }
    updated
}

/// The CPU that a guest gets on a host that can be it. No model can stand for another.
pub(crate) fn guest(cpu: &CpuDefinition, models: Option<&Usable>) -> Result<CpuDefinition, CpuError> {
    let mut updated = update(cpu);
    if updated.described() == CpuMode::Custom
        && let Some(model) = &mut updated.model
    {
        model.name = model.name.take().map(|name| now(&name).to_owned());
    }
    match (models, updated.model_name()) {
        (Some(models), Some(name)) if updated.described() == CpuMode::Custom && !models.contains_key(name) => {
            Err(CpuError::Fallback(name.to_owned()))
        }
        _ => Ok(updated),
    }
}

/// The CPU that all of these have: they must be one model.
pub(crate) fn baseline(cpus: &[CpuDefinition], _options: BaselineOptions) -> Result<CpuDefinition, CpuError> {
    let first = cpus.first().ok_or(CpuError::NoCpu)?;
    let model = model_of(first)?;
    for cpu in cpus {
        let other = model_of(cpu)?;
        if other != model {
            return Err(CpuError::Models(name(model).to_owned(), name(other).to_owned()));
        }
        if let Some(vendor) = cpu.vendor.as_ref().filter(|vendor| !MODELS.iter().any(|(_, known)| known == *vendor)) {
            return Err(CpuError::UnknownVendor(vendor.clone(), vec!["Freescale".to_owned(), "IBM".to_owned()]));
        }
    }
    let vendor = same_vendor(cpus.iter().map(|cpu| cpu.vendor.clone()))?;
    let mut cpu = CpuDefinition { vendor, ..CpuDefinition::default() };
    cpu.set_custom(name(model), ModelFallback::Forbid);
    cpu.matching = Some(CpuMatch::Exact);
    Ok(cpu)
}

#[cfg(test)]
mod tests {
    use crate::{BaselineOptions, CpuDefinition, CpuError, Usable, baseline, compare, guest, update};

    fn cpu(text: &str) -> CpuDefinition {
        CpuDefinition::read(text).unwrap().remove(0)
    }

    fn host() -> CpuDefinition {
        cpu("<cpu><arch>ppc64</arch><model>POWER8</model><vendor>IBM</vendor></cpu>")
    }

    fn word(text: &str) -> &'static str {
        compare("ppc64", &host(), &cpu(text)).unwrap().word()
    }

    #[test]
    fn a_model_is_itself_alone() {
        assert_eq!(word("<cpu match='strict'><model>POWER8</model></cpu>"), "identical");
        assert_eq!(word("<cpu><model>POWER8_v1.0</model></cpu>"), "identical");
        assert_eq!(word("<cpu><model>POWER7</model></cpu>"), "incompatible");
        assert_eq!(word("<cpu><model>POWER8</model><vendor>Freescale</vendor></cpu>"), "incompatible");
        assert_eq!(word("<cpu><arch>x86_64</arch><model>POWER8</model></cpu>"), "incompatible");
        let unknown = compare("ppc64", &host(), &cpu("<cpu><model>POWER8E_v1.0</model></cpu>"));
        assert!(matches!(unknown, Err(CpuError::UnknownModel { .. })));
    }

    #[test]
    fn a_host_is_as_older_ones_on_request() {
        assert_eq!(word("<cpu mode='host-model'/>"), "identical");
        assert_eq!(word("<cpu mode='host-model'><model>power7</model></cpu>"), "identical");
        assert_eq!(word("<cpu mode='host-model'><model>power9</model></cpu>"), "incompatible");
        let unknown = compare("ppc64", &host(), &cpu("<cpu mode='host-model'><model>power7+</model></cpu>"));
        assert!(matches!(unknown, Err(CpuError::UnknownModel { .. })));
    }

    #[test]
    fn a_guest_gets_what_it_names_or_nothing() {
        let wanted = cpu("<cpu><model>POWER8</model></cpu>");
        assert_eq!(update("ppc64", &host(), &wanted).unwrap().model_name(), Some("POWER8"));
        let models = Usable::from([("POWER7".to_owned(), Vec::new())]);
        assert!(matches!(guest("ppc64", &host(), &wanted, Some(&models)), Err(CpuError::Fallback(_))));
        assert!(guest("ppc64", &host(), &wanted, None).is_ok());
        let former = cpu("<cpu><model>POWER8_v1.0</model></cpu>");
        assert_eq!(guest("ppc64", &host(), &former, None).unwrap().model_name(), Some("POWER8"));
        let other = cpu("<cpu><model>POWER9</model></cpu>");
        assert!(matches!(guest("ppc64", &host(), &other, None), Err(CpuError::Incompatible(_))));
    }

    #[test]
    fn a_baseline_is_of_one_model() {
        let common = baseline("ppc64", &[host(), host()], BaselineOptions::default()).unwrap();
        assert_eq!((common.model_name(), common.vendor.as_deref()), (Some("POWER8"), Some("IBM")));
        let other = cpu("<cpu><model>POWER9</model></cpu>");
        assert!(matches!(baseline("ppc64", &[host(), other], BaselineOptions::default()), Err(CpuError::Models(..))));
        let vendor = cpu("<cpu><model>POWER8</model><vendor>Intel</vendor></cpu>");
        assert!(matches!(baseline("ppc64", &[vendor], BaselineOptions::default()), Err(CpuError::UnknownVendor(..))));
    }
}
