//! A strict reader of OpenMetrics text (specification 1.0), to check what others would have to read.

use std::collections::{BTreeMap, BTreeSet};

/// A family of points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Family {
    /// `counter`, `gauge`, `info`, `stateset`.
    pub kind: String,
    /// Its unit, if it has one.
    pub unit: Option<String>,
    /// Its help text, unescaped.
    pub help: Option<String>,
    /// Labels and value of each point.
    pub points: Vec<(BTreeMap<String, String>, f64)>,
}

/// Reads an exposition.
///
/// # Errors
/// The line and what is wrong with it.
pub fn read(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("the text does not end with '# EOF' and a line feed")?;
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut present: Option<String> = None;
    let mut seen = BTreeSet::new();
    for line in body.split_terminator('\n') {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(about) = line.strip_prefix("# ") {
            let (word, rest) = about.split_once(' ').ok_or_else(|| wrong("a comment"))?;
            let (name, value) = rest.split_once(' ').ok_or_else(|| wrong("metadata without a value"))?;
            if !is_name(name) {
                return Err(wrong("a bad name"));
            }
            if present.as_deref() != Some(name) {
                if families.contains_key(name) {
                    return Err(wrong("a family in two places"));
                }
                present = Some(name.to_owned());
            }
            metadata(families.entry(name.to_owned()).or_default(), name, word, value).map_err(|why| wrong(&why))?;
            continue;
        }
        let name = present.clone().ok_or_else(|| wrong("a point before any family"))?;
        let family = families.get_mut(&name).ok_or_else(|| wrong("no such family"))?;
        let (labels, value) = point(line, &name, &family.kind).map_err(|why| wrong(&why))?;
        if !seen.insert((name.clone(), labels.clone())) {
            return Err(wrong("a point twice"));
        }
        family.points.push((labels, value));
    }
    match families.iter().find(|(_, it)| it.points.is_empty()) {
        Some((name, _)) => Err(format!("the family {name} has no points")),
        None => Ok(families),
    }
}

fn metadata(family: &mut Family, name: &str, word: &str, value: &str) -> Result<(), String> {
    if !family.points.is_empty() {
        return Err("metadata behind points".into());
    }
    match word {
        "TYPE" if !family.kind.is_empty() => return Err("two types".into()),
        "TYPE" if !["counter", "gauge", "info", "stateset"].contains(&value) => return Err("an unknown type".into()),
        "TYPE" => value.clone_into(&mut family.kind),
        "UNIT" if !name.ends_with(&format!("_{value}")) => return Err("a name without its unit".into()),
        "UNIT" if ["info", "stateset"].contains(&family.kind.as_str()) => return Err("a unit of what has none".into()),
        "UNIT" if family.unit.is_some() => return Err("two units".into()),
        "UNIT" => family.unit = Some(value.to_owned()),
        "HELP" if family.help.is_some() => return Err("two help texts".into()),
        "HELP" => {
            let (help, rest) = unescape(value, None)?;
            if !rest.is_empty() {
                return Err("a broken help text".into());
            }
            family.help = Some(help);
        }
        _ => return Err("an unknown comment".into()),
    }
    Ok(())
}

type Point = (BTreeMap<String, String>, f64);

fn point(line: &str, family: &str, kind: &str) -> Result<Point, String> {
    let suffix = match kind {
        "counter" => "_total",
        "info" => "_info",
        "gauge" | "stateset" => "",
        _ => return Err("a point without a type".into()),
    };
    let rest = line.strip_prefix(family).and_then(|it| it.strip_prefix(suffix)).ok_or("a point of another name")?;
    let (labels, rest) = labels(rest)?;
    let number = rest.strip_prefix(' ').ok_or("no blank before the value")?;
    // No infinities, no NaN, no timestamps: none are written here.
    if number.is_empty() || !number.bytes().all(|it| it.is_ascii_digit() || b".-+eE".contains(&it)) {
        return Err("a bad value".into());
    }
    let value: f64 = number.parse().map_err(|_| "a bad value")?;
    match kind {
        "counter" if value < 0.0 => Err("a counter below zero".into()),
        "info" if value.to_bits() != 1_f64.to_bits() => Err("an info that is not 1".into()),
        "stateset" if !labels.contains_key(family) => Err("a state without a name".into()),
        "stateset" if ![0_f64.to_bits(), 1_f64.to_bits()].contains(&value.to_bits()) => {
            Err("a state that is not 0 or 1".into())
        }
        _ => Ok((labels, value)),
    }
}

fn labels(text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else { return Ok((labels, text)) };
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name) || name.contains(':') || name.starts_with("__") {
            return Err(format!("a bad label '{name}'"));
        }
        let (value, after) = unescape(after, Some('"'))?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("the label {name} twice"));
        }
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Ok((labels, after.strip_prefix('}').ok_or("labels without an end")?)),
        }
    }
}

/// Reads until `end`, or to the end of the text; what is behind is left.
fn unescape(text: &str, end: Option<char>) -> Result<(String, &str), String> {
    let (mut read, mut chars) = (String::new(), text.chars());
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('\\') => read.push('\\'),
                Some('n') => read.push('\n'),
                Some('"') => read.push('"'),
                other => return Err(format!("a bad escape: {other:?}")),
            },
            '"' if end.is_none() => return Err("a bare quote".into()),
            char if Some(char) == end => return Ok((read, chars.as_str())),
            char => read.push(char),
        }
    }
    if end.is_some() { Err("a value without an end".into()) } else { Ok((read, "")) }
}

fn is_name(name: &str) -> bool {
    let first = |it: u8| it.is_ascii_alphabetic() || b"_:".contains(&it);
    name.bytes().next().is_some_and(first) && name.bytes().all(|it| first(it) || it.is_ascii_digit())
}
