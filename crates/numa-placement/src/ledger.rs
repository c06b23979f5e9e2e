//! Promises shared by all processes of a host, so that concurrent starts do not choose the same free memory.
//!
//! ```text
//! reserve ──▶ planned ──assign──▶ starting ──commit──▶ running
//!                │                    │                   │
//!                └────────────────────┴── release, or the owner dies
//! ```
//!
//! A directory (`/run/polyvirt/numa` for a host) holds a lock file and one state file, replaced as a whole. Every
//! change takes the lock, drops the leases of dead owners, changes, writes, lets go. A planned lease lives as long as
//! its planner; `assign` hands it to the hypervisor's process, so from then on it lives as long as the guest does.
//!
//! What a node may still promise is [`Promised::memory_left`]. For that a lease books all of its memory, and says how
//! much of it the guest cannot have touched yet: everything until `commit`; afterwards what its process's resident set
//! leaves, on each node at most what was promised there. So a guest with memory on several nodes may count as
//! untouched on all of them: too much rather than too little.
//!
//! How busy running guests are is seen as well: the CPU time of their processes between two reservations at least a minute apart, or
//! since they began. Planning counts guests nobody could look at with half a core for each vCPU.
//!
//! Beside the state a file says when a guest was last moved, so that moves keep their distance across processes.
//!
//! What it does not do: it keeps no history, and it forbids nothing but what [`plan`](crate::plan()) refuses. A guest
//! with two leases counts twice.
//!
//! Invariants: a state that a newer version wrote is never changed; one that is corrupt is kept beside as
//! `state.corrupt-N`; the state on disk is complete at every moment.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use polyvirt_lease::{DirLock, LockError, LockGuard, LockMode, Owner};
use serde::{Deserialize, Serialize};

use crate::plan::{LeaseId, NodeShare, Plan};
use crate::promised::Promised;
use crate::refusal::Refusal;

mod booking;
mod busy;
mod moved;
mod state;

use state::State;

pub use busy::Look;

/// How long a change waits while nobody else changes anything. A change takes milliseconds, so whoever holds the lock longer is
/// stuck. But many may wait before us, on a host that is busy with what they start.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often we are that patient: nobody's start takes longer.
const ROUNDS: u32 = 20;

/// Why the ledger could not be changed or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The guest cannot be placed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The directory cannot be written by this process; plan without a lease.
    #[error("the ledger '{}' cannot be written by this user: plan without a promise", .0.display())]
    ReadOnly(PathBuf),
    /// A newer version wrote it.
    #[error("the ledger '{}' has version {found}, this program knows {known}: update it", path.display())]
    Newer {
        /// The state file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The state file belongs to somebody who has no business in this directory, or is no file.
    #[error("'{}' is not a regular file of root, this user or the directory's owner: remove it", .0.display())]
    Foreign(PathBuf),
    /// There is no such lease; its owner died or it was released.
    #[error("there is no lease {0}: reserve again")]
    UnknownLease(LeaseId),
    /// The lock cannot be had.
    #[error(transparent)]
    Lock(LockError),
    /// A file cannot be read or written.
    #[error("cannot use the ledger '{}'", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

/// How far the guest of a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Planned; the owner is the planner.
    Planned,
    /// The hypervisor is there; the owner is its process.
    Starting,
    /// It runs, and what it really got is booked.
    Running,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Planned => "planned",
            Phase::Starting => "starting",
            Phase::Running => "running",
        })
    }
}

/// A promise to one guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lease {
    /// Its id; never used twice.
    pub id: LeaseId,
    /// The guest, as the planner named it (uuid or name).
    pub guest: String,
    /// Who keeps the lease alive.
    pub owner: Owner,
    /// How far it is.
    pub phase: Phase,
    /// What is booked.
    pub booked: Promised,
    /// What of it is memory devices and kept for them, once that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugged: Option<Promised>,
    /// How busy it was when it was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Look>,
}

/// Something that was noticed while the ledger was used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A lease whose owner had died was dropped.
    Reaped(Box<Lease>),
    /// The state could not be read and was put aside: promises of running guests are lost until they are restored.
    SetAside {
        /// Where it is kept.
        path: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Reaped(lease) => {
                write!(f, "dropped the {} lease of guest '{}': {} is dead", lease.phase, lease.guest, lease.owner)
            }
            Notice::SetAside { path, reason } => {
                write!(f, "the ledger's state was unreadable ({reason}) and is kept as '{}'", path.display())
            }
        }
    }
}

/// A plan that is booked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reservation {
    /// The plan; its lease is set.
    pub plan: Plan,
    /// What was noticed on the way.
    pub notices: Vec<Notice>,
}

/// The ledger at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Grows with every change.
    pub generation: u64,
    /// Leases whose owners live, oldest first.
    pub leases: Vec<Lease>,
    /// Their sum, as planning sees it.
    pub promised: Promised,
    /// Thousandths of a CPU that guests were seen to keep busy, as they count in `promised`; of others nothing is known.
    pub busy_milli: BTreeMap<LeaseId, u64>,
}

