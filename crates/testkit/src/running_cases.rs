//! A running guest and its capabilities.

use std::time::Duration;

use polyvirt_core::{
    CapabilityId, CodeSet, Destroy, DeviceRef, ErrorKind, GuestState, KeyPress, Signal,
    placement::{CpuSet, Origin, PlanDelta, PlanStep, VcpuId},
};

use crate::bench::{Bench, Run};

/// The next signal that satisfies; a guest may tell others before.
pub(crate) async fn signal(run: &mut Run, wanted: impl Fn(&Signal) -> bool) -> bool {
    while let Ok(Some(signal)) = tokio::time::timeout(Duration::from_secs(10), run.signals.recv()).await {
        if wanted(&signal) {
            return true;
        }
    }
    false
}

pub(crate) async fn capabilities_both_ways(bench: &Bench) {
    let run = bench.start("caps", true).await;
    let domain = &run.started.as_ref().expect("started").domain;
    for capability in CapabilityId::ALL {
        let declared = bench.subject.descriptor.has(*capability);
        let there = capability.is_present(&*bench.driver, &**domain);
        assert_eq!(declared, there, "{}: declared {declared}, present {there}", capability.name());
    }
    bench.end(run).await;
}

pub(crate) async fn destroy_is_idempotent(bench: &Bench) {
    let mut run = bench.start("destroy", true).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    domain.destroy(Destroy::default()).await.expect("destroyed");
    assert!(signal(&mut run, |s| matches!(s, Signal::Stopped(_))).await, "Stopped is sent");
    assert!(matches!(domain.state().await.expect("a state"), GuestState::ShutOff(_)));
    domain.destroy(Destroy::default()).await.expect("twice is no error");
    bench.end(run).await;
}

pub(crate) async fn pause_and_resume(bench: &Bench) {
    let mut run = bench.start("pause", true).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    assert_eq!(domain.state().await.expect("a state"), GuestState::Paused, "it was started paused");
    if let Some(pause) = domain.pause() {
        pause.resume().await.expect("resumed");
        pause.resume().await.expect("resume is idempotent");
        assert_eq!(domain.state().await.expect("a state"), GuestState::Running);
        pause.suspend().await.expect("suspended");
        pause.suspend().await.expect("suspend is idempotent");
        assert_eq!(domain.state().await.expect("a state"), GuestState::Paused);
        assert!(signal(&mut run, |s| *s == Signal::Paused).await, "Paused is told");
    }
    bench.end(run).await;
}

pub(crate) async fn reset_is_told(bench: &Bench) {
    let mut run = bench.start("reset", false).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    assert_eq!(domain.state().await.expect("a state"), GuestState::Running, "it was started running");
    if let Some(reset) = domain.reset() {
        reset.reset().await.expect("reset");
        assert!(signal(&mut run, |s| *s == Signal::Reset).await, "Reset is told");
    }
    bench.end(run).await;
}

pub(crate) async fn no_such_console(bench: &Bench) {
    let run = bench.start("console", true).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let Some(consoles) = domain.consoles() {
        for device in [DeviceRef::new("serial", 99), DeviceRef::new("teapot", 0)] {
            let error = consoles.open(&device).await.map(|_| ()).expect_err("no such console");
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
        consoles.open(&DeviceRef::new("serial", 0)).await.map(|_| ()).expect("the first serial port opens");
    }
    bench.end(run).await;
}

pub(crate) async fn no_such_screen(bench: &Bench) {
    let run = bench.start("screen", true).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let Some(screen) = domain.screen() {
        let error = screen.shot(999).await.map(drop).expect_err("no such screen");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    bench.end(run).await;
}

pub(crate) async fn nobody_reads_keys_while_paused(bench: &Bench) {
    let run = bench.start("keys", true).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let (Some(keyboard), Some(pause)) = (domain.keyboard(), domain.pause()) {
        let key = CodeSet::Linux.key("KEY_A").expect("a key");
        let press = KeyPress::new(vec![key], Some(Duration::from_millis(1))).expect("a press");
        let error = keyboard.send(&press).await.expect_err("the guest is paused");
        assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
        pause.resume().await.expect("resumed");
        keyboard.send(&press).await.expect("handed over");
    }
    bench.end(run).await;
}

pub(crate) async fn nmi_is_sent(bench: &Bench) {
    let run = bench.start("nmi", true).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let Some(nmi) = domain.nmi() {
        nmi.inject().await.expect("sent");
        assert_eq!(domain.state().await.expect("a state"), GuestState::Paused, "a paused guest stays paused");
    }
    bench.end(run).await;
}

pub(crate) async fn vcpus_are_where_planned(bench: &Bench) {
    let run = bench.start("vcpus", true).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let Some(info) = domain.vcpu_info() {
        let vcpus = info.vcpus().await.expect("vCPUs");
        let ids: Vec<_> = vcpus.iter().map(|v| v.vcpu.0).collect();
        let wanted: Vec<_> = (0..run.live.config.vcpus_online()).collect();
        assert_eq!(ids, wanted);
        if let Some(plan) = bench.plan(&run.live.config) {
            for vcpu in &vcpus {
                let planned = &plan.vcpu(vcpu.vcpu).expect("planned").hard;
                assert!(
                    vcpu.affinity.as_ref().is_none_or(|real| real.is_subset(planned)),
                    "vCPU {} may leave its plan",
                    vcpu.vcpu.0
                );
            }
        }
    }
    bench.end(run).await;
}

pub(crate) async fn pins_are_applied(bench: &Bench) {
    let run = bench.start("pins", true).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    if let (Some(placement), Some(plan)) = (domain.placement(), bench.plan(&run.live.config)) {
        let cpu: CpuSet = plan.process.cpus.first().expect("a host has a CPU").to_string().parse().expect("a set");
        let mut to = plan.clone();
        to.revision += 1;
        let vcpu = to.cells.iter_mut().flat_map(|c| &mut c.vcpus).find(|v| v.vcpu == VcpuId(0)).expect("vCPU 0");
        vcpu.hard = cpu.clone();
        vcpu.origin = Origin::Pin;
        let report = placement
            .apply(&PlanDelta::new(plan.revision, to, vec![PlanStep::PinVcpu(VcpuId(0))]))
            .await
            .expect("applied");
        assert!(report.weakened.is_empty(), "{:?}", report.weakened);
        assert_eq!(report.applied, [PlanStep::PinVcpu(VcpuId(0))]);
        if let Some(info) = domain.vcpu_info() {
            let vcpus = info.vcpus().await.expect("vCPUs");
            assert_eq!(vcpus[0].affinity.as_ref(), Some(&cpu), "read back");
        }
    }
    bench.end(run).await;
}
