//! A document as a flat arena of names, values and offsets, before it is bound to types.
//!
//! Built in one pass over the text. Values borrow the source unless they hold references; a node is a few integers, so a
//! document costs one or two allocations. The same arena later answers where a path is ([`crate::Positions`]).
//!
//! It refuses what a definition never needs and an attacker likes: document types, entities beyond the five of XML,
//! sizes above [`Limits`]. It reports the first mistake of syntax only, because what follows one is guesswork.
//!
//! Invariant: a node's index is larger than its parent's; children are chained in document order.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use crate::escape::{self, Reference};
use crate::problem::Problem;
use crate::scan::Written;
use crate::table::{Name, key};

/// Bounds that hold before anything is allocated for the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the document: 16 MiB.
    pub bytes: usize,
    /// Nesting of elements: 64.
    pub depth: usize,
    /// Attributes of one element: 128.
    pub attributes: usize,
    /// Bytes of one attribute value or one text: 1 MiB.
    pub value: usize,
    /// Elements of the document: 400,000.
    pub elements: usize,
    /// Declarations of namespaces in the document: 1024.
    pub namespaces: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 16 << 20, depth: 64, attributes: 128, value: 1 << 20, elements: 400_000, namespaces: 1024 }
    }
}

/// Bytes of the name of an element or attribute. Paths are made of names, and every problem has a path.
pub(crate) const MAX_NAME: usize = 256;

/// Index of no node.
pub(crate) const NONE: u32 = u32::MAX;

/// A range of the source or, when references had to be resolved, of the decoded buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
    decoded: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    name: Span,
    key: u32,
    text: Span,
    /// Offset of the first character of the text.
    text_start: u32,
    pub(crate) parent: u32,
    pub(crate) first_child: u32,
    last_child: u32,
    pub(crate) next: u32,
    first_attribute: u32,
    attributes: u32,
    /// Offset of `<`.
    pub(crate) start: u32,
    /// Offset behind the end tag.
    pub(crate) end: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Attribute {
    name: Span,
    key: u32,
    value: Span,
    /// Offset of the value's first character in the source.
    pub(crate) offset: u32,
}

/// The arena without the text it was made from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arena {
    nodes: Vec<Node>,
    attributes: Vec<Attribute>,
    decoded: String,
    /// Every declaration of a namespace, in document order.
    declarations: Vec<Declaration>,
    /// Whether some element declares a default namespace; without one, names without a prefix have none.
    default_namespace: bool,
    /// Made when the first path is asked for, because most documents never show one.
    ordinals: OnceLock<Vec<Ordinal>>,
}

/// Which of the siblings of one name a node is.
#[derive(Clone, Copy, Debug, Default)]
struct Ordinal {
    /// From 1.
    index: u32,
    is_only: bool,
}

/// A namespace and the element it is declared on.
#[derive(Clone, Copy, Debug)]
struct Declaration {
    node: u32,
    /// Empty: the default namespace.
    prefix: Span,
    namespace: Span,
}

/// An arena and the text it points into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document<'a> {
    pub(crate) text: &'a str,
    pub(crate) arena: &'a Arena,
}

impl<'a> Document<'a> {
    pub(crate) fn root(self) -> Option<u32> {
        if self.arena.nodes.is_empty() { None } else { Some(0) }
    }

