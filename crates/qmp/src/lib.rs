//! QEMU's monitor protocol.
