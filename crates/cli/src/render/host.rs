//! The host, drawn.

use std::fmt::Write as _;

use polyvirt::placement::{HostTopology, Kib, Node, Promised};

/// Who sits on which nodes.
pub(crate) struct Sitting {
    /// The guest.
    pub(crate) name: String,
    /// Nodes and how much of its memory is promised there.
    pub(crate) memory: Vec<(u32, Kib)>,
    /// Its CPUs.
    pub(crate) cpus: String,
}

/// Nodes as boxes with bars for memory, huge pages, distances, and guests.
pub(crate) fn numa(topology: &HostTopology, promised: &Promised, guests: &[Sitting]) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_numa(&mut out, topology, promised, guests);
    out
}

fn write_numa(out: &mut String, topology: &HostTopology, promised: &Promised, guests: &[Sitting]) -> std::fmt::Result {
    for node in topology.nodes() {
        write_node(out, node, promised, guests)?;
    }
    if topology.nodes().len() > 1 {
        writeln!(out, "Distances")?;
        let ids: Vec<_> = topology.nodes().iter().map(|n| n.id).collect();
        writeln!(out, "      {}", ids.iter().map(|id| format!("{:>4}", id.0)).collect::<String>())?;
        for from in &ids {
            let row: String = ids.iter().map(|to| format!("{:>4}", topology.distance(*from, *to))).collect();
            writeln!(out, "  {:>3} {row}", from.0)?;
        }
    }
    for note in topology.notes() {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

fn write_node(out: &mut String, node: &Node, promised: &Promised, guests: &[Sitting]) -> std::fmt::Result {
    let cpus = if node.cpus.is_empty() { "no CPUs".to_owned() } else { format!("CPUs {}", node.cpus) };
    writeln!(out, "┌ node {} ─ {cpus}", node.id.0)?;
    if node.memory.0 == 0 {
        writeln!(out, "│ no memory")?;
    } else {
        let used = Kib(node.memory.0.saturating_sub(node.free.0));
        writeln!(
            out,
            "│ memory   {} {} of {} used, {} free",
            super::bar(used.0, node.memory.0, 24),
            used,
            node.memory,
            node.free
        )?;
        if let Some(promise) = promised.node(node.id)
            && promise.memory.0 > 0
        {
            writeln!(out, "│ promised {} {}", super::bar(promise.memory.0, node.memory.0, 24), promise.memory)?;
        }
    }
    for pool in node.pools.iter().filter(|p| p.total > 0) {
        writeln!(out, "│ pages    {} of {} pages of {} free", pool.free, pool.total, pool.size)?;
    }
    for guest in guests {
        let here: Vec<_> = guest.memory.iter().filter(|(id, _)| *id == node.id.0).collect();
        for (_, size) in here {
            writeln!(out, "│ guest    {} {size}, on CPUs {}", guest.name, guest.cpus)?;
        }
    }
    writeln!(out, "└")
}
