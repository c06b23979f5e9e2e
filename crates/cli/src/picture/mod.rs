//! Pictures of a host and its guests: what is drawn, apart from how.
//!
//! Pure. Commands turn facts into a [`Picture`]; [`terminal`] writes one for people at a terminal or as plain text for a pipe, [`svg`]
//! as a drawing. Neither looks at the host, and both take any text: it is escaped and measured by [`measure`].
//!
//! Invariants: a guest has one colour in a picture, by its place in [`Picture::guests`]; figures that are rounded in a text stand
//! exactly in the `detail` beside it.

pub(crate) mod host;
pub(crate) mod measure;
pub(crate) mod style;
pub(crate) mod svg;
mod table;
pub(crate) mod terminal;

use polyvirt::placement::{Kib, NodeSet};

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    /// What it shows, in a line.
    pub(crate) title: String,
    /// Guests by colour.
    pub(crate) guests: Vec<String>,
    /// Boxes, side by side where there is room.
    pub(crate) panels: Vec<Panel>,
    /// Distances between nodes.
    pub(crate) distances: Option<Distances>,
    /// Tables below the boxes.
    pub(crate) grids: Vec<Grid>,
    /// What else is worth knowing, a line each.
    pub(crate) notes: Vec<String>,
}

/// A box.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panel {
    /// `node 0`.
    pub(crate) name: String,
    /// What is special about it.
    pub(crate) tag: String,
    /// All about it, exactly.
    pub(crate) detail: String,
    /// What stands in it.
    pub(crate) lines: Vec<Line>,
}

/// A line of a box.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// What it is about.
    pub(crate) label: String,
    /// The bar or the CPUs before the text.
    pub(crate) figure: Figure,
    /// Its text.
    pub(crate) text: String,
    /// How the text looks.
    pub(crate) ink: Ink,
    /// Its figures, exactly.
    pub(crate) detail: String,
}

/// What is drawn in a line.
#[derive(Clone, Debug, Default)]
pub(crate) enum Figure {
    /// Nothing.
    #[default]
    None,
    /// A bar: parts in order; what they leave of the whole is empty.
    Bar {
        /// Parts.
        parts: Vec<Part>,
        /// The whole.
        whole: u64,
    },
    /// CPUs in groups that share a cache, cores together.
    Cpus(Vec<Vec<Cpu>>),
}

/// A part of a bar.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) size: u64,
    pub(crate) ink: Ink,
    pub(crate) detail: String,
}

/// A CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    pub(crate) id: u32,
    pub(crate) ink: Ink,
}

/// How something looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ink {
    /// As everything.
    #[default]
    Plain,
    /// Less important.
    Faint,
    /// Important.
    Strong,
    /// What is in use, by whomever.
    Used,
    /// What is promised to a guest that is not shown by name.
    Promised,
    /// What the scheduler leaves alone.
    Isolated,
    /// What should be otherwise.
    Wrong,
    /// A guest's, by its place in the picture.
    Guest(usize),
}

/// Distances between nodes, row by row.
#[derive(Clone, Debug)]
pub(crate) struct Distances {
    pub(crate) ids: Vec<u32>,
    pub(crate) rows: Vec<Vec<u8>>,
}

/// A table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grid {
    pub(crate) title: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// A row of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) cells: Vec<String>,
    pub(crate) ink: Ink,
    /// Its figures, exactly.
    pub(crate) detail: String,
}

impl Line {
    /// A line of text.
    pub(crate) fn text(label: &str, text: impl Into<String>) -> Self {
        Self {
            label: label.to_owned(),
            figure: Figure::None,
            text: text.into(),
            ink: Ink::Plain,
            detail: String::new(),
        }
    }

    /// A bar and its text.
    pub(crate) fn bar(label: &str, parts: Vec<Part>, whole: u64, text: impl Into<String>) -> Self {
        Self { figure: Figure::Bar { parts, whole }, ..Self::text(label, text) }
    }

    /// How its text looks.
    pub(crate) fn ink(mut self, ink: Ink) -> Self {
        self.ink = ink;
        self
    }

    /// Its figures.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

impl Part {
    /// A part of memory.
    pub(crate) fn memory(size: Kib, ink: Ink, what: &str) -> Self {
        Self { size: size.0, ink, detail: format!("{what}: {}", exact(size)) }
    }
}

impl Picture {
    /// The colour of a guest, which gets one if it has none.
    pub(crate) fn guest(&mut self, name: &str) -> Ink {
        let at = self.guests.iter().position(|known| known == name).unwrap_or_else(|| {
            self.guests.push(name.to_owned());
            self.guests.len() - 1
        });
        Ink::Guest(at)
    }
}

impl Grid {
    /// An empty table.
    pub(crate) fn new(title: &str, header: &[&str]) -> Self {
        Self { title: title.to_owned(), header: header.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    /// Leaves out columns that say nothing.
    pub(crate) fn drop_empty_columns(&mut self) {
        let is_said = |at: usize| self.rows.iter().any(|row| row.cells.get(at).is_some_and(|cell| !cell.is_empty()));
        let kept: Vec<usize> = (0..self.header.len()).filter(|at| is_said(*at)).collect();
        let pick = |cells: &[String]| kept.iter().map(|at| cells.get(*at).cloned().unwrap_or_default()).collect();
        self.header = pick(&self.header);
        self.rows.iter_mut().for_each(|row| row.cells = pick(&row.cells));
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>, ink: Ink) -> &mut Row {
        self.rows.push(Row { cells, ink, detail: String::new() });
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }
}

/// A size for people and exactly.
pub(crate) fn exact(size: Kib) -> String {
    format!("{size} ({} KiB)", size.0)
}

impl Distances {
    /// For each node how far the others are: `12 to 1-3, 32 to 4-7`.
    pub(crate) fn classes(&self) -> impl Iterator<Item = (u32, String)> + '_ {
        self.ids.iter().zip(&self.rows).map(|(id, row)| {
            let mut by_distance = std::collections::BTreeMap::<u8, NodeSet>::new();
            let others: Vec<(u32, u8)> = self.ids.iter().copied().zip(row.iter().copied()).collect();
            for run in others.chunk_by(|one, next| one.1 == next.1 && one.0 + 1 == next.0) {
                let set = by_distance.entry(run[0].1).or_default();
                *set = set.union(&NodeSet::of_range(run[0].0, run[run.len() - 1].0));
            }
            let classes: Vec<_> = by_distance.iter().map(|(distance, to)| format!("{distance} to {to}")).collect();
            (*id, classes.join(", "))
        })
    }
}
