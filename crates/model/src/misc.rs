//! Small devices: balloon, rng, watchdog, panic, TPM, shared memory, vsock, crypto, IOMMU, NVRAM, hub, pstore.

use polyvirt_numa_placement::Kib;
use polyvirt_xml::{Element, words};

use crate::address::{DeviceInfo, VirtioDriver, VirtioModel};
use crate::chardev::{CharBackend, CharSource};
use crate::codec::Size;

mod shmem;
mod tpm;

pub use shmem::*;
pub use tpm::*;

words! {
    /// Balloon devices.
    pub enum BalloonModel {
        Virtio = "virtio", VirtioTransitional = "virtio-transitional",
        VirtioNonTransitional = "virtio-non-transitional", Xen = "xen", None = "none",
    }
}

/// `<memballoon>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MemBalloon {
    /// The device.
    #[xml(attr)]
    pub model: Option<BalloonModel>,
    /// Whether it gives memory back before the guest kills processes. Since 1.3.1.
    #[xml(attr, onoff)]
    pub autodeflate: Option<bool>,
    /// Whether the host is told of free pages. Since 6.9.0.
    #[xml(attr, onoff)]
    pub free_page_reporting: Option<bool>,
    /// How often it is asked. Since 1.1.1.
    #[xml(child)]
    pub stats: Option<BalloonStats>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
    /// Options of virtio. Since 3.5.0.
    #[xml(child)]
    pub driver: Option<VirtioDriver>,
}

/// `<stats>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BalloonStats {
    /// Seconds.
    #[xml(attr)]
    pub period: u32,
}

/// `<rng>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Rng {
    /// The device; absent: `virtio`.
    #[xml(attr)]
    pub model: Option<VirtioModel>,
    /// The limit. Since 1.0.4.
    #[xml(child)]
    pub rate: Option<RngRate>,
    /// Where entropy comes from.
    #[xml(child)]
    pub backend: Option<RngBackend>,
    /// Options of virtio. Since 3.5.0.
    #[xml(child)]
    pub driver: Option<VirtioDriver>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

/// `<rate>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct RngRate {
    /// Bytes per period.
    #[xml(attr)]
    pub bytes: u32,
    /// Milliseconds; absent: 1000.
    #[xml(attr)]
    pub period: Option<u32>,
}

words! {
    /// Where entropy comes from.
    pub enum RngModel { Random = "random", Egd = "egd", Builtin = "builtin" }
}

/// `<backend>` of `<rng>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct RngBackend {
    /// Where entropy comes from.
    #[xml(attr)]
    pub model: Option<RngModel>,
    /// `egd`: what the daemon is reached through.
    #[xml(attr, name = "type")]
    pub kind: Option<CharBackend>,
    /// `random`: the device.
    #[xml(text)]
    pub path: Option<String>,
    /// `egd`: where the daemon is.
    #[xml(group)]
    pub source: CharSource,
}

words! {
    /// Watchdog devices.
    pub enum WatchdogModel { I6300esb = "i6300esb", Ib700 = "ib700", Diag288 = "diag288", Itco = "itco" }
}
words! {
    /// What happens when a watchdog fires.
    pub enum WatchdogAction {
        Reset = "reset", Shutdown = "shutdown", Poweroff = "poweroff", Pause = "pause", Dump = "dump", None = "none",
        InjectNmi = "inject-nmi",
    }
}

/// `<watchdog>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Watchdog {
    /// The device.
    #[xml(attr)]
    pub model: Option<WatchdogModel>,
    /// What happens when it fires; absent: `reset`.
    #[xml(attr)]
    pub action: Option<WatchdogAction>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

words! {
    /// How a crash of the guest is noticed.
    pub enum PanicModel {
        Default = "default", Pseries = "pseries", Isa = "isa", Hyperv = "hyperv", S390 = "s390", Pvpanic = "pvpanic",
    }
}

/// `<panic>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Panic {
    /// The device.
    #[xml(attr)]
    pub model: Option<PanicModel>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

