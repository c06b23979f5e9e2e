//! Starting, stopping and all between.

use std::time::Duration;

use polyvirt::{Destroy, Error, ErrorKind, EventKind, Guest, Ownership, Shutdown, SleepTarget, StartOptions};

use super::{Done, console};
use crate::{
    args::{ShutdownMode, SleepArgs, SleepTo, Start, Which},
    failure::Failure,
    output::Output,
    progress::StartProgress,
    session::Session,
};

/// How long `reboot` waits for the guest to power off.
const REBOOT: Duration = Duration::from_secs(120);
/// How long `destroy --graceful` waits.
const GRACEFUL: Duration = Duration::from_secs(30);

pub(super) async fn start(args: Start, session: &mut Session, out: &mut Output) -> Done {
    let progress = StartProgress::new(out.err_is_terminal() && !out.quiet && !out.json);
    let connection = session.open(progress.clone().map(|p| p as _)).await?;
    let done = match args.domain {
        None => autostarted(&connection, out).await,
        Some(domain) => {
            let guest = connection.lookup(&domain).await?;
            let options =
                StartOptions::new().paused(args.paused).force_boot(args.force_boot).bypass_cache(args.bypass_cache);
            let started = guest.start_with(options).await;
            if let Some(progress) = &progress {
                progress.finish();
            }
            started?;
            tell(&guest, "started", out);
            warn_weakened(&guest, out).await?;
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

/// Tells what of the plan could not be had on this host.
pub(super) async fn warn_weakened(guest: &Guest, out: &mut Output) -> Done {
    for weak in guest.view().await?.plan.iter().flat_map(|plan| &plan.weakened) {
        out.warning(&weak.to_string());
    }
    Ok(())
}

pub(super) fn tell(guest: &Guest, what: &str, out: &mut Output) {
    if out.json {
        out.json(&serde_json::json!({ "name": guest.name(), "uuid": guest.uuid(), "done": what }));
    }
    out.done(&format!("Domain '{}' {what}", guest.name()));
}

/// The ways that were named, or the usual one.
fn ways(modes: &[ShutdownMode]) -> Vec<Shutdown> {
    if modes.is_empty() {
        return vec![Shutdown::Default];
    }
    let way = |mode: &ShutdownMode| match mode {
        ShutdownMode::Acpi => Shutdown::Acpi,
        ShutdownMode::Agent => Shutdown::Agent,
    };
    modes.iter().map(way).collect()
}

/// Tries one way after the other; if none works, what the last one said.
async fn first_that_works<F: Future<Output = polyvirt::Result<()>>>(
    modes: &[ShutdownMode],
    out: &mut Output,
    ask: impl Fn(Shutdown) -> F,
) -> Done {
    let ways = ways(modes);
    for (at, how) in ways.iter().enumerate() {
        match ask(*how).await {
            Err(error) if at + 1 < ways.len() => out.warning(&error.to_string()),
            done => return Ok(done?),
        }
    }
    Ok(())
}

pub(super) async fn shutdown(which: &Which, modes: &[ShutdownMode], session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    first_that_works(modes, out, |how| guest.shutdown(how)).await?;
    tell(&guest, "is being shutdown", out);
    Ok(())
}

pub(super) async fn sleep(args: &SleepArgs, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&args.which.domain).await?;
    let to = match args.target {
        SleepTo::Mem => SleepTarget::Memory,
        SleepTo::Disk => SleepTarget::Disk,
        SleepTo::Hybrid => SleepTarget::Hybrid,
    };
    guest.sleep(to).await?;
    tell(&guest, "successfully suspended", out);
    Ok(())
}

/// A reboot takes two steps, and without a daemon this process must be there for the second: the guest powers off when it likes,
/// and is then reset.
pub(super) async fn reboot(which: &Which, modes: &[ShutdownMode], session: &mut Session, out: &mut Output) -> Done {
    let connection = session.open_with(None, Ownership::WhileRunning).await?;
    let guest = connection.lookup(&which.domain).await?;
    let mut events = connection.events();
    first_that_works(modes, out, |how| guest.reboot(how)).await?;
    out.done(&format!("Domain '{}' is being rebooted", guest.name()));
    out.flush()?;
    let rebooted = async {
        loop {
            match events.recv().await.map(|event| event.kind) {
                Ok(EventKind::Rebooted) => return Ok(()),
                Ok(EventKind::Stopped { reason }) => return Err(format!("it stopped instead ({})", reason.name())),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    let ended = tokio::select! {
        ended = tokio::time::timeout(REBOOT, rebooted) => ended.unwrap_or_else(|_| Err(format!("it did not power off within {} s", REBOOT.as_secs()))),
        _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
    };
    match ended {
        Ok(()) => {
            tell(&guest, "rebooted", out);
            Ok(())
        }
        Err(why) => Err(Failure::Error(
            Error::new(ErrorKind::Timeout, format!("the guest '{}' was asked to reboot, but {why}", guest.name()))
                .hint(format!(
                    "it may not listen to its power button; `polyvirt reset {}` does not ask it",
                    guest.name()
                )),
        )),
    }
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

pub(super) async fn wake(which: &Which, session: &mut Session, out: &mut Output) -> Done {
    let guest = session.guest(&which.domain).await?;
    guest.wake().await?;
    tell(&guest, "successfully woken up", out);
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
