//! The serde form of every type, from the same tables: JSON, TOML and whatever else serde speaks.
//!
//! An element is a map from Rust field names. Sizes are numbers in the unit of their type, words and sets are text, booleans are
//! booleans, empty fields are absent. An enum that an attribute chooses carries it under the attribute's name. Trees are XML text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::access::ValueAccess;
use crate::escape::is_char;
use crate::problem::Problem;
use crate::suggest::nearest;
use crate::table::{Choice, Element, Field, Place, Table};
use crate::tree::XmlTree;
use crate::value::{Scalar, Style, ValueContext, bool_words};

/// Serialises an element; called by the derive.
///
/// # Errors
/// Those of the serialiser.
pub fn serialize<T: Element, S: Serializer>(element: &T, serializer: S) -> Result<S::Ok, S::Error> {
    View { element, choice: T::describe().choice }.serialize(serializer)
}

/// Deserialises an element; called by the derive.
///
/// # Errors
/// Those of the deserialiser, and a [`Problem`] with the path of what is wrong.
pub fn deserialize<'de, T: Element + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let node = Node::deserialize(deserializer)?;
    let mut value = T::default();
    chosen(&mut value, T::describe(), node, "").map_err(serde::de::Error::custom)?;
    Ok(value)
}

struct View<'a> {
    element: &'a dyn Element,
    choice: Option<&'static Choice>,
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let variant = self.choice.and_then(|choice| Some((choice, choice.variants.get(self.element.variant())?)));
        let mut map = serializer.serialize_map(None)?;
        match variant {
            Some((choice, variant)) => match choice.attribute {
                Some(attribute) => {
                    map.serialize_entry(attribute, variant.word)?;
                    fields(self.element, &mut map)?;
                }
                None => map.serialize_entry(variant.word, &View { element: self.element, choice: None })?,
            },
            None => fields(self.element, &mut map)?,
        }
        map.end()
    }
}

fn fields<M: SerializeMap>(element: &dyn Element, map: &mut M) -> Result<(), M::Error> {
    for (index, field) in element.table().fields.iter().enumerate() {
        let slot = element.slot(index);
        match field.place {
            Place::Attribute(access) | Place::Text(access) | Place::Leaf(access) => {
                let count = access.count(slot);
                if access.is_list() && count > 0 {
                    let list: Vec<Shown<'_>> = (0..count).filter_map(|i| access.scalar(slot, i)).map(Shown).collect();
                    map.serialize_entry(field.name, &list)?;
                } else if let Some(scalar) = access.scalar(slot, 0) {
                    map.serialize_entry(field.name, &Shown(scalar))?;
                }
            }
            Place::Flag if slot.downcast_ref::<bool>() == Some(&true) => map.serialize_entry(field.name, &true)?,
            Place::Child(access) | Place::Group(access) => {
                let choice = access.table().choice;
                let items = (0..access.count(slot)).filter_map(|i| access.item(slot, i));
                let views: Vec<View<'_>> = items.map(|element| View { element, choice }).collect();
                if access.is_list() && !views.is_empty() {
                    map.serialize_entry(field.name, &views)?;
                } else if let Some(view) = views.first()
                    && !(access.is_plain() && is_empty(view.element))
                {
                    map.serialize_entry(field.name, view)?;
                }
            }
            Place::Tree => {
                if let Some(Some(tree)) = slot.downcast_ref::<Option<XmlTree>>() {
                    map.serialize_entry(field.name, &tree.to_string())?;
                }
            }
            Place::Foreign => {
                if let Some(trees) = slot.downcast_ref::<Vec<XmlTree>>().filter(|trees| !trees.is_empty()) {
                    let texts: Vec<String> = trees.iter().map(XmlTree::to_string).collect();
                    map.serialize_entry(field.name, &texts)?;
                }
            }
            Place::Flag => {}
        }
    }
    Ok(())
}

/// Whether an element would be printed without attributes and content.
pub(crate) fn is_empty(element: &dyn Element) -> bool {
    element.table().fields.iter().enumerate().all(|(index, field)| {
        let slot = element.slot(index);
        match field.place {
            Place::Attribute(access) | Place::Text(access) | Place::Leaf(access) => access.count(slot) == 0,
            Place::Flag => slot.downcast_ref::<bool>() != Some(&true),
            Place::Child(access) | Place::Group(access) if access.is_plain() => {
                access.item(slot, 0).is_none_or(is_empty)
            }
            Place::Child(access) | Place::Group(access) => access.count(slot) == 0,
            Place::Tree => slot.downcast_ref::<Option<XmlTree>>().is_none_or(Option::is_none),
            Place::Foreign => slot.downcast_ref::<Vec<XmlTree>>().is_none_or(Vec::is_empty),
        }
    })
}

