use std::path::PathBuf;

use polyvirt_core::{CustomModel, DomainCaps, DomainCapsQuery, Facility};
use polyvirt_firmware::Firmwares;
use serde_json::{Value, json};

use super::*;
use crate::{command::HostCpu, config::Config};

/// A binary with these machines and CPU models, and nothing else.
fn binary(arch: &str, machines: &Value, cpus: &Value) -> Binary {
    let mut binary = Binary::assumed(PathBuf::from("/usr/bin/qemu"), arch);
    binary.assumed = false;
    binary.best.machines = serde_json::from_value(machines.clone()).unwrap();
    binary.best.cpus = serde_json::from_value(cpus.clone()).unwrap();
    binary
}

fn machine(name: &str, alias: Option<&str>, default: bool) -> Value {
    json!({ "name": name, "alias": alias, "is-default": default, "cpu-max": 8, "hotpluggable-cpus": true })
}

fn pc() -> Binary {
    let cpu = |name: &str, alias: Option<&str>, lacking: &[&str]| json!({ "name": name, "typename": "", "static": false, "alias-of": alias, "unavailable-features": lacking });
    let machines = json!([
        machine("none", None, false),
        machine("pc-i440fx-9.0", Some("pc"), true),
        machine("pc-q35-9.0", Some("q35"), false)
    ]);
    let cpus = json!([
        cpu("max", None, &[]),
        cpu("Icelake-Client", Some("Icelake-Client-v1"), &["tsc-adjust", "hle", "hle"]),
        cpu("EPYC", Some("EPYC-v1"), &[]),
    ]);
    binary("x86_64", &machines, &cpus)
}

fn ask(binary: &Binary, machine: Option<&str>, virttype: &str) -> polyvirt_core::Result<DomainCaps> {
    let mut query = DomainCapsQuery::default();
    query.machine = machine.map(str::to_owned);
    query.virttype = Some(virttype.to_owned());
    let host_cpu = HostCpu { model: "POWER9".into(), features: Vec::new() };
    let around = Around { settings: &Config::default(), firmware: &Firmwares::default(), host_cpu: Some(&host_cpu) };
    domain(binary, &query, &around)
}

fn words<'a>(facilities: &'a [Facility], name: &str, choice: &str) -> Vec<&'a str> {
    let facility = facilities.iter().find(|it| it.name == name).unwrap();
    let choice = facility.choices.iter().find(|it| it.name == choice);
    choice.iter().flat_map(|it| &it.values).map(String::as_str).collect()
}

#[test]
fn facts_leave_out_what_is_no_machine() {
    let facts = facts(&pc());
    assert_eq!((facts.version, facts.arch.as_str()), (10_000_000, "x86_64"));
    let kvm = &facts.accelerators["kvm"];
    assert_eq!(kvm.machines.keys().collect::<Vec<_>>(), ["pc-i440fx-9.0", "pc-q35-9.0"]);
    assert!(kvm.cpus.contains("max") && facts.accelerators.len() == 1);
}

#[test]
fn architectures_have_libvirts_names_and_their_own_features() {
    let arch_of = |target| arch(&Binary::assumed(PathBuf::new(), target)).to_owned();
    assert_eq!(["i386", "arm", "aarch64", "s390x"].map(arch_of), ["i686", "armv7l", "aarch64", "s390x"]);
    let names = |arch| guest_features(arch).into_iter().map(|it| it.name).collect::<Vec<_>>();
    assert_eq!(names("i686")[..4], ["pae", "nonpae", "acpi", "apic"]);
    assert_eq!(names("aarch64")[..2], ["acpi", "cpuselection"]);
    assert_eq!(names("s390x")[0], "cpuselection");
}

