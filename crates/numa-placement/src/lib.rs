//! NUMA placement for virtual machines and containers: topology, rules, planning and the ledger of promises.
//!
//! One crate decides for all hypervisors where a guest's CPUs and memory go, and says why. It stands alone: it needs
//! a host ([`HostTopology`]), a guest ([`Request`]), what is promised already ([`Promised`]) and what the hypervisor
//! can express ([`PlacementProfile`]), and answers with a [`Plan`] or a [`Refusal`].
//!
//! ```
//! use polyvirt_numa_placement::{GuestShape, HostTopology, Kib, PlacementProfile, Promised, Request, plan};
//!
//! let host = HostTopology::uniform(2, 8, Kib::from_gib(16)).build()?;
//! let guest = Request::auto("db", GuestShape::flat(4, Kib::from_gib(8)));
//! let plan = plan(&host, &Promised::default(), &PlacementProfile::qemu(), &guest)?;
//! assert_eq!(plan.advice.expect("automatic").nodeset.to_string(), "0");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it does not do: it applies nothing, starts nothing, and knows no XML and no driver. [`plan()`],
//! [`binding`], [`change`] and [`rules`] are pure; only [`HostTopology::from_sysfs`] and the [`ledger`] touch files, and only
//! the [`advisor`] runs a program, if it is told to.
//!
//! Invariants:
//!
//! - The same topology, promises, profile and request give the same plan, on every machine.
//! - A plan lies within the profile; what is given up stands in [`Plan::weakened`] with the rule's number.
//! - Memory is promised once: see [`ledger`].
//! - Numbers from files and definitions are bounded before anything is allocated for them.

pub mod advisor;
pub mod applied;
pub mod binding;
pub mod change;
pub mod engine;
pub mod ledger;
mod plan;
mod policy;
mod profile;
mod promised;
pub mod rebalance;
mod refusal;
mod request;
pub mod rules;
pub mod set;
mod shape;
#[cfg(any(feature = "simulate", test))]
pub mod simulate;
pub mod topology;
mod trace;
mod units;

pub use advisor::{Advisor, AdvisorError, Numad};
pub use change::ChangeError;
pub use engine::{Board, Decision, Need, Weights, plan, plug, unplug};
pub use ledger::{Ledger, LedgerError};
pub use plan::{
    Advice, CellPlan, CpuLoad, Headroom, LeaseId, MemoryDevicePlan, NodeShare, Origin, PLAN_SCHEMA, PlacementReport,
    Plan, PlanDelta, PlanStep, ThreadPlan, VcpuPlan, Weakening,
};
pub use policy::{MemMode, MemPolicy, PageRequest, PageSize, UnknownMode};
pub use polyvirt_lease::Owner;
pub use profile::{CellSupport, LiveSupport, ModeSet, NodesPerCell, PinSupport, PlacementProfile};
pub use promised::{NodePromise, Promised};
pub use refusal::{Constraint, Refusal};
pub use request::{AdviceSource, KernelSupport, MemoryDeviceRequest, Overcommit, Request, Span, Threads};
pub use set::{CellSet, CpuSet, IdSet, NodeSet, SetError, SetErrorKind, VcpuSet};
pub use shape::{CellShape, GuestShape};
pub use topology::{HostTopology, MemoryLimit, Node, NodeKind, PagePool, TopologyBuilder, TopologyError};
pub use trace::{Candidate, TRACE_LIMIT, Term, TermName, Trace, Verdict};
pub use units::{GuestCell, HostCpu, HostNode, IoThreadId, Kib, VcpuId};