words! {
    /// IOMMUs.
    pub enum IommuModel { Intel = "intel", Smmuv3 = "smmuv3", Virtio = "virtio", Amd = "amd" }
}

/// `<iommu>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Iommu {
    /// The device.
    #[xml(attr)]
    pub model: Option<IommuModel>,
    /// How it works. Since 3.4.0.
    #[xml(child)]
    pub driver: Option<IommuDriver>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

/// `<driver>` of `<iommu>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IommuDriver {
    /// Interrupt remapping.
    #[xml(attr, onoff)]
    pub intremap: Option<bool>,
    /// Whether translations may be cached.
    #[xml(attr, name = "caching_mode", onoff)]
    pub caching_mode: Option<bool>,
    /// Extended interrupts.
    #[xml(attr, onoff)]
    pub eim: Option<bool>,
    /// Whether devices cache translations. Since 3.5.0.
    #[xml(attr, onoff)]
    pub iotlb: Option<bool>,
    /// Address bits. Since 6.5.0.
    #[xml(attr, name = "aw_bits")]
    pub aw_bits: Option<u32>,
    /// Whether DMA is translated.
    #[xml(attr, name = "dma_translation", onoff)]
    pub dma_translation: Option<bool>,
    /// AMD: x2APIC.
    #[xml(attr, onoff)]
    pub xtsup: Option<bool>,
    /// AMD: passthrough.
    #[xml(attr, onoff)]
    pub passthrough: Option<bool>,
}

/// `<vsock>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Vsock {
    /// The variant of virtio; absent: `virtio`. Since 5.2.0.
    #[xml(attr)]
    pub model: Option<VirtioModel>,
    /// Its number.
    #[xml(child)]
    pub cid: Option<VsockCid>,
    /// Options of virtio. Since 7.1.0.
    #[xml(child)]
    pub driver: Option<VirtioDriver>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

/// `<cid>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VsockCid {
    /// Whether it is chosen at start.
    #[xml(attr, yesno)]
    pub auto: Option<bool>,
    /// The number, from 3.
    #[xml(attr)]
    pub address: Option<u32>,
}

words! {
    /// Crypto devices.
    pub enum CryptoDevice { Virtio = "virtio" }
}
words! {
    /// Who emulates a crypto device.
    pub enum CryptoType { Qemu = "qemu" }
}

/// `<crypto>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Crypto {
    /// The device.
    #[xml(attr)]
    pub model: Option<CryptoDevice>,
    /// Who emulates it.
    #[xml(attr, name = "type")]
    pub kind: Option<CryptoType>,
    /// What does the work.
    #[xml(child)]
    pub backend: Option<CryptoBackend>,
    /// Options of virtio.
    #[xml(child)]
    pub driver: Option<VirtioDriver>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

words! {
    /// What does the work of a crypto device.
    pub enum CryptoModel { Builtin = "builtin", Lkcf = "lkcf" }
}

/// `<backend>` of `<crypto>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CryptoBackend {
    /// What does the work.
    #[xml(attr)]
    pub model: Option<CryptoModel>,
    /// Queues.
    #[xml(attr)]
    pub queues: Option<u32>,
}

/// `<nvram>` of `<devices>`: pSeries' NVRAM.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct NvramDevice {
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

words! {
    /// Buses of hubs.
    pub enum HubType { Usb = "usb" }
}

/// `<hub>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Hub {
    /// Its bus.
    #[xml(attr, name = "type")]
    pub kind: Option<HubType>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

words! {
    /// What keeps crash records.
    pub enum PstoreBackend { AcpiErst = "acpi-erst" }
}

/// `<pstore>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Pstore {
    /// What keeps records.
    #[xml(attr)]
    pub backend: Option<PstoreBackend>,
    /// The file.
    #[xml(leaf)]
    pub path: Option<String>,
    /// Its size.
    #[xml(leaf, codec = Size, unit = "KiB")]
    pub size: Option<Kib>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}
