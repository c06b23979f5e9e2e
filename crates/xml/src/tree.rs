//! XML that is kept as it is: `<metadata>`, foreign namespaces, and unknown input under [`crate::Unknown::Keep`].

use std::fmt;

use crate::document::{Document, NONE};
use crate::escape::{self, Into as Place};

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
    /// The text, if there are no child elements or it is not blank. Text between child elements is joined: mixed content is
    /// not kept in place.
    pub text: String,
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
    pub fn parse(text: &str) -> Result<Self, crate::Problem> {
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

    /// Copies a node out of a document and adds the declarations that it inherits and uses.
    pub(crate) fn capture(document: Document<'_>, id: u32) -> Self {
        let mut tree = Self::copy(document, id);
        let mut used = Vec::new();
        tree.prefixes(&mut used);
        for prefix in used {
            let declared = tree.declarations.iter().any(|(known, _)| *known == prefix);
            if !declared && let Some(namespace) = document.namespace(id, &prefix) {
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
        if tree.children.is_empty() || !text.trim().is_empty() {
            text.clone_into(&mut tree.text);
        }
        debug_assert!(document.node(id).parent != NONE || id == 0);
        tree
    }

    /// Prefixes that are used in the tree and not declared where they are used.
    fn prefixes(&self, used: &mut Vec<String>) {
        let mut own: Vec<&str> = vec![self.prefix()];
        own.extend(self.attributes.iter().filter_map(|(key, _)| key.split_once(':')).map(|(prefix, _)| prefix));
        for prefix in own {
            if prefix != "xml" && !used.iter().any(|known| known == prefix) {
                used.push(prefix.to_owned());
            }
        }
        for child in &self.children {
            let mut below = Vec::new();
            child.prefixes(&mut below);
            below.retain(|prefix| !child.declarations.iter().any(|(known, _)| known == prefix));
            for prefix in below {
                if !used.contains(&prefix) {
                    used.push(prefix);
                }
            }
        }
    }

    /// Writes the tree; `hoisted` is the prefix that the parent declares.
    pub(crate) fn write(&self, depth: usize, hoisted: Option<&str>, out: &mut String) {
        let indent = |out: &mut String, depth| (0..depth).for_each(|_| out.push_str("  "));
        indent(out, depth);
        out.push('<');
        out.push_str(&self.name);
        for (prefix, namespace) in self.declarations.iter().filter(|(prefix, _)| Some(prefix.as_str()) != hoisted) {
            declare(prefix, namespace, out);
        }
        for (key, value) in &self.attributes {
            attribute(key, value, out);
        }
        if self.children.is_empty() && self.text.is_empty() {
            out.push_str("/>\n");
            return;
        }
        out.push('>');
        escape::escape(&self.text, Place::Text, out);
        if !self.children.is_empty() {
            out.push('\n');
            for child in &self.children {
                child.write(depth + 1, None, out);
            }
            indent(out, depth);
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push_str(">\n");
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

    pub(crate) fn attribute(&mut self, path: String, name: &str, value: &str) {
        self.attributes.push((path, name.to_owned(), value.to_owned()));
    }

    pub(crate) fn element(&mut self, path: String, tree: XmlTree) {
        self.elements.push((path, tree));
    }
}
