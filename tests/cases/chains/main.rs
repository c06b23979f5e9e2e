//! Chains of images with real QEMU: resolved at start, told whole, and refused with a reason when they are broken.

mod faults;
mod jobs;
mod killed;
mod resolved;

use std::{path::Path, process::Command};

use polyvirt::{Connection, Guest, Which};
use polyvirt_tests::{Root, connect, no_qemu, root};

/// A root with a connection, unless QEMU or its tool is missing here.
async fn place() -> Option<(Root, Connection)> {
    let tool = Command::new("qemu-img").arg("--version").output().is_err();
    let missing = tool.then(|| "qemu-img is not installed".to_owned());
    let missing = missing.filter(|reason| polyvirt_driver_testkit::require("qemu-img", reason));
    if let Some(reason) = no_qemu().or(missing) {
        println!("skipped: {reason}");
        return None;
    }
    let root = root();
    let connection = connect("qemu", root.path(), |_| {}).await;
    Some((root, connection))
}

fn qemu_img(dir: &Path, arguments: &[&str]) -> String {
    let done = Command::new("qemu-img").args(arguments).current_dir(dir).output().expect("it runs");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// An image on another one, which is `base.raw` of 16 MiB at the bottom.
fn chain(root: &Path, names: &[&str]) {
    qemu_img(root, &["create", "-q", "-f", "raw", "base.raw", "16M"]);
    let mut below = ("base.raw", "raw");
    for name in names {
        qemu_img(root, &["create", "-q", "-f", "qcow2", "-F", below.1, "-b", below.0, name]);
        below = (name, "qcow2");
    }
}

/// A disk with this image on top.
fn disk(root: &Path, name: &str, more: &str) -> String {
    let format = if name.ends_with(".raw") { "raw" } else { "qcow2" };
    format!(
        "<disk type='file'><driver name='qemu' type='{format}'/><source file='{}'/>{more}<target dev='vda' bus='virtio'/></disk>",
        root.join(name).display()
    )
}

/// File names of a disk's images from the top, with their numbers, as the live definition has them.
async fn live_chain(guest: &Guest) -> Vec<(String, u32)> {
    let live = guest.view().await.expect("a view").live.expect("it runs");
    let disk = &live.devices.disks[0];
    let name = |path: &Option<String>| {
        let path = path.as_deref().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default().to_owned()
    };
    let mut found = Vec::new();
    let mut next = (disk.source.as_ref(), disk.backing_store.as_deref());
    while let Some(source) = next.0 {
        found.push((name(&source.file), source.index.expect("a number")));
        next = next.1.map_or((None, None), |it| (it.source.as_ref(), it.backing_store.as_deref()));
    }
    found
}

/// The files alone.
async fn live_files(guest: &Guest) -> Vec<String> {
    live_chain(guest).await.into_iter().map(|(name, _)| name).collect()
}

async fn stored(guest: &Guest) -> String {
    guest.xml(Which::Stored).await.expect("a definition")
}
