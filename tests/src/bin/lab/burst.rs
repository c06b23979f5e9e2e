//! Many processes that start guests at the same moment, and what is left of their promises when half of them are killed.

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Command},
    time::{Duration, Instant},
};

use polyvirt::{
    Destroy,
    placement::{HostNode, Plan, ledger::Snapshot},
};

use crate::bench::{Bench, Outcome, Started, connect, domain, ensure, explain};

const GUESTS: usize = 16;
const MIB: u64 = 240;

/// Sixteen emulators of eight vCPUs each come up at once on emulated CPUs.
const PATIENCE: Duration = Duration::from_secs(400);

fn name(number: usize) -> String {
    format!("burst{number}")
}

fn guest(name: &str) -> String {
    domain(name, "<vcpu placement='auto'>8</vcpu>", MIB, "")
}

/// A process for each guest, all at once.
async fn start_all(bench: &Bench) -> Result<Vec<(String, Child)>, String> {
    let names: Vec<String> = (0..GUESTS).map(name).collect();
    for name in &names {
        bench.connection.define(&guest(name)).await.map_err(|e| explain("define", &e))?;
    }
    let program = fs::read_link("/proc/self/exe").map_err(|e| e.to_string())?;
    let start = |name: String| {
        let child = Command::new(&program).arg("start").arg(bench.root()).arg(&name).spawn();
        child.map(|child| (name, child)).map_err(|e| e.to_string())
    };
    names.into_iter().map(start).collect()
}

fn promises(bench: &Bench) -> Result<Snapshot, String> {
    bench.connection.ledger().map_err(str::to_owned)?.snapshot().map_err(|e| e.to_string())
}

/// No node is promised more than it can give, by the ledger and by the plans alike.
fn within_what_there_is(bench: &Bench, plans: &[&Plan]) -> Outcome {
    let host = bench.connection.host().topology().map_err(|e| e.to_string())?;
    let snapshot = promises(bench)?;
    let planned = |node: HostNode| -> u64 {
        let all = plans.iter().flat_map(|plan| plan.promised_memory());
        all.filter(|(at, _, _)| *at == node).map(|(_, _, size)| size.0).sum()
    };
    for node in host.nodes() {
        let booked = snapshot.promised.node(node.id).map_or(0, |promise| promise.memory.0);
        let (planned, room) = (planned(node.id), node.promisable().0);
        let vcpus = snapshot.promised.node(node.id).map_or(0, |promise| promise.milli_vcpus);
        println!("node {}: {booked} KiB booked, {planned} planned, of {room}; {vcpus} milli-vCPUs", node.id);
        ensure!(booked <= room && planned <= room, "node {} cannot give {booked} or {planned} KiB", node.id);
    }
    Ok(())
}

async fn look_at(bench: &Bench, name: &str) -> Result<Started, String> {
    let guest = bench.connection.lookup_by_name(name).await.map_err(|e| explain("lookup", &e))?;
    bench.look_at(guest).await
}

fn kill(pids: impl Iterator<Item = u32>) -> Outcome {
    for pid in pids {
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
        ensure!(killed.is_ok_and(|status| status.success()), "process {pid} could not be killed");
    }
    Ok(())
}

fn leases(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot.leases.iter().map(|lease| lease.guest.clone()).collect()
}

