//! CPU time and block I/O of a guest, as the kernel has them.

use std::path::{Path, PathBuf};

use polyvirt::{
    Affect, CpuBandwidth, ErrorKind, Guest, SchedulerParams, block_weights,
    model::{
        DomainConfig,
        tuning::{BlkioDevice, BlkioTune},
    },
    placement::IoThreadId,
};
use polyvirt_process::cgroup::{Controller, Hierarchy, Version};
use polyvirt_tests::{Root, connect, groups_of, no_qemu, root, small_guest};

use crate::linux::open;

/// Why a controller cannot be had here.
fn without(controller: Controller) -> Option<String> {
    no_qemu().or_else(|| Hierarchy::with(controller).err().map(|it| it.to_string()))
}

/// The first file of these names in a guest's groups.
fn file(guest: &str, names: &[&str]) -> Option<PathBuf> {
    groups_of(guest).iter().flat_map(|group| names.iter().map(|name| group.join(name))).find(|it| it.exists())
}

fn text(guest: &str, names: &[&str]) -> Option<String> {
    file(guest, names).map(|it| std::fs::read_to_string(it).expect("a file of the kernel").trim().to_owned())
}

/// Quota and period of a part, or of the whole, as version 2 writes them.
fn bandwidth(guest: &str, part: &str) -> Option<String> {
    let v1 = |name: &str| text(guest, &[&format!("{part}/{name}")]);
    text(guest, &[&format!("{part}/cpu.max")])
        .or_else(|| Some(format!("{} {}", v1("cpu.cfs_quota_us")?.replace("-1", "max"), v1("cpu.cfs_period_us")?)))
}

/// How many threads a part has.
fn threads(guest: &str, part: &str) -> usize {
    let folder = file(guest, &[&format!("{part}/cpu.max"), &format!("{part}/cpu.shares")]).expect("a part");
    let names = ["tasks", "cgroup.threads"].map(|it| folder.with_file_name(it));
    names.iter().find_map(|it| std::fs::read_to_string(it).ok()).expect("a list").lines().count()
}

fn weight(guest: &str) -> Option<String> {
    text(guest, &["cpu.shares", "cpu.weight"])
}

async fn both(guest: &Guest) -> [DomainConfig; 2] {
    let view = guest.view().await.expect("a view");
    [view.live.expect("it runs"), (*view.stored.expect("stored")).clone()]
}

/// A change of some values.
fn change(edit: impl FnOnce(&mut SchedulerParams)) -> SchedulerParams {
    let mut params = SchedulerParams::default();
    edit(&mut params);
    params
}

async fn tuned(name: &str, elements: &str) -> (Root, Guest) {
    let dir = root();
    let xml = small_guest("qemu", name);
    let (_, rest) = xml.split_once("<vcpu placement='auto'>1</vcpu>").expect("vCPUs");
    let (before, _) = xml.split_once("<vcpu").expect("vCPUs");
    let connection = connect("qemu", dir.path(), |_| {}).await;
    let guest = connection.define(&format!("{before}{elements}{rest}")).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    (dir, guest)
}

