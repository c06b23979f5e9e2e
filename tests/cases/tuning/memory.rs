//! A balloon that the guest fills, and limits that the kernel keeps.

use polyvirt::{Affect, ErrorKind, MemoryLimitChange, memory_limits, placement::Kib};
use polyvirt_tests::groups_of;

use crate::linux::Linux;

#[tokio::test(flavor = "multi_thread")]
async fn the_guest_gives_memory_back_and_takes_it_again() {
    let Some(mut linux) = Linux::boot("balloon", "", "<memballoon model='virtio'/>").await else { return };
    let guest = linux.guest.clone();
    let before = linux.memory(|_| true).await;
    guest.set_memory(Kib(128 << 10), Affect::Both).await.expect("asked");
    // 32 MiB less; Linux counts what is in the balloon as not its own.
    linux.memory(|now| now + (31 << 10) < before).await;
    let view = guest.view().await.expect("a view");
    for config in [view.live.as_ref().expect("it runs"), view.stored.as_deref().expect("stored")] {
        assert_eq!(config.current_memory.as_ref().expect("a size").size, Kib(128 << 10));
    }
    let promised: Kib = view.plan.expect("placed").promised_memory().into_iter().map(|(_, _, size)| size).sum();
    assert_eq!(promised, Kib(160 << 10), "it may take back what it gave");
    guest.set_memory(Kib(160 << 10), Affect::Live).await.expect("asked");
    linux.memory(|now| now + (1 << 10) > before).await;
    let error = guest.set_memory(Kib(161 << 10), Affect::Live).await.expect_err("it has no more");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    linux.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_memory_are_the_kernels() {
    let tuned =
        "<memtune><hard_limit unit='MiB'>700</hard_limit></memtune><currentMemory unit='MiB'>128</currentMemory>";
    let Some(mut linux) = Linux::boot("limited", tuned, "<memballoon model='virtio'/>").await else { return };
    let guest = linux.guest.clone();
    // The start has filled the balloon.
    linux.memory(|now| now < (100 << 10)).await;
    let limit = || {
        let files =
            groups_of("limited").into_iter().flat_map(|it| [it.join("memory.limit_in_bytes"), it.join("memory.max")]);
        files.filter_map(|it| std::fs::read_to_string(it).ok()).map(|it| it.trim().to_owned()).next()
    };
    if let Err(reason) = polyvirt_process::cgroup::Hierarchy::with(polyvirt_process::cgroup::Controller::Memory) {
        println!("skipped: {reason}");
        return linux.end().await;
    }
    assert_eq!(limit(), Some((700_u64 << 20).to_string()), "set before the guest ran");
    let hard = |mib: Option<u64>| MemoryLimitChange::new(Some(mib.map(|it| Kib(it << 10))), None, None);
    guest.set_memory_limits(hard(Some(600)), Affect::Both).await.expect("changed");
    assert_eq!(limit(), Some((600_u64 << 20).to_string()));
    let error = guest.set_memory_limits(hard(Some(1)), Affect::Both).await.expect_err("it uses more");
    assert_eq!(error.kind(), ErrorKind::Hypervisor, "{error}");
    let view = guest.view().await.expect("a view");
    for config in [view.live.as_ref().expect("it runs"), view.stored.as_deref().expect("stored")] {
        assert_eq!(memory_limits(config).hard, Some(Kib(600 << 10)), "neither side was changed");
    }
    assert_eq!(limit(), Some((600_u64 << 20).to_string()));
    linux.end().await;
    assert!(groups_of("limited").is_empty(), "its groups are gone");
}