/// All start; then half of the guests are killed. The others keep their promises, and the next start gets what the dead had.
pub(crate) async fn sixteen_at_once(bench: &Bench) -> Outcome {
    let began = Instant::now();
    for (name, mut child) in start_all(bench).await? {
        let status = child.wait().map_err(|e| e.to_string())?;
        ensure!(status.success(), "the start of {name} failed: {status}");
    }
    println!("{GUESTS} starts took {:.1} s", began.elapsed().as_secs_f64());
    let looked = Instant::now();
    promises(bench)?;
    println!("a look at the ledger takes {:.1} ms", looked.elapsed().as_secs_f64() * 1000.0);
    let mut started = Vec::new();
    for number in 0..GUESTS {
        started.push(look_at(bench, &name(number)).await?);
    }
    within_what_there_is(bench, &started.iter().map(|it| &it.plan).collect::<Vec<_>>())?;
    ensure!(leases(&promises(bench)?).len() == GUESTS, "not {GUESTS} promises: {:?}", leases(&promises(bench)?));
    kill(started.iter().skip(GUESTS / 2).map(|it| it.pid))?;
    let alive: BTreeSet<String> = started.iter().take(GUESTS / 2).map(|it| it.guest.uuid().to_string()).collect();
    wait_until("the killed are gone", || Ok(leases(&promises(bench)?) == alive)).await?;
    after_the_dead(bench, &alive).await?;
    for guest in started.into_iter().take(GUESTS / 2) {
        guest.end().await?;
    }
    forget(bench).await
}

/// Half of the starting processes are killed while they start. The others' guests run with their promises; of the dead nothing is held.
pub(crate) async fn half_of_sixteen_killed(bench: &Bench) -> Outcome {
    let mut children = start_all(bench).await?;
    // Some have promises by now, and some have emulators.
    let under_way = || Ok(promises(bench)?.leases.len() >= GUESTS / 2);
    wait_until("half of the starts have promises", under_way).await?;
    let dead: Vec<(String, Child)> = children.drain(GUESTS / 2..).collect();
    kill(dead.iter().map(|(_, child)| child.id()))?;
    for (_, mut child) in dead {
        child.wait().map_err(|e| e.to_string())?;
    }
    for (name, mut child) in children {
        let status = child.wait().map_err(|e| e.to_string())?;
        ensure!(status.success(), "the start of {name} failed: {status}");
    }
    let mut alive = BTreeSet::new();
    let mut started = Vec::new();
    for number in 0..GUESTS / 2 {
        let guest = look_at(bench, &name(number)).await?;
        alive.insert(guest.guest.uuid().to_string());
        started.push(guest);
    }
    let held = leases(&promises(bench)?);
    ensure!(held.is_superset(&alive), "promises of guests that run were lost: {alive:?} are not all in {held:?}");
    // Whoever opens the root next looks after what the killed left.
    drop(connect(bench.root()).await);
    after_the_dead(bench, &alive).await?;
    within_what_there_is(bench, &started.iter().map(|it| &it.plan).collect::<Vec<_>>())?;
    for guest in started {
        guest.end().await?;
    }
    forget(bench).await
}

/// The next reservation leaves the promises of the living and its own.
async fn after_the_dead(bench: &Bench, alive: &BTreeSet<String>) -> Outcome {
    let next = bench.start(&guest("next")).await?;
    let mut expected = alive.clone();
    expected.insert(next.guest.uuid().to_string());
    let ledger = bench.connection.ledger().map_err(str::to_owned)?;
    let state = fs::read_to_string(ledger.dir().join("state")).map_err(|e| e.to_string())?;
    let held = leases(&promises(bench)?);
    ensure!(held == expected, "after the next start {held:?} hold memory, not {expected:?}");
    // Not only hidden from readers: the state itself has no more.
    let written = state.matches("\"guest\":").count();
    ensure!(written == expected.len(), "{written} promises are written, not {}", expected.len());
    next.end().await
}

/// Forgets the definitions. What killed guests left is looked after by whoever opens the root next.
async fn forget(bench: &Bench) -> Outcome {
    drop(connect(bench.root()).await);
    for entry in bench.connection.list().await.map_err(|e| explain("list", &e))? {
        let guest = bench.connection.lookup_by_name(&entry.name).await.map_err(|e| explain("lookup", &e))?;
        if entry.state.is_active() {
            guest.destroy(Destroy::default()).await.map_err(|e| explain("destroy", &e))?;
        }
        guest.undefine().await.map_err(|e| explain("undefine", &e))?;
    }
    Ok(())
}

async fn wait_until(what: &str, holds: impl Fn() -> Result<bool, String>) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        ensure!(Instant::now() < deadline, "{what}: not within {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
