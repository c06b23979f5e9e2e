//! Disk images: what their headers say, and the chains that they make.
//!
//! An image of some formats holds only what differs from another one, its backing image, and says in its header where that is. Here such
//! headers are read ([`Header`], [`BackingName`]: pure) and followed until a chain ends ([`complete`]), so that a hypervisor can be
//! told every image of a chain, and every file can be looked at before a guest starts.
//!
//! What this deliberately does not do: it writes no image, reads no data of a guest, runs no program, and speaks to no server; a
//! chain that leaves this host is followed up to there.
//!
//! Invariants:
//!
//! 1. An image is its guest's, and may lie. No number of a header is believed before it is compared with a bound, and no more than
//!    [`HEAD_LIMIT`] bytes of any image are read.
//! 2. The format of an image is never guessed from its content where the guess would be believed: a guest that has a raw disk can
//!    write any header into it, with the name of any file of the host in it. What is not named is raw; if the content looks like
//!    something else, the chain is refused ([`complete`]).
//! 3. A chain ends: each image is in it once, by device and inode, and there are at most [`DEPTH`].

mod chain;
mod header;
mod name;
mod sniff;

pub use chain::{DEPTH, complete};
pub use header::{HEAD_LIMIT, Header, HeaderError};
pub use name::{BackingName, NameError};
pub use sniff::sniff;
