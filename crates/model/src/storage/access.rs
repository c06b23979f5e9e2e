//! How storage is reached: servers, secrets, encryption, reservations, and the options of single protocols.

use polyvirt_xml::{Element, words};
use uuid::Uuid;

use super::Named;
use crate::codec::{Bytes, Uuids};

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
