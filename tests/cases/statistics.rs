//! Numbers of guests, with real QEMU: what must grow grows, who is stuck delays nobody, and what is written can be read.

use std::{path::Path, time::Duration};

use polyvirt::{
    BlockNumbers, Connection, Destroy, ErrorKind, Guest, GuestEntry, GuestState, GuestStatistics, StatsGroup,
    StatsGroups, StatsQuery, StatsRecord, open_metrics,
};
use polyvirt_tests::{Root, connect, no_qemu, open_metrics as reader, processes_with, root, small_guest};
use proptest::prelude::*;
use tokio::io::AsyncReadExt as _;

/// Generous: the machine may be busy. Nothing here asserts times.
const WITHIN: Duration = Duration::from_secs(60);

/// A boot sector: reads a sector, writes two and flushes none, through the BIOS; says "done" on COM1 and sleeps.
#[rustfmt::skip]
const BOOT_SECTOR: &[u8] = &[
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, // cli; xor ax, ax; mov ds, ax; mov es, ax
    0x8e, 0xd0, 0xbc, 0x00, 0x7c,             // mov ss, ax; mov sp, 0x7c00
    0xbb, 0x00, 0x7e,                         // mov bx, 0x7e00
    0xb9, 0x02, 0x00, 0xb6, 0x00,             // mov cx, 2; mov dh, 0
    0xb8, 0x01, 0x02, 0xcd, 0x13,             // mov ax, 0x0201; int 0x13: read a sector
    0xb8, 0x02, 0x03, 0xcd, 0x13,             // mov ax, 0x0302; int 0x13: write two
    0xba, 0xf8, 0x03,                         // mov dx, 0x3f8
    0xb0, b'd', 0xee, 0xb0, b'o', 0xee,       // say "do"
    0xb0, b'n', 0xee, 0xb0, b'e', 0xee,       // say "ne"
    0xf4, 0xeb, 0xfd,                         // hlt; jmp hlt
];

/// A disk that boots.
fn disk(path: &Path) {
    let mut bytes = BOOT_SECTOR.to_vec();
    bytes.resize(510, 0);
    bytes.extend([0x55, 0xaa]);
    bytes.resize(1 << 20, 0);
    std::fs::write(path, bytes).expect("a disk");
}

fn with_disk(name: &str, root: &Root) -> String {
    let path = root.path().join(format!("{name}.raw"));
    disk(&path);
    let devices = format!(
        "<devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>\
         <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>\
         <interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/><rom bar='off'/></interface>\
         <memballoon model='virtio'><stats period='3'/></memballoon>",
        path.display()
    );
    small_guest("qemu", name).replace("<devices>", &devices)
}

fn skipped() -> bool {
    let reason = no_qemu();
    if let Some(reason) = &reason {
        println!("skipped: {reason}");
    }
    reason.is_some()
}

/// Starts it and waits until its disk was used.
async fn run(connection: &Connection, xml: &str) -> Guest {
    let guest = connection.define(xml).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let mut console = guest.console(None).await.expect("a console");
    guest.resume().await.expect("resumed");
    let mut said = String::new();
    let reading = async {
        while !said.contains("done") {
            said.push(char::from(console.read_u8().await.expect("the console goes on")));
        }
    };
    tokio::time::timeout(WITHIN, reading).await.expect("the guest used its disk");
    guest
}

fn all() -> StatsQuery {
    StatsQuery::new(StatsGroups::all()).within(WITHIN)
}

fn process_of(name: &str) -> nix::unistd::Pid {
    let [(pid, _)] = processes_with(&["qemu-system", &format!("guest={name},")])[..] else { panic!("one process") };
    nix::unistd::Pid::from_raw(pid.cast_signed())
}

