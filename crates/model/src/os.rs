//! `<os>`: what a guest boots.

use polyvirt_xml::{Element, words};

mod architecture;
mod sysinfo;

pub use architecture::Architectures;
pub use sysinfo::*;

use crate::storage::{Source, SourceKind};

words! {
    /// Which firmware is picked automatically.
    pub enum FirmwareKind { Bios = "bios", Efi = "efi" }
}

/// `<os>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Os {
    /// Pick firmware of this kind automatically. Since 5.2.0.
    #[xml(attr)]
    pub firmware: Option<FirmwareKind>,
    /// The kind of guest and its machine.
    #[xml(child)]
    pub r#type: Option<OsType>,
    /// What the picked firmware must or must not be able to do. Since 7.2.0.
    #[xml(child, name = "firmware")]
    pub firmware_features: Option<FirmwareFeatures>,
    /// The program a container starts.
    #[xml(leaf)]
    pub init: Option<String>,
    /// Its arguments.
    #[xml(leaf)]
    pub initarg: Vec<String>,
    /// Its environment.
    #[xml(child)]
    pub initenv: Vec<InitEnv>,
    /// Its working directory.
    #[xml(leaf)]
    pub initdir: Option<String>,
    /// Its user.
    #[xml(leaf)]
    pub inituser: Option<String>,
    /// Its group.
    #[xml(leaf)]
    pub initgroup: Option<String>,
    /// A firmware image.
    #[xml(child)]
    pub loader: Option<Loader>,
    /// Where firmware keeps its variables. Since 1.2.8.
    #[xml(child)]
    pub nvram: Option<Nvram>,
    /// A kernel to boot directly.
    #[xml(leaf)]
    pub kernel: Option<String>,
    /// Its initial RAM disk.
    #[xml(leaf)]
    pub initrd: Option<String>,
    /// Its command line.
    #[xml(leaf)]
    pub cmdline: Option<String>,
    /// A boot loader between firmware and kernel.
    #[xml(leaf)]
    pub shim: Option<String>,
    /// Its device tree. Since 1.0.4.
    #[xml(leaf)]
    pub dtb: Option<String>,
    /// ACPI tables. Since 1.3.5.
    #[xml(child)]
    pub acpi: Option<AcpiTables>,
    /// Boot devices in order.
    #[xml(child)]
    pub boot: Vec<BootDevice>,
    /// A menu at boot. Since 0.8.3.
    #[xml(child)]
    pub bootmenu: Option<BootMenu>,
    /// Options of the BIOS. Since 0.9.4.
    #[xml(child)]
    pub bios: Option<Bios>,
    /// Where SMBIOS strings come from. Since 0.8.7.
    #[xml(child)]
    pub smbios: Option<Smbios>,
}

words! {
    /// What kind of guest boots.
    pub enum OsKind {
        Hvm = "hvm", Linux = "linux", Xen = "xen", XenPvh = "xenpvh", Exe = "exe", Uml = "uml",
    }
}

/// `<type>` of `<os>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct OsType {
    /// The CPU architecture; absent: the host's.
    #[xml(attr, codec = Architectures)]
    pub arch: Option<String>,
    /// The machine type, in the hypervisor's words.
    #[xml(attr)]
    pub machine: Option<String>,
    /// The kind of guest.
    #[xml(text)]
    pub kind: Option<OsKind>,
}

/// `<firmware>` of `<os>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FirmwareFeatures {
    /// The features.
    #[xml(child)]
    pub feature: Vec<FirmwareFeature>,
}

/// `<feature>` of `<firmware>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct FirmwareFeature {
    /// Whether it must be there or absent.
    #[xml(attr, yesno)]
    pub enabled: Option<bool>,
    /// Its name.
    #[xml(attr)]
    pub name: Option<FirmwareFeatureName>,
}

words! {
    /// Features of firmware.
    pub enum FirmwareFeatureName { EnrolledKeys = "enrolled-keys", SecureBoot = "secure-boot" }
}

