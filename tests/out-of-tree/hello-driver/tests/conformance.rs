//! The behaviour that every driver must show, as the test kit has it.

use polyvirt_driver_testkit::Subject;

fn guest(name: &str) -> String {
    // The identity follows from the name: a case that reads the definition twice means the same guest.
    let hash = name.bytes().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())) & 0xffff_ffff_ffff;
    format!(
        "<domain type='test'><name>{name}</name><uuid>6e1d2a3b-0000-4000-8000-{hash:012x}</uuid>\
         <memory unit='MiB'>64</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>"
    )
}

fn subject() -> Subject {
    Subject::new(&hello_driver::DESCRIPTOR, guest).in_process()
}

polyvirt_driver_testkit::conformance!(subject);
