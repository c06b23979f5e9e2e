//! Documents by the tables: bytes are decisions, so that every input is well-formed and most of it is known.
//!
//! Mutation of text rarely gets two rare elements right at once; mutation of decisions does nothing else.

use polyvirt_core::model::{DomainConfig, ParseOptions, Unknown};
use polyvirt_xml::{Choice, Element, Field, Place, Style, Table, ValueAccess, ValueKind, bool_words};

use crate::{domain, json};

/// Deeper than any definition nests, and below the parser's limit.
const DEPTH: usize = 12;

/// The document that the bytes describe, if it is accepted, is a fixed point in XML and in JSON.
pub(crate) fn fixed_point(data: &[u8]) {
    let text = document(data);
    match DomainConfig::parse(&text, &ParseOptions::with_unknown(Unknown::Reject)) {
        Ok(parsed) => {
            domain::holds(&parsed);
            json::through_xml(&parsed.config);
        }
        Err(problems) => {
            // The words may stand in a value as well.
            let is_unknown = |said: &str| said.starts_with("element <") || said.starts_with("attribute '");
            let unknown = problems.iter().any(|p| is_unknown(&p.message) && p.message.contains(" is not known "));
            assert!(!unknown, "the tables do not know their own: {problems}\n{text}");
        }
    }
}

/// The document that the bytes describe.
pub(crate) fn document(data: &[u8]) -> String {
    let mut author = Author { data, out: String::new() };
    let table = DomainConfig::describe();
    author.element("domain", table, None, DEPTH);
    author.out
}

struct Author<'d> {
    data: &'d [u8],
    out: String,
}

