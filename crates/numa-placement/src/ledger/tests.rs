use std::fs;
use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::{GuestShape, HostNode, HostTopology, Kib, Node, PagePool, PageRequest, PlacementProfile, Request, plan};
use crate::{MemoryDeviceRequest, plug, unplug};

fn host() -> HostTopology {
    HostTopology::uniform(4, 4, Kib::from_gib(8)).build().unwrap()
}

fn me() -> Owner {
    Owner::this_process().unwrap()
}

fn take(ledger: &Ledger, owner: &Owner, guest: &str, memory: Kib) -> Result<Reservation, LedgerError> {
    let request = Request::auto(guest, GuestShape::flat(1, memory));
    ledger.reserve(owner, guest, &mut |promised| plan(&host(), promised, &PlacementProfile::qemu(), &request))
}

fn open() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("numa")).unwrap();
    (dir, ledger)
}

#[test]
fn two_guests_are_not_promised_the_same_memory() {
    let (_dir, ledger) = open();
    let one = take(&ledger, &me(), "a", Kib::from_gib(6)).unwrap().plan;
    let two = take(&ledger, &me(), "b", Kib::from_gib(6)).unwrap().plan;
    assert_ne!(one.memory_nodes(), two.memory_nodes());
    assert_ne!(one.lease, two.lease);
    for guest in ["c", "d"] {
        take(&ledger, &me(), guest, Kib::from_gib(6)).unwrap();
    }
    let refused = take(&ledger, &me(), "e", Kib::from_gib(9)).unwrap_err();
    assert!(matches!(refused, LedgerError::Refused(_)), "{refused}");
    assert_eq!(ledger.snapshot().unwrap().leases.len(), 4, "a refusal books nothing");
    ledger.release(one.lease.as_ref().unwrap()).unwrap();
    ledger.release(one.lease.as_ref().unwrap()).unwrap();
    let again = take(&ledger, &me(), "e", Kib::from_gib(9)).unwrap().plan;
    assert!(again.memory_nodes().len() > 1);
}

#[test]
fn two_guests_are_not_given_the_same_cpus_and_headroom_is_kept() {
    let (_dir, ledger) = open();
    let mut taken = crate::CpuSet::new();
    let mut leases = Vec::new();
    let own = |guest: &str, vcpus| {
        let shape = GuestShape::flat(vcpus, Kib::from_gib(2));
        let request = Request::auto(guest, shape).dedicated(crate::Threads::Prefer).headroom(Kib::from_gib(1));
        ledger.reserve(&me(), guest, &mut |promised| plan(&host(), promised, &PlacementProfile::qemu(), &request))
    };
    for guest in ["a", "b", "c", "d", "e"] {
        let plan = own(guest, 3).unwrap().plan;
        for (_, cpus) in &plan.dedicated {
            assert!(cpus.is_disjoint(&taken), "{guest}: {cpus} of {taken}");
            taken = taken.union(cpus);
        }
        leases.push(plan.lease.unwrap());
    }
    assert_eq!(taken.len(), 15);
    let promised = ledger.snapshot().unwrap().promised;
    let memory: Kib = promised.nodes.values().map(|node| node.memory).sum();
    assert_eq!(memory, Kib::from_gib(15), "five guests with 2 GiB and 1 GiB to grow");
    assert!(matches!(own("f", 2), Err(LedgerError::Refused(_))));
    // They stay the guest's while it runs, and come back with it.
    ledger.commit(&leases[0], &[]).unwrap();
    assert!(matches!(own("f", 2), Err(LedgerError::Refused(_))));
    ledger.release(&leases[0]).unwrap();
    assert!(own("f", 4).is_ok());
}

#[test]
fn phases_and_owners() {
    let (_dir, ledger) = open();
    let lease = take(&ledger, &me(), "a", Kib::from_gib(2)).unwrap().plan.lease.unwrap();
    let mut child = sleeper();
    let hypervisor = Owner::of_pid(child.id()).unwrap();
    ledger.assign(&lease, &hypervisor).unwrap();
    let starting = ledger.snapshot().unwrap();
    assert_eq!((starting.leases[0].phase, &starting.leases[0].owner), (Phase::Starting, &hypervisor));
    assert_eq!(starting.promised.node(HostNode(0)).unwrap().untouched, Kib::from_gib(2));
    ledger.commit(&lease, &[NodeShare::new(HostNode(3), Kib::from_gib(1))]).unwrap();
    let running = ledger.snapshot().unwrap();
    assert_eq!(running.leases[0].phase, Phase::Running);
    assert_eq!(running.promised.node(HostNode(3)).unwrap().memory, Kib::from_gib(1));
    assert_eq!(running.promised.node(HostNode(0)).unwrap().memory, Kib::from_gib(1));
    assert!(running.generation > starting.generation);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ledger.snapshot().unwrap().leases.is_empty(), "the guest is gone, and so is its promise");
    assert!(matches!(ledger.assign(&lease, &me()), Err(LedgerError::UnknownLease(_))));
    assert!(matches!(ledger.commit(&lease, &[]), Err(LedgerError::UnknownLease(_))));
}

