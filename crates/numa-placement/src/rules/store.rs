//! The rules themselves. See the table in the parent module.

use std::collections::BTreeSet;

use super::{
    CellPolicy, GeneralNodes, GeneralPolicy, MemoryPlacement, Stored, VcpuPlacement, Violation, Violations, Written,
    WrittenMemnode, WrittenMemory,
};
use crate::policy::MemMode;
use crate::set::NodeSet;
use crate::units::GuestCell;

const NUMATUNE: &str = "/domain/numatune";
const MEMORY: &str = "/domain/numatune/memory";

/// What is stored of what was written.
///
/// # Errors
/// Every broken rule, in the order of checks.
pub fn store(written: &Written) -> Result<Stored, Violations> {
    let mut broken = Vec::new();
    if written.numatune_elements > 1 {
        broken.push(violation(
            "P13",
            format!("{NUMATUNE}[2]"),
            format!("there are {} <numatune> elements", written.numatune_elements),
            "keep one",
        ));
    }
    check_empty_sets(written, &mut broken);
    let vcpu_placement = written.vcpu_placement.unwrap_or_default(); // P1
    let memory = general_policy(written.memory.as_ref(), vcpu_placement, &mut broken);
    let memnodes = cell_policies(written, memory.as_ref(), &mut broken);
    if !broken.is_empty() {
        return Err(Violations(broken));
    }
    let auto_memory = memory.as_ref().is_some_and(GeneralPolicy::is_auto);
    let cpuset = match vcpu_placement {
        VcpuPlacement::Auto => None, // P2
        VcpuPlacement::Static => written.vcpu_cpuset.clone(),
    };
    let pinned = cpuset.is_some() || written.vcpu_pin || written.emulator_pin || written.io_thread_pin;
    let vcpu_placement = if auto_memory && !pinned { VcpuPlacement::Auto } else { vcpu_placement }; // P10, P11
    Ok(Stored { vcpu_placement, vcpu_cpuset: cpuset, memory, memnodes })
}

/// A set that its text emptied (`0,^0`) is refused by whoever uses it, also where P8 drops it later.
fn check_empty_sets(written: &Written, broken: &mut Vec<Violation>) {
    // P2: with automatic placement the set is not even looked at.
    let cpuset = written.vcpu_cpuset.as_ref().filter(|_| written.vcpu_placement != Some(VcpuPlacement::Auto));
    if cpuset.is_some_and(crate::CpuSet::is_empty) {
        broken.push(violation(
            "P2",
            "/domain/vcpu/@cpuset".to_owned(),
            "the CPU set excludes all it names".to_owned(),
            "name at least one CPU, or leave the attribute out",
        ));
    }
    if written.memory.as_ref().and_then(|memory| memory.nodeset.as_ref()).is_some_and(NodeSet::is_empty) {
        broken.push(violation(
            "P7",
            format!("{MEMORY}/@nodeset"),
            "the node set excludes all it names".to_owned(),
            "name at least one node",
        ));
    }
}

/// P3–P9.
fn general_policy(
    memory: Option<&WrittenMemory>,
    vcpu: VcpuPlacement,
    broken: &mut Vec<Violation>,
) -> Option<GeneralPolicy> {
    let Some(memory) = memory else {
        return match vcpu {
            VcpuPlacement::Auto => Some(GeneralPolicy::auto(MemMode::Strict)), // P3
            VcpuPlacement::Static => None,                                     // P4
        };
    };
    if *memory == WrittenMemory::default() {
        return None; // P5
    }
    let mode = memory.mode.unwrap_or(MemMode::Strict); // P9
    let placement = match memory.placement {
        Some(MemoryPlacement::Static) => MemoryPlacement::Static,
        Some(MemoryPlacement::Auto) => MemoryPlacement::Auto,
        // P6
        None | Some(MemoryPlacement::Default) if memory.nodeset.is_some() || vcpu == VcpuPlacement::Static => {
            MemoryPlacement::Static
        }
        None | Some(MemoryPlacement::Default) => MemoryPlacement::Auto,
    };
    match (placement, &memory.nodeset) {
        (MemoryPlacement::Auto, _) => Some(GeneralPolicy::auto(mode)), // P8 drops a node set
        (_, Some(nodes)) => Some(GeneralPolicy { mode, nodes: GeneralNodes::Named(nodes.clone()) }),
        (_, None) => {
            broken.push(violation(
                "P7",
                MEMORY.to_owned(),
                "static memory placement has no 'nodeset'".to_owned(),
                "add nodeset='…', or placement='auto'",
            ));
            // The cells' rules below are checked against the mode that was meant.
            Some(GeneralPolicy { mode, nodes: GeneralNodes::Named(NodeSet::new()) })
        }
    }
}

