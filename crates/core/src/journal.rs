//! The stages of a start, and the journal that makes them survivable.
//!
//! ```text
//! admit → topology → reserve → intent* → resolve → manifest → spawn → pid* → gate → handshake → monitor* → pins → run → observe → commit*
//! ```
//!
//! At the stages with a star the status record is written, durably, before the start goes on. `spawn` leaves a child that
//! waits behind a gate; its pid is in the record before the gate opens, and if we die first the gate closes and the child
//! exits. So nothing ever runs that [`crate::Launcher::reap`] cannot find.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Result;

/// A stage of a start, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stage {
    /// The guest is ours to start: not running, owned by this process, definition read, completed and checked.
    Admit,
    /// The host's topology is read.
    Topology,
    /// The plan is made and promised in the ledger.
    Reserve,
    /// The record says that a start has begun.
    Intent,
    /// The stored definition became the live one.
    Resolve,
    /// Everything the start will touch is listed and there.
    Manifest,
    /// The guest's process will have the right to all of it.
    Label,
    /// The driver made the process, which waits behind its gate.
    Spawn,
    /// The record holds the process id.
    Pid,
    /// The gate is open: the hypervisor's program runs.
    Gate,
    /// The hypervisor answered.
    Handshake,
    /// The record holds how to reach it again.
    Monitor,
    /// vCPUs and other threads are where the plan wants them.
    Pins,
    /// The guest's CPUs run, or stay paused as was asked.
    Run,
    /// What the kernel did with memory and threads was read back; meanwhile the last record was written.
    Observe,
    /// The record says that the guest runs.
    Commit,
}

impl Stage {
    /// All stages in order.
    pub const ALL: &'static [Self] = &[
        Self::Admit,
        Self::Topology,
        Self::Reserve,
        Self::Intent,
        Self::Resolve,
        Self::Manifest,
        Self::Label,
        Self::Spawn,
        Self::Pid,
        Self::Gate,
        Self::Handshake,
        Self::Monitor,
        Self::Pins,
        Self::Run,
        Self::Observe,
        Self::Commit,
    ];

    /// The stage in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Topology => "topology",
            Self::Reserve => "reserve",
            Self::Intent => "intent",
            Self::Resolve => "resolve",
            Self::Manifest => "manifest",
            Self::Label => "label",
            Self::Spawn => "spawn",
            Self::Pid => "pid",
            Self::Gate => "gate",
            Self::Handshake => "handshake",
            Self::Monitor => "monitor",
            Self::Pins => "pins",
            Self::Run => "run",
            Self::Observe => "observe",
            Self::Commit => "commit",
        }
    }

    /// Whether the driver, not the engine, goes through this stage.
    #[must_use]
    pub fn is_drivers(self) -> bool {
        (Self::Spawn..=Self::Run).contains(&self)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a driver needs to find its guest again: opaque to the engine, versioned by the driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DriverRecord {
    /// Name of the driver that wrote it.
    pub driver: String,
    /// Version of `data`; a driver refuses one that is newer than it knows and leaves the guest alone.
    pub version: u32,
    /// The driver's own facts.
    pub data: serde_json::Value,
}

impl DriverRecord {
    /// A record.
    #[must_use]
    pub fn new(driver: impl Into<String>, version: u32, data: serde_json::Value) -> Self {
        Self { driver: driver.into(), version, data }
    }
}

/// Who keeps the journal: the engine, or a test.
#[async_trait]
pub trait JournalSink: Send + Sync {
    /// A stage is reached and its work done.
    async fn reached(&self, stage: Stage) -> Result<()>;
    /// As [`JournalSink::reached`], with a record that is durable when this returns.
    async fn record(&self, stage: Stage, record: &DriverRecord) -> Result<()>;
}

/// The journal of one start, handed in with the call.
#[derive(Clone)]
pub struct Journal(Arc<dyn JournalSink>);

impl Journal {
    /// A journal that writes to `sink`.
    #[must_use]
    pub fn new(sink: Arc<dyn JournalSink>) -> Self {
        Self(sink)
    }

    /// Says that a stage's work is done. Progress is shown from it, and faults are injected at it.
    ///
    /// # Errors
    /// Whatever the sink says; the start must then be undone.
    pub async fn reached(&self, stage: Stage) -> Result<()> {
        self.0.reached(stage).await
    }

    /// Makes `record` durable, then says that the stage's work is done.
    ///
    /// # Errors
    /// `Storage` when the record cannot be written; the start must then be undone.
    pub async fn record(&self, stage: Stage, record: &DriverRecord) -> Result<()> {
        self.0.record(stage, record).await
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Journal")
    }
}

#[cfg(test)]
mod tests {
    use super::Stage;

    #[test]
    fn stages_are_in_order_and_named_once() {
        assert!(Stage::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        let mut names: Vec<_> = Stage::ALL.iter().map(|s| s.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Stage::ALL.len());
        assert_eq!(Stage::ALL.iter().filter(|s| s.is_drivers()).count(), 7);
    }
}
