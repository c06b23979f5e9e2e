//! No value of a definition breaks out of its place in the command line.
//!
//! Fields are not listed here: the model's description names them. In generated guests every field that takes any text, written
//! or not, is given a harmless word and then texts that end, quote or begin something in some syntax. QEMU must read the same
//! options with the text where the word was, or the definition is refused with the place of that field.

use std::collections::{BTreeMap, BTreeSet};

use polyvirt::model::{DomainConfig, Positions};
use polyvirt_tests::{generator, offline::Offline, peer};
use polyvirt_xml::{Element, Place, ValueKind};
use serde_json::Value;

/// How many guests the fields come from.
const SEEDS: u64 = 120;

/// How often a field is tried, in guests of which each may use it otherwise.
const TRIES: usize = 3;

/// What is written first, to see where it goes.
const WORD: &str = "xmarkerz";

/// Pieces of hostile texts, each of which means something in a syntax on the way.
const PIECES: &[&str] = &[
    ",",
    ",,",
    "=",
    "\"",
    "'",
    "\\",
    "\n",
    "{",
    "}",
    "[",
    "]",
    "%",
    "%s",
    ":",
    " ",
    "é",
    "ß漢",
    "$(i)",
    "`",
    "&",
    "<",
    ";",
    "id=x",
    "-S",
    "file.driver=",
];

/// A field of text in a definition.
#[derive(Clone, Debug)]
struct Field {
    /// The type and field it is, the same in all guests.
    kind: String,
    /// Where it is in the definition's JSON form.
    pointer: Vec<String>,
    /// Where it is in XML, without numbers.
    path: String,
    is_list: bool,
}

/// All fields of text below an element that is there.
fn fields(element: &dyn Element, pointer: &[String], path: &str, found: &mut Vec<Field>) {
    let table = element.table();
    for (index, field) in table.fields.iter().enumerate() {
        let mut below = pointer.to_vec();
        below.push(field.name.to_owned());
        let text = |path: String, is_list| Field {
            kind: format!("{}.{}", table.name, field.name),
            pointer: below.clone(),
            path,
            is_list,
        };
        match field.place {
            _ if field.live => {}
            Place::Attribute(access) if access.kind() == ValueKind::Text => {
                found.push(text(format!("{path}/@{}", field.xml), access.is_list()));
            }
            Place::Text(access) if access.kind() == ValueKind::Text => {
                found.push(text(path.to_owned(), access.is_list()))
            }
            Place::Leaf(access) if access.kind() == ValueKind::Text => {
                found.push(text(format!("{path}/{}", field.xml), access.is_list()));
            }
            Place::Child(access) | Place::Group(access) => {
                let slot = element.slot(index);
                for item in 0..access.count(slot) {
                    let Some(child) = access.item(slot, item) else { continue };
                    let mut at = below.clone();
                    if access.is_list() {
                        at.push(item.to_string());
                    }
                    let path = if field.xml.is_empty() { path.to_owned() } else { format!("{path}/{}", field.xml) };
                    fields(child, &at, &path, found);
                }
            }
            _ => {}
        }
    }
}

/// The definition with another text in a field; none if the model does not take it there.
fn with(config: &DomainConfig, field: &Field, text: &str) -> Result<DomainConfig, String> {
    let mut json = serde_json::to_value(config).expect("a definition has a JSON form");
    let mut at = &mut json;
    for step in &field.pointer {
        at = match at {
            Value::Array(items) => &mut items[step.parse::<usize>().expect("a place in a list")],
            // A part that says nothing is not written; it is made by what is put into it.
            other => {
                if other.is_null() {
                    *other = Value::Object(serde_json::Map::new());
                }
                &mut other[step.as_str()]
            }
        };
    }
    *at = if field.is_list { Value::Array(vec![text.into()]) } else { text.into() };
    serde_json::from_value(json).map_err(|error| error.to_string())
}

