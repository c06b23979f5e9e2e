//! Domain XML as it is written in the wild: nothing panics, parse → format → parse is a fixed point in XML, JSON and TOML.
//!
//! The inputs are not part of the project, see [`super::inputs`].

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use super::inputs::{Input, with_inputs};

use polyvirt_model::{
    DomainConfig, FormatOptions, Guest, ParseOptions, Unknown, XmlTree, complete, complete_and_check,
};

/// What became of the documents of one suite.
#[derive(Default)]
struct Tally {
    documents: usize,
    accepted: usize,
    echoed: usize,
    /// Refused, and wanted so.
    wrong: usize,
}

#[test]
fn every_document_is_a_fixed_point() {
    with_inputs(|inputs| {
        let strict = ParseOptions::with_unknown(Unknown::Reject);
        let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
        let mut refused: Vec<String> = Vec::new();
        for Input { path, text, suite, is_wrong } in inputs {
            let tally = tallies.entry(suite).or_default();
            tally.documents += 1;
            let parsed = match DomainConfig::parse(text, &strict) {
                Ok(parsed) => parsed,
                Err(problems) if *is_wrong => {
                    println!("refused {}: {}", path.display(), problems.errors().next().unwrap());
                    tally.wrong += 1;
                    continue;
                }
                Err(problems) => {
                    refused.extend(problems.errors().map(|problem| format!("{}: {problem}", path.display())));
                    continue;
                }
            };
            tally.accepted += 1;
            let once = fixed_point(path, &parsed.config);
            let echoed = canonical(&XmlTree::parse(text).unwrap()) == canonical(&XmlTree::parse(&once).unwrap());
            tally.echoed += usize::from(echoed);
            if !echoed && std::env::var_os("POLYVIRT_VERBOSE").is_some() {
                println!("differs {}", path.display());
            }
            completed(path, text);
        }
        for (suite, Tally { documents, accepted, echoed, wrong }) in &tallies {
            println!(
                "{suite}: {accepted} of {documents} accepted, {wrong} refused as wanted, {echoed} printed as they were"
            );
        }
        assert!(refused.is_empty(), "{} problems\n{}", refused.len(), refused.join("\n"));
    });
}

/// XML, JSON and TOML read back to an equal value, and the XML to the same text, which is returned.
fn fixed_point(path: &Path, config: &DomainConfig) -> String {
    let secure = FormatOptions::new().secure();
    let once = config.to_xml_with(secure);
    let again = DomainConfig::parse(&once, &ParseOptions::with_unknown(Unknown::Reject))
        .unwrap_or_else(|e| panic!("{}: {e}\n{once}", path.display()));
    assert_eq!(again.config, *config, "{}", path.display());
    assert_eq!(again.config.to_xml_with(secure), once, "{}", path.display());
    let json = serde_json::to_string(config).unwrap();
    let back: DomainConfig = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{}: {e}\n{json}", path.display()));
    assert_eq!(back, *config, "{}", path.display());
    let toml = toml::to_string(config).unwrap();
    let back: DomainConfig = toml::from_str(&toml).unwrap_or_else(|e| panic!("{}: {e}\n{toml}", path.display()));
    assert_eq!(back, *config, "{}", path.display());
    once
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
        let bytes: usize = inputs.iter().map(|input| input.text.len()).sum();
        let start = Instant::now();
        let parsed: Vec<_> =
            inputs.iter().filter_map(|input| DomainConfig::parse(&input.text, &options).ok()).collect();
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
