//! Families of machine types: what a guest of each has by itself and gets by default.
//!
//! Sources: QEMU, *System Emulation*, "Target guide" of each architecture; libvirt, *Domain XML format*, and what its driver writes.

use polyvirt_core::model::{
    DomainConfig,
    chardev::{SerialModel, SerialTargetType},
    display::VideoType,
    misc::{PanicModel, TpmModel},
};

/// A family of machine types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// x86: `pc`, `pc-i440fx-*`.
    I440fx,
    /// x86: `q35`, `pc-q35-*`.
    Q35,
    /// x86 without PCI.
    Isapc,
    /// x86 with virtio-mmio alone.
    Microvm,
    /// ARM: `virt`, `virt-*`.
    ArmVirt,
    /// ARM: one of the boards.
    ArmBoard,
    /// POWER: `pseries`, `pseries-*`.
    Pseries,
    /// POWER: everything else.
    PpcBoard,
    /// s390x: `s390-ccw-virtio*`.
    Ccw,
    /// RISC-V: `virt`.
    RiscvVirt,
    /// LoongArch: `virt`.
    LoongarchVirt,
    /// A machine of which nothing is known.
    Other,
}

/// What guests of a family get.
#[derive(Debug)]
pub(crate) struct Defaults {
    /// The network card of an `<interface>` without a model.
    pub(crate) card: &'static str,
    /// The screen of a `<video>` without a model.
    pub(crate) video: Option<VideoType>,
    /// Whether every guest has a balloon that says nothing of one.
    pub(crate) balloon: bool,
    /// Where serial ports sit, and the device.
    pub(crate) serial: Option<(SerialTargetType, SerialModel)>,
    /// The TPM of a `<tpm>` without a model.
    pub(crate) tpm: Option<TpmModel>,
    /// The device of a `<panic>` without a model.
    pub(crate) panic: Option<PanicModel>,
    /// Whether the machine notices crashes by itself.
    pub(crate) panics: bool,
    /// Whether there is a keyboard controller with a keyboard and a mouse.
    pub(crate) ps2: bool,
}

const PLAIN: Defaults = Defaults {
    card: "rtl8139",
    video: None,
    balloon: true,
    serial: None,
    tpm: None,
    panic: None,
    panics: false,
    ps2: false,
};

const X86: Defaults = Defaults {
    video: Some(VideoType::Cirrus),
    serial: Some((SerialTargetType::IsaSerial, SerialModel::IsaSerial)),
    tpm: Some(TpmModel::TpmTis),
    panic: Some(PanicModel::Isa),
    ps2: true,
    ..PLAIN
};

const VIRT: Defaults = Defaults {
    card: "virtio",
    video: Some(VideoType::Virtio),
    serial: Some((SerialTargetType::SystemSerial, SerialModel::Ns16550a)),
    tpm: Some(TpmModel::TpmTis),
    panic: Some(PanicModel::Pvpanic),
    ..PLAIN
};

impl Family {
    /// The family of a machine type of an architecture, both in libvirt's words.
    pub(crate) fn of(arch: &str, machine: &str) -> Self {
        let is = |name: &str| machine == name || machine.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
        match arch {
            "x86_64" | "i686" => match machine {
                "isapc" => Self::Isapc,
                "microvm" => Self::Microvm,
                _ if is("q35") || is("pc-q35") => Self::Q35,
                _ if machine.is_empty() || is("pc") || machine.starts_with("pc-") => Self::I440fx,
                // Distributions name theirs after themselves: `rhel6.0`, `xenial`.
                _ => Self::Other,
            },
            "aarch64" | "armv6l" | "armv7l" if is("virt") => Self::ArmVirt,
            "aarch64" | "armv6l" | "armv7l" => Self::ArmBoard,
            "ppc64" | "ppc64le" if is("pseries") => Self::Pseries,
            "ppc" | "ppc64" | "ppc64le" => Self::PpcBoard,
            "s390x" => Self::Ccw,
            "riscv32" | "riscv64" if is("virt") => Self::RiscvVirt,
            "loongarch64" if is("virt") => Self::LoongarchVirt,
            _ => Self::Other,
        }
    }

    /// The family of a definition's machine.
    pub(crate) fn of_config(config: &DomainConfig) -> Self {
        let kind = config.os.as_ref().and_then(|os| os.r#type.as_ref());
        let arch = kind.and_then(|it| it.arch.as_deref()).unwrap_or_default();
        Self::of(arch, kind.and_then(|it| it.machine.as_deref()).unwrap_or_default())
    }

    /// What its guests get.
    pub(crate) fn defaults(self) -> &'static Defaults {
        match self {
            Self::I440fx | Self::Q35 | Self::Isapc => &X86,
            Self::Microvm => &const { Defaults { ps2: false, ..X86 } },
            Self::ArmVirt => {
                &const {
                    Defaults {
                        balloon: false,
                        serial: Some((SerialTargetType::SystemSerial, SerialModel::Pl011)),
                        ..VIRT
                    }
                }
            }
            Self::ArmBoard => &const { Defaults { balloon: false, card: "lan9118", ..PLAIN } },
            Self::Pseries => {
                &const {
                    Defaults {
                        video: Some(VideoType::Vga),
                        serial: Some((SerialTargetType::SpaprVioSerial, SerialModel::SpaprVty)),
                        tpm: Some(TpmModel::TpmSpapr),
                        panic: Some(PanicModel::Pseries),
                        panics: true,
                        ..PLAIN
                    }
                }
            }
            Self::PpcBoard => &const { Defaults { video: Some(VideoType::Vga), ..PLAIN } },
            Self::Ccw => {
                &const {
                    Defaults {
                        serial: Some((SerialTargetType::SclpSerial, SerialModel::SclpConsole)),
                        tpm: None,
                        panic: Some(PanicModel::S390),
                        panics: true,
                        ..VIRT
                    }
                }
            }
            Self::RiscvVirt => &const { Defaults { panic: None, ..VIRT } },
            Self::LoongarchVirt => &const { Defaults { balloon: false, panic: None, ..VIRT } },
            Self::Other => &PLAIN,
        }
    }

    /// Whether it is a PC.
    pub(crate) fn is_x86(self) -> bool {
        matches!(self, Self::I440fx | Self::Q35 | Self::Isapc | Self::Microvm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_a_version_are_of_one_family() {
        for (arch, machine, family) in [
            ("x86_64", "pc", Family::I440fx),
            ("i686", "pc-0.13", Family::I440fx),
            ("x86_64", "pc-i440fx-rhel7.6.0", Family::I440fx),
            ("x86_64", "q35", Family::Q35),
            ("x86_64", "pc-q35-9.0", Family::Q35),
            ("x86_64", "virtual", Family::Other),
            ("aarch64", "virt-8.2", Family::ArmVirt),
            ("armv7l", "virt", Family::ArmVirt),
            ("aarch64", "virtual", Family::ArmBoard),
            ("ppc64le", "pseries-3.1", Family::Pseries),
            ("ppc64", "powernv9", Family::PpcBoard),
            ("s390x", "s390-ccw-virtio-9.1", Family::Ccw),
        ] {
            assert_eq!(Family::of(arch, machine), family, "{arch} {machine}");
        }
    }
}
