//! QEMU and KVM.
