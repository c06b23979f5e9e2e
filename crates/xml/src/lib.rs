//! One description per XML type: parser, formatter, diagnostics and the serde form come from it.
//!
//! A type says once what it looks like, with `#[derive(Element)]` and `#[xml(…)]` on its fields. The derive writes a static
//! [`Table`] and two small accessors; one engine that is generic over nothing does the work. So a model of hundreds of
//! types costs tables, not code.
//!
//! ```
//! use polyvirt_xml::{Element, FormatOptions, ParseOptions};
//!
//! /// A disk.
//! #[derive(Clone, Debug, Default, PartialEq, Element)]
//! #[xml(root = "disk")]
//! pub struct Disk {
//!     /// What the guest sees.
//!     #[xml(attr)]
//!     pub device: Option<String>,
//!     /// The slot.
//!     #[xml(attr, hex = 2)]
//!     pub slot: u32,
//!     /// Whether the guest may not write.
//!     #[xml(flag)]
//!     pub readonly: bool,
//!     /// What it is called.
//!     #[xml(leaf)]
//!     pub serial: Option<String>,
//! }
//!
//! let parsed = Disk::from_xml("<disk slot='3'><readonly/></disk>", &ParseOptions::default()).unwrap();
//! assert!(parsed.config.readonly);
//! assert_eq!(parsed.config.to_xml_with(FormatOptions::new()), "<disk slot='0x03'>\n  <readonly/>\n</disk>\n");
//!
//! let problems = Disk::from_xml("<disk slot='x'/>", &ParseOptions::default()).unwrap_err();
//! assert_eq!(problems.to_string(), "/disk/@slot, line 1 column 13: 'x' is not a whole number");
//! ```
//!
//! # Fields
//!
//! | `#[xml(…)]` | stands for | types |
//! |---|---|---|
//! | `attr` | an attribute | `T`, `Option<T>` |
//! | `text` | the element's own text | `T`, `Option<T>` |
//! | `leaf` | a child that holds only text | `T`, `Option<T>`, `Vec<T>` |
//! | `flag` | a child that is there or not | `bool` |
//! | `child` | a child element | `E`, `Option<E>`, `Option<Box<E>>`, `Vec<E>` |
//! | `choice` | children whose names choose the variant of an enum | as `child` |
//! | `group` | attributes and children of `E` as if they were this type's | `E` |
//! | `tree` | a child kept as it is | `Option<XmlTree>` |
//! | `foreign` | children of other namespaces, kept as they are | `Vec<XmlTree>` |
//!
//! with `name = "…"` (else the field's name in camelCase), `hex = N`, `yesno`, `onoff`, `unit = "KiB"` (a size; the unit that is
//! meant when none is written), `codec = Type`, `default`, `once`, `secret`, `live`, `moot = "attribute=word"` (beside
//! that attribute a wrong value is no error), and `ns = "…"` for a child of
//! another namespace, whose name then has its usual prefix (any prefix is read). A value or child that is neither optional nor a
//! list is required, unless it says `default`; plain `child` elements are optional and printed if they hold
//! anything, unless they say `always`.
//!
//! On the type: `root = "…"` gives `from_xml` and `to_xml`; on an enum `tag = "attribute"` (and `default = "word"`), and
//! `#[xml("word")]` on each variant. An enum without `tag` is chosen by the name of the element.
//!
//! # What it does not do
//!
//! No document types, no entities beyond the five, no encodings but UTF-8, mixed content in trees only. Nothing is completed: a value
//! holds what was written. Rules between fields are the model's.
//!
//! # Invariants
//!
//! - Whatever the input, nothing panics, and memory is bounded by [`Limits`] before it is allocated.
//! - What is printed reads back to an equal value.
//! - No path and no position is computed before there is a problem to report.

mod access;
mod document;
mod escape;
pub mod json;
mod positions;
mod problem;
mod read;
mod reference;
mod scan;
mod schema;
mod size;
mod suggest;
mod table;
mod tokens;
mod tree;
mod value;
mod write;

pub use access::{Boxed, ElementAccess, Many, Maybe, One, ValueAccess};
pub use document::Limits;
pub use polyvirt_xml_derive::Element;
pub use positions::Positions;
pub use problem::{Position, Problem, Problems, Severity};
pub use read::{ParseOptions, Parsed, Unknown, parse};
pub use reference::reference;
pub use schema::{Schema, schema};
pub use size::{parse_bytes, unit_bytes};
pub use suggest::nearest;
pub use table::{Choice, Element, Field, Place, Table, Variant};
pub use tokens::decode;
pub use tree::{Kept, XmlTree};
pub use value::{
    Codec, Plain, Scalar, Style, Value, ValueContext, ValueError, ValueKind, bool_words, parse_integer, trim,
    unknown_word, write_decimal,
};
pub use write::{FormatOptions, format};

/// For the code that the derive writes.
#[doc(hidden)]
pub mod derive {
    pub use crate::table::key;
    pub use serde;
}
