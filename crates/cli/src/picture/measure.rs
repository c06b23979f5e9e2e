//! Text as it can be shown: escaped, measured in columns of a terminal, cut and wrapped.
//!
//! Names come from definitions and files, so they may hold control sequences, marks that turn the direction of writing, or characters
//! two columns wide. What [`clean`] gives is one line, moves no cursor, and is as wide as [`width`] says.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns of a clean text.
pub(crate) fn width(text: &str) -> usize {
    // As a whole some emoji are narrower than their parts. Terminals disagree on it; the parts are what none exceeds.
    text.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>().max(text.width())
}

/// The text with everything escaped that is no mark of its own: controls, marks of direction, joiners, what XML does not allow; and
/// all but ASCII where only that can be shown.
pub(crate) fn clean(text: &str, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if ascii && !c.is_ascii() {
            match plain(c) {
                Some(known) => out.push_str(known),
                None => out.extend(c.escape_unicode()),
            }
        } else if c.is_control() || turns(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Signs of our own texts in ASCII.
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        '…' => "...",
        '→' => "->",
        '×' => "x",
        '·' | '–' => "-",
        '✓' => "*",
        '✗' => "x",
        '±' => "+-",
        _ => return None,
    })
}

/// Marks of direction, joiners, selectors and tags: what other characters look like, or how wide they are, hangs on them. And what is
/// no character at all.
fn turns(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The text in lines of at most `room` columns, broken at blanks where there are some. A character wider than `room` is left out.
pub(crate) fn wrap(text: &str, room: usize) -> Vec<String> {
    if width(text) <= room {
        return vec![text.to_owned()];
    }
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let gap = usize::from(!line.is_empty());
        if width(&line) + gap + width(word) <= room {
            line.push_str(&" "[..gap]);
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if wide > room {
                continue;
            }
            line.push(c);
            if width(&line) > room {
                line.pop();
                lines.push(std::mem::replace(&mut line, c.to_string()));
            }
        }
    }
    lines.push(line);
    lines
}

/// The text in at most `room` columns, cut with a mark.
pub(crate) fn fit(text: &str, room: usize, mark: &str) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let room = room.saturating_sub(width(mark));
    let mut out = String::new();
    for c in text.chars() {
        out.push(c);
        if width(&out) > room {
            out.pop();
            break;
        }
    }
    out.push_str(mark);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn controls_and_marks_of_direction_are_escaped() {
        assert_eq!(clean("a\u{1b}[31mb\n", false), "a\\u{1b}[31mb\\u{a}");
        assert_eq!(clean("\u{202e}abc", false), "\\u{202e}abc");
        assert_eq!(clean("שלום 🦀", false), "שלום 🦀");
        assert_eq!(clean("🦀 …", true), "\\u{1f980} ...");
    }

    #[test]
    fn wide_characters_count_two() {
        assert_eq!((width("abc"), width("漢字"), width("🦀")), (3, 4, 2));
        assert_eq!(fit("漢字漢字", 5, "…"), "漢字…");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("漢字", 1), [""]);
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_its_room(text in any::<String>(), room in 1usize..40) {
            let clean = clean(&text, false);
            prop_assert!(wrap(&clean, room).iter().all(|line| width(line) <= room));
            prop_assert!(width(&fit(&clean, room, "…")) <= room);
            prop_assert!(clean.chars().all(|c| !c.is_control()));
            let whole: String = wrap(&clean, room.max(2)).concat();
            prop_assert_eq!(whole.replace(' ', ""), clean.replace(' ', ""));
        }
    }
}
