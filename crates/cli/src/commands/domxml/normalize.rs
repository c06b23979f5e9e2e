//! `domxml normalize`: what defining a guest would store, without a host.
//!
//! Nothing but the given files has influence.

use polyvirt::{
    Error, OfflineDriver,
    model::{
        DomainConfig, FormatOptions, Guest as NewOrExisting, ParseOptions, Positions, complete_and_check,
        imply_controllers,
    },
};

use super::{
    super::{Done, read_xml, tell_warnings},
    offline,
};
use crate::{
    args::{DefinitionOptions, EmbeddedOptions},
    failure::Failure,
    output::Output,
    session::Session,
};

pub(super) fn normalize(options: &DefinitionOptions, session: &Session, out: &mut Output) -> Done {
    let Defined { config, .. } = define(options, session, out)?;
    // The file is the user's own: what it says of secrets is no news.
    let format = FormatOptions::new().secure();
    if options.active {
        out.print(&config.to_xml_with(format));
    } else {
        let mut stored = config;
        stored.make_stored();
        out.print(&stored.to_xml_with(format.inactive()));
    }
    Ok(())
}

/// A completed definition, and the driver that completed it.
pub(super) struct Defined {
    pub(super) config: DomainConfig,
    pub(super) driver: Option<Box<dyn OfflineDriver>>,
}

/// Reads and completes the definition of the options' file.
pub(super) fn define(options: &DefinitionOptions, session: &Session, out: &mut Output) -> Result<Defined, Failure> {
    let driver = offline::driver(options, session, out)?;
    let xml = read_xml(&options.file)?;
    let parsed = DomainConfig::parse(&xml, &ParseOptions::default()).map_err(Error::invalid_config)?;
    tell_warnings(&parsed.warnings, out);
    let (mut config, positions) = (parsed.config, parsed.positions);
    if !options.active && !options.from_active {
        config.make_stored();
    }
    let guest = if options.new { NewOrExisting::New } else { NewOrExisting::Existing };
    complete(&mut config, &positions, guest, options.arch.as_deref(), driver.as_deref(), out)?;
    Ok(Defined { config, driver })
}

/// Completes and checks a definition, with what the driver adds.
fn complete(
    config: &mut DomainConfig,
    positions: &Positions,
    guest: NewOrExisting,
    arch: Option<&str>,
    driver: Option<&dyn OfflineDriver>,
    out: &mut Output,
) -> Done {
    let warnings = complete_and_check(config, guest, positions).map_err(Error::invalid_config)?;
    tell_warnings(&warnings, out);
    if let Some(kind) = config.os.as_mut().and_then(|os| os.r#type.as_mut()) {
        kind.arch.get_or_insert_with(|| arch.unwrap_or_else(|| offline::host_arch()).to_owned());
    }
    let Some(driver) = driver else {
        imply_controllers(&mut config.devices);
        return Ok(());
    };
    driver.complete(config).map_err(|problems| {
        Error::invalid_config(problems.into_iter().map(|problem| positions.locate(problem)).collect()).into()
    })
}

/// Completes a stored definition that stands in another document.
pub(in crate::commands) fn complete_stored(
    config: &mut DomainConfig,
    positions: &Positions,
    options: &EmbeddedOptions,
    session: &Session,
    out: &mut Output,
) -> Done {
    config.make_stored();
    let arch = options.arch.as_deref();
    let mut context = offline::context(arch, options.capabilities.as_deref(), &options.host, session)?;
    context.guest = NewOrExisting::Existing;
    context.keep_machine_alias = options.keep_machine_alias;
    let driver = match options.driver {
        Some(name) => offline::named(name, context, session, out)?,
        None => None,
    };
    complete(config, positions, NewOrExisting::Existing, arch, driver.as_deref(), out)
}
