//! Where data of disks is: files, block devices, network storage, volumes, and chains of them.

use polyvirt_xml::{Element, words};
use uuid::Uuid;

use crate::address::PciAddress;
use crate::codec::{Bytes, Uuids};
use crate::security::DeviceLabel;

words! {
    /// Kinds of sources.
    pub enum SourceKind {
        File = "file", Block = "block", Dir = "dir", Network = "network", Volume = "volume", Nvme = "nvme",
        VhostUser = "vhostuser", VhostVdpa = "vhostvdpa",
    }
}
words! {
    /// What happens if a source is missing at start.
    pub enum StartupPolicy { Mandatory = "mandatory", Requisite = "requisite", Optional = "optional" }
}
words! {
    /// Protocols of network storage.
    pub enum StorageProtocol {
        Nbd = "nbd", Rbd = "rbd", Sheepdog = "sheepdog", Gluster = "gluster", Iscsi = "iscsi", Http = "http",
        Https = "https", Ftp = "ftp", Ftps = "ftps", Tftp = "tftp", Ssh = "ssh", Vxhs = "vxhs", Nfs = "nfs",
    }
}

words! {
    /// How a source is addressed.
    pub enum SourceAddress { Pci = "pci", Unix = "unix" }
}
words! {
    /// How an iSCSI volume is reached: as a device of the host, or by the hypervisor itself.
    pub enum VolumeMode { Host = "host", Direct = "direct" }
}
words! {
    /// Formats of images. `aio` is Xen's old word for `raw`.
    pub enum ImageFormat {
        None = "none", Raw = "raw", Dir = "dir", Bochs = "bochs", Cloop = "cloop", Dmg = "dmg", Iso = "iso",
        Vpc = "vpc", Vdi = "vdi", Fat = "fat", Vhd = "vhd", Ploop = "ploop", Cow = "cow", Qcow = "qcow",
        Qcow2 = "qcow2", Qed = "qed", Vmdk = "vmdk", Aio = "aio",
    }
}

/// `<source>` of disks, backing stores and NVRAM. Which fields count follows from the kind beside it.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Source {
    /// How the device is addressed: `nvme` by PCI, `vhostuser` by a socket.
    #[xml(attr, name = "type")]
    pub kind: Option<SourceAddress>,
    /// A file.
    #[xml(attr)]
    pub file: Option<String>,
    /// A block device.
    #[xml(attr)]
    pub dev: Option<String>,
    /// A directory that is shown as a FAT volume.
    #[xml(attr)]
    pub dir: Option<String>,
    /// A socket (`vhostuser`).
    #[xml(attr)]
    pub path: Option<String>,
    /// The protocol of network storage.
    #[xml(attr)]
    pub protocol: Option<StorageProtocol>,
    /// The image on the server.
    #[xml(attr)]
    pub name: Option<String>,
    /// The query part of a URL. Since 6.2.0.
    #[xml(attr)]
    pub query: Option<String>,
    /// Whether the connection is encrypted. Since 4.5.0.
    #[xml(attr, yesno)]
    pub tls: Option<bool>,
    /// The name that the server's certificate has. Since 8.2.0.
    #[xml(attr)]
    pub tls_hostname: Option<String>,
    /// A storage pool.
    #[xml(attr)]
    pub pool: Option<String>,
    /// A volume of the pool.
    #[xml(attr)]
    pub volume: Option<String>,
    /// How an iSCSI volume is reached; absent: through the host. Since 1.1.1.
    #[xml(attr)]
    pub mode: Option<VolumeMode>,
    /// NVMe: whether the device is taken from its host driver.
    #[xml(attr, yesno)]
    pub managed: Option<bool>,
    /// NVMe: the namespace.
    #[xml(attr)]
    pub namespace: Option<u64>,
    /// What happens if it is missing at start; absent: mandatory. Since 0.9.7.
    #[xml(attr)]
    pub startup_policy: Option<StartupPolicy>,
    /// Its number in the chain, while the guest runs.
    #[xml(attr, live)]
    pub index: Option<u32>,
    /// A group of file descriptors that the client passes. Since 9.0.0.
    #[xml(attr)]
    pub fdgroup: Option<String>,
    /// Servers.
    #[xml(child)]
    pub host: Vec<StorageHost>,
    /// A snapshot on the server. Since 1.2.11.
    #[xml(child)]
    pub snapshot: Option<Named>,
    /// The client's configuration file. Since 1.2.11.
    #[xml(child)]
    pub config: Option<FileRef>,
    /// iSCSI: the initiator. Since 4.7.0.
    #[xml(child)]
    pub initiator: Option<Initiator>,
    /// TLS for https. Since 6.2.0.
    #[xml(child)]
    pub ssl: Option<Ssl>,
    /// Cookies for http. Since 6.2.0.
    #[xml(child)]
    pub cookies: Option<Cookies>,
    /// The size of a read-ahead buffer. Since 6.2.0.
    #[xml(child)]
    pub readahead: Option<CacheAmount>,
    /// Seconds until a request times out. Since 6.2.0.
    #[xml(child)]
    pub timeout: Option<TimeoutSeconds>,
    /// How to connect again.
    #[xml(child)]
    pub reconnect: Option<StorageReconnect>,
    /// SSH: known hosts.
    #[xml(child)]
    pub known_hosts: Option<PathRef>,
    /// NFS and SSH: who the client is.
    #[xml(child)]
    pub identity: Option<Identity>,
    /// PCI address of an NVMe device. Since 6.0.0.
    #[xml(child)]
    pub address: Option<PciAddress>,
    /// Parts of the image. Since 6.1.0.
    #[xml(child)]
    pub slices: Option<Slices>,
    /// Who logs in. Since 3.9.0.
    #[xml(child)]
    pub auth: Option<Auth>,
    /// How the content is encrypted. Since 3.9.0.
    #[xml(child)]
    pub encryption: Option<Encryption>,
    /// SCSI persistent reservations. Since 4.4.0.
    #[xml(child)]
    pub reservations: Option<Reservations>,
    /// Labels that differ from the guest's. Since 0.9.9.
    #[xml(child)]
    pub seclabel: Vec<DeviceLabel>,
    /// A file beside a qcow2 image that holds the data.
    #[xml(child)]
    pub data_store: Option<Box<DataStore>>,
}

