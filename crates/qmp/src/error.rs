//! What can go wrong on a monitor.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

/// The error classes QEMU distinguishes (`QapiErrorClass`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Everything that has no class of its own.
    Generic,
    /// This QEMU does not know the command.
    CommandNotFound,
    /// The device cannot do it now, such as a balloon that the guest has not activated.
    DeviceNotActive,
    /// There is no such device.
    DeviceNotFound,
    /// KVM lacks a capability.
    KvmMissingCap,
    /// One that this crate does not know.
    Other(String),
}

impl From<String> for ErrorClass {
    fn from(text: String) -> Self {
        match text.as_str() {
            "GenericError" => Self::Generic,
            "CommandNotFound" => Self::CommandNotFound,
            "DeviceNotActive" => Self::DeviceNotActive,
            "DeviceNotFound" => Self::DeviceNotFound,
            "KVMMissingCap" => Self::KvmMissingCap,
            _ => Self::Other(text),
        }
    }
}

/// Why a monitor or one of its commands failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QmpError {
    /// No connection came about.
    #[error("cannot connect to the monitor '{path}': {source}", path = path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// The connection is over. Whether a command in flight was executed is not known.
    #[error("the monitor is closed: {0}")]
    Closed(Arc<CloseReason>),
    /// QEMU did not answer in time. It may still execute the command.
    #[error("no answer to '{command}' within {after:?}; the hypervisor may be stopped or stuck")]
    Timeout {
        /// The command; `greeting` if QEMU did not even greet.
        command: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// QEMU refused the command. Nothing was done, as far as the command's documentation goes.
    #[error("'{command}' was refused: {description}")]
    Refused {
        /// The command.
        command: String,
        /// The class of the refusal.
        class: ErrorClass,
        /// QEMU's own words.
        description: String,
    },
    /// QEMU executed the command and answered something else than documented.
    #[error("unexpected answer to '{command}': {problem}")]
    Unexpected {
        /// The command.
        command: String,
        /// What does not fit, and where.
        problem: String,
    },
    /// The arguments cannot be written as JSON; nothing was sent.
    #[error("cannot encode the arguments of '{command}': {problem}")]
    Encode {
        /// The command.
        command: String,
        /// What is wrong.
        problem: String,
    },
}

impl QmpError {
    /// Whether the connection is of no more use.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_) | Self::Connect { .. })
    }
}

/// Why a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// QEMU closed it, as it does when it exits.
    EndOfFile,
    /// The socket failed.
    Io(io::Error),
    /// QEMU, or whoever sits there, does not speak QMP.
    Protocol {
        /// What is wrong.
        problem: String,
        /// The beginning of the line.
        excerpt: String,
    },
    /// The tasks ended with their runtime.
    Shutdown,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfFile => out.write_str("the hypervisor closed the connection"),
            Self::Io(error) => write!(out, "{error}"),
            Self::Protocol { problem, excerpt } => write!(out, "{problem}, in '{excerpt}'"),
            Self::Shutdown => out.write_str("the runtime that drove it has ended"),
        }
    }
}

/// The beginning of a line for an error: bounded, and without control characters.
pub(crate) fn excerpt(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(120)]);
    text.trim_end().chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}
