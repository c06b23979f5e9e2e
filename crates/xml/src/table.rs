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

    /// One bit per field that holds anything. A value that cannot be absent always does.
    fn present(&self) -> u128;

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
    /// The [`key`] of each field's name, 0 for one without: a whole table of them is a few cache lines, its fields are not.
    pub keys: &'static [u32],
    /// One bit per field that a start tag is about: attributes, sizes in text, groups, foreign elements.
    pub in_tag: u128,
    /// One bit per field that the content is about: everything but attributes.
    pub in_content: u128,
    /// One bit per field that goes by the names of another table: groups, and children whose name chooses the variant.
    pub borrowed: u128,
    /// The bit of the field that is the element's own text.
    pub text: u128,
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
    /// For attributes: another attribute and its word beside which this one does not count, so that a wrong value is no error.
    pub moot: Option<(&'static str, &'static str)>,
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

impl Table {
    /// The field with this name among those of a mask, which has the bits of fields of one kind.
    pub(crate) fn find(&self, name: Name<'_>, among: u128) -> Option<usize> {
        let named = |&(index, key): &(usize, &u32)| {
            *key == name.key && among & 1 << index != 0 && self.fields[index].xml == name.text
        };
        self.keys.iter().enumerate().find(named).map(|(index, _)| index)
    }
}

/// A name with its key, which is computed once.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    pub(crate) key: u32,
    pub(crate) text: &'a str,
}

impl<'a> Name<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { key: key(text), text }
    }
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.text == other.text
    }
}

/// Length, first, middle and last byte: different for nearly all names of one table, and cheaper than a comparison. 0 for no name.
#[must_use]
pub const fn key(name: &str) -> u32 {
    let bytes = name.as_bytes();
    if bytes.is_empty() {
        return 0;
    }
    // The low byte of the length is enough, and no name begins with a zero byte.
    u32::from_le_bytes([bytes.len().to_le_bytes()[0], bytes[0], bytes[bytes.len() / 2], bytes[bytes.len() - 1]])
}

/// The positions of the bits of a mask, ascending.
pub(crate) fn bits(mut mask: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let lowest = mask.trailing_zeros() as usize;
        mask &= mask - 1;
        Some(lowest)
    })
}