#[test]
fn the_machine_is_named_or_the_usual_one_and_others_are_refused() {
    let machine_of = |binary: &Binary, name| ask(binary, name, "kvm").unwrap().machine.unwrap();
    assert_eq!(machine_of(&pc(), None), "pc-i440fx-9.0");
    assert_eq!(machine_of(&pc(), Some("q35")), "pc-q35-9.0");
    let boards = json!([machine("raspi3b", None, true), machine("virt-9.0", Some("virt"), false)]);
    assert_eq!(machine_of(&binary("aarch64", &boards, &json!([])), None), "virt-9.0");
    let refused = ask(&pc(), Some("virt"), "kvm").unwrap_err().to_string();
    assert!(refused.contains("no machine type 'virt'"), "{refused}");
    let refused = ask(&pc(), None, "xen").unwrap_err().to_string();
    assert!(refused.contains("'xen' is no way"), "{refused}");
}

#[test]
fn under_an_accelerator_that_was_not_seen_no_models_and_limits_are_promised() {
    let mut binary = pc();
    let seen = ask(&binary, None, "kvm").unwrap();
    assert_eq!((seen.max_vcpus, seen.cpu.custom.unwrap().len()), (Some(8), 2));
    binary.best.accelerator = Accelerator::Tcg;
    let unseen = ask(&binary, None, "kvm").unwrap();
    assert_eq!((unseen.max_vcpus, unseen.cpu.custom), (None, None));
    let emulated = ask(&binary, None, "qemu").unwrap();
    assert_eq!((emulated.max_vcpus, emulated.cpu.host_passthrough), (Some(8), None));
}

#[test]
fn models_have_sorted_blockers_and_stand_only_for_models_that_are_known() {
    let models = ask(&pc(), None, "kvm").unwrap().cpu.custom.unwrap();
    let epyc = CustomModel {
        name: "EPYC".into(),
        usable: Some(true),
        vendor: Some("AMD".into()),
        canonical: Some("EPYC-v1".into()),
        ..CustomModel::default()
    };
    let icelake = CustomModel {
        name: "Icelake-Client".into(),
        usable: Some(false),
        vendor: Some("Intel".into()),
        blockers: vec!["hle".into(), "tsc_adjust".into()],
        ..CustomModel::default()
    };
    assert_eq!(models, [epyc, icelake]);
}

#[test]
fn host_model_is_what_the_binary_or_the_host_names() {
    let mut s390 = binary("s390x", &json!([machine("s390-ccw-virtio", None, true)]), &json!([]));
    let asked = json!({ "type": "static", "model": { "name": "host" } });
    let answer = json!({ "model": { "name": "gen15a-base", "props": { "aen": true, "vx": false, "n": 1 } } });
    s390.best.expansions = vec![(asked, answer)];
    s390.best.orders = vec![vec!["vx".into(), "aen".into()]];
    let model = ask(&s390, None, "kvm").unwrap().cpu.host_model.unwrap();
    let features: Vec<_> = model.features.iter().map(|it| (it.name.as_str(), it.required)).collect();
    assert_eq!((model.model.as_str(), features), ("gen15a-base", vec![("vx", false), ("aen", true)]));
    let power = binary("ppc64", &json!([machine("pseries-9.0", None, true)]), &json!([]));
    let model = ask(&power, None, "kvm").unwrap().cpu.host_model.unwrap();
    assert_eq!((model.model.as_str(), model.fallback), ("POWER9", true));
    assert_eq!(ask(&power, None, "qemu").unwrap().cpu.host_model, None);
}

#[test]
fn host_model_of_x86_is_the_nearest_model_that_the_binary_has() {
    let mut binary = pc();
    assert_eq!(ask(&binary, None, "kvm").unwrap().cpu.host_model, None);
    let asked = json!({ "type": "static", "model": { "name": "host", "props": { "migratable": false } } });
    let props = json!({ "vendor": "AuthenticAMD", "family": 23, "model": 1, "stepping": 2, "sse": true, "svm": true });
    binary.best.expansions = vec![(asked, json!({ "model": { "name": "base", "props": props } }))];
    let model = ask(&binary, None, "kvm").unwrap().cpu.host_model.unwrap();
    assert_eq!((model.model.as_str(), model.vendor.as_deref(), model.fallback), ("EPYC", Some("AMD"), false));
    assert!(model.features.iter().any(|it| it.name == "avx" && !it.required));
    assert!(!model.features.iter().any(|it| it.name == "sse"));
}

