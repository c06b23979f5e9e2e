//! A picture as SVG 1.1: text stays text, every figure has a `<title>` that says it exactly, and colours follow the reader's scheme.
//!
//! Invariant: well-formed XML whatever the picture holds. All text goes through [`clean`] (what XML cannot hold is written out) and
//! through [`escaped`]; names of elements and attributes are constants.

use super::{
    Cpu, Distances, Figure, Ink, Line, Panel, Part, Picture,
    measure::{clean, fit, width, wrap},
    table,
};

/// A letter of the font: monospace at 12 px.
const LETTER: usize = 8;
const ROW: usize = 18;
const MARGIN: usize = 20;
/// Letters across a box.
const BOX: usize = 48;
const PAD: usize = 12;
const BAR: usize = 20 * LETTER;
const CELL: usize = 10;
/// Letters across a table.
const TABLE: usize = 150;
/// More nodes than this have their distances in words.
const MATRIX: usize = 48;

/// One scheme in two lights; guests' colours can be told apart by most who see colours otherwise (after Okabe and Ito).
const STYLE: &str = "
text{font:12px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#1f2328;white-space:pre}
.paper{fill:#ffffff}.box{fill:#f6f8fa;stroke:#8c959f}.empty{fill:#d8dee4}.strong{font-weight:700}
text.faint{fill:#59636e}.faint{fill:#afb8c1}.used{fill:#818b98}.promised{fill:#b08800}.isolated{fill:none;stroke:#818b98}
.wrong,text.wrong{fill:#cf222e}
.g0,text.g0{fill:#0072b2}.g1,text.g1{fill:#c2410c}.g2,text.g2{fill:#00795a}.g3,text.g3{fill:#a8457f}.g4,text.g4{fill:#8a6d00}.g5,text.g5{fill:#6f42c1}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.paper{fill:#0d1117}.box{fill:#161b22;stroke:#6e7681}.empty{fill:#30363d}
text.faint{fill:#9198a1}.faint{fill:#484f58}.wrong,text.wrong{fill:#ff7b72}
.g0,text.g0{fill:#56b4e9}.g1,text.g1{fill:#f0883e}.g2,text.g2{fill:#3fb68b}.g3,text.g3{fill:#e08fbf}.g4,text.g4{fill:#e3b341}.g5,text.g5{fill:#b392f0}
}
";

/// Writes a picture.
pub(crate) fn render(picture: &Picture) -> String {
    let mut body = Sheet { out: String::new(), y: MARGIN, width: 0 };
    body.heading(&picture.title);
    body.panels(&picture.panels);
    if let Some(distances) = &picture.distances {
        body.distances(distances);
    }
    if !picture.guests.is_empty() {
        body.legend(&picture.guests);
    }
    body.y += ROW / 2;
    for note in &picture.notes {
        for text in wrap(&clean(note, false), TABLE) {
            body.text(MARGIN, &text, Ink::Plain, "");
            body.y += ROW;
        }
    }
    for grid in &picture.grids {
        body.y += ROW / 2;
        body.heading(&grid.title);
        for line in table::lines(grid, TABLE, false) {
            let detail = line.begins.map_or("", |row| grid.rows[row].detail.as_str());
            body.text(MARGIN, &line.text, line.ink, detail);
            body.y += ROW;
        }
    }
    framed(&picture.title, &body.out, body.width + MARGIN, body.y + MARGIN)
}

fn framed(title: &str, body: &str, width: usize, height: usize) -> String {
    let title = escaped(title);
    let (width, height) = (width.to_string(), height.to_string());
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let paper = [("class", "paper"), ("width", &width), ("height", &height)];
    let mut inner = format!("<title>{title}</title>\n<style>{}</style>\n", escaped(STYLE));
    element(&mut inner, "rect", &paper, "");
    inner.push_str(body);
    let place = [
        ("xmlns", "http://www.w3.org/2000/svg"),
        ("width", &width),
        ("height", &height),
        ("viewBox", &format!("0 0 {width} {height}")),
        ("role", "img"),
    ];
    element(&mut out, "svg", &place, &inner);
    out
}

/// Writes an element around markup that is written already.
fn element(out: &mut String, name: &str, attributes: &[(&str, &str)], inner: &str) {
    out.push_str(&format!("<{name}"));
    for (name, value) in attributes {
        out.push_str(&format!(" {name}=\"{}\"", escaped(value)));
    }
    match inner {
        "" => out.push_str("/>\n"),
        inner => out.push_str(&format!(">{inner}</{name}>\n")),
    }
}

/// Text as it stands between tags and in attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        for c in clean(line, false).chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                c => out.push(c),
            }
        }
        out.push_str(end);
    }
    out
}

fn titled(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(detail)) }
}

struct Sheet {
    out: String,
    /// The top of what comes next.
    y: usize,
    /// The right end of what is there.
    width: usize,
}

