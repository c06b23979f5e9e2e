//! `explain`: what a start would do and why.

use polyvirt::{Explanation, placement::NodeSet};

use super::{Done, read_xml};
use crate::{failure::Failure, output::Output, render, session::Session};

pub(super) async fn explain(what: &str, advice: Option<&str>, session: &mut Session, out: &mut Output) -> Done {
    let connection = session.connection().await?;
    let file = std::path::Path::new(what);
    let xml = if file.is_file() {
        read_xml(file)?
    } else {
        match connection.lookup(what).await {
            Ok(guest) => guest.xml(polyvirt::Which::Stored).await?,
            Err(error) if error.kind() == polyvirt::ErrorKind::NotFound => {
                return Err(Failure::Error(error.with("file", "there is no such file either")));
            }
            Err(error) => return Err(error.into()),
        }
    };
    let advice: Option<NodeSet> = match advice {
        Some(text) => Some(text.parse().map_err(|e: polyvirt::placement::SetError| Failure::argument(e.to_string()))?),
        None => None,
    };
    let explanation = connection.explain(&xml, advice).await?;
    if out.json {
        as_json(&explanation, out)
    } else {
        as_text(&explanation, out)
    }
    // What a start would be refused for is the answer here; the exit status says that it would be.
    let plan = explanation.plan.as_ref().and_then(|plan| plan.as_ref().err());
    let Some(refusal) = plan.or(explanation.manifest.as_ref().err()) else { return Ok(()) };
    if !out.json {
        out.error_line(&format!("a start would be refused: {refusal}"));
    }
    Err(Failure::Told(1))
}

fn as_json(explanation: &Explanation, out: &mut Output) {
    let tell = |error: &polyvirt::Error| serde_json::json!({ "error": { "kind": error.kind().name(), "message": error.to_string(), "remedy": error.remedy() } });
    let plan = explanation.plan.as_ref().map(|p| match p {
        Ok(plan) => serde_json::to_value(plan).unwrap_or_default(),
        Err(error) => tell(error),
    });
    let manifest = match &explanation.manifest {
        Ok(manifest) => serde_json::to_value(manifest).unwrap_or_default(),
        Err(error) => tell(error),
    };
    let native = explanation.native.as_ref().map(|(format, text)| {
        serde_json::json!({ "format": format, "text": text.as_ref().ok(), "error": text.as_ref().err().map(ToString::to_string) })
    });
    out.json(&serde_json::json!({
        "definition": explanation.config.to_xml(), "warnings": explanation.warnings, "plan": plan, "manifest": manifest, "native": native,
    }));
}

fn as_text(explanation: &Explanation, out: &mut Output) {
    out.line("Definition, completed:");
    out.line(explanation.config.to_xml().trim_end());
    out.line("");
    match &explanation.plan {
        None => out.line("Placement: left to the hypervisor"),
        Some(Ok(plan)) => out.print(&render::plan::text(plan)),
        Some(Err(error)) => tell(error, "Placement: refused", out),
    }
    out.line("");
    match &explanation.manifest {
        Ok(manifest) if manifest.resources.is_empty() => {}
        Ok(manifest) => {
            out.line("Touches:");
            for resource in &manifest.resources {
                let access = if resource.writable { "read and write" } else { "read" };
                let there = if !resource.must_exist || resource.path.exists() { "" } else { "  MISSING" };
                out.line(&format!("  {} ({access}){there}", resource.path.display()));
            }
            out.line("");
        }
        Err(error) => tell(error, "Files: refused", out),
    }
    match &explanation.native {
        None => {}
        Some((format, Ok(text))) => {
            out.line(&format!("{format}:"));
            out.line(text);
        }
        Some((format, Err(error))) => tell(error, format, out),
    }
    for warning in explanation.warnings.iter() {
        out.warning(&warning.to_string());
    }
}

fn tell(error: &polyvirt::Error, what: &str, out: &mut Output) {
    out.line(&format!("{what}: {error}"));
    if let Some(remedy) = error.remedy() {
        out.line(&format!("  try: {remedy}"));
    }
}
