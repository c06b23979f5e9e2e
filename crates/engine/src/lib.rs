//! Connections, domains, jobs, the store, and placement through the ledger.
//!
//! A program opens a [`Connection`] with the drivers it links, and holds [`Guest`]s. There is no daemon: any number of processes may
//! work on one root at the same time. Definitions and status records are files that are whole or absent; a guest has one owner
//! process at a time, by a lock that dies with it; everyone else reads, or is told who is busy with it.
//!
//! What it does not do: it names no driver, starts no threads, installs no signal handlers, and reads no settings file. File
//! work runs on the blocking threads of the caller's tokio runtime.
//!
//! Invariants:
//! - Whatever a start may leave is in a durable record before it can be left, so the next open finds it.
//! - What is read (lists, states, definitions) takes no locks and waits for nobody.
//! - Dropping a future abandons the wait, not the work.

mod actor;
mod affect;
mod agent;
mod block;
mod block_jobs;
mod connection;
mod definition;
mod devices;
mod dump;
mod explain;
mod guest;
mod images;
mod io_threads;
mod job;
mod memory;
mod metadata;
mod options;
mod owner;
mod placement;
mod rebalance;
mod rename;
mod save;
mod saved;
mod scheduler;
mod services;
mod shared;
mod snapshots;
mod start;
mod statistics;
mod store;
mod throttle;
mod tune;
mod vcpus;

pub use affect::Affect;
pub use block_jobs::{BlockJobReport, CommitOptions, CopyOptions, PullOptions};
pub use connection::{Connection, Defined, Prepared};
pub use definition::{ReadDefinition, read_definition};
pub use dump::{AfterDump, DumpOptions};
pub use explain::Explanation;
pub use guest::{Guest, GuestEntry, GuestView, StartOptions, Which};
pub use images::{RestoreOptions, SavedImage};
pub use memory::{MemoryLimitChange, memory_limits};
pub use metadata::{LifecycleEvent, no_metadata};
pub use options::{OpenOptions, Ownership, StageObserver};
pub use rebalance::Observation;
pub use save::{RunState, SaveOptions};
pub use scheduler::block_weights;
pub use snapshots::{CreatedSnapshot, DeleteSnapshot, RevertOptions, SnapshotEntry, SnapshotList, SnapshotOptions};
pub use statistics::{GuestStatistics, StatsQuery};
pub use store::{JobOutcome, JobReport};
pub use throttle::disk_named;
pub use tune::PinTarget;
pub use vcpus::VcpuCounts;
