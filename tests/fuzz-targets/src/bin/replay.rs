//! Runs one target with files: `replay TARGET FILE…`; panics as the fuzzer saw it.

use std::{error::Error, fs, path::PathBuf};

use polyvirt_fuzz_targets::TARGETS;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let name = arguments.next().unwrap_or_default();
    let known = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    let target = TARGETS.iter().find(|target| name == target.name);
    let target = target.ok_or_else(|| format!("usage: replay TARGET FILE…, TARGET is one of {}", known()))?;
    for file in arguments.map(PathBuf::from) {
        let data = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        (target.run)(&data);
        println!("{} holds with {}", target.name, file.display());
    }
    Ok(())
}
