//! Definitions: stored, removed, marked.

use std::path::Path;

use super::{Done, console, read_xml, tell_warnings};
use crate::{args::Which, output::Output, progress::StartProgress, session::Session};

pub(super) async fn define(file: &Path, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(file)?;
    let defined = session.connection().await?.define(&xml).await?;
    tell_warnings(&defined.warnings, out);
    if out.json {
        out.json(&serde_json::json!({
            "name": defined.guest.name(), "uuid": defined.guest.uuid(), "updated": defined.updated, "warnings": defined.warnings,
        }));
    }
    out.done(&format!("Domain '{}' defined from {}", defined.guest.name(), file.display()));
    Ok(())
}

pub(super) async fn create(file: &Path, paused: bool, attach: bool, session: &mut Session, out: &mut Output) -> Done {
    let xml = read_xml(file)?;
    let progress = StartProgress::new(out.err_is_terminal() && !out.quiet && !out.json);
    let connection = session.open(progress.clone().map(|p| p as _)).await?;
    let created = connection.create(&xml, paused).await;
    if let Some(progress) = progress {
        progress.finish();
    }
    let created = created?;
    tell_warnings(&created.warnings, out);
    if out.json {
        out.json(&serde_json::json!({ "name": created.guest.name(), "uuid": created.guest.uuid(), "warnings": created.warnings }));
    }
    out.done(&format!("Domain '{}' created from {}", created.guest.name(), file.display()));
    super::life::warn_weakened(&created.guest, out).await?;
    if attach { console::attach(&created.guest, None, out).await } else { Ok(()) }
}

pub(super) async fn undefine(
    which: &Which,
    managed_save: bool,
    snapshots: bool,
    session: &mut Session,
    out: &mut Output,
) -> Done {
    // A broken definition can be removed too, so this takes the name as it is when nothing else fits.
    let guest = match session.guest(&which.domain).await {
        Ok(guest) => guest,
        Err(crate::failure::Failure::Error(error)) if error.kind() == polyvirt::ErrorKind::InvalidConfig => {
            session.connection().await?.broken(&which.domain)
        }
        Err(other) => return Err(other),
    };
    if managed_save && guest.has_managed_save().await? {
        guest.remove_managed_save().await?;
    }
    if snapshots {
        guest.forget_snapshots().await?;
    }
    guest.undefine().await?;
    if out.json {
        out.json(&serde_json::json!({ "name": guest.name() }));
    }
    out.done(&format!("Domain '{}' has been undefined", guest.name()));
    Ok(())
}

pub(super) async fn autostart(which: &Which, on: bool, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    guest.set_autostart(on).await?;
    if out.json {
        out.json(&serde_json::json!({ "name": guest.name(), "autostart": on }));
    }
    out.done(&format!("Domain '{}' {} as autostarted", guest.name(), if on { "marked" } else { "unmarked" }));
    Ok(())
}
