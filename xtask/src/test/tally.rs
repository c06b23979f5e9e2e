//! What came of tests and steps.

/// A test or step that failed.
pub(crate) struct Failure {
    pub(crate) name: String,
    /// What it wrote; empty if that was shown with another one.
    pub(crate) output: String,
}

/// A test or step that did not run, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// Counts, with names and reasons for all that did not pass.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failures: Vec<Failure>,
    pub(crate) skips: Vec<Skip>,
    /// For the reader; counts nothing.
    pub(crate) notes: Vec<String>,
}

impl Tally {
    pub(crate) fn passed(count: usize) -> Self {
        Self { passed: count, ..Self::default() }
    }

    pub(crate) fn failed(name: String, output: String) -> Self {
        Self { failures: vec![Failure { name, output }], ..Self::default() }
    }

    pub(crate) fn skipped(name: String, reason: String) -> Self {
        Self { skips: vec![Skip { name, reason }], ..Self::default() }
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
        self.skips.extend(other.skips);
        self.notes.extend(other.notes);
    }
}
