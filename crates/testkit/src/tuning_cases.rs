//! Limits and I/O threads of a guest that runs.

use std::time::Duration;

use polyvirt_core::{
    CpuBandwidth, Deadline, Error, ErrorKind, IoThreadParams, MemoryLimitParams, OpContext, SchedulerParams,
    model::tuning::{BlkioDevice, BlkioTune},
    placement::{IoThreadId, Kib, ThreadPlan},
};

use crate::bench::Bench;

pub(crate) async fn io_threads(bench: &Bench) {
    let run = bench.start("iothreads", true).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let Some(threads) = domain.io_threads() {
        let id = IoThreadId(3);
        let mut plan = bench.plan(&run.live.config);
        if let Some(plan) = &mut plan {
            let place: ThreadPlan = plan.process.clone();
            plan.io_threads.push((id, place));
        }
        let cx = OpContext::new(plan.clone(), Deadline::after(Duration::from_secs(30)));
        assert!(threads.list().await.expect("a list").is_empty());
        let weakened = threads.add(&cx, id, IoThreadParams::default()).await.expect("added");
        assert!(weakened.is_empty(), "{weakened:?}");
        let listed = threads.list().await.expect("a list");
        assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
        if let (Some(plan), Some(real)) = (&plan, &listed[0].affinity) {
            assert!(real.is_subset(&plan.process.cpus), "it may leave its plan: {real}");
        }
        let again = threads.add(&cx, id, IoThreadParams::default()).await.expect_err("it is there");
        assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
        let mut params = IoThreadParams::default();
        params.poll_max_ns = Some(12_345);
        threads.set(id, params).await.expect("changed");
        assert_eq!(threads.list().await.expect("a list")[0].params.poll_max_ns, Some(12_345));
        threads.remove(id).await.expect("removed");
        for error in
            [threads.remove(id).await.expect_err("it is gone"), threads.set(id, params).await.expect_err("it is gone")]
        {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
    }
    bench.end(run).await;
}

pub(crate) async fn memory_limits(bench: &Bench) {
    // Many a kernel counts memory only where it was touched: so it has limits from its start.
    let run = bench
        .start_changed("limits", true, |config| {
            config.memtune.get_or_insert_default().hard_limit = Some(Kib::from_gib(8));
        })
        .await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let Some(limits) = domain.memory_limits() {
        let gib = |count: u64| Some(Kib::from_gib(count));
        match limits.set(MemoryLimitParams::new(gib(4), gib(2), None)).await {
            Ok(()) => {
                limits.set(MemoryLimitParams::new(gib(3), None, None)).await.expect("lowered");
                let nothing = MemoryLimitParams::new(Some(Kib(4)), None, None);
                limits.set(nothing).await.expect_err("it uses more than 4 KiB");
                limits.set(MemoryLimitParams::default()).await.expect("lifted");
            }
            Err(error) => lacking(&error),
        }
    }
    bench.end(run).await;
}

/// A host without the controller, or without the right to it.
fn lacking(error: &Error) {
    assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Denied), "{error}");
    println!("skipped: {error}");
}

pub(crate) async fn cpu_time(bench: &Bench) {
    let run = bench.start("cpu-time", true).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let Some(tuning) = domain.scheduler_tuning() {
        tuning.set(SchedulerParams::default()).await.expect("nothing is said of nothing");
        let mut params = SchedulerParams::default();
        params.shares = Some(512);
        params.vcpu = CpuBandwidth::new(Some(50_000), Some(10_000));
        match tuning.set(params).await {
            Ok(()) => {
                params.global = CpuBandwidth::new(None, Some(40_000));
                params.vcpu = CpuBandwidth::new(Some(100_000), Some(30_000));
                tuning.set(params).await.expect("changed");
                params.shares = Some(300_000);
                let error = tuning.set(params).await.expect_err("no host has such a weight");
                assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
                tuning.set(SchedulerParams::default()).await.expect("lifted");
            }
            Err(error) => lacking(&error),
        }
    }
    bench.end(run).await;
}

pub(crate) async fn block_io(bench: &Bench) {
    let run = bench.start("block-io", true).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let Some(weights) = domain.block_weights() {
        weights.set(&BlkioTune::default()).await.expect("nothing is said of nothing");
        let mut device = BlkioDevice::default();
        (device.path, device.read_bytes_sec) = ("/dev/null".into(), Some(1));
        let mut tune = BlkioTune::default();
        tune.device.push(device);
        let error = weights.set(&tune).await.expect_err("it is no block device");
        if error.kind() == ErrorKind::InvalidArgument {
            weights.set(&BlkioTune::default()).await.expect("lifted");
        } else {
            lacking(&error);
        }
    }
    bench.end(run).await;
}
