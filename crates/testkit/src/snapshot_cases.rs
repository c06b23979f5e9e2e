//! Snapshots in the images of a guest's disks, through the engine.

use std::sync::Arc;

use polyvirt_core::{CapabilityId, Destroy, ErrorKind, GuestState, JobKind, JobStep};
use polyvirt_engine::{DeleteSnapshot, Guest, RevertOptions, RunState, SnapshotOptions};

use crate::{bench::Bench, save_cases::Watch};

/// A guest with a disk that holds snapshots, off and watched; `None` if the driver has none.
async fn guest(bench: &Bench, name: &str) -> Option<(Guest, Arc<Watch>)> {
    let has = |id| bench.subject.descriptor.has(id);
    if !has(CapabilityId::LiveSnapshots) || !has(CapabilityId::OfflineSnapshots) {
        return None;
    }
    let Some(disk) = bench.subject.disk else {
        println!("skipped: the subject names no disk that holds snapshots");
        return None;
    };
    let disk = disk(bench.root());
    let watch = Arc::new(Watch::default());
    let connection = bench.connect(|o| o.observer = Some(watch.clone())).await;
    let xml = (bench.subject.xml)(name).replacen("</devices>", &format!("{disk}</devices>"), 1);
    Some((connection.define(&xml).await.expect("defined").guest, watch))
}

async fn take(guest: &Guest, name: &str) -> polyvirt_core::Result<()> {
    let xml = format!("<domainsnapshot><name>{name}</name></domainsnapshot>");
    guest.create_snapshot(Some(&xml), SnapshotOptions::new()).await.map(drop)
}

async fn names(guest: &Guest) -> Vec<String> {
    let list = guest.snapshots().await.expect("a list");
    assert!(list.problems.is_empty(), "{:?}", list.problems);
    list.entries.into_iter().map(|it| it.name).collect()
}

pub(crate) async fn taken_listed_and_deleted(bench: &Bench) {
    let Some((guest, watch)) = guest(bench, "moments").await else { return };
    take(&guest, "off").await.expect("taken while off");
    guest.start(false).await.expect("started");
    watch.steps();
    take(&guest, "on").await.expect("taken");
    let walked: Vec<_> = watch.steps().into_iter().map(|(_, step)| step).collect();
    assert_eq!(walked, JobKind::Snapshot.steps(), "every step is one that it goes through");
    assert_eq!(guest.state().await.expect("a state"), GuestState::Running);
    assert_eq!(take(&guest, "on").await.expect_err("it is there").kind(), ErrorKind::AlreadyExists);
    let list = guest.snapshots().await.expect("a list");
    let on = list.get("on").expect("listed");
    assert_eq!((on.parent.as_deref(), on.state.as_str(), on.current), (Some("off"), "running", true));

    guest.revert_to_snapshot("on", RevertOptions::new()).await.expect("reverted");
    let walked: Vec<_> = watch.steps().into_iter().map(|(_, step)| step).collect();
    assert_eq!(walked, JobKind::SnapshotRevert.steps());
    assert_eq!(guest.state().await.expect("a state"), GuestState::Running);
    guest.revert_to_snapshot("off", RevertOptions::new()).await.expect("reverted");
    assert!(!guest.state().await.expect("a state").is_active(), "as it was then");
    let paused = RevertOptions::new().state(Some(RunState::Paused));
    guest.revert_to_snapshot("on", paused).await.expect("started from it");
    assert_eq!(guest.state().await.expect("a state"), GuestState::Paused);
    assert_eq!(
        guest.revert_to_snapshot("none", RevertOptions::new()).await.expect_err("none").kind(),
        ErrorKind::NotFound
    );

    assert_eq!(guest.undefine().await.expect_err("it has snapshots").kind(), ErrorKind::InvalidState);
    watch.steps();
    guest.delete_snapshot("off", DeleteSnapshot::new()).await.expect("deleted");
    let walked: Vec<_> = watch.steps().into_iter().map(|(_, step)| step).collect();
    assert_eq!(walked, JobKind::SnapshotDelete.steps());
    assert_eq!(guest.snapshots().await.expect("a list").get("on").expect("listed").parent, None);
    guest.destroy(Destroy::default()).await.expect("destroyed");
    guest.delete_snapshot("on", DeleteSnapshot::new()).await.expect("deleted while off");
    assert!(names(&guest).await.is_empty());
    // Nothing of them is in the images: the names are free.
    take(&guest, "on").await.expect("taken");
    guest.delete_snapshot("on", DeleteSnapshot::new()).await.expect("deleted");
    guest.undefine().await.expect("undefined");
}

pub(crate) async fn failed_one_leaves_nothing(bench: &Bench) {
    let Some((guest, watch)) = guest(bench, "steps").await else { return };
    for running in [false, true] {
        if running {
            guest.start(false).await.expect("started");
        }
        for step in JobKind::Snapshot.steps() {
            watch.fail_at(Some(*step));
            let error = take(&guest, "failed").await.expect_err("the test says so");
            assert_eq!(error.message(), "the test says so", "at {step}");
            assert_eq!(guest.state().await.expect("a state") == GuestState::Running, running, "failed at {step}");
            assert!(names(&guest).await.is_empty(), "failed at {step}");
            watch.fail_at(None);
            take(&guest, "failed").await.unwrap_or_else(|e| panic!("failed at {step}, the images keep it: {e}"));
            guest.delete_snapshot("failed", DeleteSnapshot::new()).await.expect("deleted");
        }
    }
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

pub(crate) async fn failed_revert_is_undone_or_finished(bench: &Bench) {
    let Some((guest, watch)) = guest(bench, "back").await else { return };
    guest.start(false).await.expect("started");
    guest.suspend().await.expect("suspended");
    take(&guest, "paused").await.expect("taken");
    for step in JobKind::SnapshotRevert.steps().iter().filter(|step| **step < JobStep::Resumed) {
        guest.resume().await.expect("resumed");
        watch.fail_at(Some(*step));
        guest.revert_to_snapshot("paused", RevertOptions::new()).await.expect_err("the test says so");
        watch.fail_at(None);
        let undone = *step < JobStep::Loaded;
        let state = guest.state().await.expect("a state");
        assert_eq!(state, if undone { GuestState::Running } else { GuestState::Paused }, "failed at {step}");
        // Whoever changes it next finishes what is left.
        guest.suspend().await.unwrap_or_else(|e| panic!("failed at {step}: {e}"));
        assert_eq!(names(&guest).await, ["paused"], "failed at {step}");
    }
    guest.destroy(Destroy::default()).await.expect("destroyed");
    guest.start(false).await.expect("started");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}
