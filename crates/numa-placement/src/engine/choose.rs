//! Automatic placement: the advice, and for drivers with one node per cell the node of each.

use super::board::{Board, CpuChoice, Dealt, MemoryChoice};
use super::cells::Assignment;
use super::demand::{Demand, Item, Part};
use super::own::{self, Own};
use super::{Context, fixed, short_of};
use crate::binding;
use crate::plan::{Advice, Weakening};
use crate::policy::MemMode;
use crate::profile::NodesPerCell;
use crate::refusal::Constraint;
use crate::request::{AdviceSource, Span, Threads};
use crate::rules::{GeneralPolicy, VcpuPlacement};
use crate::set::{CpuSet, NodeSet};
use crate::trace::Trace;
use crate::units::VcpuId;

/// What was chosen.
pub(super) struct Choice {
    pub(super) advice: Option<Advice>,
    /// For drivers with one node per cell: its position, in the order of the demand's items.
    pub(super) one: Option<Vec<usize>>,
    /// vCPUs run on the nodes of their cells alone.
    pub(super) by_cell: bool,
    /// CPUs of its own.
    pub(super) own: Option<Own>,
    pub(super) weakened: Vec<Weakening>,
    pub(super) trace: Trace,
}

pub(super) type Failure = (Vec<Constraint>, Trace);

/// Chooses the nodes of whatever is automatic.
pub(super) fn choose(cx: Context<'_>, demand: &Demand, board: &Board<'_>) -> Result<Choice, Failure> {
    let mut choice =
        Choice { advice: None, one: None, by_cell: false, own: None, weakened: Vec::new(), trace: Trace::default() };
    let wanted = cx.request.stored.wants_advice();
    if let (true, AdviceSource::Given(nodes)) = (wanted, &cx.request.advice) {
        choice.advice = Some(given(cx, nodes)?);
        choice.trace.summary = format!("the advice was given: nodes {nodes}");
    }
    if wanted {
        note_wishes(cx, &mut choice);
    }
    if cx.profile.nodes_per_cell == NodesPerCell::One {
        let one = one_node_each(cx, demand, board, &mut choice)?;
        if wanted && choice.advice.is_none() {
            let nodes = board.nodes(&one);
            choice.trace.summary = format!("one node for each guest cell: {nodes}");
            choice.advice = Some(given(cx, &nodes)?);
        }
        choice.one = Some(one);
    } else if wanted && choice.advice.is_none() {
        decided(cx, demand, board, &mut choice)?;
    } else if !wanted {
        choice.trace.summary = "placement is static: nothing was searched".to_owned();
    }
    if let Some(threads) = cx.request.dedicated {
        dedicate(cx, demand, board, threads, &mut choice)?;
    }
    note_limits(cx, board, demand, &mut choice);
    Ok(choice)
}

/// Gives every vCPU a CPU of its own, and leaves the others of the same nodes to the rest of the guest's threads.
fn dedicate(
    cx: Context<'_>,
    demand: &Demand,
    board: &Board<'_>,
    threads: Threads,
    choice: &mut Choice,
) -> Result<(), Failure> {
    let Some(advice) = choice.advice.as_mut() else { return Ok(()) };
    let nodes = cx.host.nodes_of(&advice.cpuset);
    let positions: Vec<usize> = nodes.iter().filter_map(|node| cx.host.position(node)).collect();
    let need =
        board.need_of(demand.vcpus, &fixed::rest(cx, demand)).map_err(|wrong| (vec![wrong], Trace::default()))?;
    let groups = match &choice.one {
        Some(one) if choice.by_cell => Ok(own::by_cell(demand, one)),
        _ => own::by_room(board, demand, &need.dedicated(threads), &positions),
    };
    let own = groups.and_then(|groups| own::own(board, &groups, threads));
    let own = own.map_err(|wrong| (wrong, std::mem::take(&mut choice.trace)))?;
    let beside = board.floating(&positions).difference(&own.all());
    advice.cpuset = if beside.is_empty() { own.cpus() } else { beside };
    if demand.vcpus < cx.request.shape.vcpus_max {
        let (first, last) = (demand.vcpus, cx.request.shape.vcpus_max - 1);
        let what = format!("vCPUs {} get no CPU of their own", crate::VcpuSet::of_range(first, last));
        choice.weakened.push(Weakening::new(
            "host",
            what,
            "they are not online at the start and then share the guest's",
        ));
    }
    choice.own = Some(own);
    Ok(())
}

