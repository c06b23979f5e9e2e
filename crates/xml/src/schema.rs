//! JSON Schema (2020-12) of the serde form, from the tables.
//!
//! It describes what is written: every form that is printed is valid. Reading takes more (numbers as text, for instance), and
//! rules between fields are not in it.

use std::collections::HashSet;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::table::{Choice, Element, Field, Place, Table};
use crate::value::ValueKind;

/// The schema of `T`, to be serialised.
#[must_use]
pub fn schema<T: Element>() -> Schema {
    let mut definitions = Definitions::default();
    let root = definitions.name(T::describe());
    let mut defined = Vec::new();
    while let Some(table) = definitions.waiting.pop() {
        let name = definitions.name(table);
        defined.push((name, definitions.element(table)));
    }
    defined.sort_by(|(a, _), (b, _)| a.cmp(b));
    Schema(object([
        ("$schema", text("https://json-schema.org/draft/2020-12/schema")),
        ("title", text(T::describe().name)),
        ("$ref", Json::Text(format!("#/$defs/{root}"))),
        ("$defs", Json::Map(defined)),
    ]))
}

/// A JSON Schema.
#[derive(Debug)]
pub struct Schema(Json);

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[derive(Debug)]
enum Json {
    False,
    Unsigned(u64),
    Signed(i64),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::False => serializer.serialize_bool(false),
            Self::Unsigned(n) => serializer.serialize_u64(*n),
            Self::Signed(n) => serializer.serialize_i64(*n),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => serializer.collect_seq(list),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

fn text(text: &str) -> Json {
    Json::Text(text.to_owned())
}

fn object<const N: usize>(entries: [(&str, Json); N]) -> Json {
    Json::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn typed(name: &str) -> Json {
    object([("type", text(name))])
}

fn array(items: Json) -> Json {
    object([("type", text("array")), ("items", items)])
}

/// The types that are mentioned, each once. Two Rust types of one name are told apart by a number.
#[derive(Default)]
struct Definitions {
    known: Vec<(&'static Table, String)>,
    names: HashSet<String>,
    waiting: Vec<&'static Table>,
}

impl Definitions {
    fn name(&mut self, table: &'static Table) -> String {
        if let Some((_, name)) = self.known.iter().find(|(known, _)| std::ptr::eq(*known, table)) {
            return name.clone();
        }
        let mut name = table.name.to_owned();
        let mut count = 1;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{}{count}", table.name);
        }
        self.known.push((table, name.clone()));
        self.waiting.push(table);
        name
    }

    fn reference(&mut self, table: &'static Table) -> Json {
        let name = self.name(table);
        object([("$ref", Json::Text(format!("#/$defs/{name}")))])
    }

    fn element(&mut self, table: &'static Table) -> Json {
        let Some(choice) = table.choice else { return self.fields(table, None) };
        let variants = choice.variants.iter().map(|variant| match choice.attribute {
            Some(attribute) => self.fields((variant.table)(), Some((choice, attribute, variant.word))),
            None => {
                let inner = self.reference((variant.table)());
                object([
                    ("type", text("object")),
                    ("properties", object([(variant.word, inner)])),
                    ("required", Json::List(vec![text(variant.word)])),
                    ("additionalProperties", Json::False),
                ])
            }
        });
        let variants = variants.collect();
        object([("description", text(table.doc.trim())), ("oneOf", Json::List(variants))])
    }

    /// An object; with the attribute that chooses it and its word, if it is a variant.
    fn fields(&mut self, table: &'static Table, chosen: Option<(&Choice, &str, &str)>) -> Json {
        let mut properties = Vec::new();
        let mut required = Vec::new();
        if let Some((choice, attribute, word)) = chosen {
            properties.push((attribute.to_owned(), object([("const", text(word))])));
            if choice.default != Some(word) {
                required.push(text(attribute));
            }
        }
        for (index, field) in table.fields.iter().enumerate() {
            properties.push((field.name.to_owned(), self.field(field)));
            if table.required & (1 << index) != 0 {
                required.push(text(field.name));
            }
        }
        object([
            ("description", text(table.doc.trim())),
            ("type", text("object")),
            ("properties", Json::Map(properties)),
            ("required", Json::List(required)),
            ("additionalProperties", Json::False),
        ])
    }

    fn field(&mut self, field: &'static Field) -> Json {
        let (item, is_list) = match field.place {
            Place::Attribute(access) | Place::Text(access) | Place::Leaf(access) => {
                (value(access.kind()), access.is_list())
            }
            Place::Flag => (typed("boolean"), false),
            Place::Child(access) | Place::Group(access) => (self.reference(access.table()), access.is_list()),
            Place::Tree => (typed("string"), false),
            Place::Foreign => (typed("string"), true),
        };
        let Json::Map(mut entries) = (if is_list { array(item) } else { item }) else { return Json::False };
        entries.insert(0, ("description".to_owned(), text(field.doc.trim())));
        Json::Map(entries)
    }
}

fn value(kind: ValueKind) -> Json {
    match kind {
        ValueKind::Text | ValueKind::Syntax(_) => typed("string"),
        ValueKind::Words(words) => object([("enum", Json::List(words.iter().map(|word| text(word)).collect()))]),
        ValueKind::Bool => typed("boolean"),
        ValueKind::Integer { min, max } => {
            object([("type", text("integer")), ("minimum", Json::Signed(min)), ("maximum", Json::Unsigned(max))])
        }
        ValueKind::Size(unit) => object([
            ("type", text("integer")),
            ("minimum", Json::Unsigned(0)),
            ("$comment", Json::Text(format!("in {unit}"))),
        ]),
    }
}
