//! A placement and its reasons.

use std::fmt::Write as _;

use polyvirt::placement::{CellPlan, Origin, Plan, TermName, ThreadPlan, Trace, Verdict};

/// Where a guest sits, in one line.
pub(crate) fn in_a_line(plan: &Plan) -> String {
    let how = if plan.advice.is_some() { "automatic" } else { "as defined" };
    let nodes = plan.memory_nodes();
    let memory = if nodes.is_empty() { "anywhere".to_owned() } else { format!("from node {nodes}") };
    format!("{how}, memory {memory}, CPUs {}", plan.process.cpus)
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
        writeln!(out, "  chosen    nodes {}, CPUs {}", advice.nodeset, advice.cpuset)?;
    }
    writeln!(out, "  emulator  {}", thread(&plan.process))?;
    for (id, io) in &plan.io_threads {
        writeln!(out, "  iothread {} {}", id.0, thread(io))?;
    }
    for cell in &plan.cells {
        write_cell(out, cell, plan.cells.len() > 1)?;
    }
    if !plan.trace.summary.is_empty() || !plan.trace.candidates.is_empty() {
        out.push_str(&why(&plan.trace));
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
        writeln!(out, "            {which} on CPUs {cpus} ({})", origin_word(origin))?;
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

/// The term as in the documentation of the objective.
fn term(name: TermName) -> String {
    format!("{name:?}").to_lowercase()
}

fn thread(thread: &ThreadPlan) -> String {
    format!("on CPUs {} ({})", thread.cpus, origin_word(thread.origin))
}

fn origin_word(origin: Origin) -> &'static str {
    match origin {
        Origin::Pin => "pinned",
        Origin::Advice => "chosen",
        Origin::VcpuCpuset => "cpuset of <vcpu>",
        Origin::AllHost => "all of the host",
        _ => "otherwise",
    }
}

/// The reasons.
pub(crate) fn why(trace: &Trace) -> String {
    let mut out = String::new();
    let _ = write_why(&mut out, trace);
    out
}

fn write_why(out: &mut String, trace: &Trace) -> std::fmt::Result {
    writeln!(out, "Why: {}", if trace.summary.is_empty() { "nothing was asked for" } else { &trace.summary })?;
    for candidate in &trace.candidates {
        let nodes = if candidate.cpu_nodes == candidate.memory_nodes {
            format!("nodes {}", candidate.cpu_nodes)
        } else {
            format!("CPUs of {}, memory of {}", candidate.cpu_nodes, candidate.memory_nodes)
        };
        match &candidate.verdict {
            Verdict::Failed(constraint) => writeln!(out, "  ✗ {nodes}: {constraint}")?,
            verdict => {
                let mark = if *verdict == Verdict::Chosen { "✓" } else { " " };
                let terms: Vec<_> =
                    candidate.terms.iter().map(|t| format!("{} {:.3}", term(t.name), t.value)).collect();
                writeln!(out, "  {mark} {nodes}: cost {:.3} = {}", candidate.cost(), terms.join(" + "))?;
            }
        }
    }
    if trace.omitted > 0 {
        writeln!(out, "  … and {} more", trace.omitted)?;
    }
    for note in &trace.notes {
        writeln!(out, "  note: {note}")?;
    }
    Ok(())
}
