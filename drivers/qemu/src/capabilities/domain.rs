//! What guests of one kind can have: one machine type, one way to run.

use polyvirt_core::{Choice, DomainCaps, DomainCapsQuery, Error, ErrorKind, OsCaps, Result};
use polyvirt_firmware::{Feature, Firmwares, Interface};
use polyvirt_qmp::Machine;

use super::{NO_MACHINE, arch, cpu, devices, features};
use crate::{
    command::HostCpu,
    config::Config,
    machine::Family,
    probe::{Abilities, Accelerator, Binary},
};

/// The host around the binary.
pub(crate) struct Around<'a> {
    pub(crate) settings: &'a Config,
    pub(crate) firmware: &'a Firmwares,
    /// The host's `<cpu>`, as capabilities have it.
    pub(crate) host_cpu: Option<&'a HostCpu>,
}

/// The kind of guest that is asked about.
pub(crate) struct Kind<'a> {
    pub(super) binary: &'a Binary,
    /// In libvirt's words.
    pub(super) arch: &'a str,
    pub(super) machine: Option<&'a Machine>,
    pub(super) family: Family,
    accelerator: Accelerator,
    /// What the binary can do that way; `None` if it was not seen to run guests that way.
    pub(super) abilities: Option<&'a Abilities>,
    settings: &'a Config,
}

/// Words for `<domain type=…>`.
const WAYS: &[(&str, Accelerator)] =
    &[("kvm", Accelerator::Kvm), ("hvf", Accelerator::Hvf), ("qemu", Accelerator::Tcg)];

/// Architectures whose boards are all real ones but this: what guests are meant to have.
const VIRTUAL_BOARD: (&str, &[&str]) = ("virt", &["aarch64", "armv7l", "armv6l", "riscv32", "riscv64", "loongarch64"]);

/// Versions of TPM that a swtpm of our days emulates, if the settings do not say.
const TPM_VERSIONS: &str = "2.0";

impl<'a> Kind<'a> {
    fn of(binary: &'a Binary, query: &DomainCapsQuery, settings: &'a Config) -> Result<Self> {
        let accelerator = match query.virttype.as_deref() {
            Some(word) => way(word)?,
            None => binary.best.accelerator,
        };
        let all = [Some(&binary.best), binary.emulation.as_ref()];
        let abilities = all.into_iter().flatten().find(|it| it.accelerator == accelerator);
        let arch = arch(binary);
        // Machine types are the same under every accelerator, their limits are not.
        let machines = &abilities.unwrap_or(&binary.best).machines;
        let machine = match query.machine.as_deref() {
            Some(name) => Some(find(machines, name).ok_or_else(|| no_machine(name, machines))?),
            None => usual(machines, arch),
        };
        let family = Family::of(arch, machine.map(|it| it.name.as_str()).unwrap_or_default());
        Ok(Self { binary, arch, machine, family, accelerator, abilities, settings })
    }

    /// Whether the host's CPU itself runs the guest's code.
    pub(super) fn virtualised(&self) -> bool {
        self.accelerator != Accelerator::Tcg
    }

    /// Whether it is a PC.
    pub(super) fn is_x86(&self) -> bool {
        matches!(self.arch, "x86_64" | "i686")
    }

    /// Whether swtpm emulates this version of TPM.
    pub(super) fn emulates_tpm(&self, version: &str) -> bool {
        let versions = self.settings.swtpm_versions.as_deref().unwrap_or(TPM_VERSIONS);
        versions.split(',').any(|it| it.trim() == version)
    }
}

fn way(word: &str) -> Result<Accelerator> {
    let known = WAYS.iter().find(|(name, _)| *name == word).map(|(_, way)| *way);
    known.ok_or_else(|| {
        let message = format!("'{word}' is no way in which QEMU runs guests; it has kvm, hvf and qemu");
        Error::new(ErrorKind::InvalidArgument, message)
    })
}

fn find<'a>(machines: &'a [Machine], name: &str) -> Option<&'a Machine> {
    machines.iter().find(|it| it.name == name).or_else(|| machines.iter().find(|it| it.alias.as_deref() == Some(name)))
}

/// The machine type of guests that name none.
fn usual<'a>(machines: &'a [Machine], arch: &str) -> Option<&'a Machine> {
    let (board, architectures) = VIRTUAL_BOARD;
    let board = architectures.contains(&arch).then(|| find(machines, board)).flatten();
    board.or_else(|| machines.iter().find(|it| it.is_default && it.name != NO_MACHINE))
}

fn no_machine(name: &str, machines: &[Machine]) -> Error {
    let known: Vec<_> = machines.iter().filter_map(|it| it.alias.as_deref()).collect();
    let message = format!("this QEMU has no machine type '{name}'");
    let error = Error::new(ErrorKind::InvalidArgument, message);
    if known.is_empty() { error } else { error.hint(format!("among others it has {}", known.join(", "))) }
}

/// What guests of the kind can have.
///
/// # Errors
/// `InvalidArgument` for a machine type that the binary lacks or a way to run that QEMU lacks.
pub(crate) fn domain(binary: &Binary, query: &DomainCapsQuery, around: &Around<'_>) -> Result<DomainCaps> {
    let kind = Kind::of(binary, query, around.settings)?;
    let word = WAYS.iter().find(|(_, way)| *way == kind.accelerator).map_or("qemu", |(word, _)| word);
    let mut caps = DomainCaps::new(word, kind.arch);
    caps.emulator = Some(query.emulator.clone().unwrap_or_else(|| binary.path.clone()));
    caps.machine = kind.machine.map(|it| it.name.clone());
    caps.max_vcpus = kind.abilities.and(kind.machine).map(|it| it.cpu_max);
    caps.iothreads = binary.has_type("iothread");
    caps.os = os(&kind, around.firmware);
    caps.cpu = cpu::modes(&kind, around.host_cpu);
    caps.memory_backing = devices::memory(&kind);
    caps.devices = devices::devices(&kind);
    caps.features = features::features(&kind);
    Ok(caps)
}

/// Words for `<os firmware=…>`, by what a description says of the interface.
const FIRMWARE: &[(&str, Interface)] = &[("bios", Interface::Bios), ("efi", Interface::Uefi)];

fn os(kind: &Kind<'_>, firmware: &Firmwares) -> OsCaps {
    let machine = kind.machine.map(|it| it.name.as_str()).unwrap_or_default();
    let there: Vec<_> = firmware.of_machine(&kind.binary.arch, machine).collect();
    let words = FIRMWARE.iter().filter(|(_, interface)| there.iter().any(|it| it.interface_types.contains(interface)));
    let secure = there.iter().any(|it| it.has(&Feature::SecureBoot));
    OsCaps {
        firmware: words.map(|(word, _)| (*word).to_owned()).collect(),
        images: there.iter().map(|it| it.executable().to_owned()).collect(),
        loader: vec![
            Choice::new("type", ["rom", "pflash"]),
            Choice::new("readonly", ["yes", "no"]),
            Choice::new("secure", if secure { vec!["yes", "no"] } else { vec!["no"] }),
        ],
    }
}
