//! `domxml`: work on definitions without touching a host.

mod diff;
mod native;
mod normalize;
pub(super) mod offline;
mod resources;
mod validate;

pub(super) use normalize::complete_stored;
pub(crate) use offline::{Recordings, host_arch};

use std::path::Path;

use polyvirt::{
    Error,
    model::{DomainConfig, FormatOptions, ParseOptions},
};

use super::{Done, read_xml, tell_warnings};
use crate::{
    args::{DefinitionForm, DomxmlCommand},
    failure::Failure,
    output::Output,
    session::Session,
};

pub(super) async fn domxml(command: DomxmlCommand, session: &mut Session, out: &mut Output) -> Done {
    match command {
        DomxmlCommand::Normalize(options) => normalize::normalize(&options, session, out),
        DomxmlCommand::Resources(options) => resources::resources(&options, session, out),
        DomxmlCommand::ToNative(args) => native::to_native(&args, session, out).await,
        DomxmlCommand::Convert { to, file } => convert(to, &file, out),
        DomxmlCommand::Schema => {
            let schema = serde_json::to_string_pretty(&DomainConfig::json_schema()).map_err(unwritable)?;
            out.line(&schema);
            Ok(())
        }
        DomxmlCommand::Diff { abi, before, after } => diff::diff(&before, &after, abi, out),
        DomxmlCommand::Validate { files } => validate::validate(&files, out),
    }
}

fn convert(to: DefinitionForm, file: &Path, out: &mut Output) -> Done {
    let text = read_xml(file)?;
    let refused = |message: String| Failure::argument(format!("{}: {message}", file.display()));
    let config = match text.trim_start().chars().next() {
        Some('<') => {
            let parsed = DomainConfig::parse(&text, &ParseOptions::default()).map_err(Error::invalid_config)?;
            tell_warnings(&parsed.warnings, out);
            parsed.config
        }
        Some('{') => serde_json::from_str(&text).map_err(|e| refused(format!("not a definition in JSON: {e}")))?,
        _ => toml::from_str(&text).map_err(|e| refused(format!("not a definition in TOML: {e}")))?,
    };
    match to {
        DefinitionForm::Xml => out.print(&config.to_xml_with(FormatOptions::new().secure())),
        DefinitionForm::Json => out.line(&serde_json::to_string_pretty(&config).map_err(unwritable)?),
        DefinitionForm::Toml => out.print(&toml::to_string(&config).map_err(unwritable)?),
    }
    Ok(())
}

fn unwritable(error: impl std::fmt::Display) -> Failure {
    Failure::Error(Error::new(polyvirt::ErrorKind::Internal, format!("cannot write this form: {error}")))
}
