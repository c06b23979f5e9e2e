//! What a definition says of QEMU itself: `<qemu:override>` and `<qemu:deprecation>`.

use polyvirt_core::model::{
    DomainConfig,
    extensions::{QemuDeprecationBehavior, QemuProperty, QemuPropertyType},
};
use serde_json::{Value, json};

use super::option::Members;

/// Sets and removes properties of a device as the definition says.
pub(super) fn apply(members: Members, config: &DomainConfig) -> Members {
    let Some(overrides) = &config.qemu_override else { return members };
    let Some(id) = members.text("id").map(str::to_owned) else { return members };
    let found = overrides.device.iter().filter(|it| it.alias == id);
    let properties = found.filter_map(|it| it.frontend.as_ref()).flat_map(|it| &it.property);
    properties.fold(members, |members, property| match value(property) {
        Some(value) => members.with(&property.name, value),
        None => members.without(&property.name),
    })
}

/// `None`: the property goes. What is no number stays text, and QEMU says what is wrong with it.
fn value(property: &QemuProperty) -> Option<Value> {
    let text = property.value.clone().unwrap_or_default();
    Some(match property.kind {
        Some(QemuPropertyType::Remove) => return None,
        Some(QemuPropertyType::Unsigned) => text.parse::<u64>().map_or_else(|_| text.into(), Value::from),
        Some(QemuPropertyType::Signed) => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        Some(QemuPropertyType::Bool) => Value::Bool(matches!(text.as_str(), "true" | "on" | "yes")),
        _ => text.into(),
    })
}

/// What QEMU does with uses of what is deprecated. Source: qemu(1), `-compat`.
pub(super) fn deprecation(behavior: QemuDeprecationBehavior) -> String {
    let (output, input) = match behavior {
        QemuDeprecationBehavior::Omit => ("hide", None),
        QemuDeprecationBehavior::Reject => ("hide", Some("reject")),
        QemuDeprecationBehavior::Crash => ("hide", Some("crash")),
        _ => ("accept", None),
    };
    match input {
        Some(input) => json!({"deprecated-output": output, "deprecated-input": input}).to_string(),
        None => json!({ "deprecated-output": output }).to_string(),
    }
}
