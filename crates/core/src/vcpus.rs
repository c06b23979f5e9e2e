//! How many vCPUs a guest has, and changing that while it runs.

use async_trait::async_trait;
use polyvirt_numa_placement::{Plan, VcpuSet, Weakening};

use crate::{Deadline, Error, Result};

/// What comes with a change of what a running guest is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpContext {
    /// Where what is new goes; `None` when the guest was not placed.
    pub plan: Option<Plan>,
    /// By when it must be done. The guest's own part counts.
    pub deadline: Deadline,
}

impl OpContext {
    /// A context.
    #[must_use]
    pub fn new(plan: Option<Plan>, deadline: Deadline) -> Self {
        Self { plan, deadline }
    }
}

/// The vCPUs that a running guest has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VcpusNow {
    /// All that are there.
    pub online: VcpuSet,
    /// Those of them that can be taken out again.
    pub removable: VcpuSet,
}

impl VcpusNow {
    /// These vCPUs.
    #[must_use]
    pub fn new(online: VcpuSet, removable: VcpuSet) -> Self {
        Self { online, removable }
    }
}

/// What came of a change of vCPUs: a guest may let go of some and keep others.
#[derive(Debug)]
#[non_exhaustive]
pub struct VcpuChange {
    /// What there is now.
    pub now: VcpusNow,
    /// What of the plan could not be applied to those that are new.
    pub weakened: Vec<Weakening>,
    /// Why it is not all that was asked.
    pub failed: Option<Error>,
}

impl VcpuChange {
    /// A change that was made.
    #[must_use]
    pub fn new(now: VcpusNow) -> Self {
        Self { now, weakened: Vec::new(), failed: None }
    }
}

/// The number of vCPUs.
#[async_trait]
pub trait VcpuCount: Send + Sync {
    /// Which there are.
    ///
    /// *Behaviour*: asks the hypervisor, changes nothing.
    async fn now(&self) -> Result<VcpusNow>;

    /// Plugs the lowest free ones in, or takes the highest removable ones out, until there are so many.
    ///
    /// *Behaviour*: what there is already changes nothing. A new vCPU is where the plan has it before this returns. More than the
    /// guest can have is `InvalidArgument`, fewer than stay is `InvalidState`, and nothing is changed then. A guest that keeps a vCPU
    /// fails the change with what there is now: `Timeout` if it did not answer, `Hypervisor` if it refused.
    async fn set(&self, cx: &OpContext, count: u32) -> Result<VcpuChange>;
}

/// Single vCPUs.
#[async_trait]
pub trait VcpuSelect: Send + Sync {
    /// Plugs these in or takes these out.
    ///
    /// *Behaviour*: as [`VcpuCount::set`]; one that the guest cannot have is `InvalidArgument`, one that cannot be taken out `InvalidState`.
    async fn select(&self, cx: &OpContext, vcpus: &VcpuSet, online: bool) -> Result<VcpuChange>;
}
