//! The shared model of a guest, in libvirt's domain XML.
//!
//! A definition goes through visible phases: [`DomainConfig::parse`] gives what was written, with positions; [`complete`] fills in
//! what follows from it without a driver; [`check`] reports every rule between fields that is broken. Drivers add theirs.
//!
//! ```
//! use polyvirt_model::{DomainConfig, Guest, ParseOptions, complete_and_check};
//!
//! let text = "<domain type='kvm'><name>a</name><memory unit='GiB'>1</memory><vcpu>2</vcpu><devices/></domain>";
//! let mut parsed = DomainConfig::parse(text, &ParseOptions::default())?;
//! let _warnings = complete_and_check(&mut parsed.config, Guest::New, &parsed.positions)?;
//! assert_eq!(parsed.config.memory_total().0, 1 << 20);
//! # Ok::<(), polyvirt_model::Problems>(())
//! ```
//!
//! Fields are named as in XML, in snake case: `memory_backing` is `<memoryBacking>`; `type` is `kind`, and lists of devices are
//! plural. Every type has `with_…` setters, `new(…)` if something is required, and a serde form.
//!
//! # What it does not do
//!
//! It looks at no host and knows no hypervisor: no machine types, no addresses on buses of the machine, no default devices but
//! the readers of smart cards. It draws one thing by chance: a missing UUID. Missing MACs follow from that.
//!
//! # Invariants
//!
//! - What is printed reads back to an equal value.
//! - Completion is idempotent, and the result passes through XML unchanged.
//! - Trees are raw in `metadata` and in foreign namespaces only.

pub mod address;
pub mod backup;
mod cells;
pub mod chardev;
mod check;
pub mod clock;
pub mod codec;
mod complete;
pub mod controller;
pub mod cpu;
pub mod devices;
mod diff;
pub mod disk;
pub mod display;
mod domain;
pub mod features;
pub mod filesystem;
pub mod hostdev;
pub mod interface;
pub mod memory;
pub mod memory_device;
pub mod misc;
mod name;
pub mod numatune;
pub mod os;
mod placement;
pub mod security;
pub mod storage;
mod stored;
pub mod tuning;
pub mod vcpu;

pub use check::check;
pub use complete::{Guest, complete, complete_and_check};
pub use diff::{Change, ChangeKind, abi_changes, diff};
pub use domain::{DomainConfig, DomainKind, GenId, LifecycleAction, LockFailureAction};
pub use name::{MAX_NAME, NameError, check_name};
pub use polyvirt_xml::{
    FormatOptions, Limits, ParseOptions, Parsed, Position, Positions, Problem, Problems, Severity, Unknown, XmlTree,
    decode,
};
