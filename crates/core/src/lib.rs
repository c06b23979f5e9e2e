//! What a hypervisor driver implements.