struct Shown<'a>(Scalar<'a>);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Scalar::Text(text) => serializer.serialize_str(text),
            Scalar::Unsigned(n) => serializer.serialize_u64(*n),
            Scalar::Signed(n) => serializer.serialize_i64(*n),
            Scalar::Bool(b) => serializer.serialize_bool(*b),
        }
    }
}

/// Whatever the input format holds, before it is matched with a table. Depth and size are bounded by the format's reader.
enum Node {
    Null,
    Scalar(Scalar<'static>),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, number, boolean, list or map")
    }
    fn visit_bool<E>(self, b: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Scalar::Bool(b)))
    }
    fn visit_i64<E>(self, n: i64) -> Result<Node, E> {
        Ok(Node::Scalar(u64::try_from(n).map_or(Scalar::Signed(n), Scalar::Unsigned)))
    }
    fn visit_u64<E>(self, n: u64) -> Result<Node, E> {
        Ok(Node::Scalar(Scalar::Unsigned(n)))
    }
    fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Node, E> {
        Err(E::custom(format!("{n} is not a whole number")))
    }
    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Scalar(Scalar::Text(text.to_owned().into())))
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}

fn wrong(path: impl Into<String>, message: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::error(path, message))
}

fn suggesting(mut problem: Box<Problem>, name: Option<&str>) -> Box<Problem> {
    problem.suggestion = name.map(str::to_owned);
    problem
}

fn chosen(element: &mut dyn Element, table: &'static Table, node: Node, path: &str) -> Result<(), Box<Problem>> {
    let Node::Map(mut entries) = node else {
        return Err(wrong(path, "a map was expected here"));
    };
    let Some(choice) = table.choice else { return fill(element, entries, path) };
    let words = || choice.variants.iter().map(|v| v.word);
    let unknown = |word: &str| {
        let list = words().collect::<Vec<_>>().join(", ");
        suggesting(wrong(path, format!("'{word}' is not one of {list}")), nearest(word, words()))
    };
    let index_of = |word: &str| words().position(|known| known == word).ok_or_else(|| unknown(word));
    if let Some(attribute) = choice.attribute {
        let found = entries.iter().position(|(key, _)| key == attribute).map(|at| entries.remove(at).1);
        let word = match &found {
            Some(Node::Scalar(Scalar::Text(word))) => word.as_ref(),
            Some(_) => return Err(wrong(path, format!("'{attribute}' is a word"))),
            None => choice.default.ok_or_else(|| wrong(path, format!("'{attribute}' is missing")))?,
        };
        element.choose(index_of(word)?);
        return fill(element, entries, path);
    }
    match entries.pop() {
        Some((word, Node::Map(inner))) if entries.is_empty() => {
            element.choose(index_of(&word)?);
            fill(element, inner, &format!("{path}/{word}"))
        }
        _ => Err(wrong(path, "a map with one entry was expected here")),
    }
}

fn fill(element: &mut dyn Element, entries: Vec<(String, Node)>, path: &str) -> Result<(), Box<Problem>> {
    let table = element.table();
    let mut seen: u128 = 0;
    for (key, node) in entries {
        let path = format!("{path}/{key}");
        let Some(index) = table.fields.iter().position(|field| field.name == key) else {
            let near = nearest(&key, table.fields.iter().map(|field| field.name));
            return Err(suggesting(wrong(path, format!("'{key}' is not known here")), near));
        };
        // As in XML: white space is no text.
        let blank = |node: &Node| matches!(node, Node::Scalar(Scalar::Text(text)) if text.trim().is_empty());
        let absent = matches!(table.fields[index].place, Place::Text(_)) && blank(&node);
        if !absent && !matches!(node, Node::Null) {
            seen |= 1 << index;
            field(element, index, &table.fields[index], node, &path)?;
        }
    }
    for (index, field) in table.fields.iter().enumerate() {
        if table.required & !seen & (1 << index) != 0 {
            return Err(wrong(path, format!("'{}' is missing", field.name)));
        }
    }
    Ok(())
}

