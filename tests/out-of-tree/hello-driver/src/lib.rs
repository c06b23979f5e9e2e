//! A driver from outside polyvirt's tree, as small as one can be: its guests live in the memory of this process.
//!
//! It shows what a driver author writes first: a [descriptor](DESCRIPTOR), a `Driver`, a `Launcher`, a `Domain` and one capability
//! (`Pause`). Of polyvirt it needs `polyvirt-core` alone. What it does not do: its guests run no code, have no devices, and end with the
//! process that started them; it says so instead of pretending.
//!
//! A program that wants it says `use hello_driver as _;`. The URIs are `hello:///session` and `hello:///embed?root=DIR`.

mod domain;
mod driver;

use polyvirt_core::{CapabilityId, DriverDescriptor, ProbeResult, register_driver};

/// What this crate registers.
pub static DESCRIPTOR: DriverDescriptor = DriverDescriptor {
    name: "hello",
    summary: "guests in memory that say hello, from outside the tree",
    version: env!("CARGO_PKG_VERSION"),
    schemes: &["hello"],
    capabilities: &[CapabilityId::Pause],
    honours: &[
        "/domain/@type",
        "/domain/name",
        "/domain/uuid",
        "/domain/memory/**",
        "/domain/currentMemory/**",
        "/domain/vcpu/**",
        "/domain/os/type/**",
    ],
    needs_attendant: &[],
    settings: &[],
    offline: None,
    probe: |_| ProbeResult::Usable("needs nothing but memory".to_owned()),
    open: |cx| Box::pin(async move { driver::HelloDriver::open(&cx) }),
};

register_driver!(DESCRIPTOR);
