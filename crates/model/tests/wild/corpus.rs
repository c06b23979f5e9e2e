//! Domain XML as it is written in the wild: nothing panics, parse → format → parse is a fixed point in XML, JSON and TOML.
//!
//! The inputs are not part of the project, see [`inputs`].

#![expect(clippy::unwrap_used, reason = "a test: every failure is a panic with its cause")]

mod inputs;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use inputs::with_inputs;

use polyvirt_model::{
    DomainConfig, FormatOptions, Guest, ParseOptions, Unknown, XmlTree, complete, complete_and_check,
};

#[test]
fn every_document_is_a_fixed_point() {
    with_inputs(|inputs| {
        let options = ParseOptions::default();
        let secure = FormatOptions::new().secure();
        let mut refused: BTreeMap<String, usize> = BTreeMap::new();
        let mut unknown: BTreeMap<String, usize> = BTreeMap::new();
        let (mut accepted, mut complete, mut same) = (0, 0, 0);
        for (path, text) in inputs {
            let parsed = match DomainConfig::parse(text, &options) {
                Ok(parsed) => parsed,
                Err(problems) => {
                    if std::env::var_os("POLYVIRT_VERBOSE").is_some() {
                        println!("refused {}: {}", path.display(), problems.errors().next().unwrap());
                    }
                    let first = problems.errors().next().unwrap();
                    *refused.entry(format!("{}: {}", first.path, first.message)).or_default() += 1;
                    continue;
                }
            };
            accepted += 1;
            complete += usize::from(parsed.warnings.is_empty());
            for warning in &parsed.warnings {
                *unknown.entry(without_indices(&warning.path)).or_default() += 1;
            }
            let once = parsed.config.to_xml_with(secure);
            let again =
                DomainConfig::parse(&once, &options).unwrap_or_else(|e| panic!("{}: {e}\n{once}", path.display()));
            assert_eq!(again.config, parsed.config, "{}", path.display());
            assert!(again.warnings.is_empty(), "{}: {}", path.display(), again.warnings);
            assert_eq!(again.config.to_xml_with(secure), once, "{}", path.display());
            let strict = DomainConfig::parse(&once, &ParseOptions::with_unknown(Unknown::Reject));
            assert!(strict.is_ok(), "{}", path.display());
            let echoed = canonical(&XmlTree::parse(text).unwrap()) == canonical(&XmlTree::parse(&once).unwrap());
            same += usize::from(echoed);
            if !echoed && parsed.warnings.is_empty() && std::env::var_os("POLYVIRT_VERBOSE").is_some() {
                println!("differs {}", path.display());
            }
            completed(path, text);
            let json = serde_json::to_string(&parsed.config).unwrap();
            let back: DomainConfig =
                serde_json::from_str(&json).unwrap_or_else(|e| panic!("{}: {e}\n{json}", path.display()));
            assert_eq!(back, parsed.config, "{}", path.display());
            let toml = toml::to_string(&parsed.config).unwrap();
            let back: DomainConfig =
                toml::from_str(&toml).unwrap_or_else(|e| panic!("{}: {e}\n{toml}", path.display()));
            assert_eq!(back, parsed.config, "{}", path.display());
        }
        println!(
            "{} documents: {accepted} accepted, {complete} without anything unknown, {same} printed as they were",
            inputs.len()
        );
        for (what, count) in refused {
            println!("refused {count:5} {what}");
        }
        for (what, count) in unknown {
            println!("unknown {count:5} {what}");
        }
        assert!(accepted * 100 > inputs.len() * 95, "{accepted} of {} are accepted", inputs.len());
    });
}

/// Completion changes nothing the second time, and its result passes through XML unchanged.
fn completed(path: &Path, text: &str) {
    let mut parsed = DomainConfig::parse(text, &ParseOptions::default()).unwrap();
    if complete_and_check(&mut parsed.config, Guest::Existing, &parsed.positions).is_err() {
        return;
    }
    let once = parsed.config.clone();
    // A refusal here is a rule that completion satisfies and then breaks: name the document.
    complete(&mut parsed.config, Guest::Existing, &parsed.positions)
        .unwrap_or_else(|e| panic!("{}, completed twice: {e}", path.display()));
    assert_eq!(parsed.config, once, "{}", path.display());
    let xml = once.to_xml_with(FormatOptions::new().secure());
    let mut again = DomainConfig::parse(&xml, &ParseOptions::default()).unwrap();
    assert_eq!(again.config, once, "{}", path.display());
    complete_and_check(&mut again.config, Guest::Existing, &again.positions)
        .unwrap_or_else(|e| panic!("{}, completed and printed: {e}\n{xml}", path.display()));
    assert_eq!(again.config, once, "{}", path.display());
    once.placement_request().unwrap();
}

fn without_indices(path: &str) -> String {
    path.split('/').map(|step| step.split('[').next().unwrap_or(step)).collect::<Vec<_>>().join("/")
}

/// The tree with attributes sorted and text trimmed.
fn canonical(tree: &XmlTree) -> XmlTree {
    let mut tree = tree.clone();
    tree.attributes.sort();
    tree.declarations.clear();
    tree.text = tree.text.trim().to_owned();
    tree.children = tree.children.iter().map(canonical).collect();
    tree
}

/// Prints a rate; never judges it.
#[test]
fn rate() {
    with_inputs(|inputs| {
        let options = ParseOptions::default();
        let bytes: usize = inputs.iter().map(|(_, text)| text.len()).sum();
        let start = Instant::now();
        let parsed: Vec<_> = inputs.iter().filter_map(|(_, text)| DomainConfig::parse(text, &options).ok()).collect();
        let parse = start.elapsed();
        let start = Instant::now();
        let printed: usize = parsed.iter().map(|parsed| parsed.config.to_xml().len()).sum();
        let format = start.elapsed();
        let per = |d: std::time::Duration| d.as_secs_f64() * 1e6 / inputs.len() as f64;
        println!(
            "{} documents of {} bytes: parse {:.1} µs, format {:.1} µs each ({printed} bytes printed)",
            inputs.len(),
            bytes / inputs.len(),
            per(parse),
            per(format)
        );
    });
}
