//! Does something with a guest and stops for ever at one stage or step, so that a test can kill this process there.
//!
//! `holder SCHEME ROOT NAME STEP ACTION [FILE|SNAPSHOT]`: prints `at STEP` when it is there, `ended` if it ended without getting
//! there.

use std::{io::Write as _, path::Path, sync::Arc};

use polyvirt::{
    BlockJobEnd, CommitOptions, CopyOptions, DeleteSnapshot, DumpOptions, Guest, GuestRef, JobKind, JobStep,
    PullOptions, Result, RevertOptions, SaveOptions, SnapshotOptions, Stage, StageObserver, StartOptions,
};

struct HoldAt(String);

impl HoldAt {
    fn reached(&self, name: &str) {
        if name == self.0 {
            say(&format!("at {name}"));
            loop {
                std::thread::park();
            }
        }
    }
}

impl StageObserver for HoldAt {
    fn reached(&self, _: &GuestRef, stage: Stage) -> Result<()> {
        self.reached(stage.name());
        Ok(())
    }
    fn step(&self, _: &GuestRef, _: JobKind, step: JobStep) -> Result<()> {
        self.reached(step.name());
        Ok(())
    }
}

fn say(text: &str) {
    println!("{text}");
    std::io::stdout().flush().expect("the test reads");
}

/// Waits until a job is in step with the guest, and has the guest go over.
async fn pivot(guest: &Guest, begun: Result<()>) -> Result<()> {
    begun?;
    while !guest.block_job("vda").await?.is_some_and(|it| it.ready) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    guest.end_block_job("vda", BlockJobEnd::Pivot, true).await
}

#[tokio::main]
async fn main() {
    let args: Vec<_> = std::env::args().collect();
    let [_, scheme, root, name, step, action, file @ ..] = &args[..] else {
        panic!("holder SCHEME ROOT NAME STEP ACTION [FILE]")
    };
    let hold = Arc::new(HoldAt(step.clone()));
    let connection = polyvirt_tests::connect(scheme, Path::new(root), |o| o.observer = Some(hold)).await;
    let guest = connection.lookup_by_name(name).await.expect("the test defined it");
    let ended = match (action.as_str(), file) {
        ("start", []) => {
            guest.start_with(StartOptions::new().paused(!guest.has_managed_save().await.unwrap_or(false))).await
        }
        ("save", [file]) => guest.save(Path::new(file), SaveOptions::new()).await,
        ("dump", [file]) => guest.core_dump(Path::new(file), DumpOptions::new()).await,
        ("pull", []) => guest.block_pull("vda", PullOptions::default()).await,
        ("commit", []) => {
            let mut options = CommitOptions::default();
            (options.top, options.base, options.delete) = (Some("vda[2]".into()), Some("vda[3]".into()), true);
            guest.block_commit("vda", options).await
        }
        ("pivot", []) => {
            let mut options = CommitOptions::default();
            (options.active, options.delete) = (true, true);
            pivot(&guest, guest.block_commit("vda", options).await).await
        }
        ("copy", [file]) => {
            let mut options = CopyOptions::default();
            options.source.file = Some(file.clone());
            pivot(&guest, guest.block_copy("vda", options).await).await
        }
        ("snapshot-create", [snapshot]) => {
            let xml = format!("<domainsnapshot><name>{snapshot}</name></domainsnapshot>");
            guest.create_snapshot(Some(&xml), SnapshotOptions::new()).await.map(drop)
        }
        ("snapshot-revert", [snapshot]) => guest.revert_to_snapshot(snapshot, RevertOptions::new()).await,
        ("snapshot-delete", [snapshot]) => guest.delete_snapshot(snapshot, DeleteSnapshot::new()).await,
        ("managedsave", []) => guest.managed_save(SaveOptions::new()).await,
        other => panic!("not known: {other:?}"),
    };
    // What goes on by itself may reach the step later.
    if ended.is_ok() && matches!(action.as_str(), "pull" | "commit") {
        while guest.block_job("vda").await.is_ok_and(|it| it.is_some_and(|it| it.outcome.is_none())) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    say(&format!("ended {ended:?}"));
}
