//! CPU, memory and limits of a guest that runs: a real Linux on a real QEMU, which tells what it sees.

mod linux;
mod vcpus;
