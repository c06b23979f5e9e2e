//! `<shmem>`: memory shared between guests.

use polyvirt_numa_placement::Kib;
use polyvirt_xml::{Element, words};

use crate::address::DeviceInfo;
use crate::codec::Mebibytes;

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
    #[xml(text, codec = Mebibytes, unit = "bytes")]
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