    pub(crate) fn node(self, id: u32) -> &'a Node {
        &self.arena.nodes[id as usize]
    }

    pub(crate) fn name(self, id: u32) -> &'a str {
        self.slice(self.node(id).name)
    }

    pub(crate) fn keyed_name(self, id: u32) -> Name<'a> {
        Name { key: self.node(id).key, text: self.name(id) }
    }

    pub(crate) fn text_of(self, id: u32) -> &'a str {
        self.slice(self.node(id).text)
    }

    /// Where the text of an element begins, or the element if it has none.
    pub(crate) fn text_offset(self, id: u32) -> usize {
        let node = self.node(id);
        if node.text_start == NONE {
            return node.start as usize;
        }
        let text = &self.text[node.text_start as usize..node.end.max(node.text_start) as usize];
        node.text_start as usize + (text.len() - text.trim_start().len())
    }

    /// The offset behind the start tag of an element that has content. `>` may stand in a value, so quotes are followed.
    pub(crate) fn content_start(self, id: u32) -> usize {
        let start = self.node(id).start as usize;
        let mut quote = None;
        for (at, byte) in self.text.as_bytes().iter().enumerate().skip(start) {
            match (quote, byte) {
                (None, b'>') => return at + 1,
                (None, b'\'' | b'"') => quote = Some(*byte),
                (Some(open), byte) if open == *byte => quote = None,
                _ => {}
            }
        }
        self.text.len()
    }

    /// The offset of the end tag of an element that has content.
    pub(crate) fn content_end(self, id: u32) -> usize {
        let end = self.node(id).end as usize;
        self.text.get(..end).and_then(|text| text.rfind("</")).unwrap_or(end)
    }

    pub(crate) fn attributes(self, id: u32) -> &'a [Attribute] {
        let node = self.node(id);
        let first = node.first_attribute as usize;
        &self.arena.attributes[first..first + node.attributes as usize]
    }

    pub(crate) fn keyed_attribute_name(self, attribute: &Attribute) -> Name<'a> {
        Name { key: attribute.key, text: self.attribute_name(attribute) }
    }

    pub(crate) fn attribute_name(self, attribute: &Attribute) -> &'a str {
        self.slice(attribute.name)
    }

    pub(crate) fn attribute_name_offset(self, attribute: &Attribute) -> usize {
        attribute.name.start as usize
    }

    pub(crate) fn attribute_value(self, attribute: &Attribute) -> &'a str {
        self.slice(attribute.value)
    }

    pub(crate) fn attribute(self, id: u32, name: &str) -> Option<&'a Attribute> {
        self.keyed_attribute(id, Name::new(name))
    }

    pub(crate) fn keyed_attribute(self, id: u32, name: Name<'_>) -> Option<&'a Attribute> {
        self.attributes(id).iter().find(|a| a.key == name.key && self.attribute_name(a) == name.text)
    }

    pub(crate) fn children(self, id: u32) -> Children<'a> {
        Children { document: self, next: self.node(id).first_child }
    }

    /// The path of a node: `/domain/devices/disk[2]`; an index only where siblings share the name.
    pub(crate) fn path(self, id: u32) -> String {
        let ordinals = self.arena.ordinals.get_or_init(|| self.count_siblings());
        let mut steps = Vec::new();
        let mut at = id;
        while at != NONE {
            let node = self.node(at);
            let mut step = format!("/{}", self.name(at));
            let ordinal = ordinals.get(at as usize).copied().unwrap_or_default();
            if node.parent != NONE && !ordinal.is_only {
                step.push_str(&format!("[{}]", ordinal.index));
            }
            steps.push(step);
            at = node.parent;
        }
        steps.reverse();
        steps.concat()
    }

    /// One pass for all nodes: looking at the siblings of each would cost the square of a hostile document.
    fn count_siblings(self) -> Vec<Ordinal> {
        let mut ordinals = vec![Ordinal::default(); self.arena.nodes.len()];
        let mut count: HashMap<(u32, &str), u32> = HashMap::new();
        for (ordinal, (node, id)) in ordinals.iter_mut().zip(self.arena.nodes.iter().zip(0..)) {
            let counted = count.entry((node.parent, self.name(id))).or_default();
            *counted += 1;
            ordinal.index = *counted;
        }
        for (ordinal, (node, id)) in ordinals.iter_mut().zip(self.arena.nodes.iter().zip(0..)) {
            ordinal.is_only = count.get(&(node.parent, self.name(id))) == Some(&1);
        }
        ordinals
    }

    /// Whether names without a prefix can have a namespace.
    pub(crate) fn has_default_namespace(self) -> bool {
        self.arena.default_namespace
    }

    /// The namespace that a prefix (empty: the default) means at a node.
    pub(crate) fn namespace(self, id: u32, prefix: &str) -> Option<&'a str> {
        if prefix == "xml" {
            return Some("http://www.w3.org/XML/1998/namespace");
        }
        // Declarations are few and bounded; walking up the ancestors of every name would not be.
        let inner = self.node(id);
        let around = |declaration: &&Declaration| {
            let outer = self.node(declaration.node);
            outer.start <= inner.start && inner.end <= outer.end && self.slice(declaration.prefix) == prefix
        };
        let nearest = self.arena.declarations.iter().rev().find(around)?;
        Some(self.slice(nearest.namespace)).filter(|namespace| !namespace.is_empty())
    }

    fn slice(self, span: Span) -> &'a str {
        let source = if span.decoded { self.arena.decoded.as_str() } else { self.text };
        &source[span.start as usize..span.end as usize]
    }
}

