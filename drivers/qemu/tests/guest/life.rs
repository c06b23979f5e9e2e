//! From power-on to power-off.

use std::os::unix::fs::PermissionsExt;

use polyvirt_core::{
    Destroy, DeviceRef, ErrorKind, GuestState, LiveEffect, Reattached, Shutdown, Signal, Stage, StopReason,
};
use tokio::io::AsyncWriteExt;

use crate::host::{Host, WITHIN, expect};

#[tokio::test]
async fn boots_talks_and_powers_off() {
    let Some(host) = Host::new().await else { return };
    let live = host.plain().await;
    let mut guest = host.start(&live, true).await;
    assert_eq!(guest.domain.id(), live.id);
    let stages = [Stage::Spawn, Stage::Pid, Stage::Gate, Stage::Handshake, Stage::Monitor, Stage::Pins, Stage::Run];
    assert_eq!(*guest.notes.reached.lock().unwrap(), stages);
    assert_eq!(guest.domain.state().await.unwrap(), GuestState::Paused);
    let terminal = guest.effects.iter().find_map(|it| match it {
        LiveEffect::CharacterDevice { device, path } if *device == DeviceRef::new("console", 0) => Some(path.clone()),
        _ => None,
    });
    assert!(terminal.unwrap().starts_with("/dev/pts"));

    let mut console = guest.console().await;
    guest.domain.pause().unwrap().resume().await.unwrap();
    assert_eq!(guest.signal().await, Signal::Resumed);
    expect(&mut console, "hello\n").await;
    console.write_all(b"ping").await.unwrap();
    expect(&mut console, "ping").await;
    assert_eq!(guest.domain.state().await.unwrap(), GuestState::Running);

    guest.domain.pause().unwrap().suspend().await.unwrap();
    assert_eq!(guest.domain.state().await.unwrap(), GuestState::Paused);
    guest.domain.pause().unwrap().suspend().await.unwrap();
    assert_eq!(guest.signal().await, Signal::Paused);
    guest.domain.pause().unwrap().resume().await.unwrap();
    assert_eq!(guest.signal().await, Signal::Resumed);

    console.write_all(b"q").await.unwrap();
    assert_eq!(guest.signal().await, Signal::ShutdownBegan);
    assert_eq!(guest.signal().await, Signal::Stopped(StopReason::Shutdown));
    assert_eq!(guest.domain.state().await.unwrap(), GuestState::ShutOff(StopReason::Shutdown));
    host.assert_nothing_left();
    // After the end everything is told so, and ending it again is no error.
    let error = guest.domain.pause().unwrap().suspend().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
    guest.destroy().await;
    let log = std::fs::read_dir(&host.roots.log).unwrap().next().unwrap().unwrap();
    let text = std::fs::read_to_string(log.path()).unwrap();
    assert!(text.contains("qemu-system-x86_64 \\\n-name 'guest=guest "), "{text}");
}

#[tokio::test]
async fn a_started_guest_runs_without_being_resumed() {
    let Some(host) = Host::new().await else { return };
    let mut guest = host.start(&host.plain().await, false).await;
    assert_eq!(guest.domain.state().await.unwrap(), GuestState::Running);
    // The start's own RESUME is no news.
    guest.destroy().await;
    assert!(matches!(guest.signal().await, Signal::ShutdownBegan));
    assert_eq!(guest.signal().await, Signal::Stopped(StopReason::Destroyed));
    host.assert_nothing_left();
}

#[tokio::test]
async fn reset_and_reboot_begin_anew() {
    let Some(host) = Host::new().await else { return };
    let mut guest = host.start(&host.plain().await, true).await;
    let mut console = guest.console().await;
    guest.domain.pause().unwrap().resume().await.unwrap();
    expect(&mut console, "hello\n").await;
    assert_eq!(guest.signal().await, Signal::Resumed);
    guest.domain.reset().unwrap().reset().await.unwrap();
    assert_eq!(guest.signal().await, Signal::Reset);
    expect(&mut console, "hello\n").await;

    guest.domain.reboot().unwrap().reboot(Shutdown::Default).await.unwrap();
    // This guest has no ACPI driver; it powers off because we say so.
    console.write_all(b"q").await.unwrap();
    expect(&mut console, "hello\n").await;
    console.write_all(b"q").await.unwrap();
    // Resets alone are told: that its CPUs stood for a moment is nobody's business. The BIOS presses reset once more by
    // itself, so there are several.
    let mut resets = 0;
    loop {
        match guest.signal().await {
            Signal::Reset => resets += 1,
            other => break assert_eq!(other, Signal::ShutdownBegan),
        }
    }
    assert!(resets > 0);
    assert_eq!(guest.signal().await, Signal::Stopped(StopReason::Shutdown));
}