#[tokio::test]
async fn counters_grow_with_what_the_guest_does() {
    if skipped() {
        return;
    }
    let root = root();
    let connection = connect("qemu", root.path(), |_| {}).await;
    let xml = with_disk("stat-grow", &root);
    let guest = connection.define(&xml).await.expect("defined").guest;
    let off = guest.statistics(&all()).await.expect("numbers").numbers;
    assert!(off.missing.is_empty() && off.cpu.is_none(), "{off:?}");
    assert_eq!(off.blocks.as_ref().map(Vec::len), Some(2), "its disks are known without it: {off:?}");
    guest.start(true).await.expect("started");
    let before = guest.statistics(&all()).await.expect("numbers").numbers;
    assert!(before.missing.is_empty(), "{:?}", before.missing);
    assert_eq!(before.state, Some(GuestState::Paused));
    guest.destroy(Destroy::default()).await.expect("destroyed");

    let guest = run(&connection, &xml).await;
    let after = guest.statistics(&all()).await.expect("numbers").numbers;
    let first = |numbers: &StatsRecord| -> BlockNumbers { numbers.blocks.as_ref().expect("disks")[0].clone() };
    let (idle, used) = (first(&before), first(&after));
    assert_eq!((used.target.as_str(), used.capacity), ("vda", Some(1 << 20)));
    let (read, written) = (used.read.expect("reads"), used.written.expect("writes"));
    assert_eq!(idle.written.expect("writes").bytes, 0);
    assert!(read.bytes >= idle.read.expect("reads").bytes + 1024 && read.requests >= 2, "{read:?}");
    assert_eq!((written.bytes, written.failed), (1024, 0), "two sectors: {written:?}");
    assert_eq!(after.blocks.as_ref().expect("disks")[1].capacity, None, "nothing is in the drive");
    let cpu = after.cpu.expect("CPU time");
    assert!(cpu.total > before.cpu.expect("CPU time").total && cpu.total == cpu.user + cpu.system, "{cpu:?}");
    let vcpus = after.vcpus.as_ref().expect("vCPUs");
    assert!(vcpus.current == 1 && vcpus.each[0].time > Duration::ZERO, "{vcpus:?}");
    let memory = after.balloon.expect("memory");
    assert_eq!((memory.current.0, memory.maximum.0, memory.last_update), (32 << 10, 32 << 10, None));
    assert!(memory.resident.expect("a process has memory").0 > 1024);
    let cards = after.interfaces.as_ref().expect("cards");
    assert!(cards.len() == 1 && cards[0].traffic.is_none(), "QEMU's user network is counted by nobody: {cards:?}");

    let sizes = guest.block_sizes("vda").await.expect("sizes");
    assert_eq!((sizes.capacity, sizes.physical), (1 << 20, 1 << 20));
    guest.destroy(Destroy::default()).await.expect("destroyed");
    let stopped = guest.block_sizes("vda").await.expect("sizes");
    assert_eq!((stopped.capacity, stopped.physical), (sizes.capacity, sizes.physical), "live and stopped");
    assert_eq!(guest.block_sizes("sda").await.expect_err("empty").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_stuck_guest_is_named_and_delays_nobody() {
    if skipped() {
        return;
    }
    let root = root();
    let connection = connect("qemu", root.path(), |_| {}).await;
    for name in ["stat-a", "stat-b", "stat-stuck"] {
        let guest = connection.define(&with_disk(name, &root)).await.expect("defined").guest;
        guest.start(true).await.expect("started");
    }
    nix::sys::signal::kill(process_of("stat-stuck"), nix::sys::signal::Signal::SIGSTOP).expect("stopped");
    // Two seconds are much for who answers, and all that is waited for who does not.
    let query = StatsQuery::new(StatsGroups::all());
    let told = connection.statistics(&query, |_| true).await.expect("numbers");
    let [a, b, stuck] = &told[..] else { panic!("three guests: {told:?}") };
    for it in [a, b] {
        assert!(it.numbers.missing.is_empty(), "{}: {:?}", it.guest.name, it.numbers.missing);
        assert_eq!(it.numbers.present(), StatsGroups::all());
    }
    check_stuck(stuck);

    // A process that comes anew cannot even greet it, and is held up no longer.
    drop(told);
    for name in ["stat-a", "stat-b", "stat-stuck"] {
        connection.lookup_by_name(name).await.expect("found").release().await.expect("released");
    }
    let other = connect("qemu", root.path(), |o| o.ownership = polyvirt::Ownership::WhileBusy).await;
    let told = other.statistics(&query, |_| true).await.expect("numbers");
    assert!(told[..2].iter().all(|it| it.numbers.missing.is_empty()), "{told:?}");
    check_stuck(&told[2]);
    let text = reader::read(&open_metrics(&told)).expect("valid text");
    let missing = &text["polyvirt_domain_missing"].points;
    assert!(missing.iter().all(|(labels, _)| labels["domain"] == "stat-stuck") && missing.len() == 4, "{missing:?}");

    let began = std::time::Instant::now();
    let guest = connection.lookup_by_name("stat-stuck").await.expect("found");
    guest.destroy(Destroy::default()).await.expect("destroyed");
    println!("a stuck guest was destroyed in {:?}", began.elapsed());
}

/// The host tells of it what it can.
fn check_stuck(it: &GuestStatistics) {
    let lacking = [StatsGroup::Balloon, StatsGroup::Block, StatsGroup::IoThread, StatsGroup::DirtyRate];
    assert_eq!(it.numbers.missing.keys().copied().collect::<Vec<_>>(), lacking, "{:?}", it.numbers.missing);
    assert_eq!(it.numbers.present(), StatsGroups::all().without(lacking.into_iter().collect()));
    assert_eq!(it.guest.state, GuestState::Paused, "as last known");
}

#[tokio::test]
async fn a_guest_of_another_owner_has_the_hosts_numbers() {
    if skipped() {
        return;
    }
    let root = root();
    let owner = connect("qemu", root.path(), |_| {}).await;
    let guest = owner.define(&with_disk("stat-owned", &root)).await.expect("defined").guest;
    guest.start(true).await.expect("started");
    let other = connect("qemu", root.path(), |_| {}).await;
    let told = other.statistics(&all(), |_| true).await.expect("numbers");
    assert!(told[0].numbers.cpu.is_some() && told[0].numbers.vcpus.is_some() && told[0].numbers.interfaces.is_some());
    let why = &told[0].numbers.missing[&StatsGroup::Block];
    assert!(why.contains(&std::process::id().to_string()), "the owner is named: {why}");
    // Its owner is not disturbed.
    assert!(guest.statistics(&all()).await.expect("numbers").numbers.missing.is_empty());
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

#[tokio::test]
async fn what_is_written_for_prometheus_can_be_read() {
    if skipped() {
        return;
    }
    let root = root();
    let connection = connect("qemu", root.path(), |_| {}).await;
    let guest = run(&connection, &with_disk("stat-prom", &root)).await;
    connection.define(&with_disk("stat-off", &root)).await.expect("defined");
    let told = connection.statistics(&all(), |_| true).await.expect("numbers");
    let text = open_metrics(&told);
    let families = reader::read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let value = |family: &str, label: &str, is: &str| {
        let points = &families.get(family).unwrap_or_else(|| panic!("no {family} in\n{text}")).points;
        let found = points
            .iter()
            .find(|(labels, _)| labels["domain"] == "stat-prom" && (label.is_empty() || labels[label] == is));
        found.unwrap_or_else(|| panic!("no {label}={is} of {family} in\n{text}")).1
    };
    assert!((value("polyvirt_domain_block_write_bytes", "device", "vda") - 1024.0).abs() < 0.1);
    assert!((value("polyvirt_domain_memory_bytes", "", "") - f64::from(32 << 20)).abs() < 0.1);
    assert!(value("polyvirt_domain_state", "polyvirt_domain_state", "running") > 0.5);
    assert!(value("polyvirt_domain_state", "polyvirt_domain_state", "paused") < 0.5);
    assert!(value("polyvirt_domain_vcpu_seconds", "vcpu", "0") > 0.0);
    let cpu = &families["polyvirt_domain_cpu_seconds"];
    assert_eq!((cpu.kind.as_str(), cpu.unit.as_deref()), ("counter", Some("seconds")));
    assert!(families.values().all(|it| it.help.as_ref().is_some_and(|it| !it.is_empty())));
    guest.destroy(Destroy::default()).await.expect("destroyed");
}

proptest! {
    /// Whatever guests, disks and reasons are called: what is written is read back as it was.
    #[test]
    fn any_label_is_read_back(name in any::<String>(), disk in "[\\\\\"\nn{}=, a]{0,12}", number in any::<u64>()) {
        let mut numbers = StatsRecord::default();
        let mut block = BlockNumbers::new(disk.clone(), None);
        block.capacity = Some(number);
        numbers.blocks = Some(vec![block]);
        numbers.extra.insert(name.clone(), number);
        let told = GuestStatistics::new(GuestEntry::transient(&name), numbers);
        let families = reader::read(&open_metrics(&[told])).expect("valid text");
        let (labels, value) = &families["polyvirt_domain_block_capacity_bytes"].points[0];
        prop_assert_eq!((&labels["domain"], &labels["device"]), (&name, &disk));
        #[expect(clippy::cast_precision_loss, reason = "that is what a reader does")]
        let expected = number as f64;
        prop_assert_eq!(value.to_bits(), expected.to_bits());
        prop_assert_eq!(&families["polyvirt_domain_hypervisor_value"].points[0].0["name"], &name);
    }
}

#[test]
fn the_reader_is_strict() {
    for (text, why) in [
        ("", "EOF"),
        ("# EOF", "EOF"),
        ("a 1\n# EOF\n", "before any family"),
        ("# TYPE a gauge\n# EOF\n", "no points"),
        ("# TYPE a gauge\na{b=\"\\x\"} 1\n# EOF\n", "bad escape"),
        ("# TYPE a gauge\na{b=\"1\",b=\"2\"} 1\n# EOF\n", "twice"),
        ("# TYPE a gauge\na 1\na 2\n# EOF\n", "a point twice"),
        ("# TYPE a counter\na 1\n# EOF\n", "another name"),
        ("# TYPE a gauge\na  1\n# EOF\n", "bad value"),
        ("# TYPE a gauge\n# UNIT a bytes\na 1\n# EOF\n", "without its unit"),
        ("# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# TYPE a gauge\na 1\n# EOF\n", "two places"),
    ] {
        let error = reader::read(text).expect_err(text);
        assert!(error.contains(why), "{text:?}: {error}");
    }
}
