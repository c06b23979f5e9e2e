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
//! A guest can be described without XML as well; [`builders`] has more.
//!
//! ```
//! use polyvirt_model::{DomainConfig, DomainKind, Kib, disk::Disk, vcpu::Vcpu};
//!
//! let guest = DomainConfig::new(DomainKind::Kvm, "a")
//!     .with_memory(Kib::from_gib(1))
//!     .with_vcpu(Vcpu::of(2))
//!     .with_device(Disk::file("/a.img", "vda"));
//! assert_eq!(guest.devices.disks[0].target.as_ref().unwrap().dev, "vda");
//! ```
//!
//! Fields are named as in XML, in snake case: `memory_backing` is `<memoryBacking>`; `type` is `kind`, and lists of devices are
//! plural. Every type has `with_…` setters, `new(…)` if something is required, and a serde form.
//!
//! # Adding to the format
//!
//! An attribute is one line with its comment: parser, printer, diagnostics, JSON, TOML, JSON Schema, `with_…` and the
//! reference in `docs/generated` (`cargo xtask generate`) follow from it. In comments `absent: …`, `Since 1.2.3.` and
//! `Manual: ….` fill the columns of the reference.
//!
//! ```
//! use polyvirt_model::{FormatOptions, ParseOptions};
//! use polyvirt_xml::{Element, words};
//!
//! words! {
//!     /// Where a lamp hangs.
//!     pub enum Room { Hall = "hall", Attic = "attic" }
//! }
//!
//! /// `<lamp>`: light.
//! #[derive(Clone, Debug, Default, PartialEq, Element)]
//! #[xml(root = "lamp")]
//! pub struct Lamp {
//!     /// Where it hangs; absent: in the hall. Since 12.0.0.
//!     #[xml(attr)]
//!     pub room: Option<Room>,
//! }
//!
//! let lamp = Lamp::from_xml("<lamp room='attic'/>", &ParseOptions::default())?.config;
//! assert_eq!(lamp, Lamp::default().with_room(Room::Attic));
//! assert_eq!(lamp.to_xml_with(FormatOptions::new()), "<lamp room='attic'/>\n");
//! assert_eq!(serde_json::to_value(&lamp)?, serde_json::json!({ "room": "attic" }));
//! let schema = serde_json::to_value(polyvirt_xml::schema::<Lamp>())?;
//! assert_eq!(schema["$defs"]["Lamp"]["properties"]["room"]["enum"][1], "attic");
//! let reference = polyvirt_xml::reference::<Lamp>("lamp");
//! assert!(reference.contains("| `room` | `room` | `hall`, `attic` | in the hall | 12.0.0 | Where it hangs; absent: in the hall. |"));
//! let problems = Lamp::from_xml("<lamp room='atic'/>", &ParseOptions::default()).unwrap_err();
//! assert!(problems.to_string().ends_with("did you mean 'attic'?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it does not do
//!
//! It looks at no host and knows no hypervisor: no machine types, no addresses on buses of the machine, no default devices but
//! the readers of smart cards. It draws one thing by chance: a missing UUID. Missing MACs follow from that.
//!
//! # Invariants
//!
//! - What is printed reads back to an equal value.
//! - Completion is idempotent, and the result passes through XML unchanged. One rule of libvirt's is not (P5): `<numatune>`
//!   with an empty `<memory>` is dropped, and stops the automatic policy of automatic vCPUs (P3) that one time only.
//! - Trees are raw in `metadata` and in foreign namespaces only; what `metadata` says in our own one is read by [`wishes`].

pub mod address;
pub mod backup;
pub mod builders;
mod cells;
pub mod chardev;
mod check;
pub mod checkpoint;
pub mod clock;
pub mod codec;
mod complete;
pub mod controller;
pub mod cpu;
pub mod device;
pub mod devices;
mod diff;
pub mod disk;
pub mod display;
mod domain;
pub mod extensions;
pub mod features;
pub mod filesystem;
pub mod hostdev;
pub mod interface;
pub mod memory;
pub mod memory_device;
mod metadata;
pub mod misc;
mod name;
pub mod numatune;
pub mod os;
mod placement;
pub mod security;
pub mod snapshot;
pub mod storage;
mod stored;
pub mod tuning;
pub mod vcpu;
mod vcpu_state;
pub mod wishes;

pub use check::check;
pub use complete::{Guest, complete, complete_and_check, imply_controllers};
pub use diff::{Change, ChangeKind, abi_changes, diff, guest_sees};
pub use domain::{DomainConfig, DomainKind, GenId, LifecycleAction, LockFailureAction};
pub use name::{MAX_NAME, NameError, check_name};
pub use polyvirt_numa_placement::{CellSet, CpuSet, Kib, MemMode, NodeSet, VcpuSet};
pub use polyvirt_xml::{
    FormatOptions, Limits, ParseOptions, Parsed, Position, Positions, Problem, Problems, Severity, Unknown, XmlTree,
    decode,
};
