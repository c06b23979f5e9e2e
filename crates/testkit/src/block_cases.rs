//! Disks of a running guest: copies, sizes, marks.

use std::sync::Arc;

use polyvirt_core::{BlockJobEnd, CapabilityId, Destroy, ErrorKind, JobKind, JobStep};
use polyvirt_engine::{Affect, BlockJobReport, Connection, CopyOptions, Guest, JobOutcome, Which};

use crate::{bench::Bench, save_cases::Watch};

/// Bytes of the disk.
const SIZE: u64 = 1 << 20;

/// Nobody lends files here: the hypervisor is whoever made them.
async fn connect(bench: &Bench, observer: Option<Arc<Watch>>) -> Connection {
    let has_user = bench.subject.descriptor.settings.iter().any(|it| it.key == "user");
    let options = |options: &mut polyvirt_engine::OpenOptions| {
        if has_user {
            options.settings.set("user", "root");
        }
        options.observer = observer.map(|it| it as _);
    };
    bench.connect(options).await
}

/// A guest with a disk that runs, its CPUs stopped.
async fn guest(bench: &Bench, connection: &Connection, name: &str) -> (Guest, String) {
    let file = bench.root().join(format!("{name}.raw"));
    std::fs::File::create(&file).and_then(|it| it.set_len(SIZE)).expect("an image");
    let disk = format!(
        "<disk type='file' device='disk'><driver type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/></disk></devices>",
        file.display()
    );
    let xml = (bench.subject.xml)(name).replace("</devices>", &disk);
    let guest = connection.define(&xml).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    (guest, file.display().to_string())
}

fn copy_to(bench: &Bench, name: &str) -> CopyOptions {
    let mut options = CopyOptions::default();
    options.source.file = Some(bench.root().join(name).display().to_string());
    options
}

