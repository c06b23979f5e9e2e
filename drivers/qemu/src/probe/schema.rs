//! The schema of QEMU's monitor commands (`query-qmp-schema`), asked by paths.
//!
//! A path begins with a command or event and walks members: `blockdev-add/file/aio/^io_uring`. A step is a member's name;
//! `+case` goes into a variant of a union, `^word` asks for a value of an enumeration, `!` goes to what a command returns.
//! A member's feature is `$feature`. Arrays and alternates are walked through.
//!
//! Source: QEMU, *QMP Reference Manual*, "QMP introspection".

use std::collections::HashMap;

use serde_json::Value;

/// Deepest walk. Paths are our own, and an alternate may name itself.
const DEPTH: usize = 32;

/// A schema, by the names of its entities.
pub(crate) struct Schema<'a>(HashMap<&'a str, &'a Value>);

impl<'a> Schema<'a> {
    pub(crate) fn of(entities: &'a Value) -> Self {
        let entities = entities.as_array().map(Vec::as_slice).unwrap_or_default();
        Self(entities.iter().filter_map(|it| Some((it["name"].as_str()?, it))).collect())
    }

    /// Whether the path leads somewhere.
    pub(crate) fn has(&self, path: &str) -> bool {
        let mut steps = path.split('/');
        let Some(entity) = steps.next().and_then(|name| self.0.get(name)) else { return false };
        let steps: Vec<&str> = steps.collect();
        match (entity["meta-type"].as_str(), steps.split_first()) {
            (Some("command" | "event"), None) => true,
            (Some("command" | "event"), Some((feature, []))) if feature.starts_with('$') => {
                has_feature(entity, feature)
            }
            (Some("command"), Some((&"!", rest))) => self.walk(&entity["ret-type"], rest, DEPTH),
            (Some("command" | "event"), Some(_)) => self.walk(&entity["arg-type"], &steps, DEPTH),
            _ => false,
        }
    }

    fn walk(&self, name: &Value, steps: &[&str], depth: usize) -> bool {
        let Some((step, rest)) = steps.split_first() else { return true };
        let Some(entity) = name.as_str().and_then(|name| self.0.get(name)) else { return false };
        if depth == 0 {
            return false;
        }
        let among = |list: &'a Value| list.as_array().into_iter().flatten();
        match entity["meta-type"].as_str() {
            Some("array") => self.walk(&entity["element-type"], steps, depth - 1),
            Some("alternate") => among(&entity["members"]).any(|it| self.walk(&it["type"], steps, depth - 1)),
            Some("enum") => step.strip_prefix('^').is_some_and(|word| {
                among(&entity["values"]).any(|it| it == word) || among(&entity["members"]).any(|it| it["name"] == word)
            }),
            Some("object") => match step.strip_prefix('+') {
                Some(case) => {
                    among(&entity["variants"]).any(|it| it["case"] == case && self.walk(&it["type"], rest, depth - 1))
                }
                None => among(&entity["members"]).filter(|it| it["name"] == *step).any(|it| match rest {
                    [feature] if feature.starts_with('$') => has_feature(it, feature),
                    _ => self.walk(&it["type"], rest, depth - 1),
                }),
            },
            _ => false,
        }
    }
}

fn has_feature(entity: &Value, step: &str) -> bool {
    let name = step.trim_start_matches('$');
    entity["features"].as_array().into_iter().flatten().any(|it| it == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_through_unions_lists_alternates_and_words() {
        let entities = serde_json::json!([
            {"name": "blockdev-add", "meta-type": "command", "arg-type": "0", "ret-type": "9", "features": ["savevm-monitor-nodes"]},
            {"name": "0", "meta-type": "object", "members": [{"name": "driver", "type": "1"}, {"name": "child", "type": "3"}],
             "variants": [{"case": "file", "type": "2"}]},
            {"name": "1", "meta-type": "enum", "values": ["file"], "members": [{"name": "file"}]},
            {"name": "2", "meta-type": "object", "members": [{"name": "aio", "type": "4", "features": ["deprecated"]}]},
            {"name": "3", "meta-type": "alternate", "members": [{"type": "5"}, {"type": "3"}]},
            {"name": "4", "meta-type": "enum", "members": [{"name": "io_uring"}]},
            {"name": "5", "meta-type": "array", "element-type": "0"},
            {"name": "9", "meta-type": "object", "members": []},
        ]);
        let schema = Schema::of(&entities);
        for there in [
            "blockdev-add",
            "blockdev-add/driver",
            "blockdev-add/driver/^file",
            "blockdev-add/+file/aio/^io_uring",
            "blockdev-add/child/+file/aio",
            "blockdev-add/$savevm-monitor-nodes",
            "blockdev-add/+file/aio/$deprecated",
            "blockdev-add/!",
        ] {
            assert!(schema.has(there), "{there}");
        }
        for missing in [
            "",
            "0",
            "blockdev-del",
            "blockdev-add/nothing",
            "blockdev-add/driver/^nbd",
            "blockdev-add/+nbd/aio",
            "blockdev-add/child/child/x",
            "blockdev-add/$other",
            "blockdev-add/!/x",
            "blockdev-add/driver/file",
        ] {
            assert!(!schema.has(missing), "{missing}");
        }
    }
}
