//! `<disk>`.

use polyvirt_xml::{Element, words};

use crate::address::{DeviceInfo, VirtioModel, VirtioOptions};
use crate::storage::{Auth, BackingStore, Encryption, ImageFormat, MetadataCache, Mirror, Named, Source, SourceKind};

mod limits;

pub use limits::*;

words! {
    /// What a disk is for the guest.
    pub enum DiskDevice { Disk = "disk", Cdrom = "cdrom", Floppy = "floppy", Lun = "lun" }
}
words! {
    /// Whether unprivileged SCSI commands are filtered.
    pub enum Sgio { Filtered = "filtered", Unfiltered = "unfiltered" }
}
words! {
    /// What a snapshot of the guest does with a disk.
    pub enum DiskSnapshot { No = "no", Internal = "internal", External = "external", Manual = "manual" }
}

/// `<disk>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Disk {
    /// The kind of its source; absent: a file.
    #[xml(attr, name = "type")]
    pub kind: Option<SourceKind>,
    /// What it is for the guest; absent: a disk.
    #[xml(attr)]
    pub device: Option<DiskDevice>,
    /// The variant of virtio. Since 5.2.0.
    #[xml(attr)]
    pub model: Option<VirtioModel>,
    /// Whether it needs `CAP_SYS_RAWIO`; absent: `no`. Since 0.9.10.
    #[xml(attr, yesno)]
    pub rawio: Option<bool>,
    /// Whether unprivileged SCSI commands are filtered; absent: filtered. Since 1.0.2.
    #[xml(attr)]
    pub sgio: Option<Sgio>,
    /// What a snapshot does with it. Since 0.9.5.
    #[xml(attr)]
    pub snapshot: Option<DiskSnapshot>,
    /// How the hypervisor serves it. Since 0.1.8.
    #[xml(child)]
    pub driver: Option<DiskDriver>,
    /// Who logs in (old place). Since 0.9.7.
    #[xml(child)]
    pub auth: Option<Auth>,
    /// Where its data is.
    #[xml(child)]
    pub source: Option<Source>,
    /// What its image is based on. Since 1.2.4.
    #[xml(child)]
    pub backing_store: Option<Box<BackingStore>>,
    /// Xen: the domain that serves it. Since 1.2.13.
    #[xml(child)]
    pub backenddomain: Option<Named>,
    /// Its geometry. Since 0.10.0.
    #[xml(child)]
    pub geometry: Option<Geometry>,
    /// Its block sizes. Since 0.10.2.
    #[xml(child)]
    pub blockio: Option<BlockIo>,
    /// The target of a block job.
    #[xml(child, live)]
    pub mirror: Option<Mirror>,
    /// Where the guest sees it.
    #[xml(child)]
    pub target: Option<DiskTarget>,
    /// Limits. Since 0.9.8.
    #[xml(child)]
    pub iotune: Option<IoTune>,
    /// Shared limits.
    #[xml(child)]
    pub throttlefilters: Option<ThrottleFilters>,
    /// The guest may not write.
    #[xml(flag)]
    pub readonly: bool,
    /// Other guests use it too.
    #[xml(flag)]
    pub shareable: bool,
    /// Changes are lost when the guest ends. Since 0.9.5.
    #[xml(child)]
    pub transient: Option<Transient>,
    /// Its serial number. Since 0.7.1.
    #[xml(leaf)]
    pub serial: Option<String>,
    /// Its world wide name. Since 0.10.1.
    #[xml(leaf)]
    pub wwn: Option<String>,
    /// Its vendor. Since 1.0.1.
    #[xml(leaf)]
    pub vendor: Option<String>,
    /// Its product. Since 1.0.1.
    #[xml(leaf)]
    pub product: Option<String>,
    /// How it is encrypted (old place).
    #[xml(child)]
    pub encryption: Option<Encryption>,
    /// Name, address, boot order.
    #[xml(group)]
    pub info: DeviceInfo,
}

impl Disk {
    /// Its image, if that is a file of the host.
    #[must_use]
    pub fn image_file(&self) -> Option<&str> {
        let source = self.source.as_ref()?;
        matches!(self.kind, None | Some(SourceKind::File)).then_some(source.file.as_deref()).flatten()
    }

    /// Whether there is no medium in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.source {
            None => true,
            Some(source) => match self.kind {
                None | Some(SourceKind::File) => source.file.is_none(),
                Some(SourceKind::Block) => source.dev.is_none(),
                Some(_) => false,
            },
        }
    }
}

words! {
    /// How the host caches a disk.
    pub enum DiskCache {
        Default = "default", None = "none", Writethrough = "writethrough", Writeback = "writeback",
        DirectSync = "directsync", Unsafe = "unsafe",
    }
}
words! {
    /// What happens at an I/O error.
    pub enum ErrorPolicy { Stop = "stop", Report = "report", Ignore = "ignore", Enospace = "enospace" }
}
words! {
    /// How the host does I/O.
    pub enum DiskIo { Native = "native", Threads = "threads", IoUring = "io_uring" }
}
words! {
    /// Whether discarded blocks are given back.
    pub enum Discard { Unmap = "unmap", Ignore = "ignore" }
}
words! {
    /// Whether written zeroes are detected.
    pub enum DetectZeroes { Off = "off", On = "on", Unmap = "unmap" }
}

