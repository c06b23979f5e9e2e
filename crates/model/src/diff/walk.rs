//! The walk over two values of one type.

use std::any::Any;

use polyvirt_xml::{
    Element, ElementAccess, Field, FormatOptions, Place, Scalar, ValueAccess, ValueKind, XmlTree, format,
};

use super::{Change, ChangeKind, identity};
use crate::domain::DomainConfig;

/// What is shown of an added or removed element: so many of its values.
const DETAILS: usize = 6;

/// Elements whose names say nothing beside those around and in them.
const SILENT: [&str; 2] = ["driver", "devices"];

/// Where the walk is.
#[derive(Clone, Default)]
struct At {
    path: String,
    /// The device or list element that it is in.
    subject: Option<String>,
    /// Names of the elements since the subject or the root.
    words: Vec<&'static str>,
}

impl At {
    fn child(&self, name: &'static str) -> Self {
        let mut at = self.clone();
        at.path = format!("{}/{name}", self.path);
        at.words.push(name);
        at
    }

    fn item(&self, name: &'static str, label: &str) -> Self {
        let mut at = self.child(name);
        at.words.clear();
        if !label.is_empty() {
            at.path.push_str(&format!("[{label}]"));
        }
        let own = if label.is_empty() { name.to_owned() } else { format!("{name} {label}") };
        at.subject = Some(match &self.subject {
            Some(around) => format!("{around}, {own}"),
            None => own,
        });
        at
    }

    /// Subject and what of it, for a value called `name` (empty: the element's own).
    fn names(&self, name: &str) -> (String, String) {
        let words: Vec<&str> = self.words.iter().copied().filter(|word| !SILENT.contains(word)).collect();
        let of = |words: &[&str], name: &str| {
            words.iter().copied().chain(Some(name)).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        };
        match &self.subject {
            Some(subject) => (subject.clone(), of(&words, name)),
            None if words.is_empty() => ("domain".to_owned(), name.to_owned()),
            None => (words.join(" "), name.to_owned()),
        }
    }
}

struct Walk {
    changes: Vec<Change>,
}

pub(super) fn walk(before: &DomainConfig, after: &DomainConfig) -> Vec<Change> {
    let mut walk = Walk { changes: Vec::new() };
    let at = At { path: format!("/{}", DomainConfig::ROOT), ..At::default() };
    walk.element(&at, Some(before), Some(after));
    walk.changes
}

type Side<'a> = Option<&'a dyn Element>;

impl Walk {
    fn element(&mut self, at: &At, before: Side<'_>, after: Side<'_>) {
        let Some(table) = before.or(after).map(|element| element.table()) else { return };
        if let (Some(a), Some(b)) = (before, after)
            && !std::ptr::eq(a.table(), b.table())
        {
            // Another variant has other fields: there is nothing to compare one by one.
            self.whole(at, before, None);
            self.whole(at, None, after);
            return;
        }
        for (index, field) in table.fields.iter().enumerate() {
            let (a, b) = (before.map(|element| element.slot(index)), after.map(|element| element.slot(index)));
            self.field(at, field, a, b);
        }
    }

