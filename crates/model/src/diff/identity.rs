//! Which elements of two lists are the same thing.
//!
//! In this order: what is equal; what has the same identity (`<target dev>` of a disk, the hardware address of a network card …);
//! the same alias of the user's; the same place (`<address>`); and, for things that have no identity, the next of its kind. A key that
//! two elements of one list share identifies neither.

use std::collections::HashMap;

use polyvirt_xml::{Element, Place};

use super::walk;

/// What identifies elements of a type, best first; each is one or more places whose values are taken together.
const KEYS: &[(&str, &[&[&str]])] = &[
    ("Disk", &[&["target/@dev"]]),
    ("Controller", &[&["@type", "@index"]]),
    ("Lease", &[&["lockspace", "key"]]),
    ("Filesystem", &[&["target/@dir"]]),
    ("Interface", &[&["mac/@address"]]),
    ("Serial", &[&["target/@port"]]),
    ("Parallel", &[&["target/@port"]]),
    ("Console", &[&["target/@type", "target/@port"], &["target/@type"]]),
    ("Channel", &[&["target/@name"], &["target/@address", "target/@port"]]),
    ("Graphics", &[&["@type"]]),
    ("Audio", &[&["@id"]]),
    ("Shmem", &[&["@name"]]),
    ("SecLabel", &[&["@model"]]),
    ("Input", &[&["@type", "@bus"]]),
    ("Video", &[&["model/@type"]]),
    ("Sound", &[&["@model"]]),
    ("Hub", &[&["@type"]]),
    ("Watchdog", &[&["@model"]]),
    ("Panic", &[&["@model"]]),
    ("Sysinfo", &[&["@type"]]),
    ("HugePage", &[&["@size", "@nodeset"]]),
    // Their order is what they say.
    ("BootDevice", &[]),
    ("StorageHost", &[]),
];

/// Types whose elements are nothing but their identity: one that is left over is another thing, not a changed one.
const DISTINCT: &[&str] = &[
    "Disk",
    "Controller",
    "Lease",
    "Filesystem",
    "Interface",
    "Serial",
    "Parallel",
    "Console",
    "Channel",
    "Graphics",
    "Audio",
    "Shmem",
    "Input",
    "Video",
    "Sound",
    "Hub",
    "Watchdog",
    "Panic",
    "Sysinfo",
];

/// Attributes that identify elements of any other type, the first that it has.
const USUAL: [&str; 8] = ["@id", "@vcpu", "@iothread", "@cellid", "@name", "@vcpus", "@iothreads", "@type"];

/// One element of a list or a pair of them, with the words by which it is known.
pub(super) struct Pair<'a> {
    pub(super) before: Option<&'a dyn Element>,
    pub(super) after: Option<&'a dyn Element>,
    pub(super) label: String,
}

/// Pairs the elements of two lists, in the order of the first, then what only the second has.
pub(super) fn pairs<'a>(before: &[&'a dyn Element], after: &[&'a dyn Element]) -> Vec<Pair<'a>> {
    let mut partner: Vec<Option<usize>> = vec![None; before.len()];
    let mut taken = vec![false; after.len()];
    let text = |element: &dyn Element| Some(walk::text(element));
    join(before, after, &mut partner, &mut taken, &text, true);
    let keys = before.first().or(after.first()).map(|element| keys(*element)).unwrap_or_default();
    for key in &keys {
        join(before, after, &mut partner, &mut taken, &|element| key_of(element, key), false);
    }
    let alias = |element: &dyn Element| lookup(element, "alias/@name").filter(|name| name.starts_with("ua-"));
    join(before, after, &mut partner, &mut taken, &alias, false);
    join(before, after, &mut partner, &mut taken, &|element| walk::address(element), false);
    let name = before.first().or(after.first()).map_or("", |element| element.table().name);
    if !DISTINCT.contains(&name) {
        let mut free = (0..after.len()).filter(|&at| !taken[at]).collect::<Vec<_>>().into_iter();
        for slot in partner.iter_mut().filter(|slot| slot.is_none()) {
            *slot = free.next();
        }
        for at in partner.iter().flatten() {
            taken[*at] = true;
        }
    }
    let several = before.len().max(after.len()) > 1;
    let label = |element: &dyn Element, at: usize| {
        let key = keys.iter().find_map(|key| key_of(element, key));
        key.or_else(|| walk::address(element))
            .unwrap_or_else(|| if several { (at + 1).to_string() } else { String::new() })
    };
    let mut out = Vec::with_capacity(before.len());
    for (at, element) in before.iter().enumerate() {
        let after = partner[at].map(|other| after[other]);
        out.push(Pair { before: Some(*element), after, label: label(*element, at) });
    }
    for (at, element) in after.iter().enumerate().filter(|(at, _)| !taken[*at]) {
        out.push(Pair { before: None, after: Some(*element), label: label(*element, at) });
    }
    out
}

/// Joins elements that are alone on their side with a key, and what still has no partner. `many`: equal ones are interchangeable.
fn join(
    before: &[&dyn Element],
    after: &[&dyn Element],
    partner: &mut [Option<usize>],
    taken: &mut [bool],
    key: &dyn Fn(&dyn Element) -> Option<String>,
    many: bool,
) {
    let mut waiting: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, element) in after.iter().enumerate().rev().filter(|(at, _)| !taken[*at]) {
        if let Some(key) = key(*element) {
            waiting.entry(key).or_default().push(at);
        }
    }
    let mut asking: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, element) in before.iter().enumerate().filter(|(at, _)| partner[*at].is_none()) {
        if let Some(key) = key(*element) {
            asking.entry(key).or_default().push(at);
        }
    }
    for (key, asking) in asking {
        let Some(waiting) = waiting.get_mut(&key) else { continue };
        if !many && (asking.len() > 1 || waiting.len() > 1) {
            continue;
        }
        for at in asking {
            let Some(other) = waiting.pop() else { break };
            partner[at] = Some(other);
            taken[other] = true;
        }
    }
}

fn keys(element: &dyn Element) -> Vec<Vec<&'static str>> {
    let name = element.table().name;
    if let Some((_, keys)) = KEYS.iter().find(|(known, _)| *known == name) {
        return keys.iter().map(|key| key.to_vec()).collect();
    }
    let has = |key: &&&str| {
        element
            .table()
            .fields
            .iter()
            .any(|field| matches!(field.place, Place::Attribute(_)) && field.xml == key.trim_start_matches('@'))
    };
    USUAL.iter().find(has).map(|key| vec![vec![*key]]).unwrap_or_default()
}

fn key_of(element: &dyn Element, key: &[&str]) -> Option<String> {
    let values: Vec<String> = key.iter().filter_map(|place| lookup(element, place)).collect();
    (!values.is_empty()).then(|| values.join(" "))
}

/// The value at a place below an element: `target/@dev`, `key`.
fn lookup(element: &dyn Element, place: &str) -> Option<String> {
    let (step, rest) = place.split_once('/').map_or((place, None), |(step, rest)| (step, Some(rest)));
    for (index, field) in element.table().fields.iter().enumerate() {
        let slot = element.slot(index);
        let found = match (field.place, rest) {
            (Place::Group(access), _) => access.item(slot, 0).and_then(|group| lookup(group, place)),
            (Place::Attribute(access), None) if step.strip_prefix('@') == Some(field.xml) => {
                walk::value(access, slot, 0, field)
            }
            (Place::Leaf(access), None) if field.xml == step => walk::value(access, slot, 0, field),
            (Place::Child(access), Some(rest)) if field.xml == step => {
                access.item(slot, 0).and_then(|child| lookup(child, rest))
            }
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}