#[tokio::test(flavor = "multi_thread")]
async fn cpu_time_is_limited_from_the_start_on_and_changes() {
    if let Some(reason) = without(Controller::Cpu) {
        return println!("skipped: {reason}");
    }
    let elements = "<vcpu current='1'>2</vcpu><cputune><shares>512</shares><period>50000</period><quota>20000</quota>
        <global_quota>90000</global_quota></cputune>";
    let (dir, guest) = tuned("sched", elements).await;
    let now = |part: &str| bandwidth("sched", part).expect("a part");
    assert_eq!(weight("sched").as_deref(), Some("512"));
    assert_eq!([now("."), now("vcpu0"), now("emulator")], ["90000 100000", "20000 50000", "max 100000"]);
    assert_eq!(threads("sched", "vcpu0"), 1);

    guest.set_scheduler(change(|it| it.emulator.quota = Some(30_000)), Affect::Both).await.expect("changed");
    assert_eq!([now("emulator"), now("vcpu0")], ["30000 100000", "20000 50000"]);
    for config in both(&guest).await {
        let params = SchedulerParams::of(&config);
        assert_eq!((params.shares, params.emulator), (Some(512), CpuBandwidth::new(None, Some(30_000))));
    }
    // What comes later is limited as what is there.
    guest.set_vcpus(2, false, Affect::Live).await.expect("plugged");
    assert_eq!((now("vcpu1").as_str(), threads("sched", "vcpu1")), ("20000 50000", 1));

    let before = both(&guest).await;
    let error = guest.set_scheduler(change(|it| it.vcpu.period = Some(5)), Affect::Both).await.expect_err("5 µs");
    assert!(error.to_string().contains("5 µs") && format!("{error:?}").contains("1000 to 1000000"), "{error:?}");
    let error = guest.set_scheduler(change(|it| it.shares = Some(262_145)), Affect::Both).await.expect_err("shares");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    if Hierarchy::with(Controller::Cpu).expect("it is there").version() == Version::V1 {
        let less = change(|it| it.global.quota = Some(10_000));
        let error = guest.set_scheduler(less, Affect::Both).await.expect_err("its vCPUs may use more");
        assert_eq!(error.kind(), ErrorKind::Hypervisor, "{error}");
    }
    assert_eq!(both(&guest).await, before, "neither side was changed");
    assert_eq!([now("."), now("emulator"), now("vcpu0")], ["90000 100000", "30000 100000", "20000 50000"]);

    // Another process goes on where this one ends.
    drop(guest);
    let connection = open(&dir).await;
    let guest = connection.lookup_by_name("sched").await.expect("found");
    guest.set_scheduler(change(|it| it.io_thread.quota = Some(15_000)), Affect::Live).await.expect("changed");
    assert_eq!([now("emulator"), now("vcpu1")], ["30000 100000", "20000 50000"], "nothing of the others is lost");
    drop((guest, connection));
    let connection = open(&dir).await;
    let guest = connection.lookup_by_name("sched").await.expect("found");
    guest.add_io_thread(IoThreadId(3), Affect::Live).await.expect("added");
    assert_eq!((now("iothread3").as_str(), threads("sched", "iothread3")), ("15000 100000", 1));
    let nothing = change(|it| {
        (it.shares, it.global.quota, it.io_thread.quota) = (Some(0), Some(-1), Some(0));
        (it.vcpu, it.emulator.quota) = (CpuBandwidth::new(Some(0), Some(0)), Some(0));
    });
    guest.set_scheduler(nothing, Affect::Live).await.expect("lifted");
    for part in [".", "emulator", "vcpu0", "vcpu1", "iothread3"] {
        assert_eq!(now(part), "max 100000", "{part}");
    }
    guest.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
    assert!(groups_of("sched").is_empty(), "its groups are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_without_limits_gets_them_while_it_runs() {
    if let Some(reason) = without(Controller::Cpu) {
        return println!("skipped: {reason}");
    }
    let (_dir, guest) = tuned("later", "<vcpu>2</vcpu>").await;
    assert_eq!(weight("later"), None, "there was no need of a group");
    let limits = change(|it| (it.shares, it.vcpu.quota) = (Some(2000), Some(50_000)));
    guest.set_scheduler(limits, Affect::Live).await.expect("limited");
    assert_eq!(weight("later").as_deref(), Some("2000"));
    for (part, says) in [(".", "max 100000"), ("emulator", "max 100000"), ("vcpu0", "50000 100000")] {
        assert_eq!(bandwidth("later", part).as_deref(), Some(says), "{part}");
    }
    assert!(threads("later", "emulator") > 1 && threads("later", "vcpu1") == 1);
    let [live, stored] = both(&guest).await;
    assert_eq!((SchedulerParams::of(&live), stored.cputune), (limits, None));
    guest.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
}

/// A whole disk of this host.
fn disk() -> Option<String> {
    let names = std::fs::read_dir("/sys/block").ok()?.flatten().map(|it| Path::new("/dev").join(it.file_name()));
    names.into_iter().find(|it| it.exists()).map(|it| it.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn block_io_is_limited_from_the_start_on_and_changes() {
    let disk = match (without(Controller::Io), disk()) {
        (None, Some(disk)) => disk,
        (reason, _) => return println!("skipped: {}", reason.unwrap_or("this host has no disk".into())),
    };
    let elements = format!(
        "<vcpu>1</vcpu><blkiotune><device><path>{disk}</path><read_bytes_sec>1000000</read_bytes_sec></device></blkiotune>"
    );
    let (_dir, guest) = tuned("blkio", &elements).await;
    let read = || text("blkio", &["blkio.throttle.read_bps_device", "io.max"]).unwrap_or_default();
    let written = || text("blkio", &["blkio.throttle.write_bps_device", "io.max"]).unwrap_or_default();
    assert!(read().contains("1000000"), "{}", read());
    let of = |edit: &dyn Fn(&mut BlkioDevice)| {
        let mut device = BlkioDevice::default();
        device.path.clone_from(&disk);
        edit(&mut device);
        let mut tune = BlkioTune::default();
        tune.device.push(device);
        tune
    };
    guest.set_block_weights(of(&|it| it.write_bytes_sec = Some(2_000_000)), Affect::Both).await.expect("changed");
    assert!(read().contains("1000000") && written().contains("2000000"), "{} {}", read(), written());
    let before = both(&guest).await;
    let wrong = of(&|it| "/dev/null".clone_into(&mut it.path));
    let mut wrong_device = wrong.clone();
    wrong_device.device[0].read_iops_sec = Some(5);
    let error = guest.set_block_weights(wrong_device, Affect::Both).await.expect_err("no block device");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let mut weight = BlkioTune::default();
    weight.weight = Some(500);
    match guest.set_block_weights(weight, Affect::Both).await {
        // No I/O scheduler of this kernel has weights.
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.message().contains("bfq.weight"), "{error}");
            assert_eq!(both(&guest).await, before, "neither side was changed");
        }
        Ok(()) => assert_eq!(block_weights(&both(&guest).await[0]).weight, Some(500)),
    }
    let nothing = of(&|it| (it.read_bytes_sec, it.write_bytes_sec) = (Some(0), Some(0)));
    guest.set_block_weights(nothing, Affect::Live).await.expect("lifted");
    assert_eq!((read(), written()), (String::new(), String::new()));
    guest.destroy(polyvirt::Destroy::default()).await.expect("destroyed");
    assert!(groups_of("blkio").is_empty(), "its groups are gone");
}
