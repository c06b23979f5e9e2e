//! `domxml normalize`: what defining a guest would store, without a host.
//!
//! Nothing but the given files has influence.

use polyvirt::{
    Error, OfflineDriver,
    model::{DomainConfig, FormatOptions, Guest as NewOrExisting, ParseOptions, complete_and_check, imply_controllers},
};

use super::{
    super::{Done, read_xml, tell_warnings},
    offline,
};
use crate::{args::DefinitionOptions, failure::Failure, output::Output, session::Session};

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
    let warnings = complete_and_check(&mut config, guest, &positions).map_err(Error::invalid_config)?;
    tell_warnings(&warnings, out);
    if let Some(kind) = config.os.as_mut().and_then(|os| os.r#type.as_mut()) {
        kind.arch.get_or_insert_with(|| options.arch.clone().unwrap_or_else(|| offline::host_arch().to_owned()));
    }
    if driver.is_none() {
        imply_controllers(&mut config.devices);
    }
    if let Some(driver) = &driver {
        driver.complete(&mut config).map_err(|problems| {
            Error::invalid_config(problems.into_iter().map(|problem| positions.locate(problem)).collect())
        })?;
    }
    Ok(Defined { config, driver })
}
