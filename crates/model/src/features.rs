//! `<features>`: what the hypervisor switches on and off for a guest.

use polyvirt_numa_placement::Kib;
use polyvirt_xml::{Element, words};

use crate::codec::{LargestUnit, Size};

mod hyperv;

pub use hyperv::*;

/// A feature that is only on or off: `<pmu state='on'/>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Switch {
    /// Whether it is on; absent: on.
    #[xml(attr, onoff)]
    pub state: Option<bool>,
}

words! {
    /// How a pSeries guest is protected from a speculation attack.
    pub enum Mitigation { Broken = "broken", Workaround = "workaround", Fixed = "fixed" }
}
words! {
    /// How a pSeries guest is protected from indirect branch speculation.
    pub enum IbsMitigation {
        Broken = "broken", Workaround = "workaround", FixedIbs = "fixed-ibs", FixedCcd = "fixed-ccd",
        FixedNa = "fixed-na",
    }
}
words! {
    /// RISC-V's advanced interrupt architecture.
    pub enum AiaMode { None = "none", Aplic = "aplic", AplicImsic = "aplic-imsic" }
}

/// `<cfpc>` and `<sbbc>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct MitigationValue {
    /// What the guest is told.
    #[xml(attr)]
    pub value: Option<Mitigation>,
}

/// `<ibs>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IbsValue {
    /// What the guest is told.
    #[xml(attr)]
    pub value: Option<IbsMitigation>,
}

/// `<aia>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Aia {
    /// Which parts there are.
    #[xml(attr)]
    pub value: Option<AiaMode>,
}

/// `<features>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Features {
    /// ACPI.
    #[xml(flag)]
    pub acpi: bool,
    /// The local APIC.
    #[xml(child)]
    pub apic: Option<Apic>,
    /// 32-bit guests address more than 4 GiB.
    #[xml(flag)]
    pub pae: bool,
    /// Xen: hardware assisted paging.
    #[xml(child)]
    pub hap: Option<Switch>,
    /// Xen: Viridian extensions.
    #[xml(flag)]
    pub viridian: bool,
    /// A container has a network namespace of its own even without interfaces.
    #[xml(flag)]
    pub privnet: bool,
    /// Hyper-V enlightenments.
    #[xml(child)]
    pub hyperv: Option<Hyperv>,
    /// KVM's own features.
    #[xml(child)]
    pub kvm: Option<Kvm>,
    /// Xen's own features.
    #[xml(child)]
    pub xen: Option<Xen>,
    /// Paravirtual spinlocks.
    #[xml(child)]
    pub pvspinlock: Option<Switch>,
    /// The performance monitoring unit. Since 1.2.12.
    #[xml(child)]
    pub pmu: Option<Switch>,
    /// VMware's I/O port. Since 1.2.16.
    #[xml(child)]
    pub vmport: Option<Switch>,
    /// ARM: the interrupt controller. Since 1.2.16.
    #[xml(child)]
    pub gic: Option<Gic>,
    /// System management mode. Since 2.1.0.
    #[xml(child)]
    pub smm: Option<Smm>,
    /// Capabilities of a container.
    #[xml(child)]
    pub capabilities: Option<Capabilities>,
    /// The I/O APIC. Since 3.4.0.
    #[xml(child)]
    pub ioapic: Option<IoApic>,
    /// pSeries: the hash page table. Since 3.10.0.
    #[xml(child)]
    pub hpt: Option<Hpt>,
    /// The VM coredump information device. Since 4.4.0.
    #[xml(child)]
    pub vmcoreinfo: Option<Switch>,
    /// pSeries: hardware transactional memory. Since 4.6.0.
    #[xml(child)]
    pub htm: Option<Switch>,
    /// pSeries: nested guests. Since 4.10.0.
    #[xml(child, name = "nested-hv")]
    pub nested_hv: Option<Switch>,
    /// Unknown model specific registers. Since 5.1.0.
    #[xml(child)]
    pub msrs: Option<Msrs>,
    /// pSeries: count cache flush assist. Since 5.9.0.
    #[xml(child, name = "ccf-assist")]
    pub ccf_assist: Option<Switch>,
    /// pSeries: cache flush on privilege change. Since 6.3.0.
    #[xml(child)]
    pub cfpc: Option<MitigationValue>,
    /// pSeries: speculation barrier. Since 6.3.0.
    #[xml(child)]
    pub sbbc: Option<MitigationValue>,
    /// pSeries: indirect branch speculation. Since 6.3.0.
    #[xml(child)]
    pub ibs: Option<IbsValue>,
    /// TCG's own features. Since 8.0.0.
    #[xml(child)]
    pub tcg: Option<Tcg>,
    /// Memory is torn down in the background.
    #[xml(child, name = "async-teardown")]
    pub async_teardown: Option<AsyncTeardown>,
    /// ARM: memory errors are reported to the guest.
    #[xml(child)]
    pub ras: Option<Switch>,
    /// The PS/2 controller.
    #[xml(child)]
    pub ps2: Option<Switch>,
    /// RISC-V: the interrupt architecture.
    #[xml(child)]
    pub aia: Option<Aia>,
}

