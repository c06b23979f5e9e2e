//! What a start makes of a chain.

use polyvirt::{Affect, Destroy, ErrorKind, Which};
use polyvirt_tests::{processes_with, small_guest};

use super::*;

fn guest(name: &str, disk: &str) -> String {
    small_guest("qemu", name).replace("</devices>", &format!("{disk}</devices>"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_guest_says_what_its_disks_consist_of() {
    let Some((root, connection)) = place().await else { return };
    chain(root.path(), &["one.qcow2", "two.qcow2"]);
    let guest = connection.define(&guest("told", &disk(root.path(), "two.qcow2", ""))).await.expect("defined").guest;
    guest.start(true).await.unwrap_or_else(|error| panic!("{error}"));
    let numbered = [("two.qcow2".to_owned(), 1), ("one.qcow2".to_owned(), 2), ("base.raw".to_owned(), 3)];
    assert_eq!(live_chain(&guest).await, numbered);
    let live = guest.xml(Which::Live).await.expect("a definition");
    for wanted in ["<backingStore type='file' index='2'>", "<backingStore type='file' index='3'>", "<backingStore/>"] {
        assert!(live.contains(wanted), "{wanted} in\n{live}");
    }
    assert!(!stored(&guest).await.contains("backingStore"), "the stored definition stays as it was written");
    let [(_, line)] = &processes_with(&["qemu-system", &guest.uuid().to_string()])[..] else { panic!("one process") };
    for node in ["libvirt-1-format", "libvirt-2-format", "libvirt-3-storage", r#""backing":"libvirt-2-format""#] {
        assert!(line.contains(node), "{node} in {line}");
    }
    let sizes = guest.block_sizes("vda").await.expect("sizes");
    assert_eq!(sizes.capacity, 16 << 20);
    guest.destroy(Destroy::default()).await.expect("destroyed");
    // One that is plugged in has its images too, with numbers of its own.
    let spare = disk(root.path(), "one.qcow2", "").replace("vda", "vdb");
    qemu_img(root.path(), &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.raw", "three.qcow2"]);
    guest.start(true).await.expect("started");
    let third = disk(root.path(), "three.qcow2", "").replace("vda", "vdb");
    let refused = guest.attach_device(&spare, Affect::Live).await.expect_err("QEMU has it locked");
    assert!(refused.to_string().contains("lock"), "{refused}");
    // The machine has no port to plug into: it is asked for, and comes at the next start.
    let plugged = guest.attach_device(&third, Affect::Live).await;
    assert!(plugged.is_ok() || !guest.xml(Which::Live).await.expect("xml").contains("three.qcow2"));
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chain_ends_the_start_and_leaves_nothing() {
    let Some((root, connection)) = place().await else { return };
    chain(root.path(), &["one.qcow2", "two.qcow2"]);
    let guest = connection.define(&guest("broken", &disk(root.path(), "two.qcow2", ""))).await.expect("defined").guest;
    let refused = async |kind: ErrorKind, words: &[&str]| {
        let error = guest.start(true).await.expect_err("it cannot start");
        assert_eq!((error.kind(), error.fact("stage")), (kind, Some("resolve")), "{error}");
        assert_eq!(error.fact("asked for at"), Some("/domain/devices/disk[1]"), "{error}");
        let image = root.path().join("one.qcow2").display().to_string();
        for word in words.iter().chain(&[image.as_str()]) {
            assert!(error.to_string().contains(word), "{word} in {error}");
        }
        assert!(error.remedy().is_some(), "{error}");
        assert!(processes_with(&["qemu-system", &guest.uuid().to_string()]).is_empty());
        assert!(!guest.state().await.expect("a state").is_active());
    };
    let rebase = |to: &str| qemu_img(root.path(), &["rebase", "-u", "-F", "qcow2", "-b", to, "one.qcow2"]);
    rebase("two.qcow2");
    refused(ErrorKind::InvalidConfig, &["loops"]).await;
    rebase("gone.qcow2");
    refused(ErrorKind::NotFound, &["gone.qcow2 is missing"]).await;
    // The definition may say where the chain goes, or that it ends.
    let ended = guest_of(&root, "<backingStore/>");
    connection
        .define(&ended.replace("<name>", &format!("<uuid>{}</uuid><name>", guest.uuid())))
        .await
        .expect("defined");
    guest.start(true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(live_files(&guest).await, ["two.qcow2"]);
    assert!(stored(&guest).await.contains("<backingStore/>"));
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

fn guest_of(root: &Root, more: &str) -> String {
    guest("broken", &disk(root.path(), "two.qcow2", more))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_image_is_lent_and_given_back() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can give files away");
        return;
    }
    let Some((root, connection)) = place().await else { return };
    let Some(nobody) = nix::unistd::User::from_name("nobody").ok().flatten() else {
        println!("skipped: there is no user 'nobody'");
        return;
    };
    drop(connection);
    chain(root.path(), &["one.qcow2", "two.qcow2"]);
    for name in ["base.raw", "one.qcow2", "two.qcow2"] {
        std::fs::set_permissions(root.path().join(name), std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("only root may use it");
    }
    let connection = connect("qemu", root.path(), |options| options.settings.set("user", "nobody")).await;
    let guest = connection.define(&guest("lent", &disk(root.path(), "two.qcow2", ""))).await.expect("defined").guest;
    let owners = || {
        ["base.raw", "one.qcow2", "two.qcow2"].map(|it| {
            std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(root.path().join(it)).expect("it is there"))
        })
    };
    guest.start(true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(owners(), [nobody.uid.as_raw(); 3]);
    guest.destroy(Destroy::default()).await.expect("destroyed");
    assert_eq!(owners(), [0; 3]);
}
