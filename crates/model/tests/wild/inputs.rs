//! Documents that the tests read and the project does not hold.
//!
//! `POLYVIRT_CORPUS` names a directory with `in/*.xml` somewhere below it, or an archive of one, or a directory that holds such
//! an archive; by default `../shared/corpus` beside the workspace. Inputs are all that is read.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use polyvirt_model::XmlTree;
use serde_json::Value;

/// One document.
pub(crate) struct Input {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) text: String,
    /// The directory around `in`.
    pub(crate) suite: String,
    /// Whether the suite's own list of cases wants it refused.
    pub(crate) is_wrong: bool,
}

/// Runs a test with every document; without any it says so and passes.
pub(crate) fn with_inputs(check: impl FnOnce(&[Input])) {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let root = std::env::var_os("POLYVIRT_CORPUS").map_or(default, PathBuf::from);
    if !root.exists() {
        println!("skipped: no corpus, set POLYVIRT_CORPUS to a directory with in/*.xml below it or an archive of one");
        return;
    }
    let mut found = below(&root);
    // Dropped, and removed, at the end.
    let unpacked = if found.is_empty() { archive(&root).and_then(|archive| unpack(&archive)) } else { None };
    if let Some(directory) = &unpacked {
        found = below(directory.path());
    }
    if found.is_empty() {
        println!("skipped: no in/*.xml below {}, and no archive that can be unpacked", root.display());
        return;
    }
    check(&found);
}

fn archive(root: &Path) -> Option<PathBuf> {
    let is_archive = |path: &Path| path.is_file() && path.to_string_lossy().contains(".tar");
    if is_archive(root) {
        return Some(root.to_owned());
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(root).ok()?.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found.into_iter().find(|path| is_archive(path))
}

fn unpack(archive: &Path) -> Option<tempfile::TempDir> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).ok()?;
    let status = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(directory.path()).status().ok()?;
    status.success().then_some(directory)
}

/// Every `in/*.xml` below the directory whose root is `<domain>` and that is well-formed, in a stable order.
fn below(root: &Path) -> Vec<Input> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let wrong = if directory.ends_with("in") { wrong(&directory) } else { HashSet::new() };
        let suite = directory.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            // Links are not followed: copies of sysfs beside the documents have circles of them.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            } else if directory.ends_with("in") && path.extension().is_some_and(|e| e == "xml") {
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                if XmlTree::parse(&text).is_ok_and(|tree| tree.name == "domain") {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    found.push(Input { path, text, suite: suite.clone(), is_wrong: wrong.contains(&name) });
                }
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Names of inputs that a case wants refused. Of `manifest.json` beside `in` nothing is read but each case's arguments and the
/// kind of what it expects.
fn wrong(inputs: &Path) -> HashSet<String> {
    let text = std::fs::read_to_string(inputs.with_file_name("manifest.json")).unwrap_or_default();
    let manifest: Value = serde_json::from_str(&text).unwrap_or_default();
    let cases = manifest["cases"].as_array().into_iter().flatten();
    let refusals = cases.filter(|case| case["expect"]["kind"] == "fail");
    let arguments = refusals.flat_map(|case| case["argv"].as_array().into_iter().flatten());
    arguments.filter_map(|argument| argument.as_str()?.strip_prefix("@suite:in/")).map(str::to_owned).collect()
}
