//! CPU, memory and limits of a guest that runs: a real Linux on a real QEMU, which tells what it sees.

mod io_threads;
mod linux;
mod memory;
mod pins;
mod shares;
mod throttle;
mod vcpus;
