//! `xml normalize`: objects other than guests, without a host.

use polyvirt::{
    Error,
    model::{DomainConfig, FormatOptions, ParseOptions, backup::DomainBackup},
};

use super::{Done, read_xml, tell_warnings};
use crate::{
    args::{XmlCommand, XmlOptions},
    failure::Failure,
    output::Output,
};

/// What this build knows.
const KINDS: [&str; 1] = ["backup"];

pub(super) fn xml(command: &XmlCommand, out: &mut Output) -> Done {
    let XmlCommand::Normalize(options) = command;
    match options.kind.as_str() {
        "backup" => backup(options, out),
        other => Err(Failure::Usage(format!(
            "this build does not know XML of kind '{other}'; it knows {}",
            KINDS.join(", ")
        ))),
    }
}

fn backup(options: &XmlOptions, out: &mut Output) -> Done {
    let (Some(domain), Some(suffix)) = (&options.domain, &options.suffix) else {
        let message = "a backup is completed for the disks of a guest: give --domain FILE and --suffix TEXT";
        return Err(Failure::Usage(message.to_owned()));
    };
    if suffix.is_empty() || suffix.contains(['/', '\0']) {
        return Err(Failure::argument(format!("the suffix '{suffix}' is no end of a file name")));
    }
    let domain = DomainConfig::parse(&read_xml(domain)?, &ParseOptions::default()).map_err(Error::invalid_config)?;
    let parsed = DomainBackup::from_xml(&read_xml(&options.file)?, &ParseOptions::default());
    let parsed = parsed.map_err(Error::invalid_config)?;
    tell_warnings(&parsed.warnings, out);
    let mut backup = parsed.config;
    if !options.internal {
        backup.make_stored();
    }
    backup.complete(&domain.config, suffix, &parsed.positions).map_err(Error::invalid_config)?;
    out.print(&backup.to_xml_with(FormatOptions::new()));
    Ok(())
}