pub(crate) struct Children<'a> {
    document: Document<'a>,
    next: u32,
}

impl Iterator for Children<'_> {
    type Item = u32;
    fn next(&mut self) -> Option<u32> {
        let id = self.next;
        if id == NONE {
            return None;
        }
        self.next = self.document.node(id).next;
        Some(id)
    }
}

/// The arena under construction.
pub(crate) struct Builder<'t> {
    text: &'t str,
    limits: Limits,
    arena: Arena,
    open: Vec<u32>,
}

impl<'t> Builder<'t> {
    pub(crate) fn new(text: &'t str, limits: Limits) -> Self {
        let mut arena = Arena::default();
        // Definitions have about one element per 40 bytes and one attribute per 30; a hostile text of the largest size
        // reserves no more than this either.
        arena.nodes.reserve((text.len() / 40).min(4096));
        arena.attributes.reserve((text.len() / 30).min(4096));
        Self { text, limits, arena, open: Vec::new() }
    }

    pub(crate) fn finish(self) -> Result<Arena, Box<Problem>> {
        if let Some(&open) = self.open.last() {
            let at = self.arena.nodes[open as usize].start as usize;
            let name = self.document().name(open);
            let message = format!("<{name}> is never closed, </{name}> is missing");
            return Err(self.problem(at, message));
        }
        if self.arena.nodes.is_empty() {
            return Err(self.problem(0, "there is no element in it"));
        }
        Ok(self.arena)
    }

    pub(crate) fn problem(&self, offset: usize, message: impl Into<String>) -> Box<Problem> {
        let path = self.open.last().map_or_else(|| "/".to_owned(), |&id| self.document().path(id));
        Box::new(Problem::error(path, message).located(self.text, offset))
    }

