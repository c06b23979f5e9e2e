//! Watching one guest until it is gone.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use polyvirt_core::{Signal, StopReason};
use polyvirt_process::ExitStatus;
use polyvirt_qmp::{Cont, Event, EventError, Events, SetAction, SystemReset};
use serde_json::Value;

use super::Shared;
use crate::command::boot::on_shutdown;

/// How long after the process' end its last events may take to be read from the socket.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// How long removing what it leaves may take.
const SWEEP: Duration = Duration::from_secs(2);

pub(super) async fn attend(shared: Arc<Shared>, mut events: Events) {
    let mut seen = Seen { own_resume: shared.parts.expect_resume, booting_again: false, end: None };
    let mut ended = Box::pin(shared.parts.process.wait());
    let status = loop {
        tokio::select! {
            biased;
            event = events.next() => match event {
                Ok(event) => seen.event(&shared, &event).await,
                Err(EventError::Closed) => break (&mut ended).await,
                Err(missed) => tracing::warn!(guest = shared.parts.live.config.name, %missed, "events of a guest were lost"),
            },
            status = &mut ended => {
                let rest = async {
                    while let Ok(event) = events.next().await {
                        seen.event(&shared, &event).await;
                    }
                };
                tokio::time::timeout(LAST_EVENTS, rest).await.ok();
                break status;
            }
        }
    };
    let reason = seen.reason(&shared, status);
    tracing::info!(guest = shared.parts.live.config.name, reason = reason.name(), %status, "guest stopped");
    for it in &shared.parts.companions {
        it.end().await;
    }
    shared.parts.places.sweep(SWEEP).await;
    shared.parts.signals.send(Signal::Stopped(reason.clone())).await;
    shared.stopped.send_replace(Some(reason));
}

/// Why QEMU said that it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The guest, or a request to it.
    Guest,
    /// The guest panicked.
    Panic,
    /// Somebody on the host.
    Host,
}

struct Seen {
    /// The next RESUME is the start's, and no news.
    own_resume: bool,
    /// Between the two halves of a reboot: the guest's CPUs stop and run again, and nobody paused it.
    booting_again: bool,
    end: Option<End>,
}

impl Seen {
    async fn event(&mut self, shared: &Shared, event: &Event) {
        let signals = &shared.parts.signals;
        match event.name.as_str() {
            "STOP" if self.booting_again => {}
            "STOP" => signals.send(Signal::Paused).await,
            "RESUME" => {
                let own = std::mem::take(&mut self.own_resume);
                if !std::mem::take(&mut self.booting_again) && !own {
                    signals.send(Signal::Resumed).await;
                }
            }
            "RESET" => signals.send(Signal::Reset).await,
            "GUEST_PANICKED" | "GUEST_CRASHLOADED" => signals.send(Signal::Panicked(panic_text(&event.data))).await,
            "SHUTDOWN" => self.shutdown(shared, &event.data).await,
            _ => {}
        }
    }

    async fn shutdown(&mut self, shared: &Shared, data: &Value) {
        let end = match (data["guest"].as_bool(), data["reason"].as_str()) {
            (_, Some("guest-panic")) => End::Panic,
            (Some(true), _) => End::Guest,
            _ => End::Host,
        };
        if end == End::Guest && shared.rebooting.swap(false, Ordering::SeqCst) {
            self.booting_again = true;
            match boot_again(shared).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(guest = shared.parts.live.config.name, %error, "guest powered off and could not boot again");
                    // It would stay half off for ever.
                    shared.parts.monitor.execute(&polyvirt_qmp::Quit {}, super::ANSWER).await.ok();
                }
            }
        }
        self.end = Some(end);
        shared.parts.signals.send(Signal::ShutdownBegan).await;
    }

    fn reason(&self, shared: &Shared, status: ExitStatus) -> StopReason {
        if shared.destroyed.load(Ordering::SeqCst) {
            return StopReason::Destroyed;
        }
        match self.end {
            Some(End::Guest) => StopReason::Shutdown,
            Some(End::Panic) => StopReason::Crashed("the guest panicked".into()),
            Some(End::Host) => StopReason::Destroyed,
            None => {
                let words = shared.parts.log.last_words();
                StopReason::Crashed(if words.is_empty() {
                    format!("QEMU: {status}")
                } else {
                    format!("QEMU: {status}; {words}")
                })
            }
        }
    }
}

/// The second half of a reboot: the guest is off, QEMU waits.
async fn boot_again(shared: &Shared) -> polyvirt_core::Result<()> {
    shared.execute(&SystemReset {}).await?;
    let shutdown = Some(on_shutdown(&shared.parts.live.config));
    shared.execute(&SetAction { shutdown, ..SetAction::default() }).await?;
    shared.execute(&Cont {}).await.map(drop)
}

fn panic_text(data: &Value) -> String {
    match &data["info"] {
        Value::Null => "the guest panicked".into(),
        info => format!("the guest panicked: {}", info.to_string().chars().take(200).collect::<String>()),
    }
}
