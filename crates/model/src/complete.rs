//! Completion: what follows from a definition without host and without driver.
//!
//! | what | rule |
//! |---|---|
//! | UUID, generation id | drawn if missing |
//! | vCPUs | one if nothing is said; as many online as there are is not said |
//! | cells | numbers by position, ascending; distances in both directions (C1, C3, C9) |
//! | memory | the sum of cells and devices, or what is written (C7) |
//! | placement | rules P1–P13 and M1–M8, decided by `polyvirt_numa_placement::rules` |
//! | disks | disks of files; places on IDE, floppy, SATA and SCSI controllers from their names; a cdrom cannot be written |
//! | file systems | directories, files keep their owners; RAM disks in KiB |
//! | controllers | those that addresses name and virtio ports need |
//! | consoles | of a machine: the first serial port, written a second time |
//! | I/O threads | numbers, the lowest free ones |
//! | controllers, ports | the lowest free number of the kind; character devices after the highest |
//! | character devices | a pseudo-terminal; we connect, with no protocol |
//! | graphics | ports chosen at start; `listen` and `socket` as in the first `<listen>` |
//! | schedulers | one element a thread |
//! | resctrl | vCPUs that there can be |
//! | MAC | drawn from the UUID if missing or all zeroes |
//! | boot | the first disk |
//! | lifecycle | destroy at power-off and crash, restart at reboot; the clock follows UTC |
//!
//! Invariant: completing twice changes nothing.

mod chardev;
pub(crate) mod devices;
mod disks;
mod graphics;
pub(crate) mod tuning;

use polyvirt_numa_placement::Kib;
use polyvirt_numa_placement::rules::{self, GeneralNodes, MemoryPlacement, Stored, Violations};
use polyvirt_xml::{Positions, Problems};
use uuid::Uuid;

use crate::clock::{Clock, ClockOffset};
use crate::devices::Devices;
use crate::domain::{DomainConfig, DomainKind, GenId, LifecycleAction};
use crate::features::HypervMode;
use crate::memory::Memory;
use crate::numatune::{MemNode, NumaMemory, NumaTune};
use crate::os::OsKind;
use crate::{cells, check, placement};

/// Whether a definition is a guest that never ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// It never ran: what would change its hardware may still be set right.
    New,
    /// It may have run: what the guest sees is kept as written.
    Existing,
}

