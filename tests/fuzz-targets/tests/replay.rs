//! Every committed seed and every input that once failed, on the compiler at hand.

use std::path::{Path, PathBuf};

use polyvirt_fuzz_targets::TARGETS;

fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(kind).join(target);
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn replay(kind: &str) -> usize {
    let mut count = 0;
    for target in TARGETS {
        for path in inputs(kind, target.name) {
            // Shown only if the target panics.
            println!("{} with {}", target.name, path.display());
            (target.run)(&std::fs::read(&path).expect("a readable input"));
            count += 1;
        }
    }
    count
}

#[test]
fn seeds() {
    for target in TARGETS {
        assert!(!inputs("seeds", target.name).is_empty(), "{} has no seeds", target.name);
    }
    assert!(replay("seeds") > 0);
}

#[test]
fn regressions() {
    replay("regressions");
}
