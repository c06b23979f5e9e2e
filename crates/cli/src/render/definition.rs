//! What commands show of a definition.

use polyvirt::{
    model::DomainConfig,
    placement::{CpuSet, Kib, MemMode, NodeSet, rules::MemoryPlacement},
};

/// `hvm`, `exe`, …
pub(crate) fn os_type(config: &DomainConfig) -> String {
    let kind = config.os.as_ref().and_then(|os| os.r#type.as_ref()).and_then(|t| t.kind.as_ref());
    kind.map(ToString::to_string).unwrap_or_default()
}

/// Memory the guest has at boot, with its balloon.
pub(crate) fn memory_current(config: &DomainConfig) -> Kib {
    config.current_memory.as_ref().map_or_else(|| config.memory_total(), |m| m.size)
}

/// The general memory policy.
#[derive(Default)]
pub(crate) struct NumatuneSummary {
    pub(crate) mode: Option<MemMode>,
    pub(crate) nodeset: Option<NodeSet>,
    pub(crate) automatic: bool,
}

/// The general memory policy of a definition.
pub(crate) fn numatune(config: &DomainConfig) -> NumatuneSummary {
    let Some(memory) = config.numatune.as_ref().and_then(|n| n.memory.as_ref()) else {
        return NumatuneSummary::default();
    };
    NumatuneSummary {
        mode: memory.mode,
        nodeset: memory.nodeset.clone(),
        automatic: memory.placement == Some(MemoryPlacement::Auto),
    }
}

/// The pin of a vCPU, else the set of `<vcpu cpuset=…>`.
pub(crate) fn vcpu_pin(config: &DomainConfig, vcpu: u32) -> Option<&CpuSet> {
    let pins = config.cputune.iter().flat_map(|tune| &tune.vcpupin);
    let own = pins.into_iter().find(|pin| pin.vcpu == vcpu).map(|pin| &pin.cpuset);
    own.or_else(|| config.vcpu.as_ref()?.cpuset.as_ref())
}

/// The pin of the emulator's threads.
pub(crate) fn emulator_pin(config: &DomainConfig) -> Option<&CpuSet> {
    config.cputune.as_ref()?.emulatorpin.as_ref().map(|pin| &pin.cpuset)
}

/// The pin of an I/O thread, else the set of `<vcpu cpuset=…>`.
pub(crate) fn io_thread_pin(config: &DomainConfig, id: u32) -> Option<&CpuSet> {
    let pins = config.cputune.iter().flat_map(|tune| &tune.iothreadpin);
    let own = pins.into_iter().find(|pin| pin.iothread == id).map(|pin| &pin.cpuset);
    own.or_else(|| config.vcpu.as_ref()?.cpuset.as_ref())
}
