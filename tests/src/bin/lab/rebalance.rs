//! Changing places while guests run: pages really move, threads run where the plan then says, and promises follow.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use polyvirt::{
    Affect, Observation,
    placement::{
        CpuSet, HostNode, Kib, MemMode, NodeSet,
        rebalance::{Hysteresis, Suggestion},
    },
};

use crate::{
    auto::{AUTO, Filling},
    bench::{Bench, Outcome, Started, TOUCHED, domain, ensure, explain},
    kernel, policies, threads,
};

fn cpus_of(bench: &Bench, node: u32) -> Result<CpuSet, String> {
    let host = bench.connection.host().topology().map_err(|e| e.to_string())?;
    Ok(host.cpus_of(&NodeSet::of(HostNode(node))))
}

/// A guest that runs on the CPUs of one node and has its memory on another, which only a cpuset confines.
async fn torn(bench: &Bench, name: &str, cpus: u32, memory: u32, mib: u64) -> Result<Started, String> {
    let vcpus = format!("<vcpu placement='static' cpuset='{}'>2</vcpu>", cpus_of(bench, cpus)?);
    let more = format!("{TOUCHED}<numatune><memory mode='restrictive' nodeset='{memory}'/></numatune>");
    let guest = bench.start(&domain(name, &vcpus, mib, &more)).await?;
    policies::pages_on(&guest, mib, &memory.to_string()).await?;
    Ok(guest)
}

async fn suggest(bench: &Bench, guests: &[&Started], least_time: u64) -> Result<Option<Suggestion>, String> {
    let mut seen: Vec<Observation> = Vec::new();
    for guest in guests {
        seen.push(guest.guest.observe().await.map_err(|e| explain("observe", &e))?);
    }
    let mut hysteresis = Hysteresis::default();
    hysteresis.least_time = Duration::from_secs(least_time);
    bench.connection.suggest(&seen, hysteresis).await.map_err(|e| explain("suggest", &e))
}

/// All pages, threads and the promise are at the node, and so says the plan; the guest as it is now.
async fn is_at(bench: &Bench, guest: Started, node: u32, mib: u64) -> Result<Started, String> {
    let guest = bench.look_at(guest.guest).await?;
    let block = policies::pages_on(&guest, mib, &node.to_string()).await?;
    policies::has_policy(&block, "default")?;
    threads::are_where_planned(&guest).await?;
    let wanted = NodeSet::of(HostNode(node));
    ensure!(guest.plan.process.mems.as_ref() == Some(&wanted), "the plan says {:?}", guest.plan.process.mems);
    let seen = guest.guest.observe().await.map_err(|e| explain("observe", &e))?;
    ensure!(seen.drift().misplaced.is_zero(), "it drifted: {:?}", seen.drift());
    let ledger = bench.connection.ledger().map_err(str::to_owned)?.snapshot().map_err(|e| e.to_string())?;
    let lease = ledger.leases.iter().find(|lease| Some(&lease.id) == guest.plan.lease.as_ref());
    let booked = &lease.ok_or("it has no promise")?.booked;
    for (on, promise) in &booked.nodes {
        let expected = if *on == HostNode(node) { Kib::from_mib(mib) } else { Kib::ZERO };
        ensure!(promise.memory == expected, "on node {on} {} are booked, not {expected}", promise.memory);
    }
    Ok(guest)
}

/// Two guests have their memory at each other's CPUs, and most of what they leave is promised to others that have not touched it.
pub(crate) async fn two_change_places(bench: &Bench) -> Outcome {
    const MIB: u64 = 112;
    let one = torn(bench, "one", 0, 1, MIB).await?;
    let two = torn(bench, "two", 1, 0, MIB).await?;
    let mut others = Vec::new();
    for node in [0, 1] {
        let more = format!("<numatune><memory mode='strict' nodeset='{node}'/></numatune>");
        let vcpus = format!("<vcpu placement='static' cpuset='{}'>1</vcpu>", cpus_of(bench, node)?);
        let host = bench.connection.host().topology().map_err(|e| e.to_string())?;
        let available = host.node(HostNode(node)).map_or(Kib::ZERO, |node| node.available()).mib_ceil();
        ensure!(available > 2 * MIB - MIB / 2, "only {available} MiB are left on node {node}");
        others.push(bench.start(&domain(&format!("idle{node}"), &vcpus, available - MIB / 2, &more)).await?);
    }
    let alone = suggest(bench, &[&one], 0).await?;
    ensure!(alone.is_none(), "one of them could move alone, which proves nothing: {alone:?}");
    let found = suggest(bench, &[&one, &two], 0).await?.ok_or("no change is suggested")?;
    println!("{found:?}");
    ensure!(found.moves.len() == 2 && found.size == Kib::from_mib(2 * MIB), "not an exchange: {found:?}");
    let begun = Instant::now();
    let left = bench.connection.carry_out(&found).await.map_err(|e| explain("carry out", &e))?;
    println!("changing places took {:.1} s", begun.elapsed().as_secs_f64());
    ensure!(left.is_zero(), "{left} found no room");
    let one = is_at(bench, one, 0, MIB).await?;
    let two = is_at(bench, two, 1, MIB).await?;
    ensure!(suggest(bench, &[&one, &two], 0).await?.is_none(), "both are where they should be");
    for guest in others.into_iter().chain([one, two]) {
        guest.end().await?;
    }
    Ok(())
}

