//! `<controller>`.

use polyvirt_numa_placement::Kib;
use polyvirt_xml::{Element, words};

use crate::address::{DeviceInfo, VirtioOptions};
use crate::chardev::ModelName;
use crate::codec::Size;
use crate::disk::QueueThreads;

words! {
    /// What hangs off a controller.
    pub enum ControllerKind {
        Ide = "ide", Fdc = "fdc", Scsi = "scsi", Sata = "sata", VirtioSerial = "virtio-serial", Ccid = "ccid",
        Usb = "usb", Pci = "pci", Xenbus = "xenbus", Isa = "isa", Nvme = "nvme",
    }
}

/// `<controller>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Controller {
    /// What hangs off it.
    #[xml(attr, name = "type")]
    pub kind: Option<ControllerKind>,
    /// Its number among those of its kind; absent: the next.
    #[xml(attr)]
    pub index: Option<u32>,
    /// The device, in the hypervisor's words.
    #[xml(attr)]
    pub model: Option<String>,
    /// Ports of USB and virtio-serial.
    #[xml(attr)]
    pub ports: Option<u32>,
    /// virtio-serial: interrupt vectors.
    #[xml(attr)]
    pub vectors: Option<u32>,
    /// Xen: grant frames.
    #[xml(attr)]
    pub max_grant_frames: Option<u32>,
    /// Xen: event channels.
    #[xml(attr)]
    pub max_event_channels: Option<u32>,
    /// NVMe: its serial number.
    #[xml(leaf)]
    pub serial: Option<String>,
    /// How the hypervisor serves it.
    #[xml(child)]
    pub driver: Option<ControllerDriver>,
    /// PCI: the device behind the model.
    #[xml(child, name = "model")]
    pub model_name: Option<ModelName>,
    /// PCI: numbers that the guest sees.
    #[xml(child)]
    pub target: Option<ControllerTarget>,
    /// The 64-bit PCI hole.
    #[xml(leaf, codec = Size, unit = "KiB")]
    pub pcihole64: Option<Kib>,
    /// USB: the companion's place.
    #[xml(child)]
    pub master: Option<ControllerMaster>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

/// `<driver>` of a controller.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ControllerDriver {
    /// Queues.
    #[xml(attr)]
    pub queues: Option<u32>,
    /// Commands per unit.
    #[xml(attr, name = "cmd_per_lun")]
    pub cmd_per_lun: Option<u32>,
    /// Sectors of a transfer.
    #[xml(attr, name = "max_sectors")]
    pub max_sectors: Option<u32>,
    /// Whether kicks are asynchronous.
    #[xml(attr, onoff)]
    pub ioeventfd: Option<bool>,
    /// The I/O thread that serves it.
    #[xml(attr)]
    pub iothread: Option<u32>,
    /// Options of virtio.
    #[xml(group)]
    pub virtio: VirtioOptions,
    /// I/O threads by queue.
    #[xml(child)]
    pub iothreads: Option<QueueThreads>,
}

/// `<target>` of a PCI controller.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ControllerTarget {
    /// The chassis of a bridge.
    #[xml(attr)]
    pub chassis_nr: Option<u32>,
    /// The chassis of a port.
    #[xml(attr)]
    pub chassis: Option<u32>,
    /// The port.
    #[xml(attr, hex = 1)]
    pub port: Option<u32>,
    /// The bus number of an expander.
    #[xml(attr)]
    pub bus_nr: Option<u32>,
    /// pSeries: the index of the host bridge.
    #[xml(attr)]
    pub index: Option<u32>,
    /// Whether devices can be plugged into a port.
    #[xml(attr, onoff)]
    pub hotplug: Option<bool>,
    /// Memory that is kept for devices behind it, in KiB.
    #[xml(attr)]
    pub mem_reserve: Option<u64>,
    /// The guest cell it belongs to.
    #[xml(leaf)]
    pub node: Option<u32>,
}

/// `<master>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ControllerMaster {
    /// The first port of the companion.
    #[xml(attr)]
    pub startport: u32,
}
