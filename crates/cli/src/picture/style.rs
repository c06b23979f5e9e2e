//! What the terminal can show, and what the person wants to see.

use std::io::IsTerminal as _;

/// How a picture is written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Columns that no line exceeds.
    pub(crate) width: usize,
    /// Boxes and bars, or only text.
    pub(crate) drawn: bool,
    /// Nothing but ASCII.
    pub(crate) ascii: bool,
    /// Colours.
    pub(crate) color: bool,
}

/// Columns where nobody says how many there are.
const COLUMNS: usize = 100;
/// More columns than this only make lines hard to follow.
const MOST_COLUMNS: usize = 200;

impl Style {
    /// What stdout is.
    pub(crate) fn of_stdout(color: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let env = |name: &str| std::env::var(name).ok();
        let columns = env("COLUMNS").and_then(|text| text.parse().ok());
        let columns =
            columns.or_else(|| terminal_size::terminal_size_of(std::io::stdout()).map(|(w, _)| usize::from(w.0)));
        if !(terminal || color) {
            return Self::plain();
        }
        Self::of(env, columns, color)
    }

    /// Text alone, for programs.
    pub(crate) const fn plain() -> Self {
        Self { width: COLUMNS, drawn: false, ascii: false, color: false }
    }

    fn of(env: impl Fn(&str) -> Option<String>, columns: Option<usize>, color: bool) -> Self {
        // The first that is set decides, as in setlocale(3).
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| env(name).filter(|v| !v.is_empty()));
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let ascii = !(locale.contains("utf-8") || locale.contains("utf8"));
        let width = columns.unwrap_or(COLUMNS).clamp(20, MOST_COLUMNS);
        Self { width, drawn: true, ascii, color }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_what_can_be_shown() {
        let of = |pairs: &'static [(&str, &str)]| {
            Style::of(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()), Some(1000), false)
        };
        assert!(of(&[]).ascii);
        assert!(!of(&[("LANG", "C.UTF-8")]).ascii);
        assert!(of(&[("LANG", "C.UTF-8"), ("LC_ALL", "C")]).ascii);
        assert!(!of(&[("LANG", "C"), ("LC_CTYPE", "de_DE.utf8"), ("LC_ALL", "")]).ascii);
        assert_eq!(of(&[]).width, MOST_COLUMNS);
    }
}
