//! The data, and the rules on small CPUs.

mod oracle;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    build,
    catalog::{Catalog, FeatureId, Features},
    compare::Definition,
    decode::{Choice, Processor, Role, describe},
};
use crate::{
    BaselineOptions, Comparison, CpuDefinition, CpuError, Cpuid, Replies, Signature, Usable, baseline, compare, decode,
    guest, has_feature, update,
};

fn cpu(text: &str) -> CpuDefinition {
    CpuDefinition::read(text).unwrap().remove(0)
}

fn host(model: &str, features: &[&str]) -> CpuDefinition {
    let features: String = features.iter().map(|name| format!("<feature name='{name}'/>")).collect();
    cpu(&format!("<cpu><arch>x86_64</arch><model>{model}</model><vendor>Intel</vendor>{features}</cpu>"))
}

fn told(cpu: &CpuDefinition) -> Vec<(String, &'static str)> {
    cpu.feature.iter().map(|f| (f.name.clone(), f.policy.map_or("", |policy| policy.as_str()))).collect()
}

#[test]
fn the_data_make_a_catalogue() {
    let (qemu, hand) = build::facts().unwrap_or_else(|error| panic!("{error}"));
    let catalog = build::build(&qemu, &hand).unwrap_or_else(|error| panic!("{error}"));
    let names: BTreeSet<_> = catalog.models.iter().map(|model| &model.name).collect();
    assert_eq!(names.len(), catalog.models.len(), "a model is there twice");
    for spelling in &hand.spelling {
        assert_eq!(catalog.name(catalog.by_name[spelling]), spelling);
    }
}

#[test]
fn a_mistake_in_the_data_is_found() {
    let (qemu, mut hand) = build::facts().unwrap();
    hand.family[0].never = "no-such-feature".into();
    assert!(build::build(&qemu, &hand).unwrap_err().contains("no-such-feature"));
    let (qemu, mut hand) = build::facts().unwrap();
    hand.family.retain(|family| family.name != "Haswell");
    assert!(build::build(&qemu, &hand).unwrap_err().contains("Haswell"));
    let (qemu, mut hand) = build::facts().unwrap();
    hand.family[9].signatures = vec!["6".into()];
    assert!(build::build(&qemu, &hand).unwrap_err().contains("'6'"));
}

#[test]
fn a_host_with_more_is_a_superset_unless_the_match_is_strict() {
    let penryn = host("Penryn", &["vmx"]);
    let with = |matching: &str, rest: &str| {
        let wanted = cpu(&format!("<cpu match='{matching}'><model>Penryn</model>{rest}</cpu>"));
        compare("x86_64", &penryn, &wanted).unwrap().word()
    };
    assert_eq!(with("exact", ""), "superset");
    assert_eq!(with("minimum", ""), "superset");
    assert_eq!(with("strict", ""), "incompatible");
    assert_eq!(with("strict", "<feature policy='require' name='vmx'/>"), "identical");
    assert_eq!(with("strict", "<feature policy='disable' name='vmx'/>"), "identical");
}

#[test]
fn each_policy_means_what_it_says() {
    let penryn = host("Penryn", &["vmx"]);
    let with = |feature: &str| {
        let wanted = cpu(&format!("<cpu match='exact'><model>Penryn</model>{feature}</cpu>"));
        compare("x86_64", &penryn, &wanted).unwrap()
    };
    assert_eq!(with("<feature policy='require' name='avx'/>"), Comparison::Incompatible("the host lacks avx".into()));
    assert_eq!(with("<feature policy='force' name='avx'/>").word(), "superset");
    assert_eq!(with("<feature policy='optional' name='avx'/>").word(), "superset");
    assert_eq!(with("<feature policy='forbid' name='avx'/>").word(), "superset");
    assert_eq!(with("<feature policy='forbid' name='vmx'/>").word(), "incompatible");
    assert_eq!(with("<feature policy='disable' name='vmx'/>").word(), "identical");
}

#[test]
fn another_vendor_is_incompatible_and_an_unknown_one_an_error() {
    let penryn = host("Penryn", &[]);
    let of = |vendor: &str| cpu(&format!("<cpu><model>Penryn</model><vendor>{vendor}</vendor></cpu>"));
    assert_eq!(compare("x86_64", &penryn, &of("AMD")).unwrap().word(), "incompatible");
    assert_eq!(compare("x86_64", &penryn, &of("Intel")).unwrap().word(), "identical");
    assert!(matches!(compare("x86_64", &penryn, &of("Acme")), Err(CpuError::UnknownVendor(..))));
}

