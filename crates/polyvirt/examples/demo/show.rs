//! What the demo prints: the host, the plan with its reasons, steps.

use polyvirt::{
    Connection,
    placement::{Candidate, Plan, Verdict},
};

/// A line with its heading.
pub(crate) fn step(heading: &str, text: &str) {
    println!("{heading:<10} {text}");
}

/// A line below a step.
pub(crate) fn detail(text: &str) {
    println!("             {text}");
}

/// The nodes of this host.
pub(crate) fn host(connection: &Connection) -> Result<(), Box<dyn std::error::Error>> {
    let topology = connection.host().topology()?;
    let nodes = topology.nodes();
    step("host", &format!("{} NUMA node{}", nodes.len(), if nodes.len() == 1 { "" } else { "s" }));
    for node in nodes {
        let cpus = if node.cpus.is_empty() { "none".to_owned() } else { node.cpus.to_string() };
        detail(&format!("node {}: CPUs {cpus}, memory {}, free {}", node.id, node.memory, node.free));
    }
    Ok(())
}

/// Where everything goes, and why.
pub(crate) fn plan(plan: &Plan) {
    step("plan", &plan.trace.summary);
    for cell in &plan.cells {
        let vcpus: Vec<_> = cell.vcpus.iter().map(|v| format!("vCPU {} on CPUs {}", v.vcpu, v.hard)).collect();
        let memory: Vec<_> = cell.memory.iter().map(|share| format!("{} on node {}", share.size, share.node)).collect();
        detail(&format!("cell {}: {}; {}", cell.cell, vcpus.join(", "), memory.join(", ")));
    }
    if let Some(advice) = &plan.advice {
        detail(&format!("in libvirt's words: <numad nodeset='{}' cpuset='{}'/>", advice.nodeset, advice.cpuset));
    }
    step("reasons", "candidates in the order they were looked at:");
    plan.trace.candidates.iter().for_each(|candidate| detail(&reason(candidate)));
    if plan.trace.omitted > 0 {
        detail(&format!("and {} more", plan.trace.omitted));
    }
    plan.trace.notes.iter().for_each(|note| detail(note));
    for weakening in &plan.weakened {
        detail(&format!("only in part: {weakening}"));
    }
}

fn reason(candidate: &Candidate) -> String {
    let terms: Vec<_> = candidate.terms.iter().map(|t| format!("{:?} {:.3}", t.name, t.value).to_lowercase()).collect();
    let verdict = match &candidate.verdict {
        Verdict::Chosen => format!("chosen at cost {:.3} ({})", candidate.cost(), terms.join(", ")),
        Verdict::Beaten => format!("beaten at cost {:.3} ({})", candidate.cost(), terms.join(", ")),
        Verdict::Failed(constraint) => format!("impossible: {constraint}"),
        other => format!("{other:?}"),
    };
    format!("CPUs of node {}, memory of node {}: {verdict}", candidate.cpu_nodes, candidate.memory_nodes)
}
