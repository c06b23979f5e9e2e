//! The formatter, in libvirt's dialect: two spaces, single quotes, `/>`, fields in the order of their table.

use crate::access::{ElementAccess, ValueAccess};
use crate::escape::{self, Into as At};
use crate::table::{Element, Field, Place, bits};
use crate::tree::{self, XmlTree};

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormatOptions {
    /// Only the stored definition: what describes a running guest alone is left out.
    pub inactive: bool,
    /// Secrets too, such as passwords of graphics.
    pub secure: bool,
}

impl FormatOptions {
    /// Everything but secrets.
    #[must_use]
    pub const fn new() -> Self {
        Self { inactive: false, secure: false }
    }

    /// Leaves out what describes a running guest alone.
    #[must_use]
    pub const fn inactive(mut self) -> Self {
        self.inactive = true;
        self
    }

    /// Prints secrets too.
    #[must_use]
    pub const fn secure(mut self) -> Self {
        self.secure = true;
        self
    }
}

/// Prints an element under the given name, ending with a newline.
#[must_use]
pub fn format(
    element: &dyn Element,
    name: &str,
    choice: Option<&'static crate::Choice>,
    options: FormatOptions,
) -> String {
    let mut writer =
        Writer { out: String::with_capacity(4096), depth: 0, declared: Vec::new(), after_text: false, options };
    writer.element(name, element, choice, false);
    writer.out
}

struct Writer {
    out: String,
    depth: usize,
    /// Prefixes of typed elements that are declared here.
    declared: Vec<&'static str>,
    /// Whether the text of the open element was written last. A child follows it at once: white space would be part of it.
    after_text: bool,
    options: FormatOptions,
}

impl Writer {
    fn indent(&mut self) {
        if std::mem::take(&mut self.after_text) {
            return;
        }
        tree::indent(self.depth, &mut self.out);
    }

    fn shown(&self, field: &Field) -> bool {
        !(field.secret && !self.options.secure || field.live && self.options.inactive)
    }

    /// `droppable`: nothing is written if the element turns out to be empty.
    fn element(&mut self, name: &str, element: &dyn Element, choice: Option<&'static crate::Choice>, droppable: bool) {
        let start = self.out.len();
        let variant = choice.and_then(|choice| Some((choice, choice.variants.get(element.variant())?)));
        let name = match variant {
            Some((choice, variant)) if choice.attribute.is_none() => variant.word,
            _ => name,
        };
        let declared = self.declared.len();
        self.indent();
        self.out.push('<');
        self.out.push_str(name);
        let bare = self.out.len();
        if let Some((choice, variant)) = variant
            && let Some(attribute) = choice.attribute
        {
            tree::attribute(attribute, variant.word, &mut self.out);
        }
        self.attributes(element);
        let tag = self.out.len();
        self.out.push('>');
        let content = self.out.len();
        self.depth += 1;
        let has_text = self.content(element);
        self.depth -= 1;
        self.declared.truncate(declared);
        self.after_text = false;
        if self.out.len() == content {
            if droppable && tag == bare {
                self.out.truncate(start);
                return;
            }
            self.out.truncate(tag);
            self.out.push_str("/>\n");
            return;
        }
        if !has_text {
            self.indent();
        }
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push_str(">\n");
    }

    fn attributes(&mut self, element: &dyn Element) {
        let table = element.table();
        for index in bits(table.in_tag & element.present()) {
            let field = &table.fields[index];
            if !self.shown(field) {
                continue;
            }
            let slot = element.slot(index);
            // Nearly always, so it comes before the choice among the others.
            if let Place::Attribute(access) = field.place {
                self.out.push(' ');
                self.out.push_str(field.xml);
                self.out.push_str("='");
                self.value(access, slot, 0, field, At::Attribute);
                self.out.push('\'');
                self.unit(access, slot, 0, field);
                continue;
            }
            match field.place {
                Place::Text(access) => self.unit(access, slot, 0, field),
                Place::Group(access) => {
                    if let Some(group) = access.item(slot, 0) {
                        self.attributes(group);
                    }
                }
                Place::Foreign => self.declarations(slot.downcast_ref::<Vec<XmlTree>>()),
                Place::Child(access) if access.count(slot) > 0 => self.declaration(field),
                Place::Leaf(access) if access.count(slot) > 0 => self.declaration(field),
                _ => {}
            }
        }
    }

    /// Declares the namespace of a child where it is not yet.
    fn declaration(&mut self, field: &Field) {
        let prefix = field.xml.split(':').next().unwrap_or_default();
        if let Some(namespace) = field.namespace.filter(|_| !self.declared.contains(&prefix)) {
            self.declared.push(prefix);
            tree::declare(prefix, namespace, &mut self.out);
        }
    }

