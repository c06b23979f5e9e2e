//! What a QEMU is asked when it is probed. A longer list makes older records of probes worthless: their format is named after
//! [`revision`].

use serde_json::{Value, json};

/// Commands without arguments.
pub(crate) const COMMANDS: &[&str] = &[
    "query-version",
    "query-target",
    "query-qmp-schema",
    "query-kvm",
    "query-machines",
    "query-cpu-definitions",
    "query-command-line-options",
    "query-tpm-models",
    "query-tpm-types",
    "query-migrate-capabilities",
    "query-sev-capabilities",
    "query-sgx-capabilities",
    "query-gic-capabilities",
];

/// Devices whose properties decide something.
const DEVICES: &[&str] = &[
    "ICH9-LPC",
    "PIIX4_PM",
    "VGA",
    "ide-hd",
    "intel-iommu",
    "kvm-pit",
    "mch",
    "nvdimm",
    "pcie-root-port",
    "qxl",
    "scsi-hd",
    "usb-host",
    "usb-redir",
    "usb-storage",
    "vfio-pci",
    "vhost-user-fs-device",
    "virtio-balloon-ccw",
    "virtio-balloon-device",
    "virtio-balloon-pci",
    "virtio-blk-ccw",
    "virtio-blk-pci",
    "virtio-gpu-ccw",
    "virtio-gpu-device",
    "virtio-gpu-pci",
    "virtio-iommu-pci",
    "virtio-mem-pci",
    "virtio-net-ccw",
    "virtio-net-pci",
    "virtio-scsi-ccw",
    "virtio-scsi-pci",
    "vmware-svga",
];

/// Other objects whose properties decide something.
const OBJECTS: &[&str] = &[
    "memory-backend-file",
    "memory-backend-memfd",
    "max-x86_64-cpu",
    "max-arm-cpu",
    "none-machine",
    "generic-pc-machine",
];

/// Paths into the schema that decide something.
pub(crate) const SCHEMA: &[&str] = &[
    // Block jobs that do without a node for the raw format (9.0).
    "block-commit/backing-mask-protocol",
    // Delays in milliseconds (9.2).
    "chardev-add/backend/+socket/data/reconnect-ms",
    // Sockets, and passt on one of them (7.2).
    "netdev_add/+stream",
    "netdev_add/+stream/reconnect",
    "netdev_add/+stream/reconnect-ms",
    "query-cpu-model-expansion/!/deprecated-props",
    // Displays that were built in.
    "query-display-options/!/type/^dbus",
    "query-display-options/!/type/^egl-headless",
    "query-display-options/!/type/^sdl",
];

/// Properties of the CPU model with everything, as it is and with what keeps a guest from migrating.
fn models() -> [Value; 2] {
    [json!({ "name": "max" }), json!({ "name": "max", "props": { "migratable": false } })]
}

/// What is asked with arguments.
pub(crate) fn with_arguments() -> impl Iterator<Item = (&'static str, Value)> {
    let devices = DEVICES.iter().map(|name| ("device-list-properties", json!({ "typename": name })));
    let objects = OBJECTS.iter().map(|name| ("qom-list-properties", json!({ "typename": name })));
    let types = [("qom-list-types", Value::Null)];
    let expansion = |model| ("query-cpu-model-expansion", json!({ "type": "static", "model": model }));
    let models = models().map(expansion);
    types.into_iter().chain(devices).chain(objects).chain(models)
}

/// A number that changes with the questions.
pub(crate) fn revision() -> usize {
    COMMANDS.len() + DEVICES.len() + OBJECTS.len() + SCHEMA.len() + models().len()
}
