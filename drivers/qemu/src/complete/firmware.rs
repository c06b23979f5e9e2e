//! `<os firmware=…>`, `<loader>` and `<nvram>`: which firmware a guest boots, and where it keeps its variables.
//!
//! What is picked is written down, so that another firmware that is installed later changes no guest. Where nothing fits the
//! definition stays as it is: it may be for another host, and a start says what is missing.
//!
//! | what | rule |
//! |---|---|
//! | a new guest | the first description that fits |
//! | one that may have run before | raw images only: that was all there was |
//! | a loader by path | its description says the rest; without one it is the user's |

use polyvirt_core::model::{
    DomainConfig, Guest, Problem, Problems,
    features::Smm,
    os::{
        FirmwareFeature, FirmwareFeatureName, FirmwareFeatures, FirmwareFormat, FirmwareKind, Loader, LoaderType,
        Nvram, Os,
    },
    security::LaunchSecurity,
    storage::SourceKind,
    tuning::PmState,
};
use polyvirt_firmware::{Descriptor, Feature, Firmwares, Format, Interface, Mapping, Wish};

use super::Given;
use crate::{config::Config, probe::Binary};

/// Code and variables where distributions had them before they described their firmware.
const BEFORE_DESCRIPTIONS: [(&str, &str); 4] = [
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
    ("/usr/share/AAVMF/AAVMF32_CODE.fd", "/usr/share/AAVMF/AAVMF32_VARS.fd"),
];

/// SEV policy: the registers are encrypted too (AMD, *SEV API*, "Guest policy").
const SEV_ES: u32 = 1 << 2;

pub(super) fn complete(config: &mut DomainConfig, given: &Given<'_>) -> Result<(), Problems> {
    let (settings, guest) = (given.settings, given.choices.guest);
    let Some(os) = &mut config.os else { return Ok(()) };
    if let Some(loader) = os.loader.as_mut().filter(|it| it.path.is_some()) {
        loader.kind.get_or_insert(LoaderType::Rom);
    }
    let by_hand = os.firmware.is_none();
    if by_hand && guest == Guest::New && os.firmware_features.as_ref().is_some_and(|it| !it.feature.is_empty()) {
        let problem = "features are those of picked firmware; add firmware='efi' to <os>, or remove <firmware>";
        return Err(Problem::error("/domain/os/firmware", problem).into());
    }
    if !by_hand || is_code_of_flash(os.loader.as_ref()) {
        let chosen = pick(config, given.binary, given.firmware, guest);
        if let Some(descriptor) = chosen {
            apply(config, descriptor, settings, guest);
            return Ok(());
        }
    }
    let name = config.name.clone();
    let Some(os) = &mut config.os else { return Ok(()) };
    let Some(loader) = &mut os.loader else { return Ok(()) };
    loader.format.get_or_insert(FirmwareFormat::Raw);
    if by_hand
        && is_code_of_flash(os.loader.as_ref())
        && os.loader.as_ref().is_some_and(|it| it.stateless != Some(true))
    {
        let path = os.loader.as_ref().and_then(|it| it.path.as_deref());
        let pair = BEFORE_DESCRIPTIONS.iter().find(|(code, _)| Some(*code) == path);
        let nvram = os.nvram.get_or_insert_default();
        if let Some((_, variables)) = pair {
            nvram.template.get_or_insert_with(|| (*variables).to_owned());
            nvram.template_format.get_or_insert(FirmwareFormat::Raw);
        }
        place_variables(nvram, &name, FirmwareFormat::Raw, "fd", settings);
    }
    Ok(())
}

/// Flash that the guest may not write and that somebody named.
fn is_code_of_flash(loader: Option<&Loader>) -> bool {
    loader.is_some_and(|it| it.kind == Some(LoaderType::Pflash) && it.readonly == Some(true) && it.path.is_some())
}

fn pick<'a>(config: &DomainConfig, binary: &Binary, installed: &'a Firmwares, guest: Guest) -> Option<&'a Descriptor> {
    let os = config.os.as_ref()?;
    let machine = crate::command::machine_name(config)?;
    let (loader, nvram) = (os.loader.as_ref(), os.nvram.as_ref());
    let mut wish = Wish::default();
    wish.architecture = &binary.arch;
    wish.machine = binary.machine(machine).map_or(machine, |it| &it.name);
    wish.interface = Some(match os.firmware {
        Some(FirmwareKind::Bios) => Interface::Bios,
        _ => Interface::Uefi,
    });
    wish.executable = loader.and_then(|it| it.path.as_deref());
    wish.template = nvram.and_then(|it| it.template.as_deref());
    wish.stateless = loader.is_some_and(|it| it.stateless == Some(true));
    wish.writable = loader.is_some_and(|it| it.readonly == Some(false));
    wish.smm = config.features.as_ref().and_then(|it| it.smm.as_ref()).and_then(|it| it.state);
    // A path says which; a format, which of those; and guests of before other formats have raw ones.
    let said = loader.and_then(|it| it.format).or(nvram.and_then(|it| it.format));
    wish.format = match said {
        Some(FirmwareFormat::Qcow2) => Some(Format::Qcow2),
        Some(_) => Some(Format::Raw),
        None if wish.executable.is_some() || guest == Guest::New => None,
        None => Some(Format::Raw),
    };
    features(config, os, &mut wish);
    installed.choose(&wish).map(|it| it.descriptor)
}