#[test]
fn names_that_are_not_known_are_told_with_the_nearest() {
    let penryn = host("Penryn", &[]);
    let error = compare("x86_64", &penryn, &cpu("<cpu><model>Haswel</model></cpu>")).unwrap_err();
    assert_eq!(error.to_string(), "there is no CPU model 'Haswel'; did you mean 'Haswell'?");
    let error = has_feature("x86_64", &penryn, "sse9").unwrap_err();
    assert!(matches!(error, CpuError::UnknownFeature { .. }), "{error}");
    let twice = "<cpu><model>Penryn</model><feature name='avx'/><feature name='avx'/></cpu>";
    assert!(matches!(compare("x86_64", &penryn, &cpu(twice)), Err(CpuError::FeatureTwice(_))));
    assert!(matches!(compare("sparc", &penryn, &penryn), Err(CpuError::Architecture(_))));
    assert!(matches!(compare("x86_64", &cpu("<cpu mode='host-model'/>"), &penryn), Err(CpuError::HostMode(_))));
}

#[test]
fn other_spellings_of_features_are_read() {
    assert!(has_feature("x86_64", &host("Penryn", &[]), "sse4_1").unwrap());
    assert!(has_feature("x86_64", &host("Penryn", &["sse4-2"]), "sse4.2").unwrap());
}

#[test]
fn host_model_is_the_host_less_what_cannot_migrate() {
    let it = update("x86_64", &host("SandyBridge", &["invtsc", "vmx"]), &cpu("<cpu mode='host-model'/>")).unwrap();
    assert_eq!(it.model_name(), Some("SandyBridge"));
    assert_eq!(it.vendor.as_deref(), Some("Intel"));
    assert_eq!(told(&it), [("vmx".into(), "require")]);
    let own = cpu("<cpu mode='host-model'><feature policy='disable' name='vmx'/></cpu>");
    let it = update("x86_64", &host("SandyBridge", &["vmx"]), &own).unwrap();
    assert_eq!(told(&it), [("vmx".into(), "disable")]);
}

#[test]
fn a_minimum_becomes_the_host_and_what_is_optional_is_decided() {
    let sandy = host("SandyBridge", &["vmx"]);
    let it = update("x86_64", &sandy, &cpu("<cpu match='minimum'><model>Penryn</model></cpu>")).unwrap();
    assert_eq!((it.model_name(), told(&it)), (Some("SandyBridge"), vec![("vmx".into(), "require")]));
    let optional = "<feature policy='optional' name='avx'/><feature policy='optional' name='avx2'/>";
    let it = update("x86_64", &sandy, &cpu(&format!("<cpu><model>Penryn</model>{optional}</cpu>"))).unwrap();
    assert_eq!(told(&it), [("avx".into(), "require"), ("avx2".into(), "disable")]);
    let more = cpu("<cpu match='minimum'><model>Haswell</model></cpu>");
    assert!(matches!(update("x86_64", &sandy, &more), Err(CpuError::Incompatible(_))));
    let same = cpu("<cpu mode='host-passthrough' migratable='on'/>");
    assert_eq!(update("x86_64", &sandy, &same).unwrap(), same);
}

#[test]
fn a_model_that_is_not_allowed_is_replaced_unless_fallback_forbids() {
    let haswell = host("Haswell-noTSX", &[]);
    let only = Usable::from([("Haswell".to_owned(), Vec::new())]);
    let wanted =
        |fallback| cpu(&format!("<cpu match='exact'><model fallback='{fallback}'>Haswell-noTSX</model></cpu>"));
    let it = guest("x86_64", &haswell, &wanted("allow"), Some(&only)).unwrap();
    assert_eq!(it.model_name(), Some("Haswell"));
    assert_eq!(told(&it), [("hle".into(), "disable"), ("rtm".into(), "disable")]);
    assert!(matches!(guest("x86_64", &haswell, &wanted("forbid"), Some(&only)), Err(CpuError::Fallback(_))));
    assert_eq!(guest("x86_64", &haswell, &wanted("forbid"), None).unwrap().model_name(), Some("Haswell-noTSX"));
    let none = Usable::from([("Opteron_G1".to_owned(), Vec::new())]);
    assert!(matches!(guest("x86_64", &haswell, &wanted("allow"), Some(&none)), Err(CpuError::Indescribable { .. })));
}

