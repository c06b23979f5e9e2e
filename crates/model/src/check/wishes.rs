//! Rules of wishes for a place: they are well-formed, and fit what else the definition says (docs/numa.md, Wishes).

use std::collections::HashSet;

use polyvirt_numa_placement::MemMode;
use polyvirt_numa_placement::rules::{GeneralPolicy, Stored, VcpuPlacement};
use polyvirt_xml::{Positions, Problems, XmlTree};

use super::nth;
use crate::cells::MAX_CELLS;
use crate::domain::DomainConfig;
use crate::wishes::{CpusWish, MAX_NEAR, PLACEMENT, Wishes};

/// Every problem of the wishes, where it stands.
pub(super) fn check(config: &DomainConfig, positions: &Positions) -> Problems {
    let wishes = match config.wishes() {
        Ok(Some(wishes)) => wishes,
        Ok(None) => return Problems::new(),
        Err(problems) => return problems.into_iter().map(|problem| positions.locate(problem)).collect(),
    };
    let path = path_of(config);
    let mut problems = Problems::new();
    let mut error = |at: &str, message: String| problems.push(positions.error(&format!("{path}{at}"), message));
    if wishes.threads.is_some() && wishes.cpus != Some(CpusWish::Dedicated) {
        error("/@threads", "threads are chosen for CPUs of the guest's own: add cpus='dedicated'".to_owned());
    }
    if wishes.near.len() > MAX_NEAR {
        error("", format!("{} things to be near to, {MAX_NEAR} are possible", wishes.near.len()));
    }
    let prefix = prefix_of(config);
    for (at, near) in wishes.near.iter().enumerate().take(MAX_NEAR) {
        if near.node.is_some() == near.pci.is_some() {
            let near = nth(&format!("{prefix}near"), wishes.near.len(), at);
            error(&format!("/{near}"), "name either a 'node' or a 'pci' device".to_owned());
        }
    }
    let Ok(stored) = config.stored_placement() else { return problems };
    let auto_memory = stored.memory.as_ref().is_some_and(GeneralPolicy::is_auto);
    let auto = stored.vcpu_placement == VcpuPlacement::Auto;
    if wishes.cpus == Some(CpusWish::Dedicated) && !auto {
        error("/@cpus", "CPUs of its own are chosen for automatic vCPUs: write <vcpu placement='auto'>".to_owned());
    }
    if wishes.per_cell == Some(true) && !(auto && auto_memory) {
        let message = "cells are placed one by one where vCPUs and memory are automatic: write <vcpu placement='auto'>";
        error("/@per-cell", message.to_owned());
    }
    fixed_cells(config, &wishes, &stored, &mut error);
    let interleaves = stored.memory.as_ref().is_some_and(|policy| policy.mode == MemMode::Interleave);
    if wishes.is_weighted() && !interleaves {
        let message = "weights are for interleaved memory: write <memory mode='interleave'> in <numatune>";
        error(&format!("/{prefix}memory/@interleave"), message.to_owned());
    }
    if !auto && !auto_memory {
        let without = [(wishes.span.is_some(), "/@span"), (!wishes.near.is_empty(), "")];
        for (_, at) in without.into_iter().filter(|(is_there, _)| *is_there) {
            let message = "nothing of the guest is placed automatically, so this has no effect";
            problems.push(positions.warning(&format!("{path}{at}"), message));
        }
    }
    problems
}

/// Rules of cells that are fixed beside automatic memory: those of `<memnode>`, and that something is left to be placed.
fn fixed_cells(config: &DomainConfig, wishes: &Wishes, stored: &Stored, error: &mut dyn FnMut(&str, String)) {
    let (prefix, count) = (prefix_of(config), wishes.memnode.len());
    let cells = config.cells().len();
    let general = stored.memory.as_ref().filter(|policy| policy.is_auto());
    let mut seen = HashSet::new();
    for (at, node) in wishes.memnode.iter().enumerate().take(MAX_CELLS) {
        let path = format!("/{}", nth(&format!("{prefix}memnode"), count, at));
        if general.is_none() {
            error(&path, "this is for automatic memory: write <memnode> in <numatune> instead".to_owned());
        } else if general.is_some_and(|policy| policy.mode == MemMode::Restrictive)
            || node.mode == Some(MemMode::Restrictive)
        {
            error(&path, "'restrictive' is for the guest as a whole: use another mode".to_owned());
        }
        if usize::try_from(node.cellid).is_ok_and(|cell| cell >= cells) {
            error(&format!("{path}/@cellid"), format!("there is no guest cell {}, the guest has {cells}", node.cellid));
        } else if !seen.insert(node.cellid) {
            error(&format!("{path}/@cellid"), format!("cell {} is fixed twice", node.cellid));
        }
        if node.nodeset.is_empty() {
            error(&format!("{path}/@nodeset"), "the set is empty, name at least one host node".to_owned());
        }
    }
    if count > 0 && seen.len() == cells {
        error("", "every cell is fixed: write <memnode> in <numatune> and leave nothing automatic".to_owned());
    }
}

/// The prefix that the definition has for our namespace, with its colon.
fn prefix_of(config: &DomainConfig) -> String {
    let ours = |tree: &&XmlTree| tree.namespace.as_deref() == Some(PLACEMENT);
    let tree = config.metadata.iter().flat_map(|metadata| &metadata.children).find(ours);
    tree.map(XmlTree::prefix)
        .filter(|prefix| !prefix.is_empty())
        .map_or_else(String::new, |prefix| format!("{prefix}:"))
}

fn path_of(config: &DomainConfig) -> String {
    format!("/domain/metadata/{}placement", prefix_of(config))
}
