//! XML that is kept as it is: `<metadata>`, foreign namespaces, and unknown input under [`crate::Unknown::Keep`].

use std::collections::BTreeSet;
use std::fmt;

use crate::document::Document;
use crate::escape::{self, Into as Place};
use crate::positions::split;

/// An element with everything below it, independent of where it stood: the prefixes it uses are declared in it.
///
/// `Display` gives XML that reads back to an equal tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct XmlTree {
    /// The name with its prefix.
    pub name: String,
    /// The namespace of the name.
    pub namespace: Option<String>,
    /// The attributes with their prefixes, declarations of namespaces excepted.
    pub attributes: Vec<(String, String)>,
    /// Declarations of namespaces on this element: prefix (empty: the default) and namespace.
    pub declarations: Vec<(String, String)>,
    /// Child elements, in order.
    pub children: Vec<XmlTree>,
    /// The text before the first child element. White space alone counts only without child elements.
    pub text: String,
    /// The text between this element and the next, if its parent has mixed content.
    pub tail: String,
}

impl XmlTree {
    /// A new element without content.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Reads a tree from a text of its own.
    ///
    /// # Errors
    /// The text is not well-formed.
    pub fn parse(text: &str) -> Result<Self, Box<crate::Problem>> {
        let arena = crate::tokens::read(text, crate::Limits::default())?;
        let document = Document { text, arena: &arena };
        Ok(document.root().map(|root| Self::capture(document, root)).unwrap_or_default())
    }

    /// The name without its prefix.
    #[must_use]
    pub fn local_name(&self) -> &str {
        self.name.split_once(':').map_or(&self.name, |(_, local)| local)
    }

    /// The prefix of the name; empty if there is none.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.name.split_once(':').map_or("", |(prefix, _)| prefix)
    }

    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A prefix that means nothing, because neither this element nor one below declares it where it is used.
    pub(crate) fn undeclared(&self) -> Option<String> {
        let mut used = BTreeSet::new();
        self.prefixes(&mut used);
        used.into_iter().find(|prefix| !prefix.is_empty())
    }

    /// The element at a path that begins with this one's name.
    fn find_mut(&mut self, path: &str) -> Option<&mut Self> {
        let mut steps = path.strip_prefix('/')?.split('/').map(split);
        let mut at = steps.next().filter(|(name, _)| *name == self.name).map(|_| self)?;
        for (name, index) in steps {
            at = at.children.iter_mut().filter(|child| child.name == name).nth(index - 1)?;
        }
        Some(at)
    }

    /// Copies a node out of a document and adds the declarations that it inherits and uses.
    pub(crate) fn capture(document: Document<'_>, id: u32) -> Self {
        let mut tree = Self::copy(document, id);
        let mut used = BTreeSet::new();
        tree.prefixes(&mut used);
        for prefix in used {
            if let Some(namespace) = document.namespace(id, &prefix) {
                tree.declarations.push((prefix, namespace.to_owned()));
            }
        }
        tree
    }

    fn copy(document: Document<'_>, id: u32) -> Self {
        let name = document.name(id);
        let prefix = name.split_once(':').map_or("", |(prefix, _)| prefix);
        let mut tree = Self::new(name);
        tree.namespace = document.namespace(id, prefix).map(str::to_owned);
        for attribute in document.attributes(id) {
            let (key, value) = (document.attribute_name(attribute), document.attribute_value(attribute).to_owned());
            match key.strip_prefix("xmlns") {
                Some("") => tree.declarations.push((String::new(), value)),
                Some(rest) if rest.starts_with(':') => tree.declarations.push((rest[1..].to_owned(), value)),
                _ => tree.attributes.push((key.to_owned(), value)),
            }
        }
        tree.children = document.children(id).map(|child| Self::copy(document, child)).collect();
        let text = document.text_of(id);
        if tree.children.is_empty() {
            text.clone_into(&mut tree.text);
        } else if !text.trim().is_empty() {
            tree.mixed(document, id);
        }
        tree
    }

    /// Fills `text` and `tail`s of an element with mixed content from the source between its children.
    fn mixed(&mut self, document: Document<'_>, id: u32) {
        let slice = |from, to| crate::tokens::plain_text(document.text.get(from..to).unwrap_or_default());
        let spans: Vec<(usize, usize)> = document
            .children(id)
            .map(|child| (document.node(child).start as usize, document.node(child).end as usize))
            .collect();
        let next = spans.iter().map(|(start, _)| *start).chain([document.content_end(id)]).skip(1);
        self.text = slice(document.content_start(id), spans.first().map_or(0, |(start, _)| *start));
        for ((child, (_, end)), next) in self.children.iter_mut().zip(&spans).zip(next) {
            child.tail = slice(*end, next);
        }
    }

    /// Whether text stands between the child elements, so that white space counts.
    fn is_mixed(&self) -> bool {
        !self.children.is_empty() && (!self.text.is_empty() || self.children.iter().any(|child| !child.tail.is_empty()))
    }

    /// Prefixes that are used in the tree and not declared where they are used.
    fn prefixes(&self, used: &mut BTreeSet<String>) {
        let own = self.attributes.iter().filter_map(|(key, _)| key.split_once(':')).map(|(prefix, _)| prefix);
        let mut below: BTreeSet<String> = own.chain([self.prefix()]).map(str::to_owned).collect();
        for child in &self.children {
            child.prefixes(&mut below);
        }
        below.remove("xml");
        for (prefix, _) in &self.declarations {
            below.remove(prefix);
        }
        used.append(&mut below);
    }

    /// Writes the tree on lines of its own; `hoisted` is the prefix that the parent declares.
    fn write(&self, depth: usize, hoisted: Option<&str>, out: &mut String) {
        indent(depth, out);
        self.write_inline(depth, hoisted, out);
        out.push('\n');
    }

    /// Writes the tree without white space around it.
    pub(crate) fn write_inline(&self, depth: usize, hoisted: Option<&str>, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        for (prefix, namespace) in self.declarations.iter().filter(|(prefix, _)| Some(prefix.as_str()) != hoisted) {
            declare(prefix, namespace, out);
        }
        for (key, value) in &self.attributes {
            attribute(key, value, out);
        }
        if self.children.is_empty() && self.text.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        escape::escape(&self.text, Place::Text, out);
        if self.is_mixed() {
            for child in &self.children {
                child.write_inline(depth + 1, None, out);
                escape::escape(&child.tail, Place::Text, out);
            }
        } else if !self.children.is_empty() {
            out.push('\n');
            for child in &self.children {
                child.write(depth + 1, None, out);
            }
            indent(depth, out);
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }
}

