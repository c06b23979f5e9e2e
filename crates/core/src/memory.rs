//! How much memory a running guest has, and how much its process may use.

use async_trait::async_trait;
use polyvirt_numa_placement::Kib;

use crate::Result;

/// The balloon.
#[async_trait]
pub trait MemoryTarget: Send + Sync {
    /// Asks the guest to make do with so much; what it is asked for after rounding is returned.
    ///
    /// *Behaviour*: returns when it was asked. The guest gives back or takes in its own time, and tells it
    /// ([`crate::Notice::BalloonChanged`]). A guest without a balloon is `Unsupported`.
    async fn set(&self, target: Kib) -> Result<Kib>;

    /// What it has now.
    ///
    /// *Behaviour*: asks the hypervisor, changes nothing.
    async fn now(&self) -> Result<Kib>;
}

/// What the process of a guest may use of the host's memory; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryLimitParams {
    /// At most.
    pub hard: Option<Kib>,
    /// What is reclaimed down to when the host is short of memory.
    pub soft: Option<Kib>,
    /// Memory and swap together.
    pub with_swap: Option<Kib>,
}

impl MemoryLimitParams {
    /// These limits.
    #[must_use]
    pub fn new(hard: Option<Kib>, soft: Option<Kib>, with_swap: Option<Kib>) -> Self {
        Self { hard, soft, with_swap }
    }
}

/// Limits of a guest's process.
#[async_trait]
pub trait MemoryLimits: Send + Sync {
    /// Puts these limits in place of those there are.
    ///
    /// *Behaviour*: all or none. Less than is used and cannot be reclaimed is an error, and the limits stay.
    async fn set(&self, limits: MemoryLimitParams) -> Result<()>;
}