#[test]
fn a_baseline_is_what_all_have() {
    let all = [host("Haswell", &["invtsc", "vmx"]), host("IvyBridge", &["invtsc"])];
    let it = baseline("x86_64", &all, BaselineOptions::default()).unwrap();
    assert_eq!(it.model_name(), Some("SandyBridge"));
    assert!(told(&it).contains(&("invtsc".into(), "require")) && !told(&it).contains(&("vmx".into(), "require")));
    let migratable = baseline("x86_64", &all, BaselineOptions { migratable: true, expand: true }).unwrap();
    let names: Vec<_> = migratable.feature.iter().map(|f| f.name.as_str()).collect();
    assert!(!names.contains(&"invtsc") && names.contains(&"sse2") && names.is_sorted());
    let same =
        baseline("x86_64", &[host("Haswell", &["vmx"]), host("Haswell", &[])], BaselineOptions::default()).unwrap();
    assert_eq!((same.model_name(), same.forbids_fallback(), told(&same)), (Some("Haswell"), true, Vec::new()));
    assert!(!it.forbids_fallback());
    let amd = cpu("<cpu><arch>x86_64</arch><model>EPYC</model><vendor>AMD</vendor></cpu>");
    assert!(matches!(
        baseline("x86_64", &[all[0].clone(), amd], BaselineOptions::default()),
        Err(CpuError::Vendors(..))
    ));
    let power = cpu("<cpu><arch>ppc64</arch><model>POWER8</model></cpu>");
    assert!(matches!(
        baseline("x86_64", &[power], BaselineOptions::default()),
        Err(CpuError::OtherArchitecture { .. })
    ));
    assert!(matches!(baseline("x86_64", &[], BaselineOptions::default()), Err(CpuError::NoCpu)));
}

fn described(model: &str, more: &[&str], less: &[&str], signature: Option<Signature>, role: Role) -> String {
    let catalog = Catalog::get();
    let mut features = catalog.model(model).unwrap().features.clone();
    features.extend(more.iter().map(|name| catalog.by_name[*name]));
    features.retain(|id| !less.contains(&catalog.name(*id)));
    let processor = Processor { features, vendor: Some("Intel".to_owned()), signature };
    let choice = Choice { role, among: None, preferred: None };
    describe(catalog, &processor, &choice).unwrap().model.name.clone()
}

#[test]
fn the_processor_decides_over_the_number_of_features() {
    let ivy = Signature { family: 6, model: 58, stepping: 9 };
    assert_eq!(described("Westmere", &[], &[], None, Role::Guest), "Westmere");
    assert_eq!(described("Westmere", &[], &[], Some(ivy), Role::Guest), "IvyBridge");
    // A host is never described by what it lacks.
    assert_eq!(described("Westmere", &[], &[], Some(ivy), Role::Host), "Westmere-v1");
    let (skylake, cascadelake) =
        (Signature { family: 6, model: 85, stepping: 4 }, Signature { family: 6, model: 85, stepping: 6 });
    assert_eq!(described("Skylake-Server-IBRS", &[], &[], Some(skylake), Role::Guest), "Skylake-Server-IBRS");
    assert_eq!(described("Skylake-Server-IBRS", &[], &[], Some(cascadelake), Role::Guest), "Cascadelake-Server");
}

#[test]
fn switching_off_costs_more_than_adding() {
    // IvyBridge would tell two less to switch off; SandyBridge tells what was added instead.
    assert_eq!(described("IvyBridge", &[], &["smep", "erms"], None, Role::Guest), "SandyBridge");
    assert_eq!(described("IvyBridge", &[], &["erms"], None, Role::Guest), "IvyBridge");
    // It costs more where nothing but the model says what the processor is.
    let unknown = Signature { family: 6, model: 999, stepping: 0 };
    let off = ["xsavec", "xgetbv1"];
    assert_eq!(described("Skylake-Client-IBRS", &[], &off, None, Role::Guest), "Broadwell-IBRS");
    assert_eq!(described("Skylake-Client-IBRS", &[], &off, Some(unknown), Role::Guest), "Skylake-Client-IBRS");
}

