//! Taps for a QEMU that runs: it is handed their descriptors over the monitor, each under a name, and a card's arguments refer to
//! those.
//!
//! QEMU keeps what it was handed and nobody took, whoever closes the monitor. So the names are always the same ones: whoever attends a
//! guest can have what was left closed without a note of it.

use std::time::Duration;

use polyvirt_netdev::Links;
use polyvirt_qmp::{CloseFd, GetFd, Monitor, QmpError};

use super::{Made, Taps};
use crate::command::HandedTap;

/// How long QEMU may take for a descriptor.
const ANSWER: Duration = Duration::from_secs(20);

/// What the names of descriptors begin with. No digit: that would be the number of one that it inherited.
const PREFIX: &str = "polyvirt-tap-";

fn name(position: usize) -> String {
    format!("{PREFIX}{position}")
}

/// What QEMU will know the taps' descriptors by.
pub(crate) fn named(taps: &Taps) -> Vec<HandedTap> {
    taps.handed(name)
}

/// Descriptors that QEMU has under their names, until something takes them.
#[derive(Debug)]
pub(crate) struct Handed {
    count: usize,
}

impl Handed {
    /// Hands over the descriptors of taps, and keeps none.
    ///
    /// # Errors
    /// What QEMU says; then it has none of them.
    pub(crate) async fn over(monitor: &Monitor, taps: Taps) -> Result<Self, QmpError> {
        let mut handed = Self { count: 0 };
        for descriptor in taps.descriptors() {
            let fdname = name(handed.count);
            if let Err(error) = monitor.execute_with(&GetFd { fdname: &fdname }, descriptor, ANSWER).await {
                handed.take_back(monitor).await;
                return Err(error);
            }
            handed.count += 1;
        }
        Ok(handed)
    }

    /// Has QEMU close those that nothing took.
    pub(crate) async fn take_back(self, monitor: &Monitor) {
        for position in 0..self.count {
            // Of those that a card took it knows nothing any more.
            monitor.execute(&CloseFd { fdname: &name(position) }, ANSWER).await.ok();
        }
    }
}

/// Removes taps whose descriptors QEMU may not have closed, as where it failed half-way with one.
pub(crate) async fn remove(made: Vec<Made>) {
    let removed = tokio::task::spawn_blocking(move || {
        let mut links = Links::open()?;
        made.iter().try_for_each(|it| links.remove(it.index, &it.name))
    });
    if let Ok(Err(error)) = removed.await {
        tracing::warn!(%error, "the tap of a card that could not be plugged in goes when its guest ends");
    }
}

/// Has QEMU close what a process of ours handed over that died before anything took it; says whether there was any.
///
/// # Errors
/// The monitor does not answer.
pub(crate) async fn forget(monitor: &Monitor, within: Duration) -> Result<bool, QmpError> {
    let mut found = false;
    for position in 0.. {
        match monitor.execute(&CloseFd { fdname: &name(position) }, within).await {
            Ok(_) => found = true,
            // A card that was refused may have taken the first.
            Err(QmpError::Refused { .. }) if position == 0 => {}
            Err(QmpError::Refused { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