/// `<driver>` of a disk.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DiskDriver {
    /// Who serves it.
    #[xml(attr)]
    pub name: Option<String>,
    /// The format of the image.
    #[xml(attr, name = "type")]
    pub kind: Option<ImageFormat>,
    /// How the host caches it. Since 0.6.0.
    #[xml(attr)]
    pub cache: Option<DiskCache>,
    /// What happens at an error. Since 0.8.0.
    #[xml(attr, name = "error_policy")]
    pub error_policy: Option<ErrorPolicy>,
    /// What happens at an error of reading. Since 0.9.7.
    #[xml(attr, name = "rerror_policy")]
    pub rerror_policy: Option<ErrorPolicy>,
    /// How the host does I/O. Since 0.8.8.
    #[xml(attr)]
    pub io: Option<DiskIo>,
    /// Whether kicks are asynchronous. Since 0.9.3.
    #[xml(attr, onoff)]
    pub ioeventfd: Option<bool>,
    /// Whether interrupts are suppressed by index. Since 0.9.5.
    #[xml(attr, name = "event_idx", onoff)]
    pub event_idx: Option<bool>,
    /// Whether blocks read are copied into the image; absent: `off`. Since 0.9.10.
    #[xml(attr, name = "copy_on_read", onoff)]
    pub copy_on_read: Option<bool>,
    /// Whether discarded blocks are given back. Since 1.0.6.
    #[xml(attr)]
    pub discard: Option<Discard>,
    /// The I/O thread that serves it. Since 1.2.8.
    #[xml(attr)]
    pub iothread: Option<u32>,
    /// Whether written zeroes are detected. Since 2.0.0.
    #[xml(attr, name = "detect_zeroes")]
    pub detect_zeroes: Option<DetectZeroes>,
    /// Queues. Since 3.9.0.
    #[xml(attr)]
    pub queues: Option<u32>,
    /// Entries of a queue. Since 7.8.0.
    #[xml(attr, name = "queue_size")]
    pub queue_size: Option<u32>,
    /// Whether discarded qcow2 clusters keep their place.
    #[xml(attr, name = "discard_no_unref", onoff)]
    pub discard_no_unref: Option<bool>,
    /// Options of virtio.
    #[xml(group)]
    pub virtio: VirtioOptions,
    /// The cache for the image's metadata. Since 7.0.0.
    #[xml(child, name = "metadata_cache")]
    pub metadata_cache: Option<MetadataCache>,
    /// I/O threads by queue.
    #[xml(child)]
    pub iothreads: Option<QueueThreads>,
    /// Counters of I/O.
    #[xml(child)]
    pub statistics: Option<DiskStatistics>,
}

/// `<iothreads>` of a driver.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct QueueThreads {
    /// The threads.
    #[xml(child)]
    pub iothread: Vec<QueueThread>,
}

/// `<iothread>` of a driver.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct QueueThread {
    /// Its number.
    #[xml(attr)]
    pub id: u32,
    /// The queues it serves.
    #[xml(child)]
    pub queue: Vec<QueueId>,
}

/// `<queue>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct QueueId {
    /// Its number.
    #[xml(attr)]
    pub id: u32,
}

/// `<statistics>` of a driver.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DiskStatistics {
    /// Intervals that are counted.
    #[xml(child)]
    pub statistic: Vec<DiskStatistic>,
}

/// `<statistic>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DiskStatistic {
    /// Seconds.
    #[xml(attr)]
    pub interval: u32,
}

/// `<geometry>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Geometry {
    /// Cylinders.
    #[xml(attr)]
    pub cyls: u32,
    /// Heads.
    #[xml(attr)]
    pub heads: u32,
    /// Sectors.
    #[xml(attr)]
    pub secs: u32,
    /// How the BIOS translates it.
    #[xml(attr)]
    pub trans: Option<GeometryTranslation>,
}

words! {
    /// How a BIOS translates a geometry.
    pub enum GeometryTranslation { Auto = "auto", None = "none", Lba = "lba" }
}

/// `<blockio>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BlockIo {
    /// Logical block size.
    #[xml(attr, name = "logical_block_size")]
    pub logical_block_size: Option<u32>,
    /// Physical block size.
    #[xml(attr, name = "physical_block_size")]
    pub physical_block_size: Option<u32>,
    /// Granularity of discards.
    #[xml(attr, name = "discard_granularity")]
    pub discard_granularity: Option<u32>,
}

words! {
    /// Buses of disks.
    pub enum DiskBus {
        Ide = "ide", Fdc = "fdc", Scsi = "scsi", Virtio = "virtio", Xen = "xen", Usb = "usb", Uml = "uml",
        Sata = "sata", Sd = "sd", Nvme = "nvme",
    }
}
words! {
    /// Whether a tray is open.
    pub enum Tray { Closed = "closed", Open = "open" }
}

/// `<target>` of a disk.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DiskTarget {
    /// The name by which it is known; a hint for the guest.
    #[xml(attr)]
    pub dev: String,
    /// The bus; absent: by the name: `hd` IDE, `sd` SCSI, `vd` virtio, `fd` floppy, `xvd` Xen. Since 0.4.3.
    #[xml(attr)]
    pub bus: Option<DiskBus>,
    /// Whether its tray is open; absent: closed. Since 0.9.11.
    #[xml(attr)]
    pub tray: Option<Tray>,
    /// Whether it can be taken out; absent: `off`. Since 1.1.3.
    #[xml(attr, onoff)]
    pub removable: Option<bool>,
    /// Revolutions per minute; 1: a solid state disk. Since 7.3.0.
    #[xml(attr, name = "rotation_rate")]
    pub rotation_rate: Option<u32>,
    /// SCSI: whether writes can be forced to the medium (DPO and FUA).
    #[xml(attr, onoff)]
    pub dpofua: Option<bool>,
}

/// `<transient>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Transient {
    /// Whether other guests may use the image at the same time. Since 7.4.0.
    #[xml(attr, yesno)]
    pub share_backing: Option<bool>,
}
