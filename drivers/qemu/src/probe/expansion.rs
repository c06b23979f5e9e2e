//! What a CPU model consists of (`query-cpu-model-expansion`), in the order in which QEMU told it.
//!
//! The order means nothing, but it is what users of other tools see, and it does not change between two answers.

use std::{collections::BTreeMap, fmt};

use polyvirt_cpu::{Replies, Signature};
use polyvirt_qmp::CpuDefinition;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

/// The command.
pub(crate) const COMMAND: &str = "query-cpu-model-expansion";

/// A CPU model, expanded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expansion {
    /// The model that the rest is told against.
    pub(crate) model: String,
    /// Properties and their values.
    pub(crate) properties: Vec<(String, Value)>,
}

impl Expansion {
    /// An answer, its properties in this order; those that it does not name come last, by name. `None` for what is no such
    /// answer.
    pub(crate) fn read(answer: &Value, order: &[String]) -> Option<Self> {
        let model = &answer["model"];
        let mut left: BTreeMap<&String, &Value> = match model.get("props") {
            Some(props) => props.as_object()?.iter().collect(),
            None => BTreeMap::new(),
        };
        let ordered: Vec<_> = order.iter().filter_map(|it| left.remove_entry(it)).collect();
        let all = ordered.into_iter().chain(left);
        let properties = all.map(|(name, value)| (name.clone(), value.clone())).collect();
        Some(Self { model: model["name"].as_str()?.to_owned(), properties })
    }
}

impl Expansion {
    /// The processor that it describes, for whoever looks for the nearest of these models.
    pub(crate) fn processor(&self, models: &[CpuDefinition]) -> Replies {
        let value = |name: &str| self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let number = |name| u32::try_from(value(name)?.as_u64()?).ok();
        let signature =
            || Some(Signature { family: number("family")?, model: number("model")?, stepping: number("stepping")? });
        let on = self.properties.iter().filter(|(_, value)| value.as_bool() == Some(true));
        let lacking = |cpu: &CpuDefinition| cpu.unavailable_features.clone().unwrap_or_default();
        Replies {
            enabled: on.map(|(name, _)| name.clone()).collect(),
            vendor: value("vendor").and_then(Value::as_str).map(str::to_owned),
            signature: signature(),
            expanded: true,
            models: Some(models.iter().map(|it| (it.name.clone(), lacking(it))).collect()),
        }
    }
}

/// Names of properties in a written reply, in its order; empty for what is no such reply.
pub(crate) fn order(reply: &str) -> Vec<String> {
    serde_json::from_str::<Reply>(reply).map(|it| it.answer.model.props.0).unwrap_or_default()
}

#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "return")]
    answer: Answer,
}

#[derive(Deserialize)]
struct Answer {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    props: Names,
}

#[derive(Default)]
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Names;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("properties")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        from.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_reply() {
        let reply = r#"{"id": 1, "return": {"deprecated-props": ["b"], "model": {"name": "gen15a-base", "props": {"z": true, "b": false, "m": 1}}}}"#;
        let order = order(reply);
        assert_eq!(order, ["z", "b", "m"]);
        let answer = serde_json::from_str::<Value>(reply).unwrap()["return"].take();
        let names = |order: &[String]| {
            let read = Expansion::read(&answer, order).unwrap();
            read.properties.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&order), ["z", "b", "m"]);
        assert_eq!(names(&["m".into(), "gone".into()]), ["m", "b", "z"]);
        assert_eq!(names(&[]), ["b", "m", "z"]);
    }

    #[test]
    fn what_is_no_expansion_is_refused() {
        assert!(order("{\"return\": 5}").is_empty() && order("").is_empty());
        for answer in [serde_json::json!({}), serde_json::json!({"model": {"name": "a", "props": [1]}})] {
            assert!(Expansion::read(&answer, &[]).is_none(), "{answer}");
        }
    }
}
