//! Firmware of guests: what is installed on a host, and which of it fits a guest.
//!
//! Distributions describe each firmware image in a JSON file (QEMU's `docs/interop/firmware.json`). [`Firmwares::read`] finds
//! them below a root directory, in order of preference; [`Firmwares::choose`] picks the first that fits a [`Wish`].
//!
//! Images are never opened and no variables are copied here.
//!
//! # Invariants
//!
//! 1. The order is that of the files' names; a file hides those of its name in directories of lower priority, and an empty
//!    file hides them without standing for anything.
//! 2. A damaged description is reported and left out; it hides nothing else.

mod choice;
mod descriptor;
mod search;

pub use choice::{Chosen, Wish};
pub use descriptor::{Descriptor, DescriptorError, Feature, Format, Image, Interface, Mapping, Mode, Target};
pub use search::{Firmwares, Problem, ProblemReason};
