//! `<domainbackup>`: what a backup of a running guest copies, and where to (manual: "Backup XML format").
//!
//! Parsed and completed like a domain: [`DomainBackup::from_xml`] gives what was written, [`DomainBackup::complete`] what will be done
//! with each disk of a guest. Nothing is copied here.
//!
//! Invariants: after completion every disk of the guest is listed once, and those that take part say how and where to. Completing
//! twice changes nothing.

mod align;

use polyvirt_xml::{Element, words};

use crate::security::DeviceLabel;
use crate::storage::{Encryption, ImageFormat, StorageTransport};

words! {
    /// Who moves the data.
    pub enum BackupMode { Push = "push", Pull = "pull" }
}
words! {
    /// How much of a disk is copied.
    pub enum DiskBackupMode { Full = "full", Incremental = "incremental" }
}
words! {
    /// Where backups go.
    pub enum BackupStoreKind { File = "file", Block = "block" }
}
words! {
    /// How far the backup of a disk is, while it runs.
    pub enum DiskBackupState {
        Running = "running", Complete = "complete", Failed = "failed", Cancelling = "cancelling",
        Cancelled = "cancelled",
    }
}

/// `<domainbackup>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[xml(root = "domainbackup")]
#[non_exhaustive]
pub struct DomainBackup {
    /// Who moves the data; absent: we do.
    #[xml(attr)]
    pub mode: Option<BackupMode>,
    /// The checkpoint since which changes are copied; absent: everything is.
    #[xml(leaf)]
    pub incremental: Option<String>,
    /// `pull`: where clients fetch the data.
    #[xml(child)]
    pub server: Option<BackupServer>,
    /// The disks; absent: all of the guest's.
    #[xml(child)]
    pub disks: Option<BackupDisks>,
    /// What a running backup holds of its hypervisor.
    #[xml(child, live)]
    pub private_data: Option<PrivateData>,
}

/// `<server>`: an NBD server.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BackupServer {
    /// How it is reached; absent: over TCP.
    #[xml(attr)]
    pub transport: Option<StorageTransport>,
    /// Whether the connection is encrypted.
    #[xml(attr, yesno)]
    pub tls: Option<bool>,
    /// The address it listens on.
    #[xml(attr)]
    pub name: Option<String>,
    /// The port it listens on.
    #[xml(attr)]
    pub port: Option<u16>,
    /// `unix`: its socket.
    #[xml(attr)]
    pub socket: Option<String>,
    /// A group of file descriptors that the client passes.
    #[xml(attr)]
    pub fdgroup: Option<String>,
}

/// `<disks>` of a backup.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BackupDisks {
    /// The disks.
    #[xml(child)]
    pub disk: Vec<BackupDisk>,
}

/// `<disk>` of a backup.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BackupDisk {
    /// The disk, by `<target dev>`.
    #[xml(attr)]
    pub name: String,
    /// Whether it takes part; absent: it does.
    #[xml(attr, yesno)]
    pub backup: Option<bool>,
    /// How far its backup is.
    #[xml(attr, live)]
    pub state: Option<DiskBackupState>,
    /// Where it goes.
    #[xml(attr, name = "type")]
    pub kind: Option<BackupStoreKind>,
    /// How much of it is copied, if that differs from the whole backup.
    #[xml(attr, name = "backupmode")]
    pub backup_mode: Option<DiskBackupMode>,
    /// The checkpoint since which changes are copied, if that differs from the whole backup.
    #[xml(attr)]
    pub incremental: Option<String>,
    /// `pull`: the name of the export; absent: the disk's.
    #[xml(attr, name = "exportname")]
    pub export_name: Option<String>,
    /// `pull`: the name of the bitmap of changes.
    #[xml(attr, name = "exportbitmap")]
    pub export_bitmap: Option<String>,
    /// Its number, while the backup runs.
    #[xml(attr, live)]
    pub index: Option<u32>,
    /// The format of what is written; absent: qcow2.
    #[xml(child)]
    pub driver: Option<BackupDriver>,
    /// `push`: where the copy goes.
    #[xml(child)]
    pub target: Option<BackupStore>,
    /// `pull`: where blocks go that the guest overwrites meanwhile.
    #[xml(child)]
    pub scratch: Option<BackupStore>,
}

/// `<driver>` of a disk of a backup.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BackupDriver {
    /// The format.
    #[xml(attr, name = "type")]
    pub kind: Option<ImageFormat>,
}

/// `<target>` or `<scratch>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BackupStore {
    /// A file.
    #[xml(attr)]
    pub file: Option<String>,
    /// A block device.
    #[xml(attr)]
    pub dev: Option<String>,
    /// How it is encrypted.
    #[xml(child)]
    pub encryption: Option<Encryption>,
    /// Labels that differ from the guest's.
    #[xml(child)]
    pub seclabel: Vec<DeviceLabel>,
}

/// `<privateData>` of a running backup.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PrivateData {
    /// Objects that go with the backup.
    #[xml(child)]
    pub objects: Option<PrivateObjects>,
}

/// `<objects>` of a running backup.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PrivateObjects {
    /// Secrets in the hypervisor.
    #[xml(child)]
    pub secret: Vec<PrivateObject>,
    /// Credentials in the hypervisor.
    #[xml(child, name = "TLSx509")]
    pub tls_x509: Vec<PrivateObject>,
}

/// An object in the hypervisor.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct PrivateObject {
    /// What it is for.
    #[xml(attr, name = "type")]
    pub kind: Option<String>,
    /// Its name.
    #[xml(attr)]
    pub alias: String,
}
