//! What is wrong with a document: one [`Problem`] per finding, all of them in one [`Problems`].

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// A place in a source text. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Position {
    /// The position of a byte offset in a text. An offset behind the end is taken for the end.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let offset = (0..=offset.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let before = &text[..offset];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { line: count(before.matches('\n').count()), column: count(before[start..].chars().count()) }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1)
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is accepted; something in it has no effect.
    Warning,
    /// The document is refused.
    Error,
}

/// One finding in a document.
///
/// `Display` is one line: `/domain/numatune/memory/@nodeset, line 14 column 38: '3-1' runs backwards`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// Whether the document is refused because of it.
    pub severity: Severity,
    /// Where: element names from the root, `[n]` where siblings share a name, `@name` for an attribute.
    pub path: String,
    /// The line, from 1; absent when the value was not read from a text.
    pub line: Option<u32>,
    /// The column in characters, from 1; absent when the value was not read from a text.
    pub column: Option<u32>,
    /// What is wrong, and what would have been right.
    pub message: String,
    /// The nearest known name, when a name was not known.
    pub suggestion: Option<String>,
    /// The number of the rule that is broken, where the documentation numbers it.
    pub rule: Option<Cow<'static, str>>,
    /// The source line, for the long form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
}

/// How much of a long line is shown on each side of the place that is meant, in characters.
const SHOWN_ON_A_SIDE: usize = 60;
/// Longer source lines are not kept: what made them, made them for no reader.
const MAX_SOURCE_LINE: usize = 400;

impl Problem {
    /// An error at a path, without a position.
    #[must_use]
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            path: path.into(),
            line: None,
            column: None,
            message: message.into(),
            suggestion: None,
            rule: None,
            source_line: None,
        }
    }

    /// A warning at a path, without a position.
    #[must_use]
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, message) }
    }

    /// Adds the number of the rule that is broken.
    #[must_use]
    pub fn with_rule(mut self, rule: impl Into<Cow<'static, str>>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// Adds the nearest known name.
    #[must_use]
    pub fn with_suggestion(mut self, name: Option<String>) -> Self {
        self.suggestion = name;
        self
    }

    /// Adds the position of a byte offset in the text the value was read from.
    #[must_use]
    pub fn located(mut self, text: &str, offset: usize) -> Self {
        let at = Position::of(text, offset);
        self.line = Some(at.line);
        self.column = Some(at.column);
        self.source_line = text
            .lines()
            .nth(usize::try_from(at.line).unwrap_or(1) - 1)
            .filter(|line| line.len() <= MAX_SOURCE_LINE)
            .map(str::to_owned);
        self
    }

    /// The one-line form, then the source line and a marker below the column.
    #[must_use]
    pub fn long(&self) -> String {
        let mut out = self.to_string();
        if let (Some(source), Some(line), Some(column)) = (&self.source_line, self.line, self.column) {
            // One character for one, so that the marker stays where it belongs.
            let source: Vec<char> =
                source.chars().map(|c| if is_hidden(c) { char::REPLACEMENT_CHARACTER } else { c }).collect();
            let (source, at) = around(&source, usize::try_from(column).unwrap_or(1).saturating_sub(1));
            let indent: String = source.chars().take(at).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let gutter = line.to_string();
            let blank = " ".repeat(gutter.len());
            out.push_str(&format!("\n {gutter} | {source}\n {blank} | {indent}^"));
        }
        out
    }
}

/// Of a line that no terminal shows whole, the part on both sides of a place, and where in it that place is.
fn around(line: &[char], at: usize) -> (String, usize) {
    let from = if line.len() <= 2 * SHOWN_ON_A_SIDE { 0 } else { at.saturating_sub(SHOWN_ON_A_SIDE).min(line.len()) };
    let to = if line.len() <= 2 * SHOWN_ON_A_SIDE { line.len() } else { (at + SHOWN_ON_A_SIDE).min(line.len()) };
    let cut = |is: bool| if is { "…" } else { "" };
    let shown: String = line[from..to.max(from)].iter().collect();
    (format!("{}{shown}{}", cut(from > 0), cut(to < line.len())), at - from.min(at) + usize::from(from > 0))
}