impl Snapshot {
    /// Cores that the guest of this lease is expected to keep busy, as planning does: what was seen and a little more.
    #[must_use]
    pub fn expected_busy(&self, lease: &LeaseId) -> Option<f64> {
        self.busy_milli.get(lease).copied().map(crate::promised::expected)
    }
}

/// The promises of a host. Cheap to open; holding it locks nothing.
#[derive(Clone, Debug)]
pub struct Ledger {
    dir: PathBuf,
    lock: DirLock,
}

impl Ledger {
    /// The ledger in this directory, which is created (mode 0755) if it is missing.
    ///
    /// # Errors
    /// [`LedgerError::ReadOnly`] if it is missing and cannot be created, [`LedgerError::Lock`] if others could tamper
    /// with it.
    pub fn open(dir: &Path) -> Result<Ledger, LedgerError> {
        std::fs::create_dir_all(dir).map_err(|source| io_error(dir, source))?;
        let lock = DirLock::new(dir, "lock").map_err(|error| lock_error(dir, error))?;
        Ok(Ledger { dir: dir.to_owned(), lock })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Plans and books in one step: takes the lock, drops the dead, calls `decide` with what is promised, books its
    /// plan for `owner`, writes, lets go.
    ///
    /// `decide` runs under the lock and should read the host afresh (free memory changes) and call
    /// [`plan`](crate::plan()); it must not use this ledger.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] with the refusal of `decide`; then nothing is booked. All others.
    pub fn reserve(
        &self,
        owner: &Owner,
        guest: &str,
        decide: &mut dyn FnMut(&Promised) -> Result<Plan, Refusal>,
    ) -> Result<Reservation, LedgerError> {
        self.change(|state, notices| {
            let mut plan = decide(&booking::total(&state.leases).0)?;
            booking::look(&mut state.leases);
            let id = state.next_id();
            plan.lease = Some(id.clone());
            state.leases.push(Lease {
                id,
                guest: guest.to_owned(),
                owner: owner.clone(),
                phase: Phase::Planned,
                booked: booking::of_plan(&plan),
                plugged: None,
                seen: None,
            });
            Ok(Reservation { plan, notices: std::mem::take(notices) })
        })
    }

    /// Hands a lease to the hypervisor's process; the guest is starting.
    ///
    /// # Errors
    /// [`LedgerError::UnknownLease`] if it is gone, and all others.
    pub fn assign(&self, lease: &LeaseId, owner: &Owner) -> Result<(), LedgerError> {
        self.change(|state, _| {
            let lease = state.lease_mut(lease)?;
            lease.owner = owner.clone();
            if lease.phase == Phase::Planned {
                lease.phase = Phase::Starting;
            }
            Ok(())
        })
    }

    /// The guest runs, and this is the ordinary memory it has on each node by now; may be called again at any time.
    ///
    /// What was observed is booked where it was observed, the rest stays where it was planned. Huge pages are no part
    /// of `observed`: they are preallocated and count as touched. With an empty slice only the phase changes.
    ///
    /// # Errors
    /// [`LedgerError::UnknownLease`] if it is gone, and all others.
    pub fn commit(&self, lease: &LeaseId, observed: &[NodeShare]) -> Result<(), LedgerError> {
        self.change(|state, _| {
            let lease = state.lease_mut(lease)?;
            booking::observe(&mut lease.booked, observed);
            lease.phase = Phase::Running;
            Ok(())
        })
    }

    /// Books a changed plan (hot-plug, rebalance) for a lease.
    ///
    /// # Errors
    /// [`LedgerError::UnknownLease`] if it is gone, and all others.
    pub fn rebook(&self, lease: &LeaseId, plan: &Plan) -> Result<(), LedgerError> {
        self.change(|state, _| {
            let lease = state.lease_mut(lease)?;
            (lease.booked, lease.plugged) = (booking::of_plan(plan), None);
            Ok(())
        })
    }

    /// Books the vCPUs of a changed plan for a lease; the memory that is booked stays as it is.
    ///
    /// # Errors
    /// As [`Ledger::rebook`].
    pub fn rebook_cpus(&self, lease: &LeaseId, plan: &Plan) -> Result<(), LedgerError> {
        self.change(|state, _| {
            booking::cpus_of(&mut state.lease_mut(lease)?.booked, plan);
            Ok(())
        })
    }

    /// Plans memory devices for a running guest and books them in one step, as [`reserve`](Self::reserve) does: `decide` is called with
    /// what is promised to all, this guest included, and makes the next plan from `now`, the present one.
    ///
    /// # Errors
    /// [`LedgerError::Refused`], [`LedgerError::UnknownLease`] if it is gone, and all others; then nothing changed.
    pub fn plug(
        &self,
        lease: &LeaseId,
        now: &Plan,
        decide: &mut dyn FnMut(&Promised) -> Result<Plan, Refusal>,
    ) -> Result<Plan, LedgerError> {
        self.change(|state, _| {
            state.lease_mut(lease)?;
            let plan = decide(&booking::total(&state.leases).0)?;
            booking::replug(state.lease_mut(lease)?, now, &plan);
            Ok(plan)
        })
    }

    /// Books the memory devices of a plan, and what it keeps for them: `was` is the plan before, and may be the same. Whatever was
    /// booked meanwhile by somebody who did not live to write it down is given back. Other memory and the vCPUs stay as they are.
    ///
    /// # Errors
    /// As [`Ledger::rebook`].
    pub fn rebook_plugged(&self, lease: &LeaseId, was: &Plan, now: &Plan) -> Result<(), LedgerError> {
        self.change(|state, _| {
            booking::replug(state.lease_mut(lease)?, was, now);
            Ok(())
        })
    }

    /// Makes sure that a guest which runs already is booked, as after the state was lost. What it has it has, so
    /// this books also what exceeds the host. A plan without a lease gets one; a lease that is there only changes its
    /// owner.
    ///
    /// # Errors
    /// All but [`LedgerError::Refused`] and [`LedgerError::UnknownLease`].
    pub fn restore(&self, owner: &Owner, guest: &str, plan: &Plan) -> Result<LeaseId, LedgerError> {
        self.change(|state, _| {
            let id = plan.lease.clone().unwrap_or_else(|| state.next_id());
            if let Ok(lease) = state.lease_mut(&id) {
                lease.owner = owner.clone();
                return Ok(id);
            }
            state.leases.push(Lease {
                id: id.clone(),
                guest: guest.to_owned(),
                owner: owner.clone(),
                phase: Phase::Running,
                booked: booking::of_plan(plan),
                plugged: None,
                seen: None,
            });
            Ok(id)
        })
    }

    /// Gives a promise back. One that is gone already is fine.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub fn release(&self, lease: &LeaseId) -> Result<(), LedgerError> {
        self.change(|state, _| {
            state.leases.retain(|other| other.id != *lease);
            Ok(())
        })
    }

