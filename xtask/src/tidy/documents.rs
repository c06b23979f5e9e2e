//! Documents stay true: their Rust is code that is compiled, their links lead somewhere.

use std::path::{Component, Path, PathBuf};

use crate::tidy::{Finding, SourceFile};

/// Where the programs are that documents may show.
const EXAMPLES: &str = "crates/polyvirt/examples";

/// Checks every Markdown file.
pub(super) fn check(paths: &[PathBuf], files: &[SourceFile]) -> Vec<Finding> {
    let documents = files.iter().filter(|f| f.path.extension().is_some_and(|e| e == "md"));
    documents.flat_map(|document| [code(document, files), links(document, paths)].concat()).collect()
}

/// Each block marked as Rust stands, word for word, in an example.
fn code(document: &SourceFile, files: &[SourceFile]) -> Vec<Finding> {
    let blocks = document.text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("rust\n"));
    let strange =
        blocks.filter(|block| !files.iter().any(|f| f.path.starts_with(EXAMPLES) && f.text.contains(block.trim_end())));
    let what = |block: &str| format!("shows Rust that is in no example: {}", block.lines().next().unwrap_or_default());
    let remedy = format!("copy it from a file below {EXAMPLES}, which is compiled");
    strange.map(|block| Finding::error(document.path.display().to_string(), what(block), remedy.clone())).collect()
}

/// Each relative link names a file or directory.
fn links(document: &SourceFile, paths: &[PathBuf]) -> Vec<Finding> {
    let targets = document.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let relative = targets.map(|t| t.split('#').next().unwrap_or(t)).filter(|t| !t.is_empty() && !t.contains(':'));
    let base = document.path.parent().unwrap_or(Path::new(""));
    let broken = relative.filter(|target| {
        let place = normal(&base.join(target));
        !paths.iter().any(|path| path.starts_with(&place))
    });
    let place = document.path.display().to_string();
    broken
        .map(|target| {
            Finding::error(place.clone(), format!("links to {target}, which is not there"), "correct the path")
        })
        .collect()
}

/// The path without `.` and `..`, which are only names here.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn rust_must_stand_in_an_example() {
        let example = file("crates/polyvirt/examples/a.rs", "fn main() {\n    work();\n}\n");
        let good = file("README.md", "text\n```rust\nfn main() {\n    work();\n}\n```\n```console\n$ x\n```\n");
        let bad = file("docs/x.md", "```rust\nfn main() { play() }\n```\n");
        let found = check(&[], &[example, good, bad]);
        assert_eq!(found.iter().map(|f| f.place.as_str()).collect::<Vec<_>>(), ["docs/x.md"]);
    }

    #[test]
    fn links_must_lead_somewhere() {
        let paths = ["README.md", "docs/a.md", "tests/data/b.xml"].map(PathBuf::from);
        let text = "[a](a.md#part) [r](../README.md) [d](../tests/data) [h](https://example.org) [s](#here) [gone](../docs/b.md)";
        let found = check(&paths, &[file("docs/a.md", text)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].what.contains("../docs/b.md"));
    }
}
