//! An in-memory hypervisor.