    fn document(&self) -> Document<'_> {
        Document { text: self.text, arena: &self.arena }
    }

    pub(crate) fn is_outside(&self) -> bool {
        self.open.is_empty()
    }

    /// A start tag: `name` is a range of the source that holds a name, `start` the offset of its `<`.
    pub(crate) fn open(&mut self, start: usize, name: Range<usize>) -> Result<(), Box<Problem>> {
        let parent = self.open.last().copied().unwrap_or(NONE);
        if parent == NONE && !self.arena.nodes.is_empty() {
            return Err(self.problem(start, "a second root element, a document has one"));
        }
        if self.open.len() >= self.limits.depth {
            return Err(self.problem(start, format!("elements are nested deeper than {}", self.limits.depth)));
        }
        if self.arena.nodes.len() >= self.limits.elements {
            return Err(self.problem(start, format!("more than {} elements", self.limits.elements)));
        }
        let id = self.index(self.arena.nodes.len());
        let key = key(&self.text[name.clone()]);
        let (name, first_attribute, offset) =
            (self.source(name), self.index(self.arena.attributes.len()), self.index(start));
        self.arena.nodes.push(Node {
            name,
            key,
            text: Span::default(),
            text_start: NONE,
            parent,
            first_child: NONE,
            last_child: NONE,
            next: NONE,
            first_attribute,
            attributes: 0,
            start: offset,
            end: offset,
        });
        if parent != NONE {
            let previous = std::mem::replace(&mut self.arena.nodes[parent as usize].last_child, id);
            if previous == NONE {
                self.arena.nodes[parent as usize].first_child = id;
            } else {
                self.arena.nodes[previous as usize].next = id;
            }
        }
        self.open.push(id);
        Ok(())
    }

    pub(crate) fn check_name(&self, what: &str, at: usize, range: &Range<usize>) -> Result<(), Box<Problem>> {
        if range.len() > MAX_NAME {
            let message = format!("an {what} name of {} bytes, the limit is {MAX_NAME}", range.len());
            return Err(self.problem(at, message));
        }
        let name = &self.text[range.clone()];
        if !escape::is_name(name) {
            return Err(self.problem(at, format!("'{name}' is no {what} name")));
        }
        Ok(())
    }

    /// One attribute of the element opened last.
    pub(crate) fn attribute(&mut self, written: Written) -> Result<(), Box<Problem>> {
        let Some(&id) = self.open.last() else { return Ok(()) };
        let Written { name, value, is_encoded } = written;
        let key = Name::new(&self.text[name.clone()]);
        let count = self.arena.nodes[id as usize].attributes as usize;
        if count >= self.limits.attributes {
            return Err(self.problem(name.start, format!("more than {} attributes", self.limits.attributes)));
        }
        if self.document().keyed_attribute(id, key).is_some() {
            return Err(self.problem(name.start, format!("attribute '{}' is given twice", key.text)));
        }
        self.bound(value.len(), value.start)?;
        let offset = self.index(value.start);
        let span = if is_encoded { self.decoded_attribute(&value)? } else { self.source(value) };
        let prefix = match key.text.strip_prefix("xmlns") {
            Some("") => Some(name.end..name.end),
            Some(rest) if rest.starts_with(':') => Some(name.start + "xmlns:".len()..name.end),
            _ => None,
        };
        if let Some(prefix) = prefix {
            self.declare(id, prefix, span)?;
        }
        let (name, key) = (self.source(name), key.key);
        self.arena.attributes.push(Attribute { name, key, value: span, offset });
        self.arena.nodes[id as usize].attributes += 1;
        Ok(())
    }

    fn declare(&mut self, node: u32, prefix: Range<usize>, namespace: Span) -> Result<(), Box<Problem>> {
        if self.arena.declarations.len() >= self.limits.namespaces {
            let message = format!("more than {} declarations of namespaces", self.limits.namespaces);
            return Err(self.problem(prefix.start, message));
        }
        self.arena.default_namespace |= prefix.is_empty();
        let prefix = self.source(prefix);
        self.arena.declarations.push(Declaration { node, prefix, namespace });
        Ok(())
    }

    fn decoded_attribute(&mut self, value: &Range<usize>) -> Result<Span, Box<Problem>> {
        let start = self.arena.decoded.len();
        let raw = &self.text[value.clone()];
        match escape::decode_attribute(raw, &mut self.arena.decoded) {
            Ok(()) => Ok(self.decoded_span(start)),
            Err((at, message)) => Err(self.problem(value.start + at, message)),
        }
    }

    /// Character data of the element opened last; several runs are joined. `blank`: it is white space.
    pub(crate) fn text(&mut self, range: Range<usize>, blank: bool) -> Result<(), Box<Problem>> {
        let raw = &self.text[range.clone()];
        let Some(&id) = self.open.last() else {
            let at = range.start + (raw.len() - raw.trim_start().len());
            return if blank { Ok(()) } else { Err(self.problem(at, "text outside the root element")) };
        };
        let node = &self.arena.nodes[id as usize];
        if blank && node.first_child != NONE {
            return Ok(());
        }
        self.bound(range.len(), range.start)?;
        let start = self.index(range.start);
        let node = &mut self.arena.nodes[id as usize];
        node.text_start = node.text_start.min(start);
        if node.text == Span::default() && !raw.contains('\r') {
            self.arena.nodes[id as usize].text = self.source(range);
            return Ok(());
        }
        self.append(id, range.start, |out| escape::normalize_newlines(raw, out))
    }

    /// A reference `&name;` in character data; `range` covers the name.
    pub(crate) fn reference(&mut self, range: Range<usize>) -> Result<(), Box<Problem>> {
        let Some(&id) = self.open.last() else {
            return Err(self.problem(range.start, "a reference outside the root element"));
        };
        let at = range.start.saturating_sub(1);
        let start = self.index(at);
        let node = &mut self.arena.nodes[id as usize];
        node.text_start = node.text_start.min(start);
        match Reference::resolve(&self.text[range]) {
            Ok(Reference(c)) => self.append(id, at, |out| out.push(c)),
            Err(message) => Err(self.problem(at, message)),
        }
    }

    fn append(&mut self, id: u32, at: usize, add: impl FnOnce(&mut String)) -> Result<(), Box<Problem>> {
        let old = self.arena.nodes[id as usize].text;
        let mut start = old.start as usize;
        // Text that is not at the end of the buffer moves there first; each move is bounded by the limit of one value.
        if !old.decoded || old.end as usize != self.arena.decoded.len() {
            let copy = self.document().slice(old).to_owned();
            start = self.arena.decoded.len();
            self.arena.decoded.push_str(&copy);
        }
        add(&mut self.arena.decoded);
        self.bound(self.arena.decoded.len() - start, at)?;
        self.arena.nodes[id as usize].text = self.decoded_span(start);
        Ok(())
    }

    /// Closes the element opened last if its end tag stands at `start`, written as it is nearly always. The offset behind it.
    pub(crate) fn close_here(&mut self, start: usize) -> Option<usize> {
        let id = *self.open.last()?;
        let rest = self.text.as_bytes().get(start..)?.strip_prefix(b"</")?;
        let rest = rest.strip_prefix(self.document().name(id).as_bytes())?.strip_prefix(b">")?;
        let end = self.text.len() - rest.len();
        self.arena.nodes[id as usize].end = self.index(end);
        self.open.pop();
        Some(end)
    }

    /// An end tag; `name` is checked against the start tag, `None` closes an empty element.
    pub(crate) fn close(&mut self, start: usize, name: Option<&str>, end: usize) -> Result<(), Box<Problem>> {
        let Some(&id) = self.open.last() else {
            let name = name.unwrap_or_default();
            return Err(self.problem(start, format!("</{name}> closes nothing")));
        };
        let opened = self.document().name(id);
        if name.is_some_and(|name| name != opened) {
            let line = crate::Position::of(self.text, self.arena.nodes[id as usize].start as usize).line;
            let name = name.unwrap_or_default();
            return Err(self.problem(start, format!("</{name}> closes <{opened}> of line {line}")));
        }
        self.arena.nodes[id as usize].end = self.index(end);
        self.open.pop();
        Ok(())
    }

    fn bound(&self, len: usize, at: usize) -> Result<(), Box<Problem>> {
        if len > self.limits.value {
            return Err(self.problem(at, format!("a value of {len} bytes, the limit is {}", self.limits.value)));
        }
        Ok(())
    }

    fn source(&self, range: Range<usize>) -> Span {
        Span { start: self.index(range.start), end: self.index(range.end), decoded: false }
    }

    fn decoded_span(&self, start: usize) -> Span {
        Span { start: self.index(start), end: self.index(self.arena.decoded.len()), decoded: true }
    }

    /// Offsets fit: `read` refuses texts of 1 GiB and more whatever the limits say.
    fn index(&self, n: usize) -> u32 {
        u32::try_from(n).unwrap_or(NONE)
    }
}
