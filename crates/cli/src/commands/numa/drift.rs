//! `numa drift`: where running guests lie, against where they were planned.

use std::collections::BTreeMap;

use polyvirt::{
    Observation,
    placement::{HostNode, Kib},
};

use super::{Done, show};
use crate::{
    args::DriftArgs,
    failure::Failure,
    output::Output,
    picture::{Ink, Line, Panel, Part, Picture, exact},
    session::Session,
};

/// A guest that was looked at, or why it could not be.
type Looked = (String, polyvirt::Result<Observation>);

pub(super) async fn drift(args: &DriftArgs, session: &mut Session, out: &mut Output) -> Done {
    let connection = session.connection().await?;
    let mut names = args.domains.clone();
    if names.is_empty() {
        let active = connection.list().await?.into_iter().filter(|entry| entry.state.is_active());
        names.extend(active.map(|entry| entry.name));
    }
    let mut looked: Vec<Looked> = Vec::new();
    for name in names {
        let guest = session.guest(&name).await?;
        looked.push((guest.name().to_owned(), guest.observe().await));
    }
    let limit = Limit { percent: args.threshold };
    let facts: Vec<_> = looked.iter().map(|it| json(it, limit)).collect();
    show(&picture(&looked, limit), &serde_json::json!({ "guests": facts }), &args.drawing, out)?;
    let wrong = looked.iter().filter(|(_, seen)| seen.as_ref().map_or(true, |seen| limit.is_exceeded(seen)));
    let wrong: Vec<_> = wrong.map(|(name, _)| name.as_str()).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    if !out.json {
        out.error_line(&format!("not where they were planned, or not to be looked at: {}", wrong.join(", ")));
    }
    Err(Failure::Told(1))
}

/// What is put up with.
#[derive(Clone, Copy)]
struct Limit {
    percent: u8,
}

impl Limit {
    /// Whether more than that is elsewhere, or a vCPU may run where it was not to.
    fn is_exceeded(self, seen: &Observation) -> bool {
        let all: Kib = planned(seen).values().copied().sum();
        let misplaced = u128::from(seen.drift().misplaced.0);
        misplaced * 100 > u128::from(all.0) * u128::from(self.percent) || !strays(seen).is_empty()
    }
}

fn planned(seen: &Observation) -> BTreeMap<HostNode, Kib> {
    let mut nodes = BTreeMap::<HostNode, Kib>::new();
    for (node, _, size) in seen.plan.promised_memory() {
        let sum = nodes.entry(node).or_default();
        *sum = sum.saturating_add(size);
    }
    nodes
}

fn observed(seen: &Observation) -> BTreeMap<HostNode, Kib> {
    let mut nodes = BTreeMap::<HostNode, Kib>::new();
    for share in &seen.memory {
        let sum = nodes.entry(share.node).or_default();
        *sum = sum.saturating_add(share.size);
    }
    nodes
}

/// vCPUs that may run beyond their plan: number, planned, found.
fn strays(seen: &Observation) -> Vec<(u32, String, String)> {
    let stray = |state: &polyvirt::VcpuState| {
        let plan = seen.plan.vcpu(state.vcpu)?;
        let found = state.affinity.as_ref().filter(|found| !found.is_subset(&plan.hard))?;
        Some((state.vcpu.0, plan.hard.to_string(), found.to_string()))
    };
    seen.vcpus.iter().filter_map(stray).collect()
}

fn json((name, seen): &Looked, limit: Limit) -> serde_json::Value {
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => return serde_json::json!({ "guest": name, "error": error.to_string() }),
    };
    let nodes = |sizes: &BTreeMap<HostNode, Kib>| -> Vec<serde_json::Value> {
        sizes.iter().map(|(node, size)| serde_json::json!({ "node": node, "kib": size })).collect()
    };
    let vcpus = strays(seen);
    let vcpus: Vec<_> = vcpus
        .iter()
        .map(|(vcpu, planned, found)| serde_json::json!({ "vcpu": vcpu, "planned": planned, "found": found }))
        .collect();
    serde_json::json!({
        "guest": name, "drifted": limit.is_exceeded(seen), "misplaced_kib": seen.drift().misplaced,
        "planned": nodes(&planned(seen)), "observed": nodes(&observed(seen)), "vcpus": vcpus,
    })
}

fn picture(looked: &[Looked], limit: Limit) -> Picture {
    let mut picture = Picture { title: "Planned and found".to_owned(), ..Picture::default() };
    for (name, seen) in looked {
        let ink = picture.guest(name);
        let panel = match seen {
            Ok(seen) => panel(name, seen, limit, ink),
            Err(error) => Panel {
                name: name.clone(),
                tag: "unknown".to_owned(),
                detail: error.to_string(),
                lines: vec![Line::text("", error.to_string()).ink(Ink::Wrong)],
            },
        };
        picture.panels.push(panel);
    }
    if looked.is_empty() {
        picture.notes.push("no guest runs".to_owned());
    }
    picture
}

fn panel(name: &str, seen: &Observation, limit: Limit, ink: Ink) -> Panel {
    let (planned, observed) = (planned(seen), observed(seen));
    let whole = planned.values().chain(observed.values()).map(|size| size.0).max().unwrap_or(0);
    let mut nodes: Vec<HostNode> = planned.keys().chain(observed.keys()).copied().collect();
    nodes.sort_unstable();
    nodes.dedup();
    let line = |node: &HostNode| {
        let of = |sizes: &BTreeMap<HostNode, Kib>| sizes.get(node).copied().unwrap_or_default();
        let (plan, found) = (of(&planned), of(&observed));
        let bound = !planned.is_empty();
        let beyond = if bound { found.saturating_sub(plan) } else { Kib::ZERO };
        let parts = vec![
            Part::memory(found.saturating_sub(beyond), ink, "found as planned"),
            Part::memory(beyond, Ink::Wrong, "found beyond the plan"),
        ];
        let text = match (bound, beyond.is_zero()) {
            (false, _) => format!("{found}, bound to no node"),
            (true, true) => format!("{found} of {plan}"),
            (true, false) => format!("{found} of {plan}: {beyond} too much"),
        };
        let detail = format!("node {node}: planned {}, found {}", exact(plan), exact(found));
        Line::bar(&format!("node {node}"), parts, whole, text).detail(detail)
    };
    let mut lines: Vec<Line> = nodes.iter().map(line).collect();
    for (vcpu, planned, found) in strays(seen) {
        lines.push(Line::text(&format!("vCPU {vcpu}"), format!("on CPUs {found}, planned {planned}")).ink(Ink::Wrong));
    }
    let misplaced = seen.drift().misplaced;
    let tag = match (misplaced.is_zero() && strays(seen).is_empty(), limit.is_exceeded(seen)) {
        (true, _) => "as planned".to_owned(),
        (false, false) => format!("{misplaced} elsewhere, put up with"),
        (false, true) => format!("drifted: {misplaced} elsewhere"),
    };
    Panel { name: name.to_owned(), tag, detail: format!("{name}: {} elsewhere", exact(misplaced)), lines }
}

#[cfg(test)]
mod tests;
