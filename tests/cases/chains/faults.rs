//! Block jobs where something goes wrong, and what they borrow.

use std::{os::unix::fs::MetadataExt as _, time::Duration};

use polyvirt::{BlockJobEnd, CommitOptions, CopyOptions, Destroy, ErrorKind, JobOutcome, PullOptions, Which};
use polyvirt_tests::{processes_with, small_guest};

use super::*;

/// A guest that stands, on a chain of four images; `more` are other disks.
async fn guest_on(connection: &Connection, root: &Path, name: &str, more: &str) -> Guest {
    chain(root, &["a.qcow2", "b.qcow2", "c.qcow2"]);
    let disks = format!("{}{more}</devices>", disk(root, "c.qcow2", ""));
    let xml = small_guest("qemu", name).replace("</devices>", &disks);
    let guest = connection.define(&xml).await.expect("defined").guest;
    guest.start(true).await.unwrap_or_else(|error| panic!("{error}"));
    guest
}

async fn until_over_or_ready(guest: &Guest, disk: &str) -> polyvirt::BlockJobReport {
    for _ in 0..600 {
        let now = guest.block_job(disk).await.unwrap_or_else(|error| panic!("{error}")).expect("a job");
        if now.ready || now.outcome.is_some() {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it takes for ever");
}

fn to(path: &Path) -> CopyOptions {
    let mut options = CopyOptions::default();
    options.source.file = Some(path.display().to_string());
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_borrows_is_given_back() {
    let Some((root, connection)) = place().await else { return };
    drop(connection);
    let nobody = nix::unistd::User::from_name("nobody").ok().flatten();
    let (true, Some(nobody)) = (nix::unistd::geteuid().is_root(), nobody) else {
        println!("skipped: only root can give files away, to a user 'nobody'");
        return;
    };
    let connection = connect("qemu", root.path(), |options| options.settings.set("user", "nobody")).await;
    chain(root.path(), &["a.qcow2", "b.qcow2", "c.qcow2"]);
    let all = ["base.raw", "a.qcow2", "b.qcow2", "c.qcow2"];
    for name in all {
        // All may read what is below: it is not lent until it is written.
        let mode = if name == "c.qcow2" { 0o600 } else { 0o644 };
        std::fs::set_permissions(root.path().join(name), std::os::unix::fs::PermissionsExt::from_mode(mode))
            .expect("rights");
    }
    let xml =
        small_guest("qemu", "lent").replace("</devices>", &format!("{}</devices>", disk(root.path(), "c.qcow2", "")));
    let guest = connection.define(&xml).await.expect("defined").guest;
    guest.start(true).await.unwrap_or_else(|error| panic!("{error}"));
    let of_nobody = |name: &str| std::fs::metadata(root.path().join(name)).expect("there").uid() == nobody.uid.as_raw();
    assert_eq!(all.map(of_nobody), [false, false, false, true]);
    let mut inner = CommitOptions::default();
    (inner.top, inner.base) = (Some("vda[2]".to_owned()), Some("vda[3]".to_owned()));
    guest.block_commit("vda", inner).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(until_over_or_ready(&guest, "vda").await.outcome, Some(JobOutcome::Completed));
    let mut active = CommitOptions::default();
    active.active = true;
    guest.block_commit("vda", active).await.unwrap_or_else(|error| panic!("{error}"));
    until_over_or_ready(&guest, "vda").await;
    guest.end_block_job("vda", BlockJobEnd::Pivot, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(of_nobody("base.raw") && !of_nobody("c.qcow2"), "it is on base.raw now");
    let copy = root.path().join("copy.raw");
    guest.block_copy("vda", to(&copy)).await.unwrap_or_else(|error| panic!("{error}"));
    until_over_or_ready(&guest, "vda").await;
    guest.end_block_job("vda", BlockJobEnd::Pivot, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(of_nobody("copy.raw") && !of_nobody("base.raw"));
    guest.destroy(Destroy::default()).await.expect("destroyed");
    assert!(!all.iter().any(|it| of_nobody(it)) && !of_nobody("copy.raw"), "all is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_several_disks_go_on_beside_each_other() {
    let Some((root, connection)) = place().await else { return };
    qemu_img(root.path(), &["create", "-q", "-f", "raw", "other.raw", "8M"]);
    let other = disk(root.path(), "other.raw", "").replace("vda", "vdb");
    let guest = guest_on(&connection, root.path(), "several", &other).await;
    guest.block_copy("vdb", to(&root.path().join("new.raw"))).await.unwrap_or_else(|error| panic!("{error}"));
    guest.block_pull("vda", PullOptions::default()).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(until_over_or_ready(&guest, "vda").await.outcome, Some(JobOutcome::Completed));
    assert!(until_over_or_ready(&guest, "vdb").await.ready);
    guest.end_block_job("vdb", BlockJobEnd::Pivot, true).await.unwrap_or_else(|error| panic!("{error}"));
    let live = guest.xml(Which::Live).await.expect("xml");
    assert!(live.contains("/c.qcow2'") && live.contains("/new.raw'") && !live.contains("base.raw"), "{live}");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_copy_and_not_the_guest() {
    let Some((root, connection)) = place().await else { return };
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can mount a small file system");
        return;
    }
    let guest = guest_on(&connection, root.path(), "full", "").await;
    guest.destroy(Destroy::default()).await.expect("destroyed");
    let write = ["-f", "raw", "-c", "write -P 7 0 8M"];
    let done = Command::new("qemu-io").args(write).arg(root.path().join("base.raw")).output().expect("qemu-io");
    assert!(done.status.success());
    guest.start(true).await.expect("started");
    let small = root.path().join("small");
    std::fs::create_dir(&small).expect("a directory");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(&small).status();
    if !mounted.is_ok_and(|it| it.success()) {
        println!("skipped: a small file system cannot be mounted here");
        return;
    }
    let before = guest.xml(Which::Live).await.expect("xml");
    let begun = guest.block_copy("vda", to(&small.join("copy.qcow2"))).await;
    let over = match &begun {
        Ok(()) => until_over_or_ready(&guest, "vda").await.outcome,
        Err(error) => Some(JobOutcome::Failed(error.to_string())),
    };
    let left: Vec<_> = std::fs::read_dir(&small).expect("the directory").collect();
    let left = left.len();
    let now = guest.xml(Which::Live).await.expect("xml");
    let unmounted = Command::new("umount").arg(&small).status();
    guest.destroy(Destroy::default()).await.expect("destroyed");
    assert!(unmounted.is_ok_and(|it| it.success()));
    assert!(matches!(&over, Some(JobOutcome::Failed(why)) if why.contains("No space left")), "{over:?}");
    assert_eq!((left, now), (0, before), "no file is left, and the guest is on what it was on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_ends_meanwhile_is_on_what_it_was_on() {
    let Some((root, connection)) = place().await else { return };
    let guest = guest_on(&connection, root.path(), "ends", "").await;
    let stored_before = stored(&guest).await;
    let mut active = CommitOptions::default();
    active.active = true;
    guest.block_commit("vda", active).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(until_over_or_ready(&guest, "vda").await.ready);
    guest.destroy(Destroy::default()).await.expect("destroyed");
    assert_eq!(stored(&guest).await, stored_before);
    guest.start(true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(live_files(&guest).await, ["c.qcow2", "b.qcow2", "a.qcow2", "base.raw"]);
    assert_eq!(guest.block_job("vda").await.expect("an answer"), None, "it is another run");
    // One that does not answer costs its asker the deadline, and the job is there when it answers again.
    guest.block_copy("vda", to(&root.path().join("d.qcow2"))).await.unwrap_or_else(|error| panic!("{error}"));
    until_over_or_ready(&guest, "vda").await;
    let [(pid, _)] = processes_with(&["qemu-system", &guest.uuid().to_string()])[..] else { panic!("one process") };
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("stopped");
    let error = guest.end_block_job("vda", BlockJobEnd::Pivot, true).await.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).expect("continued");
    assert!(until_over_or_ready(&guest, "vda").await.ready);
    guest.end_block_job("vda", BlockJobEnd::Pivot, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(live_files(&guest).await, ["d.qcow2"]);
    guest.destroy(Destroy::default()).await.expect("destroyed");
}
