//! What the driver refuses. Pure; every problem at once, each with its place and what to write instead.

mod combined;
mod devices;
mod machine;
mod storage;

use std::collections::HashSet;

use polyvirt_core::model::{
    DomainConfig, DomainKind, Problem, Problems,
    chardev::{CharBackend, CharSource},
    controller::ControllerModel,
    disk::{Disk, DiskBus, DiskDevice},
    os::{LoaderType, OsKind},
    storage::SourceKind,
};

use crate::{
    command::{disk as drive, machine_name},
    driver::Facts,
    kvm::Verdict,
    machine::Family,
};

/// Most I/O threads of a guest: more only exhausts the host.
const MAX_IO_THREADS: u32 = 1024;

/// Checks a completed definition, for a host where it is to run.
pub(crate) fn check(config: &DomainConfig, facts: &Facts) -> Result<(), Problems> {
    let mut found = Vec::new();
    find_indefinable(config, facts, &mut found);
    find_unstartable(config, &mut found);
    verdict(found)
}

/// Checks what makes a definition wrong wherever it is kept.
pub(crate) fn definable(config: &DomainConfig, facts: &Facts) -> Result<(), Problems> {
    let mut found = Vec::new();
    find_indefinable(config, facts, &mut found);
    verdict(found)
}

/// Checks what a definition may say that cannot be started.
pub(crate) fn startable(config: &DomainConfig) -> Result<(), Problems> {
    let mut found = Vec::new();
    find_unstartable(config, &mut found);
    verdict(found)
}

fn verdict(found: Vec<Problem>) -> Result<(), Problems> {
    if found.is_empty() { Ok(()) } else { Err(found.into_iter().collect()) }
}

fn find_indefinable(config: &DomainConfig, facts: &Facts, found: &mut Vec<Problem>) {
    kind(config, facts, found);
    machine_type(config, facts, found);
    machine::rules(config, &facts.binary, found);
    storage::rules(config, &facts.binary, found);
    devices::rules(config, found);
    combined::rules(config, found);
    let mut places = HashSet::new();
    for (at, disk) in config.devices.disks.iter().enumerate() {
        target(disk, &format!("/domain/devices/disk[{}]", at + 1), &mut places, found);
    }
}

fn find_unstartable(config: &DomainConfig, found: &mut Vec<Problem>) {
    boot(config, found);
    speeds(config, found);
    for (at, disk) in config.devices.disks.iter().enumerate() {
        check_disk(disk, &format!("/domain/devices/disk[{}]", at + 1), found);
    }
    character_devices(config, found);
    if let Some(count) = config.iothreads.filter(|it| *it > MAX_IO_THREADS) {
        found.push(Problem::error(
            "/domain/iothreads",
            format!("{count} I/O threads are too many; at most {MAX_IO_THREADS}"),
        ));
    }
}

/// What can be refused without a QEMU at hand: guests of other hypervisors, and buses that the machine has not.
pub(crate) fn without_host(config: &DomainConfig) -> impl Iterator<Item = Problem> {
    types(config).chain(expanders(config))
}

/// An expander hangs off the first bus, so it is of that bus' kind.
fn expanders(config: &DomainConfig) -> impl Iterator<Item = Problem> {
    use Family::{ArmVirt, I440fx, LoongarchVirt, Q35, RiscvVirt};
    let (family, machine) = (Family::of_config(config), machine_name(config).unwrap_or_default());
    config.devices.controllers.iter().zip(1..).filter_map(move |(controller, at)| {
        let (fits, on) = match controller.model? {
            ControllerModel::PciExpanderBus => (family == I440fx, "pc (i440FX)"),
            ControllerModel::PcieExpanderBus => {
                (matches!(family, Q35 | ArmVirt | RiscvVirt | LoongarchVirt), "q35 and virt")
            }
            _ => return None,
        };
        let path = format!("/domain/devices/controller[{at}]/@model");
        let model = controller.model?;
        (!fits).then(|| Problem::error(path, format!("a {model} is for the machines {on}, not for '{machine}'")))
    })
}