async fn in_step(guest: &Guest) -> BlockJobReport {
    for _ in 0..600 {
        let now = guest.block_job("vda").await.expect("an answer").expect("a job");
        if now.ready || now.outcome.is_some() {
            return now;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the job is never in step");
}

pub(crate) async fn copied(bench: &Bench) {
    if !bench.subject.descriptor.has(CapabilityId::BlockJobs) {
        return;
    }
    let walk = Arc::new(Watch::default());
    let observer = walk.clone();
    let connection = connect(bench, Some(observer)).await;
    let (guest, file) = guest(bench, &connection, "copied").await;
    assert_eq!(guest.block_job("vda").await.expect("an answer"), None);
    guest.block_copy("vda", copy_to(bench, "copied.new")).await.expect("begun");
    let job = in_step(&guest).await;
    assert!(job.ready && job.outcome.is_none(), "{job:?}");
    assert!(guest.xml(Which::Live).await.expect("xml").contains("<mirror type='file' job='copy' ready='yes'>"));
    let other = guest.block_copy("vda", copy_to(bench, "copied.other")).await.expect_err("one is under way");
    let resize = guest.block_resize("vda", 2 * SIZE).await.expect_err("it would be harmed");
    let disk = "<disk type='file' device='disk'><target dev='vda'/></disk>";
    let detach = guest.detach_device(disk, Affect::Live).await.expect_err("it would be harmed");
    for error in [other, resize, detach] {
        assert_eq!((error.kind(), error.fact("job")), (ErrorKind::Busy, Some("Block Copy")), "{error}");
    }
    guest.end_block_job("vda", BlockJobEnd::Pivot, true).await.expect("gone over");
    let job = guest.block_job("vda").await.expect("an answer").expect("the last one");
    assert_eq!(job.outcome, Some(JobOutcome::Completed));
    for which in [Which::Live, Which::Stored] {
        let xml = guest.xml(which).await.expect("xml");
        assert!(
            xml.contains("copied.new'") && !xml.contains(&format!("'{file}'")) && !xml.contains("<mirror"),
            "{xml}"
        );
    }
    let none = guest.end_block_job("vda", BlockJobEnd::Stay, true).await.expect_err("it is over");
    assert_eq!(none.kind(), ErrorKind::InvalidState, "{none}");
    let walked: Vec<_> = walk.steps().iter().filter(|it| it.0 == JobKind::BlockCopy).map(|it| it.1).collect();
    assert_eq!(walked, JobKind::BlockCopy.steps(), "every step is one that a copy goes through");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

pub(crate) async fn ended(bench: &Bench) {
    if !bench.subject.descriptor.has(CapabilityId::BlockJobs) {
        return;
    }
    let watch = Arc::new(Watch::default());
    let connection = connect(bench, Some(watch.clone())).await;
    let (guest, file) = guest(bench, &connection, "ended").await;
    let live = guest.xml(Which::Live).await.expect("xml");
    for step in [JobStep::Begun, JobStep::Opened, JobStep::Streaming] {
        watch.fail_at(Some(step));
        guest.block_copy("vda", copy_to(bench, "ended.new")).await.expect_err("it fails there");
        assert_eq!(guest.xml(Which::Live).await.expect("xml"), live, "failed at {step}, as it was");
        assert_eq!(guest.block_job("vda").await.expect("an answer"), None, "failed at {step}");
        assert!(!bench.root().join("ended.new").exists(), "failed at {step}, and no file is left");
    }
    watch.fail_at(None);
    guest.block_copy("vda", copy_to(bench, "ended.new")).await.expect("begun");
    in_step(&guest).await;
    guest.limit_block_job("vda", 1 << 20).await.expect("limited");
    guest.end_block_job("vda", BlockJobEnd::Stay, true).await.expect("ended");
    let job = guest.block_job("vda").await.expect("an answer").expect("the last one");
    assert_eq!(
        (job.outcome, job.bandwidth),
        (Some(JobOutcome::Completed), 1 << 20),
        "it was in step: the copy is whole"
    );
    assert_eq!(guest.xml(Which::Live).await.expect("xml"), live, "as it was");
    let refused = guest.block_copy("vda", copy_to(bench, "ended.raw")).await.expect_err("it is the disk itself");
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{file}: {refused}");
    let refused = guest.block_copy("vda", copy_to(bench, "ended.new")).await.expect_err("it is there");
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{refused}");
    let refused = guest.block_copy("vdz", copy_to(bench, "x")).await.expect_err("no such disk");
    assert_eq!(refused.kind(), ErrorKind::NotFound, "{refused}");
    guest.destroy(Destroy::default()).await.expect("destroyed");
    let refused = guest.block_copy("vda", copy_to(bench, "x")).await.expect_err("it does not run");
    assert_eq!(refused.kind(), ErrorKind::InvalidState, "{refused}");
}

pub(crate) async fn resized(bench: &Bench) {
    let has = |capability| bench.subject.descriptor.has(capability);
    let connection = connect(bench, None).await;
    let (guest, _) = guest(bench, &connection, "resized").await;
    if has(CapabilityId::BlockResize) {
        guest.block_resize("vda", 3 * SIZE).await.expect("resized");
        assert_eq!(guest.block_sizes("vda").await.expect("sizes").capacity, 3 * SIZE);
        for (disk, bytes, kind) in [
            ("vda", 0, ErrorKind::InvalidArgument),
            ("vda", 513, ErrorKind::InvalidArgument),
            ("vdz", 512, ErrorKind::NotFound),
        ] {
            assert_eq!(guest.block_resize(disk, bytes).await.expect_err("refused").kind(), kind, "{disk} {bytes}");
        }
    }
    if has(CapabilityId::BlockThreshold) {
        guest.set_block_threshold("vda", SIZE).await.expect("marked");
        guest.set_block_threshold("vda", 0).await.expect("and not any more");
        assert_eq!(guest.set_block_threshold("vdz", 1).await.expect_err("refused").kind(), ErrorKind::NotFound);
    }
    guest.destroy(Destroy::default()).await.expect("destroyed");
}
