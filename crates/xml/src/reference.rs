//! Reference documentation of a format, from the tables: Markdown with one section an element.
//!
//! What the tables cannot know stands in doc comments in fixed words: `absent: …` (what is meant without the value), `Since 1.2.3.`
//! (the version of the format that brought it) and `Manual: ….` (the section of the manual that describes it; what is below inherits it).

use std::collections::VecDeque;
use std::fmt::Write as _;

use crate::access::ValueAccess;
use crate::table::{Element, Field, Place, Table};
use crate::value::{Style, ValueKind, bool_words};

/// So many places of a type are listed, the others are counted.
const PLACES: usize = 12;

/// The reference of `T`, an element of this name: a list of sections without a title. The first heading is of level 2.
#[must_use]
pub fn reference<T: Element>(root: &str) -> String {
    let sections = collect(T::describe(), root);
    let mut out = String::new();
    let mut open = vec![0];
    // Sections in document order: each below the place where it was met first.
    while let Some(index) = open.pop() {
        let section = &sections[index];
        section.write(&sections, &mut out);
        let below = |child: &Child| sections.iter().position(|other| other.places[0] == child.path);
        let mut children: Vec<usize> = section.children().iter().filter_map(below).collect();
        children.reverse();
        open.extend(children);
    }
    out
}

/// A type, and where it stands.
struct Section {
    table: &'static Table,
    /// Paths, the shortest first.
    places: Vec<String>,
    /// What is said about it where it was met first.
    about: &'static str,
    manual: Option<&'static str>,
}

/// An element below another.
struct Child {
    path: String,
    /// As it is written.
    shown: String,
    json: String,
    many: &'static str,
    about: &'static str,
    table: &'static Table,
}

/// A value of an element: an attribute, text, a child that holds only text, a flag.
struct Row {
    shown: String,
    json: String,
    values: String,
    required: bool,
    field: &'static Field,
}

fn collect(root: &'static Table, name: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut waiting = VecDeque::from([(root, format!("/{name}"), "", None)]);
    while let Some((table, path, about, manual)) = waiting.pop_front() {
        if let Some(known) = sections.iter_mut().find(|known| std::ptr::eq(known.table, table)) {
            known.places.push(path);
            continue;
        }
        let manual = sentence(table.doc, "Manual: ").or(sentence(about, "Manual: ")).or(manual);
        let section = Section { table, places: vec![path], about, manual };
        waiting.extend(section.children().into_iter().map(|child| (child.table, child.path, child.about, manual)));
        sections.push(section);
    }
    sections
}

impl Section {
    /// Child elements with types of their own, groups resolved; of an enum its variants.
    fn children(&self) -> Vec<Child> {
        let mut out = Vec::new();
        let path = &self.places[0];
        if let Some(choice) = self.table.choice {
            let attribute = choice.attribute.unwrap_or_default();
            for variant in choice.variants {
                let by = format!("[@{attribute}='{}']", variant.word);
                let shown = if choice.default == Some(variant.word) {
                    format!("{attribute}='{}' (default)", variant.word)
                } else {
                    format!("{attribute}='{}'", variant.word)
                };
                let table = (variant.table)();
                out.push(Child {
                    path: path.clone() + &by,
                    shown,
                    json: String::new(),
                    many: "",
                    about: variant.doc,
                    table,
                });
            }
        }
        children(self.table, path, "", &mut out);
        out
    }

