//! `domxml`: work on definitions without touching a host.

use std::path::Path;

use polyvirt::{
    Error,
    model::{Guest as NewOrExisting, ParseOptions, Unknown},
};

use super::{Done, read_xml, tell_warnings};
use crate::{
    args::{DomxmlCommand, DomxmlOptions},
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
    let config = read.config;
    out.print(&if options.active { config.to_xml() } else { config.to_inactive_xml() });
    Ok(())
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