#[test]
fn what_qemu_cannot_give_is_switched_off() {
    let props = |on: &[&str]| on.iter().map(|name| format!(r#", "{name}": true"#)).collect::<String>();
    let catalog = Catalog::get();
    let names = catalog.names(&catalog.model("SandyBridge").unwrap().features);
    let text = format!(
        r#"{{"return": {{"model": {{"name": "base", "props": {{"vendor": "GenuineIntel", "family": 6, "model": 42, "stepping": 7 {}}}}}}}}}
        {{"return": [{{"name": "SandyBridge", "typename": "x", "unavailable-features": ["xsaveopt"]}}, {{"name": "qemu64", "typename": "y"}}]}}"#,
        props(&names)
    );
    let it = decode("x86_64", Role::Guest, None, Some(&Replies::read(&text).unwrap())).unwrap();
    assert_eq!((it.model_name(), told(&it)), (Some("SandyBridge"), vec![("xsaveopt".into(), "disable")]));
}

#[test]
fn transactional_memory_that_is_broken_is_not_there() {
    let catalog = Catalog::get();
    let [hle, rtm] = ["hle", "rtm"].map(|name| catalog.by_name[name]);
    let with = |signature: u32| {
        let leaf = format!("<cpuid eax_in='1' eax='{signature:#x}'/><cpuid eax_in='7' ebx='0x810'/>");
        let vendor = "<cpuid eax_in='0' ebx='0x756e6547' ecx='0x6c65746e' edx='0x49656e69'/>";
        let cpuid = Cpuid::read(&format!("<cpudata>{vendor}{leaf}</cpudata>")).unwrap();
        super::decode::of_cpuid(catalog, &cpuid).features
    };
    // Models 3cH, and 3fH of stepping 2 and 4.
    assert_eq!(with(0x306c3), Features::new());
    assert_eq!(with(0x306f2), Features::new());
    assert_eq!(with(0x306f4), Features::from([hle, rtm]));
}

fn any_processor() -> impl Strategy<Value = Processor> {
    let catalog = Catalog::get();
    let count = u16::try_from(catalog.features.len()).unwrap();
    let signature = proptest::option::of((0_u32..30, 0_u32..200, 0_u32..16));
    let vendor = proptest::option::of(prop_oneof![Just("Intel"), Just("AMD"), Just("Hygon")]);
    let flips = proptest::collection::btree_set(0..count, 0..40);
    (0..catalog.models.len(), flips, signature, vendor).prop_map(move |(model, flips, signature, vendor)| {
        let flips: Features = flips.into_iter().map(FeatureId).collect();
        Processor {
            features: &catalog.models[model].features ^ &flips,
            vendor: vendor.map(str::to_owned),
            signature: signature.map(|(family, model, stepping)| Signature { family, model, stepping }),
        }
    })
}

proptest! {
    /// Whatever model is chosen: the description is the processor, no more and no less.
    #[test]
    fn a_description_is_the_processor(processor in any_processor()) {
        let catalog = Catalog::get();
        for role in [Role::Host, Role::Guest] {
            let choice = Choice { role, among: None, preferred: None };
            let Ok(chosen) = describe(catalog, &processor, &choice) else { continue };
            let cpu = chosen.definition(catalog, role, &processor);
            let cpu = CpuDefinition::read(&cpu.to_xml()).unwrap().remove(0);
            prop_assert_eq!(&Definition::read(catalog, &cpu).unwrap().features(), &processor.features);
            prop_assert!(role == Role::Guest || chosen.less.is_empty());
        }
    }

    /// Whatever is read, the answer is a value.
    #[test]
    fn hostile_input_is_refused(text in "(<cpudata>|<cpu>|<a>|[{\\[])?(<cpuid |eax_in='|0x|[0-9a-f]|'/>|<model>|\\PC|\"return\":|[{}\\[\\]]){0,40}") {
        let _ = (Cpuid::read(&text).map(|it| it.signature()), CpuDefinition::read(&text), Replies::read(&text));
    }

    /// A baseline can run on each host that it was made of.
    #[test]
    fn a_baseline_fits_each(models in proptest::collection::vec(0..Catalog::get().models.len(), 1..4)) {
        let catalog = Catalog::get();
        let hosts: Vec<_> = models.iter().map(|at| {
            cpu(&format!("<cpu><arch>x86_64</arch><model>{}</model></cpu>", catalog.models[*at].name))
        }).collect();
        if let Ok(common) = baseline("x86_64", &hosts, BaselineOptions::default()) {
            for host in &hosts {
                let fits = compare("x86_64", host, &common).unwrap();
                prop_assert!(!matches!(fits, Comparison::Incompatible(_)), "{:?}", fits);
            }
        }
    }
}
