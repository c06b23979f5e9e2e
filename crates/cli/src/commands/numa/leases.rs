//! `numa leases`: the ledger of promises.

use std::{collections::BTreeMap, fs::File, io::Read as _};

use polyvirt::placement::{
    HostTopology, Kib, Promised,
    ledger::{Lease, Phase, Snapshot},
};

use super::{Done, promises, show};
use crate::{
    args::Drawing,
    output::Output,
    picture::{Grid, Ink, Line, Panel, Part, Picture, exact},
    session::Session,
};

pub(super) async fn leases(drawing: &Drawing, session: &mut Session, out: &mut Output) -> Done {
    let connection = session.connection().await?;
    let topology = connection.topology().await?;
    let snapshot = promises(&connection, out).await;
    let mut names = BTreeMap::new();
    for entry in connection.list().await? {
        if let Some(uuid) = entry.uuid {
            names.insert(uuid.to_string(), entry.name);
        }
    }
    let leases: Vec<_> = snapshot.leases.iter().map(|lease| json(lease, name(lease, &names))).collect();
    let facts =
        serde_json::json!({ "generation": snapshot.generation, "leases": leases, "promised": snapshot.promised });
    show(&picture(&topology, &snapshot, &names), &facts, drawing, out)
}

/// The guest by name if it is of this connection; else as who booked called it.
fn name<'a>(lease: &'a Lease, names: &'a BTreeMap<String, String>) -> &'a str {
    names.get(&lease.guest).unwrap_or(&lease.guest)
}

fn json(lease: &Lease, name: &str) -> serde_json::Value {
    serde_json::json!({
        "id": lease.id, "guest": lease.guest, "name": name, "phase": lease.phase, "owner": lease.owner,
        "pid": lease.owner.pid(), "alive": lease.owner.is_alive(), "resident_kib": resident(lease), "booked": lease.booked,
    })
}

fn picture(topology: &HostTopology, snapshot: &Snapshot, names: &BTreeMap<String, String>) -> Picture {
    let mut picture = Picture { title: "What is promised".to_owned(), ..Picture::default() };
    let inks: Vec<Ink> = snapshot.leases.iter().map(|lease| picture.guest(name(lease, names))).collect();
    let mut nodes: Vec<u32> = topology.nodes().iter().map(|node| node.id.0).collect();
    // Promises of a node that went away are promises all the same.
    nodes.extend(snapshot.promised.nodes.keys().map(|node| node.0).filter(|id| topology.node((*id).into()).is_none()));
    picture.panels = nodes.into_iter().map(|id| panel(id, topology, snapshot, &inks)).collect();
    let mut grid = Grid::new("Leases", &HEADER);
    for (lease, ink) in snapshot.leases.iter().zip(&inks) {
        rows(lease, name(lease, names), *ink, &mut grid);
    }
    grid.drop_empty_columns();
    if grid.rows.is_empty() {
        picture.notes.push("nothing is promised".to_owned());
    } else {
        picture.grids.push(grid);
    }
    picture
}

const HEADER: [&str; 11] =
    ["guest", "lease", "phase", "owner", "resident", "node", "promised", "seen there", "pages", "vCPUs", "own CPUs"];

fn panel(id: u32, topology: &HostTopology, snapshot: &Snapshot, inks: &[Ink]) -> Panel {
    let node = topology.node(id.into());
    let sum = snapshot.promised.node(id.into()).cloned().unwrap_or_default();
    let of = |booked: &Promised| booked.node(id.into()).map_or(Kib::ZERO, |promise| promise.memory);
    let parts = snapshot.leases.iter().zip(inks);
    let parts = parts.map(|(lease, ink)| Part::memory(of(&lease.booked), *ink, &lease.guest)).collect();
    let most = node.map_or(Kib::ZERO, polyvirt::placement::Node::promisable);
    let mut lines =
        vec![Line::bar("memory", parts, most.0, format!("{} of {most} promised", sum.memory)).detail(format!(
            "promised {}, at most {}",
            exact(sum.memory),
            exact(most)
        ))];
    if !sum.untouched.is_zero() {
        let text = format!("{} at most", sum.untouched);
        lines.push(Line::text("untouched", text).detail(exact(sum.untouched)));
    }
    for (size, pages) in &sum.pages {
        let there = node.and_then(|node| node.pool(*size)).map_or(0, |pool| pool.total);
        lines.push(Line::text(&size.to_string(), format!("{pages} of {there} pages promised")));
    }
    if sum.milli_vcpus > 0 {
        lines.push(Line::text("vCPUs", milli(sum.milli_vcpus)).detail(format!("{} thousandths", sum.milli_vcpus)));
    }
    if !sum.dedicated.is_empty() {
        lines.push(Line::text("own CPUs", sum.dedicated.to_string()));
    }
    let tag = if node.is_none() { "not online" } else { "" };
    Panel { name: format!("node {id}"), tag: tag.to_owned(), detail: String::new(), lines }
}

fn milli(vcpus: u64) -> String {
    let text = format!("{}.{:03}", vcpus / 1000, vcpus % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A row for every node of a lease; one where nothing is booked.
fn rows(lease: &Lease, name: &str, ink: Ink, grid: &mut Grid) {
    let resident = resident(lease);
    let mut head = vec![
        name.to_owned(),
        lease.id.to_string(),
        lease.phase.to_string(),
        owner(lease),
        resident.map_or_else(String::new, |resident| resident.to_string()),
    ];
    if lease.booked.nodes.is_empty() {
        grid.row(head, ink);
        return;
    }
    for (node, promise) in &lease.booked.nodes {
        let pages: Vec<_> = promise.pages.iter().map(|(size, pages)| format!("{pages} of {size}")).collect();
        let blank = vec![String::new(); head.len()];
        let mut cells = std::mem::replace(&mut head, blank);
        cells.extend([
            node.to_string(),
            promise.memory.to_string(),
            promise.memory.saturating_sub(promise.untouched).to_string(),
            pages.join(", "),
            milli(promise.milli_vcpus),
            promise.dedicated.to_string(),
        ]);
        let pages = promise.pages.iter().chain(&promise.untouched_pages);
        let pages: String = pages.map(|(size, pages)| format!(", {pages} pages of {} KiB", size.0)).collect();
        grid.row(cells, ink).detail = format!(
            "guest {} lease {} owner {}, resident {} KiB: node {node}, promised {} KiB, untouched {} KiB, {} thousandths of a vCPU{pages}",
            lease.guest,
            lease.id,
            owner(lease),
            resident.map_or(0, |resident| resident.0),
            promise.memory.0,
            promise.untouched.0,
            promise.milli_vcpus
        );
    }
}

/// Who keeps the lease alive.
fn owner(lease: &Lease) -> String {
    let alive = if lease.owner.is_alive() { "alive" } else { "dead" };
    lease.owner.pid().map_or_else(|| format!("{}, {alive}", lease.owner), |pid| format!("{pid}, {alive}"))
}

/// What the owner has in memory now, as the ledger counts it: `VmRSS` of `/proc/PID/status` (proc(5)), huge pages aside.
fn resident(lease: &Lease) -> Option<Kib> {
    let mut text = String::new();
    let pid = lease.owner.pid().filter(|_| lease.phase == Phase::Running)?;
    File::open(format!("/proc/{pid}/status")).ok()?.take(64 << 10).read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok().map(Kib)
}

#[cfg(test)]
mod tests;
