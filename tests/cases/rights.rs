//! Guests that run as a user of their own, and whose files belong to others.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use polyvirt::{Connection, Destroy, ErrorKind, OpenOptions, Ownership};
use polyvirt_tests::{Root, connect, no_qemu, processes_with, root, small_guest};

/// A user whom every system has.
const USER: &str = "nobody";

/// A root of another user's guests; `None`, said aloud, where there can be none.
fn place() -> Option<Root> {
    if let Some(reason) = no_qemu() {
        println!("skipped: {reason}");
        return None;
    }
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root starts guests as another user");
        return None;
    }
    Some(root())
}

async fn open(root: &Root) -> Connection {
    connect("qemu", root.path(), |options: &mut OpenOptions| {
        options.ownership = Ownership::WhileBusy;
        options.settings.set("user", USER);
        options.settings.set("kvm", "never");
    })
    .await
}

fn image(root: &Root, name: &str) -> PathBuf {
    let path = root.path().join(name);
    fs::write(&path, vec![0; 1 << 20]).expect("an image");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("rights");
    path
}

fn with_disk(name: &str, path: &Path, more: &str) -> String {
    let disk = format!(
        "<devices><disk type='file'><source file='{}'/><target dev='vda' bus='virtio'/>{more}</disk>",
        path.display()
    );
    small_guest("qemu", name).replace("<devices>", &disk)
}

fn owner(path: &Path) -> u32 {
    fs::metadata(path).expect("the image").uid()
}

fn uid() -> u32 {
    nix::unistd::User::from_name(USER).expect("users").expect("nobody").uid.as_raw()
}

/// The user of a guest's process.
fn user_of(name: &str) -> u32 {
    let [(pid, _)] = processes_with(&["qemu-system", &format!("guest={name},")])[..] else { panic!("one process") };
    fs::metadata(format!("/proc/{pid}")).expect("the process").uid()
}

#[tokio::test]
async fn an_image_of_root_is_lent_and_comes_back() {
    let Some(root) = place() else { return };
    let connection = open(&root).await;
    let path = image(&root, "disk.raw");
    let names = ["lent-a", "lent-b"].map(|it| format!("{it}{}", std::process::id()));
    let shared = "<shareable/>";
    let mut guests = Vec::new();
    for name in &names {
        let guest = connection.define(&with_disk(name, &path, shared)).await.expect("defined").guest;
        guest.start(true).await.expect("started");
        assert_eq!((owner(&path), user_of(name)), (uid(), uid()));
        guests.push(guest);
    }
    guests[0].destroy(Destroy::default()).await.expect("destroyed");
    assert_eq!(owner(&path), uid(), "the second guest uses it");
    guests[1].destroy(Destroy::default()).await.expect("destroyed");
    assert_eq!(owner(&path), 0);
}

#[tokio::test]
async fn a_start_that_fails_gives_everything_back() {
    let Some(root) = place() else { return };
    let connection = open(&root).await;
    let path = image(&root, "disk.vdi");
    let name = format!("fails{}", std::process::id());
    // No VDI at all: QEMU refuses it after it was lent. Of formats with backing images the header is read before.
    let xml = with_disk(&name, &path, "<driver name='qemu' type='vdi'/>");
    let guest = connection.define(&xml).await.expect("defined").guest;
    let error = guest.start(true).await.expect_err("no VDI");
    assert_eq!(error.fact("stage"), Some("handshake"), "{error}");
    assert_eq!(owner(&path), 0);
}

#[tokio::test]
async fn a_directory_that_may_not_be_passed_is_named_before_anything_starts() {
    let Some(root) = place() else { return };
    let connection = open(&root).await;
    let secret = root.path().join("secret");
    fs::create_dir(&secret).expect("a directory");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o700)).expect("rights");
    let path = image(&root, "secret/disk.raw");
    let name = format!("secret{}", std::process::id());
    let guest = connection.define(&with_disk(&name, &path, "")).await.expect("defined").guest;
    let error = guest.start(true).await.expect_err("not to be passed");
    let said = format!("{error} {}", error.remedy().unwrap_or_default());
    println!("{said}");
    assert_eq!((error.kind(), error.fact("stage")), (ErrorKind::Denied, Some("label")), "{said}");
    let wanted = format!("may not pass {} (mode 0700, owner root:root)", secret.display());
    assert!(said.contains(&wanted) && said.contains(&format!("setfacl -m u:{}:x", uid())), "{said}");
    assert!(said.contains("/domain/devices/disk[1]/source/@file"), "{said}");
    assert!(processes_with(&["qemu-system", &name]).is_empty());
}

#[tokio::test]
async fn a_label_says_whom_a_guest_runs_as_and_what_is_missing_is_refused() {
    let Some(root) = place() else { return };
    let connection = open(&root).await;
    let path = image(&root, "disk.raw");
    let name = format!("label{}", std::process::id());
    let label = |model: &str, text: &str| {
        let label = format!("<seclabel type='static' model='{model}'><label>{text}</label></seclabel></domain>");
        with_disk(&name, &path, "").replace("</domain>", &label)
    };
    let guest = connection.define(&label("dac", "+12345:+12345")).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    assert_eq!((owner(&path), user_of(&name)), (12345, 12345));
    guest.destroy(Destroy::default()).await.expect("destroyed");
    assert_eq!(owner(&path), 0);
    let guest = connection.define(&label("selinux", "system_u:system_r:svirt_t:s0")).await.expect("defined").guest;
    let error = guest.start(true).await.expect_err("no SELinux here");
    println!("{error}");
    assert!(error.to_string().contains("/domain/seclabel[1]/@model"), "{error}");
}
