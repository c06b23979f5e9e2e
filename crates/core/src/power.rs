//! Sleep, as the guest's firmware has it.

use async_trait::async_trait;

use crate::Result;

/// Where what a guest that sleeps has in mind is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SleepTarget {
    /// In memory (ACPI S3): it can be woken.
    Memory,
    /// On its disk (S4): it is off, and its next boot goes on from there.
    Disk,
    /// Both: it sleeps as in memory, and loses nothing if it is ended.
    Hybrid,
}

/// Sending a guest to sleep, and waking it.
#[async_trait]
pub trait PowerManagement: Send + Sync {
    /// Has the guest's own system send it to sleep.
    ///
    /// *Behaviour*: returns when the guest was told and did not refuse; [`crate::Signal::Asleep`] or [`crate::Signal::Stopped`] follows. The
    /// guest has to have an agent: without one the answer is `Unsupported` or `InvalidState`, and nothing is changed.
    async fn suspend(&self, to: SleepTarget) -> Result<()>;

    /// Wakes it.
    ///
    /// *Behaviour*: returns when it was asked; [`crate::Signal::Woken`] follows. A guest that does not sleep is `InvalidState`.
    async fn wake(&self) -> Result<()>;
}
