//! Who may name whom: the crate table of the architecture, as data.

use crate::{checkout::Package, tidy::Finding};

/// What a crate may name of ours. Dev-dependencies may also name [`FOR_TESTS`].
struct Row {
    package: &'static str,
    may_name: &'static [&'static str],
}

const fn row(package: &'static str, may_name: &'static [&'static str]) -> Row {
    Row { package, may_name }
}

/// The whole table. A crate that is not here is refused: it needs a row in `docs/architecture.md` too.
const TABLE: &[Row] = &[
    row("polyvirt-lease", &[]),
    row("polyvirt-numa-placement", &["polyvirt-lease"]),
    row("polyvirt-xml", &["polyvirt-xml-derive"]),
    row("polyvirt-xml-derive", &[]),
    row("polyvirt-model", &["polyvirt-xml", "polyvirt-numa-placement"]),
    row("polyvirt-core", &["polyvirt-model", "polyvirt-numa-placement"]),
    row("polyvirt-host", &["polyvirt-numa-placement"]),
    row("polyvirt-process", &[]),
    row("polyvirt-qmp", &[]),
    row("polyvirt-firmware", TOOLS),
    row("polyvirt-cpu", &["polyvirt-core", "polyvirt-process", "polyvirt-xml"]),
    row("polyvirt-images", TOOLS),
    row("polyvirt-netdev", TOOLS),
    row("polyvirt-helpers", TOOLS),
    row("polyvirt-security", &["polyvirt-core", "polyvirt-lease"]),
    row("polyvirt-engine", &["polyvirt-core", "polyvirt-host", "polyvirt-lease", "polyvirt-cpu"]),
    row("polyvirt-rpc", &["polyvirt-engine", "polyvirt-core"]),
    row(
        "polyvirt",
        &[
            "polyvirt-core",
            "polyvirt-cpu",
            "polyvirt-engine",
            "polyvirt-driver-bhyve",
            "polyvirt-driver-lxc",
            "polyvirt-driver-mock",
            "polyvirt-driver-qemu",
            "polyvirt-driver-xen",
            "polyvirt-firmware",
            "polyvirt-host",
            "polyvirt-network",
            "polyvirt-nodedev",
            "polyvirt-nwfilter",
            "polyvirt-secret",
            "polyvirt-security",
            "polyvirt-storage",
        ],
    ),
    row("polyvirt-cli", &["polyvirt", "polyvirt-rpc"]),
    row("polyvirt-daemon", &["polyvirt", "polyvirt-rpc"]),
    row("polyvirt-driver-testkit", &["polyvirt-core", "polyvirt-engine", "polyvirt-host"]),
    row("polyvirt-storage", SERVICE),
    row("polyvirt-network", SERVICE),
    row("polyvirt-nodedev", SERVICE),
    row("polyvirt-secret", SERVICE),
    row("polyvirt-nwfilter", SERVICE),
    row("polyvirt-driver-bhyve", DRIVER),
    row("polyvirt-driver-lxc", DRIVER),
    row("polyvirt-driver-mock", DRIVER),
    row("polyvirt-driver-qemu", DRIVER),
    row("polyvirt-driver-xen", DRIVER),
    row("polyvirt-fuzz-targets", &["polyvirt-core", "polyvirt-xml"]),
    // The first thing a newcomer builds.
    row("xtask", &[]),
];

const TOOLS: &[&str] = &["polyvirt-core", "polyvirt-process"];
const SERVICE: &[&str] = &["polyvirt-core", "polyvirt-host", "polyvirt-process", "polyvirt-lease"];
const DRIVER: &[&str] = &[
    "polyvirt-core",
    "polyvirt-lease",
    "polyvirt-host",
    "polyvirt-process",
    "polyvirt-qmp",
    "polyvirt-firmware",
    "polyvirt-cpu",
    "polyvirt-images",
    "polyvirt-netdev",
    "polyvirt-helpers",
];

/// core re-exports these, so who may name core may name them.
const RE_EXPORTED_BY_CORE: &[&str] = &["polyvirt-model", "polyvirt-numa-placement"];

/// May name everything: nothing depends on it.
const TESTS: &str = "polyvirt-tests";

/// What everybody's dev-dependencies may name.
const FOR_TESTS: &[&str] = &["polyvirt-driver-testkit", TESTS, "polyvirt-xml-derive"];

/// Packages of others that only some of ours may name, and why.
const RESERVED: &[(&str, &[&str], &str)] = &[
    // The benchmark measures us by it.
    ("quick-xml", &["polyvirt-xml", TESTS], "polyvirt-xml is its only user, so that the parser can be replaced"),
    ("syn", &["polyvirt-xml-derive"], "macros stay in one crate"),
    ("quote", &["polyvirt-xml-derive"], "macros stay in one crate"),
    ("clap", LEAVES, "libraries parse no command lines"),
    ("clap_complete", LEAVES, "libraries parse no command lines"),
    ("comfy-table", LEAVES, "libraries print nothing"),
    ("indicatif", LEAVES, "libraries print nothing"),
    ("tracing-subscriber", LEAVES, "libraries emit; programs choose where it goes"),
    ("proptest", FOR_TESTS, "it belongs in [dev-dependencies]"),
    ("criterion", FOR_TESTS, "it belongs in [dev-dependencies]"),
];

const LEAVES: &[&str] = &["polyvirt-cli", "polyvirt-daemon", "xtask", TESTS];

/// Checks every dependency of every member.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(|package| check_package(package, packages)).collect()
}

