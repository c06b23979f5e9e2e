//! Settings of the mock driver: the faults to inject.

use std::time::Duration;

use polyvirt_core::{SettingDoc, Stage};
use serde::Deserialize;

/// Faults; all off by default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MockSettings {
    /// The start fails at this stage.
    pub(crate) fail_at: Option<Stage>,
    /// The start hangs at this stage until it is cancelled or its deadline passes.
    pub(crate) hang_at: Option<Stage>,
    /// Guests ignore the power button.
    pub(crate) deaf: bool,
    /// Guests run but do not answer when looked for.
    pub(crate) unreachable: bool,
    /// How long a guest takes to power off, in milliseconds.
    pub(crate) shutdown_ms: u64,
}

impl MockSettings {
    pub(crate) fn shutdown_time(&self) -> Duration {
        Duration::from_millis(self.shutdown_ms)
    }
}

/// What `config show` says of them.
pub(crate) const SETTINGS: &[SettingDoc] = &[
    SettingDoc { key: "fail_at", default: "none", doc: "the start fails at this stage" },
    SettingDoc { key: "hang_at", default: "none", doc: "the start hangs at this stage" },
    SettingDoc { key: "deaf", default: "false", doc: "guests ignore the power button" },
    SettingDoc { key: "unreachable", default: "false", doc: "guests run but do not answer when looked for" },
    SettingDoc { key: "shutdown_ms", default: "0", doc: "how long a guest takes to power off, in milliseconds" },
];
