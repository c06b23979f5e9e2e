//! `explain`: what a start would do and why.

use polyvirt::{Access, Explanation, placement::NodeSet};

use super::{Done, read_xml};
use crate::{
    failure::Failure,
    output::Output,
    picture::{Picture, terminal},
    render,
    session::Session,
};

pub(super) async fn explain(what: &str, advice: Option<&str>, session: &mut Session, out: &mut Output) -> Done {
    let xml = definition(what, session).await?;
    let advice = self::advice(advice)?;
    let connection = session.connection().await?;
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

/// The definition in a file, or that of a guest.
pub(super) async fn definition(what: &str, session: &mut Session) -> Result<String, Failure> {
    let file = std::path::Path::new(what);
    if file.is_file() {
        return read_xml(file);
    }
    match session.connection().await?.lookup(what).await {
        Ok(guest) => match guest.xml(polyvirt::Which::Stored).await {
            // A transient guest has only the one that runs.
            Err(error) if error.kind() == polyvirt::ErrorKind::NotFound => {
                Ok(guest.xml(polyvirt::Which::Current).await?)
            }
            stored => Ok(stored?),
        },
        Err(error) if error.kind() == polyvirt::ErrorKind::NotFound => {
            Err(Failure::Error(error.with("file", "there is no such file either")))
        }
        Err(error) => Err(error.into()),
    }
}

/// `--auto-nodeset`.
pub(super) fn advice(text: Option<&str>) -> Result<Option<NodeSet>, Failure> {
    text.map(|text| text.parse().map_err(|e: polyvirt::placement::SetError| Failure::argument(e.to_string())))
        .transpose()
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
        Some(Ok(plan)) => {
            out.print(&render::plan::text(plan));
            out.line("");
            let table = Picture { grids: render::plan::candidates(&plan.trace), ..Picture::default() };
            out.print(&terminal::render(&table, out.style()));
        }
        Some(Err(error)) => tell(error, "Placement: refused", out),
    }
    out.line("");
    match &explanation.manifest {
        Ok(manifest) if manifest.resources.is_empty() => {}
        Ok(manifest) => {
            out.line("Touches:");
            for resource in &manifest.resources {
                let access = match resource.access {
                    Access::Write => "read and write",
                    Access::Execute => "execute",
                    _ => "read",
                };
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
