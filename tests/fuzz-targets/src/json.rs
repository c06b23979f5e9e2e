//! JSON → XML → JSON.

use polyvirt_core::model::{DomainConfig, FormatOptions, ParseOptions, Unknown};

use crate::domain;

/// A definition in JSON prints as XML and reads back to the same JSON.
pub(crate) fn there_and_back(data: &[u8]) {
    let Ok(config) = serde_json::from_slice::<DomainConfig>(data) else { return };
    through_xml(&config);
}

/// A value, its XML and its JSON mean the same.
pub(crate) fn through_xml(config: &DomainConfig) {
    let json = serde_json::to_string(config).expect("every definition has a JSON form");
    let back: DomainConfig = match serde_json::from_str(&json) {
        Ok(back) => back,
        Err(error) => panic!("written as JSON and refused: {error}\n{json}"),
    };
    domain::same(&back, config, "written as JSON and read back", &json);
    let xml = config.to_xml_with(FormatOptions::new().secure());
    match DomainConfig::parse(&xml, &ParseOptions::with_unknown(Unknown::Reject)) {
        Ok(parsed) => {
            let again = serde_json::to_string(&parsed.config).expect("every definition has a JSON form");
            domain::same(&parsed.config, config, "JSON, XML, JSON", &xml);
            assert_eq!(again, json, "equal values, and their JSON differs");
        }
        Err(problems) => panic!("accepted as JSON and refused as XML: {problems}\n{xml}"),
    }
}
