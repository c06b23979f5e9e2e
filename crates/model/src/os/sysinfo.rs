//! `<sysinfo>`: what the guest reads of its hardware's makers (manual: SMBIOS System Information).

use polyvirt_xml::{Element, words};

words! {
    /// What system information is handed to the guest through.
    pub enum SysinfoType { Smbios = "smbios", Fwcfg = "fwcfg" }
}

/// `<sysinfo>`: system information for the guest.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Sysinfo {
    /// Through what.
    #[xml(attr, name = "type")]
    pub kind: Option<SysinfoType>,
    /// SMBIOS block 0.
    #[xml(child)]
    pub bios: Option<SysinfoBios>,
    /// SMBIOS block 1.
    #[xml(child)]
    pub system: Option<SysinfoSystem>,
    /// SMBIOS blocks 2.
    #[xml(child)]
    pub base_board: Vec<SysinfoBoard>,
    /// SMBIOS block 3. Since 4.1.0.
    #[xml(child)]
    pub chassis: Option<SysinfoChassis>,
    /// SMBIOS block 11. Since 4.1.0.
    #[xml(child)]
    pub oem_strings: Option<OemStrings>,
    /// Files of fw_cfg. Since 6.5.0.
    #[xml(child)]
    pub entry: Vec<FwcfgEntry>,
}

words! {
    /// Fields of SMBIOS block 0.
    pub enum BiosField { Vendor = "vendor", Version = "version", Date = "date", Release = "release" }
}
words! {
    /// Fields of SMBIOS block 1.
    pub enum SystemField {
        Manufacturer = "manufacturer", Product = "product", Version = "version", Serial = "serial", Uuid = "uuid",
        Sku = "sku", Family = "family",
    }
}
words! {
    /// Fields of SMBIOS block 2.
    pub enum BoardField {
        Manufacturer = "manufacturer", Product = "product", Version = "version", Serial = "serial", Asset = "asset",
        Location = "location",
    }
}
words! {
    /// Fields of SMBIOS block 3.
    pub enum ChassisField {
        Manufacturer = "manufacturer", Version = "version", Serial = "serial", Asset = "asset", Sku = "sku",
    }
}

macro_rules! blocks {
    ($($(#[$doc:meta])* $block:ident: $(#[$entry_doc:meta])* $entry:ident of $field:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Element)]
        #[non_exhaustive]
        pub struct $block {
            /// Its fields.
            #[xml(child)]
            pub entry: Vec<$entry>,
        }

        $(#[$entry_doc])*
        #[derive(Clone, Debug, Default, PartialEq, Element)]
        #[non_exhaustive]
        pub struct $entry {
            /// Which field.
            #[xml(attr)]
            pub name: Option<$field>,
            /// The value.
            #[xml(text)]
            pub value: Option<String>,
        }
    )*};
}

blocks!(
    /// `<bios>` of `<sysinfo>`.
    SysinfoBios:
    /// `<entry>` of `<bios>`: a field of it.
    BiosEntry of BiosField,
    /// `<system>` of `<sysinfo>`.
    SysinfoSystem:
    /// `<entry>` of `<system>`: a field of it.
    SystemEntry of SystemField,
    /// `<baseBoard>` of `<sysinfo>`.
    SysinfoBoard:
    /// `<entry>` of `<baseBoard>`: a field of it.
    BoardEntry of BoardField,
    /// `<chassis>` of `<sysinfo>`.
    SysinfoChassis:
    /// `<entry>` of `<chassis>`: a field of it.
    ChassisEntry of ChassisField,
);

/// `<oemStrings>` of `<sysinfo>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct OemStrings {
    /// The strings.
    #[xml(leaf)]
    pub entry: Vec<String>,
}

/// `<entry>` of `<sysinfo type='fwcfg'>`: a file.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FwcfgEntry {
    /// Its name, below `opt/`.
    #[xml(attr)]
    pub name: Option<String>,
    /// A file of the host with its content.
    #[xml(attr)]
    pub file: Option<String>,
    /// Its content.
    #[xml(text)]
    pub value: Option<String>,
}
