//! `domxml`: work on definitions without touching a host.

use std::path::Path;

use polyvirt::{
    Error,
    model::{DomainConfig, FormatOptions, Guest as NewOrExisting, ParseOptions, Unknown},
};

use super::{Done, read_xml, tell_warnings};
use crate::{
    args::{DefinitionForm, DomxmlCommand, DomxmlOptions},
    failure::Failure,
    output::Output,
    session::Session,
};

pub(super) async fn domxml(command: DomxmlCommand, session: &mut Session, out: &mut Output) -> Done {
    match command {
        DomxmlCommand::Normalize(options) => normalize(&options, out),
        DomxmlCommand::ToNative { format, auto_nodeset, file } => {
            to_native(&format, auto_nodeset, &file, session, out).await
        }
        DomxmlCommand::Convert { to, file } => convert(to, &file, out),
        DomxmlCommand::Schema => {
            let schema = serde_json::to_string_pretty(&DomainConfig::json_schema()).map_err(unwritable)?;
            out.line(&schema);
            Ok(())
        }
        DomxmlCommand::Validate { files } => validate(&files, out),
    }
}

fn normalize(options: &DomxmlOptions, out: &mut Output) -> Done {
    if let Some(driver) = &options.driver {
        return Err(Failure::Usage(format!(
            "this build completes definitions without the rules of a driver only; leave --driver {driver} out"
        )));
    }
    let xml = read_xml(&options.file)?;
    let guest = if options.new { NewOrExisting::New } else { NewOrExisting::Existing };
    let read = polyvirt::read_definition(&xml, guest, &ParseOptions::default()).map_err(Error::invalid_config)?;
    tell_warnings(&read.warnings, out);
    let mut config = read.config;
    if let Some(kind) = config.os.as_mut().and_then(|os| os.r#type.as_mut()) {
        kind.arch.get_or_insert_with(|| options.arch.clone().unwrap_or_else(|| host_arch().to_owned()));
    }
    out.print(&if options.active { config.to_xml() } else { config.to_inactive_xml() });
    Ok(())
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

fn validate(files: &[std::path::PathBuf], out: &mut Output) -> Done {
    let mut wrong = false;
    let mut all = Vec::new();
    for file in files {
        let xml = read_xml(file)?;
        let mut strict = ParseOptions::default();
        strict.unknown = Unknown::Reject;
        let problems = polyvirt::read_definition(&xml, NewOrExisting::Existing, &strict).err().unwrap_or_default();
        wrong |= !problems.is_empty();
        for problem in problems.iter() {
            if out.json {
                all.push(serde_json::json!({ "file": file, "problem": problem }));
            } else {
                let place = problem
                    .line
                    .zip(problem.column)
                    .map_or_else(String::new, |(line, column)| format!("{line}:{column}: "));
                out.line(&format!("{}:{place}{}: {}", file.display(), problem.path, problem.message));
            }
        }
    }
    if out.json {
        out.json(&all);
    }
    if wrong { Err(Failure::Told(1)) } else { Ok(()) }
}
