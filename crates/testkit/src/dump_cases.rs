//! Cores of guests, and waking them.

use polyvirt_core::{
    CapabilityId, Destroy, DumpFormat, ErrorKind, GuestState, JobKind, JobStep, Shutdown, Signal, SleepTarget,
    StopReason,
};
use polyvirt_engine::{AfterDump, DumpOptions, JobOutcome};

use crate::{
    bench::Bench,
    running_cases::signal,
    save_cases::{files, guest},
};

fn has(bench: &Bench) -> bool {
    bench.subject.descriptor.has(CapabilityId::CoreDump)
}

pub(crate) async fn core_is_written(bench: &Bench) {
    if !has(bench) {
        return;
    }
    let (guest, _) = guest(bench, "core").await;
    let file = bench.root().join("vm.save");
    for format in DumpFormat::ALL {
        match guest.core_dump(&file, DumpOptions::new().format(*format)).await {
            Ok(()) => {
                let bytes = std::fs::read(&file).expect("the core");
                assert!(*format != DumpFormat::Elf || bytes.starts_with(b"\x7fELF"), "{format:?}");
                assert!(bytes.len() > 4096, "{format:?}: {} bytes", bytes.len());
                std::fs::remove_file(&file).expect("removed");
            }
            // Which forms there are is the hypervisor's to say; what it does not have it names.
            Err(error) => {
                assert!(*format != DumpFormat::Elf, "{error}");
                assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Hypervisor), "{error}");
                assert_eq!(files(bench.root()), Vec::<String>::new());
            }
        }
        assert_eq!(guest.state().await.expect("a state"), GuestState::Running, "after {format:?}");
    }
    guest.suspend().await.expect("suspended");
    guest.core_dump(&file, DumpOptions::new()).await.expect("a paused guest has memory too");
    assert_eq!(guest.state().await.expect("a state"), GuestState::Paused);
    guest.core_dump(&file, DumpOptions::new().after(AfterDump::End)).await.expect("written");
    let state = guest.state().await.expect("a state");
    assert!(matches!(state, GuestState::ShutOff(StopReason::Unknown | StopReason::Crashed(_))), "{state:?}");
    assert_eq!(files(bench.root()), ["vm.save"]);
}

pub(crate) async fn failed_dump_leaves_the_guest(bench: &Bench) {
    if !has(bench) {
        return;
    }
    let (guest, watch) = guest(bench, "steps").await;
    let file = bench.root().join("vm.save");
    watch.steps();
    for step in JobKind::Dump.steps().iter().filter(|it| **it < JobStep::Kept) {
        watch.fail_at(Some(*step));
        let error = guest.core_dump(&file, DumpOptions::new()).await.expect_err("the dump fails");
        assert_eq!(error.message(), "the test says so", "at {step}");
        assert_eq!(guest.state().await.expect("a state"), GuestState::Running, "failed at {step}");
        assert_eq!(files(bench.root()), Vec::<String>::new(), "failed at {step}");
        watch.steps();
    }
    watch.fail_at(None);
    guest.core_dump(&file, DumpOptions::new()).await.expect("written");
    let walked: Vec<_> = watch.steps().into_iter().map(|(_, step)| step).collect();
    assert_eq!(walked, JobKind::Dump.steps(), "every step is one that a dump goes through");
    let report = guest.last_job().await.expect("readable").expect("kept");
    assert_eq!((report.kind, report.outcome), (JobKind::Dump, Some(JobOutcome::Completed)));
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

pub(crate) async fn nobody_wakes_who_is_awake(bench: &Bench) {
    if !bench.subject.descriptor.has(CapabilityId::PowerManagement) {
        return;
    }
    let (guest, _) = guest(bench, "awake").await;
    let error = guest.wake().await.expect_err("it does not sleep");
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

pub(crate) async fn asleep_or_refused(bench: &Bench) {
    if !bench.subject.descriptor.has(CapabilityId::PowerManagement) {
        return;
    }
    let mut run = bench.start("asleep", false).await;
    let domain = run.started.as_ref().expect("started").domain.clone();
    let power = domain.power_management().expect("it is declared");
    match power.suspend(SleepTarget::Memory).await {
        Ok(()) => {
            assert!(signal(&mut run, |it| *it == Signal::Asleep).await, "Asleep is told");
            assert_eq!(domain.state().await.expect("a state"), GuestState::PmSuspended);
            power.wake().await.expect("woken");
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidState), "{error}");
        }
    }
    assert_eq!(domain.state().await.expect("a state"), GuestState::Running);
    if let Some(reboot) = domain.reboot()
        && let Err(error) = reboot.reboot(Shutdown::Agent).await
    {
        assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidState), "{error}");
        assert_eq!(domain.state().await.expect("a state"), GuestState::Running);
    }
    bench.end(run).await;
}
