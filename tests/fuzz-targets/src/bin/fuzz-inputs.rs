//! Prepares a run of the fuzzers: `fuzz-inputs OUT [DIRECTORY…]`.
//!
//! Writes `OUT/domain.dict`, and below `OUT/inputs` what the directories hold of domain XML (`in/*.xml`), as XML and as JSON.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use polyvirt_core::model::{DomainConfig, ParseOptions};

/// Longer inputs are cut by the fuzzer, and say nothing then.
const MAX_LEN: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let out = arguments.next().ok_or("usage: fuzz-inputs OUT [DIRECTORY…]")?;
    let (xml, json) = (out.join("inputs/xml"), out.join("inputs/json"));
    fs::create_dir_all(&xml)?;
    fs::create_dir_all(&json)?;
    fs::write(out.join("domain.dict"), polyvirt_fuzz_targets::vocabulary::dictionary())?;
    let mut count = 0_usize;
    for directory in arguments {
        for text in documents(&directory) {
            let Ok(parsed) = DomainConfig::parse(&text, &ParseOptions::default()) else { continue };
            fs::write(xml.join(count.to_string()), &text)?;
            fs::write(json.join(count.to_string()), serde_json::to_string(&parsed.config)?)?;
            count += 1;
        }
    }
    println!("{count} inputs");
    Ok(())
}

fn documents(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for path in fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                open.push(path);
            } else if directory.ends_with("in") && path.extension().is_some_and(|it| it == "xml") {
                found.extend(fs::read_to_string(&path).ok().filter(|text| text.len() <= MAX_LEN));
            }
        }
    }
    found
}
