//! Real guests on a real QEMU, through the driver's public face alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod devices;
mod faults;
mod hands;
mod host;
mod kinds;
mod life;
mod place;
mod vcpus;