/// `<initenv>`: a variable.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct InitEnv {
    /// Its name.
    #[xml(attr)]
    pub name: String,
    /// Its value.
    #[xml(text)]
    pub value: Option<String>,
}

words! {
    /// How firmware is mapped.
    pub enum LoaderType { Rom = "rom", Pflash = "pflash" }
}
words! {
    /// Formats of firmware images.
    pub enum FirmwareFormat { Raw = "raw", Qcow2 = "qcow2" }
}

/// `<loader>`: a firmware image.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Loader {
    /// Whether the guest may not write it. Since 1.2.8.
    #[xml(attr, yesno)]
    pub readonly: Option<bool>,
    /// Whether it needs secure boot and SMM. Since 2.1.0.
    #[xml(attr, yesno)]
    pub secure: Option<bool>,
    /// How it is mapped. Since 1.2.8.
    #[xml(attr, name = "type")]
    pub kind: Option<LoaderType>,
    /// Whether it keeps no variables. Since 8.6.0.
    #[xml(attr, yesno)]
    pub stateless: Option<bool>,
    /// Its format.
    #[xml(attr)]
    pub format: Option<FirmwareFormat>,
    /// Its path.
    #[xml(text)]
    pub path: Option<String>,
}

/// `<nvram>`: where firmware keeps its variables.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Nvram {
    /// What it is copied from if it does not exist.
    #[xml(attr)]
    pub template: Option<String>,
    /// The template's format.
    #[xml(attr)]
    pub template_format: Option<FirmwareFormat>,
    /// The kind of `source`. Since 8.5.0.
    #[xml(attr, name = "type")]
    pub kind: Option<SourceKind>,
    /// Its format.
    #[xml(attr)]
    pub format: Option<FirmwareFormat>,
    /// Its path.
    #[xml(text)]
    pub path: Option<String>,
    /// Where it is, if not in a local file.
    #[xml(child)]
    pub source: Option<Source>,
}

/// `<acpi>` of `<os>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct AcpiTables {
    /// The tables.
    #[xml(child)]
    pub table: Vec<AcpiTable>,
}

words! {
    /// Kinds of ACPI tables.
    pub enum AcpiTableType { Slic = "slic", Raw = "raw", Rawset = "rawset", Msdm = "msdm" }
}

/// `<table>`: an ACPI table from a file.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct AcpiTable {
    /// Its kind.
    #[xml(attr, name = "type")]
    pub kind: Option<AcpiTableType>,
    /// The file.
    #[xml(text)]
    pub path: Option<String>,
}

words! {
    /// Kinds of boot devices.
    pub enum BootDeviceKind { Fd = "fd", Hd = "hd", Cdrom = "cdrom", Network = "network" }
}

/// `<boot>` of `<os>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BootDevice {
    /// The kind of device.
    #[xml(attr)]
    pub dev: Option<BootDeviceKind>,
}

/// `<bootmenu>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BootMenu {
    /// Whether there is one.
    #[xml(attr, yesno)]
    pub enable: Option<bool>,
    /// Milliseconds it waits, up to 65535. Since 1.2.8.
    #[xml(attr)]
    pub timeout: Option<u32>,
}

/// `<bios>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Bios {
    /// Whether its messages go to the serial port.
    #[xml(attr, yesno)]
    pub useserial: Option<bool>,
    /// Milliseconds after which it boots again when nothing boots; -1: never. Since 0.10.2.
    #[xml(attr)]
    pub reboot_timeout: Option<i32>,
}

words! {
    /// Where SMBIOS strings come from.
    pub enum SmbiosMode { Emulate = "emulate", Host = "host", Sysinfo = "sysinfo" }
}

/// `<smbios>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Smbios {
    /// Where the strings come from.
    #[xml(attr)]
    pub mode: Option<SmbiosMode>,
}
