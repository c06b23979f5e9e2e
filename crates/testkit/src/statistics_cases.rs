//! Numbers of guests.

use std::{sync::Arc, time::Duration};

use polyvirt_core::{
    Deadline, Destroy, DirtyRateMode, DirtyRateOptions, DirtyRateStatus, ErrorKind, StatsGroup, StatsGroups,
    StatsRecord, StatsRequest,
};
use polyvirt_engine::{Affect, StatsQuery};

use crate::bench::{Bench, Run};

/// Long enough for any machine; nothing here asserts times.
const WITHIN: Duration = Duration::from_secs(30);

fn request(run: &Run, groups: StatsGroups) -> StatsRequest {
    StatsRequest::new(groups, Arc::new(run.live.config.clone()), Deadline::after(WITHIN))
}

/// What is told is what was asked for, all of it or with a reason.
fn answers(numbers: &StatsRecord, asked: StatsGroups) {
    let told: StatsGroups = numbers.present().iter().chain(numbers.missing.keys().copied()).collect();
    assert_eq!(told, asked, "{numbers:?}");
    assert!(numbers.missing.values().all(|why| !why.is_empty()), "{:?}", numbers.missing);
}

pub(crate) async fn groups_of_numbers(bench: &Bench) {
    let run = bench.start("numbers", false).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let Some(statistics) = domain.statistics() {
        let all = statistics.groups();
        assert!(!all.is_empty() && !all.contains(StatsGroup::State), "the state is the engine's");
        let numbers = statistics.collect(&request(&run, all)).await.expect("numbers");
        answers(&numbers, all);
        assert!(numbers.missing.is_empty(), "of a guest that answers nothing is missing: {:?}", numbers.missing);
        if let Some(vcpus) = &numbers.vcpus {
            assert_eq!(vcpus.current, run.live.config.vcpus_online());
        }
        for group in all.iter() {
            let one = statistics.collect(&request(&run, group.into())).await.expect("numbers");
            assert_eq!(one.present(), group.into(), "{group} alone");
        }
        domain.destroy(Destroy::default()).await.expect("destroyed");
        if let Ok(late) = statistics.collect(&request(&run, all)).await {
            // Cards without a device on the host have nothing that could be gone.
            let gone = late.missing.keys().copied().chain([StatsGroup::Interface]).collect();
            assert!(late.present().without(gone).is_empty(), "of a guest that ended: {late:?}");
        }
    }
    bench.end(run).await;
}

pub(crate) async fn numbers_from_outside(bench: &Bench) {
    let run = bench.start("outside", false).await;
    if let Some(outside) = bench.driver.outside_statistics() {
        let record = run.recorded.record().expect("a record");
        // As another process would, which has neither the guest's handle nor its lock.
        let numbers = outside.collect(&record, &request(&run, outside.groups())).await.expect("numbers");
        answers(&numbers, outside.groups());
        assert!(numbers.missing.is_empty(), "{:?}", numbers.missing);
        let more = outside.collect(&record, &request(&run, StatsGroups::all())).await.expect("numbers");
        assert!(more.present().without(outside.groups()).is_empty(), "{more:?}");
    }
    bench.end(run).await;
}

pub(crate) async fn sizes_of_disks(bench: &Bench) {
    let connection = bench.connect(|_| {}).await;
    let guest = connection.define(&(bench.subject.xml)("sizes")).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let live = guest.view().await.expect("a view").live.expect("it runs");
    if bench.subject.descriptor.has(polyvirt_core::CapabilityId::BlockInfo) {
        let none = guest.block_sizes("no such disk").await.expect_err("there is none");
        assert_eq!(none.kind(), ErrorKind::NotFound, "{none}");
        for disk in &live.devices.disks {
            let sizes = guest.block_sizes(&disk.target.as_ref().expect("a target").dev).await;
            match &disk.source {
                None => assert_eq!(sizes.expect_err("an empty drive").kind(), ErrorKind::NotFound),
                Some(_) => assert!(sizes.expect("sizes").capacity > 0),
            }
        }
        assert!(guest.disk_errors().await.expect("an answer").is_empty());
    }
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

pub(crate) async fn balloon_and_dirty_rate(bench: &Bench) {
    let run = bench.start("balloon", false).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let Some(balloon) = domain.balloon_polling() {
        for period in [5, 0] {
            match balloon.set_period(Duration::from_secs(period)).await {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}"),
            }
        }
    }
    if let (Some(rate), Some(statistics)) = (domain.dirty_rate(), domain.statistics()) {
        let options = DirtyRateOptions::new(Duration::from_secs(1), DirtyRateMode::PageSampling);
        rate.start(&options).await.expect("begun");
        loop {
            let numbers = statistics.collect(&request(&run, StatsGroup::DirtyRate.into())).await.expect("numbers");
            let told = numbers.dirty_rate.expect("the group");
            if told.status == DirtyRateStatus::Measured {
                assert!(told.mib_per_second.is_some(), "{told:?}");
                break;
            }
        }
    }
    bench.end(run).await;
}

pub(crate) async fn numbers_of_all_guests(bench: &Bench) {
    let connection = bench.connect(|_| {}).await;
    let query = StatsQuery::new(StatsGroups::all()).within(WITHIN);
    assert!(connection.statistics(&query, |_| true).await.expect("an answer").is_empty());
    let on = connection.define(&(bench.subject.xml)("numbers-on")).await.expect("defined").guest;
    connection.define(&(bench.subject.xml)("numbers-off")).await.expect("defined");
    on.start(true).await.expect("started");
    let all = connection.statistics(&query, |_| true).await.expect("numbers");
    let names: Vec<_> = all.iter().map(|it| (it.guest.name.as_str(), it.guest.state.is_active())).collect();
    assert_eq!(names, [("numbers-off", false), ("numbers-on", true)]);
    for it in &all {
        assert_eq!(it.numbers.state.as_ref(), Some(&it.guest.state));
        assert!(it.numbers.missing.is_empty(), "{:?}", it.numbers);
    }
    let active = connection.statistics(&query, |it| it.state.is_active()).await.expect("numbers");
    assert_eq!(active.len(), 1);
    if bench.subject.descriptor.has(polyvirt_core::CapabilityId::BalloonPolling) {
        on.set_memory_polling(Duration::from_secs(7), Affect::Both).await.expect("set");
        let view = on.view().await.expect("a view");
        for config in [view.live.expect("live"), (*view.stored.expect("stored")).clone()] {
            let stats = config.devices.memballoon.and_then(|it| it.stats);
            assert_eq!(stats.map(|it| it.period), Some(7));
        }
    }
    // Another process of ours owns it no less than one of others.
    let other = bench.connect(|_| {}).await;
    let seen = other.statistics(&query, |it| it.state.is_active()).await.expect("numbers");
    let numbers = &seen[0].numbers;
    assert!(numbers.state.is_some(), "{numbers:?}");
    assert!(
        numbers.missing.values().all(|why| why.contains(&std::process::id().to_string())),
        "who owns it is told: {numbers:?}"
    );
    on.destroy(Destroy::default()).await.expect("destroyed");
}
