//! A placement and its reasons.

use std::fmt::Write as _;

use polyvirt::placement::{
    Candidate, CellPlan, Constraint, NodeSet, Origin, Plan, TermName, ThreadPlan, Trace, Verdict,
};

use crate::picture::{Grid, Ink};

/// Where a guest sits, in one line.
pub(crate) fn in_a_line(plan: &Plan) -> String {
    let how = if plan.advice.is_some() { "automatic" } else { "as defined" };
    let nodes = plan.memory_nodes();
    let memory = if nodes.is_empty() { "anywhere".to_owned() } else { format!("from {}", named(&nodes)) };
    format!("{how}, memory {memory}, CPUs {}", plan.process.cpus)
}

/// `node 0`, `nodes 0-1`.
pub(crate) fn named(nodes: &NodeSet) -> String {
    format!("node{} {nodes}", if nodes.len() == 1 { "" } else { "s" })
}

/// The whole plan with its reasons.
pub(crate) fn text(plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_plan(&mut out, plan);
    out
}

fn write_plan(out: &mut String, plan: &Plan) -> std::fmt::Result {
    writeln!(out, "Placement: {}", in_a_line(plan))?;
    if let Some(advice) = &plan.advice {
        writeln!(out, "  chosen    {}, CPUs {}", named(&advice.nodeset), advice.cpuset)?;
    }
    writeln!(out, "  emulator  {}", thread(&plan.process))?;
    for (id, io) in &plan.io_threads {
        writeln!(out, "  iothread {} {}", id.0, thread(io))?;
    }
    for cell in &plan.cells {
        write_cell(out, cell, plan.cells.len() > 1)?;
    }
    let summary = if plan.trace.summary.is_empty() { "nothing was asked for" } else { &plan.trace.summary };
    writeln!(out, "Why: {summary}")?;
    for note in &plan.trace.notes {
        writeln!(out, "  note: {note}")?;
    }
    if !plan.weakened.is_empty() {
        writeln!(out, "Not as asked:")?;
        for weak in &plan.weakened {
            writeln!(out, "  {weak}")?;
        }
    }
    Ok(())
}

fn write_cell(out: &mut String, cell: &CellPlan, named: bool) -> std::fmt::Result {
    let shares: Vec<_> = cell.memory.iter().map(|share| format!("{} on node {}", share.size, share.node)).collect();
    let mode = cell.policy.mode.map_or_else(
        || "wherever the kernel finds it".to_owned(),
        |mode| {
            if cell.policy.weighted { format!("{mode} by weights") } else { mode.to_string() }
        },
    );
    let name = if named { format!("cell {}", cell.cell.0) } else { "memory".to_owned() };
    let memory = if shares.is_empty() { "unbound".to_owned() } else { shares.join(", ") };
    writeln!(out, "  {name:<9} {memory} ({mode})")?;
    for (first, last, cpus, origin) in runs(cell) {
        let which = if first == last { format!("vCPU {first}") } else { format!("vCPUs {first}-{last}") };
        writeln!(out, "            {which} on {} ({})", self::cpus(&cpus), origin_word(origin))?;
    }
    Ok(())
}

/// vCPUs in a row with the same set, as one line.
fn runs(cell: &CellPlan) -> Vec<(u32, u32, String, Origin)> {
    let mut runs: Vec<(u32, u32, String, Origin)> = Vec::new();
    for vcpu in &cell.vcpus {
        let cpus = vcpu.hard.to_string();
        match runs.last_mut() {
            Some((_, last, set, origin)) if *last + 1 == vcpu.vcpu.0 && *set == cpus && *origin == vcpu.origin => {
                *last += 1
            }
            _ => runs.push((vcpu.vcpu.0, vcpu.vcpu.0, cpus, vcpu.origin)),
        }
    }
    runs
}

/// Terms in the order of the documentation.
const TERMS: [TermName; 8] = [
    TermName::Distance,
    TermName::Overload,
    TermName::Load,
    TermName::Fill,
    TermName::Nodes,
    TermName::Slack,
    TermName::Stranded,
    TermName::Devices,
];

