//! `event`: what happens to guests, whichever process does it.

use std::time::{Duration, UNIX_EPOCH};

use polyvirt::{Event, EventKind, Notice, Noticed};
use tokio::time::Instant;

use super::Done;
use crate::{output::Output, picture::measure::clean, session::Session};

/// How often the history is looked at, and how often guests that nobody attends.
const LOOK: Duration = Duration::from_millis(200);
const LOOK_AFTER: u32 = 5;

/// Options of `event`.
pub(super) struct Options {
    pub(super) domain: Option<String>,
    pub(super) repeat: bool,
    pub(super) timeout: Option<u64>,
    pub(super) timestamp: bool,
    pub(super) history: bool,
}

pub(super) async fn event(options: Options, session: &mut Session, out: &mut Output) -> Done {
    let connection = session.connection().await?;
    let wanted = match &options.domain {
        Some(key) => Some(connection.lookup(key).await?.name().to_owned()),
        None => None,
    };
    let mut at = if options.history { 0 } else { connection.history_end() };
    let mut last = Instant::now();
    let mut round = 0_u32;
    loop {
        let (events, next) = connection.history(at).await?;
        at = next;
        for event in events.iter().filter(|e| wanted.as_ref().is_none_or(|name| *name == e.guest.name)) {
            tell(event, options.timestamp, out);
            last = Instant::now();
            if !options.repeat {
                return Ok(());
            }
        }
        out.flush()?;
        if options.timeout.is_some_and(|s| last.elapsed() >= Duration::from_secs(s)) {
            return Ok(());
        }
        if round.is_multiple_of(LOOK_AFTER) {
            connection.look_after().await?;
        }
        round = round.wrapping_add(1);
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

fn tell(event: &Event, timestamp: bool, out: &mut Output) {
    if out.json {
        // One document a line: a stream has no end to wait for.
        out.line(&serde_json::to_string(event).unwrap_or_default());
        return;
    }
    let time = event.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let stamp = if timestamp { format!("{}.{:03}: ", time.as_secs(), time.subsec_millis()) } else { String::new() };
    out.line(&format!("{stamp}event for domain '{}': {}", event.guest.name, clean(&words(&event.kind), false)));
}

/// The event in words. What guests and hypervisors wrote is in it.
fn words(kind: &EventKind) -> String {
    match kind {
        EventKind::Defined { updated: false } => "defined".to_owned(),
        EventKind::Defined { updated: true } => "defined again".to_owned(),
        EventKind::Undefined => "undefined".to_owned(),
        EventKind::Started { paused: false } => "started".to_owned(),
        EventKind::Started { paused: true } => "started, paused".to_owned(),
        EventKind::Suspended => "suspended".to_owned(),
        EventKind::Resumed => "resumed".to_owned(),
        EventKind::Shutdown => "powers off".to_owned(),
        EventKind::Rebooted => "was reset".to_owned(),
        EventKind::Panicked { message } => format!("panicked: {message}"),
        EventKind::Stopped { reason } => format!("stopped ({})", reason.name()),
        EventKind::Tuned => "tuned".to_owned(),
        EventKind::Renamed { from } => format!("was renamed from '{from}'"),
        EventKind::MetadataChanged { part } => format!("metadata {part} changed"),
        EventKind::VcpusChanged { online } => format!("has {online} vCPUs"),
        EventKind::Asleep => "fell asleep".to_owned(),
        EventKind::Woken => "woke up".to_owned(),
        EventKind::DeviceAdded { alias } => format!("device {alias} was added"),
        EventKind::DeviceUpdated { alias } => format!("device {alias} was changed"),
        EventKind::DeviceRemoved { alias } => format!("device {alias} was removed"),
        EventKind::MemoryDeviceSizeChange { alias, size } => format!("the guest uses {size} of memory device {alias}"),
        EventKind::DeviceRefused { alias } => format!("device {alias} is not let go by the guest"),
        EventKind::BlockJob { disk, job, status } => format!("{job} of disk {disk}: {status}"),
        EventKind::Noticed(Noticed { notice, merged: 0, .. }) => noticed(notice),
        EventKind::Noticed(Noticed { notice, merged, .. }) => format!("{} ({merged} more before)", noticed(notice)),
        other => format!("{other:?}"),
    }
}

fn noticed(notice: &Notice) -> String {
    match notice {
        Notice::Watchdog { action } => format!("watchdog ran out, action {action}"),
        Notice::ClockChanged { offset } => format!("clock was set, {offset:+} s since the start"),
        Notice::BalloonChanged { actual } => format!("balloon leaves {} KiB", actual.0),
        Notice::DiskError { device, operation, reason, action, .. } => {
            format!("disk {device}: {operation} failed, {reason}; action {action}")
        }
        Notice::BlockThreshold { node, threshold, exceeded } => {
            format!("block node {node} is written beyond {threshold} B by {exceeded} B")
        }
        Notice::MemoryFailure { recipient, action, .. } => {
            format!("memory of the {recipient} failed, action {action}")
        }
        Notice::TrayMoved { device, open: true } => format!("tray of {device} opened"),
        Notice::TrayMoved { device, open: false } => format!("tray of {device} closed"),
        Notice::ChannelChanged { device, connected: true } => format!("channel {device} connected"),
        Notice::ChannelChanged { device, connected: false } => format!("channel {device} disconnected"),
        Notice::CrashKernelLoaded => "crashed; its crash kernel runs".to_owned(),
        Notice::SuspendedToDisk => "suspended itself to disk".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_in_words() {
        let open = Notice::TrayMoved { device: "ide0-0-1".into(), open: true };
        let told = |merged| words(&EventKind::Noticed(Noticed::new(open.clone(), merged)));
        assert_eq!(told(0), "tray of ide0-0-1 opened");
        assert_eq!(told(7), "tray of ide0-0-1 opened (7 more before)");
        let clock = Notice::ClockChanged { offset: 3600 };
        assert_eq!(words(&EventKind::Noticed(clock.into())), "clock was set, +3600 s since the start");
        assert_eq!(words(&EventKind::DeviceRemoved { alias: "net1".into() }), "device net1 was removed");
    }
}
