//! Problems of files as editors want them: one record each, with the range of the text that it is about.
//!
//! The shape is stable and documented in `docs/cli.md`; fields are only ever added.

use std::path::Path;

use polyvirt::model::{Problem, Severity};
use serde::Serialize;

/// One problem of a file. Lines and columns count from 1, columns in characters; the end is behind the last character.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnostic<'a> {
    file: &'a Path,
    severity: Severity,
    path: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
    end_line: Option<u32>,
    end_column: Option<u32>,
    message: String,
    suggestion: Option<String>,
    rule: Option<String>,
}

impl<'a> Diagnostic<'a> {
    /// A problem of the file with this text.
    pub(crate) fn new(file: &'a Path, text: &str, problem: Problem) -> Self {
        let end = problem.line.zip(problem.column).and_then(|(line, column)| end(text, line, column));
        Self {
            file,
            severity: problem.severity,
            path: Some(problem.path),
            line: problem.line,
            column: problem.column,
            end_line: end.and(problem.line),
            end_column: end,
            message: problem.message,
            suggestion: problem.suggestion,
            rule: problem.rule.map(|rule| rule.into_owned()),
        }
    }

    /// A file that cannot be read at all.
    pub(crate) fn unreadable(file: &'a Path, message: String) -> Self {
        Self {
            file,
            severity: Severity::Error,
            path: None,
            line: None,
            column: None,
            end_line: None,
            end_column: None,
            message,
            suggestion: None,
            rule: None,
        }
    }

    /// Whether the file is refused because of it.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// `FILE:LINE:COLUMN: PATH: message`, as compilers write it.
    pub(crate) fn line(&self) -> String {
        let mut out = format!("{}:", self.file.display());
        if let (Some(line), Some(column)) = (self.line, self.column) {
            out.push_str(&format!("{line}:{column}:"));
        }
        if !self.is_error() {
            out.push_str(" warning:");
        }
        if let Some(path) = &self.path {
            out.push_str(&format!(" {path}:"));
        }
        out.push_str(&format!(" {}", self.message));
        if let Some(name) = &self.suggestion {
            out.push_str(&format!("; did you mean '{name}'?"));
        }
        if let Some(rule) = &self.rule {
            out.push_str(&format!(" [{rule}]"));
        }
        out
    }
}

/// The column behind what stands at a place: a start tag up to its name, the name of an attribute, a value up to its quote, text
/// up to the next tag. `None` if nothing stands there.
fn end(text: &str, line: u32, column: u32) -> Option<u32> {
    let line: Vec<char> = text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?.chars().collect();
    let start = usize::try_from(column).ok()?.checked_sub(1)?;
    let rest = line.get(start..)?;
    let is_name = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let length = if *rest.first()? == '<' {
        let name = 1 + usize::from(rest.get(1) == Some(&'/'));
        name + rest.iter().skip(name).take_while(|c| is_name(c)).count()
    } else {
        let name = rest.iter().take_while(|c| is_name(c)).count();
        let quote = open_quote(&line[..start]);
        match quote {
            Some(quote) => rest.iter().take_while(|c| **c != quote).count(),
            None if name > 0 && rest.get(name) == Some(&'=') => name,
            None => {
                let run: String = rest.iter().take_while(|c| **c != '<').collect();
                run.trim_end().chars().count()
            }
        }
    };
    (length > 0).then(|| u32::try_from(start + length + 1).ok())?
}

/// The quote that is open behind this part of a line, if it ends in the value of an attribute. Quotes in text count for nothing.
fn open_quote(before: &[char]) -> Option<char> {
    let mut open = None;
    // A line that closes a tag before it opens one begins within a tag.
    let first = before.iter().find(|c| matches!(c, '<' | '>'));
    let mut in_tag = first != Some(&'<');
    for c in before {
        match (open, c) {
            (None, '<') => in_tag = true,
            (None, '>') => in_tag = false,
            (None, '\'' | '"') if in_tag => open = Some(*c),
            (Some(quote), c) if quote == *c => open = None,
            _ => {}
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_where_its_token_does() {
        let text = "<domain>\n  <vcpu placement='atuo' x=\"1\">two words </vcpu>\n<a b='it&apos;s'/>";
        let ends = [(1, 1), (2, 3), (2, 9), (2, 20), (2, 26), (2, 32), (3, 7), (9, 1), (1, 40)];
        let ends = ends.map(|(line, column)| end(text, line, column));
        assert_eq!(ends, [Some(8), Some(8), Some(18), Some(24), Some(27), Some(41), Some(16), None, None]);
    }
}
