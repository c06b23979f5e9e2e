//! What the reader sees: a line per step, failures in full, and at the end skips, failures, times and the sum.

use std::{collections::BTreeMap, time::Duration};

use crate::test::tally::Tally;

/// Sums up all steps.
#[derive(Default)]
pub(super) struct Report {
    total: Tally,
    times: Vec<(&'static str, Duration)>,
}

/// How many names of tests with one reason are shown.
const NAMES_SHOWN: usize = 8;

impl Report {
    pub(super) fn add(&mut self, step: &'static str, tally: Tally, took: Duration) {
        self.total.add(tally);
        self.times.push((step, took));
    }

    pub(super) fn is_good(&self) -> bool {
        self.total.failures.is_empty()
    }

    /// Skips with reasons, failures, times, and last the one line that counts.
    pub(super) fn print(&self) {
        print!("{}", self.text());
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if !self.total.skips.is_empty() {
            text += "\nskipped:\n";
        }
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for skip in &self.total.skips {
            by_reason.entry(&skip.reason).or_default().push(&skip.name);
        }
        for (reason, names) in by_reason {
            let more = names.len().saturating_sub(NAMES_SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            text += &format!(
                "  {}{more}: {reason}\n",
                names.iter().take(NAMES_SHOWN).copied().collect::<Vec<_>>().join(", ")
            );
        }
        if !self.total.failures.is_empty() {
            text += "\nfailed:\n";
        }
        for failure in &self.total.failures {
            text += &format!("  {}\n", failure.name);
        }
        text += "\ntimes:\n";
        for (step, took) in &self.times {
            text += &format!("  {step:<12} {:>8}\n", seconds(*took));
        }
        let sum: Duration = self.times.iter().map(|(_, took)| *took).sum();
        text += &format!("  {:<12} {:>8}\n\n", "all", seconds(sum));
        let (failed, skipped) = (self.total.failures.len(), self.total.skips.len());
        text + &format!("{} passed, {failed} failed, {skipped} skipped\n", self.total.passed)
    }
}

/// The line that stays of a step.
pub(super) fn line(step: &str, tally: &Tally, took: Duration) -> String {
    let verdict = match (tally.failures.is_empty(), tally.passed, tally.skips.is_empty()) {
        (false, ..) => "FAIL",
        (true, 0, false) => "skip",
        (true, ..) => "ok  ",
    };
    let mut text = format!("  {verdict} {step:<12} {:>8}", seconds(took));
    for (count, what) in [(tally.passed, "passed"), (tally.failures.len(), "failed"), (tally.skips.len(), "skipped")] {
        if count > 0 {
            text += &format!("  {count} {what}");
        }
    }
    for note in &tally.notes {
        text += &format!("\n         {note}");
    }
    text
}

/// Shows what failed, in full.
pub(super) fn show_failures(tally: &Tally) {
    for failure in tally.failures.iter().filter(|f| !f.output.is_empty()) {
        println!("\n---- {} ----\n{}", failure.name, failure.output.trim_end());
        println!("---- end of {} ----\n", failure.name);
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_sum_and_skips_have_their_reason() {
        let mut report = Report::default();
        report.add("a", Tally::passed(3), Duration::from_secs(1));
        report.add("b", Tally::skipped("b::x".to_owned(), "no qemu".to_owned()), Duration::from_secs(2));
        report.add("c", Tally::failed("c::y".to_owned(), "boom".to_owned()), Duration::from_secs(3));
        let text = report.text();
        assert!(text.ends_with("\n3 passed, 1 failed, 1 skipped\n"), "{text}");
        assert!(text.contains("  b::x: no qemu\n") && text.contains("  c::y\n"), "{text}");
        assert!(!report.is_good());
    }

    #[test]
    fn a_step_with_nothing_but_skips_is_called_skipped() {
        let tally = Tally::skipped("lab".to_owned(), "why".to_owned());
        assert!(line("lab", &tally, Duration::ZERO).starts_with("  skip lab"));
        assert!(line("test", &Tally::passed(1), Duration::ZERO).starts_with("  ok   test"));
    }
}
