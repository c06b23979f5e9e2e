//! polyvirt: one model of a guest, many hypervisors behind one trait, NUMA placement decided once for all of them.
//!
//! This is the crate that programs embed. One cargo feature a driver (`qemu`, `mock`) and a service (`security`); no daemon, no C library.
//!
//! ```no_run
//! # async fn run() -> polyvirt::Result<()> {
//! let connection = polyvirt::open("qemu:///session").await?;
//! let defined = connection.define(&std::fs::read_to_string("guest.xml").unwrap()).await?;
//! defined.guest.start(false).await?;
//! # Ok(()) }
//! ```
//!
//! What it does not do: it decides nothing itself. The guests are [`polyvirt_engine`]'s, the traits [`polyvirt_core`]'s.

mod capabilities;
mod domain_capabilities;
pub mod import;
mod open_metrics;

pub use capabilities::{capabilities_xml, guest_capabilities_xml};
pub use domain_capabilities::domain_capabilities_xml;
pub use open_metrics::{OPEN_METRICS, open_metrics};
pub use polyvirt_core::*;
pub use polyvirt_cpu as cpu;
pub use polyvirt_engine::*;
pub use polyvirt_firmware as firmware;
pub use polyvirt_host::{Check, Host, HostError, Outcome, PoolSize};

// A driver or a service that is only a dependency registers nothing: it must be mentioned.
#[cfg(feature = "mock")]
use polyvirt_driver_mock as _;
#[cfg(feature = "qemu")]
use polyvirt_driver_qemu as _;
#[cfg(feature = "security")]
use polyvirt_security as _;

/// The drivers that this build's features name.
pub const EXPECTED: &[&str] = &[
    #[cfg(feature = "mock")]
    "mock",
    #[cfg(feature = "qemu")]
    "qemu",
];

/// The drivers linked into this program: those of this crate's features, and whatever else the program mentions.
///
/// # Errors
/// `Internal` when a driver that the features name did not register; `AlreadyExists` when two answer one scheme.
pub fn registry() -> Result<Registry> {
    let registry = Registry::linked()?;
    let missing: Vec<_> = EXPECTED.iter().filter(|name| registry.by_name(name).is_none()).copied().collect();
    if missing.is_empty() {
        return Ok(registry);
    }
    Err(Error::new(
        ErrorKind::Internal,
        format!("the drivers {} are built in but did not register", missing.join(", ")),
    )
    .hint("this platform may lack life before main: add the drivers with Registry::add"))
}

/// Opens a connection with the linked drivers and default options.
///
/// # Errors
/// Those of [`Connection::open`].
pub async fn open(uri: &str) -> Result<Connection> {
    Connection::open(uri, OpenOptions::new(registry()?)).await
}