fn check_package(package: &Package, all: &[Package]) -> Vec<Finding> {
    let reserved = package.dependencies.iter().filter(|d| !d.is_dev).filter_map(|d| refuse_reserved(package, &d.name));
    if package.name == TESTS {
        return reserved.collect();
    }
    let Some(row) = TABLE.iter().find(|row| row.package == package.name) else {
        return vec![Finding::error(
            package.dir.display().to_string(),
            format!("the crate {} has no row in the table of arrows", package.name),
            "add one to xtask/src/tidy/arrows.rs and to docs/architecture.md, in a commit of its own",
        )];
    };
    let ours = package.dependencies.iter().filter(|d| all.iter().any(|p| p.name == d.name));
    let arrows = ours.filter(|d| !may_name(row, &d.name, d.is_dev)).map(|d| {
        Finding::error(
            package.dir.join("Cargo.toml").display().to_string(),
            format!("{} may not name {}{}", package.name, d.name, if d.is_dev { " in its tests" } else { "" }),
            "move the concept to a crate that both may name; a new arrow is a commit of its own that changes docs/architecture.md",
        )
    });
    reserved.chain(arrows).collect()
}

fn may_name(row: &Row, name: &str, is_dev: bool) -> bool {
    row.may_name.contains(&name)
        || row.may_name.contains(&"polyvirt-core") && RE_EXPORTED_BY_CORE.contains(&name)
        || is_dev && FOR_TESTS.contains(&name)
}

fn refuse_reserved(package: &Package, name: &str) -> Option<Finding> {
    let (_, users, why) =
        RESERVED.iter().find(|(reserved, users, _)| *reserved == name && !users.contains(&package.name.as_str()))?;
    let place = package.dir.join("Cargo.toml").display().to_string();
    Some(Finding::error(
        place,
        format!("{} may not name {name}: {why}", package.name),
        format!("it is for {}", users.join(", ")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkout::Dependency;

    fn package(name: &str, dependencies: &[(&str, bool)]) -> Package {
        let dependencies =
            dependencies.iter().map(|(n, is_dev)| Dependency { name: (*n).to_owned(), is_dev: *is_dev }).collect();
        Package { name: name.to_owned(), dir: name.into(), dependencies, targets: Vec::new() }
    }

    fn findings(name: &str, dependency: &str, is_dev: bool) -> usize {
        let mut packages = vec![package(name, &[(dependency, is_dev)])];
        if dependency.starts_with("polyvirt") {
            packages.push(package(dependency, &[]));
        }
        check(&packages).iter().filter(|f| f.what.starts_with(name)).count()
    }

    #[test]
    fn the_engine_names_no_driver_and_drivers_neither_the_engine_nor_each_other() {
        assert_eq!(findings("polyvirt-engine", "polyvirt-driver-qemu", false), 1);
        assert_eq!(findings("polyvirt-engine", "polyvirt-driver-mock", true), 1);
        assert_eq!(findings("polyvirt-driver-qemu", "polyvirt-engine", false), 1);
        assert_eq!(findings("polyvirt-driver-qemu", "polyvirt-driver-mock", false), 1);
        assert_eq!(findings("polyvirt-driver-qemu", "polyvirt-rpc", false), 1);
    }

    #[test]
    fn arrows_of_the_table_and_what_core_re_exports_are_fine() {
        assert_eq!(findings("polyvirt-driver-qemu", "polyvirt-core", false), 0);
        assert_eq!(findings("polyvirt-driver-qemu", "polyvirt-model", false), 0);
        assert_eq!(findings("polyvirt-driver-mock", "polyvirt-driver-testkit", true), 0);
        assert_eq!(findings("polyvirt-driver-mock", "polyvirt-driver-testkit", false), 1);
        assert_eq!(findings("polyvirt-tests", "polyvirt-engine", false), 0);
    }

    #[test]
    fn packages_of_others_are_kept_where_they_belong() {
        assert_eq!(findings("polyvirt-model", "quick-xml", false), 1);
        assert_eq!(findings("polyvirt-xml", "quick-xml", false), 0);
        assert_eq!(findings("polyvirt-core", "proptest", false), 1);
        assert_eq!(findings("polyvirt-engine", "clap", false), 1);
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        let found = check(&[package("polyvirt-new", &[])]);
        assert!(found.len() == 1 && found[0].what.contains("polyvirt-new"), "{found:?}");
    }
}