fn field(element: &mut dyn Element, index: usize, field: &Field, node: Node, path: &str) -> Result<(), Box<Problem>> {
    let fields = element.table().fields;
    let slot = element.slot_mut(index);
    match field.place {
        Place::Attribute(access) | Place::Text(access) | Place::Leaf(access) => match node {
            Node::List(list) if access.is_list() => {
                list.into_iter().try_for_each(|item| value(access, slot, field, &item, path))
            }
            node => value(access, slot, field, &node, path),
        },
        Place::Flag => match (slot.downcast_mut::<bool>(), node) {
            (Some(flag), Node::Scalar(Scalar::Bool(b))) => {
                *flag = b;
                Ok(())
            }
            _ => Err(wrong(path, "true or false was expected here")),
        },
        Place::Child(access) | Place::Group(access) => {
            let nodes = match node {
                Node::List(list) if access.is_list() => list,
                node => vec![node],
            };
            for (i, node) in nodes.into_iter().enumerate() {
                let Some(child) = access.begin(&mut *slot) else { continue };
                let path = if access.is_list() { format!("{path}[{}]", i + 1) } else { path.to_owned() };
                chosen(child, access.table(), node, &path)?;
            }
            Ok(())
        }
        Place::Tree => {
            if let Some(slot) = slot.downcast_mut::<Option<XmlTree>>() {
                let tree = tree(&node, path)?;
                if tree.name != field.xml || tree.namespace.is_some() {
                    return Err(wrong(path, format!("<{}> was expected here, without a namespace", field.xml)));
                }
                *slot = Some(tree);
            }
            Ok(())
        }
        Place::Foreign => {
            let Node::List(list) = node else { return Err(wrong(path, "a list was expected here")) };
            let trees = list.iter().map(|node| tree(node, path)).collect::<Result<Vec<_>, _>>()?;
            if let Some(stray) = trees.iter().find(|tree| tree.namespace.is_none()) {
                return Err(wrong(path, format!("<{}> has no namespace, elements of others have one", stray.name)));
            }
            // XML would be read as what the table knows, or be refused.
            let typed = |tree: &&XmlTree| {
                fields.iter().any(|f| f.namespace.is_some() && f.namespace == tree.namespace.as_deref())
            };
            if let Some(known) = trees.iter().find(typed) {
                let message =
                    format!("the namespace of <{}> is known, its elements have fields of their own", known.name);
                return Err(wrong(path, message));
            }
            if let Some(slot) = slot.downcast_mut::<Vec<XmlTree>>() {
                *slot = trees;
            }
            Ok(())
        }
    }
}

fn tree(node: &Node, path: &str) -> Result<XmlTree, Box<Problem>> {
    match node {
        Node::Scalar(Scalar::Text(text)) => {
            let tree = XmlTree::parse(text).map_err(|problem| wrong(path, problem.to_string()))?;
            match tree.undeclared() {
                Some(prefix) => {
                    Err(wrong(path, format!("the prefix '{prefix}' is not declared, add xmlns:{prefix}='…'")))
                }
                None => Ok(tree),
            }
        }
        _ => Err(wrong(path, "XML text was expected here")),
    }
}

fn value(
    access: &dyn ValueAccess,
    slot: &mut dyn std::any::Any,
    field: &Field,
    node: &Node,
    path: &str,
) -> Result<(), Box<Problem>> {
    let Node::Scalar(scalar) = node else {
        return Err(wrong(path, "one value was expected here"));
    };
    // Numbers are decimal here whatever the XML looks like, and sizes are in the unit of their type.
    let (text, style) = match scalar {
        Scalar::Text(text) => (text.to_string(), field.style),
        Scalar::Unsigned(n) => (n.to_string(), Style::Plain),
        Scalar::Signed(n) => (n.to_string(), Style::Plain),
        Scalar::Bool(b) => {
            let (yes, no) = bool_words(field.style);
            (if *b { yes } else { no }.to_owned(), field.style)
        }
    };
    if let Some(c) = text.chars().find(|c| !is_char(*c)) {
        return Err(wrong(path, format!("the character {} cannot stand in XML", c.escape_unicode())));
    }
    let context = ValueContext { style, unit: access.unit() };
    access
        .parse(slot, &text, &context)
        .map_err(|error| suggesting(wrong(path, error.message), error.suggestion.as_deref()))
}