#[test]
fn huge_pages_are_promised_by_size() {
    let (_dir, ledger) = open();
    let node = Node::new(HostNode(0)).with_cpus(crate::CpuSet::of_range(0, 1)).with_memory(Kib::from_gib(8));
    let host = HostTopology::builder().node(node.with_pool(PagePool::new(Kib(2048), 100, 100))).build().unwrap();
    let request = Request::auto("a", GuestShape::flat(1, Kib(2048 * 60))).pages(PageRequest::Size(Kib(2048)));
    let mut decide = |promised: &Promised| plan(&host, promised, &PlacementProfile::qemu(), &request);
    ledger.reserve(&me(), "a", &mut decide).unwrap();
    let refused = ledger.reserve(&me(), "b", &mut decide).unwrap_err().to_string();
    assert!(refused.contains("node 0 short 20 × 2 MiB pages (60 asked, 40 can be promised)"), "{refused}");
}

#[test]
fn a_lost_promise_of_a_running_guest_is_restored() {
    let (_dir, ledger) = open();
    let plan = take(&ledger, &me(), "a", Kib::from_gib(2)).unwrap().plan;
    fs::remove_file(ledger.dir().join("state")).unwrap();
    let id = ledger.restore(&me(), "a", &plan).unwrap();
    assert_eq!(Some(&id), plan.lease.as_ref());
    ledger.restore(&me(), "a", &plan).unwrap();
    assert_eq!(ledger.snapshot().unwrap().leases.len(), 1);
    let other = take(&ledger, &me(), "b", Kib::from_gib(1)).unwrap().plan.lease.unwrap();
    assert_ne!(other, id);
}

#[test]
fn a_changed_plan_is_booked_instead() {
    let (_dir, ledger) = open();
    let small = take(&ledger, &me(), "a", Kib::from_gib(1)).unwrap().plan;
    let large = take(&ledger, &me(), "b", Kib::from_gib(5)).unwrap().plan;
    ledger.release(large.lease.as_ref().unwrap()).unwrap();
    ledger.rebook(small.lease.as_ref().unwrap(), &large).unwrap();
    let sum: Kib = ledger.snapshot().unwrap().promised.nodes.values().map(|promise| promise.memory).sum();
    assert_eq!(sum, Kib::from_gib(5));
}

#[test]
fn corrupt_states_are_set_aside_and_said() {
    let (_dir, ledger) = open();
    take(&ledger, &me(), "a", Kib::from_gib(1)).unwrap();
    let path = ledger.dir().join("state");
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    let last = flipped.len() - 5;
    flipped[last] ^= 1;
    for (count, bad) in [&good[..good.len() / 2], &good[..3], b"", &flipped[..], b"\0\0\0"].into_iter().enumerate() {
        fs::write(&path, bad).unwrap();
        assert!(matches!(ledger.snapshot(), Err(LedgerError::Io { .. })), "case {count}");
        let reservation = take(&ledger, &me(), "b", Kib::from_gib(1)).unwrap();
        let kept = ledger.dir().join(format!("state.corrupt-{}", count + 1));
        assert!(
            matches!(&reservation.notices[..], [Notice::SetAside { path, .. }] if *path == kept),
            "{:?}",
            reservation.notices
        );
        assert_eq!(fs::read(kept).unwrap(), bad);
    }
}

#[test]
fn a_newer_state_is_refused_and_left_alone() {
    let (_dir, ledger) = open();
    let path = ledger.dir().join("state");
    let newer = b"{\"schema\":2,\"whatever\":[]}\nsomething else";
    fs::write(&path, newer).unwrap();
    let error = take(&ledger, &me(), "a", Kib::from_gib(1)).unwrap_err();
    assert!(matches!(error, LedgerError::Newer { found: 2, known: 1, .. }), "{error}");
    assert!(matches!(ledger.snapshot(), Err(LedgerError::Newer { .. })));
    assert_eq!(fs::read(&path).unwrap(), newer);
}

#[test]
fn a_planted_state_is_refused() {
    let (dir, ledger) = open();
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, "x").unwrap();
    std::os::unix::fs::symlink(&elsewhere, ledger.dir().join("state")).unwrap();
    assert!(matches!(take(&ledger, &me(), "a", Kib::from_gib(1)), Err(LedgerError::Foreign(_))));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "x");
}

