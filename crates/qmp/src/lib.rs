//! QEMU's monitor protocol (QMP): typed commands, replies matched by id, events.
//!
//! ```text
//! Monitor::connect / over ── greeting ── qmp_capabilities ──> Monitor + Events
//!    execute(command) ─> queue ─> writer task ─> socket ─> QEMU
//!    reply or event  <─ by id  <─ reader task <─ socket <─┘
//! ```
//!
//! Any number of commands may be in flight. Each call has its own deadline, so a hung QEMU costs its callers
//! their deadline and nobody else anything. The two tasks end when the [`Monitor`] is dropped or the connection
//! ends, whichever is first; what is in flight then gets [`QmpError::Closed`] with the reason.
//!
//! What this crate does not do: it does not start QEMU, does not reconnect (a QEMU whose monitor broke may have
//! executed what was in flight, and only its owner can tell), and has no human monitor.
//!
//! # Invariants
//!
//! 1. QEMU is not trusted: a line is bounded ([`Options::max_line`]) before it is stored, and garbage is an error.
//! 2. A dropped or timed out call never breaks the stream: whole lines are written by a task of their own, and
//!    the late reply is dropped by its id.
//! 3. No event is lost between connecting and listening: `connect` hands the first listener out with the monitor.
//!    A slow listener is told how many it missed.
//!
//! The guest agent's protocol is in [`agent`]; its commands are [`agent::commands`].
//!
//! The protocol is described in QEMU's `docs/interop/qmp-spec`; the commands in its QMP reference manual.

pub mod agent;
mod blocks;
mod codec;
mod command;
mod commands;
mod descriptor;
mod error;
mod event;
mod migration;
mod monitor;
mod plug;
mod snapshots;
mod statistics;
mod tasks;

pub use blocks::*;
pub use command::Command;
pub use commands::*;
pub use error::{CloseReason, ErrorClass, QmpError};
pub use event::{Event, EventError, Events, Timestamp};
pub use migration::*;
pub use monitor::{Monitor, Options, QemuVersion};
pub use plug::{PlugCpu, UnplugCpu};
pub use snapshots::*;
pub use statistics::*;