impl Author<'_> {
    /// The next decision; 0 when there are no more.
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.data.split_first() else { return 0 };
        self.data = rest;
        first
    }

    fn pick<'t, T>(&mut self, list: &'t [T]) -> Option<&'t T> {
        let at = usize::from(self.byte());
        list.get(at % list.len().max(1))
    }

    fn element(&mut self, name: &str, table: &'static Table, choice: Option<&'static Choice>, depth: usize) {
        let variant = choice.and_then(|choice| Some((choice, self.pick(choice.variants)?)));
        let (name, table) = match variant {
            Some((Choice { attribute: None, .. }, variant)) => (variant.word, (variant.table)()),
            Some((_, variant)) => (name, (variant.table)()),
            None => (name, table),
        };
        self.out.push('<');
        self.out.push_str(name);
        if let Some((Choice { attribute: Some(attribute), .. }, variant)) = variant {
            self.attribute(attribute, variant.word);
        }
        let wanted = self.wanted(table);
        self.attributes(table, wanted);
        self.out.push('>');
        self.content(table, wanted, depth);
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// What is required, and what the bytes name: each is the distance to the next field; 0 ends.
    fn wanted(&mut self, table: &Table) -> u128 {
        let mut wanted = table.required;
        let mut at = 0;
        while at < table.fields.len() {
            let skip = self.byte() & 0x1f;
            if skip == 0 {
                break;
            }
            at += usize::from(skip);
            if at <= table.fields.len() {
                wanted |= 1 << (at - 1);
            }
        }
        wanted
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.out.push_str(&format!(" {name}='"));
        self.escaped(value);
        self.out.push('\'');
    }

    fn escaped(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '\'' => self.out.push_str("&apos;"),
                '\t' | '\n' | '\r' => self.out.push_str(&format!("&#{};", u32::from(c))),
                c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => {}
                c => self.out.push(c),
            }
        }
    }

    fn attributes(&mut self, table: &'static Table, wanted: u128) {
        for (index, field) in table.fields.iter().enumerate() {
            match field.place {
                Place::Attribute(access) if wanted & 1 << index != 0 => {
                    let value = self.value(access, field);
                    self.attribute(field.xml, &value);
                    self.unit(field);
                }
                Place::Text(_) if wanted & 1 << index != 0 => self.unit(field),
                // A group's fields have names of their own; its content is drawn again in `content`.
                Place::Group(access) => {
                    let wanted = self.wanted(access.table());
                    self.attributes(access.table(), wanted);
                }
                _ => {}
            }
        }
    }

    fn unit(&mut self, field: &Field) {
        const UNITS: &[&str] = &["KiB", "b", "bytes", "MiB", "GB", "EiB", "k", "zz"];
        let start = self.out.rfind('<').unwrap_or(0);
        if field.unit.is_some() && !self.out[start..].contains(" unit=") {
            let at = self.byte();
            if let Some(unit) = UNITS.get(usize::from(at).wrapping_sub(1) % 16) {
                self.attribute("unit", unit);
            }
        }
    }

    fn content(&mut self, table: &'static Table, wanted: u128, depth: usize) {
        for (index, field) in table.fields.iter().enumerate() {
            if let Place::Group(access) = field.place {
                let wanted = self.wanted(access.table());
                self.content(access.table(), wanted, depth);
            }
            if wanted & 1 << index == 0 {
                continue;
            }
            let many = match field.place {
                Place::Leaf(access) if access.is_list() => self.byte() % 3 + 1,
                Place::Child(access) if access.is_list() => self.byte() % 3 + 1,
                _ => 1,
            };
            for _ in 0..many {
                self.field(field, depth);
            }
        }
    }

    fn field(&mut self, field: &Field, depth: usize) {
        match field.place {
            Place::Text(access) => {
                let value = self.value(access, field);
                self.escaped(&value);
            }
            Place::Leaf(access) => {
                self.out.push_str(&format!("<{}", field.xml));
                self.unit(field);
                self.out.push('>');
                let value = self.value(access, field);
                self.escaped(&value);
                self.out.push_str(&format!("</{}>", field.xml));
            }
            Place::Flag => self.out.push_str(&format!("<{}/>", field.xml)),
            Place::Child(access) if depth > 0 => {
                self.element(field.xml, access.table(), access.table().choice, depth - 1);
            }
            Place::Tree => self.out.push_str(&format!("<{0}><m:x xmlns:m='urn:m'>t</m:x></{0}>", field.xml)),
            Place::Foreign => self.out.push_str("<q:commandline xmlns:q='urn:q'><q:arg value='-s'/></q:commandline>"),
            _ => {}
        }
    }

    fn value(&mut self, access: &dyn ValueAccess, field: &Field) -> String {
        match access.kind() {
            ValueKind::Words(words) => self.pick(words).map_or_else(String::new, |word| (*word).to_owned()),
            ValueKind::Bool => {
                let (yes, no) = bool_words(field.style);
                if self.byte() & 1 == 0 { yes } else { no }.to_owned()
            }
            ValueKind::Integer { min, max } => self.integer(min, max, field.style),
            ValueKind::Size(_) => self.integer(0, u64::MAX, Style::Plain),
            _ => self.text(),
        }
    }

    fn integer(&mut self, min: i64, max: u64, style: Style) -> String {
        let number = match self.byte() {
            0 => 0,
            255 => i128::from(max),
            254 => i128::from(max) + 1,
            253 => i128::from(min),
            252 => i128::from(min) - 1,
            small => i128::from(small),
        };
        match style {
            Style::Hex(_) if number >= 0 && number % 2 == 1 => format!("{number:#x}"),
            _ => number.to_string(),
        }
    }

    /// Forms that syntaxes of the format have, or bytes as they come.
    fn text(&mut self) -> String {
        const FORMS: &[&str] = &[
            "a",
            "",
            " ",
            "0-3,^1",
            "1",
            "c7a5fdbd-edaf-9455-926a-d65c16db1809",
            "52:54:00:12:34:56",
            "vda",
            "/dev/urandom",
            "192.168.122.1",
            "fe80::1",
            "hvm",
            "x86_64",
            "2026-01-01",
            "0x1af4",
            "a b\n\t<&>\"'",
        ];
        let form = self.byte();
        if let Some(form) = FORMS.get(usize::from(form)) {
            return (*form).to_owned();
        }
        let length = usize::from(form % 16).min(self.data.len());
        let (bytes, rest) = self.data.split_at(length);
        self.data = rest;
        String::from_utf8_lossy(bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator that is refused is no test of what comes after.
    #[test]
    fn a_good_part_of_the_documents_is_accepted() {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut accepted = 0;
        for length in 0..400_usize {
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .take(length / 4)
            .collect();
            let text = document(&bytes);
            accepted += usize::from(DomainConfig::parse(&text, &ParseOptions::default()).is_ok());
        }
        assert!(accepted > 40, "{accepted} of 400");
    }
}
