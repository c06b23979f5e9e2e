//! Starting processes behind a gate, watching them, and confining where they run. Linux 5.9 or newer.
//!
//! [`spawn`] forks a child that prepares itself and then waits on a socket, the *gate*, before it
//! executes the program. The caller writes the child's [`ProcessId`] somewhere durable and only then
//! opens the gate. If the caller dies first the socket closes and the child exits, so no program ever
//! runs that nobody knows of.
//!
//! ```text
//! spawn ──> GatedChild ── open_gate ──> Child ── wait ──> ExitStatus
//!               │                         │
//!               │ dropped, or we die      │ dropped, or we die
//!               v                         v
//!         exits, never execs          runs on; find it again with Watched::open
//! ```
//!
//! Around it: process identities that survive pid reuse ([`ProcessId`]), affinity of threads
//! ([`set_affinity`]), cpuset cgroups of both versions ([`cgroup`]) and the kernel's account of where
//! pages lie ([`numa_maps`]); terminals as streams ([`Terminal`]); and queues of tap devices ([`open_tap`]).
//!
//! What this crate does not do: it decides no placement, knows no hypervisor, captures no output, and
//! talks to no service manager.
//!
//! # Invariants
//!
//! 1. Between fork and exec nothing allocates, locks or unwinds; all is prepared before.
//! 2. A child gets exactly the descriptors its [`SpawnSpec`] names. They are closed before it waits at
//!    the gate, so it holds no lock file of ours and no gate of a sibling.
//! 3. Signals are sent through pidfds: never to a pid that may have become someone else's.
//! 4. No signal handlers, no reliance on SIGCHLD, no threads of our own, no globals.
//! 5. Outside `polyvirt/` of a cgroup hierarchy nothing is written.

mod affinity;
mod between;
pub mod cgroup;
mod child;
mod id;
mod mask;
pub mod numa_maps;
mod spawn;
mod spec;
mod step;
mod sys;
mod tap;
mod terminal;
mod usage;
mod words;

pub use affinity::{get_affinity, set_affinity};
pub use child::{Child, ExitStatus, Watched};
pub use id::{ProcessId, Thread, ThreadUsage, command_line, mapping_sizes, thread_usage, threads};
pub use mask::{CpuMask, IdTooLarge, MAX_IDS, NodeMask};
pub use nix::sys::signal::Signal;
pub use spawn::{GatedChild, spawn};
pub use spec::{Credentials, KeptFd, Limit, MemoryPolicy, PolicyMode, Resource, SpawnSpec, Stdio};
pub use step::{SpawnError, Step};
pub use tap::{MAX_LINK_NAME, TapOptions, open_tap};
pub use terminal::Terminal;
pub use usage::{process_times, resident, scheduled};
