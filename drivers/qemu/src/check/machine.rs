//! What a machine, its CPU and its firmware can be told.

use polyvirt_core::model::{
    DomainConfig, DomainKind, Problem,
    clock::TimerName,
    cpu::{CpuCacheMode, CpuFeature, FeaturePolicy},
    os::{FirmwareFeatureName, FirmwareKind, LoaderType},
};

use crate::{
    machine::Family,
    probe::{Accelerator, Binary},
};

pub(super) fn rules(config: &DomainConfig, binary: &Binary, found: &mut Vec<Problem>) {
    let family = Family::of_config(config);
    accelerator(config, binary, found);
    features(config, family, binary, found);
    firmware(config, family, found);
    timers(config, family, found);
    cpu(config, found);
}

fn accelerator(config: &DomainConfig, binary: &Binary, found: &mut Vec<Problem>) {
    let there = match config.kind {
        DomainKind::Kvm => binary.kvm,
        DomainKind::Hvf => binary.best.accelerator == Accelerator::Hvf,
        _ => true,
    };
    if !there && !binary.assumed {
        let program = binary.path.display();
        let problem = format!("{program} was built without '{}'; use type='qemu' or another QEMU", config.kind);
        found.push(Problem::error("/domain/@type", problem));
    }
}

fn features(config: &DomainConfig, family: Family, binary: &Binary, found: &mut Vec<Problem>) {
    let Some(features) = &config.features else { return };
    let mut refuse =
        |path: &str, problem: String| found.push(Problem::error(format!("/domain/features/{path}"), problem));
    let pseries = [
        ("hpt", features.hpt.is_some()),
        ("htm", features.htm.is_some()),
        ("nested-hv", features.nested_hv.is_some()),
        ("ccf-assist", features.ccf_assist.is_some()),
        ("cfpc", features.cfpc.is_some()),
        ("sbbc", features.sbbc.is_some()),
        ("ibs", features.ibs.is_some()),
    ];
    for (name, _) in pseries.into_iter().filter(|(_, given)| *given && family != Family::Pseries) {
        refuse(name, format!("'{name}' is of pseries machines, remove it"));
    }
    if features.gic.is_some() && family != Family::ArmVirt {
        refuse("gic", "a GIC is chosen on ARM's virt machines, remove it".to_owned());
    }
    if let Some(tseg) = features.smm.as_ref().and_then(|it| it.tseg) {
        if family != Family::Q35 {
            refuse("smm/tseg", "only q35 machines take a size of TSEG, remove it".to_owned());
        } else if !tseg.0.is_multiple_of(1024) {
            refuse("smm/tseg", format!("{} KiB are no whole number of MiB", tseg.0));
        }
    }
    if features.ps2.is_some() && !binary.has_property("generic-pc-machine", "i8042") {
        let problem = format!("{} cannot leave PS/2 out, remove it", binary.path.display());
        refuse("ps2", problem);
    }
    let teardown = features.async_teardown.as_ref().and_then(|it| it.enabled);
    if teardown.is_some() && !binary.has_option("run-with", "async-teardown") {
        let problem = format!("{} cannot tear guests down in the background, remove it", binary.path.display());
        refuse("async-teardown", problem);
    }
    if features.acpi && family == Family::ArmBoard {
        refuse("acpi", "this machine has no ACPI, remove it".to_owned());
    }
}

fn firmware(config: &DomainConfig, family: Family, found: &mut Vec<Problem>) {
    let Some(os) = &config.os else { return };
    let acpi = config.features.as_ref().is_some_and(|it| it.acpi);
    let flash = os.loader.as_ref().is_some_and(|it| it.kind == Some(LoaderType::Pflash));
    let mut refuse = |path: &str, problem: &str| found.push(Problem::error(format!("/domain/os/{path}"), problem));
    let uefi = flash || os.firmware == Some(FirmwareKind::Efi);
    if uefi && !acpi && family.is_x86() {
        refuse("loader", "UEFI needs ACPI on this architecture; add <acpi/> to <features>");
    }
    let arch = os.r#type.as_ref().and_then(|it| it.arch.as_deref());
    if acpi && !uefi && family == Family::ArmVirt && arch == Some("aarch64") {
        refuse("type", "ACPI needs UEFI on this architecture; add firmware='efi' to <os>, or remove <acpi/>");
    }
    if let Some(loader) = &os.loader {
        let rom = loader.kind == Some(LoaderType::Rom) || os.firmware == Some(FirmwareKind::Bios);
        if rom && loader.stateless == Some(false) {
            refuse("loader/@stateless", "a BIOS keeps no variables; remove stateless='no'");
        }
        if os.firmware.is_none() && loader.path.as_ref().is_none_or(String::is_empty) {
            refuse("loader", "which firmware? Name its file, or add firmware='efi' to <os>");
        }
    }
    if os.firmware == Some(FirmwareKind::Bios) && os.nvram.is_some() {
        refuse("nvram", "a BIOS keeps no variables, remove <nvram>");
    }
    let says = |name, enabled| {
        let mut all = os.firmware_features.iter().flat_map(|it| &it.feature);
        all.any(|it| it.name == Some(name) && it.enabled == Some(enabled))
    };
    if says(FirmwareFeatureName::EnrolledKeys, true) && says(FirmwareFeatureName::SecureBoot, false) {
        refuse("firmware", "enrolled keys are those of secure boot; enable 'secure-boot' too");
    }
}

fn timers(config: &DomainConfig, family: Family, found: &mut Vec<Problem>) {
    for (at, timer) in config.clock.iter().flat_map(|it| &it.timer).enumerate() {
        let Some(name) = timer.name else { continue };
        let fits = match name {
            TimerName::Tsc | TimerName::Kvmclock | TimerName::Hypervclock => family.is_x86() || family == Family::Other,
            TimerName::Pit | TimerName::Hpet => {
                family.is_x86() || family == Family::Other || timer.present == Some(false)
            }
            TimerName::Armvtimer => matches!(family, Family::ArmVirt | Family::ArmBoard),
            TimerName::Platform => false,
            _ => true,
        };
        if !fits {
            let path = format!("/domain/clock/timer[{}]/@name", at + 1);
            found.push(Problem::error(path, format!("this machine has no timer '{name}', remove it")));
        }
    }
}

fn cpu(config: &DomainConfig, found: &mut Vec<Problem>) {
    let Some(cpu) = &config.cpu else { return };
    if let Some(cache) = &cpu.cache {
        let wrong = match (cache.mode, cache.level) {
            (Some(CpuCacheMode::Emulate), Some(level)) if level != 3 => Some("emulated caches are those of level 3"),
            (Some(CpuCacheMode::Passthrough), Some(_)) => {
                Some("caches are passed through on all levels; remove level=")
            }
            (Some(CpuCacheMode::Disable), Some(_)) => Some("caches are disabled on all levels; remove level="),
            _ => None,
        };
        found.extend(wrong.map(|problem| Problem::error("/domain/cpu/cache/@level", problem)));
    }
    // Lengths of SVE's vectors are features named after their bits.
    let is_length = |name: &str| name.strip_prefix("sve").is_some_and(|it| it.parse::<u32>().is_ok());
    let disabled = |it: &CpuFeature| it.policy == Some(FeaturePolicy::Disable);
    let without = cpu.feature.iter().any(|it| it.name == "sve" && disabled(it));
    if let Some(length) = cpu.feature.iter().find(|it| without && is_length(&it.name) && !disabled(it)) {
        let problem = format!("'{}' is a length of vectors, and 'sve' is disabled", length.name);
        found.push(Problem::error("/domain/cpu/feature", problem));
    }
}