/// `<apic>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Apic {
    /// Whether the end of interrupts is paravirtual. Since 0.10.2.
    #[xml(attr, onoff)]
    pub eoi: Option<bool>,
}

/// `<kvm>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Kvm {
    /// The guest does not see KVM. Since 1.2.8.
    #[xml(child)]
    pub hidden: Option<Switch>,
    /// The guest may assume dedicated CPUs. Since 5.7.0.
    #[xml(child, name = "hint-dedicated")]
    pub hint_dedicated: Option<Switch>,
    /// The guest controls polling. Since 6.10.0.
    #[xml(child, name = "poll-control")]
    pub poll_control: Option<Switch>,
    /// Paravirtual interprocessor interrupts. Since 7.10.0.
    #[xml(child, name = "pv-ipi")]
    pub pv_ipi: Option<Switch>,
    /// Dirty pages are reported in a ring. Since 8.0.0.
    #[xml(child, name = "dirty-ring")]
    pub dirty_ring: Option<DirtyRing>,
}

/// `<dirty-ring>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct DirtyRing {
    /// Whether it is on.
    #[xml(attr, onoff)]
    pub state: Option<bool>,
    /// Entries: a power of two from 1024 to 65536.
    #[xml(attr)]
    pub size: Option<u32>,
}

/// `<xen>` of `<features>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Xen {
    /// The guest sees the host's memory map. Since 6.3.0.
    #[xml(child, name = "e820_host")]
    pub e820_host: Option<Switch>,
    /// Devices can be passed through. Since 6.3.0.
    #[xml(child)]
    pub passthrough: Option<XenPassthrough>,
}

words! {
    /// How the IOMMU's tables are kept.
    pub enum XenPassthroughMode { SyncPt = "sync_pt", SharePt = "share_pt" }
}

/// `<passthrough>` of `<xen>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct XenPassthrough {
    /// Whether it is on.
    #[xml(attr, onoff)]
    pub state: Option<bool>,
    /// How tables are kept.
    #[xml(attr)]
    pub mode: Option<XenPassthroughMode>,
}

words! {
    /// Versions of ARM's interrupt controller.
    pub enum GicVersion { V2 = "2", V3 = "3", Host = "host" }
}

/// `<gic>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Gic {
    /// Its version; absent: the hypervisor's choice.
    #[xml(attr)]
    pub version: Option<GicVersion>,
}

/// `<smm>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Smm {
    /// Whether it is on.
    #[xml(attr, onoff)]
    pub state: Option<bool>,
    /// Its memory. Since 4.5.0.
    #[xml(leaf, codec = LargestUnit, unit = "MiB")]
    pub tseg: Option<Kib>,
}

words! {
    /// Which capabilities a container keeps when none is listed.
    pub enum CapabilitiesPolicy { Default = "default", Allow = "allow", Deny = "deny" }
}

/// `<capabilities>`: Linux capabilities of a container.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Capabilities {
    /// What holds for those that are not listed.
    #[xml(attr)]
    pub policy: Option<CapabilitiesPolicy>,
    /// `CAP_CHOWN`.
    #[xml(child)]
    pub chown: Option<Switch>,
    /// `CAP_MKNOD`.
    #[xml(child)]
    pub mknod: Option<Switch>,
    /// `CAP_NET_ADMIN`.
    #[xml(child, name = "net_admin")]
    pub net_admin: Option<Switch>,
    /// `CAP_SYS_ADMIN`.
    #[xml(child, name = "sys_admin")]
    pub sys_admin: Option<Switch>,
    /// `CAP_SYS_TIME`.
    #[xml(child, name = "sys_time")]
    pub sys_time: Option<Switch>,
}

words! {
    /// Who emulates the I/O APIC.
    pub enum IoApicDriver { Kvm = "kvm", Qemu = "qemu" }
}

/// `<ioapic>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct IoApic {
    /// Who emulates it.
    #[xml(attr)]
    pub driver: Option<IoApicDriver>,
}

words! {
    /// Whether the hash page table can be resized.
    pub enum HptResizing { Enabled = "enabled", Disabled = "disabled", Required = "required" }
}

/// `<hpt>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Hpt {
    /// Whether it can be resized.
    #[xml(attr)]
    pub resizing: Option<HptResizing>,
    /// The largest page. Since 4.5.0.
    #[xml(leaf, codec = Size, unit = "bytes")]
    pub maxpagesize: Option<Kib>,
}

words! {
    /// What happens at an access to an unknown register.
    pub enum MsrsUnknown { Ignore = "ignore", Fault = "fault" }
}

/// `<msrs>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Msrs {
    /// What happens at an access to an unknown register; absent: fault.
    #[xml(attr)]
    pub unknown: Option<MsrsUnknown>,
}

/// `<tcg>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Tcg {
    /// Memory for translated code.
    #[xml(leaf, name = "tb-cache", codec = Size, unit = "KiB")]
    pub tb_cache: Option<Kib>,
}

/// `<async-teardown>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct AsyncTeardown {
    /// Whether it is on.
    #[xml(attr, yesno)]
    pub enabled: Option<bool>,
}