/// The term as in the documentation of the objective.
fn term(name: TermName) -> &'static str {
    match name {
        TermName::Distance => "distance",
        TermName::Overload => "overload",
        TermName::Load => "load",
        TermName::Fill => "fill",
        TermName::Nodes => "nodes",
        TermName::Slack => "slack",
        TermName::Stranded => "stranded",
        TermName::Devices => "devices",
        _ => "other",
    }
}

/// What was considered: what is possible by cost, the chosen one first, and what is not with the reason. Terms that are nothing for
/// all of them are left out.
pub(crate) fn candidates(trace: &Trace) -> Vec<Grid> {
    let is_failed = |candidate: &&Candidate| matches!(candidate.verdict, Verdict::Failed(_));
    let (failed, mut possible): (Vec<&Candidate>, Vec<&Candidate>) = trace.candidates.iter().partition(is_failed);
    let rank = |candidate: &Candidate| candidate.verdict != Verdict::Chosen;
    possible.sort_by(|a, b| rank(a).cmp(&rank(b)).then(a.cost().total_cmp(&b.cost())));
    let costs = costs(&possible);
    let meanings = meanings(&costs);
    let mut grids = vec![costs, meanings, failures(&failed)];
    grids.retain(|grid| !grid.rows.is_empty());
    if let Some(last) = grids.last_mut().filter(|_| trace.omitted > 0) {
        last.title.push_str(&format!("; {} more were looked at", trace.omitted));
    }
    grids
}

fn costs(possible: &[&Candidate]) -> Grid {
    let is_there = |name: &TermName| {
        let mut terms = possible.iter().flat_map(|candidate| &candidate.terms);
        terms.any(|term| term.name == *name && shown(term.value) != shown(0.0))
    };
    let mut names: Vec<&str> = TERMS.iter().filter(|name| is_there(name)).map(|name| term(*name)).collect();
    // A term that this table does not know yet is part of the cost all the same.
    if possible.iter().flat_map(|candidate| &candidate.terms).any(|known| !TERMS.contains(&known.name)) {
        names.push("other");
    }
    let mut grid =
        Grid::new("Candidates, by cost", &[&["", "CPUs of", "memory of", "cost"], names.as_slice()].concat());
    for candidate in possible {
        let (mark, ink) = match candidate.verdict {
            Verdict::Chosen => ("✓", Ink::Strong),
            _ => ("", Ink::Plain),
        };
        let mut cells = vec![mark.to_owned(), candidate.cpu_nodes.to_string(), candidate.memory_nodes.to_string()];
        cells.push(shown(candidate.cost()));
        cells.extend(names.iter().map(|name| {
            let here = candidate.terms.iter().filter(|known| term(known.name) == *name);
            shown(here.map(|known| known.value).sum())
        }));
        let exactly: Vec<_> = candidate.terms.iter().map(|t| format!("{} {}", term(t.name), t.value)).collect();
        grid.row(cells, ink).detail = exactly.join(", ");
    }
    grid
}

/// What the terms of a table mean.
fn meanings(costs: &Grid) -> Grid {
    let mut grid = Grid::new("What it costs", &["term", "what it is"]);
    for name in TERMS.into_iter().filter(|name| costs.header.iter().any(|shown| shown == term(*name))) {
        grid.row(vec![term(name).to_owned(), meaning(name).to_owned()], Ink::Plain);
    }
    grid
}

fn meaning(name: TermName) -> &'static str {
    match name {
        TermName::Distance => "how far the memory is from the vCPUs on average; 0 is local",
        TermName::Overload => "what the cores could not carry if all vCPUs of the guest were busy at once",
        TermName::Load => "how busy the cores would usually be, with the guests that are there",
        TermName::Fill => "how full the memory would be",
        TermName::Nodes => "nodes beyond the first",
        TermName::Slack => "CPUs that would stay free beside it: room that a smaller node would not waste",
        TermName::Stranded => "free CPUs that ordinary guests could no longer use",
        TermName::Devices => "how far the vCPUs are from the guest's devices; 0 is local",
        _ => "",
    }
}

