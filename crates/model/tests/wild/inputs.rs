//! Documents that the tests read and the project does not hold.
//!
//! `POLYVIRT_CORPUS` names a directory with `in/*.xml` somewhere below it, or an archive of one, or a directory that holds such
//! an archive; by default `../shared/corpus` beside the workspace. Inputs are all that is read.

use std::path::{Path, PathBuf};
use std::process::Command;

use polyvirt_model::XmlTree;

/// Runs a test with every document; without any it says so and passes.
pub(crate) fn with_inputs(check: impl FnOnce(&[(PathBuf, String)])) {
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
fn below(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if directory.ends_with("in") && path.extension().is_some_and(|e| e == "xml") {
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                if XmlTree::parse(&text).is_ok_and(|tree| tree.name == "domain") {
                    found.push((path, text));
                }
            }
        }
    }
    found.sort();
    found
}