    fn write(&self, sections: &[Self], out: &mut String) {
        let _ = writeln!(out, "## `{}`\n", self.places[0]);
        let (about, of_type) = (prose(self.about), without_tag(&prose(self.table.doc)));
        let same = about.to_lowercase() == of_type.to_lowercase();
        let about = if same { about } else { format!("{about} {of_type}") };
        let _ = writeln!(out, "{}\n", about.trim());
        let manual = self.manual.map(|manual| format!(" Manual: {manual}.")).unwrap_or_default();
        // What is said of one place does not hold for the others of its type.
        let here = if self.places.len() == 1 { sentence(self.about, "Since ") } else { None };
        let since = sentence(self.table.doc, "Since ").or(here);
        let since = since.map(|since| format!(" Since {since}.")).unwrap_or_default();
        let _ = writeln!(out, "Rust: `{}`.{manual}{since}\n", self.table.name);
        if self.places.len() > 1 {
            let others = &self.places[1..];
            let shown: Vec<String> = others.iter().take(PLACES).map(|place| format!("`{place}`")).collect();
            let rest = others.len().saturating_sub(PLACES);
            let rest = if rest == 0 { String::new() } else { format!(" and {rest} other places") };
            let _ = writeln!(out, "Also {}{rest}.\n", shown.join(", "));
        }
        let mut rows = Vec::new();
        values(self.table, "", &mut rows);
        if !rows.is_empty() {
            out.push_str("| XML | JSON | values | if absent | since | |\n|---|---|---|---|---|---|\n");
            rows.iter().for_each(|row| row.write(out));
            out.push('\n');
        }
        let children = self.children();
        if children.is_empty() {
            return;
        }
        out.push_str("| element | JSON | number | since | |\n|---|---|---|---|---|\n");
        for child in children {
            let target = sections.iter().find(|section| std::ptr::eq(section.table, child.table));
            let link = target.map(|target| slug(&target.places[0])).unwrap_or_default();
            let json = if child.json.is_empty() { String::new() } else { format!("`{}`", child.json) };
            let _ = writeln!(
                out,
                "| [`{}`](#{link}) | {json} | {} | {} | {} |",
                child.shown,
                child.many,
                sentence(child.about, "Since ").unwrap_or_default(),
                cell(&prose(child.about))
            );
        }
        out.push('\n');
    }
}

fn children(table: &'static Table, path: &str, json: &str, out: &mut Vec<Child>) {
    for field in table.fields {
        let json = format!("{json}{}", field.name);
        match field.place {
            Place::Group(access) => children(access.table(), path, &format!("{json}."), out),
            Place::Child(access) => {
                let many = if access.is_list() { "any" } else { "0 or 1" };
                let (shown, path) = if field.xml.is_empty() {
                    ("by its name".to_owned(), path.to_owned())
                } else {
                    (format!("<{}>", field.xml), format!("{path}/{}", field.xml))
                };
                out.push(Child { path, shown, json, many, about: field.doc, table: access.table() });
            }
            _ => {}
        }
    }
}

fn values(table: &'static Table, json: &str, out: &mut Vec<Row>) {
    for (index, field) in table.fields.iter().enumerate() {
        let json = format!("{json}{}", field.name);
        let required = table.required & (1 << index) != 0;
        let (shown, values) = match field.place {
            Place::Attribute(access) => (format!("`{}`", field.xml), kind(field, access)),
            Place::Text(access) => ("text".to_owned(), kind(field, access)),
            Place::Leaf(access) if access.is_list() => (format!("`<{}>`, any number", field.xml), kind(field, access)),
            Place::Leaf(access) => (format!("`<{}>`", field.xml), kind(field, access)),
            Place::Flag => (format!("`<{}/>`", field.xml), "there or not".to_owned()),
            Place::Tree => (format!("`<{}>`", field.xml), "any XML".to_owned()),
            Place::Foreign => ("other namespaces".to_owned(), "any XML".to_owned()),
            Place::Group(access) => {
                self::values(access.table(), &format!("{json}."), out);
                continue;
            }
            Place::Child(_) => continue,
        };
        out.push(Row { shown, json, values, required, field });
    }
}

impl Row {
    fn write(&self, out: &mut String) {
        let field = self.field;
        let absent = if self.required { Some("required") } else { absent(field.doc) };
        let mut about = prose(field.doc);
        if field.live {
            about.push_str(" *Only of a running guest.*");
        }
        if field.secret {
            about.push_str(" *A secret: printed only when asked for.*");
        }
        let _ = writeln!(
            out,
            "| {} | `{}` | {} | {} | {} | {} |",
            self.shown,
            self.json,
            cell(&self.values),
            cell(absent.unwrap_or_default()),
            sentence(field.doc, "Since ").unwrap_or_default(),
            cell(&about)
        );
    }
}