pub(crate) fn indent(depth: usize, out: &mut String) {
    const BLANKS: &str = "                                ";
    match BLANKS.get(..2 * depth) {
        Some(blanks) => out.push_str(blanks),
        None => out.extend(std::iter::repeat_n("  ", depth)),
    }
}

/// Appends ` key='value'`.
pub(crate) fn attribute(key: &str, value: &str, out: &mut String) {
    out.push(' ');
    out.push_str(key);
    out.push_str("='");
    escape::escape(value, Place::Attribute, out);
    out.push('\'');
}

/// Appends the declaration of a namespace.
pub(crate) fn declare(prefix: &str, namespace: &str, out: &mut String) {
    let key = if prefix.is_empty() { "xmlns".to_owned() } else { format!("xmlns:{prefix}") };
    attribute(&key, namespace, out);
}

impl fmt::Display for XmlTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(0, None, &mut out);
        f.write_str(out.trim_end())
    }
}

/// Unknown input that was kept, by the path of the element it stood in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub(crate) attributes: Vec<(String, String, String)>,
    pub(crate) elements: Vec<(String, XmlTree)>,
}

impl Kept {
    /// Whether nothing was kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty() && self.elements.is_empty()
    }

    /// Unknown attributes: path of the element, name, value.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.attributes.iter().map(|(path, name, value)| (path.as_str(), name.as_str(), value.as_str()))
    }

    /// Unknown elements: path of the parent, tree.
    pub fn elements(&self) -> impl Iterator<Item = (&str, &XmlTree)> {
        self.elements.iter().map(|(path, tree)| (path.as_str(), tree))
    }

    /// Puts everything back into a printed document, behind what the elements hold by then. What stood in an element that the
    /// document no longer has is dropped.
    ///
    /// # Errors
    /// The text is no document.
    pub fn put_back(&self, text: &str) -> Result<String, Box<crate::Problem>> {
        let mut root = XmlTree::parse(text)?;
        for (path, name, value) in &self.attributes {
            if let Some(element) = root.find_mut(path) {
                element.attributes.push((name.clone(), value.clone()));
            }
        }
        for (path, tree) in &self.elements {
            if let Some(element) = root.find_mut(path) {
                element.children.push(tree.clone());
            }
        }
        Ok(format!("{root}\n"))
    }

    pub(crate) fn attribute(&mut self, path: String, name: &str, value: &str) {
        self.attributes.push((path, name.to_owned(), value.to_owned()));
    }

    pub(crate) fn element(&mut self, path: String, tree: XmlTree) {
        self.elements.push((path, tree));
    }
}
