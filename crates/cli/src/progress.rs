//! Progress of what may take longer than a second, on a terminal only.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use polyvirt::{GuestRef, Stage, StageObserver};

/// How long nothing is shown.
const SHORT: Duration = Duration::from_secs(1);

/// Counts things that are done one after another, from the first second on.
pub(crate) struct Counted {
    bar: ProgressBar,
    begun: Instant,
}

impl Counted {
    /// Of so many; shows nothing when messages go to no terminal.
    pub(crate) fn new(terminal: bool, all: usize) -> Self {
        let bar = if terminal { ProgressBar::new(all as u64) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{msg}: {pos} of {len}, {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, begun: Instant::now() }
    }

    /// So many are done.
    pub(crate) fn reached(&self, doing: &'static str, done: usize) {
        if self.begun.elapsed() > SHORT {
            self.bar.set_message(doing);
            self.bar.set_position(done as u64);
        }
    }

    /// Removes the line.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Shows the stage a start is at, from the first second on.
pub(crate) struct StartProgress {
    bar: ProgressBar,
}

impl StartProgress {
    /// A progress line, or none when messages go to no terminal.
    pub(crate) fn new(terminal: bool) -> Option<Arc<Self>> {
        if !terminal {
            return None;
        }
        let bar = ProgressBar::new(u64::try_from(Stage::ALL.len()).unwrap_or(1));
        let style = ProgressStyle::with_template("{spinner} starting {prefix}: {msg} ({pos} of {len}, {elapsed})")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        bar.set_style(style);
        let ticking = bar.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SHORT).await;
            if !ticking.is_finished() {
                ticking.enable_steady_tick(Duration::from_millis(120));
            }
        });
        Some(Arc::new(Self { bar }))
    }

    /// Removes the line.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl StageObserver for StartProgress {
    fn reached(&self, guest: &GuestRef, stage: Stage) -> polyvirt::Result<()> {
        self.bar.set_prefix(guest.name.clone());
        self.bar.set_message(stage.name());
        self.bar.inc(1);
        Ok(())
    }
}
