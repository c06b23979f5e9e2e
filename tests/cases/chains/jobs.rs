//! Block jobs of a Linux that writes meanwhile: what it wrote is in the images that it is on afterwards.

use std::time::Duration;

use polyvirt::{
    Affect, BlockJobEnd, BlockJobReport, CommitOptions, CopyOptions, Destroy, ErrorKind, JobOutcome, PullOptions,
    SaveOptions, Which,
    model::storage::{ImageFormat, Source},
};
use polyvirt_tests::booted::{self, Booted};

use super::*;

/// A Linux on a chain of images, of which each has a word at its own megabyte, beginning with the lowest.
async fn linux(root: &Root, connection: &Connection, name: &str, images: &[&str], more: &str) -> Booted {
    chain(root.path(), images);
    let disk = disk(root.path(), images.last().unwrap_or(&"base.raw"), more);
    for (at, image) in std::iter::once(&"base.raw").chain(images).enumerate() {
        let format = if image.ends_with(".raw") { "raw" } else { "qcow2" };
        let write = format!("write -P {} {at}M 1M", at + 1);
        let file = root.path().join(image).display().to_string();
        let done = Command::new("qemu-io").args(["-f", format, "-c", &write, &file]).output().expect("qemu-io");
        assert!(done.status.success(), "{done:?}");
    }
    Booted::start(connection, &booted::definition(name, "pc", &disk)).await
}

async fn ready() -> Option<(Root, Connection)> {
    if let Some(reason) = booted::no_image() {
        println!("skipped: {reason}");
        return None;
    }
    place().await
}

/// The guest reads the byte at a megabyte.
async fn byte_at(linux: &mut Booted, megabyte: u32) -> String {
    let read = format!("dd if=/dev/vda bs=1M skip={megabyte} count=1 iflag=direct 2>/dev/null | md5sum | cut -c1-8");
    linux.run(&read).await
}

/// The guest writes to its disk in the background, at 8 MiB and above, until it is told to stop.
async fn scribble(linux: &mut Booted) {
    linux
        .run("(n=0; while [ ! -e /stop ]; do n=$((n+1)); echo scribble $n | dd of=/dev/vda bs=512 seek=$((16384 + n % 4096)) count=1 conv=sync,notrunc,fsync 2>/dev/null; done; echo $n > /count) & true")
        .await;
}

async fn settle_down(linux: &mut Booted) -> String {
    linux.run("touch /stop; while [ ! -e /count ]; do :; done; sync; true").await;
    linux.run("dd if=/dev/vda bs=1M iflag=direct 2>/dev/null | md5sum").await
}

async fn report(guest: &Guest) -> BlockJobReport {
    guest.block_job("vda").await.unwrap_or_else(|error| panic!("{error}")).expect("a job")
}