    fn field(&mut self, at: &At, field: &Field, a: Option<&dyn Any>, b: Option<&dyn Any>) {
        match field.place {
            Place::Attribute(access) => {
                self.slots(at, format!("{}/@{}", at.path, field.xml), field, access, [a, b]);
            }
            Place::Text(access) => self.slots(at, at.path.clone(), field, access, [a, b]),
            Place::Leaf(access) => {
                let at = at.child(field.xml);
                self.slots(&at, at.path.clone(), field, access, [a, b]);
            }
            Place::Flag => {
                let is_set = |slot: Option<&dyn Any>| slot.and_then(|it| it.downcast_ref::<bool>()) == Some(&true);
                let at = at.child(field.xml);
                self.presence(&at, is_set(a), is_set(b));
            }
            Place::Group(access) => {
                let item = |slot: Option<&'_ dyn Any>| slot.and_then(|slot| access.item(slot, 0)).is_some();
                if item(a) || item(b) {
                    self.element(at, a.and_then(|it| access.item(it, 0)), b.and_then(|it| access.item(it, 0)));
                }
            }
            Place::Child(access) if access.is_list() => self.list(at, field, access, a, b),
            Place::Child(access) => {
                let (a, b) = (a.and_then(|it| access.item(it, 0)), b.and_then(|it| access.item(it, 0)));
                self.child(&at.child(field.xml), field.xml, access, a, b);
            }
            Place::Tree => {
                let tree = |slot: Option<&dyn Any>| {
                    slot.and_then(|it| it.downcast_ref::<Option<XmlTree>>()?.as_ref().map(XmlTree::to_string))
                };
                let at = at.child(field.xml);
                self.opaque(&at, tree(a).as_deref(), tree(b).as_deref());
            }
            Place::Foreign => {
                let trees = |slot: Option<&dyn Any>| {
                    let trees = slot.and_then(|it| it.downcast_ref::<Vec<XmlTree>>())?;
                    (!trees.is_empty()).then(|| trees.iter().map(XmlTree::to_string).collect::<String>())
                };
                self.opaque(&at.child("extensions"), trees(a).as_deref(), trees(b).as_deref());
            }
        }
    }

    fn push(&mut self, at: &At, path: String, name: &str, change: ChangeKind, values: [Option<String>; 2]) {
        let (subject, what) = at.names(name);
        let [before, after] = values;
        self.changes.push(Change { change, path, subject, what, before, after, guest: false });
    }

    fn values(&mut self, at: &At, path: String, name: &str, a: Option<String>, b: Option<String>) {
        if a != b {
            self.push(at, path, name, ChangeKind::Changed, [a, b]);
        }
    }

    /// The values of two slots. Of a secret is told that it changed, not what it is.
    fn slots(&mut self, at: &At, path: String, field: &Field, access: &dyn ValueAccess, slots: [Option<&dyn Any>; 2]) {
        let [a, b] = slots.map(|slot| all(access, slot, field));
        let name = if matches!(field.place, Place::Attribute(_)) { field.xml } else { "" };
        if !field.secret {
            return self.values(at, path, name, a, b);
        }
        let hidden = |value: Option<String>, word: &str| value.map(|_| word.to_owned());
        if a != b {
            let other = if a.is_some() { "another secret" } else { "a secret" };
            self.push(at, path, name, ChangeKind::Changed, [hidden(a, "a secret"), hidden(b, other)]);
        }
    }

    fn presence(&mut self, at: &At, a: bool, b: bool) {
        if a != b {
            let change = if b { ChangeKind::Added } else { ChangeKind::Removed };
            self.push(at, at.path.clone(), "", change, [None, None]);
        }
    }

    /// Raw XML: that it changed is all there is to say in a line.
    fn opaque(&mut self, at: &At, a: Option<&str>, b: Option<&str>) {
        match (a, b) {
            (Some(before), Some(after)) if before != after => {
                let size = |text: &str| Some(format!("{} bytes of XML", text.len()));
                self.push(at, at.path.clone(), "", ChangeKind::Changed, [size(before), size(after)]);
            }
            _ => self.presence(at, a.is_some(), b.is_some()),
        }
    }

    fn child(&mut self, at: &At, name: &'static str, access: &dyn ElementAccess, a: Side<'_>, b: Side<'_>) {
        if name == "address" && access.table().choice.is_some() {
            self.values(at, at.path.clone(), "", a.map(place), b.map(place));
            return;
        }
        let before = self.changes.len();
        self.element(at, a, b);
        // An element without anything in it says something by being there.
        if self.changes.len() == before && !access.is_plain() {
            self.presence(at, a.is_some(), b.is_some());
        }
    }

    fn list(&mut self, at: &At, field: &Field, access: &dyn ElementAccess, a: Option<&dyn Any>, b: Option<&dyn Any>) {
        let (a, b) = (items(access, a), items(access, b));
        for pair in identity::pairs(&a, &b) {
            let choice = access.table().choice.filter(|choice| choice.attribute.is_none());
            let variant = pair.before.or(pair.after).map_or(0, Element::variant);
            let name = choice.and_then(|choice| choice.variants.get(variant)).map_or(field.xml, |variant| variant.word);
            let at = at.item(name, &pair.label);
            match (pair.before, pair.after) {
                (Some(_), Some(_)) => self.element(&at, pair.before, pair.after),
                (before, after) => self.whole(&at, before, after),
            }
        }
    }