/// A name.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Named {
    /// The name.
    #[xml(attr)]
    pub name: String,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FileRef {
    /// Its path.
    #[xml(attr)]
    pub file: String,
}

/// A path.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PathRef {
    /// The path.
    #[xml(attr)]
    pub path: String,
}

words! {
    /// How a server is reached.
    pub enum StorageTransport { Tcp = "tcp", Unix = "unix", Rdma = "rdma" }
}

/// `<host>`: a server.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct StorageHost {
    /// How it is reached; absent: tcp.
    #[xml(attr)]
    pub transport: Option<StorageTransport>,
    /// Its name or address.
    #[xml(attr)]
    pub name: Option<String>,
    /// Its port; absent: the protocol's.
    #[xml(attr)]
    pub port: Option<u16>,
    /// Its socket.
    #[xml(attr)]
    pub socket: Option<String>,
}

/// `<auth>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Auth {
    /// Who logs in.
    #[xml(attr)]
    pub username: Option<String>,
    /// The secret to use.
    #[xml(child)]
    pub secret: Option<SecretRef>,
}

words! {
    /// What a secret is for: `passphrase` in encryption, the others where somebody logs in.
    pub enum SecretUse {
        Passphrase = "passphrase", Ceph = "ceph", Iscsi = "iscsi", Volume = "volume", Tls = "tls", Vtpm = "vtpm",
    }
}

/// `<secret>`: a secret by its use or UUID.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SecretRef {
    /// What it is for.
    #[xml(attr, name = "type")]
    pub kind: Option<SecretUse>,
    /// Its use.
    #[xml(attr)]
    pub usage: Option<String>,
    /// Its UUID.
    #[xml(attr, codec = Uuids)]
    pub uuid: Option<Uuid>,
}

words! {
    /// Formats of encryption.
    pub enum EncryptionFormat {
        Default = "default", Qcow = "qcow", Luks = "luks", Luks2 = "luks2", LuksAny = "luks-any",
    }
}
words! {
    /// Who encrypts.
    pub enum EncryptionEngine { Qemu = "qemu", Librbd = "librbd" }
}

/// `<encryption>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Encryption {
    /// The format.
    #[xml(attr)]
    pub format: Option<EncryptionFormat>,
    /// Who encrypts.
    #[xml(attr)]
    pub engine: Option<EncryptionEngine>,
    /// The keys, one per layer.
    #[xml(child)]
    pub secret: Vec<SecretRef>,
    /// The cipher for new volumes.
    #[xml(child)]
    pub cipher: Option<Cipher>,
    /// How the initialisation vector is made.
    #[xml(child)]
    pub ivgen: Option<IvGen>,
}

/// `<cipher>` of `<encryption>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Cipher {
    /// Its name.
    #[xml(attr)]
    pub name: String,
    /// Bits of the key.
    #[xml(attr)]
    pub size: Option<u32>,
    /// Its mode.
    #[xml(attr)]
    pub mode: Option<String>,
    /// Its hash.
    #[xml(attr)]
    pub hash: Option<String>,
}

/// `<ivgen>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IvGen {
    /// Its name.
    #[xml(attr)]
    pub name: String,
    /// Its hash.
    #[xml(attr)]
    pub hash: Option<String>,
}

/// `<reservations>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Reservations {
    /// Whether the helper is started for the guest.
    #[xml(attr, yesno)]
    pub managed: Option<bool>,
    /// The helper's socket.
    #[xml(child)]
    pub source: Option<ReservationsSource>,
}

words! {
    /// The kind of socket of a reservations helper.
    pub enum ReservationsSocket { Unix = "unix" }
}
words! {
    /// Which side of a reservations helper's socket we are.
    pub enum ReservationsMode { Client = "client" }
}

/// `<source>` of `<reservations>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct ReservationsSource {
    /// The kind of socket.
    #[xml(attr, name = "type")]
    pub kind: Option<ReservationsSocket>,
    /// The socket.
    #[xml(attr)]
    pub path: Option<String>,
    /// Which side of it we are.
    #[xml(attr)]
    pub mode: Option<ReservationsMode>,
}