/// Waits until something is so.
async fn until(guest: &Guest, what: &str, is: impl Fn(&BlockJobReport) -> bool) -> BlockJobReport {
    for _ in 0..1200 {
        let now = report(guest).await;
        if is(&now) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {what}: {:?}", report(guest).await);
}

/// After the guest has ended: its image is sound and has the data that the guest read.
async fn data_is_there(root: &Root, linux: Booted, image: &str, sum: &str) {
    linux.guest.destroy(Destroy::default()).await.expect("destroyed");
    let format = if image.ends_with(".raw") { "raw" } else { "qcow2" };
    if format == "qcow2" {
        qemu_img(root.path(), &["check", "-q", image]);
    }
    qemu_img(root.path(), &["convert", "-f", format, "-O", "raw", image, "whole.raw"]);
    let told = Command::new("md5sum").arg(root.path().join("whole.raw")).output().expect("md5sum");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert_eq!(told.split_whitespace().next(), sum.split_whitespace().next(), "{image}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pulled_needs_nothing_below() {
    let Some((root, connection)) = ready().await else { return };
    let mut linux = linux(&root, &connection, "pull", &["a.qcow2", "b.qcow2", "c.qcow2"], "").await;
    let guest = linux.guest.clone();
    let first = byte_at(&mut linux, 1).await;
    scribble(&mut linux).await;
    // Down to an image that stays.
    let mut options = PullOptions::default();
    options.base = Some("vda[3]".to_owned());
    guest.block_pull("vda", options).await.unwrap_or_else(|error| panic!("{error}"));
    let over = until(&guest, "over", |it| it.outcome.is_some()).await;
    assert_eq!(over.outcome, Some(JobOutcome::Completed), "{over:?}");
    assert_eq!(live_files(&guest).await, ["c.qcow2", "a.qcow2", "base.raw"]);
    guest.block_pull("vda", PullOptions::default()).await.unwrap_or_else(|error| panic!("{error}"));
    until(&guest, "over", |it| it.outcome.is_some() && it.id != over.id).await;
    assert_eq!(live_files(&guest).await, ["c.qcow2"]);
    assert!(!stored(&guest).await.contains("backingStore"));
    let error = guest.block_pull("vda", PullOptions::default()).await.expect_err("nothing is below");
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
    assert_eq!(byte_at(&mut linux, 1).await, first);
    for name in ["a.qcow2", "b.qcow2", "base.raw"] {
        std::fs::remove_file(root.path().join(name)).expect("nobody needs it");
    }
    let sum = settle_down(&mut linux).await;
    data_is_there(&root, linux, "c.qcow2", &sum).await;
    guest.start(true).await.unwrap_or_else(|error| panic!("{error}"));
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_below() {
    let Some((root, connection)) = ready().await else { return };
    let mut linux = linux(&root, &connection, "commit", &["a.qcow2", "b.qcow2", "c.qcow2"], "").await;
    let guest = linux.guest.clone();
    scribble(&mut linux).await;
    // Inner images, and their files go.
    let mut inner = CommitOptions::default();
    (inner.top, inner.base, inner.delete) =
        (Some(root.path().join("b.qcow2").display().to_string()), Some("vda[3]".to_owned()), true);
    guest.block_commit("vda", inner).await.unwrap_or_else(|error| panic!("{error}"));
    let over = until(&guest, "over", |it| it.outcome.is_some()).await;
    assert_eq!(over.outcome, Some(JobOutcome::Completed), "{over:?}");
    assert_eq!(live_files(&guest).await, ["c.qcow2", "a.qcow2", "base.raw"]);
    assert!(!root.path().join("b.qcow2").exists() && root.path().join("a.qcow2").exists());
    // The image that the guest writes: refused until it is said, in step until it is ended.
    let error = guest.block_commit("vda", CommitOptions::default()).await.expect_err("the guest writes it");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let mut active = CommitOptions::default();
    active.active = true;
    guest.block_commit("vda", active.clone()).await.unwrap_or_else(|error| panic!("{error}"));
    until(&guest, "in step", |it| it.ready).await;
    let live = guest.xml(Which::Live).await.expect("xml");
    assert!(live.contains("<mirror type='file' job='active-commit'"), "{live}");
    for (what, error) in [
        ("another job", guest.block_commit("vda", active.clone()).await.expect_err("one is under way")),
        ("resize", guest.block_resize("vda", 32 << 20).await.expect_err("a job is under way")),
        ("save", guest.save(&root.path().join("vm.save"), SaveOptions::new()).await.expect_err("a job is under way")),
        (
            "detach",
            guest.detach_device(&disk(root.path(), "c.qcow2", ""), Affect::Live).await.expect_err("a job is under way"),
        ),
    ] {
        assert_eq!(
            (error.kind(), error.fact("job")),
            (ErrorKind::Busy, Some("Active Block Commit")),
            "{what}: {error}"
        );
        assert!(error.remedy().is_some_and(|it| it.contains("blockjob")), "{error}");
    }
    guest.end_block_job("vda", BlockJobEnd::Stay, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report(&guest).await.outcome, Some(JobOutcome::Completed), "it was whole");
    assert_eq!(live_files(&guest).await, ["c.qcow2", "a.qcow2", "base.raw"]);
    assert!(!guest.xml(Which::Live).await.expect("xml").contains("<mirror"));
    let mut shallow = active.clone();
    shallow.shallow = true;
    guest.block_commit("vda", shallow).await.unwrap_or_else(|error| panic!("{error}"));
    until(&guest, "in step", |it| it.ready).await;
    guest.end_block_job("vda", BlockJobEnd::Pivot, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(live_files(&guest).await, ["a.qcow2", "base.raw"]);
    let stored_now = stored(&guest).await;
    assert!(stored_now.contains("/a.qcow2") && !stored_now.contains("c.qcow2"), "{stored_now}");
    active.delete = true;
    guest.block_commit("vda", active).await.unwrap_or_else(|error| panic!("{error}"));
    until(&guest, "in step", |it| it.ready).await;
    guest.end_block_job("vda", BlockJobEnd::Pivot, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(live_files(&guest).await, ["base.raw"]);
    assert!(!root.path().join("a.qcow2").exists() && root.path().join("c.qcow2").exists());
    let stored_now = stored(&guest).await;
    assert!(stored_now.contains("/base.raw") && stored_now.contains("type='raw'"), "{stored_now}");
    let sum = settle_down(&mut linux).await;
    data_is_there(&root, linux, "base.raw", &sum).await;
    guest.start(true).await.unwrap_or_else(|error| panic!("{error}"));
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

fn to(root: &Root, name: &str) -> CopyOptions {
    let mut options = CopyOptions::default();
    let mut source = Source::default();
    source.file = Some(root.path().join(name).display().to_string());
    options.source = source;
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_whole_when_the_job_is_ended() {
    let Some((root, connection)) = ready().await else { return };
    let mut linux = linux(&root, &connection, "copy", &["a.qcow2", "b.qcow2"], "").await;
    let guest = linux.guest.clone();
    scribble(&mut linux).await;
    // Shallow, and the guest goes over.
    let mut shallow = to(&root, "c.qcow2");
    (shallow.shallow, shallow.synchronous) = (true, true);
    guest.block_copy("vda", shallow).await.unwrap_or_else(|error| panic!("{error}"));
    until(&guest, "in step", |it| it.ready).await;
    let live = guest.xml(Which::Live).await.expect("xml");
    assert!(live.contains("<mirror type='file' job='copy' ready='yes'>") && live.contains("/c.qcow2"), "{live}");
    guest.end_block_job("vda", BlockJobEnd::Pivot, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(live_files(&guest).await, ["c.qcow2", "a.qcow2", "base.raw"]);
    std::fs::remove_file(root.path().join("b.qcow2")).expect("nobody needs it");
    // All of it, into a raw file.
    let mut raw = to(&root, "d.raw");
    raw.format = Some(ImageFormat::Raw);
    guest.block_copy("vda", raw.clone()).await.unwrap_or_else(|error| panic!("{error}"));
    until(&guest, "in step", |it| it.ready).await;
    guest.end_block_job("vda", BlockJobEnd::Pivot, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(live_files(&guest).await, ["d.raw"]);
    let error = guest.block_copy("vda", raw).await.expect_err("it is the disk's own");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let error = guest.block_copy("vda", to(&root, "a.qcow2")).await.expect_err("it is there");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    // Into an image that is there, and the guest stays; a copy that was ended early leaves nothing.
    let mut slow = to(&root, "e.qcow2");
    (slow.format, slow.bandwidth, slow.buffer) = (Some(ImageFormat::Qcow2), 1 << 16, Some(1 << 16));
    guest.block_copy("vda", slow).await.unwrap_or_else(|error| panic!("{error}"));
    let error = guest.end_block_job("vda", BlockJobEnd::Pivot, true).await.expect_err("it is not in step");
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
    guest.limit_block_job("vda", 1 << 17).await.expect("limited");
    assert_eq!(report(&guest).await.bandwidth, 1 << 17);
    guest.end_block_job("vda", BlockJobEnd::Stay, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report(&guest).await.outcome, Some(JobOutcome::Cancelled));
    assert!(!root.path().join("e.qcow2").exists());
    let sum = settle_down(&mut linux).await;
    qemu_img(root.path(), &["create", "-q", "-f", "qcow2", "f.qcow2", "16M"]);
    let mut reused = to(&root, "f.qcow2");
    (reused.format, reused.reuse) = (Some(ImageFormat::Qcow2), true);
    guest.block_copy("vda", reused).await.unwrap_or_else(|error| panic!("{error}"));
    until(&guest, "in step", |it| it.ready).await;
    guest.end_block_job("vda", BlockJobEnd::Stay, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report(&guest).await.outcome, Some(JobOutcome::Completed));
    assert_eq!(live_files(&guest).await, ["d.raw"]);
    assert!(stored(&guest).await.contains("/d.raw"));
    qemu_img(root.path(), &["check", "-q", "f.qcow2"]);
    qemu_img(root.path(), &["compare", "-U", "-q", "-f", "raw", "-F", "qcow2", "d.raw", "f.qcow2"]);
    data_is_there(&root, linux, "d.raw", &sum).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_grows_and_is_marked_while_the_guest_runs() {
    let Some((root, connection)) = ready().await else { return };
    let mut linux = linux(&root, &connection, "grow", &["a.qcow2"], "").await;
    let guest = linux.guest.clone();
    guest.block_resize("vda", 24 << 20).await.unwrap_or_else(|error| panic!("{error}"));
    linux.until("cat /sys/block/vda/size", |it| it.trim() == "49152").await;
    assert_eq!(guest.block_sizes("vda").await.expect("sizes").capacity, 24 << 20);
    assert_eq!(guest.block_resize("vda", 5).await.expect_err("no sectors").kind(), ErrorKind::InvalidArgument);
    assert_eq!(guest.block_resize("vdz", 512).await.expect_err("no disk").kind(), ErrorKind::NotFound);
    guest.set_block_threshold("vda", 1 << 20).await.unwrap_or_else(|error| panic!("{error}"));
    let mut events = connection.events();
    linux.run("dd if=/dev/zero of=/dev/vda bs=1M seek=16 count=4 conv=fsync 2>/dev/null").await;
    let told = async {
        loop {
            if let Ok(event) = events.recv().await
                && format!("{event:?}").contains("BlockThreshold")
            {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.expect("it is told of");
    assert_eq!(guest.set_block_threshold("vda[9]", 1).await.expect_err("no image").kind(), ErrorKind::InvalidArgument);
    guest.set_block_threshold("vda[2]", 1 << 30).await.unwrap_or_else(|error| panic!("{error}"));
    guest.destroy(Destroy::default()).await.expect("destroyed");
    assert_eq!(guest.block_resize("vda", 512).await.expect_err("it does not run").kind(), ErrorKind::InvalidState);
}