    /// Prefixes of foreign children are declared on the parent, as libvirt does.
    fn declarations(&mut self, trees: Option<&Vec<XmlTree>>) {
        let mut done: Vec<&str> = Vec::new();
        for tree in trees.into_iter().flatten() {
            let prefix = tree.prefix();
            let known = prefix.is_empty() || done.contains(&prefix) || self.declared.contains(&prefix);
            if let Some(namespace) = tree.namespace.as_deref().filter(|_| !known) {
                done.push(prefix);
                tree::declare(prefix, namespace, &mut self.out);
            }
        }
    }

    fn unit(&mut self, access: &dyn ValueAccess, slot: &dyn std::any::Any, index: usize, field: &Field) {
        if let (Some(_), Some(unit)) = (field.unit, access.unit_of(slot, index)) {
            tree::attribute("unit", unit, &mut self.out);
        }
    }

    fn value(&mut self, access: &dyn ValueAccess, slot: &dyn std::any::Any, index: usize, field: &Field, at: At) {
        let start = self.out.len();
        access.write(slot, index, field.style, &mut self.out);
        // Few values have to be written again.
        if escape::is_special(&self.out[start..]) {
            let raw = self.out.split_off(start);
            escape::escape(&raw, at, &mut self.out);
        }
    }

    /// Whether text is in it: then no white space may be added.
    fn content(&mut self, element: &dyn Element) -> bool {
        let table = element.table();
        let mut has_text = false;
        for index in bits(table.in_content & element.present()) {
            let field = &table.fields[index];
            if !self.shown(field) {
                continue;
            }
            let slot = element.slot(index);
            match field.place {
                Place::Text(access) => {
                    let start = self.out.len();
                    self.value(access, slot, 0, field, At::Text);
                    self.after_text = self.out.len() > start;
                    has_text |= self.after_text;
                }
                Place::Leaf(access) => self.leaves(access, slot, field),
                Place::Flag => {
                    self.first_child();
                    self.indent();
                    self.out.push('<');
                    self.out.push_str(field.xml);
                    self.out.push_str("/>\n");
                }
                Place::Child(access) => self.children(access, slot, field),
                Place::Group(access) => {
                    if let Some(group) = access.item(slot, 0) {
                        has_text |= self.content(group);
                    }
                }
                Place::Tree => self.trees(slot.downcast_ref::<Option<XmlTree>>().into_iter().flatten(), false),
                Place::Foreign => self.trees(slot.downcast_ref::<Vec<XmlTree>>().into_iter().flatten(), true),
                _ => {}
            }
        }
        has_text
    }

    fn first_child(&mut self) {
        if self.out.ends_with('>') {
            self.out.push('\n');
        }
    }

    fn leaves(&mut self, access: &dyn ValueAccess, slot: &dyn std::any::Any, field: &Field) {
        for index in 0..access.count(slot) {
            self.first_child();
            self.indent();
            self.out.push('<');
            self.out.push_str(field.xml);
            self.unit(access, slot, index, field);
            self.out.push('>');
            let start = self.out.len();
            self.value(access, slot, index, field, At::Text);
            if self.out.len() == start {
                self.out.pop();
                self.out.push_str("/>\n");
            } else {
                self.out.push_str("</");
                self.out.push_str(field.xml);
                self.out.push_str(">\n");
            }
        }
    }

    fn children(&mut self, access: &dyn ElementAccess, slot: &dyn std::any::Any, field: &Field) {
        let choice = access.table().choice;
        for index in 0..access.count(slot) {
            if let Some(child) = access.item(slot, index) {
                let (before, after_text) = (self.out.len(), self.after_text);
                self.first_child();
                let start = self.out.len();
                self.element(field.xml, child, choice, access.is_plain() && !field.always);
                if self.out.len() == start {
                    self.out.truncate(before);
                    self.after_text = after_text;
                }
            }
        }
    }

    fn trees<'a>(&mut self, trees: impl Iterator<Item = &'a XmlTree>, hoist: bool) {
        let mut declared: Vec<(&str, Option<&str>)> = Vec::new();
        for tree in trees {
            self.first_child();
            let prefix = tree.prefix();
            // The first tree of a prefix decides what it means on the parent; another meaning is declared on the tree.
            let hoisted = hoist && !prefix.is_empty() && !self.declared.contains(&prefix) && {
                let known = declared.iter().find(|(known, _)| *known == prefix).map(|(_, namespace)| namespace);
                known.is_none_or(|namespace| *namespace == tree.namespace.as_deref())
            };
            if hoisted {
                declared.push((prefix, tree.namespace.as_deref()));
            }
            self.indent();
            tree.write_inline(self.depth, hoisted.then_some(prefix), &mut self.out);
            self.out.push('\n');
        }
    }
}