fn failures(failed: &[&Candidate]) -> Grid {
    let mut grid = Grid::new("Impossible", &["CPUs of", "memory of", "why"]);
    let bare = |candidate: &Candidate| matches!(candidate.verdict, Verdict::Failed(Constraint::NoMemory { .. }));
    let (bare, failed): (Vec<&Candidate>, Vec<&Candidate>) = failed.iter().copied().partition(|it| bare(it));
    for candidate in failed {
        let Verdict::Failed(constraint) = &candidate.verdict else { continue };
        let cells = [candidate.cpu_nodes.to_string(), candidate.memory_nodes.to_string(), constraint.to_string()];
        grid.row(cells.into(), Ink::Plain).detail = constraint_in_figures(constraint);
    }
    // A host may have dozens of such nodes, and one line says it for all.
    if !bare.is_empty() {
        let nodes = bare.iter().fold(NodeSet::new(), |nodes, candidate| nodes.union(&candidate.memory_nodes));
        let each = if bare.len() == 1 { nodes.to_string() } else { format!("each of {nodes}") };
        grid.row(vec![each.clone(), each, "no ordinary memory there".to_owned()], Ink::Plain);
    }
    grid
}

fn constraint_in_figures(constraint: &Constraint) -> String {
    match constraint {
        Constraint::Memory { need, have, .. } => format!("{} KiB asked, {} KiB can be promised", need.0, have.0),
        Constraint::HugePages { size, need, have, .. } => {
            format!("{need} pages of {} KiB asked, {have} can be promised", size.0)
        }
        _ => String::new(),
    }
}

fn shown(value: f64) -> String {
    format!("{value:.3}")
}

/// `CPU 3`, `CPUs 0-3`.
fn cpus(set: &str) -> String {
    let one = set.bytes().all(|byte| byte.is_ascii_digit());
    format!("CPU{} {set}", if one { "" } else { "s" })
}

fn thread(thread: &ThreadPlan) -> String {
    format!("on {} ({})", cpus(&thread.cpus.to_string()), origin_word(thread.origin))
}

fn origin_word(origin: Origin) -> &'static str {
    match origin {
        Origin::Pin => "pinned",
        Origin::Dedicated => "its own",
        Origin::Advice => "chosen",
        Origin::VcpuCpuset => "cpuset of <vcpu>",
        Origin::AllHost => "all of the host",
        _ => "otherwise",
    }
}

#[cfg(test)]
mod tests {
    use polyvirt::placement::{CpuSet, GuestShape, HostTopology, Kib, Node, PlacementProfile, Promised, Request, plan};

    use super::*;
    use crate::picture::{Picture, style::Style, terminal};

    #[test]
    fn candidates_by_cost_their_terms_and_what_is_impossible() {
        let node = |id: u32, gib| Node::new(id.into()).with_memory(Kib::from_gib(gib));
        let builder = (0..2).fold(HostTopology::builder(), |builder, id: u32| {
            builder.node(node(id, 8 * u64::from(id + 1)).with_cpus(CpuSet::of_range(id * 4, id * 4 + 3)))
        });
        let host = builder.node(node(5, 0)).node(node(6, 0)).build().unwrap();
        let request = Request::auto("g", GuestShape::flat(2, Kib::from_gib(10)));
        let plan = plan(&host, &Promised::default(), &PlacementProfile::qemu(), &request).unwrap();
        let picture = Picture { grids: candidates(&plan.trace), ..Picture::default() };
        assert_eq!(
            terminal::render(&picture, Style::plain()),
            "Candidates, by cost
   CPUs of  memory of   cost   load   fill
✓  1        1          0.045  0.006  0.039

What it costs
term  what it is
load  how busy the cores would usually be, with the guests that are there
fill  how full the memory would be

Impossible
CPUs of      memory of    why
0            0            node 0 short 2 GiB of memory (10 GiB asked, 8 GiB can be promised)
each of 5-6  each of 5-6  no ordinary memory there
"
        );
        assert!(picture.grids[0].rows[0].detail.starts_with("distance 0, overload 0, load 0.0"));
    }
}