/// Guests of other hypervisors.
pub(crate) fn types(config: &DomainConfig) -> impl Iterator<Item = Problem> {
    let domain = match config.kind {
        DomainKind::Qemu | DomainKind::Kvm | DomainKind::Hvf => None,
        other => Some(Problem::error("/domain/@type", format!("type '{other}' is not QEMU's; use 'kvm' or 'qemu'"))),
    };
    let os = config.os.as_ref().and_then(|it| it.r#type.as_ref());
    let os = os.and_then(|it| it.kind).filter(|it| *it != OsKind::Hvm);
    let os = os.map(|kind| Problem::error("/domain/os/type", format!("'{kind}' guests are not QEMU's; use 'hvm'")));
    domain.into_iter().chain(os)
}

fn kind(config: &DomainConfig, facts: &Facts, found: &mut Vec<Problem>) {
    if config.kind == DomainKind::Kvm
        && let Some(Verdict::Unusable { reason, remedy }) = &facts.kvm
    {
        found.push(Problem::error("/domain/@type", format!("KVM cannot be used: {reason}; {remedy}")));
    }
    found.extend(without_host(config));
    let os = config.os.as_ref().and_then(|it| it.r#type.as_ref());
    if let Some(arch) = os.and_then(|it| it.arch.as_deref()).filter(|it| !serves(&facts.binary.arch, it)) {
        let problem = format!("{} emulates {}, not '{arch}'", facts.binary.path.display(), facts.binary.arch);
        found.push(Problem::error("/domain/os/type/@arch", problem));
    }
}

/// Whether a binary for `emulated` runs guests of the architecture `arch`.
fn serves(emulated: &str, arch: &str) -> bool {
    let pairs = [("x86_64", "i686"), ("i386", "i686"), ("ppc64", "ppc64le"), ("ppc64", "ppc")];
    emulated == arch
        || pairs.contains(&(emulated, arch))
        || matches!((emulated, arch), ("arm" | "aarch64", "armv6l" | "armv7l"))
}

fn machine_type(config: &DomainConfig, facts: &Facts, found: &mut Vec<Problem>) {
    let name = machine_name(config).unwrap_or_default();
    let Some(machine) = facts.binary.machine(name) else {
        let near = facts
            .binary
            .best
            .machines
            .iter()
            .filter_map(|it| it.alias.as_deref())
            .take(6)
            .collect::<Vec<_>>()
            .join("', '");
        let problem = format!("{} has no machine '{name}'; it has '{near}' and others", facts.binary.path.display());
        found.push(Problem::error("/domain/os/type/@machine", problem));
        return;
    };
    let max = config.vcpus_max();
    if max > machine.cpu_max {
        let problem = format!("{max} vCPUs are too many for machine '{name}', which takes {}", machine.cpu_max);
        found.push(Problem::error("/domain/vcpu", problem));
    }
    if let Some(shape) = config.cpu.as_ref().and_then(|it| it.topology.as_ref()) {
        let parts = [shape.sockets, shape.dies.unwrap_or(1), shape.clusters.unwrap_or(1), shape.cores, shape.threads];
        let product = parts.iter().try_fold(1u32, |product, part| product.checked_mul(*part));
        if product != Some(max) {
            let problem = format!("sockets, dies, clusters, cores and threads do not multiply to the {max} vCPUs");
            found.push(Problem::error("/domain/cpu/topology", problem));
        }
    }
    let model = config.cpu.as_ref().and_then(|it| it.model.as_ref()).and_then(|it| it.name.as_deref());
    if let Some(model) = model.filter(|it| !facts.binary.has_cpu(it)) {
        let problem = format!("{} has no CPU model '{model}'", facts.binary.path.display());
        found.push(Problem::error("/domain/cpu/model", problem));
    }
    let passthrough = config.cpu.as_ref().and_then(|it| it.mode).is_some_and(|it| it.as_str() == "host-passthrough");
    if passthrough && config.kind == DomainKind::Qemu {
        let problem = "the host's CPU can be passed through with KVM only; use mode='maximum'";
        found.push(Problem::error("/domain/cpu/@mode", problem));
    }
}

fn boot(config: &DomainConfig, found: &mut Vec<Problem>) {
    let Some(os) = &config.os else { return };
    if os.firmware.is_some() && os.loader.as_ref().is_none_or(|it| it.path.is_none()) {
        let problem = "no firmware of this host fits; `polyvirt firmware list` shows what is installed for a machine type. Install one \
                       that fits, ask for less in <firmware> and <loader>, or name <loader readonly='yes' type='pflash'>";
        found.push(Problem::error("/domain/os/@firmware", problem));
    }
    let pflash = os.loader.as_ref().is_some_and(|it| it.kind == Some(LoaderType::Pflash));
    if os.nvram.is_some() && !pflash && os.firmware.is_none() {
        found.push(Problem::error("/domain/os/nvram", "variables need firmware; name <loader type='pflash'>"));
    }
}

/// What QEMU wants of the table of memory speeds beyond rule C10.
fn speeds(config: &DomainConfig, found: &mut Vec<Problem>) {
    let Some(numa) = config.cpu.as_ref().and_then(|it| it.numa.as_ref()) else { return };
    let links = numa.interconnects.as_ref();
    for (at, link) in links.into_iter().flat_map(|it| &it.bandwidth).enumerate() {
        if !link.value.0.is_multiple_of(1024) {
            let problem = format!("QEMU counts bandwidths in whole MiB/s, not {} KiB/s", link.value.0);
            let path = format!("/domain/cpu/numa/interconnects/bandwidth[{}]/@value", at + 1);
            found.push(Problem::error(path, problem));
        }
    }
    let targets = links.map(|it| {
        it.latency.iter().map(|it| it.target).chain(it.bandwidth.iter().map(|it| it.target)).collect::<HashSet<_>>()
    });
    for (at, cell) in (0u32..).zip(&numa.cell) {
        let known = targets.as_ref().is_some_and(|it| it.contains(&cell.id.unwrap_or(at)));
        if !cell.cache.is_empty() && !known {
            let problem =
                "QEMU takes a cache only where <interconnects> gives a latency or bandwidth to the cell; add one";
            found.push(Problem::error(format!("/domain/cpu/numa/cell[{}]/cache", at + 1), problem));
        }
    }
}

fn check_disk(disk: &Disk, path: &str, found: &mut Vec<Problem>) {
    if matches!(disk.kind, None | Some(SourceKind::File | SourceKind::Block))
        && drive::path(disk).is_none()
        && !matches!(disk.device, Some(DiskDevice::Cdrom | DiskDevice::Floppy))
    {
        found.push(Problem::error(
            format!("{path}/source"),
            "a disk needs a source; only cdrom and floppy drives may be empty",
        ));
    }
}

/// Where disks are.
fn target(disk: &Disk, path: &str, places: &mut HashSet<(DiskBus, u32, u32, u32, u64)>, found: &mut Vec<Problem>) {
    let Some(target) = &disk.target else {
        found.push(Problem::error(format!("{path}/target"), "a disk needs a target such as <target dev='vda'/>"));
        return;
    };
    if drive::number(&target.dev).is_none() {
        let problem = format!("'{}' is no name of a disk; write vda, sdb, hdc …", target.dev);
        found.push(Problem::error(format!("{path}/target/@dev"), problem));
    }
    let bus = drive::disk_bus(disk);
    if disk.device == Some(DiskDevice::Cdrom) && bus == DiskBus::Virtio {
        let problem = "a cdrom cannot be on the virtio bus; use bus='sata', 'scsi' or 'ide'";
        found.push(Problem::error(format!("{path}/target/@bus"), problem));
    }
    let (controller, line, scsi_target, unit) = drive::place(disk);
    if !places.insert((bus, controller, line, scsi_target, unit)) {
        let problem = format!("'{}' sits where another disk of bus '{bus}' sits already", target.dev);
        found.push(Problem::error(format!("{path}/target/@dev"), problem));
    }
}

fn character_devices(config: &DomainConfig, found: &mut Vec<Problem>) {
    let devices = &config.devices;
    let serials = devices.serials.iter().map(|it| ("serial", it.kind, &it.backend)).enumerate();
    let consoles = devices.consoles.iter().map(|it| ("console", it.kind, &it.backend)).enumerate();
    for (at, (element, kind, about)) in serials.chain(consoles) {
        let path = format!("/domain/devices/{element}[{}]", at + 1);
        check_backend(kind.unwrap_or(CharBackend::Pty), about, &path, found);
    }
}

fn check_backend(kind: CharBackend, about: &CharSource, path: &str, found: &mut Vec<Problem>) {
    use CharBackend::{Dev, File, Null, Pipe, Pty, Tcp, Unix};
    let place = about.source.first();
    match kind {
        Pty | Null => {}
        File | Dev | Pipe | Unix if place.and_then(|it| it.path.as_ref()).is_none() => {
            found.push(Problem::error(format!("{path}/source/@path"), format!("type '{kind}' needs a path")));
        }
        Tcp if place.and_then(|it| it.service.as_ref()).is_none() => {
            found.push(Problem::error(format!("{path}/source/@service"), "type 'tcp' needs a port"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{recorded, stored};

    fn problems(text: &str, kvm: Option<Verdict>) -> Vec<String> {
        let binary = recorded();
        let config = stored(text, &binary);
        let found = check(&config, &Facts { kvm, ..Facts::of(binary.into()) });
        found.err().map(|it| it.iter().map(ToString::to_string).collect()).unwrap_or_default()
    }

    fn guest(kind: &str, machine: &str, more: &str, devices: &str) -> String {
        format!(
            "<domain type='{kind}'><name>a</name><memory>1024</memory>{more}<os><type arch='x86_64' machine='{machine}'>hvm</type></os>\
             <devices>{devices}</devices></domain>"
        )
    }

    #[test]
    fn each_refusal_names_place_and_remedy() {
        let disk = |more: &str| format!("<disk type='file' device='disk'>{more}</disk>");
        for (text, path, expected) in [
            (guest("xen", "pc", "", ""), "/domain/@type", "use 'kvm' or 'qemu'"),
            (guest("qemu", "sun4m", "", ""), "/domain/os/type/@machine", "has no machine 'sun4m'"),
            (guest("qemu", "pc", "<vcpu>300</vcpu>", ""), "/domain/vcpu", "takes 255"),
            (guest("qemu", "pc", "<cpu><model>Z80</model></cpu>", ""), "/domain/cpu/model", "no CPU model 'Z80'"),
            (guest("qemu", "pc", "<cpu mode='host-passthrough'/>", ""), "/domain/cpu/@mode", "use mode='maximum'"),
            (guest("qemu", "pc", "<iothreads>5000</iothreads>", ""), "/domain/iothreads", "at most 1024"),
            (guest("qemu", "pc", "", &disk("<target dev='vda'/>")), "/domain/devices/disk[1]/source", "needs a source"),
            (
                guest("qemu", "pc", "", &disk("<source file='/a'/><target dev='disk'/>")),
                "/domain/devices/disk[1]/target/@dev",
                "write vda",
            ),
            (
                guest("qemu", "pc", "", &disk("<source file='/a'/><target dev='vda'/>").repeat(2)),
                "/domain/devices/disk[2]/target/@dev",
                "sits already",
            ),
            (
                guest("qemu", "pc", "", "<disk type='file' device='cdrom'><target dev='vda' bus='virtio'/></disk>"),
                "/domain/devices/disk[1]/target/@bus",
                "bus='sata'",
            ),
            (
                guest("qemu", "pc", "", "<serial type='file'/>"),
                "/domain/devices/serial[1]/source/@path",
                "needs a path",
            ),
        ] {
            let found = problems(&text, None);
            assert!(
                found.iter().any(|it| it.starts_with(&format!("{path}: ")) && it.contains(expected)),
                "{text}: {found:?}"
            );
        }
        let good = guest("qemu", "pc", "", &disk("<source file='/a'/><target dev='vda'/>"));
        assert_eq!(problems(&good, None), [""; 0]);
    }

    #[test]
    fn kvm_is_refused_with_the_reason_and_never_replaced() {
        let verdict = Verdict::Unusable { reason: "nothing ran".into(), remedy: "use <domain type='qemu'>".into() };
        let found = problems(&guest("kvm", "pc", "", ""), Some(verdict.clone()));
        assert_eq!(found, ["/domain/@type: KVM cannot be used: nothing ran; use <domain type='qemu'>"]);
        assert!(problems(&guest("kvm", "pc", "", ""), Some(Verdict::Usable)).is_empty());
        assert!(problems(&guest("qemu", "pc", "", ""), Some(verdict)).is_empty());
    }
}
