//! Values as text for people.

pub(crate) mod definition;
pub(crate) mod plan;

use comfy_table::{Table, presets};

/// A table without lines.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

/// A table as virsh prints it: a line of dashes below the header, no blanks at the ends of lines.
pub(crate) fn table_text(table: &Table) -> String {
    let text = table.trim_fmt();
    let width = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let (header, rows) = text.split_once('\n').unwrap_or((&text, ""));
    format!("{}\n{}\n{rows}", header.trim_end(), "-".repeat(width + 1))
}

/// A state, coloured.
pub(crate) fn state(name: &str, color: bool) -> String {
    use anstyle::AnsiColor::{Green, Red, Yellow};
    let of = |c: anstyle::AnsiColor| format!("{}{name}{}", c.on_default().render(), anstyle::Reset.render());
    match (color, name) {
        (true, "running") => of(Green),
        (true, "paused" | "in shutdown") => of(Yellow),
        (true, "crashed" | "broken" | "no state") => of(Red),
        _ => name.to_owned(),
    }
}
