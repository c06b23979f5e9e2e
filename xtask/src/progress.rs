//! The one line that shows what runs now: a spinner on a terminal, plain lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows one piece of work while it runs.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Which part of the work tells, if several do at once.
    part: String,
}

impl Progress {
    /// Begins to show `name`.
    pub(crate) fn begin(name: &str, about: &str) -> Self {
        // indicatif draws on standard error, and only if that is a terminal.
        let bar = ProgressBar::new_spinner();
        if bar.is_hidden() {
            println!("  ..   {name:<12} {about}");
        } else {
            if let Ok(style) = ProgressStyle::with_template("  {spinner}    {prefix:<12} {elapsed:>4}  {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(name.to_owned());
            bar.set_message(about.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self { bar, part: String::new() }
    }

    /// The same line, for one of several that work at once.
    pub(crate) fn part(&self, name: &str) -> Self {
        Self { bar: self.bar.clone(), part: format!("{name}: ") }
    }

    /// Shows what it does now.
    pub(crate) fn tell(&self, now: &str) {
        // Only what a terminal can show on one line; the text comes from other programs.
        let plain: String = now.trim().chars().filter(|c| !c.is_control()).take(200).collect();
        if !plain.is_empty() {
            self.bar.set_message(format!("{}{plain}", self.part));
        }
    }

    /// A line that stays, above the live one.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }

    /// Ends the live line; nothing stays.
    pub(crate) fn clear(self) {
        self.bar.finish_and_clear();
    }

    /// Ends the live line; `verdict` stays.
    pub(crate) fn end(self, verdict: &str) {
        self.clear();
        println!("{verdict}");
    }
}
