//! Progress of what may take longer than a second, on a terminal only.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use polyvirt::{GuestRef, JobKind, JobProgress, JobStep, Stage, StageObserver};

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

/// Shows how far a job is, from the first second on.
pub(crate) struct JobBar {
    bar: ProgressBar,
    begun: Instant,
}

/// What a bar's full length stands for.
const WHOLE: u64 = 1000;

impl JobBar {
    /// One that is shown when messages go to a terminal.
    pub(crate) fn new(terminal: bool) -> Arc<Self> {
        let bar = if terminal { ProgressBar::new(WHOLE) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3} % {msg} ({elapsed})");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Arc::new(Self { bar, begun: Instant::now() })
    }

    /// Says what is being done now.
    pub(crate) fn says(&self, doing: &'static str) {
        self.bar.set_message(doing);
        self.bar.tick();
    }

    /// Removes the line.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl StageObserver for JobBar {
    fn reached(&self, _: &GuestRef, _: Stage) -> polyvirt::Result<()> {
        Ok(())
    }

    fn step(&self, _: &GuestRef, _: JobKind, step: JobStep) -> polyvirt::Result<()> {
        if self.begun.elapsed() > SHORT {
            self.says(step.name());
        }
        Ok(())
    }

    fn progress(&self, guest: &GuestRef, kind: JobKind, progress: &JobProgress) {
        if self.begun.elapsed() > SHORT {
            self.bar.set_prefix(format!("{} {}", kind.name().to_lowercase(), guest.name));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
            self.bar.set_position((progress.share() * WHOLE as f64) as u64);
        }
    }
}