#[test]
fn a_ledger_open_to_everyone_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Ledger::open(dir.path()), Err(LedgerError::Lock(_))));
}

#[test]
fn who_may_not_write_is_told_to_plan_without() {
    // Root may write everywhere but where nobody can: /proc takes no new directories.
    let error = Ledger::open(Path::new("/proc/polyvirt-ledger")).unwrap_err();
    assert!(matches!(error, LedgerError::ReadOnly(_) | LedgerError::Io { .. }), "{error}");
    assert!(matches!(io_error(Path::new("x"), io::ErrorKind::ReadOnlyFilesystem.into()), LedgerError::ReadOnly(_)));
    assert!(matches!(io_error(Path::new("x"), io::ErrorKind::PermissionDenied.into()), LedgerError::ReadOnly(_)));
}

fn sleeper() -> Child {
    Command::new("sleep").arg("600").spawn().unwrap()
}

/// Run in processes of their own by the tests below: reserves as often as it is told, says so, and then waits.
#[test]
fn child_that_reserves() {
    let Some(dir) = std::env::var_os("POLYVIRT_LEDGER_TEST_DIR") else { return };
    let rounds: u32 = std::env::var("POLYVIRT_LEDGER_TEST_ROUNDS").unwrap().parse().unwrap();
    let ledger = Ledger::open(Path::new(&dir)).unwrap();
    let mut held = Vec::new();
    for round in 0..rounds {
        let guest = format!("{}-{round}", std::process::id());
        match take(&ledger, &me(), &guest, Kib::from_mib(700)) {
            Ok(reservation) => held.push(reservation.plan.lease.unwrap()),
            Err(LedgerError::Refused(_)) => {}
            Err(other) => panic!("{other}"),
        }
        if round % 3 == 2
            && let Some(lease) = held.pop()
        {
            ledger.release(&lease).unwrap();
        }
    }
    println!("\nheld {}", held.len());
    // Until the parent is done with looking.
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

fn reserving_child(dir: &Path, rounds: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ledger::tests::child_that_reserves", "--nocapture"])
        .env("POLYVIRT_LEDGER_TEST_DIR", dir)
        .env("POLYVIRT_LEDGER_TEST_ROUNDS", rounds.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the child says how many leases it holds.
fn held(child: &mut Child) -> usize {
    let mut lines = io::BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let line = lines.find_map(|line| line.unwrap().strip_prefix("held ").map(str::to_owned));
    line.expect("the child ended early").parse().unwrap()
}

#[test]
fn four_processes_at_once_lose_nothing_and_exceed_nothing() {
    let (_dir, ledger) = open();
    let mut children: Vec<_> = (0..4).map(|_| reserving_child(ledger.dir(), 40)).collect();
    let counts: Vec<usize> = children.iter_mut().map(held).collect();
    let snapshot = ledger.snapshot().unwrap();
    assert_eq!(snapshot.leases.len(), counts.iter().sum::<usize>());
    for node in host().nodes() {
        let promise = snapshot.promised.node(node.id).cloned().unwrap_or_default();
        assert!(promise.memory <= node.promisable(), "node {} over its promise", node.id);
    }
    // 44 such guests fit, and more were asked for.
    assert!(counts.iter().sum::<usize>() >= 40, "{counts:?}");
    for child in &mut children {
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
    assert!(ledger.snapshot().unwrap().leases.is_empty());
}

#[test]
fn what_a_killed_planner_held_is_free_at_the_next_reservation() {
    let (_dir, ledger) = open();
    let mut child = reserving_child(ledger.dir(), 2);
    assert_eq!(held(&mut child), 2);
    let kept = take(&ledger, &me(), "kept", Kib::from_gib(1)).unwrap().plan.lease.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let reservation = take(&ledger, &me(), "next", Kib::from_gib(1)).unwrap();
    let reaped: Vec<_> = reservation
        .notices
        .iter()
        .map(|notice| match notice {
            Notice::Reaped(lease) => (lease.phase, lease.owner.pid()),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(reaped, [(Phase::Planned, Some(child.id())); 2]);
    let left: Vec<_> = ledger.snapshot().unwrap().leases.into_iter().map(|lease| lease.id).collect();
    assert_eq!(left, [kept, reservation.plan.lease.unwrap()]);
}

#[test]
fn waiting_ends_when_nobody_gets_on() {
    let (_dir, ledger) = open();
    take(&ledger, &me(), "a", Kib::from_gib(1)).unwrap();
    let stuck = ledger.lock.lock_timeout(LockMode::Exclusive, PATIENCE).unwrap();
    let brief = Duration::from_millis(20);
    assert!(matches!(ledger.lock(brief), Err(LedgerError::Lock(LockError::Timeout { .. }))));
    drop(stuck);
    // What tells that others get on.
    let before = State::stamp(ledger.dir());
    take(&ledger, &me(), "b", Kib::from_gib(1)).unwrap();
    assert!(before.is_some() && State::stamp(ledger.dir()) != before);
}

#[test]
fn a_running_guest_counts_as_busy_as_it_was_seen() {
    let (_dir, ledger) = open();
    let request = Request::auto("a", GuestShape::flat(4, Kib::from_gib(1)));
    let mut decide = |promised: &Promised| plan(&host(), promised, &PlacementProfile::qemu(), &request);
    let lease = ledger.reserve(&me(), "a", &mut decide).unwrap().plan.lease.unwrap();
    let busy = |ledger: &Ledger| ledger.snapshot().unwrap().promised.node(HostNode(0)).unwrap().busy_milli;
    assert_eq!(busy(&ledger), None, "it does not run yet");
    ledger.commit(&lease, &[]).unwrap();
    let now = busy::uptime().unwrap();
    let look = |at_ms, busy_milli| Look { at_ms, cpu_ms: 0, busy_milli };
    let seen = |look: Look| {
        ledger
            .change(|state, _| {
                state.lease_mut(&lease)?.seen = Some(look);
                Ok(())
            })
            .unwrap();
    };
    // The machine may be younger than a minute.
    seen(look(now, Some(3500)));
    assert_eq!(busy(&ledger), Some(3500));
    // A look from the time before the clock began counts for nothing but what it said.
    seen(look(now * 2 + 1_000_000, Some(700)));
    assert_eq!(busy(&ledger), Some(700));
    // Every reservation looks again at whoever is due.
    ledger.reserve(&me(), "b", &mut decide).unwrap();
    let kept = ledger.snapshot().unwrap().leases.iter().find(|other| other.id == lease).unwrap().seen.unwrap();
    assert!(kept.at_ms >= now && kept.at_ms < now * 2 + 1_000_000 && kept.busy_milli == Some(700), "{kept:?}");
}

#[test]
fn memory_that_is_plugged_is_booked_once_and_given_back() {
    let (_dir, ledger) = open();
    let size = Kib::from_gib(2);
    let before = Request::new("a", GuestShape::flat(1, Kib::from_gib(1)));
    let after = Request::new("a", GuestShape::flat(1, Kib::from_gib(3))).device(MemoryDeviceRequest::new(None, size));
    let profile = PlacementProfile::qemu();
    let mut decide = |promised: &Promised| plan(&host(), promised, &profile, &before);
    let started = ledger.reserve(&me(), "a", &mut decide).unwrap().plan;
    let lease = started.lease.clone().unwrap();
    let booked = || {
        let leases = ledger.snapshot().unwrap().leases;
        leases[0].booked.nodes.values().map(|it| it.memory).sum::<Kib>()
    };
    let mut more = |promised: &Promised| plug(&host(), promised, &profile, &after, &started, 0);
    let plugged = ledger.plug(&lease, &started, &mut more).unwrap();
    assert_eq!((booked(), plugged.lease.as_ref()), (Kib::from_gib(3), Some(&lease)));
    // Whoever did it died, and it was never written down that it is there.
    ledger.rebook_plugged(&lease, &started, &started).unwrap();
    assert_eq!(booked(), Kib::from_gib(1));
    ledger.rebook_plugged(&lease, &started, &plugged).unwrap();
    ledger.rebook_plugged(&lease, &started, &plugged).unwrap();
    assert_eq!(booked(), Kib::from_gib(3));
    let gone = unplug(&plugged, 0);
    for _ in 0..2 {
        ledger.rebook_plugged(&lease, &plugged, &gone).unwrap();
        assert_eq!(booked(), Kib::from_gib(1));
    }
    // What does not fit is refused, and nothing is booked.
    let mut huge = after.clone();
    huge.devices[0].size = Kib::from_gib(100_000);
    let mut more = |promised: &Promised| plug(&host(), promised, &profile, &huge, &gone, 0);
    assert!(matches!(ledger.plug(&lease, &gone, &mut more), Err(LedgerError::Refused(_))));
    assert_eq!(booked(), Kib::from_gib(1));
    // One of the start that goes.
    ledger.rebook_plugged(&lease, &gone, &gone).unwrap();
    ledger.rebook(&lease, &plugged).unwrap();
    ledger.rebook_plugged(&lease, &plugged, &gone).unwrap();
    assert_eq!(booked(), Kib::from_gib(1));
}