/// As with numad: all CPUs of the nodes, and those of them that have memory.
fn given(cx: Context<'_>, nodes: &NodeSet) -> Result<Advice, Failure> {
    let cpus = cx.host.cpus_of(nodes);
    if cpus.is_empty() && cx.request.stored.vcpu_placement == VcpuPlacement::Auto {
        let need = cx.request.shape.vcpus_online;
        return Err((vec![Constraint::Cpus { nodes: nodes.clone(), need, have: 0 }], Trace::default()));
    }
    let cpus = if cpus.is_empty() { cx.host.online_cpus().clone() } else { cpus };
    Ok(Advice::new(nodes.intersection(&cx.host.memory_nodes()), cpus))
}

/// The engine's own decision.
fn decided(cx: Context<'_>, demand: &Demand, board: &Board<'_>, choice: &mut Choice) -> Result<(), Failure> {
    let stored = &cx.request.stored;
    let cpus = cpu_choice(cx, demand);
    let auto_memory = stored.memory.as_ref().is_some_and(GeneralPolicy::is_auto);
    if cx.request.per_cell && auto_memory && matches!(cpus, CpuChoice::Free) && cells(cx, demand, board, choice)? {
        return Ok(());
    }
    let memory = if auto_memory { MemoryChoice::Free } else { MemoryChoice::Fixed(named_memory(cx, demand, board)) };
    let free_cpus = matches!(cpus, CpuChoice::Free);
    let mut need =
        board.need_of(demand.vcpus, &fixed::rest(cx, demand)).map_err(|wrong| (vec![wrong], Trace::default()))?;
    (need.cpus, need.memory, need.span) = (cpus, memory, cx.request.span);
    if let Some(threads) = cx.request.dedicated {
        need = need.dedicated(threads);
    }
    need.devices = devices(cx);
    need.dealt = dealt(cx);
    let decision = if cx.request.traced {
        let (decision, trace) = board.explain(&need);
        choice.trace = trace;
        decision.map_err(|wrong| (wrong, std::mem::take(&mut choice.trace)))?
    } else {
        board.decide(&need).map_err(|wrong| (wrong, Trace::default()))?
    };
    let (on_cpus, on_memory) = (board.nodes(decision.cpus()), board.nodes(decision.memory()));
    let (nodeset, cpuset) = if !auto_memory {
        // The advice's nodes then serve no memory; libvirt keeps those of the CPUs that have some.
        let near = on_cpus.intersection(&cx.host.memory_nodes());
        (if near.is_empty() { on_memory.clone() } else { near }, board.floating(decision.cpus()))
    } else if free_cpus {
        (on_memory.clone(), board.floating(decision.cpus()))
    } else {
        let near = board.floating(decision.memory());
        (on_memory.clone(), if near.is_empty() { cx.host.online_cpus().clone() } else { near })
    };
    choice.trace.summary = match (free_cpus, auto_memory) {
        (true, true) => format!("CPUs from {}, memory from {}", words(&on_cpus), words(&on_memory)),
        (true, false) => {
            format!("CPUs from {} for memory the definition put on {}", words(&on_cpus), words(&on_memory))
        }
        (false, _) => format!("memory from {} for CPUs the definition put on {}", words(&on_memory), words(&on_cpus)),
    };
    choice.advice = Some(Advice::new(nodeset, cpuset));
    Ok(())
}

/// How the general policy shares memory out.
fn dealt(cx: Context<'_>) -> Dealt {
    match cx.request.stored.memory.as_ref().map(|policy| policy.mode) {
        Some(MemMode::Interleave) if cx.is_weighted() => Dealt::ByWeight,
        Some(MemMode::Interleave) => Dealt::Evenly,
        _ => Dealt::Nearest,
    }
}

/// Positions of the nodes of its devices, and the weight of each. A device whose node is not there pulls nowhere.
fn devices(cx: Context<'_>) -> Vec<(usize, f64)> {
    let positions: Vec<usize> = cx.request.near.iter().filter_map(|node| cx.host.position(*node)).collect();
    let weight = 1.0 / f64::from(u32::try_from(positions.len().max(1)).unwrap_or(u32::MAX));
    positions.into_iter().map(|at| (at, weight)).collect()
}

