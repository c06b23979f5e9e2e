//! Commands that change objects while a guest runs.

use serde::Serialize;
use serde_json::Value;

use crate::{Command, Empty};

/// Sets a property of an object.
#[derive(Clone, Debug, Serialize)]
pub struct QomSet<'a> {
    /// The object.
    pub path: &'a str,
    /// The property.
    pub property: &'a str,
    /// Its value.
    pub value: Value,
}

impl Command for QomSet<'_> {
    const NAME: &'static str = "qom-set";
    type Reply = Empty;
}
