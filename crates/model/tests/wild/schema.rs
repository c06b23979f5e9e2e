//! The JSON Schema: documents of the wild are valid in their JSON form, and misspelt words are not.

use super::inputs::{Input, with_inputs};
use jsonschema::Validator;
use polyvirt_model::{DomainConfig, ParseOptions};
use serde_json::{Value, json};

/// A debug build reads every so-many-th document for the mutants: all of them would take minutes.
const STRIDE: usize = if cfg!(debug_assertions) { 4 } else { 1 };

fn validator() -> Validator {
    jsonschema::validator_for(&serde_json::to_value(DomainConfig::json_schema()).unwrap()).unwrap()
}

#[test]
fn values_are_typed() {
    let validator = validator();
    let guest = json!({ "kind": "kvm", "name": "a", "memory": { "size": 1024 } });
    assert!(
        validator.is_valid(&guest),
        "{:?}",
        validator.iter_errors(&guest).map(|e| e.to_string()).collect::<Vec<_>>()
    );
    for (pointer, wrong) in [
        ("/kind", json!("kvn")),
        ("/memory/size", json!("1 GiB")),
        ("/memory/size", json!(-1)),
        ("/name", json!(7)),
        ("/memory", json!({ "size": 1, "sise": 1 })),
        ("/memory", json!({})),
    ] {
        let mut guest = guest.clone();
        *guest.pointer_mut(pointer).unwrap() = wrong;
        assert!(!validator.is_valid(&guest), "{guest}");
    }
}

#[test]
fn documents_of_the_wild_are_valid() {
    with_inputs(|inputs| {
        let validator = validator();
        let mut count = 0;
        for Input { path, text, .. } in inputs {
            let Ok(parsed) = DomainConfig::parse(text, &ParseOptions::default()) else { continue };
            let json = serde_json::to_value(&parsed.config).unwrap();
            if let Some(error) = validator.iter_errors(&json).next() {
                panic!("{}: {}: {error}", path.display(), error.instance_path());
            }
            count += 1;
        }
        println!("{count} documents are valid");
    });
}

/// Every text that one of the schema's lists of words is about.
fn words(schema: &Value, at: &Value, value: &Value, pointer: &str, out: &mut Vec<String>) {
    let at = match at.get("$ref").and_then(Value::as_str) {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => at,
    };
    if let Value::Array(list) = value {
        for (index, item) in list.iter().enumerate() {
            words(schema, &at["items"], item, &format!("{pointer}/{index}"), out);
        }
    }
    if value.is_string() && (at.get("enum").is_some() || at.get("const").is_some()) {
        out.push(pointer.to_owned());
    }
    let Value::Object(map) = value else { return };
    let fits = |variant: &&Value| {
        let mut chosen = variant["properties"].as_object().unwrap().iter().filter(|(_, it)| it.get("const").is_some());
        chosen.all(|(name, it)| map.get(name).is_none_or(|word| *word == it["const"]))
            && map.keys().all(|key| variant["properties"].get(key).is_some())
    };
    let variant = at.get("oneOf").map_or(Some(at), |variants| variants.as_array().unwrap().iter().find(fits));
    for (key, inner) in map {
        if let Some(property) = variant.and_then(|variant| variant["properties"].get(key)) {
            words(schema, property, inner, &format!("{pointer}/{key}"), out);
        }
    }
}

#[test]
fn no_misspelt_word_is_valid() {
    with_inputs(|inputs| {
        let (validator, schema) = (validator(), serde_json::to_value(DomainConfig::json_schema()).unwrap());
        let mut count = 0;
        for Input { path, text, .. } in inputs.iter().step_by(STRIDE) {
            let Ok(parsed) = DomainConfig::parse(text, &ParseOptions::default()) else { continue };
            let json = serde_json::to_value(&parsed.config).unwrap();
            let mut found = Vec::new();
            words(&schema, &schema, &json, "", &mut found);
            assert!(!found.is_empty(), "{}: no words", path.display());
            for pointer in found {
                let mut wrong = json.clone();
                let word = wrong.pointer_mut(&pointer).unwrap();
                *word = json!(format!("{}z", word.as_str().unwrap()));
                assert!(!validator.is_valid(&wrong), "{}: {pointer}", path.display());
                count += 1;
            }
        }
        println!("{count} misspelt words are refused");
    });
}
