//! What may stand where: top-level entries, names of files, the manifest and the first line of each crate.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{
    checkout::Package,
    tidy::{Finding, SourceFile},
};

/// Visible entries of the root, beside dot-files.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "clippy.toml",
    "crates",
    "docs",
    "drivers",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "tests",
    "xtask",
];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["common.rs", "helper.rs", "util.rs", "utils.rs"];

/// The only crate with unsafe code; it has lints of its own.
const UNSAFE: &str = "polyvirt-process";

/// Checks names, and that every crate takes the lints and says what it is.
pub(super) fn check(packages: &[Package], paths: &[PathBuf], files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = top_level(paths);
    findings.extend(names(paths));
    findings.extend(openings(packages, files));
    findings.extend(packages.iter().filter_map(|p| lints(p, files)));
    findings
}

fn top_level(paths: &[PathBuf]) -> Vec<Finding> {
    let entries: BTreeSet<_> = paths.iter().filter_map(|p| p.iter().next()?.to_str()).collect();
    let stray = entries.into_iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(name));
    stray
        .map(|name| {
            Finding::error(
                name,
                "is not a top-level entry of this project",
                "put it below crates, docs, tests or xtask",
            )
        })
        .collect()
}

fn names(paths: &[PathBuf]) -> Vec<Finding> {
    let is_empty =
        |path: &&PathBuf| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| EMPTY_NAMES.contains(&n));
    let remedy = "name it after the concept inside";
    paths
        .iter()
        .filter(is_empty)
        .map(|p| Finding::error(p.display().to_string(), "is named after nothing", remedy))
        .collect()
}

/// Crate roots and `mod.rs` files open with what the module does.
fn openings(packages: &[Package], files: &[SourceFile]) -> Vec<Finding> {
    let roots: BTreeSet<&Path> = packages.iter().flat_map(|p| &p.targets).map(|t| t.source.as_path()).collect();
    let must_open =
        |f: &&SourceFile| roots.contains(f.path.as_path()) || f.path.file_name().is_some_and(|n| n == "mod.rs");
    let silent = files.iter().filter(must_open).filter(|f| {
        // Attributes such as #![doc = include_str!(…)] may stand before or instead.
        !f.text
            .lines()
            .take_while(|l| l.starts_with("//") || l.starts_with("#!") || l.trim().is_empty())
            .any(|l| l.starts_with("//!") || l.starts_with("#![doc"))
    });
    let remedy = "begin it with //! what it does, what it deliberately does not, and its invariants";
    silent.map(|f| Finding::error(f.path.display().to_string(), "does not open with documentation", remedy)).collect()
}

/// Without `lints.workspace` a crate would escape the ban on unsafe code.
fn lints(package: &Package, files: &[SourceFile]) -> Option<Finding> {
    let manifest = package.dir.join("Cargo.toml");
    let text = &files.iter().find(|f| f.path == manifest)?.text;
    let table: toml::Table = text.parse().ok()?;
    let inherits = table.get("lints").and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool) == Some(true);
    if inherits || package.name == UNSAFE {
        return None;
    }
    let remedy = "write [lints] workspace = true";
    Some(Finding::error(manifest.display().to_string(), "does not take the lints of the workspace", remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkout::Target;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: text.to_owned() }
    }

    fn package(name: &str) -> Package {
        let target = Target {
            name: name.to_owned(),
            kinds: vec!["lib".to_owned()],
            features: Vec::new(),
            source: "crates/x/src/lib.rs".into(),
        };
        Package { name: name.to_owned(), dir: "crates/x".into(), dependencies: Vec::new(), targets: vec![target] }
    }

    #[test]
    fn stray_top_level_entries_and_empty_names_are_found() {
        let paths = ["Cargo.toml", ".ci/run", "notes.txt", "crates/x/src/utils.rs"].map(PathBuf::from);
        let places: Vec<_> = check(&[], &paths, &[]).into_iter().map(|f| f.place).collect();
        assert_eq!(places, ["notes.txt", "crates/x/src/utils.rs"]);
    }

    #[test]
    fn a_crate_says_what_it_is_and_takes_the_lints() {
        let silent = [file("crates/x/src/lib.rs", "pub mod y;\n"), file("crates/x/Cargo.toml", "[package]\n")];
        assert_eq!(check(&[package("x")], &[], &silent).len(), 2);
        let good =
            [file("crates/x/src/lib.rs", "//! What.\n"), file("crates/x/Cargo.toml", "[lints]\nworkspace = true\n")];
        assert_eq!(check(&[package("x")], &[], &good).len(), 0);
        let own_lints = [file("crates/x/src/lib.rs", "//! What.\n"), file("crates/x/Cargo.toml", "[lints.rust]\n")];
        assert_eq!(check(&[package(UNSAFE)], &[], &own_lints).len(), 0);
    }
}