/// A guest is not sent to a node that is full, where it would be killed for want of a page; it stays as it is.
pub(crate) async fn nobody_goes_where_it_is_full(bench: &Bench) -> Outcome {
    const MIB: u64 = 96;
    let guest = torn(bench, "stays", 1, 0, MIB).await?;
    let found = suggest(bench, &[&guest], 0).await?.ok_or("no change is suggested")?;
    let filling = Filling::leaving(1, 72 << 10)?;
    let refused = bench.connection.carry_out(&found).await;
    let why = refused.err().map(|error| error.to_string()).unwrap_or_default();
    println!("{why}");
    ensure!(why.contains("find no room on node 1 at this moment"), "it was not refused so: {why}");
    ensure!(suggest(bench, &[&guest], 0).await?.is_none(), "and is not suggested any more");
    drop(filling);
    let guest = is_at(bench, guest, 0, MIB).await?;
    guest.end().await
}

/// The command moves one guest's pages to its CPUs; but not so soon after a move of another process.
pub(crate) async fn the_command_moves_one(bench: &Bench) -> Outcome {
    const MIB: u64 = 96;
    let guest = torn(bench, "far", 1, 0, MIB).await?;
    let other = torn(bench, "near", 0, 0, MIB).await?;
    bench.connection.ledger().map_err(str::to_owned)?.note_move().map_err(|e| e.to_string())?;
    let soon = command(bench, &["--apply", "--yes"])?;
    ensure!(soon.contains(r#""suggestion":null"#) && !soon.contains(r#""wait_seconds":null"#), "not so soon: {soon}");
    policies::pages_on(&guest, MIB, "0").await?;
    let idea = command(bench, &["--least-time", "0"])?;
    ensure!(idea.contains(r#""guest":"far""#) && idea.contains(r#""applied":false"#), "only an idea: {idea}");
    policies::pages_on(&guest, MIB, "0").await?;
    let done = command(bench, &["--least-time", "0", "--apply", "--yes"])?;
    ensure!(done.contains(r#""applied":true"#) && done.contains(r#""left_behind":0"#), "done: {done}");
    let guest = is_at(bench, guest, 1, MIB).await?;
    let other = is_at(bench, other, 0, MIB).await?;
    guest.end().await?;
    other.end().await
}

/// `polyvirt numa rebalance --json` on these guests, in a process of its own.
fn command(bench: &Bench, options: &[&str]) -> Result<String, String> {
    let program = fs::read_link("/proc/self/exe").map_err(|e| e.to_string())?.with_file_name("polyvirt");
    let uri = format!("qemu:///embed?root={}", bench.root().display());
    let mut command = Command::new(&program);
    command.args(["--connect", &uri, "--json", "numa", "rebalance"]).args(options);
    let output = command.output().map_err(|e| format!("{}: {e}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}");
    ensure!(output.status.success(), "{}: {text} {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(text.split_whitespace().collect())
}

/// Memory was put elsewhere by hand; the vCPUs, which placement chose, follow it, and no page moves.
pub(crate) async fn vcpus_follow_their_memory(bench: &Bench) -> Outcome {
    const MIB: u64 = 96;
    let more = format!("{TOUCHED}<numatune><memory mode='restrictive' nodeset='0'/></numatune>");
    let guest = bench.start(&domain("follows", AUTO, MIB, &more)).await?;
    policies::pages_on(&guest, MIB, "0").await?;
    let to = NodeSet::of(HostNode(1));
    let moved = guest.guest.set_numatune(Some(MemMode::Restrictive), Some(&to), Affect::Live).await;
    moved.map_err(|e| explain("numatune --live", &e))?;
    let found = suggest(bench, &[&guest], 0).await?.ok_or("no change is suggested")?;
    ensure!(found.size.is_zero() && found.moves[0].cpus.as_ref() == Some(&to), "vCPUs should follow: {found:?}");
    bench.connection.carry_out(&found).await.map_err(|e| explain("carry out", &e))?;
    let guest = is_at(bench, guest, 1, MIB).await?;
    let cpus = cpus_of(bench, 1)?;
    for thread in kernel::threads(guest.pid)? {
        ensure!(thread.cpus == cpus, "should run on {cpus}: {thread:?}");
    }
    guest.end().await
}
