//! The mock driver shows the behaviour that every driver must.

use polyvirt_driver_testkit::Subject;

fn subject() -> Subject {
    Subject::new(&polyvirt_driver_mock::DESCRIPTOR, |name| {
        format!(
            "<domain type='test'><name>{name}</name><memory unit='MiB'>64</memory><vcpu placement='auto'>2</vcpu>
             <os><type arch='x86_64'>hvm</type></os><devices><disk type='file' device='cdrom'><target dev='hda' bus='ide'/></disk><serial type='pty'/><memballoon model='virtio'/></devices></domain>"
        )
    })
    .with_device("<input type='keyboard' bus='usb'/>")
    .with_disk(|directory| {
        let image = directory.join("disk.img");
        std::fs::write(&image, "").expect("an image");
        format!("<disk type='file'><source file='{}'/><target dev='vda' bus='virtio'/></disk>", image.display())
    })
    .in_process()
}

polyvirt_driver_testkit::conformance!(subject);