/// Options as QEMU reads them, and where the word is in them.
fn read(line: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let line = peer::CommandLine::read(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let mut options: Vec<_> = line.options.into_iter().map(|it| (it.name, it.says)).collect();
    options.push(("program".to_owned(), BTreeMap::from([(String::new(), line.program)])));
    options
}

/// What a text becomes where it is not kept as it is: names of files and folders have no slash and are short.
fn expected(text: &str, word: &str, hostile: &str) -> Vec<String> {
    let escaped = hostile.replace(' ', "\\ ");
    vec![text.replace(word, hostile), text.replace(word, &escaped)]
}

fn same(
    found: &[(String, BTreeMap<String, String>)],
    plain: &[(String, BTreeMap<String, String>)],
    hostile: &str,
) -> bool {
    found.len() == plain.len()
        && found.iter().zip(plain).all(|((name, says), (known, said))| {
            name == known
                && says.len() == said.len()
                && said.iter().all(|(key, value)| {
                    let keys = expected(key, WORD, hostile);
                    let value = expected(value, WORD, hostile);
                    keys.iter().any(|key| says.get(key).is_some_and(|it| value.contains(it)))
                })
        })
}

/// Whether a refusal names the field, or the element that it belongs to.
fn names(refusal: &str, field: &Field) -> bool {
    let mut plain = String::new();
    let mut inside = false;
    for it in refusal.chars() {
        match it {
            '[' => inside = true,
            ']' => inside = false,
            _ if !inside => plain.push(it),
            _ => {}
        }
    }
    let element = field.path.rsplit_once('/').map_or(field.path.as_str(), |it| it.0);
    [field.path.as_str(), element].iter().any(|it| plain.contains(it))
        || field.pointer.iter().all(|it| plain.contains(it.as_str()))
}

fn hostile(dice: &mut generator::Dice) -> String {
    let middle: String = (0..dice.number(1, 3)).map(|_| dice.pick(PIECES)).collect();
    format!("x{middle}z")
}

#[test]
fn no_value_breaks_out_of_its_place() {
    let qemu = std::path::Path::new("/usr/bin/qemu-system-x86_64");
    if !qemu.is_file() {
        let reason = "qemu-system-x86_64 is not installed";
        if polyvirt_driver_testkit::require("qemu", reason) {
            println!("skipped: {reason}");
        }
        return;
    }
    let driver = Offline::open(peer::record(qemu).expect("QEMU answers")).expect("its answers are of use");
    let mut tried: BTreeMap<String, usize> = BTreeMap::new();
    let (mut shown, mut refused, mut broken) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let mut dice = generator::Dice::new(0x5eed);
    for seed in 0..SEEDS {
        let config = generator::guest(seed);
        if driver.of_config(config.clone(), &Positions::default()).is_err() {
            continue;
        }
        let mut all = Vec::new();
        fields(&config, &[], "/domain", &mut all);
        for field in all {
            let times = tried.entry(field.kind.clone()).or_default();
            if *times == TRIES {
                continue;
            }
            *times += 1;
            let marked = with(&config, &field, WORD).and_then(|it| driver.of_config(it, &Positions::default()));
            let plain = marked.as_ref().ok().map(|it| read(it));
            for _ in 0..6 {
                let text = hostile(&mut dice);
                let line = with(&config, &field, &text).and_then(|it| driver.of_config(it, &Positions::default()));
                match (&line, &plain) {
                    (Ok(line), Some(plain)) => {
                        if !same(&read(line), plain, &text) {
                            broken.push(format!("seed {seed}: {} {text:?} is not where the word was", field.path));
                        }
                        if plain.iter().any(|it| it.1.iter().any(|it| it.0.contains(WORD) || it.1.contains(WORD))) {
                            shown.insert(field.kind.clone());
                        }
                    }
                    (Err(said), _) => {
                        refused.insert(field.kind.clone());
                        if !names(said, &field) {
                            broken.push(format!("seed {seed}: {} {text:?} is refused elsewhere: {said}", field.path));
                        }
                    }
                    // The word is refused and this is not: it means something there.
                    (Ok(_), None) => broken.push(format!("seed {seed}: {} takes {text:?} and not a word", field.path)),
                }
            }
            let null = with(&config, &field, "a\0b").and_then(|it| driver.of_config(it, &Positions::default()));
            assert!(null.is_err(), "seed {seed}: {} takes a NUL", field.path);
        }
    }
    println!(
        "{} fields tried, {} reach the command line, {} refuse some texts",
        tried.len(),
        shown.len(),
        refused.len()
    );
    assert!(broken.is_empty(), "{}\n{}", broken.len(), broken.join("\n"));
    assert!(tried.len() >= 100 && shown.len() >= 40, "{} fields tried, {} shown", tried.len(), shown.len());
}
