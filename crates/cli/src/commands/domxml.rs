//! `domxml`: work on definitions without touching a host.

mod normalize;
mod validate;

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
        DomxmlCommand::ToNative { format, auto_nodeset, file } => {
            to_native(&format, auto_nodeset, &file, session, out).await
        }
        DomxmlCommand::Convert { to, file } => convert(to, &file, out),
        DomxmlCommand::Schema => {
            let schema = serde_json::to_string_pretty(&DomainConfig::json_schema()).map_err(unwritable)?;
            out.line(&schema);
            Ok(())
        }
        DomxmlCommand::Validate { files } => validate::validate(&files, out),
    }
}

async fn to_native(format: &str, advice: Option<String>, file: &Path, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(file)?;
    let advice = match advice {
        Some(text) => Some(text.parse().map_err(|e: polyvirt::placement::SetError| Failure::argument(e.to_string()))?),
        None => None,
    };
    let native = session.connection().await?.to_native(&xml, format, advice).await.map_err(|e| match e.kind() {
        polyvirt::ErrorKind::InvalidArgument | polyvirt::ErrorKind::Unsupported if e.message().contains("driver") => {
            Failure::Usage(e.to_string())
        }
        _ => Failure::Error(e),
    })?;
    out.line(&native);
    Ok(())
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
