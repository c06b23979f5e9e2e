//! Sleep, as the guest's firmware has it.

use async_trait::async_trait;

use crate::Result;

/// Waking a guest that sleeps.
#[async_trait]
pub trait PowerManagement: Send + Sync {
    /// Wakes it.
    ///
    /// *Behaviour*: returns when it was asked; [`crate::Signal::Woken`] follows. A guest that does not sleep is `InvalidState`.
    async fn wake(&self) -> Result<()>;
}
