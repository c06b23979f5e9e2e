//! What a guest's process may use: cgroups with other controllers than cpuset.
//!
//! A start and a change of a running guest go the same way: the guest's group for a controller is found or made, the process put
//! into it, values written. With version 1 each controller has a group of its own, which the guest has only if something is limited.
//! With version 2 there is one group for all, and every thread is in a part of it. Here: memory; and what all have in common.

pub(crate) mod cpu;
pub(crate) mod io;

use polyvirt_core::{
    Error, ErrorKind, MemoryLimitParams, Result,
    model::{DomainConfig, memory::MemTune},
    placement::Kib,
};
use polyvirt_process::cgroup::{
    Cgroup, CgroupError, Controller, Hierarchy, Part, Unusable, Version, memory::MemoryLimits,
};

use crate::places::Places;

/// Limits of memory, as a definition has them; `None` if it has none.
pub(crate) fn memory_of(config: &DomainConfig) -> Option<MemoryLimitParams> {
    let MemTune { hard_limit, soft_limit, swap_hard_limit, .. } = config.memtune.as_ref()?;
    let some = hard_limit.is_some() || soft_limit.is_some() || swap_hard_limit.is_some();
    some.then(|| MemoryLimitParams::new(*hard_limit, *soft_limit, *swap_hard_limit))
}

fn unusable(error: Unusable) -> Error {
    let kind = match error {
        Unusable::NotPermitted { .. } => ErrorKind::Denied,
        _ => ErrorKind::Unsupported,
    };
    Error::new(kind, error.to_string()).source(error)
}

fn refused(error: CgroupError) -> Error {
    let busy = |source: &std::io::Error| source.raw_os_error() == Some(nix::libc::EBUSY);
    let told = Error::new(ErrorKind::Hypervisor, error.to_string());
    match &error {
        CgroupError::Io { source, .. } if source.kind() == std::io::ErrorKind::Unsupported => {
            Error::new(ErrorKind::Unsupported, error.to_string())
        }
        CgroupError::Io { source, .. } if busy(source) => told.hint(
            "the guest uses more than that and the kernel cannot take it back; shrink it first: `polyvirt setmem`",
        ),
        _ => told,
    }
    .source(error)
}

fn in_bytes(limits: MemoryLimitParams) -> MemoryLimits {
    let bytes = |limit: Option<Kib>| limit.map(|it| it.0.saturating_mul(1024));
    MemoryLimits { hard: bytes(limits.hard), soft: bytes(limits.soft), with_swap: bytes(limits.with_swap) }
}

/// The group of a guest for a controller, for a process that is about to be made.
pub(crate) fn prepare(places: &Places, controller: Controller) -> Result<Cgroup> {
    let hierarchy = Hierarchy::with(controller).map_err(unusable)?;
    hierarchy.ensure(&places.group).map_err(refused)
}

/// A group with memory limits for a process that is about to be made, and the files it joins it by.
pub(crate) fn memory_at_start(places: &Places, limits: MemoryLimitParams) -> Result<Vec<std::os::fd::OwnedFd>> {
    let group = prepare(places, Controller::Memory)?;
    group.set_memory(in_bytes(limits)).map_err(refused)?;
    match group.version() {
        Version::V1 => group.join_whole(),
        Version::V2 => group.part(Part::Emulator).and_then(|_| group.join_files(Part::Emulator)),
    }
    .map_err(refused)
}

/// Limits the memory of a running guest.
///
/// # Errors
/// `Unsupported`, `Denied`, `Hypervisor` with the kernel's answer.
pub(crate) fn set_memory(places: &Places, pid: u32, limits: MemoryLimitParams) -> Result<()> {
    let hierarchy = Hierarchy::with(Controller::Memory).map_err(unusable)?;
    let there = hierarchy.open(&places.group).filter(|it| it.counts_memory() && it.holds(pid));
    if let Some(group) = there {
        return group.set_memory(in_bytes(limits)).map_err(refused);
    }
    if limits == MemoryLimitParams::default() {
        return Ok(());
    }
    let late = |error: CgroupError| {
        let message = "the guest was started without limits of memory, and what it has touched would not count";
        Error::new(ErrorKind::Unsupported, message)
            .hint("give it limits with --config and start it again; from then on they can be changed while it runs")
            .source(error)
    };
    let group = hierarchy.ensure(&places.group).map_err(refused)?;
    group.take(pid).map_err(|error| match &error {
        CgroupError::Io { source, .. } if source.kind() == std::io::ErrorKind::Unsupported => late(error),
        _ => refused(error),
    })?;
    group.set_memory(in_bytes(limits)).map_err(refused)
}
