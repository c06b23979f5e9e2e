//! Every word of the domain format, from the tables: what a fuzzer would not guess in a year.

use std::collections::BTreeSet;

use polyvirt_core::model::DomainConfig;
use polyvirt_xml::{Element, Place, Table, ValueAccess, ValueKind};

/// A dictionary for libFuzzer: one quoted entry a line.
#[must_use]
pub fn dictionary() -> String {
    let mut words = Words::default();
    words.table(DomainConfig::describe());
    words.entries.extend(
        [
            "<![CDATA[",
            "]]>",
            "<!--",
            "-->",
            "&amp;",
            "&#x41;",
            "&#10;",
            "xmlns:q=\\x22urn:q\\x22",
            "18446744073709551615",
        ]
        .map(str::to_owned),
    );
    let quoted = |word: &String| format!("\"{}\"\n", word.replace('"', "\\\""));
    words.entries.iter().map(quoted).collect()
}

#[derive(Default)]
struct Words {
    entries: BTreeSet<String>,
    seen: BTreeSet<*const Table>,
}

impl Words {
    fn table(&mut self, table: &'static Table) {
        if !self.seen.insert(std::ptr::from_ref(table)) {
            return;
        }
        if let Some(choice) = table.choice {
            for variant in choice.variants {
                match choice.attribute {
                    Some(attribute) => self.entries.insert(format!(" {attribute}='{}'", variant.word)),
                    None => self.entries.insert(format!("<{}>", variant.word)),
                };
                self.table((variant.table)());
            }
        }
        for field in table.fields {
            match field.place {
                Place::Attribute(access) => self.values(&format!(" {}=", field.xml), access),
                Place::Text(access) => self.values("", access),
                Place::Leaf(access) => {
                    self.tags(field.xml);
                    self.values("", access);
                }
                Place::Flag | Place::Tree => self.tags(field.xml),
                Place::Child(access) => {
                    self.tags(field.xml);
                    self.table(access.table());
                }
                Place::Group(access) => self.table(access.table()),
                Place::Foreign => {}
            }
        }
    }

    fn tags(&mut self, name: &str) {
        if !name.is_empty() {
            self.entries.insert(format!("<{name}/>"));
            self.entries.insert(format!("<{name}>"));
            self.entries.insert(format!("</{name}>"));
        }
    }

    /// `before` is ` name=` for an attribute and empty for text.
    fn values(&mut self, before: &str, access: &dyn ValueAccess) {
        let quote = if before.is_empty() { "" } else { "'" };
        let words: &[&str] = match access.kind() {
            ValueKind::Words(words) => words,
            ValueKind::Bool => &["yes", "no", "on", "off"],
            _ => &["1"],
        };
        self.entries.extend(words.iter().map(|word| format!("{before}{quote}{word}{quote}")));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_dictionary_has_words_of_every_kind() {
        let dictionary = super::dictionary();
        for entry in [" type='kvm'", "<memballoon>", " cellid='1'", "</numatune>", "<!--"] {
            assert!(dictionary.lines().any(|line| line == format!("\"{entry}\"")), "{entry}");
        }
        assert!(dictionary.lines().count() > 1000);
    }
}
