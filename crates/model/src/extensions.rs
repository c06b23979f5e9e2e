//! Elements of the hypervisors' own namespaces: what the shared format has no words for. Each hypervisor reads its own and
//! leaves the others alone. (Manual: drvqemu "Pass-through of arbitrary commands", drvlxc "Network namespace sharing", drvbhyve.)

use polyvirt_xml::{Element, words};

/// The namespace of `qemu:` elements.
pub const QEMU: &str = "http://libvirt.org/schemas/domain/qemu/1.0";
/// The namespace of `lxc:` elements.
pub const LXC: &str = "http://libvirt.org/schemas/domain/lxc/1.0";
/// The namespace of `xen:` elements.
pub const XEN: &str = "http://libvirt.org/schemas/domain/xen/1.0";
/// The namespace of `bhyve:` elements.
pub const BHYVE: &str = "http://libvirt.org/schemas/domain/bhyve/1.0";
/// The namespace of `vmware:` elements.
pub const VMWARE: &str = "http://libvirt.org/schemas/domain/vmware/1.0";

/// One argument of a command line.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Argument {
    /// The argument, taken as it is.
    #[xml(attr)]
    pub value: String,
}

/// A variable of an environment.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Variable {
    /// Its name.
    #[xml(attr)]
    pub name: String,
    /// Its value; absent: empty.
    #[xml(attr)]
    pub value: Option<String>,
}

/// `<qemu:commandline>`: what QEMU is given beside what follows from the definition.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct QemuCommandline {
    /// Arguments, in order, after all others.
    #[xml(child, name = "qemu:arg", ns = QEMU)]
    pub arg: Vec<Argument>,
    /// Variables of its environment.
    #[xml(child, name = "qemu:env", ns = QEMU)]
    pub env: Vec<Variable>,
}

/// `<qemu:capabilities>`: abilities that QEMU is taken to have or to lack, whatever it says. For development. Since 5.5.0.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct QemuCapabilities {
    /// It has these.
    #[xml(child, name = "qemu:add", ns = QEMU)]
    pub add: Vec<QemuCapability>,
    /// It lacks these.
    #[xml(child, name = "qemu:del", ns = QEMU)]
    pub del: Vec<QemuCapability>,
}

/// One ability of QEMU.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct QemuCapability {
    /// Its name in libvirt.
    #[xml(attr)]
    pub capability: String,
}

/// `<qemu:override>`: properties of devices that are set whatever the definition says. Since 8.2.0.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct QemuOverride {
    /// The devices.
    #[xml(child, name = "qemu:device", ns = QEMU)]
    pub device: Vec<QemuOverrideDevice>,
}

/// `<qemu:device>`: one device.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct QemuOverrideDevice {
    /// Its alias.
    #[xml(attr)]
    pub alias: String,
    /// What the guest sees of it.
    #[xml(child, name = "qemu:frontend", ns = QEMU)]
    pub frontend: Option<QemuFrontend>,
}

/// `<qemu:frontend>`: properties of what the guest sees.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct QemuFrontend {
    /// The properties.
    #[xml(child, name = "qemu:property", ns = QEMU)]
    pub property: Vec<QemuProperty>,
}

words! {
    /// How the value of a property is to be taken, or that the property is left out.
    pub enum QemuPropertyType {
        String = "string", Unsigned = "unsigned", Signed = "signed", Bool = "bool", Remove = "remove",
    }
}

/// `<qemu:property>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct QemuProperty {
    /// Its name in QEMU.
    #[xml(attr)]
    pub name: String,
    /// How its value is to be taken.
    #[xml(attr, name = "type")]
    pub kind: Option<QemuPropertyType>,
    /// Its value; absent when it is removed.
    #[xml(attr)]
    pub value: Option<String>,
}

words! {
    /// What QEMU does when it is asked for something deprecated.
    pub enum QemuDeprecationBehavior { None = "none", Omit = "omit", Reject = "reject", Crash = "crash" }
}

/// `<qemu:deprecation>`. Since 7.2.0.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct QemuDeprecation {
    /// What it does when it is asked for something deprecated.
    #[xml(attr)]
    pub behavior: Option<QemuDeprecationBehavior>,
}

words! {
    /// Whose namespace a container shares.
    pub enum LxcShare {
        /// Of a container, by its name.
        Name = "name",
        /// Of a process, by its number.
        Pid = "pid",
        /// A network namespace by its name.
        Netns = "netns",
    }
}

/// `<lxc:namespace>`: namespaces that a container shares with others. Since 1.2.19.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct LxcNamespaces {
    /// The network.
    #[xml(child, name = "lxc:sharenet", ns = LXC)]
    pub sharenet: Option<LxcNamespace>,
    /// Inter-process communication.
    #[xml(child, name = "lxc:shareipc", ns = LXC)]
    pub shareipc: Option<LxcNamespace>,
    /// The host name.
    #[xml(child, name = "lxc:shareuts", ns = LXC)]
    pub shareuts: Option<LxcNamespace>,
}

/// One namespace that is shared.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct LxcNamespace {
    /// Whose it is.
    #[xml(attr, name = "type")]
    pub kind: Option<LxcShare>,
    /// The name or number.
    #[xml(attr)]
    pub value: String,
}

/// `<xen:commandline>`: arguments of the device model. Since 6.7.0.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct XenCommandline {
    /// Arguments, in order, after all others.
    #[xml(child, name = "xen:arg", ns = XEN)]
    pub arg: Vec<Argument>,
}

/// `<bhyve:commandline>`: what bhyve is given beside what follows from the definition. Since 5.1.0.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct BhyveCommandline {
    /// Arguments, in order, after all others.
    #[xml(child, name = "bhyve:arg", ns = BHYVE)]
    pub arg: Vec<Argument>,
    /// Variables of its environment.
    #[xml(child, name = "bhyve:env", ns = BHYVE)]
    pub env: Vec<Variable>,
}
