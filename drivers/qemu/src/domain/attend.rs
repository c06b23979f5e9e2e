//! Watching one guest until it is gone.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use polyvirt_core::{Notice, Noticed, Signal, StateReason, StopReason};
use polyvirt_process::ExitStatus;
use polyvirt_qmp::{Cont, Event, EventError, Events, QueryBlock, SetAction, SystemReset};
use serde_json::Value;
use tokio::time::Instant;

use super::{Shared, news, pace::Pace};
use crate::command::boot::on_shutdown;

/// How long after the process' end its last events may take to be read from the socket.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// How long QEMU may take to say which device shows a block node; without an answer the node is told.
const NAMES: Duration = Duration::from_secs(1);

/// How long removing what it leaves may take.
const SWEEP: Duration = Duration::from_secs(2);

pub(super) async fn attend(shared: Arc<Shared>, mut events: Events) {
    let mut seen = Seen { own_resume: shared.parts.expect_resume, ..Seen::default() };
    let mut ended = Box::pin(shared.parts.process.wait());
    if matches!(shared.parts.process, super::Process::Found(_)) {
        tell_missing(&shared).await;
    }
    let status = loop {
        tokio::select! {
            biased;
            () = until(seen.pace.due()) => {
                for signal in seen.pace.ripe(Instant::now()) {
                    tell(&shared, signal).await;
                }
            }
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
    for signal in seen.pace.rest() {
        tell(&shared, signal).await;
    }
    let reason = seen.reason(&shared, status);
    tracing::info!(guest = shared.parts.live.config.name, reason = reason.name(), %status, "guest stopped");
    for it in &shared.parts.companions {
        it.end().await;
    }
    shared.parts.places.sweep(SWEEP).await;
    shared.parts.signals.send(Signal::Stopped(reason.clone())).await;
    shared.stopped.send_replace(Some(reason));
}

/// Tells of devices that the guest let go of while nobody attended it.
async fn tell_missing(shared: &Shared) {
    match shared.devices_missing().await {
        Ok(missing) => {
            for id in missing {
                shared.device_gone(&id).await;
                shared.parts.signals.send(Signal::DeviceRemoved(id)).await;
            }
        }
        // Asked again by whoever attends it next.
        Err(error) => tracing::debug!(%error, "whether all devices of a guest are still there is not known"),
    }
}

/// Tells a signal; a disk by its device's name, where QEMU knows its node's alone.
async fn tell(shared: &Shared, mut signal: Signal) {
    if let Signal::Noticed(Noticed { notice: Notice::DiskError { device, .. }, .. }) = &mut signal
        && let Ok(devices) = shared.parts.monitor.execute(&QueryBlock {}, NAMES).await
        && let Some(name) = news::device_of_node(&devices, device)
    {
        *device = name;
    }
    shared.parts.signals.send(signal).await;
}

/// Until that moment; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
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

#[derive(Default)]
struct Seen {
    /// The next RESUME is the start's, and no news.
    own_resume: bool,
    /// Between the two halves of a reboot: the guest's CPUs stop and run again, and nobody paused it.
    booting_again: bool,
    /// The guest panicked: QEMU stops its CPUs, and nobody paused it.
    panicked: bool,
    /// Why QEMU stops its CPUs next.
    why: Option<StateReason>,
    pace: Pace,
    end: Option<End>,
}

impl Seen {
    async fn event(&mut self, shared: &Shared, event: &Event) {
        let signals = &shared.parts.signals;
        match event.name.as_str() {
            "STOP" if self.booting_again || std::mem::take(&mut self.panicked) => {}
            "STOP" => signals.send(self.why.take().map_or(Signal::Paused, Signal::PausedBy)).await,
            "RESUME" => {
                let own = std::mem::take(&mut self.own_resume);
                self.panicked = false;
                self.why = None;
                if !std::mem::take(&mut self.booting_again) && !own {
                    signals.send(Signal::Resumed).await;
                }
            }
            "SHUTDOWN" => self.shutdown(shared, &event.data).await,
            "DEVICE_DELETED" => {
                if let Some((Signal::DeviceRemoved(id), _)) = news::read(event) {
                    shared.device_gone(&id).await;
                    signals.send(Signal::DeviceRemoved(id)).await;
                }
            }
            "JOB_STATUS_CHANGE" => {
                if let Some(id) = news::job_news(event) {
                    signals.send(Signal::BlockJob(id)).await;
                }
            }
            name => {
                self.panicked |= name == "GUEST_PANICKED";
                self.why = news::pauses(event).or(self.why);
                let read = news::read(event);
                if let Some((Signal::DeviceRefused(id), _)) = &read {
                    shared.news.send(super::devices::News::Kept(id.clone())).ok();
                }
                let told = match read {
                    Some((signal, Some(key))) => self.pace.admit(key, signal, Instant::now()),
                    Some((signal, None)) => Some(signal),
                    None => None,
                };
                if let Some(signal) = told {
                    tell(shared, signal).await;
                }
                // The guest may let go of one long after it was asked.
                if super::vcpus::removes(event)
                    && let Ok(now) = super::vcpus::present(&shared.parts.monitor, NAMES).await
                {
                    signals.send(Signal::Vcpus(now)).await;
                }
            }
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
