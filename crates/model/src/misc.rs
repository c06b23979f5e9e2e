//! Small devices: balloon, rng, watchdog, panic, TPM, shared memory, vsock, crypto, IOMMU, NVRAM, hub, pstore.

use polyvirt_numa_placement::Kib;
use polyvirt_xml::{Element, words};

use crate::address::{DeviceInfo, VirtioDriver, VirtioModel};
use crate::chardev::{CharBackend, CharSource};
use crate::codec::Size;

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
    /// TPM devices.
    pub enum TpmModel {
        Default = "default", TpmTis = "tpm-tis", TpmCrb = "tpm-crb", TpmSpapr = "tpm-spapr",
        SpaprTpmProxy = "spapr-tpm-proxy",
    }
}

/// `<tpm>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Tpm {
    /// The device.
    #[xml(attr)]
    pub model: Option<TpmModel>,
    /// What is behind it.
    #[xml(child)]
    pub backend: Option<TpmBackend>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

words! {
    /// What is behind a TPM.
    pub enum TpmBackendType { Passthrough = "passthrough", Emulator = "emulator", External = "external" }
}
words! {
    /// Versions of TPMs.
    pub enum TpmVersion { V12 = "1.2", V20 = "2.0" }
}

/// `<backend>` of `<tpm>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct TpmBackend {
    /// What is behind it.
    #[xml(attr, name = "type")]
    pub kind: Option<TpmBackendType>,
    /// The version.
    #[xml(attr)]
    pub version: Option<TpmVersion>,
    /// Whether its state stays when the guest is removed; absent: `no`. Since 7.0.0.
    #[xml(attr, name = "persistent_state", yesno)]
    pub persistent_state: Option<bool>,
    /// How much swtpm logs.
    #[xml(attr)]
    pub debug: Option<u32>,
    /// Passthrough: the device.
    #[xml(child)]
    pub device: Option<crate::storage::PathRef>,
    /// How the state is encrypted. Since 5.6.0.
    #[xml(child)]
    pub encryption: Option<TpmEncryption>,
    /// Banks that are switched on. Since 7.10.0.
    #[xml(child, name = "active_pcr_banks")]
    pub active_pcr_banks: Option<PcrBanks>,
    /// Its state, or the external server.
    #[xml(child)]
    pub source: Option<TpmSource>,
    /// swtpm's profile.
    #[xml(child)]
    pub profile: Option<TpmProfile>,
}

words! {
    /// Where an emulated TPM keeps its state, or where an external one listens.
    pub enum TpmSourceType { File = "file", Dir = "dir", Unix = "unix" }
}
words! {
    /// Which side of an external TPM's socket we are.
    pub enum TpmSourceMode { Connect = "connect" }
}
words! {
    /// What is removed from a TPM's profile when the host forbids it.
    pub enum RemoveDisabled { Check = "check", FipsHost = "fips-host" }
}

/// `<source>` of a TPM's backend.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct TpmSource {
    /// What it is.
    #[xml(attr, name = "type")]
    pub kind: Option<TpmSourceType>,
    /// Which side of the socket we are.
    #[xml(attr)]
    pub mode: Option<TpmSourceMode>,
    /// The path.
    #[xml(attr)]
    pub path: Option<String>,
}

/// `<encryption>` of a TPM's backend.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct TpmEncryption {
    /// The secret with the passphrase.
    #[xml(attr, codec = crate::codec::Uuids)]
    pub secret: Option<uuid::Uuid>,
}

/// `<active_pcr_banks>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PcrBanks {
    /// SHA-1.
    #[xml(flag)]
    pub sha1: bool,
    /// SHA-256.
    #[xml(flag)]
    pub sha256: bool,
    /// SHA-384.
    #[xml(flag)]
    pub sha384: bool,
    /// SHA-512.
    #[xml(flag)]
    pub sha512: bool,
}

/// `<profile>` of a TPM's backend.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct TpmProfile {
    /// Where it comes from.
    #[xml(attr)]
    pub source: Option<String>,
    /// What is removed when the host forbids it.
    #[xml(attr)]
    pub remove_disabled: Option<RemoveDisabled>,
    /// Its name, once it is created.
    #[xml(attr)]
    pub name: Option<String>,
}

words! {
    /// Whether shared memory moves with a guest in a migration: with the one master, never with a peer.
    pub enum ShmemRole { Master = "master", Peer = "peer" }
}

/// `<shmem>`: memory shared between guests.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Shmem {
    /// Its name.
    #[xml(attr)]
    pub name: String,
    /// Whether its content moves with the guest. Since 6.6.0.
    #[xml(attr)]
    pub role: Option<ShmemRole>,
    /// The device.
    #[xml(child)]
    pub model: Option<ShmemModel>,
    /// Its size.
    #[xml(child)]
    pub size: Option<ShmemSize>,
    /// The server that hands it out.
    #[xml(child)]
    pub server: Option<ShmemServer>,
    /// Interrupts.
    #[xml(child)]
    pub msi: Option<ShmemMsi>,
    /// Name and address.
    #[xml(group)]
    pub info: DeviceInfo,
}

words! {
    /// Shared memory devices.
    pub enum ShmemType {
        Ivshmem = "ivshmem", IvshmemPlain = "ivshmem-plain", IvshmemDoorbell = "ivshmem-doorbell",
    }
}

/// `<model>` of `<shmem>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ShmemModel {
    /// The device.
    #[xml(attr, name = "type")]
    pub kind: Option<ShmemType>,
}

/// `<size>` of `<shmem>`: whole MiB, printed so.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ShmemSize {
    /// The size.
    #[xml(text, codec = crate::codec::Mebibytes, unit = "bytes")]
    pub size: Kib,
}

/// `<server>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ShmemServer {
    /// Its socket.
    #[xml(attr)]
    pub path: Option<String>,
}

/// `<msi>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ShmemMsi {
    /// Whether interrupts are used.
    #[xml(attr, onoff)]
    pub enabled: Option<bool>,
    /// Vectors.
    #[xml(attr)]
    pub vectors: Option<u32>,
    /// Whether kicks are asynchronous.
    #[xml(attr, onoff)]
    pub ioeventfd: Option<bool>,
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
