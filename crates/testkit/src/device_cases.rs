//! Devices of a running guest, through the engine.

use polyvirt_core::{CapabilityId, Destroy, Detached, ErrorKind, EventKind};
use polyvirt_engine::{Affect, Guest, Which};

use crate::bench::Bench;

/// The device to be put in, if the driver can put one in.
fn device(bench: &Bench) -> Option<&'static str> {
    let attaches = bench.subject.descriptor.has(CapabilityId::DeviceAttach);
    let device = bench.subject.device;
    assert!(!attaches || device.is_some(), "a driver that attaches devices names one to attach");
    device.filter(|_| attaches)
}

/// The names of all devices, as the live definition has them.
async fn names(guest: &Guest, which: Which) -> Vec<String> {
    let xml = guest.xml(which).await.expect("a definition");
    xml.lines().filter_map(|line| line.trim().strip_prefix("<alias name='")).map(str::to_owned).collect()
}

pub(crate) async fn devices_come_and_go(bench: &Bench) {
    let Some(device) = device(bench) else { return };
    let connection = bench.connect(|_| {}).await;
    let mut events = connection.events();
    let guest = connection.define(&(bench.subject.xml)("plug")).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let before = guest.xml(Which::Live).await.expect("a definition");
    guest.attach_device(device, Affect::Live).await.expect("attached");
    let with = names(&guest, Which::Live).await;
    guest.attach_device(device, Affect::Live).await.expect("and another, whose name differs");
    assert_eq!(names(&guest, Which::Live).await.len(), with.len() + 1);
    let added: Vec<String> = std::iter::from_fn(|| events.try_recv().ok())
        .filter_map(|event| match event.kind {
            EventKind::DeviceAdded { alias } => Some(alias),
            _ => None,
        })
        .collect();
    assert_eq!(added.len(), 2, "each is told");
    for alias in &added {
        let detached = guest.detach_alias(alias, Affect::Live).await.expect("detached");
        assert_eq!(detached, Detached::Gone, "it goes without the guest's help");
        let told = std::iter::from_fn(|| events.try_recv().ok())
            .any(|event| matches!(&event.kind, EventKind::DeviceRemoved { alias: gone } if gone == alias));
        assert!(told, "the going of {alias} is told");
    }
    assert_eq!(guest.xml(Which::Live).await.expect("a definition"), before, "as it was");
    assert_eq!(guest.state().await.expect("a state"), polyvirt_core::GuestState::Paused, "and nothing else changed");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

pub(crate) async fn both_sides_or_neither(bench: &Bench) {
    let Some(device) = device(bench) else { return };
    let connection = bench.connect(|_| {}).await;
    let guest = connection.define(&(bench.subject.xml)("both")).await.expect("defined").guest;
    let stored = guest.xml(Which::Stored).await.expect("a definition");
    let refused = guest.attach_device(device, Affect::Both).await.expect_err("it does not run");
    assert_eq!(refused.kind(), ErrorKind::InvalidState, "{refused}");
    assert_eq!(guest.xml(Which::Stored).await.expect("a definition"), stored, "neither");
    guest.start(true).await.expect("started");
    let live = guest.xml(Which::Live).await.expect("a definition");
    guest.attach_device(device, Affect::Both).await.expect("attached");
    assert_ne!(guest.xml(Which::Stored).await.expect("a definition"), stored, "stored");
    assert_ne!(guest.xml(Which::Live).await.expect("a definition"), live, "and plugged in");
    guest.destroy(Destroy::default()).await.expect("destroyed");
    guest.start(true).await.expect("it starts with the device");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

pub(crate) async fn wrong_devices_are_refused(bench: &Bench) {
    if device(bench).is_none() {
        return;
    }
    let connection = bench.connect(|_| {}).await;
    let guest = connection.define(&(bench.subject.xml)("wrong")).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let live = guest.xml(Which::Live).await.expect("a definition");
    let error = guest.detach_alias("no-such-device", Affect::Live).await.expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = guest.detach_device("<watchdog model='diag288'/>", Affect::Live).await.expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = guest.attach_device("<teapot/>", Affect::Live).await.expect_err("it is no device");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    let disk = "<disk type='file'><source file='/nowhere/x.img'/><target dev='vdz' bus='virtio'/></disk>";
    let error = guest.attach_device(disk, Affect::Live).await.expect_err("its file is not there");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(guest.xml(Which::Live).await.expect("a definition"), live, "nothing changed");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}
