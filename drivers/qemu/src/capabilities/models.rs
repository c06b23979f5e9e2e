//! CPU models that definitions may name, and who makes such CPUs.
//!
//! x86 and POWER have models of their own, which `polyvirt-cpu` knows; one that is not among them cannot be described to a guest, so
//! it is left out of what is offered. On other architectures a model is what QEMU calls it.

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
        arch if polyvirt_cpu::ARCHITECTURES.contains(&arch) => {
            polyvirt_cpu::model_of_qemu(arch, model).map(|it| Known { name: it.name, vendor: it.vendor })
        }
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
    polyvirt_cpu::model_of_qemu(arch, model).map_or(model, |it| it.name)
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
        assert_eq!(
            (polyvirt_cpu::feature_of_qemu("x86_64", "fxsr-opt"), polyvirt_cpu::feature_of_qemu("s390x", "fxsr-opt")),
            ("fxsr_opt", "fxsr-opt")
        );
    }
}
