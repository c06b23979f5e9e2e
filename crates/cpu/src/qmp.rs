//! What QEMU says of CPUs, from recorded replies: `query-cpu-model-expansion` and `query-cpu-definitions`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{CpuError, Signature};

/// Most documents of a recording that are looked at.
const MAX_DOCUMENTS: usize = 10_000;

/// The CPU that QEMU can give a guest on its host, and the models it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replies {
    /// The properties of the expanded model that are on.
    pub enabled: Vec<String>,
    /// The vendor's string of CPUID leaf 0.
    pub vendor: Option<String>,
    /// Family, model and stepping.
    pub signature: Option<Signature>,
    /// Whether a model was expanded.
    pub expanded: bool,
    /// The models, with the features each lacks here; none if QEMU was not asked for them.
    pub models: Option<Usable>,
}

/// Models that can be taken, with the features of each that the host lacks. An empty list: it can be used.
pub type Usable = BTreeMap<String, Vec<String>>;

impl Replies {
    /// Reads JSON documents that follow each other; those that answer other questions are passed over. Of several answers to
    /// one question the first counts: it is that of the accelerator that was tried first.
    ///
    /// # Errors
    /// [`CpuError::Replies`] if it is no JSON, or answers neither question.
    pub fn read(text: &str) -> Result<Self, CpuError> {
        let mut replies = Self::default();
        for (count, document) in serde_json::Deserializer::from_str(text).into_iter::<Value>().enumerate() {
            if count == MAX_DOCUMENTS {
                return Err(CpuError::Replies(format!("more than {MAX_DOCUMENTS} documents are no recording")));
            }
            let document = document.map_err(|e| CpuError::Replies(format!("the replies of QEMU are no JSON: {e}")))?;
            match &document["return"] {
                Value::Object(answer) => replies.read_expansion(answer.get("model")),
                Value::Array(answer) => replies.read_definitions(answer),
                _ => {}
            }
        }
        if !replies.expanded && replies.models.is_none() {
            let wanted = "query-cpu-model-expansion and query-cpu-definitions";
            return Err(CpuError::Replies(format!("there is no reply of QEMU to {wanted}")));
        }
        Ok(replies)
    }

    fn read_expansion(&mut self, model: Option<&Value>) {
        let Some(Value::Object(properties)) = model.and_then(|model| model.get("props")).filter(|_| !self.expanded)
        else {
            return;
        };
        self.expanded = true;
        let on = properties.iter().filter(|(_, value)| **value == Value::Bool(true));
        self.enabled = on.map(|(name, _)| name.clone()).collect();
        self.vendor = properties.get("vendor").and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| u32::try_from(properties.get(key)?.as_u64()?).ok();
        self.signature =
            (|| Some(Signature { family: number("family")?, model: number("model")?, stepping: number("stepping")? }))(
            );
    }

    fn read_definitions(&mut self, models: &[Value]) {
        // Other lists have no `typename`.
        let is_definition = |model: &Value| model["name"].is_string() && model["typename"].is_string();
        if self.models.is_some() || !models.iter().all(is_definition) || models.is_empty() {
            return;
        }
        let lacks = |model: &Value| {
            let of = model["unavailable-features"].as_array().into_iter().flatten();
            of.filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let named = models.iter().filter_map(|model| Some((model["name"].as_str()?.to_owned(), lacks(model))));
        self.models = Some(named.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::Replies;

    const EXPANSION: &str = r#"{"return": {"model": {"name": "base", "props": {"sse": true, "avx": false, "family": 6, "model": 42,
        "stepping": 7, "vendor": "GenuineIntel"}}}, "id": "libvirt-2"}"#;
    const DEFINITIONS: &str =
        r#"{"return": [{"name": "qemu64", "typename": "qemu64-x86_64-cpu", "unavailable-features": ["svm"]}]}"#;

    #[test]
    fn both_answers_are_found_among_others() {
        let text = format!(
            r#"{{"execute": "x"}} {{"return": {{}}}} {EXPANSION} {{"return": [{{"name": "a"}}]}} {DEFINITIONS}"#
        );
        let replies = Replies::read(&text).unwrap();
        assert_eq!((replies.enabled, replies.vendor.as_deref()), (vec!["sse".to_owned()], Some("GenuineIntel")));
        assert_eq!(replies.signature.map(|s| (s.family, s.model, s.stepping)), Some((6, 42, 7)));
        assert_eq!(replies.models.unwrap()["qemu64"], ["svm"]);
    }

    #[test]
    fn each_answer_may_be_missing_and_not_both() {
        assert_eq!(Replies::read(EXPANSION).unwrap().models, None);
        assert!(!Replies::read(DEFINITIONS).unwrap().expanded);
        for wrong in ["", "{}", r#"{"return": []}"#, r#"{"return": {"model": {"props": 3}}}"#] {
            assert!(Replies::read(wrong).unwrap_err().to_string().contains("query-cpu-model-expansion"), "{wrong}");
        }
    }

    #[test]
    fn damaged_recordings_are_refused() {
        for end in 1..EXPANSION.len() {
            assert!(Replies::read(&EXPANSION[..end]).is_err(), "{}", &EXPANSION[..end]);
        }
        assert!(Replies::read(&"1 ".repeat(20_000)).unwrap_err().to_string().contains("10000"));
        assert!(Replies::read(&"[".repeat(100_000)).is_err());
    }
}