/// A node for each cell; false if there is none for some.
fn cells(cx: Context<'_>, demand: &Demand, board: &Board<'_>, choice: &mut Choice) -> Result<bool, Failure> {
    let Some(one) = Assignment::new(cx, demand, board).solve() else {
        let (what, why) = ("a node for each guest cell", "some cell fits no node beside the others");
        choice.weakened.push(Weakening::new("host", what, why));
        return Ok(false);
    };
    let nodes = board.nodes(&one);
    let pairs = demand.items.iter().zip(&one).filter_map(|(item, at)| match item.part {
        Part::Cell(cell) => Some(format!("cell {} on node {}", demand.cells[cell].cell, cx.host.nodes()[*at].id)),
        _ => None,
    });
    choice.trace.summary = pairs.collect::<Vec<_>>().join(", ");
    choice.advice = Some(Advice { cpuset: board.floating(&one), ..given(cx, &nodes)? });
    choice.one = Some(one);
    choice.by_cell = true;
    Ok(true)
}

fn words(nodes: &NodeSet) -> String {
    if nodes.len() == 1 { format!("node {nodes}") } else { format!("nodes {nodes}") }
}

/// CPUs are free as soon as one online vCPU is automatic and not pinned.
fn cpu_choice(cx: Context<'_>, demand: &Demand) -> CpuChoice {
    let auto = cx.request.stored.vcpu_placement == VcpuPlacement::Auto;
    let pinned = (0..demand.vcpus).all(|vcpu| cx.request.vcpu_pins.contains_key(&VcpuId(vcpu)));
    if auto && !pinned {
        return CpuChoice::Free;
    }
    CpuChoice::Fixed(spread(cx, None, None, (0..demand.vcpus).map(VcpuId)))
}

/// Shares of vCPUs by position.
type CpuShares = Vec<(usize, f64)>;

/// How these vCPUs spread over the nodes, by position; the shares sum to 1.
pub(super) fn spread(
    cx: Context<'_>,
    advice: Option<&Advice>,
    own: Option<&Own>,
    vcpus: impl Iterator<Item = VcpuId>,
) -> Vec<(usize, f64)> {
    let mut shares = vec![0.0; cx.host.nodes().len()];
    let mut alone = 0.0;
    // Most vCPUs have the same set: the second is not worth counting again.
    let mut known: Vec<(CpuSet, CpuShares, f64)> = Vec::new();
    for vcpu in vcpus {
        if let Some((_, at)) = own.and_then(|own| own.of(vcpu)) {
            shares[at] += 1.0;
            alone += 1.0;
            continue;
        }
        let (set, _) = binding::thread_cpus(cx.request.vcpu_pins.get(&vcpu), &cx.request.stored, advice, cx.host);
        match known.iter_mut().find(|(other, _, _)| *other == set) {
            Some((_, _, count)) => *count += 1.0,
            None => {
                let spread = spread_of(cx, &set);
                known.push((set, spread, 1.0));
            }
        }
    }
    let all: f64 = alone + known.iter().map(|(_, _, count)| count).sum::<f64>();
    shares.iter_mut().for_each(|share| *share /= f64::max(all, 1.0));
    for (_, spread, count) in known {
        for (at, share) in spread {
            shares[at] += share * count / all;
        }
    }
    shares.into_iter().enumerate().filter(|(_, share)| *share > 0.0).collect()
}

fn spread_of(cx: Context<'_>, set: &CpuSet) -> CpuShares {
    let real = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let whole = real(set.len()).max(1.0);
    let nodes = cx.host.nodes().iter().enumerate();
    nodes
        .map(|(at, node)| (at, real(node.cpus.intersection_len(set)) / whole))
        .filter(|(_, share)| *share > 0.0)
        .collect()
}

/// Where named memory lies; all of it if some of the guest is not bound.
fn named_memory(cx: Context<'_>, demand: &Demand, board: &Board<'_>) -> Vec<usize> {
    let memory = cx.host.memory_nodes();
    let mut nodes = NodeSet::new();
    for cell in &demand.cells {
        let policy = binding::cell_policy(&cx.request.stored, None, cell.cell);
        if policy.mode.is_none() {
            nodes = memory.clone();
            break;
        }
        nodes = nodes.union(&policy.nodes);
    }
    let nodes = nodes.intersection(&memory);
    let positions = (0..board.len()).filter(|at| nodes.contains(cx.host.nodes()[*at].id));
    positions.collect()
}