fn class(ink: Ink) -> &'static str {
    const GUESTS: [&str; 6] = ["g0", "g1", "g2", "g3", "g4", "g5"];
    match ink {
        Ink::Plain => "plain",
        Ink::Faint => "faint",
        Ink::Strong => "strong",
        Ink::Used => "used",
        Ink::Promised => "promised",
        Ink::Isolated => "isolated",
        Ink::Wrong => "wrong",
        Ink::Guest(at) => GUESTS[at % GUESTS.len()],
    }
}

/// A rectangle: left, top, width, height.
type Area = (usize, usize, usize, usize);

impl Sheet {
    fn reach(&mut self, x: usize) {
        self.width = self.width.max(x);
    }

    /// A line of text with its top at the present height.
    fn text(&mut self, x: usize, text: &str, ink: Ink, detail: &str) {
        self.text_at(x, self.y, text, ink, detail);
    }

    fn text_at(&mut self, x: usize, y: usize, text: &str, ink: Ink, detail: &str) {
        self.reach(x + width(text) * LETTER);
        if text.is_empty() && detail.is_empty() {
            return;
        }
        let (x, y) = (x.to_string(), (y + 13).to_string());
        let place = [("x", x.as_str()), ("y", y.as_str()), ("class", class(ink)), ("xml:space", "preserve")];
        element(&mut self.out, "text", &place, &(titled(detail) + &escaped(text)));
    }

    fn area(&mut self, (x, y, w, h): Area, class: &str, detail: &str) {
        self.reach(x + w);
        let [x, y, w, h] = [x, y, w, h].map(|n| n.to_string());
        let place = [
            ("x", x.as_str()),
            ("y", y.as_str()),
            ("width", w.as_str()),
            ("height", h.as_str()),
            ("class", class),
            ("rx", "1"),
        ];
        element(&mut self.out, "rect", &place, &titled(detail));
    }

    fn heading(&mut self, text: &str) {
        if !text.is_empty() {
            for text in wrap(&clean(text, false), TABLE) {
                self.text(MARGIN, &text, Ink::Strong, "");
                self.y += ROW;
            }
        }
    }

    fn panels(&mut self, panels: &[Panel]) {
        let across = match panels.len() {
            0 => return,
            1..=4 => panels.len().min(2),
            5..=16 => 4,
            _ => 8,
        };
        let each = BOX * LETTER + 2 * PAD;
        self.y += ROW / 3;
        for row in panels.chunks(across) {
            let height = row.iter().map(height).max().unwrap_or(0);
            let top = self.y;
            for (at, panel) in row.iter().enumerate() {
                let x = MARGIN + at * (each + PAD);
                self.area((x, top, each, height), "box", &panel.detail);
                self.panel(panel, x + PAD, top + PAD / 2);
            }
            self.y = top + height + PAD;
        }
    }

    fn panel(&mut self, panel: &Panel, x: usize, top: usize) {
        let name = fit(&clean(&panel.name, false), BOX, "…");
        let tag = fit(&clean(&panel.tag, false), BOX.saturating_sub(width(&name) + 2), "…");
        self.text_at(x, top, &name, Ink::Strong, &panel.name);
        self.text_at(x + (width(&name) + 2) * LETTER, top, &tag, Ink::Faint, &panel.tag);
        let labels = labels(panel);
        let mut y = top + ROW;
        for line in &panel.lines {
            let label = fit(&clean(&line.label, false), labels, "…");
            self.text_at(x, y, &label, Ink::Faint, "");
            y = self.line(line, x + (labels + 1) * LETTER, y, BOX - labels - 1);
        }
    }

    /// Draws a line and gives where the next begins.
    fn line(&mut self, line: &Line, x: usize, mut y: usize, room: usize) -> usize {
        let texts = texts(line, room);
        let mut first = x;
        match &line.figure {
            Figure::Bar { parts, whole } => {
                self.bar(parts, *whole, (x, y + 3, BAR, 12), &line.detail);
                if beside(line, room) {
                    first = x + BAR + LETTER;
                } else {
                    y += ROW;
                }
            }
            Figure::Cpus(groups) => y = self.cpus(groups, x, y, room),
            Figure::None => {}
        }
        for (at, text) in texts.iter().enumerate() {
            let detail = if at == 0 { line.detail.as_str() } else { "" };
            self.text_at(if at == 0 { first } else { x }, y, text, line.ink, detail);
            y += ROW;
        }
        y
    }

    fn bar(&mut self, parts: &[Part], whole: u64, (x, y, w, h): Area, detail: &str) {
        self.area((x, y, w, h), "empty", detail);
        let sum: u128 = parts.iter().map(|part| u128::from(part.size)).sum();
        let whole = u128::from(whole).max(sum).max(1);
        let mut so_far = 0u128;
        let at = |amount: u128| usize::try_from(amount * w as u128 / whole).unwrap_or(w);
        for part in parts.iter().filter(|part| part.size > 0) {
            let from = at(so_far);
            so_far += u128::from(part.size);
            let to = at(so_far).max(from + 1);
            self.area((x + from, y, to - from, h), class(part.ink), &part.detail);
        }
    }

