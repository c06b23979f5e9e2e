//! `domxml normalize`: what defining a guest would store, without a host.
//!
//! Nothing but the given files has influence. Options whose work another part of the program has still to learn are checked for
//! what can be checked, and named in one warning.

use std::path::Path;

use polyvirt::{
    Error,
    model::{DomainConfig, Guest as NewOrExisting, ParseOptions, XmlTree, complete_and_check},
};

use super::super::{Done, read_xml, tell_warnings};
use crate::{
    args::{DefinitionOptions, DriverName},
    failure::Failure,
    output::Output,
    session::Session,
};

pub(super) fn normalize(options: &DefinitionOptions, session: &Session, out: &mut Output) -> Done {
    check_files(options)?;
    let config = definition(options, session, out)?;
    without_effect(options, out);
    out.print(&if options.active { config.to_xml() } else { config.to_inactive_xml() });
    Ok(())
}

/// Reads and completes the definition of the options' file.
fn definition(options: &DefinitionOptions, session: &Session, out: &mut Output) -> Result<DomainConfig, Failure> {
    let xml = read_xml(&options.file)?;
    let parsed = DomainConfig::parse(&xml, &ParseOptions::default()).map_err(Error::invalid_config)?;
    tell_warnings(&parsed.warnings, out);
    let (mut config, positions) = (parsed.config, parsed.positions);
    if !options.active && !options.from_active {
        config.make_stored();
    }
    let guest = if options.new { NewOrExisting::New } else { NewOrExisting::Existing };
    let warnings = complete_and_check(&mut config, guest, &positions).map_err(Error::invalid_config)?;
    tell_warnings(&warnings, out);
    if let Some(kind) = config.os.as_mut().and_then(|os| os.r#type.as_mut()) {
        kind.arch.get_or_insert_with(|| options.arch.clone().unwrap_or_else(|| host_arch().to_owned()));
    }
    if let Some(driver) = options.driver {
        match session.registry.by_name(driver.registered()).and_then(|descriptor| descriptor.offline) {
            Some(rules) => rules(&mut config).map_err(|problems| {
                Error::invalid_config(problems.into_iter().map(|problem| positions.locate(problem)).collect())
            })?,
            None => out.warning(&format!(
                "this build has no rules of the {} driver that need no host; only driver-independent ones were used",
                word(driver)
            )),
        }
    }
    Ok(config)
}

fn word(driver: DriverName) -> String {
    use clap::ValueEnum as _;
    driver.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Refuses files that cannot be what they are said to be.
fn check_files(options: &DefinitionOptions) -> Done {
    if let Some(file) = &options.capabilities {
        std::fs::File::open(file).map_err(|error| polyvirt::io_error("read", file, error))?;
    }
    if let Some(file) = &options.host_cpu {
        let refuse = |message: String| Failure::argument(format!("{}: {message}", file.display()));
        let tree = XmlTree::parse(&read_xml(file)?).map_err(|problem| refuse(problem.to_string()))?;
        if tree.name != "cpu" {
            return Err(refuse(format!("the root element is <{}>, expected <cpu>", tree.name)));
        }
    }
    if let Some(file) = &options.config {
        let text = read_xml(file)?;
        text.parse::<toml::Table>()
            .map_err(|error| Failure::argument(format!("{}: not TOML: {}", file.display(), error.message())))?;
    }
    if let Some(directory) = &options.sysroot {
        is_directory(directory)?;
    }
    Ok(())
}

fn is_directory(path: &Path) -> Done {
    let meta = std::fs::metadata(path).map_err(|error| polyvirt::io_error("read", path, error))?;
    if meta.is_dir() { Ok(()) } else { Err(Failure::argument(format!("{} is no directory", path.display()))) }
}

/// Names the options that changed nothing.
fn without_effect(options: &DefinitionOptions, out: &mut Output) {
    let given = [
        ("--capabilities", options.capabilities.is_some()),
        ("--keep-machine-alias", options.keep_machine_alias),
        ("--host-cpu", options.host_cpu.is_some()),
        ("--config", options.config.is_some()),
        ("--sysroot", options.sysroot.is_some()),
    ];
    let mut names: Vec<String> =
        given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name.to_owned()).collect();
    names.extend(options.set.iter().map(|setting| format!("--set {}={}", setting.key, setting.value)));
    if !names.is_empty() {
        out.warning(&format!("without effect in this build: {}", names.join(", ")));
    }
}

/// This machine's architecture in libvirt's words.
fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86" => "i686",
        "arm" => "armv7l",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        arch => arch,
    }
}
