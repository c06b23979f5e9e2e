//! What is written about a guest while it runs, and what it does when it reboots, in a real QEMU.

use polyvirt::{Affect, ErrorKind, EventKind, LifecycleEvent, Which, model::LifecycleAction};
use polyvirt_tests::{
    booted::{self, Booted},
    connect, no_qemu, root,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_guest_is_described_and_told_to_end_at_its_reboot() {
    if let Some(reason) = no_qemu().or_else(booted::no_image) {
        println!("skipped: {reason}");
        return;
    }
    let root = root();
    let connection = connect("qemu", root.path(), |_| {}).await;
    let mut linux = Booted::start(&connection, &booted::definition("described", "pc", "")).await;
    let guest = linux.guest.clone();
    guest.set_title(Some("mail".to_owned()), Affect::Both).await.unwrap_or_else(|e| panic!("{e}"));
    guest.set_metadata("urn:app", "app", Some("<a/>"), Affect::Live).await.unwrap_or_else(|e| panic!("{e}"));
    let live = guest.xml(Which::Live).await.expect("a definition");
    assert!(live.contains("<title>mail</title>") && live.contains("urn:app"), "{live}");
    assert!(!guest.xml(Which::Stored).await.expect("a definition").contains("urn:app"));
    assert_eq!(guest.rename("another").await.expect_err("it runs").kind(), ErrorKind::InvalidState);

    let mut events = connection.events();
    guest
        .set_lifecycle_action(LifecycleEvent::Reboot, LifecycleAction::Destroy, Affect::Live)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    linux.begin("reboot -f").await;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(120), async {
        loop {
            if let EventKind::Stopped { .. } = events.recv().await.expect("an event").kind {
                return;
            }
        }
    });
    ended.await.expect("it ends at its reboot");
    assert!(!guest.state().await.expect("a state").is_active());

    let renamed = guest.rename("another").await.unwrap_or_else(|e| panic!("{e}"));
    renamed.start(true).await.unwrap_or_else(|e| panic!("{e}"));
    assert!(guest.state().await.is_err(), "there is none of the old name");
    renamed.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
}
