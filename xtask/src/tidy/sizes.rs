//! Files one can read at a sitting: under 400 lines, split at 600. Tests count, data does not.

use crate::tidy::{Finding, SourceFile};

const AIM: usize = 400;
const LIMIT: usize = 600;

/// Files that may be longer, each with its reason: `PATH  REASON`, one a line, `#` for comments.
const EXCEPTIONS: &str = include_str!("longer-files.txt");

/// Checks every Rust file.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    check_with(files, EXCEPTIONS)
}

fn check_with(files: &[SourceFile], exceptions: &str) -> Vec<Finding> {
    let lines = exceptions.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let exceptions: Vec<(&str, &str)> = lines.map(|l| l.split_once(char::is_whitespace).unwrap_or((l, ""))).collect();
    let list = "xtask/src/tidy/longer-files.txt";
    let mut findings = Vec::new();
    for (path, reason) in &exceptions {
        let long = files.iter().any(|f| f.path.to_str() == Some(path) && f.text.lines().count() > LIMIT);
        if reason.trim().is_empty() {
            findings.push(Finding::error(list, format!("{path} has no reason"), "say why it cannot be split"));
        } else if !long {
            findings.push(Finding::error(list, format!("{path} is not over {LIMIT} lines"), "remove it from the list"));
        }
    }
    for file in files.iter().filter(|f| is_counted(f)) {
        let lines = file.text.lines().count();
        let place = file.path.display().to_string();
        if lines <= AIM || exceptions.iter().any(|(path, _)| place == *path) {
            continue;
        }
        let what = format!("has {lines} lines");
        let finding = if lines > LIMIT {
            Finding::error(
                place,
                what,
                format!("split it by concept; data that must stay whole goes into {list} with a reason"),
            )
        } else {
            Finding::warning(place, what, format!("the aim is {AIM}; over {LIMIT} it has to be split"))
        };
        findings.push(finding);
    }
    findings
}

/// Rust, and neither data of tests nor generated.
fn is_counted(file: &SourceFile) -> bool {
    let path = file.path.to_string_lossy();
    path.ends_with(".rs") && !path.contains("tests/data/") && !path.contains("/generated/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, lines: usize) -> SourceFile {
        SourceFile { path: path.into(), text: "x\n".repeat(lines) }
    }

    #[test]
    fn long_files_warn_and_longer_ones_fail() {
        let found =
            check_with(&[file("a.rs", 400), file("b.rs", 401), file("c.rs", 601), file("tests/data/d.rs", 9999)], "");
        let seen: Vec<_> = found.iter().map(|f| (f.place.as_str(), f.is_warning)).collect();
        assert_eq!(seen, [("b.rs", true), ("c.rs", false)]);
    }

    #[test]
    fn exceptions_need_a_reason_and_a_long_file() {
        let files = [file("a.rs", 700), file("b.rs", 10)];
        assert!(check_with(&files, "# comment\na.rs  a table of the processor manual\n").is_empty());
        assert_eq!(check_with(&files, "a.rs\n").len(), 1);
        assert_eq!(check_with(&files, "a.rs why\nb.rs why\n").len(), 1);
    }
}
