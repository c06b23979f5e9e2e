//! Where data of disks is: files, block devices, network storage, volumes, and chains of them.

use polyvirt_xml::{Element, words};

use crate::address::PciAddress;
use crate::security::DeviceLabel;

mod access;
mod chain;

pub use access::*;
pub use chain::*;

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

impl StorageProtocol {
    /// Where servers of this protocol listen (IANA, and each protocol's manual). Ceph's monitors have ports of their own, and those of NFS
    /// are not the client's to name.
    #[must_use]
    pub fn default_port(self) -> Option<u16> {
        Some(match self {
            Self::Nbd => 10809,
            Self::Sheepdog => 7000,
            Self::Gluster => 24007,
            Self::Iscsi => 3260,
            Self::Http => 80,
            Self::Https => 443,
            Self::Ftp => 21,
            Self::Ftps => 990,
            Self::Tftp => 69,
            Self::Ssh => 22,
            Self::Vxhs => 9999,
            Self::Rbd | Self::Nfs => return None,
        })
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