    /// One side only: a line for all of it.
    fn whole(&mut self, at: &At, before: Side<'_>, after: Side<'_>) {
        let change = if before.is_some() { ChangeKind::Removed } else { ChangeKind::Added };
        self.push(at, at.path.clone(), "", change, [before.map(details), after.map(details)]);
    }
}

fn items<'a>(access: &dyn ElementAccess, slot: Option<&'a dyn Any>) -> Vec<&'a dyn Element> {
    slot.into_iter().flat_map(|slot| (0..access.count(slot)).filter_map(move |at| access.item(slot, at))).collect()
}

/// The values of a slot, joined; `None` if there is none.
fn all(access: &dyn ValueAccess, slot: Option<&dyn Any>, field: &Field) -> Option<String> {
    let slot = slot?;
    let values: Vec<String> = (0..access.count(slot)).filter_map(|at| value(access, slot, at, field)).collect();
    if values.is_empty() {
        return None;
    }
    Some(values.join(", "))
}

/// One value as people write it: sizes in the largest unit that divides them.
pub(super) fn value(access: &dyn ValueAccess, slot: &dyn Any, at: usize, field: &Field) -> Option<String> {
    if at >= access.count(slot) {
        return None;
    }
    if let (ValueKind::Size(unit), Some(Scalar::Unsigned(number))) = (access.kind(), access.scalar(slot, at)) {
        return Some(size(number, unit));
    }
    let mut text = String::new();
    access.write(slot, at, field.style, &mut text);
    Some(text)
}

fn size(mut number: u64, unit: &str) -> String {
    const UNITS: [&str; 7] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = UNITS.iter().position(|known| *known == unit).unwrap_or(0);
    while number != 0 && number.is_multiple_of(1024) && unit + 1 < UNITS.len() {
        number /= 1024;
        unit += 1;
    }
    format!("{number} {}", UNITS[unit])
}

/// The first values of an element, by their names.
fn details(element: &dyn Element) -> String {
    let mut walk = Walk { changes: Vec::new() };
    walk.element(&At { subject: Some(String::new()), ..At::default() }, None, Some(element));
    let told = walk.changes.iter().filter(|change| !change.path.contains("/alias/") && !change.path.contains("/mac/"));
    let words = told.filter_map(|change| {
        let value = change.after.as_deref().unwrap_or_default();
        let text = format!("{} {value}", change.what);
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    });
    words.take(DETAILS).collect::<Vec<_>>().join(", ")
}

/// Everything about an element, secrets too, for comparison alone.
pub(super) fn text(element: &dyn Element) -> String {
    let choice = element.variant().to_string();
    choice + &format(element, "e", None, FormatOptions::new().secure())
}

/// Where a device sits, if it says so.
pub(super) fn address(element: &dyn Element) -> Option<String> {
    for (index, field) in element.table().fields.iter().enumerate() {
        let slot = element.slot(index);
        let found = match field.place {
            Place::Group(access) => access.item(slot, 0).and_then(address),
            Place::Child(access) if field.xml == "address" && access.table().choice.is_some() => {
                access.item(slot, 0).map(place)
            }
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// `pci 0000:00:03.0`, `drive 0:0:0:1`.
fn place(address: &dyn Element) -> String {
    let choice = <crate::address::Address as Element>::describe().choice;
    let word = choice.and_then(|choice| choice.variants.get(address.variant())).map_or("", |variant| variant.word);
    let fields = address.table().fields.iter().enumerate();
    let numbers: Vec<String> = fields
        .filter_map(|(index, field)| match field.place {
            Place::Attribute(access) => all(access, Some(address.slot(index)), field),
            _ => None,
        })
        .map(|text| text.strip_prefix("0x").map(str::to_owned).unwrap_or(text))
        .collect();
    let text = match numbers.as_slice() {
        [domain, bus, slot, function] if word == "pci" => format!("{domain}:{bus}:{slot}.{function}"),
        numbers => numbers.join(":"),
    };
    format!("{word} {text}").trim_end().to_owned()
}
