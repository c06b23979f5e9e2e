//! What a hypervisor says of itself: accelerators, machines, CPU models, devices and features that its guests can have.
//!
//! Values only; drivers fill them, and whoever shows them writes them in a form of its own. A thing that is absent from a list
//! cannot be had; nothing here says that the host has room for it.

mod domain;
mod facts;

pub use domain::{
    Choice, CpuModes, CustomModel, DomainCapabilities, DomainCaps, DomainCapsQuery, Facility, Fact, HostModel,
    NamedFeature, OsCaps,
};
pub use facts::{AcceleratorFacts, HypervisorFacts, MachineFacts};
