//! The checkout we work on: its directories, files and packages, as Cargo and git tell them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The checkout.
pub(crate) struct Checkout {
    /// The directory of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where Cargo builds.
    pub(crate) target: PathBuf,
    /// The members of the workspace.
    pub(crate) packages: Vec<Package>,
}

/// A member of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Relative to the root.
    pub(crate) dir: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// A line of a `[dependencies]` table.
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) is_dev: bool,
}

/// A library or program that a package builds.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kinds: Vec<String>,
    /// Features it is not built without.
    pub(crate) features: Vec<String>,
    /// Relative to the root.
    pub(crate) source: PathBuf,
}

impl Checkout {
    /// Asks Cargo for the workspace this program belongs to.
    pub(crate) fn find() -> Result<Self, String> {
        // The variable Cargo sets at run time, so that a target directory shared by two checkouts does no harm.
        let manifest_dir =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest_dir.parent().ok_or("xtask has no parent directory")?.to_path_buf();
        let output = Self::cargo_in(&root)
            .args(["metadata", "--format-version=1", "--no-deps"])
            .output()
            .map_err(|e| format!("cargo metadata does not start: {e}"))?;
        if !output.status.success() {
            return Err(format!("cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
        let packages = array(&metadata, "packages").iter().map(|p| package(p, &root)).collect();
        Ok(Self { target: PathBuf::from(text(&metadata, "target_directory")), packages, root })
    }

    /// Cargo, run in the root.
    pub(crate) fn cargo(&self) -> Command {
        Self::cargo_in(&self.root)
    }

    fn cargo_in(root: &Path) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(root);
        command
    }

    /// Every file that is or may be committed, relative to the root.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>, String> {
        let output = Command::new("git")
            .current_dir(&self.root)
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output()
            .map_err(|e| format!("git does not start: {e}; install git"))?;
        if !output.status.success() {
            return Err(format!(
                "git ls-files failed, is this a git checkout?\n{}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        let mut files: Vec<PathBuf> = String::from_utf8_lossy(&output.stdout)
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            // A file that was deleted but not yet committed is still listed.
            .filter(|name| self.root.join(name).is_file())
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// A directory that a variable names, else one beside the checkout; `None` when it is not there.
    pub(crate) fn beside(&self, variable: &str, default: &str) -> Result<PathBuf, String> {
        let (path, named) = match env::var_os(variable) {
            Some(path) => (PathBuf::from(path), true),
            None => (self.root.join("..").join(default), false),
        };
        if path.is_dir() {
            return Ok(path);
        }
        let path = path.display();
        Err(if named {
            format!("{variable} names {path}, which is no directory")
        } else {
            format!("no {path}; {variable} may name another place")
        })
    }

    /// The package that builds a program of this name.
    pub(crate) fn program(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|p| p.targets.iter().any(|t| t.name == name && t.kinds.iter().any(|k| k == "bin")))
    }
}

fn package(value: &Value, root: &Path) -> Package {
    let below = |path: &str| Path::new(path).strip_prefix(root).unwrap_or(Path::new(path)).to_path_buf();
    let dependency = |d: &Value| Dependency {
        name: text(d, "name").to_owned(),
        is_dev: d.get("kind").and_then(Value::as_str) == Some("dev"),
    };
    let target = |t: &Value| Target {
        name: text(t, "name").to_owned(),
        kinds: array(t, "kind").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        features: array(t, "required-features").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        source: below(text(t, "src_path")),
    };
    Package {
        name: text(value, "name").to_owned(),
        dir: below(text(value, "manifest_path")).parent().map(Path::to_path_buf).unwrap_or_default(),
        dependencies: array(value, "dependencies").iter().map(dependency).collect(),
        targets: array(value, "targets").iter().map(target).collect(),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
