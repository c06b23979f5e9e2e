//! `<hyperv>`: enlightenments for guests that know Hyper-V.

use polyvirt_xml::{Element, words};

use super::Switch;

words! {
    /// Which Hyper-V enlightenments there are.
    pub enum HypervMode { Custom = "custom", Passthrough = "passthrough" }
}

/// `<hyperv>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Hyperv {
    /// The listed ones, or all that the host has; absent: `custom`. Since 8.0.0.
    #[xml(attr)]
    pub mode: Option<HypervMode>,
    /// Relaxed timer checks. Since 1.0.0.
    #[xml(child)]
    pub relaxed: Option<Switch>,
    /// A virtual APIC. Since 1.1.0.
    #[xml(child)]
    pub vapic: Option<Switch>,
    /// Spinlocks that yield. Since 1.1.0.
    #[xml(child)]
    pub spinlocks: Option<Spinlocks>,
    /// The virtual processor's index. Since 1.3.3.
    #[xml(child)]
    pub vpindex: Option<Switch>,
    /// Run time of a virtual processor. Since 1.3.3.
    #[xml(child)]
    pub runtime: Option<Switch>,
    /// The synthetic interrupt controller. Since 1.3.3.
    #[xml(child)]
    pub synic: Option<Switch>,
    /// Synthetic timers. Since 1.3.3.
    #[xml(child)]
    pub stimer: Option<Stimer>,
    /// Reset by the guest. Since 1.3.3.
    #[xml(child)]
    pub reset: Option<Switch>,
    /// The vendor string. Since 1.3.3.
    #[xml(child, name = "vendor_id")]
    pub vendor_id: Option<VendorId>,
    /// Frequency registers. Since 4.7.0.
    #[xml(child)]
    pub frequencies: Option<Switch>,
    /// Re-enlightenment after migration. Since 4.7.0.
    #[xml(child)]
    pub reenlightenment: Option<Switch>,
    /// Paravirtual TLB flush. Since 4.7.0.
    #[xml(child)]
    pub tlbflush: Option<TlbFlush>,
    /// Paravirtual interprocessor interrupts. Since 4.10.0.
    #[xml(child)]
    pub ipi: Option<Switch>,
    /// The enlightened VMCS. Since 4.10.0.
    #[xml(child)]
    pub evmcs: Option<Switch>,
    /// AVIC or APICv beside the synthetic controller. Since 8.10.0.
    #[xml(child)]
    pub avic: Option<Switch>,
    /// The enlightened MSR bitmap.
    #[xml(child, name = "emsr_bitmap")]
    pub emsr_bitmap: Option<Switch>,
    /// Hypercall arguments in XMM registers.
    #[xml(child, name = "xmm_input")]
    pub xmm_input: Option<Switch>,
}

/// `<spinlocks>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Spinlocks {
    /// Whether it is on.
    #[xml(attr, onoff)]
    pub state: Option<bool>,
    /// Attempts before yielding, at least 4095.
    #[xml(attr)]
    pub retries: Option<u32>,
}

/// `<stimer>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct Stimer {
    /// Whether it is on.
    #[xml(attr, onoff)]
    pub state: Option<bool>,
    /// Direct mode. Since 5.7.0.
    #[xml(child)]
    pub direct: Option<Switch>,
}

/// `<tlbflush>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct TlbFlush {
    /// Whether it is on.
    #[xml(attr, onoff)]
    pub state: Option<bool>,
    /// Direct mode.
    #[xml(child)]
    pub direct: Option<Switch>,
    /// Extended mode.
    #[xml(child)]
    pub extended: Option<Switch>,
}

/// `<vendor_id>`.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[non_exhaustive]
pub struct VendorId {
    /// Whether it is on.
    #[xml(attr, onoff)]
    pub state: Option<bool>,
    /// The string, up to 12 characters.
    #[xml(attr)]
    pub value: Option<String>,
}
