//! The tables that `#[derive(Element)]` writes: what a type looks like in XML, without any code of its own.

use std::any::Any;

use crate::access::{ElementAccess, ValueAccess};
use crate::value::Style;

/// A type that is an XML element. Implemented by `#[derive(Element)]` alone.
///
/// The engine is generic over nothing: it walks [`Table`]s and reaches the fields through [`Element::slot`].
pub trait Element: Any + Send + Sync {
    /// The table of the type.
    fn describe() -> &'static Table
    where
        Self: Sized;

    /// The table of this value: of the chosen variant for an enum, else of the type.
    fn table(&self) -> &'static Table;

    /// The field with this index in the table.
    fn slot(&self, index: usize) -> &dyn Any;

    /// The field with this index in the table, to fill it.
    fn slot_mut(&mut self, index: usize) -> &mut dyn Any;

    /// The index of the chosen variant; 0 for a struct.
    fn variant(&self) -> usize {
        0
    }

    /// Makes the value an empty one of the variant with this index. Structs have none.
    fn choose(&mut self, _variant: usize) {}
}

/// What one type looks like.
#[derive(Debug)]
pub struct Table {
    /// The Rust name of the type.
    pub name: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// Its fields, in the order in which they are printed.
    pub fields: &'static [Field],
    /// Indices of the fields that a start tag is about: attributes, sizes in text, groups, foreign elements.
    pub in_tag: &'static [u8],
    /// Indices of the fields that the content is about: everything but attributes.
    pub in_content: &'static [u8],
    /// One bit per field that must be there.
    pub required: u128,
    /// Its variants, if the type is an enum that an attribute or the element's name chooses from.
    pub choice: Option<&'static Choice>,
}

/// The variants of an enum.
#[derive(Debug)]
pub struct Choice {
    /// The attribute whose word chooses; without one the name of the element chooses.
    pub attribute: Option<&'static str>,
    /// The word that is meant when the attribute is missing.
    pub default: Option<&'static str>,
    /// The variants.
    pub variants: &'static [Variant],
}

/// One variant of an enum.
#[derive(Debug)]
pub struct Variant {
    /// The word or the element's name.
    pub word: &'static str,
    /// The documentation of the variant.
    pub doc: &'static str,
    /// What the variant looks like.
    pub table: fn() -> &'static Table,
}

/// One field of a type.
#[derive(Debug)]
pub struct Field {
    /// The name in Rust, in JSON and in TOML.
    pub name: &'static str,
    /// The name in XML; empty for text and groups.
    pub xml: &'static str,
    /// The namespace of the name, for an element of another namespace; `xml` then has its usual prefix.
    pub namespace: Option<&'static str>,
    /// Its documentation.
    pub doc: &'static str,
    /// Where it stands.
    pub place: Place,
    /// The spelling of its values.
    pub style: Style,
    /// For sizes: the unit that is meant when none is written.
    pub unit: Option<&'static str>,
    /// Whether a plain child is printed even if it is empty.
    pub always: bool,
    /// Whether a second element of the name is an error; else the first counts and the others are reported as unused.
    pub once: bool,
    /// Secret: only printed when asked for.
    pub secret: bool,
    /// State of a running guest: not part of the stored definition.
    pub live: bool,
}

/// Where a field stands, and how its slot is reached.
#[derive(Clone, Copy)]
pub enum Place {
    /// An attribute.
    Attribute(&'static dyn ValueAccess),
    /// The text of the element itself.
    Text(&'static dyn ValueAccess),
    /// A child element that holds only text.
    Leaf(&'static dyn ValueAccess),
    /// A `bool`: an empty child element that is there or not.
    Flag,
    /// A child element.
    Child(&'static dyn ElementAccess),
    /// Attributes and children of another type, as if they were this one's.
    Group(&'static dyn ElementAccess),
    /// `Option<XmlTree>`: a child that is kept as it is.
    Tree,
    /// `Vec<XmlTree>`: children of other namespaces, kept as they are.
    Foreign,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Attribute(_) => "Attribute",
            Self::Text(_) => "Text",
            Self::Leaf(_) => "Leaf",
            Self::Flag => "Flag",
            Self::Child(_) => "Child",
            Self::Group(_) => "Group",
            Self::Tree => "Tree",
            Self::Foreign => "Foreign",
        })
    }
}
