//! A picture as text: boxes, bars and colours for a terminal, aligned lines for a pipe.
//!
//! Invariant: no line is wider than [`Style::width`], whatever the picture holds. Without drawing there is no such bound, because
//! nobody reads a pipe's lines by their ends.

use anstyle::{AnsiColor, Style as Ansi};

use super::{
    Cpu, Distances, Figure, Ink, Line, Panel, Part, Picture,
    measure::{clean, fit, width, wrap},
    style::Style,
    table,
};

/// A box is not narrower than this if there is a choice.
const BOX: usize = 40;
/// A single box is not wider than this.
const WIDEST_BOX: usize = 76;
const BAR: usize = 20;

/// Text in one ink.
#[derive(Clone, Debug)]
struct Span {
    text: String,
    ink: Ink,
}

type Spans = Vec<Span>;

/// Writes a picture.
pub(crate) fn render(picture: &Picture, style: Style) -> String {
    let pen = Pen { style: Style { width: if style.drawn { style.width } else { usize::MAX }, ..style } };
    let mut out = Vec::new();
    pen.panels(&picture.panels, &mut out);
    if let Some(distances) = &picture.distances {
        pen.distances(distances, &mut out);
    }
    if style.drawn && !picture.guests.is_empty() {
        pen.legend(&picture.guests, &mut out);
    }
    if !picture.notes.is_empty() {
        out.push(Vec::new());
    }
    for note in &picture.notes {
        out.extend(pen.wrapped(note, Ink::Plain));
    }
    for grid in &picture.grids {
        out.push(Vec::new());
        if !grid.title.is_empty() {
            out.extend(pen.wrapped(&grid.title, Ink::Strong));
        }
        for line in table::lines(grid, pen.style.width, style.ascii) {
            out.push(vec![Span { text: line.text, ink: line.ink }]);
        }
    }
    // What was only to part one thing from another parts nothing at the top.
    let start = out.iter().position(|line| !line.is_empty()).unwrap_or(out.len());
    out.into_iter().skip(start).map(|line| pen.written(line)).collect()
}

struct Pen {
    style: Style,
}

fn spans_width(spans: &[Span]) -> usize {
    spans.iter().map(|span| width(&span.text)).sum()
}

fn plain(text: impl Into<String>) -> Span {
    Span { text: text.into(), ink: Ink::Plain }
}

/// The letter of a guest where colours do not tell.
fn letter(guest: usize) -> char {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char::from(LETTERS[guest % LETTERS.len()])
}

fn ansi(ink: Ink) -> Option<Ansi> {
    const GUESTS: [AnsiColor; 6] = [
        AnsiColor::Cyan,
        AnsiColor::Magenta,
        AnsiColor::Green,
        AnsiColor::Yellow,
        AnsiColor::Blue,
        AnsiColor::BrightCyan,
    ];
    Some(match ink {
        Ink::Plain | Ink::Used => return None,
        Ink::Faint | Ink::Isolated => Ansi::new().dimmed(),
        Ink::Strong => Ansi::new().bold(),
        Ink::Promised => AnsiColor::White.on_default(),
        Ink::Wrong => AnsiColor::Red.on_default().bold(),
        Ink::Guest(at) => GUESTS[at % GUESTS.len()].on_default(),
    })
}

impl Pen {
    fn clean(&self, text: &str) -> String {
        clean(text, self.style.ascii)
    }

    fn pick(&self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.style.ascii { ascii } else { unicode }
    }

    fn wrapped(&self, text: &str, ink: Ink) -> Vec<Spans> {
        wrap(&self.clean(text), self.style.width).into_iter().map(|text| vec![Span { text, ink }]).collect()
    }

