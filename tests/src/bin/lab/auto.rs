//! Automatic placement: it must choose well, and what it chose must come true.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::Command,
};

use polyvirt::placement::NodeSet;

use crate::{
    bench::{Bench, Outcome, Started, TOUCHED, connect, domain, ensure, explain},
    kernel, threads,
};

pub(crate) const AUTO: &str = "<vcpu placement='auto'>2</vcpu>";

/// What is left free on a node that is called full.
const LEFT_KIB: u64 = 72 << 10;

/// Memory taken on one node; given back when dropped.
pub(crate) struct Filling(tempfile::TempDir);

impl Filling {
    /// Takes memory until little is left.
    fn of(node: u32) -> Result<Self, String> {
        Self::leaving(node, LEFT_KIB)
    }

    /// Takes memory until only this much can be had: what is free, and the page cache that is given up for it.
    pub(crate) fn leaving(node: u32, left: u64) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let options = format!("mpol=bind:{node},size=100%");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).status();
        ensure!(mount.is_ok_and(|status| status.success()), "no tmpfs with {options} can be mounted");
        let filling = Self(dir);
        let mut file = File::create(filling.0.path().join("filling")).map_err(|e| e.to_string())?;
        let megabyte = vec![1; 1 << 20];
        while kernel::available_kib(node)? > left {
            file.write_all(&megabyte).map_err(|e| format!("node {node} cannot be filled: {e}"))?;
        }
        Ok(filling)
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        match Command::new("umount").arg(self.0.path()).status() {
            Ok(status) if status.success() => {}
            other => println!("the filling stays: {other:?}"),
        }
    }
}

/// Pages, threads and advice agree.
pub(crate) async fn is_where_planned(guest: &Started, mib: u64) -> Result<NodeSet, String> {
    let advice = guest.plan.advice.as_ref().ok_or("an automatic plan without advice")?;
    let promised = guest.plan.memory_nodes();
    ensure!(promised.is_subset(&advice.nodeset), "promised on {promised}, but advised {}", advice.nodeset);
    let block = kernel::block(guest.pid, mib).await?;
    println!("{}: advice {} cpus {}, pages {:?}", guest.guest.name(), advice.nodeset, advice.cpuset, block.kib);
    ensure!(block.total() == mib << 10, "{} KiB of {mib} MiB are there: {block:?}", block.total());
    ensure!(block.nodes().is_subset(&promised), "promised on {promised}, but: {block:?}");
    threads::are_where_planned(guest).await?;
    Ok(promised)
}

/// Node 0 is full, so the guest goes elsewhere, CPUs and pages.
pub(crate) async fn beside_a_full_node(bench: &Bench) -> Outcome {
    let filling = Filling::of(0)?;
    let guest = bench.start(&domain("elsewhere", AUTO, 160, TOUCHED)).await?;
    let nodes = is_where_planned(&guest, 160).await?;
    ensure!(!nodes.contains(0), "node 0 has {} KiB free, and the guest was put on {nodes}", kernel::free_kib(0)?);
    ensure!(nodes.len() == 1, "it fits on one node, yet is on {nodes}");
    let free = kernel::free_kib(nodes.first().map_or(0, u32::from))?;
    guest.end().await?;
    let after = kernel::free_kib(nodes.first().map_or(0, u32::from))?;
    ensure!(after >= free + (128 << 10), "node {nodes} had {free} KiB free beside the guest, and {after} KiB after it");
    drop(filling);
    Ok(())
}

/// Node 0 has CPUs but no memory: nothing may be asked of it.
pub(crate) async fn beside_a_node_without_memory(bench: &Bench) -> Outcome {
    let host = bench.connection.host().topology().map_err(|e| e.to_string())?;
    ensure!(!host.memory_nodes().contains(0), "node 0 has memory here");
    let guest = bench.start(&domain("memless", AUTO, 160, TOUCHED)).await?;
    let nodes = is_where_planned(&guest, 160).await?;
    ensure!(nodes.is_subset(&host.memory_nodes()), "memory from {nodes}, which have only {}", host.memory_nodes());
    guest.end().await
}

/// Two processes start a guest each at the same moment, none of which has touched its memory: a node is not promised twice.
pub(crate) async fn two_at_once(bench: &Bench) -> Outcome {
    const MIB: u64 = 280;
    for name in ["first", "second"] {
        let defined = bench.connection.define(&domain(name, AUTO, MIB, "")).await;
        defined.map_err(|e| explain("define", &e))?;
    }
    let program = fs::read_link("/proc/self/exe").map_err(|e| e.to_string())?;
    let start = |name: &str| Command::new(&program).arg("start").arg(bench.root()).arg(name).spawn();
    let both = [start("first").map_err(|e| e.to_string())?, start("second").map_err(|e| e.to_string())?];
    for mut child in both {
        let status = child.wait().map_err(|e| e.to_string())?;
        ensure!(status.success(), "a start failed: {status}");
    }
    let mut started = Vec::new();
    for name in ["first", "second"] {
        let guest = bench.connection.lookup_by_name(name).await.map_err(|e| explain("lookup", &e))?;
        started.push(bench.look_at(guest).await?);
    }
    let host = bench.connection.host().topology().map_err(|e| e.to_string())?;
    let ledger = bench.connection.ledger().map_err(str::to_owned)?.snapshot().map_err(|e| e.to_string())?;
    ensure!(ledger.leases.len() == 2, "two guests, but these promises: {:?}", ledger.leases);
    for node in host.nodes() {
        let shares = started.iter().flat_map(|it| it.plan.promised_memory()).filter(|(at, _, _)| *at == node.id);
        let promised: u64 = shares.map(|(_, _, size)| size.0).sum();
        println!("node {}: {} KiB promised of {} KiB", node.id, promised, node.promisable().0);
        ensure!(promised <= node.promisable().0, "node {} cannot give {promised} KiB", node.id);
    }
    let overlap = started[0].plan.memory_nodes().intersection(&started[1].plan.memory_nodes());
    ensure!(overlap.is_empty(), "both guests count on node {overlap}");
    for guest in started {
        guest.end().await?;
    }
    Ok(())
}

/// What the processes of [`two_at_once`] do.
pub(crate) async fn start_one(root: &Path, name: &str) {
    let guest = connect(root).await.lookup_by_name(name).await.expect("defined");
    if let Err(error) = guest.start(true).await {
        println!("{}", explain("start", &error));
        std::process::exit(1);
    }
}
