//! CPU models that definitions may name, and who makes such CPUs.
//!
//! Sources: QEMU, *System Emulation*, "QEMU / KVM CPU model configuration", and `query-cpu-definitions` of QEMU 6.2 to 10.0.
//! A model that is not here cannot be described to a guest, so it is left out of what is offered.

/// A processor and its variants, as QEMU names them.
struct Family {
    /// The name without variant and version.
    name: &'static str,
    /// Who makes it, in libvirt's words; `None` for what nobody makes.
    vendor: Option<&'static str>,
    /// The newest version that is known; 0: only the name without one.
    newest: u32,
}

/// Endings of names of variants.
const VARIANTS: [&str; 4] = ["-noTSX-IBRS", "-noTSX", "-IBRS", "-IBPB"];

const fn of(name: &'static str, vendor: &'static str, newest: u32) -> Family {
    Family { name, vendor: Some(vendor), newest }
}

const fn nobodys(name: &'static str) -> Family {
    Family { name, vendor: None, newest: 1 }
}

/// x86, by name.
const X86: &[Family] = &[
    nobodys("486"),
    of("Broadwell", "Intel", 4),
    of("Cascadelake-Server", "Intel", 5),
    of("Conroe", "Intel", 1),
    of("Cooperlake", "Intel", 2),
    of("Denverton", "Intel", 3),
    of("Dhyana", "Hygon", 2),
    of("EPYC", "AMD", 4),
    of("EPYC-Genoa", "AMD", 1),
    of("EPYC-Milan", "AMD", 2),
    of("EPYC-Rome", "AMD", 4),
    of("GraniteRapids", "Intel", 2),
    of("Haswell", "Intel", 4),
    of("Icelake-Client", "Intel", 0),
    of("Icelake-Server", "Intel", 7),
    of("IvyBridge", "Intel", 2),
    of("KnightsMill", "Intel", 1),
    of("Nehalem", "Intel", 2),
    of("Opteron_G1", "AMD", 1),
    of("Opteron_G2", "AMD", 1),
    of("Opteron_G3", "AMD", 1),
    of("Opteron_G4", "AMD", 1),
    of("Opteron_G5", "AMD", 1),
    of("Penryn", "Intel", 1),
    of("SandyBridge", "Intel", 2),
    of("SapphireRapids", "Intel", 3),
    of("SierraForest", "Intel", 1),
    of("Skylake-Client", "Intel", 4),
    of("Skylake-Server", "Intel", 5),
    of("Snowridge", "Intel", 4),
    of("Westmere", "Intel", 2),
    of("athlon", "AMD", 1),
    of("core2duo", "Intel", 1),
    of("coreduo", "Intel", 1),
    nobodys("kvm32"),
    nobodys("kvm64"),
    of("n270", "Intel", 1),
    nobodys("pentium"),
    nobodys("pentium2"),
    nobodys("pentium3"),
    of("phenom", "AMD", 1),
    nobodys("qemu32"),
    nobodys("qemu64"),
];

/// POWER. QEMU writes them in small letters.
const POWER: &[&str] = &["POWER6", "POWER7", "POWER8", "POWER9", "POWER10", "POWER11"];

/// A model that definitions may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known<'a> {
    /// Its name in a definition.
    pub(crate) name: &'a str,
    /// Who makes it, if that is one company.
    pub(crate) vendor: Option<&'static str>,
}

/// What definitions of this architecture, in libvirt's words, call a model of QEMU's; `None` if they cannot name it.
pub(crate) fn known<'a>(arch: &str, model: &'a str) -> Option<Known<'a>> {
    match arch {
        "x86_64" | "i686" => x86(model),
        "ppc64" | "ppc64le" => power(model).map(|name| Known { name, vendor: Some("IBM") }),
        _ if model == "host" => None,
        "s390x" => {
            let made = model.starts_with('z') || model.starts_with("gen");
            Some(Known { name: model, vendor: made.then_some("IBM") })
        }
        _ => Some(Known { name: model, vendor: None }),
    }
}

/// What a model is called where only its name matters: POWER's are written in capitals, others as QEMU writes them.
pub(crate) fn spelled<'a>(arch: &str, model: &'a str) -> &'a str {
    let power = matches!(arch, "ppc64" | "ppc64le").then(|| power(model)).flatten();
    power.unwrap_or(model)
}

fn power(model: &str) -> Option<&'static str> {
    POWER.iter().find(|it| it.eq_ignore_ascii_case(model)).copied()
}

fn x86(model: &str) -> Option<Known<'_>> {
    let version = model.rsplit_once("-v").and_then(|(name, number)| Some((name, number.parse::<u32>().ok()?)));
    let (name, version) = version.map_or((model, None), |(name, number)| (name, Some(number)));
    let plain = VARIANTS.iter().find_map(|it| name.strip_suffix(it)).unwrap_or(name);
    let family = X86.iter().find(|it| it.name == plain)?;
    let fits = version.is_none_or(|it| it <= family.newest);
    fits.then_some(Known { name: model, vendor: family.vendor })
}

/// x86 features whose names in definitions are not QEMU's.
const FEATURES: &[(&str, &str)] = &[
    ("cmp-legacy", "cmp_legacy"),
    ("ds-cpl", "ds_cpl"),
    ("fxsr-opt", "fxsr_opt"),
    ("lahf-lm", "lahf_lm"),
    ("nodeid-msr", "nodeid_msr"),
    ("pclmulqdq", "pclmuldq"),
    ("perfctr-core", "perfctr_core"),
    ("perfctr-nb", "perfctr_nb"),
    ("tsc-adjust", "tsc_adjust"),
];

/// What definitions of this architecture call a feature of QEMU's.
pub(crate) fn feature<'a>(arch: &str, name: &'a str) -> &'a str {
    let x86 = matches!(arch, "x86_64" | "i686");
    FEATURES.iter().find(|(own, _)| x86 && *own == name).map_or(name, |(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_and_versions_belong_to_their_family() {
        let vendor = |model| known("x86_64", model).map(|it| it.vendor);
        assert_eq!(vendor("Skylake-Client-noTSX-IBRS"), Some(Some("Intel")));
        assert_eq!(vendor("EPYC-IBPB"), Some(Some("AMD")));
        assert_eq!(vendor("EPYC-Rome-v2"), Some(Some("AMD")));
        assert_eq!(vendor("qemu64-v1"), Some(None));
        for unknown in ["base", "host", "max", "SierraForest-v2", "Icelake-Client-v1", "EPYC-", "EPYC-vX", ""] {
            assert_eq!(known("x86_64", unknown), None, "{unknown}");
        }
    }

    #[test]
    fn names_are_those_of_definitions() {
        assert_eq!(known("ppc64", "power9_v2.0"), None);
        assert_eq!(known("ppc64", "power9").unwrap().name, "POWER9");
        assert_eq!((spelled("ppc64", "power9"), spelled("ppc64", "e500")), ("POWER9", "e500"));
        assert_eq!(known("s390x", "gen15a-base").unwrap().vendor, Some("IBM"));
        assert_eq!(known("s390x", "qemu").unwrap().vendor, None);
        assert_eq!(known("aarch64", "host"), None);
        assert_eq!((feature("x86_64", "fxsr-opt"), feature("s390x", "fxsr-opt")), ("fxsr_opt", "fxsr-opt"));
    }
}