/// Completes a definition in place. `positions` is where problems are reported; `Positions::default()` for a definition that
/// was built in code.
///
/// # Errors
/// Everything that cannot be completed. The definition is then partly completed and of no use.
pub fn complete(config: &mut DomainConfig, guest: Guest, positions: &Positions) -> Result<(), Problems> {
    let mut problems = Problems::new();
    config.uuid.get_or_insert_with(Uuid::new_v4);
    if let Some(GenId { id }) = &mut config.genid {
        id.get_or_insert_with(Uuid::new_v4);
    }
    vcpus(config);
    iothreads(config);
    switches(config);
    // The rules see memnodes in the order in which they were written, so that their paths are right.
    let stored = rules::store(&placement::written(config));
    problems.append(cells::check(config, positions));
    cells::complete(config);
    memory(config, guest, positions, &mut problems);
    match stored {
        Ok(stored) => store(config, stored),
        Err(violations) => problems.append(report(&violations, positions)),
    }
    tuning::complete(config);
    devices::complete(config);
    disks::complete(&mut config.devices);
    let machine = config.os.as_ref().and_then(|os| os.r#type.as_ref()).is_some_and(|os| os.kind == Some(OsKind::Hvm));
    chardev::complete(&mut config.devices, machine);
    // QEMU's boards have controllers of their own, which stand before these.
    if !matches!(config.kind, DomainKind::Qemu | DomainKind::Kvm | DomainKind::Hvf) {
        imply_controllers(&mut config.devices);
    }
    graphics::complete(&mut config.devices);
    lifecycle(config);
    problems.into_result(()).map(|((), _)| ())
}

/// Adds the controllers that addresses of devices name and nobody wrote. [`complete`] does it for all guests but QEMU's, whose
/// driver does it after what the machine has by itself.
pub fn imply_controllers(devices: &mut Devices) {
    disks::imply_controllers(devices);
    devices::imply_readers(devices);
}

/// Completes a definition and checks it: all problems of both in one go.
///
/// # Errors
/// Everything that is wrong, if something refuses the definition; else the warnings are returned.
pub fn complete_and_check(
    config: &mut DomainConfig,
    guest: Guest,
    positions: &Positions,
) -> Result<Problems, Problems> {
    // What was written is checked before completion moves it; afterwards paths may lead elsewhere.
    let mut problems = check::check(config, positions);
    append_new(&mut problems, complete(config, guest, positions).err().unwrap_or_default());
    // What completion added meets what was written: a place or a number may be another's. Where something is wrong already,
    // nothing more would be learnt.
    if !problems.has_errors() {
        append_new(&mut problems, check::check(config, positions));
    }
    problems.into_result(()).map(|((), warnings)| warnings)
}

/// Both phases look at cells and placement: each problem is told once.
fn append_new(problems: &mut Problems, more: Problems) {
    for problem in more {
        if !problems.iter().any(|known| known.path == problem.path && known.message == problem.message) {
            problems.push(problem);
        }
    }
}

pub(crate) fn report(violations: &Violations, positions: &Positions) -> Problems {
    let problem = |violation: &rules::Violation| {
        let message = format!("{}: {}", violation.message, violation.remedy);
        positions.error(&violation.path, message).with_rule(violation.rule.clone())
    };
    violations.0.iter().take(check::MAX_PROBLEMS).map(problem).collect()
}

fn vcpus(config: &mut DomainConfig) {
    let vcpu = config.vcpu.get_or_insert_default();
    let count = *vcpu.count.get_or_insert(1);
    if vcpu.current == Some(count) {
        vcpu.current = None;
    }
}

/// If some threads have numbers of their own, all get them; the count says how many there are.
fn iothreads(config: &mut DomainConfig) {
    let ids = config.io_thread_ids();
    let Some(threads) = config.iothreadids.as_mut().filter(|threads| !threads.iothread.is_empty()) else { return };
    let given = threads.iothread.len();
    threads.iothread.extend(ids.iter().skip(given).map(|&id| crate::vcpu::IoThread::new(id)));
    config.iothreads = u32::try_from(ids.len()).ok();
}

/// What is named without more is on; parts of a topology that are not named are one.
fn switches(config: &mut DomainConfig) {
    if let Some(topology) = config.cpu.as_mut().and_then(|cpu| cpu.topology.as_mut()) {
        topology.dies.get_or_insert(1);
        topology.clusters.get_or_insert(1);
    }
    let Some(features) = &mut config.features else { return };
    for switch in [&mut features.pmu, &mut features.vmcoreinfo].into_iter().flatten() {
        switch.state.get_or_insert(true);
    }
    if let Some(teardown) = &mut features.async_teardown {
        teardown.enabled.get_or_insert(true);
    }
    if let Some(hyperv) = &mut features.hyperv {
        hyperv.mode.get_or_insert(HypervMode::Custom);
    }
}

/// Rule C7.
fn memory(config: &mut DomainConfig, guest: Guest, positions: &Positions, problems: &mut Problems) {
    let sum: Kib = config.cells().iter().map(|cell| cell.memory).chain(config.device_memory()).sum();
    let written = config.memory.as_ref().map(|memory| memory.size).filter(|size| !size.is_zero());
    let from_cells = !config.cells().is_empty() && !sum.is_zero();
    let total = match written {
        Some(size) if !(guest == Guest::New && from_cells) => size,
        _ if !sum.is_zero() => sum,
        _ => {
            let message = "the guest has no memory: give <memory>, or NUMA cells with memory";
            problems.push(positions.error("/domain/memory", message).with_rule("C7"));
            return;
        }
    };
    config.memory.get_or_insert_with(|| Memory::new(total)).size = total;
    let current = config.current_memory.get_or_insert_with(|| Memory::new(total));
    if current.size.is_zero() || current.size > total {
        current.size = total;
    }
}

/// Writes what the rules decided back into the elements.
fn store(config: &mut DomainConfig, stored: Stored) {
    let vcpu = config.vcpu.get_or_insert_default();
    vcpu.placement = Some(stored.vcpu_placement);
    vcpu.cpuset = stored.vcpu_cpuset;
    let memory = stored.memory.map(|general| {
        let (nodeset, placement) = match general.nodes {
            GeneralNodes::Named(nodes) => (Some(nodes), None),
            // `Auto`, and whatever libvirt may add: the host's own choice is never more than that.
            _ => (None, Some(MemoryPlacement::Auto)),
        };
        NumaMemory { mode: Some(general.mode), placement, nodeset }
    });
    let memnode: Vec<MemNode> = stored
        .memnodes
        .into_iter()
        .map(|policy| MemNode { cellid: Some(policy.cell.0), mode: Some(policy.mode), nodeset: Some(policy.nodes) })
        .collect();
    let empty = memory.is_none() && memnode.is_empty();
    config.numatune = (!empty).then_some(NumaTune { memory, memnode });
}

fn lifecycle(config: &mut DomainConfig) {
    config.on_poweroff.get_or_insert(LifecycleAction::Destroy);
    config.on_reboot.get_or_insert(LifecycleAction::Restart);
    config.on_crash.get_or_insert(LifecycleAction::Destroy);
    let clock = config.clock.get_or_insert_with(Clock::default);
    clock.offset.get_or_insert(ClockOffset::Utc);
}