    /// A finished line.
    fn written(&self, line: Spans) -> String {
        let mut room = self.style.width;
        let mut out = String::new();
        for span in line {
            let text = fit(&span.text, room, "");
            room -= width(&text);
            match ansi(span.ink).filter(|_| self.style.color && !text.is_empty()) {
                Some(style) => out.push_str(&format!("{}{text}{}", style.render(), style.render_reset())),
                None => out.push_str(&text),
            }
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
        out
    }

    fn panels(&self, panels: &[Panel], out: &mut Vec<Spans>) {
        if !self.style.drawn {
            for panel in panels {
                let tag = if panel.tag.is_empty() { String::new() } else { format!(": {}", panel.tag) };
                out.push(vec![plain(self.clean(&format!("{}{tag}", panel.name)))]);
                out.extend(
                    self.content(panel, usize::MAX - 2).into_iter().map(|line| [vec![plain("  ")], line].concat()),
                );
            }
            return;
        }
        let across = ((self.style.width + 1) / (BOX + 1)).clamp(1, panels.len().max(1));
        let each = ((self.style.width + 1) / across).saturating_sub(1).min(WIDEST_BOX);
        for row in panels.chunks(across) {
            let mut boxes: Vec<Vec<Spans>> =
                row.iter().map(|panel| self.content(panel, each.saturating_sub(4))).collect();
            let height = boxes.iter().map(Vec::len).max().unwrap_or(0);
            boxes.iter_mut().for_each(|lines| lines.resize(height, Vec::new()));
            let beside = |part: &dyn Fn(usize) -> Spans| {
                let mut line = Spans::new();
                for at in 0..row.len() {
                    if at > 0 {
                        line.push(plain(" "));
                    }
                    line.extend(part(at));
                }
                line
            };
            out.push(beside(&|at| self.top(&row[at], each)));
            out.extend((0..height).map(|line| beside(&|at| self.side(&boxes[at][line], each))));
            out.push(beside(&|_| self.bottom(each)));
        }
    }

    fn top(&self, panel: &Panel, each: usize) -> Spans {
        let (corner, line, end) = (self.pick("┌ ", "+ "), self.pick("─", "-"), self.pick("┐", "+"));
        let name = fit(&self.clean(&panel.name), each.saturating_sub(4), self.pick("…", "~"));
        let left = each.saturating_sub(4 + width(&name));
        let tag = fit(&self.clean(&panel.tag), left.saturating_sub(3), self.pick("…", "~"));
        let tag = if tag.is_empty() { String::new() } else { format!("{line} {tag} ") };
        let rule = line.repeat(left.saturating_sub(width(&tag)));
        let name = Span { text: name, ink: Ink::Strong };
        vec![plain(corner), name, plain(" "), plain(tag), plain(rule), plain(end)]
    }

    fn side(&self, line: &[Span], each: usize) -> Spans {
        let edge = self.pick("│", "|");
        let blank = " ".repeat(each.saturating_sub(4 + spans_width(line)));
        [vec![plain(edge), plain(" ")], line.to_vec(), vec![plain(blank), plain(" "), plain(edge)]].concat()
    }

    fn bottom(&self, each: usize) -> Spans {
        let line = self.pick("─", "-").repeat(each.saturating_sub(2));
        vec![plain(self.pick("└", "+")), plain(line), plain(self.pick("┘", "+"))]
    }

    /// The lines of a box, each at most `room` wide.
    fn content(&self, panel: &Panel, room: usize) -> Vec<Spans> {
        let labels = panel.lines.iter().map(|line| width(&self.clean(&line.label))).max().unwrap_or(0).min(room / 3);
        panel.lines.iter().flat_map(|line| self.line(line, labels, room)).collect()
    }

    fn line(&self, line: &Line, labels: usize, room: usize) -> Vec<Spans> {
        let label = fit(&self.clean(&line.label), labels, self.pick("…", "~"));
        let label = format!("{label}{} ", " ".repeat(labels - width(&label)));
        let room = room.saturating_sub(labels + 1);
        let text = self.clean(&line.text);
        let mut bodies: Vec<Spans> = Vec::new();
        let mut beside = Spans::new();
        match &line.figure {
            Figure::Bar { parts, whole } if self.style.drawn => {
                if width(&text) + BAR < room {
                    beside = self.bar(parts, *whole, BAR);
                    beside.push(plain(" "));
                } else {
                    bodies.push(self.bar(parts, *whole, room.min(2 * BAR)));
                }
            }
            Figure::Cpus(groups) if self.style.drawn => bodies.extend(self.cpus(groups, room)),
            _ => {}
        }
        let ink = if self.style.drawn { line.ink } else { Ink::Plain };
        for text in wrap(&text, room.saturating_sub(spans_width(&beside))).into_iter().filter(|text| !text.is_empty()) {
            let mut body = std::mem::take(&mut beside);
            body.push(Span { text, ink });
            bodies.push(body);
        }
        if !beside.is_empty() || bodies.is_empty() {
            bodies.push(beside);
        }
        let margin = " ".repeat(labels + 1);
        let mark = |at: usize| Span { text: if at == 0 { label.clone() } else { margin.clone() }, ink: Ink::Faint };
        bodies.into_iter().enumerate().map(|(at, body)| [vec![mark(at)], body].concat()).collect()
    }

    fn bar(&self, parts: &[Part], whole: u64, room: usize) -> Spans {
        let mut spans = Spans::new();
        let mut done = 0;
        for (part, end) in parts.iter().zip(ends(parts, whole, room)) {
            spans.push(Span { text: self.bar_cell(part.ink).repeat(end - done), ink: part.ink });
            done = end;
        }
        spans.push(Span { text: self.pick("░", ".").repeat(room - done), ink: Ink::Faint });
        spans
    }

    fn bar_cell(&self, ink: Ink) -> String {
        match ink {
            Ink::Guest(at) if !self.style.color || self.style.ascii => letter(at).to_string(),
            Ink::Guest(_) => "█".to_owned(),
            Ink::Wrong => "!".to_owned(),
            Ink::Promised => self.pick("▒", "%").to_owned(),
            _ => self.pick("▓", "#").to_owned(),
        }
    }

    fn cpus(&self, groups: &[Vec<Cpu>], room: usize) -> Vec<Spans> {
        let mut lines: Vec<Spans> = Vec::new();
        let mut line = Spans::new();
        for group in groups {
            let gap = usize::from(!line.is_empty());
            if gap == 1 && spans_width(&line) + gap + group.len() > room {
                lines.push(std::mem::take(&mut line));
            } else if gap == 1 {
                line.push(plain(" "));
            }
            for cpu in group {
                if spans_width(&line) >= room {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(self.cpu(*cpu));
            }
        }
        lines.push(line);
        lines
    }

    fn cpu(&self, cpu: Cpu) -> Span {
        let text = match cpu.ink {
            Ink::Guest(at) if !self.style.color || self.style.ascii => letter(at).to_string(),
            Ink::Guest(_) => "■".to_owned(),
            Ink::Promised => self.pick("▣", "%").to_owned(),
            Ink::Isolated => self.pick("×", "x").to_owned(),
            _ => self.pick("□", ".").to_owned(),
        };
        Span { text, ink: cpu.ink }
    }

    fn distances(&self, distances: &Distances, out: &mut Vec<Spans>) {
        out.push(vec![Span { text: "Distances".to_owned(), ink: Ink::Strong }]);
        let cell = distances.ids.iter().map(|id| id.to_string().len()).max().unwrap_or(1).max(3) + 1;
        if cell * (distances.ids.len() + 1) <= self.style.width {
            let head: String = distances.ids.iter().map(|id| format!("{id:>cell$}")).collect();
            out.push(vec![Span { text: format!("{:>cell$}{head}", ""), ink: Ink::Faint }]);
            for (id, row) in distances.ids.iter().zip(&distances.rows) {
                let row: String = row.iter().map(|distance| format!("{distance:>cell$}")).collect();
                out.push(vec![Span { text: format!("{id:>cell$}"), ink: Ink::Faint }, plain(row)]);
            }
            return;
        }
        for (id, classes) in distances.classes() {
            out.extend(self.wrapped(&format!("{id}: {classes}"), Ink::Plain));
        }
    }

    fn legend(&self, guests: &[String], out: &mut Vec<Spans>) {
        out.push(Vec::new());
        let mut line = vec![Span { text: "Guests".to_owned(), ink: Ink::Strong }];
        for (at, name) in guests.iter().enumerate() {
            let name = fit(&self.clean(name), self.style.width.saturating_sub(8), self.pick("…", "~"));
            if spans_width(&line) + 4 + width(&name) > self.style.width {
                out.push(std::mem::replace(&mut line, vec![plain("      ")]));
            }
            let ink = Ink::Guest(at);
            line.extend([plain("  "), Span { text: self.bar_cell(ink), ink }, plain(" "), plain(name)]);
        }
        out.push(line);
    }
}

/// Where the parts of a bar of `room` cells end: what is there has a cell as long as there are some.
fn ends(parts: &[Part], whole: u64, room: usize) -> Vec<usize> {
    let sum: u128 = parts.iter().map(|part| u128::from(part.size)).sum();
    let whole = u128::from(whole).max(sum).max(1);
    let mut so_far = 0;
    let mut last = 0;
    let end = |part: &Part| {
        so_far += u128::from(part.size);
        let exact = usize::try_from((so_far * room as u128 + whole / 2) / whole).unwrap_or(room);
        last = exact.max(last + usize::from(part.size > 0)).min(room);
        last
    };
    parts.iter().map(end).collect()
}

#[cfg(test)]
pub(crate) mod tests;
