//! Which guests, and what each stands for.

/// A guest of the corpus.
pub(crate) struct Listed {
    pub(crate) name: &'static str,
    pub(crate) stands_for: &'static str,
    /// Whether the firmware comes to an end with numbering its PCI buses, so that QEMU can be asked for them too.
    pub(crate) numbered: bool,
}

const fn guest(name: &'static str, stands_for: &'static str) -> Listed {
    Listed { name, stands_for, numbered: true }
}

/// Started, compared and ended.
pub(crate) const STARTED: &[Listed] = &[
    guest("boot-complex", "pc with disks on virtio, IDE and floppy drives, two cards, boot order"),
    guest("pci-bridge-many-disks", "more than a hundred disks behind PCI bridges that are added"),
    guest("pci-autoadd-addr", "bridges that follow from addresses given"),
    guest("pci-bridge", "a bridge per slot of the root"),
    guest("multifunction-pci-device", "LSI controllers as functions of one slot, disks on them"),
    // Its expander is bus 254, and a switch with 32 ports is behind it: SeaBIOS runs out of numbers.
    Listed {
        name: "pcie-expander-bus",
        stands_for: "an expander with a NUMA node, a switch with 32 ports, legacy cards on PCIe",
        numbered: false,
    },
    guest("pcie-root-port", "root ports in functions"),
    guest("autoindex", "every kind of controller without a number"),
    guest("q35-virt-manager-basic", "the usual q35 guest: qxl, SPICE, channels, ICH9 USB, HDA"),
    guest("q35-pci-force-address", "legacy devices forced onto the PCIe root"),
    guest("q35-usb2-multi", "three USB 2 controllers with companions"),
    guest("usb-hub-autoadd-deluxe", "USB hubs that are added for want of ports"),
    guest("usb-ports", "hubs behind hubs, ports as given"),
    guest("usb-redir", "USB redirection through SPICE"),
    guest("usb-controller-nex-xhci-autoassign", "USB 3"),
    guest("controller-virtio-scsi", "virtio-scsi controllers with queues and limits"),
    guest("disk-scsi-disk-split", "disks on several SCSI controllers"),
    guest("disk-sata-device", "AHCI"),
    guest("disk-cdrom-bus-other", "CDs on USB"),
    guest("disk-active-commit", "chains of images, block jobs"),
    guest("iothreads-virtio-scsi-pci", "I/O threads for SCSI"),
    guest("channel-virtio-auto", "ports of several virtio-serial controllers"),
    guest("console-virtio-many", "virtio consoles beside a serial port"),
    guest("serial-udp-chardev", "serial ports over UDP, files"),
    guest("smartcard-passthrough-spicevmc", "smart cards on a reader on USB"),
    guest("net-virtio-rss", "virtio cards with their options"),
    guest("net-client", "Ethernet over a socket"),
    guest("virtio-input", "virtio keyboards, mice and tablets"),
    guest("video-qxl-sec-device-vram64", "two screens"),
    guest("watchdog-q35-multiple", "watchdogs on PCI and on the board"),
    guest("virtio-rng-multiple", "several sources of randomness"),
    guest("pstore-acpi-erst", "ACPI's store of errors"),
    guest("intel-iommu-caching-mode", "an IOMMU"),
    guest("numatune-hmat", "cells with distances, latencies and caches"),
    guest("firmware-manual-efi-secboot-legacy-paths", "flash with variables and SMM"),
    guest("cpu-host-model-fallback-tcg", "the host's model of CPU"),
    guest("user-aliases2", "names of the user's own"),
    guest("x86_64-pc-default-models", "default models on pc, a TPM"),
    guest("x86_64-q35-default-models", "default models on q35, a TPM"),
    guest("x86_64-q35-graphics", "a desktop on q35: virtio screen, USB tablet, sound"),
];

/// Defined, and refused at their start with these words: what QEMU 7.2 lacks, what TCG lacks, and what no QEMU takes.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("disk-discard_no_unref", "Parameter 'discard-no-unref' is unexpected"),
    ("iothreads-virtio-scsi-mapping", "'virtio-scsi-pci.iothread-vq-mapping' not found"),
    ("sound-device-virtio", "'virtio-sound-pci' is not a valid device model name"),
    ("hyperv", "kernel doesn't allow setting HyperV VP_INDEX"),
    ("intel-iommu-eim", "requires kernel irqchip and X2APIC API support"),
    // Guests without ACPI: the corpus only looks at their command lines.
    ("memory-hotplug-dimm", "memory hotplug is not enabled: missing acpi device or acpi disabled"),
    ("memory-hotplug-nvdimm-label", "memory hotplug is not enabled: missing acpi device or acpi disabled"),
    // `multifunction='off'` on the first function of a slot that has another.
    ("q35-multifunction", "single function device can't be populated in function 4.1"),
    ("net-mcast", "does not contain a multicast address"),
];

/// Memory devices of every kind, and the ACPI that they need; no guest of the corpus has both.
pub(crate) const MEMORY: &str = "<domain type='qemu'><name>memory</name><memory unit='MiB'>512</memory>
  <maxMemory slots='8' unit='GiB'>8</maxMemory><os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
  <cpu><numa><cell id='0' memory='512' unit='MiB'/></numa></cpu>
  <devices>
    <memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>
    <memory model='nvdimm'><source><path>replaced</path></source>
      <target><size unit='MiB'>256</size><node>0</node><label><size unit='KiB'>128</size></label></target></memory>
    <memory model='virtio-mem'><target><size unit='MiB'>256</size><node>0</node><block unit='MiB'>2</block>
      <requested unit='MiB'>64</requested></target></memory>
    <memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target>
      <address type='dimm' slot='5'/></memory>
  </devices>
</domain>";
