//! Settings of one driver, as typed as the driver wants them.

use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind, Result};

/// The section of the settings file that belongs to one driver.
///
/// The engine and the drivers never read a file: who opens the connection hands the values in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(serde_json::Map<String, serde_json::Value>);

impl Settings {
    /// From a table of values.
    #[must_use]
    pub fn new(values: serde_json::Map<String, serde_json::Value>) -> Self {
        Self(values)
    }

    /// Sets one value.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) {
        self.0.insert(key.into(), value.into());
    }

    /// The values.
    #[must_use]
    pub fn values(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.0
    }

    /// Reads them into the driver's own type; `T` should `deny_unknown_fields`, so that a misspelt key is told.
    ///
    /// # Errors
    /// `InvalidArgument` with the key and what was expected.
    pub fn typed<T: DeserializeOwned>(&self, driver: &str) -> Result<T> {
        serde_json::from_value(serde_json::Value::Object(self.0.clone())).map_err(|e| {
            Error::new(ErrorKind::InvalidArgument, format!("settings of the {driver} driver: {e}"))
                .hint("`polyvirt config show` lists the keys and where each value came from")
        })
    }
}
