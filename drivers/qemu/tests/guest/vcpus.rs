//! vCPUs of a guest without an operating system: they come, and nobody lets them go.

use std::time::Duration;

use polyvirt_core::{Deadline, ErrorKind, OpContext, Settings};

use crate::host::Host;

async fn kept(settings: Settings) -> Option<ErrorKind> {
    let host = Host::with(settings).await?;
    let live = host.define("<memory unit='MiB'>32</memory><vcpu current='1'>3</vcpu>", "").await;
    let plan = host.plan(&live);
    let guest = host.try_start(&live, Some(plan.clone()), false, None).await.unwrap_or_else(|error| panic!("{error}"));
    let cx = OpContext::new(Some(plan), Deadline::after(Duration::from_secs(1)));
    let count = guest.domain.vcpu_count().unwrap();
    let change = count.set(&cx, 2).await.unwrap();
    assert!(change.failed.is_none(), "{change:?}");
    let change = count.set(&cx, 1).await.unwrap();
    assert_eq!(change.now.online.to_string(), "0-1", "it is still there");
    guest.destroy().await;
    host.assert_nothing_left();
    Some(change.failed.unwrap().kind())
}

#[tokio::test]
async fn emulated_guests_keep_their_vcpus_unless_the_settings_take_the_risk() {
    assert!(kept(Settings::default()).await.is_none_or(|kind| kind == ErrorKind::Unsupported));
    let mut settings = Settings::default();
    settings.set("unplug_emulated", true);
    // Its firmware has set nothing up.
    assert!(kept(settings).await.is_none_or(|kind| matches!(kind, ErrorKind::Hypervisor | ErrorKind::Timeout)));
}
