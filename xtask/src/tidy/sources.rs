//! What no source may say: work left undone, unsafe code outside its crate, paths of the machine it was written on.

use std::path::Path;

use crate::tidy::{Finding, SourceFile};

/// A text that is refused. The needles are in two halves so that this file does not find itself.
struct Refused {
    needle: (&'static str, &'static str),
    what: &'static str,
    remedy: &'static str,
}

const RUST: &[Refused] = &[
    Refused { needle: ("todo", "!("), what: "is not done", remedy: "do it, or answer ErrorKind::Unsupported" },
    Refused { needle: ("unimplemented", "!("), what: "is not done", remedy: "do it, or answer ErrorKind::Unsupported" },
    Refused { needle: ("dbg", "!("), what: "prints for debugging", remedy: "remove it, or use tracing" },
    Refused {
        needle: ("#[ign", "ore"),
        what: "hides a test",
        remedy: "let the test print `skipped: REASON` and return; POLYVIRT_REQUIRE makes that a failure",
    },
];

const UNSAFE: &[Refused] = &[
    Refused {
        needle: ("unsafe", " {"),
        what: "is unsafe code",
        remedy: "put a safe wrapper for it into crates/process",
    },
    Refused {
        needle: ("unsafe", " fn"),
        what: "is unsafe code",
        remedy: "put a safe wrapper for it into crates/process",
    },
    Refused {
        needle: ("unsafe", " impl"),
        what: "is unsafe code",
        remedy: "put a safe wrapper for it into crates/process",
    },
    Refused {
        needle: ("unsafe", " extern"),
        what: "is unsafe code",
        remedy: "put a safe wrapper for it into crates/process",
    },
];

/// Directories of development machines. Root's home is one: nothing of ours lives there.
const MACHINE_PATHS: &[(&str, &str)] = &[("/wo", "rk/"), ("/ro", "ot/")];

/// Checks every text file.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let is_rust = file.path.extension().is_some_and(|e| e == "rs");
    let rust = if is_rust { RUST } else { &[] };
    let unsafe_code = if is_rust && !file.path.starts_with(Path::new("crates/process")) { UNSAFE } else { &[] };
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let place = || format!("{}:{}", file.path.display(), index + 1);
        let comment = line.trim_start().strip_prefix("//");
        if is_rust && comment.is_some_and(hides_example) {
            let remedy = "let it compile (```no_run), or mark it as ```text";
            findings.push(Finding::error(place(), "hides an example from the compiler", remedy));
        }
        // What a comment says is no code.
        if comment.is_none() {
            let refused = rust.iter().chain(unsafe_code).filter(|r| has(line, r.needle));
            findings.extend(
                refused.map(|r| Finding::error(place(), format!("{}{} {}", r.needle.0, r.needle.1, r.what), r.remedy)),
            );
        }
        if MACHINE_PATHS.iter().any(|path| has(line, *path)) {
            let remedy = "use a path relative to the checkout, a temporary directory or a setting";
            findings.push(Finding::error(place(), "names a path of one machine", remedy));
        }
    }
    findings
}

/// Whether a comment opens a code block that rustdoc would count as ignored.
fn hides_example(comment: &str) -> bool {
    let opening = comment.trim_start_matches(['/', '!']).trim_start().strip_prefix("```");
    opening.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == "ignore"))
}

fn has(line: &str, (head, tail): (&str, &str)) -> bool {
    line.match_indices(head).any(|(at, _)| line[at + head.len()..].starts_with(tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: String) -> Vec<String> {
        check(&[SourceFile { path: path.into(), text }]).into_iter().map(|f| f.place).collect()
    }

    fn join(needle: (&str, &str)) -> String {
        format!("    {}{}x\n", needle.0, needle.1)
    }

    #[test]
    fn every_needle_is_found_with_its_line() {
        for refused in RUST.iter().chain(UNSAFE) {
            assert_eq!(found("crates/x/src/a.rs", format!("\n{}", join(refused.needle))), ["crates/x/src/a.rs:2"]);
        }
        for path in MACHINE_PATHS {
            assert_eq!(found("docs/a.md", join(*path)), ["docs/a.md:1"]);
        }
    }

    #[test]
    fn examples_are_not_hidden() {
        assert_eq!(found("crates/x/src/a.rs", "/// ```ignore\n/// ```\n".to_owned()), ["crates/x/src/a.rs:1"]);
        assert_eq!(found("crates/x/src/a.rs", "//! ```rust,ignore\n".to_owned()), ["crates/x/src/a.rs:1"]);
        assert!(found("crates/x/src/a.rs", "/// ```text\n/// ```no_run\n// we ignore it\n".to_owned()).is_empty());
    }

    #[test]
    fn comments_other_files_and_the_crate_for_it_are_left_alone() {
        let unsafe_block = join(UNSAFE[0].needle);
        assert!(found("crates/process/src/a.rs", unsafe_block.clone()).is_empty());
        assert!(found("docs/a.md", unsafe_block.clone()).is_empty());
        assert!(found("crates/x/src/a.rs", format!("// {unsafe_block}")).is_empty());
    }
}