/// M1–M8.
fn cell_policies(written: &Written, general: Option<&GeneralPolicy>, broken: &mut Vec<Violation>) -> Vec<CellPolicy> {
    if written.memnodes.is_empty() {
        return Vec::new();
    }
    if general.is_some_and(GeneralPolicy::is_auto) {
        broken.push(violation(
            "M1",
            format!("{NUMATUNE}/memnode"),
            "<memnode> cannot be combined with automatic memory placement".to_owned(),
            "give <memory> a nodeset, or remove the <memnode> elements",
        ));
    }
    if written.cells == 0 {
        broken.push(violation(
            "M2",
            format!("{NUMATUNE}/memnode"),
            "<memnode> needs guest cells".to_owned(),
            "add <cpu><numa><cell …/></numa></cpu>, or use <memory>",
        ));
    }
    // M5: without a general policy the cells are compared with 'strict'.
    let general_mode = general.map_or(MemMode::Strict, |policy| policy.mode);
    let mut seen = BTreeSet::new();
    let mut policies: Vec<CellPolicy> = written
        .memnodes
        .iter()
        .enumerate()
        .filter_map(|(at, memnode)| {
            let path = format!("{NUMATUNE}/memnode[{}]", at + 1);
            cell_policy(memnode, &path, written.cells, general_mode, &mut seen, broken)
        })
        .collect();
    policies.sort_by_key(|policy| policy.cell);
    policies
}

/// One `<memnode>`; `None` if a rule is broken so that there is no policy to speak of.
fn cell_policy(
    memnode: &WrittenMemnode,
    path: &str,
    cells: u32,
    general_mode: MemMode,
    seen: &mut BTreeSet<u32>,
    broken: &mut Vec<Violation>,
) -> Option<CellPolicy> {
    let cell = check_cell(memnode.cellid, path, cells, seen, broken);
    let nodes = match &memnode.nodeset {
        Some(nodes) if !nodes.is_empty() => Some(nodes.clone()),
        set => {
            let message = match set {
                None => "'nodeset' is missing",
                Some(_) => "the node set excludes all it names",
            };
            let remedy = "name at least one host node";
            broken.push(violation("M4", format!("{path}/@nodeset"), message.to_owned(), remedy));
            None
        }
    };
    let mode = memnode.mode.unwrap_or(MemMode::Strict); // M4
    let rule = match (general_mode, mode) {
        (MemMode::Restrictive, cell) if cell != MemMode::Restrictive => Some("M6"),
        (general, MemMode::Restrictive) if general != MemMode::Restrictive => Some("M7"),
        _ => None, // M8
    };
    if let Some(rule) = rule {
        broken.push(violation(
            rule,
            format!("{path}/@mode"),
            format!("mode '{mode}' beside the general mode '{general_mode}'"),
            "'restrictive' does not mix: use it for <memory> and every <memnode>, or for none",
        ));
    }
    Some(CellPolicy::new(cell?, mode, nodes?))
}

/// M3.
fn check_cell(
    cellid: Option<u32>,
    path: &str,
    cells: u32,
    seen: &mut BTreeSet<u32>,
    broken: &mut Vec<Violation>,
) -> Option<GuestCell> {
    let (message, remedy) = match cellid {
        None => ("'cellid' is missing".to_owned(), "name the guest cell".to_owned()),
        // Without cells M2 has said it already.
        Some(_) if cells == 0 => return None,
        Some(cell) if cell >= cells => {
            (format!("there is no guest cell {cell}"), format!("cells are numbered 0 to {}", cells - 1))
        }
        Some(cell) if !seen.insert(cell) => {
            (format!("guest cell {cell} has a <memnode> already"), "keep one per cell".to_owned())
        }
        Some(cell) => return Some(GuestCell(cell)),
    };
    broken.push(Violation { rule: "M3".to_owned(), path: format!("{path}/@cellid"), message, remedy });
    None
}

fn violation(rule: &str, path: String, message: String, remedy: &str) -> Violation {
    Violation { rule: rule.to_owned(), path, message, remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests;
