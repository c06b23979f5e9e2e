//! Firmware: flash that the board maps, or a ROM.

use std::path::PathBuf;

use polyvirt_core::{
    Result,
    model::{
        DomainConfig,
        os::{FirmwareFormat, LoaderType},
        storage::{ImageFormat, Source, SourceKind},
    },
};

use super::{
    Args, Folders, Input,
    storage::{Below, Drive, Layer},
};

/// Properties of the machine: code and variables.
const FLASH: [&str; 2] = ["pflash0", "pflash1"];

/// Where the firmware keeps its variables, if it has a place for them on this host.
pub(crate) fn variables(config: &DomainConfig, folders: &Folders) -> Option<PathBuf> {
    let nvram = config.os.as_ref()?.nvram.as_ref()?;
    if let Some(source) = &nvram.source {
        return source.file.as_deref().map(PathBuf::from);
    }
    Some(nvram.path.as_ref().map_or_else(|| folders.nvram.join(format!("{}_VARS.fd", config.name)), PathBuf::from))
}

/// Sources of the flash chips, which their layers borrow.
fn sources(input: &Input<'_>) -> Vec<(SourceKind, Source, Option<FirmwareFormat>, bool)> {
    let Some(os) = input.config.os.as_ref() else { return Vec::new() };
    let Some(loader) = os.loader.as_ref().filter(|it| it.kind == Some(LoaderType::Pflash)) else { return Vec::new() };
    let file = |path: &str| {
        let mut source = Source::default();
        source.file = Some(path.to_owned());
        source
    };
    let Some(path) = &loader.path else { return Vec::new() };
    let mut chips = vec![(SourceKind::File, file(path), loader.format, loader.readonly == Some(true))];
    if let Some(nvram) = &os.nvram {
        let (kind, source) = match &nvram.source {
            Some(source) => (nvram.kind.unwrap_or(SourceKind::File), source.clone()),
            None => {
                let path = variables(input.config, input.folders).unwrap_or_default();
                (SourceKind::File, file(&path.to_string_lossy()))
            }
        };
        chips.push((kind, source, nvram.format, false));
    }
    chips
}

fn layer<'a>(at: usize, chip: &'a (SourceKind, Source, Option<FirmwareFormat>, bool)) -> Layer<'a> {
    let (kind, source, format, readonly) = chip;
    let format = match format {
        Some(FirmwareFormat::Qcow2) => ImageFormat::Qcow2,
        _ => ImageFormat::Raw,
    };
    Layer {
        kind: *kind,
        source,
        format,
        name: format!("libvirt-{}", FLASH[at]),
        readonly: *readonly,
        path: if at == 0 { "/domain/os/loader".into() } else { "/domain/os/nvram".into() },
        encryption: source.encryption.as_ref(),
        auth: source.auth.as_ref(),
        metadata_cache: None,
        drive: Drive::default(),
        with_format: at == 0,
    }
}

/// The flash chips as properties of the machine: name, block node.
pub(super) fn flash(input: &Input<'_>) -> Result<Vec<(&'static str, String)>> {
    let chips = sources(input);
    Ok(chips.iter().enumerate().map(|(at, chip)| (FLASH[at], layer(at, chip).top(input))).collect())
}

pub(super) fn firmware(args: &mut Args, input: &Input<'_>) -> Result<()> {
    for (at, chip) in sources(input).iter().enumerate() {
        layer(at, chip).nodes(args, input, &Below::Nothing, None)?;
    }
    let loader = input.config.os.as_ref().and_then(|it| it.loader.as_ref());
    if loader.is_some_and(|it| it.kind == Some(LoaderType::Pflash) && it.secure == Some(true)) {
        // Only code in system management mode may write the variables.
        args.add("-global", "driver=cfi.pflash01,property=secure,value=on");
    }
    if let Some(path) = loader.filter(|it| it.kind != Some(LoaderType::Pflash)).and_then(|it| it.path.as_ref()) {
        args.add("-bios", path);
    }
    Ok(())
}
