//! The right of guests to use their files.
//!
//! A guest's process is a user of its own (`libvirt-qemu`), and what it touches belongs to others. Before a start every directory
//! on the way to every file is looked at as the kernel would (module `access`), and what cannot be passed is named with its mode, owner
//! and access list. A file that the process may not use is lent: it belongs to the process' user until the last guest that uses it
//! is gone, and then to whom it belonged before (module `lent`).
//!
//! This is libvirt's security model `dac`. Deliberately not here: `selinux` and `apparmor`; a definition that asks for them is
//! refused, not started without. Directories, sockets and character devices are never lent: others use them too.
//!
//! Invariant: to whom a file belonged is on disk before it is lent, so also a crash or a reboot gives it back.

mod access;
mod acl;
mod dac;
mod lent;

use std::sync::Arc;

use polyvirt_core::{Result, Service, ServiceContext, ServiceDescriptor};

/// What this crate registers.
pub static DESCRIPTOR: ServiceDescriptor =
    ServiceDescriptor { name: "security", summary: "gives guests the right to use their files (model dac)", open };

polyvirt_core::register_service!(DESCRIPTOR);

fn open(cx: &ServiceContext) -> Result<Service> {
    Ok(Service::Labels(Arc::new(dac::Dac::new(cx))))
}
