//! Why a command failed, and how that is told.

use std::io;

use polyvirt::{Error, ErrorKind};

use crate::output::Output;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Refused or failed: exit status 1.
    Error(Error),
    /// The command line is wrong, or names what this build does not have: exit status 2.
    Usage(String),
    /// Told already; only the exit status is left.
    Told(u8),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // A reader that has seen enough (`polyvirt list | head`) is no failure to report.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Told(0);
        }
        Self::Error(Error::new(ErrorKind::Internal, format!("cannot write the answer: {error}")))
    }
}

impl Failure {
    /// Refuses an argument.
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::Error(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// Tells it and gives the exit status. The first line of stderr is the reason.
    pub(crate) fn report(self, out: &mut Output) -> u8 {
        let status = match self {
            Self::Told(status) => status,
            Self::Usage(message) => {
                out.error_line(&message);
                2
            }
            Self::Error(error) => {
                report(&error, out);
                1
            }
        };
        // Nothing is left to say if even this fails.
        let _ = out.flush();
        status
    }
}

fn report(error: &Error, out: &mut Output) {
    if out.json {
        let problems = error.problems().map(|p| serde_json::to_value(p).unwrap_or_default());
        let document = serde_json::json!({
            "error": {
                "kind": error.kind().name(),
                "operation": error.operation_name(),
                "message": error.message(),
                "context": error.context().iter().map(|(k, v)| (k.to_string(), v.clone())).collect::<std::collections::BTreeMap<_, _>>(),
                "causes": error.causes(),
                "remedy": error.remedy(),
                "problems": problems,
                "warnings": out.take_warnings(),
            }
        });
        out.message(&format!("{document:#}\n"));
        return;
    }
    out.error_line(&error.to_string().replace('\n', " "));
    for cause in error.causes().iter().filter(|cause| !error.message().contains(*cause)) {
        out.message(&format!("  because: {}\n", cause.replace('\n', "\n    ")));
    }
    for (at, problem) in error.problems().into_iter().flat_map(|problems| problems.errors()).enumerate() {
        let long = problem.long();
        // The first problem is the message itself: only its place is left to show.
        let shown = if at == 0 { long.split_once('\n').map_or("", |(_, place)| place) } else { &long };
        if !shown.is_empty() {
            out.message(&format!("{}\n", shown.trim_end()));
        }
    }
    if let Some(remedy) = error.remedy() {
        out.message(&format!("  try: {remedy}\n"));
    }
}
