//! The testkit's suite on a real QEMU.

use polyvirt_driver_testkit::Subject;

/// The identity follows from the name: a case that reads the definition twice means the same guest.
fn xml(name: &str) -> String {
    let hash = name.bytes().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())) & 0xffff_ffff_ffff;
    format!(
        "<domain type='qemu'><name>{name}</name><uuid>6e1d2a3b-0000-4000-8000-{hash:012x}</uuid><memory unit='MiB'>64</memory><vcpu placement='auto'>2</vcpu>\
         <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>\
         <devices><disk type='file' device='cdrom'><target dev='hda' bus='ide'/></disk><serial type='pty'/><memballoon model='virtio'/></devices></domain>"
    )
}

fn disk(directory: &std::path::Path) -> String {
    let image = directory.join("disk.qcow2");
    let made =
        std::process::Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("4M").status();
    assert!(made.expect("qemu-img runs").success());
    // Nobody lends it to the user that QEMU runs as here.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&image, everybody).expect("rights");
    format!(
        "<disk type='file'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>",
        image.display()
    )
}

fn subject() -> Subject {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|it| it.join("qemu-system-x86_64").is_file());
    let missing = (!found).then(|| "there is no qemu-system-x86_64 in PATH".to_owned());
    Subject::new(&polyvirt_driver_qemu::DESCRIPTOR, xml)
        .with_device("<input type='keyboard' bus='usb'/>")
        .with_disk(disk)
        .skip_for(missing)
}

polyvirt_driver_testkit::conformance!(subject);
