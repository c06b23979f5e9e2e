//! Whether what the definition names is there, and whether driver and kernel can express it.

use super::Context;
use super::demand::Demand;
use crate::policy::MemMode;
use crate::profile::CellSupport;
use crate::refusal::Constraint;
use crate::request::{AdviceSource, Threads};
use crate::rules::{GeneralPolicy, VcpuPlacement};
use crate::set::{CpuSet, NodeSet};

/// Everything that is wrong with the names in the request.
pub(super) fn named(cx: Context<'_>, demand: &Demand) -> Vec<Constraint> {
    let mut wrong = Vec::new();
    nodes(cx, &mut wrong);
    cpus(cx, &mut wrong);
    modes(cx, demand, &mut wrong);
    own_cpus(cx, &mut wrong);
    wrong
}

/// CPUs of its own are for guests whose vCPUs nobody has put anywhere yet.
fn own_cpus(cx: Context<'_>, wrong: &mut Vec<Constraint>) {
    let Some(threads) = cx.request.dedicated else { return };
    let mut invalid = |what: &str| wrong.push(Constraint::Invalid { what: what.to_owned() });
    if cx.request.stored.vcpu_placement != VcpuPlacement::Auto {
        invalid("CPUs of its own for a guest with static vCPU placement (make it 'auto')");
    } else if !cx.request.vcpu_pins.is_empty() {
        invalid("CPUs of its own for a guest with pinned vCPUs (remove the pins)");
    }
    if threads == Threads::Require && cx.request.shape.vcpus_online % 2 == 1 {
        invalid("an odd number of vCPUs that all need a sibling of their own");
    }
    if !cx.profile.pins.vcpu_hard {
        let what = "CPUs of a guest's own by this driver".to_owned();
        wrong.push(Constraint::Unsupported { rule: "§6".to_owned(), what });
    }
}

/// Q1: every node in an effective node set has to be online, also for `restrictive`.
fn nodes(cx: Context<'_>, wrong: &mut Vec<Constraint>) {
    let stored = &cx.request.stored;
    let mut named: Vec<(NodeSet, String)> = Vec::new();
    if let Some(nodes) = stored.memory.as_ref().and_then(GeneralPolicy::named_nodes) {
        named.push((nodes.clone(), "/domain/numatune/memory/@nodeset".to_owned()));
    }
    for policy in &stored.memnodes {
        named.push((policy.nodes.clone(), format!("/domain/numatune/memnode[@cellid='{}']/@nodeset", policy.cell)));
    }
    named.extend((0..cx.request.devices.len()).filter_map(|at| of_device(cx, at)));
    if let (AdviceSource::Given(nodes), true) = (&cx.request.advice, stored.wants_advice()) {
        named.push((nodes.clone(), "the given advice".to_owned()));
    }
    online(cx, named, wrong);
}

/// What is wrong with the nodes of one memory device.
pub(super) fn nodes_of_device(cx: Context<'_>, index: usize) -> Vec<Constraint> {
    let mut wrong = Vec::new();
    online(cx, of_device(cx, index).into_iter().collect(), &mut wrong);
    wrong
}

/// The nodes that a memory device names.
fn of_device(cx: Context<'_>, index: usize) -> Option<(NodeSet, String)> {
    let nodes = cx.request.devices.get(index)?.nodes.clone()?;
    Some((nodes, format!("/domain/devices/memory[{}]/source/nodemask", index + 1)))
}

fn online(cx: Context<'_>, named: Vec<(NodeSet, String)>, wrong: &mut Vec<Constraint>) {
    let online = cx.host.online_nodes();
    for (nodes, path) in named {
        let offline = nodes.difference(&online);
        wrong.extend(offline.iter().map(|node| Constraint::NodeOffline {
            node,
            path: path.clone(),
            online: online.clone(),
        }));
        let there = nodes.intersection(&online);
        if offline.is_empty() && there.is_disjoint(&cx.host.memory_nodes()) {
            wrong.push(Constraint::NoMemory { nodes: there });
        }
    }
}

fn cpus(cx: Context<'_>, wrong: &mut Vec<Constraint>) {
    let mut check = |set: &CpuSet, path: String| {
        if set.is_disjoint(cx.host.online_cpus()) {
            wrong.push(Constraint::CpusOffline { path, named: set.to_string() });
        }
    };
    for (vcpu, set) in &cx.request.vcpu_pins {
        check(set, format!("/domain/cputune/vcpupin[@vcpu='{vcpu}']/@cpuset"));
    }
    if let Some(set) = &cx.request.emulator_pin {
        check(set, "/domain/cputune/emulatorpin/@cpuset".to_owned());
    }
    for (id, set) in &cx.request.io_thread_pins {
        check(set, format!("/domain/cputune/iothreadpin[@iothread='{id}']/@cpuset"));
    }
    if let Some(set) = &cx.request.stored.vcpu_cpuset {
        check(set, "/domain/vcpu/@cpuset".to_owned());
    }
}

fn modes(cx: Context<'_>, demand: &Demand, wrong: &mut Vec<Constraint>) {
    let stored = &cx.request.stored;
    let general = stored.memory.iter().map(|policy| (policy.mode, policy.named_nodes()));
    let own = stored.memnodes.iter().map(|policy| (policy.mode, Some(&policy.nodes)));
    for (mode, nodes) in general.chain(own) {
        if !cx.profile.modes.contains(mode) {
            let what = format!("memory mode '{mode}' by this driver");
            push_once(wrong, Constraint::Unsupported { rule: "Q6".to_owned(), what });
        }
        let many = nodes.is_some_and(|nodes| nodes.len() > 1);
        if mode == MemMode::Preferred && many && !cx.request.kernel.preferred_many {
            let what = "'preferred' with several nodes on a kernel before 5.15".to_owned();
            push_once(wrong, Constraint::Unsupported { rule: "Q6".to_owned(), what });
        }
    }
    let cells_planned = !matches!(cx.profile.cells, CellSupport::None);
    let unknown = stored.memnodes.iter().find(|p| !demand.cells.iter().any(|cell| cell.cell == p.cell));
    if let Some(policy) = unknown.filter(|_| cells_planned) {
        wrong.push(Constraint::Invalid {
            what: format!("a memory policy of guest cell {}, which is none", policy.cell),
        });
    }
}

fn push_once(wrong: &mut Vec<Constraint>, constraint: Constraint) {
    if !wrong.contains(&constraint) {
        wrong.push(constraint);
    }
}