#[test]
fn words_follow_from_types_boards_and_settings() {
    let mut binary = pc();
    let bare = ask(&binary, Some("q35"), "kvm").unwrap().devices;
    assert_eq!(words(&bare, "disk", "bus"), ["fdc", "scsi", "virtio"]);
    assert_eq!(words(&bare, "panic", "model"), ["hyperv"]);
    assert!(!bare.iter().find(|it| it.name == "tpm").unwrap().supported);
    for name in ["ich9-ahci", "tpm-crb", "pvpanic"] {
        binary.types.insert(name.to_owned());
    }
    binary.replies.insert("query-tpm-types".into(), json!(["emulator"]));
    binary.schema.insert("query-display-options/!/type/^dbus".into());
    let rich = ask(&binary, None, "kvm").unwrap().devices;
    assert_eq!(words(&rich, "disk", "bus"), ["ide", "fdc", "scsi", "virtio", "sata"]);
    assert_eq!(words(&rich, "panic", "model"), ["isa", "hyperv"]);
    assert_eq!(words(&rich, "tpm", "backendModel"), ["emulator", "external"]);
    assert_eq!(words(&rich, "tpm", "backendVersion"), ["2.0"]);
    assert_eq!(words(&rich, "graphics", "type"), ["rdp", "dbus"]);
}

#[test]
fn security_hardware_is_told_as_the_binary_found_it() {
    let mut binary = pc();
    let feature = |binary: &Binary, name: &str| {
        let all = ask(binary, None, "kvm").unwrap().features;
        all.into_iter().find(|it| it.name == name)
    };
    assert!(!feature(&binary, "sgx").unwrap().supported && !feature(&binary, "launchSecurity").unwrap().supported);
    assert_eq!(feature(&binary, "hyperv"), None);
    let sections = json!([{ "node": 0, "size": 2048 }, { "node": 1, "size": 1024 }]);
    let sgx = json!({ "sgx": true, "flc": true, "sgx1": true, "sgx2": false, "section-size": 1, "sections": sections });
    binary.replies.insert("query-sgx-capabilities".into(), sgx);
    binary.replies.insert("query-sev-capabilities".into(), json!({ "cbitpos": 51, "reduced-phys-bits": 1 }));
    let sgx = feature(&binary, "sgx").unwrap();
    let size = sgx.facts.iter().find(|it| it.name == "section_size").unwrap();
    assert_eq!(size.text.as_deref(), Some("3"));
    assert_eq!(sgx.facts.last().unwrap().facts.len(), 2);
    assert_eq!(words(&[feature(&binary, "launchSecurity").unwrap()], "launchSecurity", "sectype"), ["sev"]);
    let asked = json!({ "model": { "props": { "hv-passthrough": true } } });
    let props = json!({ "hv-relaxed": true, "hv-evmcs": false, "hv-spinlocks": 0, "hv-vendor-id": "x" });
    binary.best.expansions = vec![(asked, json!({ "model": { "name": "host", "props": props } }))];
    assert_eq!(words(&[feature(&binary, "hyperv").unwrap()], "hyperv", "features"), ["relaxed", "vendor_id"]);
}

#[test]
fn arms_interrupt_controllers_are_the_kernels_or_the_emulators() {
    let mut arm = binary("aarch64", &json!([machine("virt-9.0", Some("virt"), false)]), &json!([]));
    let known = json!([{ "version": 3, "emulated": true, "kernel": true }, { "version": 2, "emulated": true, "kernel": false }]);
    arm.replies.insert("query-gic-capabilities".into(), known);
    let versions = |binary: &Binary, way| {
        let features = ask(binary, None, way).unwrap().features;
        words(&features, "gic", "version").join(" ")
    };
    assert_eq!(versions(&arm, "kvm"), "3");
    arm.emulation = Some(Abilities { accelerator: Accelerator::Tcg, ..arm.best.clone() });
    assert_eq!(versions(&arm, "qemu"), "2 3");
}
