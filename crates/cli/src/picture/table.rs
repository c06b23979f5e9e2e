//! Tables in lines of a given width. Pure text: both renderers use it, because both write with letters of one width.

use super::{
    Grid, Ink,
    measure::{clean, width, wrap},
};

/// Columns narrower than this cannot be read: then every row becomes lines of its own.
const NARROWEST: usize = 6;
const GAP: usize = 2;

/// A line of a table.
pub(super) struct TableLine {
    pub(super) text: String,
    pub(super) ink: Ink,
    /// The row whose first line it is.
    pub(super) begins: Option<usize>,
}

/// The table in lines of at most `room` columns, its header first.
pub(super) fn lines(grid: &Grid, room: usize, ascii: bool) -> Vec<TableLine> {
    let header: Vec<String> = grid.header.iter().map(|text| clean(text, ascii)).collect();
    let rows: Vec<Vec<String>> =
        grid.rows.iter().map(|row| row.cells.iter().map(|text| clean(text, ascii)).collect()).collect();
    let Some(columns) = columns(&header, &rows, room) else { return records(grid, &header, &rows, room) };
    let right: Vec<bool> = (0..header.len()).map(|at| is_numeric(&rows, at)).collect();
    let mut lines = Vec::new();
    for text in laid(&header, &columns, &right) {
        lines.push(TableLine { text, ink: Ink::Strong, begins: None });
    }
    for (at, row) in rows.iter().enumerate() {
        for (line, text) in laid(row, &columns, &right).into_iter().enumerate() {
            lines.push(TableLine { text, ink: grid.rows[at].ink, begins: (line == 0).then_some(at) });
        }
    }
    lines
}

/// Widths of the columns; `None` if they would be too narrow.
fn columns(header: &[String], rows: &[Vec<String>], room: usize) -> Option<Vec<usize>> {
    let widest = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).chain(header.get(at));
        cells.map(|cell| width(cell)).max().unwrap_or(0)
    };
    let mut columns: Vec<usize> = (0..header.len()).map(widest).collect();
    let gaps = GAP * columns.len().saturating_sub(1);
    while columns.iter().sum::<usize>() + gaps > room {
        let excess = columns.iter().sum::<usize>() + gaps - room;
        let widest = columns.iter_mut().max()?;
        if *widest <= NARROWEST {
            return None;
        }
        *widest = widest.saturating_sub(excess).max(*widest / 2).max(NARROWEST);
    }
    Some(columns)
}

/// Whether the column's points should stand below each other. Numbers of nodes and CPUs are names.
fn is_numeric(rows: &[Vec<String>], at: usize) -> bool {
    let cells = || rows.iter().filter_map(|row| row.get(at)).filter(|cell| !cell.is_empty());
    cells().any(|cell| cell.contains('.')) && cells().all(|cell| cell.parse::<f64>().is_ok())
}

fn laid(cells: &[String], columns: &[usize], right: &[bool]) -> Vec<String> {
    let wrapped: Vec<Vec<String>> = cells.iter().zip(columns).map(|(cell, room)| wrap(cell, *room)).collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
    let line = |at: usize| {
        let mut line = String::new();
        for ((cell, room), right) in wrapped.iter().zip(columns).zip(right) {
            let text = cell.get(at).map_or("", String::as_str);
            let blank = " ".repeat(room.saturating_sub(width(text)));
            let (before, behind) = if *right { (blank.as_str(), "") } else { ("", blank.as_str()) };
            line.extend([before, text, behind, &" ".repeat(GAP)]);
        }
        line.trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

/// Every row as lines `header: cell`.
fn records(grid: &Grid, header: &[String], rows: &[Vec<String>], room: usize) -> Vec<TableLine> {
    let mut lines = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let mut first = Some(at);
        let named = header.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
        for (name, cell) in named {
            let text = if name.is_empty() { cell.clone() } else { format!("{name}: {cell}") };
            for text in wrap(&text, room) {
                lines.push(TableLine { text, ink: grid.rows[at].ink, begins: first.take() });
            }
        }
        if at + 1 < rows.len() {
            lines.push(TableLine { text: String::new(), ink: Ink::Plain, begins: None });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new("t", &["name", "cost", "why"]);
        grid.row(vec!["one".into(), "1.5".into(), "because of this and that".into()], Ink::Plain);
        grid.row(vec!["two".into(), "12".into(), "so".into()], Ink::Plain);
        grid
    }

    fn text(room: usize) -> Vec<String> {
        lines(&grid(), room, false).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn columns_fit_and_numbers_stand_right() {
        assert_eq!(text(80), ["name  cost  why", "one    1.5  because of this and that", "two     12  so"]);
        assert_eq!(
            text(24),
            ["name  cost  why", "one    1.5  because of", "            this and", "            that", "two     12  so"]
        );
        assert_eq!(text(12)[..4], ["name: one", "cost: 1.5", "why: because", "of this and"]);
    }
}