/// What the definition wants firmware to have or lack.
fn features(config: &DomainConfig, os: &Os, wish: &mut Wish<'_>) {
    for feature in os.firmware_features.iter().flat_map(|it| &it.feature) {
        let name = match feature.name {
            Some(FirmwareFeatureName::EnrolledKeys) => Feature::EnrolledKeys,
            Some(FirmwareFeatureName::SecureBoot) => Feature::SecureBoot,
            _ => continue,
        };
        if feature.enabled == Some(true) { wish.features.push(name) } else { wish.without.push(name) }
    }
    match os.loader.as_ref().and_then(|it| it.secure) {
        Some(true) => wish.features.push(Feature::RequiresSmm),
        Some(false) => wish.without.push(Feature::RequiresSmm),
        None => {}
    }
    if let Some(pm) = &config.pm {
        let on = |it: &Option<PmState>| it.as_ref().and_then(|it| it.enabled) == Some(true);
        wish.features.extend(on(&pm.suspend_to_mem).then_some(Feature::AcpiS3));
        wish.features.extend(on(&pm.suspend_to_disk).then_some(Feature::AcpiS4));
    }
    match &config.launch_security {
        Some(LaunchSecurity::Sev(sev)) => {
            let registers = sev.policy & SEV_ES != 0;
            wish.features.push(if registers { Feature::AmdSevEs } else { Feature::AmdSev });
        }
        Some(LaunchSecurity::SevSnp(_)) => wish.features.push(Feature::AmdSevSnp),
        _ => {}
    }
}

fn format_of(format: Format) -> FirmwareFormat {
    if format == Format::Qcow2 { FirmwareFormat::Qcow2 } else { FirmwareFormat::Raw }
}

fn apply(config: &mut DomainConfig, descriptor: &Descriptor, settings: &Config, guest: Guest) {
    let name = config.name.clone();
    let Some(os) = &mut config.os else { return };
    let loader = os.loader.get_or_insert_default();
    loader.path = Some(descriptor.executable().to_owned());
    let Mapping::Flash { executable, nvram_template, .. } = &descriptor.mapping else {
        loader.kind = Some(LoaderType::Rom);
        loader.format = Some(FirmwareFormat::Raw);
        return;
    };
    loader.kind = Some(LoaderType::Pflash);
    loader.readonly = Some(true);
    loader.format = Some(format_of(executable.format));
    let smm = descriptor.has(&Feature::RequiresSmm);
    if smm {
        loader.secure = Some(true);
        config.features.get_or_insert_default().smm.get_or_insert_with(Smm::default).state = Some(true);
    }
    os.firmware = Some(FirmwareKind::Efi);
    let local = os.nvram.as_ref().is_none_or(is_local);
    if let Some(template) = nvram_template {
        let format = format_of(template.format);
        let nvram = os.nvram.get_or_insert_default();
        if local {
            nvram.template.get_or_insert_with(|| template.filename.clone());
            nvram.template_format.get_or_insert(format);
        }
        let usual = if format == FirmwareFormat::Qcow2 { "qcow2" } else { "fd" };
        let extension = match guest {
            Guest::New => template.filename.rsplit_once('.').map_or(usual, |(_, extension)| extension),
            Guest::Existing => usual,
        };
        place_variables(nvram, &name, format, extension, settings);
    }
    // Whether keys are enrolled is the variables' to say, and those on a server are not the template's.
    let mut known = vec![];
    if local {
        known.push((FirmwareFeatureName::EnrolledKeys, descriptor.has(&Feature::EnrolledKeys)));
    }
    known.push((FirmwareFeatureName::SecureBoot, descriptor.has(&Feature::SecureBoot)));
    os.firmware_features = Some(known.into_iter().fold(FirmwareFeatures::default(), |features, (name, on)| {
        features.with_feature(FirmwareFeature::default().with_name(name).with_enabled(on))
    }));
}

fn is_local(nvram: &Nvram) -> bool {
    matches!(nvram.kind, None | Some(SourceKind::File))
}

/// Where a guest keeps its variables, if nothing says.
fn place_variables(nvram: &mut Nvram, name: &str, format: FirmwareFormat, extension: &str, settings: &Config) {
    nvram.format = Some(format);
    if nvram.path.is_none() && nvram.source.is_none() {
        let file = format!("{name}_VARS.{extension}");
        nvram.path = Some(settings.nvram_dir.join(file).to_string_lossy().into_owned());
    }
}
