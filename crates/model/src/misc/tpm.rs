//! `<tpm>`.

use polyvirt_xml::{Element, words};

use crate::address::DeviceInfo;
use crate::codec::Uuids;
use crate::storage::PathRef;

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
    pub device: Option<PathRef>,
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
    #[xml(attr, codec = Uuids)]
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