#[tokio::test]
async fn found_again_after_its_handle_is_gone() {
    let Some(host) = Host::new().await else { return };
    let live = host.plain().await;
    let guest = host.start(&live, true).await;
    let (record, pid) = (guest.record(), guest.pid());
    assert_eq!(host.launcher().owner(&record).unwrap().pid(), Some(pid));
    drop(guest);
    let (cx, mut signals) = host.reattach_context();
    let domain = match host.launcher().reattach(&cx, &live, &record).await.unwrap() {
        Reattached::Running(domain) => domain,
        other => panic!("{other:?}"),
    };
    assert_eq!(domain.state().await.unwrap(), GuestState::Paused);
    domain.pause().unwrap().resume().await.unwrap();
    assert_eq!(signals.recv().await, Some(Signal::Resumed));
    domain.destroy(Destroy::default()).await.unwrap();
    assert_eq!(signals.recv().await, Some(Signal::ShutdownBegan));
    assert_eq!(signals.recv().await, Some(Signal::Stopped(StopReason::Destroyed)));
    match host.launcher().reattach(&cx, &live, &record).await.unwrap() {
        Reattached::Stopped(StopReason::Unknown) => {}
        other => panic!("{other:?}"),
    }
    host.assert_nothing_left();
}

#[tokio::test]
async fn a_busy_monitor_and_a_newer_record_are_left_alone() {
    let Some(host) = Host::new().await else { return };
    let live = host.plain().await;
    let guest = host.start(&live, true).await;
    let (cx, _signals) = host.reattach_context();
    let mut newer = guest.record();
    newer.version += 1;
    for record in [guest.record(), newer] {
        match host.launcher().reattach(&cx, &live, &record).await.unwrap() {
            Reattached::Unreachable(why) => assert!(!why.is_empty()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(guest.domain.state().await.unwrap(), GuestState::Paused);
    guest.destroy().await;
}

#[tokio::test]
async fn reaping_ends_a_guest_and_is_idempotent() {
    let Some(host) = Host::new().await else { return };
    let live = host.plain().await;
    let guest = host.start(&live, false).await;
    let record = guest.record();
    drop(guest);
    let cx = host.reap_context(&live);
    let reaped = host.launcher().reap(&cx, Some(&record)).await.unwrap();
    assert!(reaped.removed.iter().any(|it| it.starts_with("process ")), "{reaped:?}");
    host.assert_nothing_left();
    for record in [Some(&record), None] {
        assert!(host.launcher().reap(&cx, record).await.unwrap().removed.is_empty());
    }
}

#[tokio::test]
async fn two_guests_and_one_that_hangs() {
    let Some(host) = Host::new().await else { return };
    let Some(other) = Host::new().await else { return };
    let mut stuck = host.start(&host.plain().await, false).await;
    let well = other.start(&other.plain().await, true).await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(stuck.pid()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let (state, fine) = tokio::join!(stuck.domain.state(), well.domain.state());
    assert!(matches!(state.unwrap(), GuestState::Unreachable(_)));
    assert_eq!(fine.unwrap(), GuestState::Paused);
    // No grace: it would not hear.
    stuck.domain.destroy(Destroy::within(std::time::Duration::ZERO)).await.unwrap();
    assert_eq!(stuck.signal().await, Signal::Stopped(StopReason::Destroyed));
    host.assert_nothing_left();
    well.destroy().await;
}

#[tokio::test]
async fn what_is_killed_from_outside_has_crashed() {
    let Some(host) = Host::new().await else { return };
    let mut guest = host.start(&host.plain().await, true).await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(guest.pid()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    match tokio::time::timeout(WITHIN, guest.signal()).await.unwrap() {
        Signal::Stopped(StopReason::Crashed(why)) => assert!(why.contains("SIGKILL"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(guest.domain.state().await.unwrap(), GuestState::ShutOff(StopReason::Crashed(_))));
    host.assert_nothing_left();
}

#[tokio::test]
async fn runs_as_the_user_of_the_settings() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("skipped: only root can start guests as another user");
        return;
    }
    let mut settings = polyvirt_core::Settings::default();
    settings.set("user", "nobody");
    let Some(host) = Host::with(settings).await else { return };
    let live = host.plain().await;
    for (path, mode) in [(host.directory.path().to_owned(), 0o755), (host.directory.path().join("disk.raw"), 0o666)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let mut guest = host.start(&live, true).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", guest.pid())).unwrap();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid;
    assert!(status.contains(&format!("Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody}")), "{status}");
    assert!(status.contains("CapEff:\t0000000000000000") && status.contains("NoNewPrivs:\t1"), "{status}");
    let mut console = guest.console().await;
    guest.domain.pause().unwrap().resume().await.unwrap();
    assert_eq!(guest.signal().await, Signal::Resumed);
    expect(&mut console, "hello\n").await;
    guest.destroy().await;
    host.assert_nothing_left();

    // What it may not open is told with the remedy.
    std::fs::set_permissions(host.directory.path().join("disk.raw"), PermissionsExt::from_mode(0o600)).unwrap();
    let error = host.try_start(&live, None, false, None).await.err().unwrap();
    assert!(error.fact("hypervisor said").unwrap().contains("Permission denied"), "{error}");
    assert!(error.remedy().unwrap().contains("every folder above"), "{error:?}");
    host.assert_nothing_left();
}
