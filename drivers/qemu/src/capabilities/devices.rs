//! Devices: which words a definition may use for each, and what the binary must have for a word. Rows, not branches.
//!
//! Sources: QEMU, *System Emulation*, "Device Emulation", and `qom-list-types` of QEMU 6.2 to 10.0; libvirt's manual, "Domain
//! capabilities XML format".

use polyvirt_core::{Choice, Facility};

use super::Kind;
use crate::machine::Family;

/// What must be there for a word.
#[derive(Clone, Copy)]
pub(super) enum Needs {
    /// Nothing.
    Nothing,
    /// One of these object types.
    Type(&'static [&'static str]),
    /// This path in the schema of monitor commands.
    Path(&'static str),
    /// This option of the command line.
    Option(&'static str),
    /// This backend for TPMs.
    TpmBackend(&'static str),
    /// A fact about the guest.
    Guest(fn(&Kind<'_>) -> bool),
}

/// An attribute, its words and what each needs.
type Row = (&'static str, &'static [(&'static str, Needs)]);

/// A device: its element, whether it can be had only with a word for the first attribute, its attributes.
type Device = (&'static str, bool, &'static [Row]);

use Needs::{Guest, Nothing, Option as Flag, Path, TpmBackend, Type};

const DEVICES: &[Device] = &[
    (
        "disk",
        false,
        &[
            ("diskDevice", &[("disk", Nothing), ("cdrom", Nothing), ("floppy", Guest(has_floppy)), ("lun", Nothing)]),
            (
                "bus",
                &[
                    ("ide", Guest(has_ide)),
                    ("fdc", Guest(has_floppy)),
                    ("scsi", Nothing),
                    ("virtio", Nothing),
                    ("usb", Type(&["usb-storage"])),
                    ("sata", Type(&["ich9-ahci"])),
                ],
            ),
            (
                "model",
                &[
                    ("virtio", Nothing),
                    ("virtio-transitional", Type(&["virtio-blk-pci-transitional"])),
                    ("virtio-non-transitional", Type(&["virtio-blk-pci-non-transitional"])),
                ],
            ),
        ],
    ),
    (
        "graphics",
        true,
        &[(
            "type",
            &[
                ("sdl", Path("query-display-options/!/type/^sdl")),
                ("vnc", Flag("vnc")),
                // Its server is a program of its own that is fed over D-Bus.
                ("rdp", Path("query-display-options/!/type/^dbus")),
                ("spice", Type(&["chardev-spicevmc"])),
                ("egl-headless", Path("query-display-options/!/type/^egl-headless")),
                ("dbus", Path("query-display-options/!/type/^dbus")),
            ],
        )],
    ),
    (
        "video",
        true,
        &[(
            "modelType",
            &[
                ("vga", Type(&["VGA"])),
                ("cirrus", Type(&["cirrus-vga"])),
                ("vmvga", Type(&["vmware-svga"])),
                ("qxl", Type(&["qxl"])),
                ("virtio", Type(&["virtio-gpu-pci", "virtio-gpu-ccw", "virtio-gpu-device"])),
                ("none", Nothing),
                ("bochs", Type(&["bochs-display"])),
                ("ramfb", Type(&["ramfb"])),
            ],
        )],
    ),
    (
        "hostdev",
        true,
        &[
            ("mode", &[("subsystem", Nothing)]),
            (
                "startupPolicy",
                &[("default", Nothing), ("mandatory", Nothing), ("requisite", Nothing), ("optional", Nothing)],
            ),
            ("subsysType", &[("usb", Type(&["usb-host"])), ("pci", Type(&["vfio-pci"])), ("scsi", Nothing)]),
            ("capsType", &[]),
            ("pciBackend", &[("default", Nothing), ("vfio", Nothing)]),
        ],
    ),
    (
        "rng",
        false,
        &[
            (
                "model",
                &[
                    ("virtio", Type(&["virtio-rng-pci", "virtio-rng-ccw", "virtio-rng-device"])),
                    ("virtio-transitional", Type(&["virtio-rng-pci-transitional"])),
                    ("virtio-non-transitional", Type(&["virtio-rng-pci-non-transitional"])),
                ],
            ),
            (
                "backendModel",
                &[("random", Type(&["rng-random"])), ("egd", Type(&["rng-egd"])), ("builtin", Type(&["rng-builtin"]))],
            ),
        ],
    ),
    (
        "filesystem",
        true,
        &[("driverType", &[("path", Nothing), ("handle", Nothing), ("virtiofs", Type(&["vhost-user-fs-device"]))])],
    ),
    (
        "tpm",
        true,
        &[
            (
                "model",
                &[
                    ("tpm-tis", Type(&["tpm-tis", "tpm-tis-device"])),
                    ("tpm-crb", Type(&["tpm-crb"])),
                    ("tpm-spapr", Type(&["tpm-spapr"])),
                    ("spapr-tpm-proxy", Type(&["spapr-tpm-proxy"])),
                ],
            ),
            (
                "backendModel",
                &[
                    ("passthrough", TpmBackend("passthrough")),
                    ("emulator", TpmBackend("emulator")),
                    // An emulator that somebody else started.
                    ("external", TpmBackend("emulator")),
                ],
            ),
            (
                "backendVersion",
                &[("1.2", Guest(|kind| kind.emulates_tpm("1.2"))), ("2.0", Guest(|kind| kind.emulates_tpm("2.0")))],
            ),
        ],
    ),
    ("redirdev", true, &[("bus", &[("usb", Type(&["usb-redir"]))])]),
    ("channel", true, &[("type", &[("pty", Nothing), ("unix", Nothing), ("spicevmc", Type(&["chardev-spicevmc"]))])]),
    (
        "crypto",
        false,
        &[
            ("model", &[("virtio", Type(&["virtio-crypto-pci", "virtio-crypto-ccw", "virtio-crypto-device"]))]),
            ("type", &[("qemu", Nothing)]),
            (
                "backendModel",
                &[("builtin", Type(&["cryptodev-backend-builtin"])), ("lkcf", Type(&["cryptodev-backend-lkcf"]))],
            ),
        ],
    ),
    ("interface", true, &[("backendType", &[("default", Nothing), ("passt", Path("netdev_add/+stream"))])]),
    (
        "panic",
        true,
        &[(
            "model",
            &[
                ("isa", Type(&["pvpanic"])),
                ("pseries", Guest(|kind| kind.family == Family::Pseries)),
                ("hyperv", Guest(|kind| kind.is_x86())),
                ("s390", Guest(|kind| kind.family == Family::Ccw)),
                ("pvpanic", Type(&["pvpanic-pci"])),
            ],
        )],
    ),
];

const MEMORY: &[(&str, Needs)] =
    &[("file", Nothing), ("anonymous", Nothing), ("memfd", Type(&["memory-backend-memfd"]))];

/// Only pseries is sure to have no place for a floppy controller; what other boards do with it is their matter.
fn has_floppy(kind: &Kind<'_>) -> bool {
    kind.family != Family::Pseries
}

fn has_ide(kind: &Kind<'_>) -> bool {
    let name = kind.machine.map(|it| it.name.as_str()).unwrap_or_default();
    match kind.family {
        Family::I440fx | Family::Isapc => true,
        Family::PpcBoard => matches!(name, "g3beige" | "mac99"),
        _ => false,
    }
}

impl Needs {
    fn met(self, kind: &Kind<'_>) -> bool {
        match self {
            Self::Nothing => true,
            Self::Type(any) => any.iter().any(|it| kind.binary.has_type(it)),
            Self::Path(path) => kind.binary.has_path(path),
            Self::Option(name) => kind.binary.options.contains_key(name),
            Self::TpmBackend(name) => {
                let types = kind.binary.replies.get("query-tpm-types").and_then(serde_json::Value::as_array);
                types.is_some_and(|it| it.iter().any(|it| it == name))
            }
            Self::Guest(holds) => holds(kind),
        }
    }
}

fn choice(kind: &Kind<'_>, name: &'static str, words: &[(&'static str, Needs)]) -> Choice {
    Choice::new(name, words.iter().filter(|(_, needs)| needs.met(kind)).map(|(word, _)| *word))
}

/// All devices, in libvirt's order.
pub(super) fn devices(kind: &Kind<'_>) -> Vec<Facility> {
    let device = |(name, depends, rows): &Device| {
        let choices: Vec<_> = rows.iter().map(|(name, words)| choice(kind, name, words)).collect();
        let chosen = choices.first().is_some_and(|it| !it.values.is_empty());
        Facility::with(name, !depends || chosen, choices)
    };
    DEVICES.iter().map(device).collect()
}

/// Where memory can come from.
pub(super) fn memory(kind: &Kind<'_>) -> Facility {
    Facility::with("memoryBacking", true, vec![choice(kind, "sourceType", MEMORY)])
}