    fn cpus(&mut self, groups: &[Vec<Cpu>], x: usize, mut y: usize, room: usize) -> usize {
        for row in rows_of_cpus(groups, room) {
            let mut left = x;
            for cpu in row {
                if let Some(cpu) = cpu {
                    let class = if cpu.ink == Ink::Plain { "empty" } else { class(cpu.ink) };
                    self.area((left, y + 4, CELL - 2, CELL - 2), class, &format!("CPU {}", cpu.id));
                }
                left += CELL;
            }
            y += ROW;
        }
        y
    }

    fn distances(&mut self, distances: &Distances) {
        self.y += ROW / 2;
        self.heading("Distances");
        if distances.ids.len() > MATRIX {
            for (id, classes) in distances.classes() {
                for text in wrap(&format!("{id}: {classes}"), TABLE) {
                    self.text(MARGIN, &text, Ink::Plain, "");
                    self.y += ROW;
                }
            }
            return;
        }
        let cell = distances.ids.iter().map(|id| id.to_string().len()).max().unwrap_or(1).max(3) + 1;
        let place = |at: usize, text: &str| MARGIN + ((at + 1) * cell - text.len()) * LETTER;
        for (at, id) in distances.ids.iter().map(ToString::to_string).enumerate() {
            self.text(place(at + 1, &id), &id, Ink::Faint, "");
        }
        for (from, row) in distances.ids.iter().zip(&distances.rows) {
            self.y += ROW;
            let id = from.to_string();
            self.text(place(0, &id), &id, Ink::Faint, "");
            for (at, (distance, to)) in row.iter().zip(&distances.ids).enumerate() {
                let text = distance.to_string();
                self.text(place(at + 1, &text), &text, Ink::Plain, &format!("node {from} to node {to}"));
            }
        }
        self.y += ROW;
    }

    fn legend(&mut self, guests: &[String]) {
        self.y += ROW / 2;
        let mut x = MARGIN;
        for (at, name) in guests.iter().enumerate() {
            let text = fit(&clean(name, false), BOX, "…");
            if x > MARGIN && x + (width(&text) + 4) * LETTER > TABLE * LETTER {
                x = MARGIN;
                self.y += ROW;
            }
            self.area((x, self.y + 4, CELL, CELL), class(Ink::Guest(at)), name);
            self.text(x + 2 * LETTER, &text, Ink::Plain, name);
            x += (width(&text) + 4) * LETTER;
        }
        self.y += ROW;
    }
}

fn labels(panel: &Panel) -> usize {
    panel.lines.iter().map(|line| width(&clean(&line.label, false))).max().unwrap_or(0).min(BOX / 3)
}

/// Whether the text fits beside the bar.
fn beside(line: &Line, room: usize) -> bool {
    matches!(line.figure, Figure::Bar { .. })
        && width(&clean(&line.text, false)) * LETTER + BAR + LETTER <= room * LETTER
}

fn texts(line: &Line, room: usize) -> Vec<String> {
    let texts = wrap(&clean(&line.text, false), room);
    if line.text.is_empty() && matches!(line.figure, Figure::Cpus(_)) { Vec::new() } else { texts }
}

/// CPUs row by row, a gap between groups.
fn rows_of_cpus(groups: &[Vec<Cpu>], room: usize) -> Vec<Vec<Option<Cpu>>> {
    let most = (room * LETTER / CELL).max(1);
    let mut rows: Vec<Vec<Option<Cpu>>> = vec![Vec::new()];
    for group in groups {
        let row = rows.len() - 1;
        if !rows[row].is_empty() {
            if rows[row].len() + 1 + group.len() > most { rows.push(Vec::new()) } else { rows[row].push(None) }
        }
        for cpu in group {
            let row = rows.len() - 1;
            if rows[row].len() >= most {
                rows.push(Vec::new());
            }
            let row = rows.len() - 1;
            rows[row].push(Some(*cpu));
        }
    }
    rows
}

/// How high a box is.
fn height(panel: &Panel) -> usize {
    let room = BOX - labels(panel) - 1;
    let of = |line: &Line| {
        let figure = match &line.figure {
            Figure::Bar { .. } => usize::from(!beside(line, room)),
            Figure::Cpus(groups) => rows_of_cpus(groups, room).len(),
            Figure::None => 0,
        };
        (figure + texts(line, room).len()) * ROW
    };
    panel.lines.iter().map(of).sum::<usize>() + ROW + PAD
}

#[cfg(test)]
pub(crate) mod tests;