/// Line ends, and what commands terminals: documents may hold the control characters from U+0080.
fn is_hidden(c: char) -> bool {
    c.is_control() && c != '\t'
}

/// The text on one line, with escapes for what is hidden.
fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if is_hidden(c) { c.escape_debug().to_string() } else { c.to_string() }).collect())
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&visible(&self.path))?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ", line {line} column {column}")?;
        }
        write!(f, ": {}", visible(&self.message))?;
        if let Some(name) = &self.suggestion {
            write!(f, "; did you mean '{name}'?")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, " [{rule}]")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// Everything found in one document, in document order as far as it was read in one.
///
/// As an error it prints one problem a line, errors before warnings, so that the first line is the reason of a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// No problems.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// Adds all of another list.
    pub fn append(&mut self, other: Self) {
        self.list.extend(other.list);
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are, of both severities.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// Those that refuse the document.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter().filter(|p| p.severity == Severity::Error)
    }

    /// Those that do not.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter().filter(|p| p.severity == Severity::Warning)
    }

    /// Whether one of them refuses the document.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// The value if nothing refuses it, with the warnings; else all problems.
    ///
    /// # Errors
    /// All problems, if one of them is an error.
    pub fn into_result<T>(self, value: T) -> Result<(T, Self), Self> {
        if self.has_errors() { Err(self) } else { Ok((value, self)) }
    }

    /// The long form of each, separated by newlines.
    #[must_use]
    pub fn long(&self) -> String {
        self.in_order().map(Problem::long).collect::<Vec<_>>().join("\n")
    }

    fn in_order(&self) -> impl Iterator<Item = &Problem> {
        self.errors().chain(self.warnings())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.in_order().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { list: vec![problem] }
    }
}

impl From<Box<Problem>> for Problems {
    fn from(problem: Box<Problem>) -> Self {
        Self::from(*problem)
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(iter: I) -> Self {
        Self { list: iter.into_iter().collect() }
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_long_form() {
        let text = "<domain>\n  <memory nodeset='3-1'/>\n</domain>";
        let offset = text.find("3-1").unwrap();
        let problem = Problem::error("/domain/memory/@nodeset", "'3-1' runs backwards").located(text, offset);
        assert_eq!(problem.to_string(), "/domain/memory/@nodeset, line 2 column 20: '3-1' runs backwards");
        assert!(
            problem.long().ends_with("\n 2 |   <memory nodeset='3-1'/>\n   |                    ^"),
            "{}",
            problem.long()
        );
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let text = format!("<a>{}<b c='x'/>{}</a>", "<d/>".repeat(40), "<e/>".repeat(40));
        let at = text.find("x'").unwrap();
        let shown = Problem::error("/a/b/@c", "wrong").located(&text, at).long();
        let lines: Vec<&str> = shown.lines().skip(1).collect();
        assert!(lines[0].chars().count() < 130 && lines[0].contains(" | …") && lines[0].ends_with('…'), "{shown}");
        let marker = lines[1].chars().count() - 1;
        assert_eq!(lines[0].chars().nth(marker), Some('x'), "{shown}");
    }

    #[test]
    fn what_a_document_holds_commands_no_terminal() {
        let problem = Problem::error("/a", "'x\n\u{9b}2J' is wrong").located("<a>\u{9b}2J</a>", 3);
        assert_eq!(problem.to_string(), "/a, line 1 column 4: 'x\\n\\u{9b}2J' is wrong");
        assert!(!problem.long().contains('\u{9b}'));
    }

    #[test]
    fn positions_survive_any_offset() {
        let text = "ä\nöü";
        for offset in 0..20 {
            let _ = Position::of(text, offset);
        }
        assert_eq!(Position::of(text, 5), Position { line: 2, column: 2 });
    }

    #[test]
    fn errors_come_first_in_print() {
        let all: Problems = [Problem::warning("/a", "w"), Problem::error("/b", "e")].into_iter().collect();
        assert_eq!(all.to_string(), "/b: e\n/a: w");
    }
}