/// `<initiator>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Initiator {
    /// Its qualified name.
    #[xml(child)]
    pub iqn: Option<Named>,
}

/// `<slices>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Slices {
    /// The parts.
    #[xml(child)]
    pub slice: Vec<Slice>,
}

words! {
    /// What the numbers of a slice count in.
    pub enum SliceType { Storage = "storage" }
}

/// `<slice>`: a part of an image, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Slice {
    /// What the numbers count in.
    #[xml(attr, name = "type")]
    pub kind: Option<SliceType>,
    /// Where it begins.
    #[xml(attr)]
    pub offset: u64,
    /// How long it is.
    #[xml(attr)]
    pub size: u64,
}

/// `<ssl>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Ssl {
    /// Whether the certificate is verified.
    #[xml(attr, yesno)]
    pub verify: Option<bool>,
}

/// `<cookies>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Cookies {
    /// The cookies.
    #[xml(child)]
    pub cookie: Vec<Cookie>,
}

/// `<cookie>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Cookie {
    /// Its name.
    #[xml(attr)]
    pub name: String,
    /// Its value: a secret.
    #[xml(text, secret)]
    pub value: Option<String>,
}

/// `<reconnect>` of a network source.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct StorageReconnect {
    /// Whether it connects again.
    #[xml(attr, yesno)]
    pub enabled: Option<bool>,
    /// Seconds after which it gives up.
    #[xml(attr)]
    pub timeout: Option<u32>,
    /// Seconds until requests fail.
    #[xml(attr)]
    pub delay: Option<u32>,
}

/// `<readahead>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct CacheAmount {
    /// The size.
    #[xml(attr, codec = Bytes, unit = "bytes")]
    pub size: u64,
}

/// `<timeout>` in seconds.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct TimeoutSeconds {
    /// Seconds.
    #[xml(attr)]
    pub seconds: Option<u64>,
}

/// `<identity>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Identity {
    /// NFS: the user.
    #[xml(attr)]
    pub user: Option<String>,
    /// NFS: the group.
    #[xml(attr)]
    pub group: Option<String>,
    /// SSH: the user.
    #[xml(attr)]
    pub username: Option<String>,
    /// SSH: the key.
    #[xml(attr)]
    pub keyfile: Option<String>,
    /// SSH: the agent's socket.
    #[xml(attr)]
    pub agentsock: Option<String>,
}

/// `<dataStore>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DataStore {
    /// The kind of its source.
    #[xml(attr, name = "type")]
    pub kind: Option<SourceKind>,
    /// Its format.
    #[xml(child)]
    pub format: Option<Format>,
    /// Where it is.
    #[xml(child)]
    pub source: Option<Source>,
}

/// `<format>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Format {
    /// The format of the image.
    #[xml(attr, name = "type")]
    pub kind: Option<ImageFormat>,
    /// The cache for its metadata.
    #[xml(child, name = "metadata_cache")]
    pub metadata_cache: Option<MetadataCache>,
}

/// `<metadata_cache>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MetadataCache {
    /// Its size.
    #[xml(leaf, name = "max_size", codec = Bytes, unit = "bytes")]
    pub max_size: Option<u64>,
}

/// `<backingStore>`: what an image is based on. An empty one ends the chain.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BackingStore {
    /// The kind of its source; absent: there is none.
    #[xml(attr, name = "type")]
    pub kind: Option<SourceKind>,
    /// Its number in the chain, while the guest runs.
    #[xml(attr, live)]
    pub index: Option<u32>,
    /// Its format.
    #[xml(child)]
    pub format: Option<Format>,
    /// Where it is.
    #[xml(child)]
    pub source: Option<Source>,
    /// What it is based on.
    #[xml(child)]
    pub backing_store: Option<Box<BackingStore>>,
}

words! {
    /// Block jobs that mirror a disk.
    pub enum MirrorJob { Copy = "copy", ActiveCommit = "active-commit" }
}
words! {
    /// How far a mirror is: it follows the guest's writes, or the job is being ended one way or the other.
    pub enum MirrorReady { Yes = "yes", Abort = "abort", Pivot = "pivot" }
}

/// `<mirror>`: the target of a block job, while the guest runs.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Mirror {
    /// The kind of its source.
    #[xml(attr, name = "type")]
    pub kind: Option<SourceKind>,
    /// A file (old form).
    #[xml(attr)]
    pub file: Option<String>,
    /// Its format (old form).
    #[xml(attr, name = "format")]
    pub format_name: Option<ImageFormat>,
    /// The job.
    #[xml(attr)]
    pub job: Option<MirrorJob>,
    /// Whether it follows the guest's writes, or how the job ends.
    #[xml(attr)]
    pub ready: Option<MirrorReady>,
    /// Its format.
    #[xml(child)]
    pub format: Option<Format>,
    /// Where it is.
    #[xml(child)]
    pub source: Option<Source>,
    /// What it is based on.
    #[xml(child)]
    pub backing_store: Option<Box<BackingStore>>,
}
