//! The driver from outside is found, and its guests live as everybody's do.

use hello_driver as _;
use polyvirt::{Connection, Destroy, ErrorKind, GuestState, OpenOptions};

const GUEST: &str = "<domain type='test'><name>hello</name><memory unit='MiB'>64</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>";

fn uri(root: &tempfile::TempDir) -> String {
    format!("hello:///embed?root={}", root.path().display())
}

async fn open(root: &tempfile::TempDir) -> Connection {
    Connection::open(&uri(root), OpenOptions::new(polyvirt::registry().unwrap())).await.unwrap()
}

#[test]
fn the_roster_is_what_this_program_names() {
    let roster: Vec<&str> = polyvirt::EXPECTED.iter().copied().chain(["hello"]).collect();
    polyvirt::registry().unwrap().expect(&roster).unwrap();
}

/// Runs the command of this distribution and gives what it answers.
fn command(arguments: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_hello-polyvirt")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_command_lists_it_and_keeps_its_guests() {
    let drivers = command(&["drivers"]);
    assert!(drivers.lines().any(|line| line.contains("hello")), "{drivers}");
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("hello.xml");
    std::fs::write(&file, GUEST).unwrap();
    command(&["-c", &uri(&root), "define", file.to_str().unwrap()]);
    let guests = command(&["-c", &uri(&root), "list", "--all"]);
    assert!(guests.lines().any(|line| line.contains("hello") && line.contains("shut off")), "{guests}");
}

#[tokio::test]
async fn a_guest_lives_through_the_engine() {
    let root = tempfile::tempdir().unwrap();
    let connection = open(&root).await;
    let guest = connection.define(GUEST).await.unwrap().guest;
    guest.start(true).await.unwrap();
    assert_eq!(guest.state().await.unwrap(), GuestState::Paused);
    guest.resume().await.unwrap();
    let listed = connection.list().await.unwrap();
    assert_eq!(listed.iter().map(|g| (g.name.as_str(), g.vcpus)).collect::<Vec<_>>(), [("hello", 2)]);
    guest.destroy(Destroy::default()).await.unwrap();
    assert!(!guest.state().await.unwrap().is_active());
    guest.undefine().await.unwrap();
    assert!(connection.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_the_driver_cannot_do_is_refused_with_its_place() {
    let root = tempfile::tempdir().unwrap();
    let connection = open(&root).await;
    let disk =
        "<devices><disk type='file'><source file='/x'/><target dev='vda' bus='virtio'/></disk></devices></domain>";
    let error = connection.define(&GUEST.replace("</domain>", disk)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("/domain/devices/disk"), "{error}");
    // A capability that it does not have is named, not ignored.
    let guest = connection.define(GUEST).await.unwrap().guest;
    guest.start(false).await.unwrap();
    let error = guest.reset().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    guest.destroy(Destroy::default()).await.unwrap();
}
