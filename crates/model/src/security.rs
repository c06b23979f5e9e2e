//! Security labels, launch security, key wrapping, user mapping.

use polyvirt_xml::{Element, words};

words! {
    /// Where a label comes from.
    pub enum LabelType { None = "none", Dynamic = "dynamic", Static = "static" }
}

/// `<seclabel>` of a domain.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SecLabel {
    /// Where the label comes from.
    #[xml(attr, name = "type")]
    pub kind: Option<LabelType>,
    /// The security model: `selinux`, `apparmor`, `dac`.
    #[xml(attr)]
    pub model: Option<String>,
    /// Whether resources get labels.
    #[xml(attr, yesno)]
    pub relabel: Option<bool>,
    /// The label.
    #[xml(leaf)]
    pub label: Option<String>,
    /// The label of images, while the guest runs.
    #[xml(leaf, live)]
    pub imagelabel: Option<String>,
    /// What a dynamic label is made from.
    #[xml(leaf)]
    pub baselabel: Option<String>,
}

/// `<seclabel>` of a source.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DeviceLabel {
    /// The security model.
    #[xml(attr)]
    pub model: Option<String>,
    /// Whether it gets a label.
    #[xml(attr, yesno)]
    pub relabel: Option<bool>,
    /// Labelling was not possible, while the guest runs.
    #[xml(attr, yesno, live)]
    pub labelskip: Option<bool>,
    /// The label.
    #[xml(leaf)]
    pub label: Option<String>,
}

/// `<launchSecurity>`: memory encryption.
#[derive(Clone, Debug, PartialEq, Element)]
#[xml(tag = "type")]
#[non_exhaustive]
pub enum LaunchSecurity {
    /// AMD SEV and SEV-ES.
    #[xml("sev")]
    Sev(Sev),
    /// AMD SEV-SNP.
    #[xml("sev-snp")]
    SevSnp(SevSnp),
    /// IBM secure execution. Since 7.6.0.
    #[xml("s390-pv")]
    S390Pv(S390Pv),
    /// Intel TDX.
    #[xml("tdx")]
    Tdx(Tdx),
}

impl Default for LaunchSecurity {
    fn default() -> Self {
        Self::Sev(Sev::default())
    }
}

/// `<launchSecurity type='sev'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Sev {
    /// Whether hashes of a direct kernel are measured. Since 8.0.0.
    #[xml(attr, yesno)]
    pub kernel_hashes: Option<bool>,
    /// The position of the C-bit.
    #[xml(leaf)]
    pub cbitpos: Option<u32>,
    /// Physical address bits that are lost.
    #[xml(leaf)]
    pub reduced_phys_bits: Option<u32>,
    /// The guest's policy.
    #[xml(leaf, hex = 4)]
    pub policy: u32,
    /// The owner's Diffie-Hellman key.
    #[xml(leaf)]
    pub dh_cert: Option<String>,
    /// The session.
    #[xml(leaf)]
    pub session: Option<String>,
}

/// `<launchSecurity type='sev-snp'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct SevSnp {
    /// Whether hashes of a direct kernel are measured.
    #[xml(attr, yesno)]
    pub kernel_hashes: Option<bool>,
    /// Whether the author key is given.
    #[xml(attr, yesno)]
    pub author_key: Option<bool>,
    /// Whether the report is signed with the VCEK.
    #[xml(attr, yesno)]
    pub vcek: Option<bool>,
    /// The position of the C-bit.
    #[xml(leaf)]
    pub cbitpos: Option<u32>,
    /// Physical address bits that are lost.
    #[xml(leaf)]
    pub reduced_phys_bits: Option<u32>,
    /// The guest's policy.
    #[xml(leaf, hex = 8)]
    pub policy: u64,
    /// Workarounds that the guest sees.
    #[xml(leaf)]
    pub guest_visible_workarounds: Option<String>,
    /// The identity block.
    #[xml(leaf)]
    pub id_block: Option<String>,
    /// Its authentication.
    #[xml(leaf)]
    pub id_auth: Option<String>,
    /// Data of the host.
    #[xml(leaf)]
    pub host_data: Option<String>,
}

/// `<launchSecurity type='s390-pv'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct S390Pv {}

/// `<launchSecurity type='tdx'>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Tdx {
    /// The guest's policy.
    #[xml(leaf, hex = 8)]
    pub policy: Option<u64>,
    /// Measured configuration.
    #[xml(leaf, name = "mrConfigId")]
    pub mr_config_id: Option<String>,
    /// Measured owner.
    #[xml(leaf, name = "mrOwner")]
    pub mr_owner: Option<String>,
    /// Measured owner's configuration.
    #[xml(leaf, name = "mrOwnerConfig")]
    pub mr_owner_config: Option<String>,
    /// The service that signs reports.
    #[xml(child)]
    pub quote_generation_service: Option<QuoteService>,
}

/// `<quoteGenerationService>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct QuoteService {
    /// Its socket; absent: the hypervisor's default.
    #[xml(attr)]
    pub path: Option<String>,
}

/// `<keywrap>`: s390 key wrapping.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct KeyWrap {
    /// The ciphers.
    #[xml(child)]
    pub cipher: Vec<KeyWrapCipher>,
}

words! {
    /// Ciphers of key wrapping.
    pub enum KeyWrapName { Aes = "aes", Dea = "dea" }
}

/// `<cipher>` of `<keywrap>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct KeyWrapCipher {
    /// Which cipher.
    #[xml(attr)]
    pub name: Option<KeyWrapName>,
    /// Whether it is on.
    #[xml(attr, onoff)]
    pub state: Option<bool>,
}

/// `<idmap>`: users of a container or filesystem.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IdMap {
    /// Users.
    #[xml(child)]
    pub uid: Vec<IdMapEntry>,
    /// Groups.
    #[xml(child)]
    pub gid: Vec<IdMapEntry>,
}

/// One range of `<idmap>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IdMapEntry {
    /// The first id in the guest.
    #[xml(attr)]
    pub start: u32,
    /// The first id on the host.
    #[xml(attr)]
    pub target: u32,
    /// How many.
    #[xml(attr)]
    pub count: u32,
}
