//! Starting, stopping and all between.

use std::time::Duration;

use polyvirt::{Destroy, Guest, Shutdown};

use super::{Done, console};
use crate::{
    args::{ShutdownMode, Start, Which},
    failure::Failure,
    output::Output,
    progress::StartProgress,
    session::Session,
};

/// How long `destroy --graceful` waits.
const GRACEFUL: Duration = Duration::from_secs(30);

pub(super) async fn start(args: Start, session: &mut Session, out: &mut Output) -> Done {
    let progress = StartProgress::new(out.err_is_terminal() && !out.quiet && !out.json);
    let connection = session.open(progress.clone().map(|p| p as _)).await?;
    let done = match args.domain {
        None => autostarted(&connection, out).await,
        Some(domain) => {
            let guest = connection.lookup(&domain).await?;
            let started = guest.start(args.paused).await;
            if let Some(progress) = &progress {
                progress.finish();
            }
            started?;
            tell(&guest, "started", out);
            if args.console { console::attach(&guest, None, out).await } else { Ok(()) }
        }
    };
    if let Some(progress) = progress {
        progress.finish();
    }
    done
}

async fn autostarted(connection: &polyvirt::Connection, out: &mut Output) -> Done {
    let mut failed = 0_usize;
    let mut report = Vec::new();
    for (name, started) in connection.autostart().await? {
        match started {
            Ok(()) => out.done(&format!("Domain '{name}' started")),
            Err(ref error) => {
                failed += 1;
                out.error_line(&format!("{name}: {error}"));
            }
        }
        report.push(serde_json::json!({ "name": name, "error": started.err().map(|e| e.to_string()) }));
    }
    if out.json {
        out.json(&report);
    }
    if failed == 0 { Ok(()) } else { Err(Failure::Told(1)) }
}

fn tell(guest: &Guest, what: &str, out: &mut Output) {
    if out.json {
        out.json(&serde_json::json!({ "name": guest.name(), "uuid": guest.uuid(), "done": what }));
    }
    out.done(&format!("Domain '{}' {what}", guest.name()));
}

pub(super) async fn shutdown(
    which: &Which,
    mode: Option<ShutdownMode>,
    session: &mut Session,
    out: &mut Output,
) -> Done {
    let guest = session.guest(&which.domain).await?;
    guest
        .shutdown(match mode {
            None => Shutdown::Default,
            Some(ShutdownMode::Acpi) => Shutdown::Acpi,
        })
        .await?;
    tell(&guest, "is being shutdown", out);
    Ok(())
}

pub(super) async fn reboot(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    guest.reboot().await?;
    tell(&guest, "is being rebooted", out);
    Ok(())
}

pub(super) async fn reset(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    guest.reset().await?;
    tell(&guest, "was reset", out);
    Ok(())
}

pub(super) async fn destroy(which: &Which, graceful: bool, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    let how = if graceful { Destroy::within(GRACEFUL).without_force() } else { Destroy::default() };
    guest.destroy(how).await?;
    tell(&guest, "destroyed", out);
    Ok(())
}

pub(super) async fn suspend(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    guest.suspend().await?;
    tell(&guest, "suspended", out);
    Ok(())
}

pub(super) async fn resume(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    guest.resume().await?;
    tell(&guest, "resumed", out);
    Ok(())
}
