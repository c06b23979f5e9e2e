//! Settings of the mock driver: the faults to inject, the host to simulate.

use std::time::Duration;

use polyvirt_core::{SettingDoc, Stage};
use serde::Deserialize;

/// Faults, all off by default, and the host.
#[derive(Clone, Debug, Deserialize)]
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
    /// The guest of this name does not tell its numbers.
    pub(crate) stuck: Option<String>,
    /// How long a guest takes to power off, in milliseconds.
    pub(crate) shutdown_ms: u64,
    /// Guests are placed on a host with so many nodes that is simulated too; 0: on the real one.
    pub(crate) nodes: u32,
    /// CPUs of each of these nodes.
    pub(crate) cpus_per_node: u32,
    /// Memory of each, in MiB.
    pub(crate) memory_per_node: u64,
}

impl Default for MockSettings {
    fn default() -> Self {
        Self {
            fail_at: None,
            hang_at: None,
            deaf: false,
            unreachable: false,
            stuck: None,
            shutdown_ms: 0,
            nodes: 0,
            cpus_per_node: 8,
            memory_per_node: 16 << 10,
        }
    }
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
    SettingDoc { key: "stuck", default: "none", doc: "the guest of this name does not tell its numbers" },
    SettingDoc { key: "shutdown_ms", default: "0", doc: "how long a guest takes to power off, in milliseconds" },
    SettingDoc {
        key: "nodes",
        default: "0",
        doc: "NUMA nodes of a simulated host that guests are placed on; 0: the real one",
    },
    SettingDoc { key: "cpus_per_node", default: "8", doc: "CPUs of each simulated node" },
    SettingDoc { key: "memory_per_node", default: "16384", doc: "memory of each simulated node, in MiB" },
];
