//! The shape of a typed command.

use serde::{Serialize, de::DeserializeOwned};

/// A command: a type whose serde form is the command's `arguments` object.
///
/// Drivers define commands of their own the same way:
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize)]
/// struct RingBufRead<'a> {
///     device: &'a str,
///     size: u32,
/// }
///
/// impl polyvirt_qmp::Command for RingBufRead<'_> {
///     const NAME: &'static str = "ringbuf-read";
///     type Reply = String;
/// }
/// ```
pub trait Command: Serialize {
    /// The command's name.
    const NAME: &'static str;
    /// What QEMU returns; [`Empty`](crate::Empty) for `{}`.
    type Reply: DeserializeOwned;
}
