//! The parser: binds a document to a value by its tables, and reports everything that is wrong with it in one go.

use std::any::Any;

use crate::access::{ElementAccess, ValueAccess};
use crate::document::{Attribute, Document, Limits};
use crate::positions::Positions;
use crate::problem::{Problem, Problems};
use crate::suggest::nearest;
use crate::table::{Choice, Element, Field, Name, Place, Table, bits};
use crate::tokens;
use crate::tree::{Kept, XmlTree};
use crate::value::{ValueContext, ValueError};

/// What happens to elements and attributes that the types do not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// They are dropped, with a warning each.
    #[default]
    Drop,
    /// Each is an error.
    Reject,
    /// They are kept beside the value ([`Parsed::kept`]) and can be written back; with a warning each.
    Keep,
}

/// How a document is read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ParseOptions {
    /// What happens to unknown input.
    pub unknown: Unknown,
    /// Bounds.
    pub limits: Limits,
}

impl ParseOptions {
    /// The given policy with the usual limits.
    #[must_use]
    pub fn with_unknown(unknown: Unknown) -> Self {
        Self { unknown, ..Self::default() }
    }
}

/// A document that was accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Parsed<T> {
    /// What was written; nothing is completed yet.
    pub config: T,
    /// What has no effect.
    pub warnings: Problems,
    /// Where everything stands.
    pub positions: Positions,
    /// Unknown input, under [`Unknown::Keep`].
    pub kept: Kept,
}

impl<T> Parsed<T> {
    /// The same document, read as something else.
    pub fn map<U>(self, read: impl FnOnce(T) -> U) -> Parsed<U> {
        let Self { config, warnings, positions, kept } = self;
        Parsed { config: read(config), warnings, positions, kept }
    }
}

/// More problems than this are counted, not listed.
const MAX_PROBLEMS: usize = 200;

/// Reads a document whose root element has the given name.
///
/// # Errors
/// All problems of the document, warnings included, if one of them is an error. Of mistakes of XML syntax only the first.
pub fn parse<T: Element + Default>(text: &str, root: &str, options: &ParseOptions) -> Result<Parsed<T>, Problems> {
    let mut config = T::default();
    let (warnings, positions, kept) = parse_into(&mut config, T::describe(), text, root, options)?;
    Ok(Parsed { config, warnings, positions, kept })
}

fn parse_into(
    element: &mut dyn Element,
    table: &'static Table,
    text: &str,
    root: &str,
    options: &ParseOptions,
) -> Result<(Problems, Positions, Kept), Problems> {
    let arena = tokens::read(text, options.limits)?;
    let document = Document { text, arena: &arena };
    let mut binder = Binder { document, unknown: options.unknown, problems: Problems::new(), kept: Kept::default() };
    if let Some(node) = document.root() {
        let name = document.name(node);
        if name != root || document.namespace(node, "").is_some() {
            let message = format!("the root element is <{name}>, expected <{root}> without a namespace");
            return Err(Problem::error(document.path(node), message)
                .with_suggestion(nearest(name, [root]).map(str::to_owned))
                .located(text, document.node(node).start as usize)
                .into());
        }
        binder.chosen(node, element, table);
    }
    let Binder { problems, kept, .. } = binder;
    let ((), warnings) = problems.into_result(())?;
    Ok((warnings, Positions::new(text, arena), kept))
}

struct Binder<'a> {
    document: Document<'a>,
    unknown: Unknown,
    problems: Problems,
    kept: Kept,
}

/// Which fields of one element were seen. The derive refuses types with more fields.
type Seen = u128;

