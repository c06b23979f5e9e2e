//! Crash-safe leases in a directory, for all processes of a host.
//!
//! Four small parts, each usable alone:
//!
//! - [`Owner`]: who holds something, in a form that survives in a file and can be asked "are you alive?".
//! - [`DirLock`]: a shared or exclusive `flock` on a lock file of a directory.
//! - [`OwnerLock`]: one owner process at a time, and everybody else can read who it is.
//! - [`write_atomic`]: a record is either the old one or the new one, never half of either.
//!
//! What it does not do: it knows nothing of what is leased. Records, phases and promises belong to its users
//! (the ledger of `polyvirt-numa-placement`, the store of `polyvirt-engine`). It never blocks on anything but a lock
//! and never waits for another process's answer.
//!
//! Invariants:
//!
//! - A lock is a property of an open file, so the kernel drops it when the holder dies, however it dies.
//! - After a lock is taken, the path still leads to the locked file; if somebody unlinked it in between, the
//!   attempt starts over.
//! - An owner that cannot be judged (another pid namespace, a hidden `/proc`) counts as alive: what is held too long
//!   costs capacity, what is given away too early costs somebody's guest.

mod atomic;
mod lock;
mod owner;
mod owner_lock;

pub use atomic::{Durability, remove_durable, sweep_temporaries, write_atomic};
pub use lock::{DirLock, LockError, LockGuard, LockMode};
pub use owner::{Liveness, Owner, OwnerError, boot_id};
pub use owner_lock::{Held, OwnerLock, OwnerLockError, OwnerNote};
