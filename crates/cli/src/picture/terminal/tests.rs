use proptest::prelude::*;

use super::*;
use crate::picture::{Grid, host, style::Style};

pub(crate) fn style(width: usize, ascii: bool) -> Style {
    Style { width, drawn: true, ascii, color: false }
}

fn sample() -> Picture {
    let mut picture = Picture::default();
    let ink = picture.guest("a");
    let parts =
        vec![Part { size: 1, ink: Ink::Used, detail: String::new() }, Part { size: 2, ink, detail: String::new() }];
    picture.panels.push(Panel {
        name: "node 0".to_owned(),
        tag: "memory only".to_owned(),
        detail: String::new(),
        lines: vec![Line::bar("memory", parts, 4, "3 of 4"), Line::text("guest", "a").ink(ink)],
    });
    picture
}

#[test]
fn a_box_with_a_bar() {
    assert_eq!(
        render(&sample(), style(42, false)),
        "┌ node 0 ─ memory only ──────────────────┐
│ memory ▓▓▓▓▓AAAAAAAAAA░░░░░ 3 of 4     │
│ guest  a                               │
└────────────────────────────────────────┘

Guests  A a
"
    );
    assert_eq!(render(&sample(), style(42, true)).lines().nth(1), Some("| memory #####AAAAAAAAAA..... 3 of 4     |"));
}

#[test]
fn a_pipe_gets_text_alone() {
    let plain = render(&sample(), Style::plain());
    assert_eq!(plain, "node 0: memory only\n  memory 3 of 4\n  guest  a\n");
    let colored = render(&sample(), Style { color: true, ..style(42, false) });
    assert!(colored.contains("\u{1b}[36m█"), "{colored}");
}

#[test]
fn what_is_there_has_a_cell_of_the_bar() {
    let part = |size| Part { size, ink: Ink::Used, detail: String::new() };
    assert_eq!(ends(&[part(1), part(1_000_000)], 1_000_001, 10), [1, 10]);
    assert_eq!(ends(&[part(0), part(5)], 10, 10), [0, 5]);
    assert_eq!(ends(&[part(u64::MAX), part(u64::MAX)], 0, 10), [5, 10]);
    assert_eq!(ends(&[part(1), part(1), part(1)], 3, 2), [1, 2, 2]);
}

#[test]
fn hosts_of_no_one_and_many_nodes_can_be_drawn() {
    assert_eq!(render(&Picture::default(), style(80, false)), "");
    for (picture, last) in host::tests::hosts() {
        let text = render(picture, style(60, false));
        assert!(text.lines().all(|line| width(line) <= 60));
        assert!(text.contains(&format!("node {last} ")));
    }
}

fn ink() -> impl Strategy<Value = Ink> {
    prop_oneof![
        Just(Ink::Plain),
        Just(Ink::Wrong),
        Just(Ink::Promised),
        Just(Ink::Isolated),
        (0usize..9).prop_map(Ink::Guest)
    ]
}

fn line() -> impl Strategy<Value = Line> {
    let parts = prop::collection::vec((any::<u64>(), ink()), 0..5);
    let cpus = prop::collection::vec(prop::collection::vec((any::<u32>(), ink()), 0..40), 0..4);
    (any::<String>(), any::<String>(), parts, cpus, any::<u64>(), 0..3).prop_map(
        |(label, text, parts, cpus, whole, kind)| {
            let part = |(size, ink)| Part { size, ink, detail: text.clone() };
            let cells = |group: Vec<_>| group.into_iter().map(|(id, ink)| Cpu { id, ink }).collect();
            let figure = match kind {
                0 => Figure::None,
                1 => Figure::Bar { parts: parts.into_iter().map(part).collect(), whole },
                _ => Figure::Cpus(cpus.into_iter().map(cells).collect()),
            };
            Line { label, figure, detail: text.clone(), text, ink: Ink::Plain }
        },
    )
}

prop_compose! {
    pub(crate) fn pictures()(
        names in prop::collection::vec(any::<String>(), 0..4),
        panels in prop::collection::vec((any::<String>(), any::<String>(), prop::collection::vec(line(), 0..5)), 0..6),
        ids in prop::collection::btree_set(0u32..5000, 0..30),
        rows in prop::collection::vec(prop::collection::vec(any::<String>(), 3), 0..5),
    ) -> Picture {
        let ids: Vec<u32> = ids.into_iter().collect();
        let distances = Distances { rows: vec![vec![21; ids.len()]; ids.len()], ids };
        let mut grid = Grid::new("a table", &["one", "\u{202e}two", "three"]);
        rows.into_iter().for_each(|row| { grid.row(row, Ink::Plain); });
        let panels = panels.into_iter().map(|(name, tag, lines)| Panel { detail: name.clone(), name, tag, lines });
        Picture {
            title: names.concat(),
            notes: names.clone(),
            guests: names,
            panels: panels.collect(),
            distances: Some(distances),
            grids: vec![grid],
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn no_line_is_wider_than_it_may_be(picture in pictures(), room in 20usize..160, ascii: bool) {
        let text = render(&picture, style(room, ascii));
        for line in text.lines() {
            prop_assert!(width(line) <= room, "{} > {room}: {line}", width(line));
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert!(!ascii || line.is_ascii(), "{line}");
        }
        render(&picture, Style::plain());
    }
}