impl Binder<'_> {
    fn add(&mut self, problem: impl FnOnce(&Self) -> Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            let problem = problem(self);
            self.problems.push(problem);
        } else if self.problems.len() == MAX_PROBLEMS {
            self.problems
                .push(Problem::error("/", format!("more than {MAX_PROBLEMS} problems, the rest is not listed")));
        }
    }

    /// Binds a node to an element whose variant may still have to be chosen.
    fn chosen(&mut self, node: u32, element: &mut dyn Element, table: &'static Table) {
        let document = self.document;
        if let Some(choice) = table.choice {
            let word = match choice.attribute {
                None => Some(document.name(node)),
                Some(name) => document.attribute(node, name).map(|a| document.attribute_value(a)).or(choice.default),
            };
            let found = choice.variants.iter().position(|variant| Some(variant.word) == word);
            let Some(variant) = found else { return self.no_variant(node, choice, word) };
            element.choose(variant);
            self.element(node, element, choice.attribute);
        } else {
            self.element(node, element, None);
        }
    }

    fn no_variant(&mut self, node: u32, choice: &Choice, word: Option<&str>) {
        let document = self.document;
        let name = choice.attribute.unwrap_or_default();
        let words: Vec<&str> = choice.variants.iter().map(|v| v.word).collect();
        match (word, document.attribute(node, name)) {
            (Some(word), Some(attribute)) => {
                let error = crate::value::unknown_word(word, &words);
                self.refused(node, Some(name), attribute.offset as usize, error);
            }
            _ => {
                self.misspelt_choice(node, choice, name);
                self.missing(node, &format!("attribute '{name}', one of {}", words.join(", ")));
            }
        }
    }

    /// Reports attributes that no variant knows and that are most likely the one that chooses.
    fn misspelt_choice(&mut self, node: u32, choice: &Choice, name: &str) {
        let document = self.document;
        for attribute in document.attributes(node) {
            let written = document.attribute_name(attribute);
            let known = || {
                let mut variants = choice.variants.iter().map(|variant| (variant.table)());
                variants.any(|table| names(table, |place| matches!(place, Place::Attribute(_))).contains(&written))
            };
            if nearest(written, [name]).is_some() && !known() {
                self.unknown_attribute(node, &EMPTY, Some(name), written);
            }
        }
    }

    fn element(&mut self, node: u32, element: &mut dyn Element, choice: Option<&str>) {
        let document = self.document;
        let table = element.table();
        let mut seen: Seen = 0;
        for attribute in document.attributes(node) {
            if self.attribute(node, element, table, attribute, &mut seen) {
                continue;
            }
            let name = document.attribute_name(attribute);
            if !(Some(name) == choice || is_declaration(name) || name == "unit" && has_unit(table)) {
                self.unknown_attribute(node, table, choice, name);
            }
        }
        self.text(node, element, table, &mut seen);
        for child in document.children(node) {
            self.child(child, element, table, &mut seen);
        }
        let missing = table.required & !seen;
        for (index, field) in table.fields.iter().enumerate().take_while(|_| missing != 0) {
            if missing & (1 << index) != 0 {
                self.missing_field(node, field);
            }
        }
    }

    /// Fills the field of an attribute; `false` if no field has that name.
    fn attribute(
        &mut self,
        node: u32,
        element: &mut dyn Element,
        table: &'static Table,
        attribute: &Attribute,
        seen: &mut Seen,
    ) -> bool {
        let document = self.document;
        let name = document.keyed_attribute_name(attribute);
        if let Some(index) = table.find(name, !table.in_content) {
            let field = &table.fields[index];
            let Place::Attribute(access) = field.place else { return false };
            *seen |= 1 << index;
            let text = document.attribute_value(attribute);
            if let Err(error) = self.value(node, access, element.slot_mut(index), field, text)
                && !self.is_moot(node, field)
            {
                self.refused(node, Some(name.text), attribute.offset as usize, error);
            }
            return true;
        }
        bits(table.borrowed).any(|index| match table.fields[index].place {
            Place::Group(access) if has_attribute(access.table(), name) => {
                let group = access.begin(element.slot_mut(index));
                group.is_some_and(|group| self.attribute(node, group, access.table(), attribute, &mut 0))
            }
            _ => false,
        })
    }

    /// Whether another attribute says that this one does not count.
    fn is_moot(&self, node: u32, field: &Field) -> bool {
        let document = self.document;
        field.moot.is_some_and(|(name, word)| {
            document.attribute(node, name).is_some_and(|attribute| document.attribute_value(attribute) == word)
        })
    }

    fn value(
        &self,
        node: u32,
        access: &dyn ValueAccess,
        slot: &mut dyn Any,
        field: &Field,
        text: &str,
    ) -> Result<(), ValueError> {
        let document = self.document;
        let unit = field.unit.map(|default| {
            document.attribute(node, "unit").map_or(default, |attribute| document.attribute_value(attribute))
        });
        access.parse(slot, text, &ValueContext { style: field.style, unit })
    }

    /// The text of the element, if its type has any.
    fn text(&mut self, node: u32, element: &mut dyn Element, table: &'static Table, seen: &mut Seen) {
        let document = self.document;
        let text = document.text_of(node);
        if text.bytes().all(|b| b.is_ascii_whitespace()) {
            return;
        }
        let own = bits(table.text).next().map(|index| (index, &table.fields[index]));
        let Some((index, field @ Field { place: Place::Text(access), .. })) = own else {
            if !text.trim().is_empty() {
                self.stray_text(node, text);
            }
            return;
        };
        // Without text the field is absent, not empty: libvirt prints such elements and reads them the same way. White space
        // is no text, for it cannot be told from what stands around children.
        if text.trim().is_empty() {
            return;
        }
        *seen |= 1 << index;
        if let Err(error) = self.value(node, *access, element.slot_mut(index), field, text) {
            self.refused(node, None, document.text_offset(node), error);
        }
    }

    fn child(&mut self, child: u32, element: &mut dyn Element, table: &'static Table, seen: &mut Seen) {
        let name = self.document.name(child);
        // Names are short, so this is less than a search.
        let prefixed = name.bytes().any(|byte| byte == b':');
        let foreign = (prefixed || self.document.has_default_namespace())
            && self.document.namespace(child, name.split_once(':').map_or("", |(prefix, _)| prefix)).is_some();
        if prefixed && !foreign {
            let prefix = name.split(':').next().unwrap_or_default();
            return self.undeclared(child, prefix);
        }
        let known = if foreign {
            self.foreign(child, element, table, seen)
        } else {
            self.known(child, self.document.keyed_name(child), element, table, seen)
        };
        if !known {
            self.unknown_element(child, name, table);
        }
    }

    /// Fills the field of an element of another namespace: one that the type knows by the name with its usual prefix, all
    /// others as they are.
    fn foreign(&mut self, child: u32, element: &mut dyn Element, table: &'static Table, seen: &mut Seen) -> bool {
        let (prefix, local) = self.document.name(child).split_once(':').unwrap_or(("", self.document.name(child)));
        let namespace = self.document.namespace(child, prefix);
        let ours = |field: &&Field| field.namespace.is_some() && field.namespace == namespace;
        if let Some(usual) = table.fields.iter().find(ours).and_then(|field| field.xml.split(':').next()) {
            return self.known(child, Name::new(&format!("{usual}:{local}")), element, table, seen);
        }
        let place = table.fields.iter().position(|field| matches!(field.place, Place::Foreign));
        let Some(index) = place else { return false };
        let tree = self.tree(child);
        if let Some(trees) = element.slot_mut(index).downcast_mut::<Vec<XmlTree>>() {
            trees.push(tree);
        }
        true
    }

    fn tree(&mut self, child: u32) -> XmlTree {
        let tree = XmlTree::capture(self.document, child);
        if let Some(prefix) = tree.undeclared() {
            self.undeclared(child, &prefix);
        }
        tree
    }

    fn undeclared(&mut self, node: u32, prefix: &str) {
        self.add(|b| b.at(node, format!("the prefix '{prefix}' is not declared, add xmlns:{prefix}='…'")));
    }

    /// Fills the field of a child element; `false` if no field has that name.
    fn known(
        &mut self,
        child: u32,
        name: Name<'_>,
        element: &mut dyn Element,
        table: &'static Table,
        seen: &mut Seen,
    ) -> bool {
        if let Some(index) = table.find(name, table.in_content) {
            self.fill(child, element, table, index, seen);
            return true;
        }
        for index in bits(table.borrowed) {
            match table.fields[index].place {
                Place::Group(access) if has_child(access.table(), name) => {
                    if let Some(group) = access.begin(element.slot_mut(index)) {
                        return self.known(child, name, group, access.table(), &mut 0);
                    }
                }
                Place::Child(access) if is_chosen_by(access, name.text) => {
                    self.fill(child, element, table, index, seen);
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    /// Fills a field that is no attribute from the child that has its name.
    fn fill(&mut self, child: u32, element: &mut dyn Element, table: &'static Table, index: usize, seen: &mut Seen) {
        let field = &table.fields[index];
        let repeated = *seen & (1 << index) != 0;
        *seen |= 1 << index;
        match field.place {
            Place::Child(access) => {
                let plain = access.is_plain() && !field.once;
                if repeated && !access.is_list() && !plain {
                    self.repeated(child, field);
                } else if let Some(item) = access.begin(element.slot_mut(index)) {
                    self.chosen(child, item, access.table());
                }
            }
            Place::Leaf(access) => {
                if repeated && !access.is_list() {
                    self.repeated(child, field);
                } else {
                    self.leaf(child, access, element.slot_mut(index), field);
                }
            }
            Place::Flag => {
                if let Some(flag) = element.slot_mut(index).downcast_mut::<bool>() {
                    *flag = true;
                }
                self.nothing_inside(child);
            }
            Place::Tree => {
                let tree = self.tree(child);
                if let Some(slot) = element.slot_mut(index).downcast_mut::<Option<XmlTree>>()
                    && !repeated
                {
                    *slot = Some(tree);
                }
            }
            Place::Attribute(_) | Place::Text(_) | Place::Group(_) | Place::Foreign => {}
        }
    }

    fn leaf(&mut self, child: u32, access: &dyn ValueAccess, slot: &mut dyn Any, field: &Field) {
        let document = self.document;
        if let Err(error) = self.value(child, access, slot, field, document.text_of(child)) {
            self.refused(child, None, document.text_offset(child), error);
        }
        for attribute in document.attributes(child) {
            let name = document.attribute_name(attribute);
            if !(is_declaration(name) || name == "unit" && field.unit.is_some()) {
                self.unknown_attribute(child, &EMPTY, None, name);
            }
        }
        for inner in document.children(child) {
            self.unknown_element(inner, document.name(inner), &EMPTY);
        }
    }

    fn nothing_inside(&mut self, child: u32) {
        let document = self.document;
        for attribute in document.attributes(child) {
            let name = document.attribute_name(attribute);
            if !is_declaration(name) {
                self.unknown_attribute(child, &EMPTY, None, name);
            }
        }
        for inner in document.children(child) {
            self.unknown_element(inner, document.name(inner), &EMPTY);
        }
        if !document.text_of(child).trim().is_empty() {
            self.stray_text(child, document.text_of(child));
        }
    }

    fn at(&self, node: u32, message: String) -> Problem {
        let document = self.document;
        Problem::error(document.path(node), message).located(document.text, document.node(node).start as usize)
    }

    fn refused(&mut self, node: u32, attribute: Option<&str>, offset: usize, error: ValueError) {
        self.add(|binder| {
            let document = binder.document;
            let (name, offset) = match document.attribute(node, "unit") {
                Some(unit) if error.in_unit => (Some("unit"), unit.offset as usize),
                _ => (attribute, offset.saturating_add(error.offset)),
            };
            let path = document.path(node) + &name.map(|n| format!("/@{n}")).unwrap_or_default();
            Problem::error(path, error.message).with_suggestion(error.suggestion).located(document.text, offset)
        });
    }

    fn missing_field(&mut self, node: u32, field: &Field) {
        let what = match field.place {
            Place::Attribute(_) => format!("attribute '{}'", field.xml),
            Place::Text(_) => "text".to_owned(),
            _ => format!("element <{}>", field.xml),
        };
        self.missing(node, &what);
    }

    fn missing(&mut self, node: u32, what: &str) {
        self.add(|binder| binder.at(node, format!("<{}> lacks its {what}", binder.document.name(node))));
    }

    fn repeated(&mut self, child: u32, field: &Field) {
        let unknown = self.unknown;
        self.add(|binder| {
            let mut problem = binder.at(child, format!("a second <{}>, only the first counts", field.xml));
            if field.once {
                problem.message = format!("a second <{}>, there may be one", field.xml);
            } else if unknown != Unknown::Reject {
                problem.severity = crate::Severity::Warning;
            }
            problem
        });
    }

    fn stray_text(&mut self, node: u32, text: &str) {
        let shown: String = text.trim().chars().take(40).collect();
        let offset = self.document.text_offset(node);
        let message = format!("text '{shown}' where only elements are known");
        self.unknown(self.document.path(node), offset, message, None);
    }

    /// `choice` is the attribute that chose the table, which it does not hold.
    fn unknown_attribute(&mut self, node: u32, table: &'static Table, choice: Option<&str>, name: &str) {
        let document = self.document;
        let Some(attribute) = document.attribute(node, name) else { return };
        if self.unknown == Unknown::Keep {
            self.kept.attribute(document.path(node), name, document.attribute_value(attribute));
        }
        if self.problems.len() <= MAX_PROBLEMS {
            let message = format!("attribute '{name}' is not known on <{}>", document.name(node));
            let known = names(table, |place| matches!(place, Place::Attribute(_))).into_iter().chain(choice);
            let offset = document.attribute_name_offset(attribute);
            self.unknown(format!("{}/@{name}", document.path(node)), offset, message, nearest(name, known));
        }
    }

    fn unknown_element(&mut self, child: u32, name: &str, table: &'static Table) {
        let document = self.document;
        let node = document.node(child);
        if self.unknown == Unknown::Keep {
            self.kept.element(document.path(node.parent), XmlTree::capture(document, child));
        }
        if self.problems.len() <= MAX_PROBLEMS {
            let message = format!("element <{name}> is not known in <{}>", document.name(node.parent));
            let known = names(table, |place| !matches!(place, Place::Attribute(_) | Place::Text(_)));
            self.unknown(document.path(child), node.start as usize, message, nearest(name, known));
        }
    }

    fn unknown(&mut self, path: String, offset: usize, message: String, suggestion: Option<&str>) {
        let severity = if self.unknown == Unknown::Reject { crate::Severity::Error } else { crate::Severity::Warning };
        let suggestion = suggestion.map(str::to_owned);
        self.add(|binder| {
            let problem = Problem { severity, ..Problem::error(path, message) };
            problem.with_suggestion(suggestion).located(binder.document.text, offset)
        });
    }
}

/// The table of an element that takes nothing.
static EMPTY: Table = Table {
    name: "",
    doc: "",
    fields: &[],
    keys: &[],
    in_tag: 0,
    in_content: 0,
    borrowed: 0,
    text: 0,
    required: 0,
    choice: None,
};

fn is_declaration(name: &str) -> bool {
    name == "xmlns" || name.starts_with("xmlns:") || name.starts_with("xml:")
}

fn has_unit(table: &Table) -> bool {
    let sized = |field: &Field| match field.place {
        Place::Attribute(_) | Place::Text(_) => field.unit.is_some(),
        Place::Group(access) => has_unit(access.table()),
        _ => false,
    };
    table.fields.iter().any(sized)
}

fn is_chosen_by(access: &dyn ElementAccess, name: &str) -> bool {
    access.table().choice.is_some_and(|choice| choice.variants.iter().any(|variant| variant.word == name))
}

/// Whether an attribute of that name is the table's or that of one of its groups.
fn has_attribute(table: &'static Table, name: Name<'_>) -> bool {
    let in_group =
        |index: usize| matches!(table.fields[index].place, Place::Group(access) if has_attribute(access.table(), name));
    table.find(name, !table.in_content).is_some() || bits(table.borrowed).any(in_group)
}

/// Whether a child of that name is the table's or that of one of its groups.
fn has_child(table: &'static Table, name: Name<'_>) -> bool {
    let borrowed = |index: usize| match table.fields[index].place {
        Place::Group(access) => has_child(access.table(), name),
        Place::Child(access) => is_chosen_by(access, name.text),
        _ => false,
    };
    table.find(name, table.in_content).is_some() || bits(table.borrowed).any(borrowed)
}

fn names(table: &'static Table, wanted: fn(&Place) -> bool) -> Vec<&'static str> {
    let mut out = Vec::new();
    for field in table.fields {
        match field.place {
            Place::Group(access) => out.extend(names(access.table(), wanted)),
            place if wanted(&place) => {
                out.push(field.xml);
                if let Place::Child(access) = place
                    && let Some(choice) = access.table().choice
                    && field.xml.is_empty()
                {
                    out.extend(choice.variants.iter().map(|v| v.word));
                }
            }
            _ => {}
        }
    }
    out
}
