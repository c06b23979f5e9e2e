//! A process of ours is killed at each step of a block job: the next one finds the guest on images that have its data, ends what was left
//! half way, and loses no image.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::Duration,
};

use polyvirt::{Destroy, JobKind, JobOutcome, JobStep};
use polyvirt_tests::small_guest;

use super::*;

/// Kills a process that does this to the guest's disk when it has reached a step.
fn kill_at(step: JobStep, root: &Path, action: &[&str]) {
    let mut holder = Command::new(env!("CARGO_BIN_EXE_holder"))
        .args(["qemu".as_ref(), root.as_os_str(), "victim".as_ref(), step.name().as_ref()])
        .args(action)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the holder starts");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    // Every step must be a place where a process can be killed: one that nothing passes through is a hole in this test.
    assert_eq!(line.trim(), format!("at {step}"), "{action:?}");
    holder.kill().expect("killed");
    holder.wait().expect("reaped");
}

/// Byte 0xN at megabyte N, of each image; what the guest sees in all.
fn fill(root: &Path, images: &[&str]) {
    for (at, image) in images.iter().enumerate() {
        let format = if image.ends_with(".raw") { "raw" } else { "qcow2" };
        let write = format!("write -P {} {at}M 1M", at + 1);
        let done = Command::new("qemu-io").args(["-f", format, "-c", &write, image]).current_dir(root).output();
        assert!(done.expect("qemu-io").status.success());
    }
}

/// The files that the stored definition, and every image it leads to, need.
fn files_of(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).expect("the root");
    let mut found: Vec<_> = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    found.retain(|it| it.ends_with(".raw") || it.ends_with(".qcow2"));
    found.sort();
    found
}

/// Runs an action, kills it at a step, and looks at what the next process makes of it. `after` are the images from the top if the job is
/// done in the end, `before` if it is not.
async fn no_image_is_lost(step: JobStep, action: &str, before: &[&str], after: &[&str]) {
    let Some((root, connection)) = place().await else { return };
    chain(root.path(), &["a.qcow2", "b.qcow2", "c.qcow2"]);
    fill(root.path(), &["base.raw", "a.qcow2", "b.qcow2", "c.qcow2"]);
    qemu_img(root.path(), &["convert", "-O", "raw", "c.qcow2", "whole.img"]);
    let xml =
        small_guest("qemu", "victim").replace("</devices>", &format!("{}</devices>", disk(root.path(), "c.qcow2", "")));
    connection.define(&xml).await.expect("defined").guest.start(true).await.expect("started");
    drop(connection);
    let copy = root.path().join("d.qcow2").display().to_string();
    let arguments: &[&str] = if action == "copy" { &["copy", &copy] } else { &[action] };
    kill_at(step, root.path(), arguments);

    let connection = connect("qemu", root.path(), |_| {}).await;
    let guest = connection.lookup_by_name("victim").await.expect("the definition is not lost");
    let at = format!("{action} killed at {step}");
    // What goes on by itself is over some time; what follows the guest is ended here.
    let mut report = None;
    for _ in 0..400 {
        report = guest.block_job("vda").await.unwrap_or_else(|error| panic!("{at}: {error}"));
        match &report {
            Some(it) if it.outcome.is_none() && it.ready => {
                guest
                    .end_block_job("vda", polyvirt::BlockJobEnd::Pivot, true)
                    .await
                    .unwrap_or_else(|e| panic!("{at}: {e}"));
            }
            Some(it) if it.outcome.is_none() => tokio::time::sleep(Duration::from_millis(50)).await,
            _ => break,
        }
    }
    let report = report.unwrap_or_else(|| panic!("{at}: no job is known"));
    let is_done = report.outcome == Some(JobOutcome::Completed);
    assert!(is_done || matches!(report.outcome, Some(JobOutcome::Failed(_))), "{at}: {report:?}");
    assert_eq!(is_done, step >= JobStep::Streaming, "{at}: {report:?}");
    let images = if is_done { after } else { before };
    assert_eq!(live_files(&guest).await, images, "{at}");
    assert!(!guest.xml(Which::Live).await.expect("xml").contains("<mirror"), "{at}");
    assert!(stored(&guest).await.contains(&format!("/{}'", images[0])), "{at}");
    for image in images {
        assert!(root.path().join(image).exists(), "{at}: {image} is lost");
    }
    if action == "copy" && !is_done {
        assert!(!files_of(root.path()).contains(&"d.qcow2".to_owned()), "{at}: the copy that never was is left");
    }
    // It can have another job, and QEMU keeps nothing of this one.
    guest.destroy(Destroy::default()).await.expect("destroyed");
    qemu_img(root.path(), &["compare", "-q", "-F", "raw", images[0], "whole.img"]);
    guest.start(true).await.unwrap_or_else(|error| panic!("{at}, the next start fails: {error}"));
    assert_eq!(live_files(&guest).await, images, "{at}");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_killed_at_every_step() {
    for step in JobKind::BlockPull.steps() {
        no_image_is_lost(*step, "pull", &["c.qcow2", "b.qcow2", "a.qcow2", "base.raw"], &["c.qcow2"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_killed_at_every_step() {
    for step in JobKind::BlockCommit.steps() {
        let before = ["c.qcow2", "b.qcow2", "a.qcow2", "base.raw"];
        no_image_is_lost(*step, "commit", &before, &["c.qcow2", "a.qcow2", "base.raw"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_active_commit_is_killed_at_every_step() {
    for step in JobKind::ActiveCommit.steps() {
        no_image_is_lost(*step, "pivot", &["c.qcow2", "b.qcow2", "a.qcow2", "base.raw"], &["base.raw"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_killed_at_every_step() {
    for step in JobKind::BlockCopy.steps() {
        no_image_is_lost(*step, "copy", &["c.qcow2", "b.qcow2", "a.qcow2", "base.raw"], &["d.qcow2"]).await;
    }
}
