//! The one error type that crosses the public interface.
//!
//! Callers match on [`ErrorKind`]; a kind exists only where a program would act on it. The message holds the value that was
//! wrong and what would have been right; [`Error::hint`] says what to do next.

use std::fmt;

use polyvirt_model::Problems;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a program can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The definition is wrong; [`Error::problems`] lists where.
    InvalidConfig,
    /// An argument of the call is wrong.
    InvalidArgument,
    /// No such guest, device, file or driver.
    NotFound,
    /// The name, the UUID or the file is taken.
    AlreadyExists,
    /// The guest is not in a state that allows it (running, paused, shut off).
    InvalidState,
    /// Another process or job holds it; the message says which.
    Busy,
    /// The driver, the hypervisor or this build cannot do it at all.
    Unsupported,
    /// The host has too little memory, pages or CPUs for what was asked.
    NoResources,
    /// The rights of this process do not suffice.
    Denied,
    /// The deadline passed.
    Timeout,
    /// Cancelled on request.
    Cancelled,
    /// The hypervisor refused, died or spoke garbage.
    Hypervisor,
    /// The state directory is read-only, full or broken.
    Storage,
    /// A defect of polyvirt.
    Internal,
}

impl ErrorKind {
    /// The kind in a word, as printed and as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidConfig => "invalid-config",
            Self::InvalidArgument => "invalid-argument",
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::InvalidState => "invalid-state",
            Self::Busy => "busy",
            Self::Unsupported => "unsupported",
            Self::NoResources => "no-resources",
            Self::Denied => "denied",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Hypervisor => "hypervisor",
            Self::Storage => "storage",
            Self::Internal => "internal",
        }
    }
}

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error with its kind, the operation it ended, facts beside the message, and a remedy.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    operation: Option<&'static str>,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    problems: Option<Problems>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind`; `message` in lower case, with the value that was wrong and what would have been right.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            operation: None,
            context: Vec::new(),
            hint: None,
            problems: None,
            source: None,
        }))
    }

    /// A capability that `driver` does not have.
    #[must_use]
    pub fn unsupported(driver: &str, capability: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unsupported, format!("the {driver} driver has no {capability}"))
    }

    /// A definition with problems; the message is the first of them.
    #[must_use]
    pub fn invalid_config(problems: Problems) -> Self {
        let message =
            problems.errors().next().map(ToString::to_string).unwrap_or_else(|| "the definition is wrong".to_owned());
        let mut error = Self::new(ErrorKind::InvalidConfig, message);
        error.0.problems = Some(problems);
        error
    }

    /// Names the operation that ended; the outermost name is kept.
    #[must_use]
    pub fn operation(mut self, operation: &'static str) -> Self {
        self.0.operation = Some(operation);
        self
    }

    /// Adds a fact, for instance `stage` or `path`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Keeps the error below.
    #[must_use]
    pub fn source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message alone.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The operation that ended, when known.
    #[must_use]
    pub fn operation_name(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The facts beside the message.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// A fact by its key.
    #[must_use]
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.0.context.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str())
    }

    /// What to do next.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The problems of the definition.
    #[must_use]
    pub fn problems(&self) -> Option<&Problems> {
        self.0.problems.as_ref()
    }

    /// The nearest error below this one that is a `T`, for programs that know what a driver or the placement engine says.
    ///
    /// ```
    /// use polyvirt_core::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Storage, "cannot read").source(std::io::Error::other("no such device"));
    /// assert!(error.cause::<std::io::Error>().is_some());
    /// assert!(error.cause::<std::fmt::Error>().is_none());
    /// ```
    #[must_use]
    pub fn cause<T: std::error::Error + 'static>(&self) -> Option<&T> {
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// Every message below this one, nearest first, each once in a row; none that says the same as this.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let mut causes = vec![self.0.message.clone()];
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            causes.push(error.to_string());
            next = error.source();
        }
        // A transparent error says the same as the one below it.
        causes.dedup();
        causes.remove(0);
        causes
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.0.operation {
            write!(f, "{operation}: ")?;
        }
        f.write_str(&self.0.message)?;
        for (i, (key, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{key}: {value}", if i == 0 { " (" } else { "; " })?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_struct("Error");
        d.field("kind", &self.0.kind).field("message", &self.0.message);
        d.field("operation", &self.0.operation).field("context", &self.0.context);
        d.field("hint", &self.0.hint).field("source", &self.0.source).finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

/// What a failure of the file system means to a caller, with the path and the remedy in the error.
///
/// A full disk, a read-only file system and missing rights are told apart, because the remedy differs.
#[must_use]
pub fn io_error(doing: &str, path: &std::path::Path, error: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let (kind, hint) = match error.kind() {
        Io::NotFound => (ErrorKind::NotFound, "check that the path exists"),
        Io::PermissionDenied => (ErrorKind::Denied, "run as the owner of the directory, or use qemu:///session"),
        Io::ReadOnlyFilesystem => {
            (ErrorKind::Storage, "mount the file system read-write, or choose another root with ?root=")
        }
        Io::StorageFull | Io::QuotaExceeded => (ErrorKind::Storage, "free some space on this file system"),
        Io::InvalidData => (ErrorKind::InvalidArgument, "check that this is the file you meant"),
        _ => (ErrorKind::Storage, "check the file system that holds this path"),
    };
    Error::new(kind, format!("cannot {doing} {}: {error}", path.display())).hint(hint).source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_operation_and_facts() {
        let error = Error::new(ErrorKind::Hypervisor, "qemu died")
            .operation("start")
            .with("stage", "handshake")
            .with("exit", 1);
        assert_eq!(error.to_string(), "start: qemu died (stage: handshake; exit: 1)");
        assert_eq!(error.fact("stage"), Some("handshake"));
    }

    #[test]
    fn causes_are_listed_without_repeating_the_message() {
        let low = std::io::Error::other("no such device");
        let error = Error::new(ErrorKind::Internal, "cannot open").source(low);
        assert_eq!(error.causes(), ["no such device"]);
        let same = Error::new(ErrorKind::Internal, "no such device").source(std::io::Error::other("no such device"));
        assert!(same.causes().is_empty(), "a source that is kept for programs is not said twice");
    }

    #[test]
    fn a_cause_is_found_however_deep_it_is() {
        let low = Error::new(ErrorKind::Internal, "cannot open").source(std::io::Error::other("no such device"));
        let high = Error::new(ErrorKind::Storage, "cannot start").source(low);
        assert_eq!(high.cause::<std::io::Error>().map(ToString::to_string).as_deref(), Some("no such device"));
        assert_eq!(high.cause::<Error>().map(Error::kind), Some(ErrorKind::Internal));
        assert!(high.cause::<std::fmt::Error>().is_none());
    }

    #[test]
    fn full_and_read_only_disks_are_storage_errors() {
        for kind in [std::io::ErrorKind::StorageFull, std::io::ErrorKind::ReadOnlyFilesystem] {
            let error = io_error("write", std::path::Path::new("/x"), std::io::Error::from(kind));
            assert_eq!(error.kind(), ErrorKind::Storage);
            assert!(error.remedy().is_some());
        }
    }
}
