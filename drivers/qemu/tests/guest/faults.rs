//! Starts that fail.

use std::os::unix::fs::PermissionsExt;

use polyvirt_core::{ErrorKind, Settings, Stage};

use crate::host::{Fault, Host};

#[tokio::test]
async fn a_failure_at_any_stage_leaves_nothing() {
    let Some(host) = Host::new().await else { return };
    let live = host.plain().await;
    let plan = host.plan(&live);
    for stage in Stage::ALL.iter().copied().filter(|it| it.is_drivers()) {
        let error = host.try_start(&live, Some(plan.clone()), false, Some(Fault::Fail(stage))).await.err().unwrap();
        assert_eq!((error.kind(), error.fact("stage")), (ErrorKind::Storage, Some(stage.name())), "{error}");
        host.assert_nothing_left();
        if stage == Stage::Run {
            // Cancelling after the last stage comes too late.
            continue;
        }
        let error = host.try_start(&live, Some(plan.clone()), false, Some(Fault::Cancel(stage))).await.err();
        assert_eq!(error.map(|it| it.kind()), Some(ErrorKind::Cancelled), "{stage}");
        host.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_missing_disk_is_told_in_qemus_own_words() {
    let Some(host) = Host::new().await else { return };
    let live = host.plain().await;
    std::fs::remove_file(host.directory.path().join("disk.raw")).unwrap();
    let error = host.try_start(&live, None, false, None).await.err().unwrap();
    assert_eq!((error.kind(), error.fact("stage")), (ErrorKind::Hypervisor, Some("handshake")), "{error}");
    assert!(error.fact("hypervisor said").unwrap().contains("No such file or directory"), "{error}");
    assert!(error.fact("log").unwrap().contains(".log") && error.remedy().is_some(), "{error:?}");
    assert!(error.message().contains("exit code 1"), "{error}");
    host.assert_nothing_left();
}

#[tokio::test]
async fn an_emulator_that_hangs_after_its_probe_is_given_up() {
    let mut settings = Settings::default();
    settings.set("start_timeout", 1);
    let Some(host) = Host::with(settings).await else { return };
    let mut live = host.plain().await;
    // Answers its probe and keeps silent otherwise.
    let script = host.directory.path().join("emulator");
    let text = "#!/bin/sh\ncase \"$*\" in *accel=tcg:kvm*) exec qemu-system-x86_64 \"$@\";; esac\necho thinking >&2\nexec sleep 1000\n";
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    live.config.devices.emulator = Some(script.to_string_lossy().into_owned());
    let error = host.try_start(&live, None, false, None).await.err().unwrap();
    assert_eq!((error.kind(), error.fact("stage")), (ErrorKind::Timeout, Some("handshake")), "{error}");
    assert_eq!(error.fact("hypervisor said"), Some("thinking"));
    host.assert_nothing_left();
}

#[tokio::test]
async fn a_binary_that_is_no_qemu_is_refused_before_anything_is_made() {
    let Some(host) = Host::new().await else { return };
    let mut live = host.plain().await;
    live.config.devices.emulator = Some("/bin/true".into());
    let error = host.try_start(&live, None, false, None).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Hypervisor, "{error}");
    assert!(error.message().contains("'/bin/true' ended before it had answered"), "{error}");
    host.assert_nothing_left();
}
