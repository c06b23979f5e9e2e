//! I/O threads of a running guest.

use async_trait::async_trait;
use polyvirt_numa_placement::{CpuSet, IoThreadId, Weakening};
use serde::Serialize;

use crate::{OpContext, Result};

/// How an I/O thread polls, and its worker threads; what is `None` is left as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IoThreadParams {
    /// The longest polling time, in nanoseconds; 0: it does not poll.
    pub poll_max_ns: Option<u64>,
    /// Factor by which polling grows; 0: the hypervisor's own.
    pub poll_grow: Option<u64>,
    /// Divisor by which it shrinks; 0: it begins anew.
    pub poll_shrink: Option<u64>,
    /// Worker threads that always exist.
    pub thread_pool_min: Option<i32>,
    /// Worker threads at most.
    pub thread_pool_max: Option<i32>,
}

/// An I/O thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IoThreadState {
    /// Which.
    pub id: IoThreadId,
    /// Thread on the host.
    pub thread: Option<i32>,
    /// Host CPUs it may run on, as the kernel has it.
    pub affinity: Option<CpuSet>,
    /// How it works.
    pub params: IoThreadParams,
}

impl IoThreadState {
    /// A thread of which nothing is known yet.
    #[must_use]
    pub fn new(id: IoThreadId) -> Self {
        Self { id, thread: None, affinity: None, params: IoThreadParams::default() }
    }
}

/// I/O threads.
#[async_trait]
pub trait IoThreads: Send + Sync {
    /// All of them, ascending.
    async fn list(&self) -> Result<Vec<IoThreadState>>;

    /// Makes one; says what of its place in the plan could not be had.
    ///
    /// *Behaviour*: it is where the plan has it before this returns. One that is there already is `AlreadyExists`.
    async fn add(&self, cx: &OpContext, id: IoThreadId, params: IoThreadParams) -> Result<Vec<Weakening>>;

    /// Removes one.
    ///
    /// *Behaviour*: one that is not there is `NotFound`, one that a device uses `InvalidState`; nothing is changed then.
    async fn remove(&self, id: IoThreadId) -> Result<()>;

    /// Changes how one works.
    ///
    /// *Behaviour*: all or none. One that is not there is `NotFound`.
    async fn set(&self, id: IoThreadId, params: IoThreadParams) -> Result<()>;
}
