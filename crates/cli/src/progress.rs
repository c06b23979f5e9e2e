//! Progress of what may take longer than a second, on a terminal only.

use std::{sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use polyvirt::{GuestRef, Stage, StageObserver};

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
            tokio::time::sleep(Duration::from_secs(1)).await;
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