    /// The ledger as it is, without the leases of dead owners; takes no lock and changes nothing. A ledger that nobody
    /// wrote yet is empty.
    ///
    /// # Errors
    /// [`LedgerError::Newer`], [`LedgerError::Foreign`] or [`LedgerError::Io`]; the last also if the state is corrupt.
    pub fn snapshot(&self) -> Result<Snapshot, LedgerError> {
        let mut state = State::read(&self.dir)?.map_err(|reason| {
            let source = io::Error::new(io::ErrorKind::InvalidData, reason);
            LedgerError::Io { path: self.dir.join(state::FILE), source }
        })?;
        state.leases.retain(|lease| lease.owner.is_alive());
        let (promised, busy_milli) = booking::total(&state.leases);
        Ok(Snapshot { generation: state.generation, leases: state.leases, promised, busy_milli })
    }

    /// Keeps that a guest was moved just now, for [`since_move`](Self::since_move) of any process of this host.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn note_move(&self) -> Result<(), LedgerError> {
        moved::note(&self.dir)
    }

    /// How long ago a guest of this host was last moved. `None`: never since the boot, or that cannot be told.
    ///
    /// It is the time since the boot that counts, of the same boot. Where it went backwards, as in a container with a time namespace
    /// of its own, the wall clock counts, and where that went backwards too, or the note cannot be read, nothing is known: a change
    /// too early does less harm than none for hours.
    #[must_use]
    pub fn since_move(&self) -> Option<Duration> {
        moved::since(&self.dir)
    }

    /// Waits for the lock as long as others get on.
    fn lock(&self, patience: Duration) -> Result<LockGuard, LedgerError> {
        let mut seen = State::stamp(&self.dir);
        for _ in 1..ROUNDS {
            match self.lock.lock_timeout(LockMode::Exclusive, patience) {
                Err(LockError::Timeout { .. }) if State::stamp(&self.dir) != seen => seen = State::stamp(&self.dir),
                done => return done.map_err(|error| lock_error(&self.dir, error)),
            }
        }
        self.lock.lock_timeout(LockMode::Exclusive, patience).map_err(|error| lock_error(&self.dir, error))
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut State, &mut Vec<Notice>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let _guard = self.lock(PATIENCE)?;
        let mut notices = Vec::new();
        let mut state = match State::read(&self.dir)? {
            Ok(state) => state,
            Err(reason) => {
                let path = State::set_aside(&self.dir)?;
                notices.push(Notice::SetAside { path, reason });
                State::fresh()
            }
        };
        let (alive, dead): (Vec<_>, Vec<_>) = state.leases.drain(..).partition(|lease| lease.owner.is_alive());
        state.leases = alive;
        notices.extend(dead.into_iter().map(|lease| Notice::Reaped(Box::new(lease))));
        let answer = change(&mut state, &mut notices);
        if answer.is_ok() {
            state.write(&self.dir)?;
        }
        answer
    }
}

fn io_error(path: &Path, source: io::Error) -> LedgerError {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => LedgerError::ReadOnly(path.to_owned()),
        _ => LedgerError::Io { path: path.to_owned(), source },
    }
}

fn lock_error(dir: &Path, error: LockError) -> LedgerError {
    match error.io_kind() {
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            LedgerError::ReadOnly(dir.to_owned())
        }
        _ => LedgerError::Lock(error),
    }
}

#[cfg(test)]
mod tests;
