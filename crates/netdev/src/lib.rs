//! Network devices of the host that guests are connected to: taps, and the bridges they are ports of.
//!
//! [`Tap::make`] makes a tap, says how it is to be, makes it the port of a bridge and hands back its queues; [`Tap::open`] opens one
//! that somebody else made and leaves it as it is. [`move_port`] brings a tap that is in use to another bridge. [`Links`] looks at devices and changes them over rtnetlink (rtnetlink(7)).
//!
//! What this crate does not do: it makes no bridges, gives no addresses to the host, filters and shapes nothing, and knows no guest.
//! Macvtap and veth devices are not here yet.
//!
//! # Invariants
//!
//! 1. A tap that is made here is not persistent: with its last descriptor goes the device, and its place on the bridge. So nothing
//!    has to be removed, whoever dies.
//! 2. What exists is never taken for what was to be made: names are chosen by the kernel, and a name that is given and taken is an error.
//! 3. What fails half-way leaves nothing: the descriptors close.
//!
//! Calls block for as long as the kernel holds its lock of network devices, usually microseconds.

mod error;
mod links;
mod port;
mod tap;

pub use error::NetdevError;
pub use links::{Change, Link, LinkCounters, Links};
pub use port::{PortRequest, move_port};
pub use tap::{TUN, Tap, TapRequest, is_generated};