/// Puts every item on one node: the largest first, near those that are placed already, then where most is left.
fn one_node_each(
    cx: Context<'_>,
    demand: &Demand,
    board: &Board<'_>,
    choice: &mut Choice,
) -> Result<Vec<usize>, Failure> {
    let mut order: Vec<usize> = (0..demand.items.len()).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(demand.items[*at].units), *at));
    let resource_of = |item: &Item| board.resource(item.page).unwrap_or(0);
    let resources = demand.totals().len();
    let mut room: Vec<Vec<u64>> =
        (0..board.len()).map(|at| (0..resources).map(|resource| board.room(resource, at)).collect()).collect();
    let mut placed = vec![usize::MAX; demand.items.len()];
    for at in order {
        let item = &demand.items[at];
        let allowed = allowed_for_one(cx, demand, board, item, choice);
        let resource = resource_of(item);
        let near = |node: usize| -> u32 {
            let others = placed.iter().filter(|other| **other != usize::MAX);
            others.map(|other| u32::from(board.host.distance_at(node, *other))).sum()
        };
        let fits = allowed.iter().copied().filter(|node| room[*node][resource] >= item.units);
        let best = fits.min_by_key(|node| {
            let without_cpus = board.sites[*node].count.cpus == 0;
            (without_cpus, near(*node), std::cmp::Reverse(room[*node][resource]), *node)
        });
        let Some(best) = best else {
            let most = allowed.iter().copied().max_by_key(|node| (room[*node][resource], std::cmp::Reverse(*node)));
            let constraint = match most {
                Some(node) => short_of(item.page, board.nodes(&[node]), item.units, room[node][resource]),
                None => Constraint::NoMemory { nodes: board.host.online_nodes() },
            };
            return Err((vec![constraint], std::mem::take(&mut choice.trace)));
        };
        room[best][resource] -= item.units;
        placed[at] = best;
    }
    Ok(placed)
}

fn allowed_for_one(
    cx: Context<'_>,
    demand: &Demand,
    board: &Board<'_>,
    item: &Item,
    choice: &mut Choice,
) -> Vec<usize> {
    let (cell, own) = match item.part {
        Part::Cell(at) => (demand.cells[at].cell, None),
        Part::Device(at) => {
            let device = &cx.request.devices[at];
            (device.policy_cell(), device.nodes.clone())
        }
        Part::Headroom => (demand.cells[0].cell, None),
    };
    let policy = binding::cell_policy(&cx.request.stored, choice.advice.as_ref(), cell);
    let nodes = own.unwrap_or(policy.nodes);
    if nodes.is_empty() {
        return (0..board.len()).filter(|at| board.sites[*at].memory).collect();
    }
    let memory = cx.host.memory_nodes().intersection(&nodes);
    if nodes.len() > 1 && !cx.request.stored.wants_advice() {
        let what = format!("guest cell {cell} on one of the nodes {nodes}");
        choice.weakened.push(Weakening::new("Q6", what, "this driver puts each cell on one node"));
    }
    (0..board.len()).filter(|at| memory.contains(board.host.nodes()[*at].id)).collect()
}

/// Wishes that cannot be met and do not stand in the way of a start.
fn note_wishes(cx: Context<'_>, choice: &mut Choice) {
    let absent: NodeSet = cx.request.near.iter().copied().filter(|node| cx.host.position(*node).is_none()).collect();
    if !absent.is_empty() {
        let what = format!("nearness to {}", words(&absent));
        let why = format!("not online; the host has {}", cx.host.online_nodes());
        choice.weakened.push(Weakening::new("host", what, why));
    }
    if let (Span::Never, AdviceSource::Given(nodes)) = (cx.request.span, &cx.request.advice)
        && nodes.len() > 1
    {
        choice.weakened.push(Weakening::new(
            "host",
            "one node for the whole guest",
            "the advice was given and names several",
        ));
    }
}

fn note_limits(cx: Context<'_>, board: &Board<'_>, demand: &Demand, choice: &mut Choice) {
    let cpus: u64 = board.sites.iter().map(|site| u64::from(site.count.cpus)).sum();
    if cx.request.stored.vcpu_placement == VcpuPlacement::Auto && cpus < u64::from(demand.vcpus) {
        let what = format!("{} vCPUs on {cpus} CPUs", demand.vcpus);
        choice.weakened.push(Weakening::new("host", what, "the host has no more"));
    }
    if let Some(limit) = cx.profile.max_host_nodes.filter(|limit| (*limit as usize) < board.len()) {
        let what = format!("only the first {limit} of {} nodes were considered", board.len());
        choice.weakened.push(Weakening::new("host", what, "the hypervisor's tools give up above that"));
    }
}
