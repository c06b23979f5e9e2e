//! Each dependency is chosen once, in the root manifest, and explained once, in `docs/dependencies.md`.

use std::{collections::BTreeSet, fs};

use toml::{Table, Value};

use crate::{
    checkout::{Checkout, Package},
    tidy::Finding,
};

const DOCUMENT: &str = "docs/dependencies.md";

/// Checks the root manifest against the members and the document.
pub(super) fn check(checkout: &Checkout) -> Result<Vec<Finding>, String> {
    let path = checkout.root.join("Cargo.toml");
    let manifest = fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let manifest: Table = manifest.parse().map_err(|e| format!("{}: {e}", path.display()))?;
    let workspace = manifest.get("workspace").and_then(Value::as_table);
    let table = workspace
        .and_then(|w| w.get("dependencies"))
        .and_then(Value::as_table)
        .ok_or("Cargo.toml has no [workspace.dependencies]")?;
    let external: BTreeSet<&str> =
        table.iter().filter(|(_, v)| v.get("path").is_none()).map(|(k, _)| k.as_str()).collect();
    let all: BTreeSet<&str> = table.keys().map(String::as_str).collect();
    let document = fs::read_to_string(checkout.root.join(DOCUMENT)).unwrap_or_default();
    let mut findings = explained(&external, &document);
    findings.extend(chosen_once(&all, &checkout.packages));
    if workspace.and_then(|w| w.get("lints")?.get("rust")?.get("unsafe_code")?.as_str()) != Some("forbid") {
        findings.push(Finding::error(
            "Cargo.toml",
            "[workspace.lints.rust] does not forbid unsafe_code",
            "set unsafe_code = \"forbid\"",
        ));
    }
    Ok(findings)
}

/// Every dependency has a row, every row a dependency.
fn explained(external: &BTreeSet<&str>, document: &str) -> Vec<Finding> {
    let rows: BTreeSet<&str> =
        document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let missing = external.difference(&rows).map(|name| {
        let remedy = "add a row `| `name` | why | alternatives | cost | who maintains it | way out |`";
        Finding::error(DOCUMENT, format!("has no row for {name}"), remedy)
    });
    let stale = rows.difference(external).map(|name| {
        Finding::error(
            DOCUMENT,
            format!("explains {name}, which [workspace.dependencies] does not have"),
            "remove the row",
        )
    });
    missing.chain(stale).collect()
}

/// Members take versions from the root.
fn chosen_once(all: &BTreeSet<&str>, packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        for dependency in package.dependencies.iter().filter(|d| !all.contains(d.name.as_str())) {
            findings.push(Finding::error(
                package.dir.join("Cargo.toml").display().to_string(),
                format!("names {}, which [workspace.dependencies] does not have", dependency.name),
                format!(
                    "add it to the root Cargo.toml and to {DOCUMENT}, and write `{}.workspace = true` here",
                    dependency.name
                ),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_row_and_a_row_without_one_are_found() {
        let document = "| name | why |\n|---|---|\n| `serde` | … |\n| `gone` | … |\n";
        let found = explained(&BTreeSet::from(["serde", "tokio"]), document);
        let what: Vec<_> = found.iter().map(|f| f.what.as_str()).collect();
        assert_eq!(what.len(), 2, "{what:?}");
        assert!(what[0].contains("tokio") && what[1].contains("gone"), "{what:?}");
    }
}
