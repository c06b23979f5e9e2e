//! Where everything stood: from a path to a line and a column.

use std::borrow::Cow;
use std::sync::Arc;

use crate::document::{Arena, Document};
use crate::problem::{Position, Problem};

/// The positions of a parsed document, by path. Cheap to clone.
///
/// Values stay plain and comparable because positions live here. `Positions::default()` knows none: checks of a value that was
/// built in code report the same problems without lines.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    source: Option<Arc<(Box<str>, Arena)>>,
    /// The element that paths begin with, if it is not the root.
    top: Option<Arc<str>>,
}

impl Positions {
    pub(crate) fn new(text: &str, arena: Arena) -> Self {
        Self { source: Some(Arc::new((text.into(), arena))), top: None }
    }

    /// The positions of what stands in one element of the document, for who knows it as a document of its own: the first step of any path
    /// then means that element. Problems that are located get their path in the whole document.
    ///
    /// ```
    /// # use polyvirt_xml::{Element, ParseOptions, XmlTree};
    /// # /// A box.
    /// # #[derive(Clone, Debug, Default, PartialEq, Element)]
    /// # #[xml(root = "box")]
    /// # pub struct Wrapped {
    /// #     /// What is in it.
    /// #     #[xml(tree)]
    /// #     pub lamp: Option<XmlTree>,
    /// # }
    /// let parsed = Wrapped::from_xml("<box>\n  <lamp room='attic'/>\n</box>", &ParseOptions::default())?;
    /// let lamp = parsed.positions.within("/box/lamp");
    /// let problem = lamp.error("/lamp/@room", "it is dark");
    /// assert_eq!(problem.to_string(), "/box/lamp/@room, line 2 column 15: it is dark");
    /// # Ok::<(), polyvirt_xml::Problems>(())
    /// ```
    #[must_use]
    pub fn within(&self, path: &str) -> Self {
        Self { source: self.source.clone(), top: Some(self.whole(path).into()) }
    }

    /// A path in the whole document.
    fn whole<'a>(&self, path: &'a str) -> Cow<'a, str> {
        let Some(top) = &self.top else { return Cow::Borrowed(path) };
        let below = path.get(1..).and_then(|rest| rest.find('/')).map_or("", |slash| &path[slash + 1..]);
        Cow::Owned(format!("{top}{below}"))
    }

    /// The position of `/domain/numatune/memnode[2]/@nodeset`. An index counts siblings of one name from 1 and may be left
    /// out for the first. An attribute's position is that of its value, a text element's that of its text.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Position> {
        let (text, arena) = &**self.source.as_ref()?;
        let (offset, exact) = Document { text, arena }.offset_of(&self.whole(path))?;
        exact.then(|| Position::of(text, offset))
    }

    /// Whether the path stands in the document.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    /// An error at a path, at its position or, if it is missing, at that of the nearest element around it.
    #[must_use]
    pub fn error(&self, path: &str, message: impl Into<String>) -> Problem {
        self.locate(Problem::error(path, message))
    }

    /// A warning, likewise.
    #[must_use]
    pub fn warning(&self, path: &str, message: impl Into<String>) -> Problem {
        self.locate(Problem::warning(path, message))
    }

    /// Shows every element and attribute of the whole document to `visit`, by path and in document order. What stands in an element for which it
    /// answers `false` is passed over.
    pub fn visit(&self, visit: &mut dyn FnMut(&str) -> bool) {
        let Some(source) = &self.source else { return };
        let (text, arena) = &**source;
        let document = Document { text, arena };
        let mut waiting: Vec<u32> = document.root().into_iter().collect();
        while let Some(id) = waiting.pop() {
            let path = document.path(id);
            if !visit(&path) {
                continue;
            }
            for attribute in document.attributes(id) {
                let name = document.attribute_name(attribute);
                if !name.starts_with("xmlns") {
                    visit(&format!("{path}/@{name}"));
                }
            }
            let first = waiting.len();
            waiting.extend(document.children(id));
            waiting[first..].reverse();
        }
    }

    /// Adds the position to a problem that has a path only.
    #[must_use]
    pub fn locate(&self, mut problem: Problem) -> Problem {
        if self.top.is_some() {
            problem.path = self.whole(&problem.path).into_owned();
        }
        let Some(source) = &self.source else { return problem };
        let (text, arena) = &**source;
        match (Document { text, arena }).offset_of(&problem.path) {
            Some((offset, _)) => problem.located(text, offset),
            None => problem,
        }
    }
}

impl Document<'_> {
    /// The offset of a path, and whether all of it was found. `None` if not even the root is.
    fn offset_of(self, path: &str) -> Option<(usize, bool)> {
        let mut steps = path.strip_prefix('/')?.split('/');
        let root = self.root().filter(|&root| steps.next().is_some_and(|step| split(step).0 == self.name(root)))?;
        let mut at = root;
        for step in steps {
            if let Some(name) = step.strip_prefix('@') {
                let found = self.attribute(at, name).map(|attribute| attribute.offset as usize);
                return Some(found.map_or((self.node(at).start as usize, false), |offset| (offset, true)));
            }
            let (name, index) = split(step);
            match self.children(at).filter(|&child| self.name(child) == name).nth(index - 1) {
                Some(child) => at = child,
                None => return Some((self.node(at).start as usize, false)),
            }
        }
        let leaf = self.children(at).next().is_none() && !self.text_of(at).trim().is_empty();
        Some((if leaf { self.text_offset(at) } else { self.node(at).start as usize }, true))
    }
}

/// A step of a path: the name, and which of the siblings of that name, from 1.
pub(crate) fn split(step: &str) -> (&str, usize) {
    let indexed = step.strip_suffix(']').and_then(|rest| rest.split_once('['));
    match indexed.and_then(|(name, index)| Some((name, index.parse().ok()?))) {
        Some((name, index)) if index > 0 => (name, index),
        _ => (step, 1),
    }
}