/// What values a field has, in words.
fn kind(field: &Field, access: &dyn ValueAccess) -> String {
    let list = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    match access.kind() {
        ValueKind::Text => "text".to_owned(),
        ValueKind::Words(words) => list(words),
        ValueKind::Bool => {
            let (yes, no) = bool_words(field.style);
            list(&[yes, no])
        }
        ValueKind::Syntax(name) => name.to_owned(),
        ValueKind::Size(unit) => {
            let default = field.unit.unwrap_or(unit);
            format!("size; `unit`, if absent {default}; JSON counts {unit}")
        }
        ValueKind::Integer { min, max } => {
            let spelling = if matches!(field.style, Style::Hex(_)) { ", hexadecimal" } else { "" };
            let range = match (min, max) {
                (0, 0xffff_ffff) => "whole number, 32 bits".to_owned(),
                (0, 0x1_0000_0000..) => "whole number".to_owned(),
                (min, 0x7fff_ffff) if min < 0 => "whole number, also negative, 32 bits".to_owned(),
                (min, _) if min < 0 => "whole number, also negative".to_owned(),
                (min, max) => format!("{min} to {max}"),
            };
            range + spelling
        }
    }
}

/// The rest of the sentence that begins so, to its full stop.
fn sentence<'a>(doc: &'a str, start: &str) -> Option<&'a str> {
    let rest = &doc[doc.find(start)? + start.len()..];
    Some(until(rest, &[". ", ".\n"]).trim_end_matches('.'))
}

/// What a doc comment says is meant without the value.
fn absent(doc: &str) -> Option<&str> {
    let at = doc.find("absent: ").or_else(|| doc.find("Absent: "))? + "absent: ".len();
    Some(until(&doc[at..], &["; ", ". ", ".\n"]).trim_end_matches('.'))
}

fn until<'a>(text: &'a str, ends: &[&str]) -> &'a str {
    let end = ends.iter().filter_map(|end| text.find(end)).min();
    text[..end.unwrap_or(text.len())].trim()
}

/// A doc comment without what has a place of its own.
fn prose(doc: &str) -> String {
    let mut out = doc.trim().to_owned();
    for start in ["Since ", "Manual: "] {
        if let (Some(at), Some(found)) = (out.find(start), sentence(&out, start).map(str::len)) {
            let end = (at + start.len() + found + 1).min(out.len());
            out.replace_range(at..end, "");
        }
    }
    // Links between Rust items lead nowhere here.
    let out = out.replace("[`", "`").replace("`]", "`");
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A type's comment without the name of the element at its beginning, which is in the heading.
fn without_tag(doc: &str) -> String {
    let after = doc.strip_prefix("`<").and_then(|rest| rest.split_once(">`")).map(|(_, rest)| rest);
    let Some(rest) = after.and_then(|rest| rest.strip_prefix(": ").or_else(|| rest.strip_prefix('.'))) else {
        return doc.to_owned();
    };
    let mut letters = rest.trim().chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The anchor that Markdown gives a heading.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_words_of_comments() {
        let doc = "Its model; absent: the next.\nSince 1.2.3. Manual: Controllers, PCI.";
        assert_eq!(sentence(doc, "Since "), Some("1.2.3"));
        assert_eq!(sentence(doc, "Manual: "), Some("Controllers, PCI"));
        assert_eq!(absent(doc), Some("the next"));
        assert_eq!(prose(doc), "Its model; absent: the next.");
        assert_eq!(sentence("Nothing.", "Since "), None);
    }

    #[test]
    fn headings_are_not_repeated() {
        assert_eq!(without_tag("`<a>`: what it is."), "What it is.");
        assert_eq!(without_tag("`<a>`."), "");
        assert_eq!(without_tag("`<a>` of a disk."), "`<a>` of a disk.");
    }

    #[test]
    fn anchors_are_those_of_headings() {
        assert_eq!(slug("/domain/devices/hostdev[@type='scsi_host']"), "domaindeviceshostdevtypescsi_host");
    }
}
